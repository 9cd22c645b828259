/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * macvtap: see macvtap.h. The kernel's drivers/net/macvtap.c and tap.c: a link of the kind macvtap
 * with the index N has the character device /dev/tapN, and each time that is opened there is one
 * queue more.
 */
#include "macvtap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "tap.h"

/* devtmpfs has the node at once; elsewhere udev makes it. And for a link that is being deleted. */
#define PATIENCE_NSEC (UINT64_C(3) * 1000 * 1000 * 1000)
#define RETRY_USEC 20000

__attribute__((format(printf, 4, 5))) static int refuse(
	int error, char *reason, size_t reason_size, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason, reason_size, format, ap);
	va_end(ap);
	return error;
}

void macvtap_name(const char *machine, const char *network, char name[IFNAMSIZ])
{
	snprintf(name, IFNAMSIZ, NETDEV_MACVTAP_PREFIX "%.5s-%06" PRIx64, machine,
		tap_hash(machine, network) & UINT64_C(0xffffff));
}

/* ---- the link below ---- */

static int find_parent(struct netlink *netlink, const char *name, struct netlink_link *ret_parent,
	char *reason, size_t reason_size)
{
	static const char *const stacked[] = { "macvtap", "macvlan", "ipvtap", "ipvlan" };
	int r = netlink_get(netlink, 0, name, ret_parent);

	if (r < 0)
		return refuse(r, reason, reason_size, "\"%s\": %s", name, strerror(-r));
	for (size_t i = 0; i < ARRAY_SIZE(stacked); i++)
		if (strcmp(ret_parent->kind, stacked[i]) == 0)
			return refuse(-EINVAL, reason, reason_size,
				"\"%s\" is a %s itself: name the interface below it", name,
				stacked[i]);
	if (ret_parent->flags & IFF_LOOPBACK)
		return refuse(-EINVAL, reason, reason_size,
			"\"%s\" is the loopback: name an Ethernet interface", name);
	return 0;
}

int macvtap_check(const struct config_network *network, char *reason, size_t reason_size)
{
	struct netlink_link parent;
	struct netlink netlink;
	int r = netlink_open(&netlink);

	if (r < 0)
		return refuse(r, reason, reason_size, "netlink: %s", strerror(-r));
	r = find_parent(&netlink, network->macvtap.value, &parent, reason, reason_size);
	netlink_close(&netlink);
	return r;
}

/* ---- the link ---- */

void macvtap_compose(struct netlink_message *message, const char *name, int parent, uint32_t group,
	const uint8_t mac[6])
{
	const struct ifinfomsg info = {};
	size_t link, data;

	netlink_begin(message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &info);
	netlink_put_text(message, IFLA_IFNAME, name);
	netlink_put_u32(message, IFLA_LINK, (uint32_t)parent);
	netlink_put(message, IFLA_ADDRESS, mac, 6);
	netlink_put_u32(message, IFLA_GROUP, group);
	link = netlink_nest(message, IFLA_LINKINFO);
	netlink_put_text(message, IFLA_INFO_KIND, "macvtap");
	data = netlink_nest(message, IFLA_INFO_DATA);
	netlink_put_u32(message, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	netlink_nest_end(message, data);
	netlink_nest_end(message, link);
}

static int refuse_new(int error, const struct config_network *network, const char *name,
	char *reason, size_t reason_size)
{
	const char *parent = network->macvtap.value;

	switch (-error) {
	case EOPNOTSUPP:
		return refuse(error, reason, reason_size,
			"the host's kernel has no macvtap: modprobe macvtap");
	case EPERM:
		return refuse(error, reason, reason_size,
			"\"%s\": vmmd may not add links to it: %s", parent, strerror(-error));
	case EBUSY:
		return refuse(error, reason, reason_size,
			"\"%s\" is a port of a bridge or a bond, which Bridge= is for", parent);
	case EINVAL:
		return refuse(
			error, reason, reason_size, "\"%s\" is no Ethernet interface", parent);
	case EEXIST:
		return refuse(error, reason, reason_size,
			"the link \"%s\" is there already, and in use", name);
	default:
		return refuse(error, reason, reason_size, "\"%s\": %s", parent, strerror(-error));
	}
}

/* One of the same name is there: it goes if it is left over, or is waited for. */
static int clear_name(struct netlink *netlink, const struct macvtap_order *order, const char *name)
{
	char machine[CONFIG_MAX_NAME + 1], network[CONFIG_MAX_NAME + 1];
	struct netlink_link link;
	int r = netlink_get(netlink, 0, name, &link);

	if (r < 0)
		return r == -ENODEV ? 0 : r;
	if (!netdev_is_ours(&link, netdev_group(order->run_dir)))
		return -EEXIST;
	if (netdev_owner(&link, machine, network) &&
		(strcmp(machine, order->machine) != 0 ||
			strcmp(network, order->network->name.value) != 0))
		return -EEXIST;
	/* Where the machine runs it may be in use; what detaches it may still be on its way. */
	if (!order->is_start)
		return usleep(RETRY_USEC), 0;
	r = netdev_delete(netlink, link.index);
	return r == -ENODEV ? 0 : r;
}

static int make_link(struct netlink *netlink, const struct macvtap_order *order, int parent,
	struct netlink_link *ret_link, char *reason, size_t reason_size)
{
	uint64_t deadline_nsec = vmm_base_now_nsec() + PATIENCE_NSEC;
	const struct config_network *network = order->network;
	struct netlink_message message;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	int r;

	macvtap_name(order->machine, network->name.value, name);
	tap_mac(order->machine, network, mac);
	for (;;) {
		macvtap_compose(&message, name, parent, netdev_group(order->run_dir), mac);
		r = netlink_call(netlink, &message);
		if (r != -EEXIST || vmm_base_now_nsec() >= deadline_nsec)
			break;
		r = clear_name(netlink, order, name);
		if (r < 0)
			break;
	}
	if (r < 0)
		return refuse_new(r, network, name, reason, reason_size);
	r = netlink_get(netlink, 0, name, ret_link);
	return r < 0 ? refuse(r, reason, reason_size, "\"%s\": %s", name, strerror(-r)) : 0;
}

static int take_up(struct netlink *netlink, const struct macvtap_order *order, int index,
	char *reason, size_t reason_size)
{
	char alias[NETLINK_ALIAS_SIZE];
	int r;

	netdev_alias(alias, order->machine, order->network->name.value);
	/* The guest's own multicasts, which the kernel is not told of, pass a card's filter too. */
	r = netdev_finish(netlink, index, alias, true, IFF_ALLMULTI);
	if (r == -EBUSY)
		return refuse(r, reason, reason_size,
			"another link on \"%s\" has the same hardware address: see MAC=",
			order->network->macvtap.value);
	return r < 0 ? refuse(r, reason, reason_size, "its link: %s", strerror(-r)) : 0;
}

/* ---- its device ---- */

/* The number that the link's own entry in sysfs gives for it. */
static int read_number(const struct netlink_link *link, dev_t *ret_number)
{
	static const char *const below[] = { "macvtap/", "" };
	unsigned int major_number, minor_number;
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		FILE *f;
		int n;

		snprintf(path, sizeof(path), "/sys/class/net/%s/%stap%d/dev", link->name, below[i],
			link->index);
		f = fopen(path, "re");
		if (!f)
			continue;
		n = fscanf(f, "%u:%u", &major_number, &minor_number);
		fclose(f);
		if (n != 2)
			return -EBADMSG;
		*ret_number = makedev(major_number, minor_number);
		return 0;
	}
	return -ENOENT;
}

/* A path to a node that is the device and nothing else: it is looked at before it is opened. */
static int find_node(const char *path, dev_t number, int *ret_fd)
{
	CLEANUP(close_p) int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != number)
		return -ESTALE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int wait_for_node(const char *path, const struct netlink_link *link, int *ret_fd)
{
	uint64_t deadline_nsec = vmm_base_now_nsec() + PATIENCE_NSEC;
	dev_t number;
	int r;

	for (;;) {
		r = read_number(link, &number);
		if (r >= 0)
			r = find_node(path, number, ret_fd);
		if ((r != -ENOENT && r != -ESTALE) || vmm_base_now_nsec() >= deadline_nsec)
			return r;
		usleep(RETRY_USEC);
	}
}

/* A queue pair, as a tap's is set up. */
static int open_pair(const char *node, bool several, int *ret_fd)
{
	CLEANUP(close_p) int fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				     (several ? IFF_MULTI_QUEUE : 0)),
	};
	int header_bytes = TAP_HEADER_BYTES;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0 ||
		ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_device(const struct netlink_link *link, size_t n_pairs,
	int ret_fds[CONFIG_MAX_PAIRS], char *reason, size_t reason_size)
{
	CLEANUP(close_p) int node_fd = -EBADF;
	char path[32], node[32];
	size_t n = 0;
	int r;

	snprintf(path, sizeof(path), "/dev/tap%d", link->index);
	r = wait_for_node(path, link, &node_fd);
	if (r < 0)
		return refuse(r, reason, reason_size, "%s: %s", path,
			r == -ESTALE ? "is another device than the link's" : strerror(-r));
	snprintf(node, sizeof(node), "/proc/self/fd/%d", node_fd);
	while (r >= 0 && n < n_pairs) {
		r = open_pair(node, n_pairs > 1, &ret_fds[n]);
		n += r >= 0;
	}
	if (r >= 0)
		return 0;
	while (n > 0)
		vmm_base_close(ret_fds[--n]);
	/* A unit's DeviceAllow=char-macvtap counts from where the module was there. */
	return refuse(r, reason, reason_size, "%s: %s%s", path, strerror(-r),
		r == -EPERM ? ": the module macvtap came after vmmd: systemctl restart vmmd" : "");
}

int macvtap_open(const struct macvtap_order *order, int ret_fds[CONFIG_MAX_PAIRS], int *ret_index,
	char *reason, size_t reason_size)
{
	const struct config_network *network = order->network;
	struct netlink_link parent, link = {};
	struct netlink netlink;
	int r = netlink_open(&netlink);

	if (r < 0)
		return refuse(r, reason, reason_size, "netlink: %s", strerror(-r));
	r = find_parent(&netlink, network->macvtap.value, &parent, reason, reason_size);
	if (r >= 0)
		r = make_link(&netlink, order, parent.index, &link, reason, reason_size);
	if (r >= 0)
		r = take_up(&netlink, order, link.index, reason, reason_size);
	if (r >= 0)
		r = open_device(&link, (size_t)network->queues.value, ret_fds, reason, reason_size);
	if (r < 0 && link.index > 0)
		netdev_delete(&netlink, link.index);
	netlink_close(&netlink);
	if (r >= 0)
		*ret_index = link.index;
	return r;
}

void macvtap_delete(int index)
{
	struct netlink netlink;

	if (netlink_open(&netlink) < 0)
		return;
	netdev_delete(&netlink, index);
	netlink_close(&netlink);
}
