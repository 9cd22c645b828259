/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* zone: see zone.h. */
#include "zone.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "tap.h"

void zone_bridge(const char *zone, char name[IFNAMSIZ])
{
	snprintf(name, IFNAMSIZ, NETDEV_ZONE_PREFIX "%s", zone);
}

void zone_compose(
	struct netlink_message *message, const char *name, uint32_t group, const uint8_t mac[6])
{
	const struct ifinfomsg info = {};
	size_t link;

	netlink_begin(message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &info);
	netlink_put_text(message, IFLA_IFNAME, name);
	netlink_put(message, IFLA_ADDRESS, mac, 6);
	netlink_put_u32(message, IFLA_GROUP, group);
	link = netlink_nest(message, IFLA_LINKINFO);
	netlink_put_text(message, IFLA_INFO_KIND, "bridge");
	netlink_nest_end(message, link);
}

static int fail(int error, const char *what, char *reason, size_t reason_size)
{
	snprintf(reason, reason_size, "%s: %s", what, strerror(-error));
	return error;
}

static int find_bridge(struct netlink *netlink, const char *name, struct netlink_link *ret_bridge,
	char *reason, size_t reason_size)
{
	int r = netlink_get(netlink, 0, name, ret_bridge);

	if (r < 0)
		return fail(r, name, reason, reason_size);
	if (strcmp(ret_bridge->kind, "bridge") == 0)
		return 0;
	snprintf(reason, reason_size, "%s is there, and is no bridge", name);
	return -EEXIST;
}

/* It keeps its address while ports come and go: machines know the host by it. */
static int make_bridge(struct netlink *netlink, const char *zone, uint32_t group, const char *name)
{
	struct netlink_message message;
	uint8_t host[16], mac[6];
	int r;

	/* No machine has such a name. */
	tap_make_mac(tap_host_id(host) ? host : NULL, "zone:", zone, mac);
	zone_compose(&message, name, group, mac);
	r = netlink_call(netlink, &message);
	return r == -EEXIST ? 0 : r;
}

static int add_port(struct netlink *netlink, const char *tap, int bridge)
{
	const struct ifinfomsg info = { .ifi_index = (int)if_nametoindex(tap) };
	struct netlink_message message;

	if (info.ifi_index == 0)
		return -ENODEV;
	netlink_begin(&message, RTM_SETLINK, NLM_F_ACK, &info);
	netlink_put_u32(&message, IFLA_MASTER, (uint32_t)bridge);
	return netlink_call(netlink, &message);
}

static int join(struct netlink *netlink, const char *zone, uint32_t group, const char *tap,
	char *reason, size_t reason_size)
{
	char name[IFNAMSIZ], alias[NETLINK_ALIAS_SIZE];
	struct netlink_link bridge;
	int r;

	zone_bridge(zone, name);
	r = find_bridge(netlink, name, &bridge, reason, reason_size);
	if (r == -ENODEV) {
		r = make_bridge(netlink, zone, group, name);
		if (r < 0)
			return fail(r, name, reason, reason_size);
		r = find_bridge(netlink, name, &bridge, reason, reason_size);
	}
	if (r < 0)
		return r;
	/* A new one, or one whose maker was killed before it was up. */
	if (netdev_is_ours(&bridge, group) && !(bridge.flags & IFF_UP)) {
		snprintf(alias, sizeof(alias), "vmmd zone %s", zone);
		r = netdev_finish(netlink, bridge.index, alias, false, 0);
		if (r < 0)
			return fail(r, name, reason, reason_size);
	}
	r = add_port(netlink, tap, bridge.index);
	return r < 0 ? fail(r, name, reason, reason_size) : 0;
}

int zone_join(
	const char *run_dir, const char *zone, const char *tap, char *reason, size_t reason_size)
{
	CLEANUP(close_p) int lock_fd = -EBADF;
	struct netlink netlink;
	int r;

	r = netdev_lock(run_dir, &lock_fd);
	if (r < 0)
		return fail(r, run_dir, reason, reason_size);
	r = netlink_open(&netlink);
	if (r < 0)
		return fail(r, "netlink", reason, reason_size);
	r = join(&netlink, zone, netdev_group(run_dir), tap, reason, reason_size);
	netlink_close(&netlink);
	return r;
}

int zone_check(const char *zone, char *reason, size_t reason_size)
{
	struct netlink_link bridge;
	struct netlink netlink;
	char name[IFNAMSIZ];
	int r = netlink_open(&netlink);

	if (r < 0)
		return fail(r, "netlink", reason, reason_size);
	zone_bridge(zone, name);
	r = find_bridge(&netlink, name, &bridge, reason, reason_size);
	netlink_close(&netlink);
	return r == -ENODEV ? 0 : r;
}
