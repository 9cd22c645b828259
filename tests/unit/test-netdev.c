/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * netdev: the links that vmmd makes: the messages, what is read of the kernel's answers, whose a
 * link is, and the sweep, with links of the kernel in a network namespace of the test's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "macvtap.h"
#include "tap.h"
#include "temporary-dir.h"
#include "unit.h"
#include "zone.h"

/* ---- messages ---- */

struct expected {
	unsigned int depth;
	uint16_t type;
	const void *payload;
	size_t n_bytes; /* 0: others are in it */
};

static size_t check_attributes(
	const uint8_t *at, size_t n_bytes, unsigned int depth, const struct expected *expected)
{
	size_t n = 0;

	while (n_bytes > 0) {
		uint16_t length, type;

		ck_assert_uint_ge(n_bytes, 4);
		memcpy(&length, at, 2);
		memcpy(&type, at + 2, 2);
		ck_assert_uint_ge(length, 4);
		ck_assert_uint_le(length, n_bytes);
		ck_assert_uint_eq(depth, expected[n].depth);
		ck_assert_uint_eq(type, expected[n].type);
		if (expected[n].n_bytes > 0) {
			ck_assert_uint_eq(length - 4u, expected[n].n_bytes);
			ck_assert_mem_eq(at + 4, expected[n].payload, length - 4u);
			n++;
		} else {
			n++;
			n += check_attributes(at + 4, length - 4u, depth + 1, &expected[n]);
		}
		length = (uint16_t)MIN((length + 3u) & ~3u, n_bytes);
		at += length;
		n_bytes -= length;
	}
	return n;
}

START_TEST(test_macvtap_message)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	static const struct expected expected[] = {
		{ 0, IFLA_IFNAME, "mv-web-123456", 14 }, { 0, IFLA_LINK, "\x07\0\0\0", 4 },
		{ 0, IFLA_ADDRESS, mac, 6 }, { 0, IFLA_GROUP, "dmmv", 4 },
		{ 0, IFLA_LINKINFO, NULL, 0 }, { 1, IFLA_INFO_KIND, "macvtap", 8 },
		{ 1, IFLA_INFO_DATA, NULL, 0 },
		{ 2, IFLA_MACVLAN_MODE, "\x04\0\0\0", 4 }, /* bridge */
	};
	struct netlink_message message;
	const struct nlmsghdr *header = (const struct nlmsghdr *)message.bytes;
	const size_t before = sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg);

	macvtap_compose(&message, "mv-web-123456", 7, NETDEV_GROUP, mac);
	ck_assert(!message.too_long);
	ck_assert_uint_eq(header->nlmsg_type, RTM_NEWLINK);
	/* One that is there is never changed. */
	ck_assert_uint_eq(
		header->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
	ck_assert_uint_eq(
		check_attributes(message.bytes + before, message.n_bytes - before, 0, expected),
		ARRAY_SIZE(expected));
}
END_TEST

START_TEST(test_zone_message)
{
	static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };
	static const struct expected expected[] = {
		{ 0, IFLA_IFNAME, "vz-abcdefghijkl", 16 },
		{ 0, IFLA_ADDRESS, mac, 6 },
		{ 0, IFLA_GROUP, "dmmv", 4 },
		{ 0, IFLA_LINKINFO, NULL, 0 },
		{ 1, IFLA_INFO_KIND, "bridge", 7 },
	};
	const size_t before = sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg);
	struct netlink_message message;
	char name[IFNAMSIZ];

	zone_bridge("abcdefghijkl", name);
	zone_compose(&message, name, NETDEV_GROUP, mac);
	ck_assert_uint_eq(((const struct nlmsghdr *)message.bytes)->nlmsg_flags,
		NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
	ck_assert_uint_eq(
		check_attributes(message.bytes + before, message.n_bytes - before, 0, expected),
		ARRAY_SIZE(expected));
}
END_TEST

START_TEST(test_message_too_long)
{
	const struct ifinfomsg info = {};
	struct netlink netlink = { .fd = -EBADF };
	struct netlink_message message;
	char text[NETLINK_MAX_BYTES];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	netlink_begin(&message, RTM_NEWLINK, 0, &info);
	netlink_nest_end(&message, netlink_nest(&message, IFLA_LINKINFO));
	netlink_put_text(&message, IFLA_IFALIAS, text);
	/* Not even what would fit, then. */
	netlink_put_u32(&message, IFLA_GROUP, 1);
	ck_assert(message.too_long);
	ck_assert_int_eq(netlink_call(&netlink, &message), -EMSGSIZE);
}
END_TEST

START_TEST(test_names)
{
	char name[IFNAMSIZ], other[IFNAMSIZ];

	macvtap_name("abcdefghijklmnopqrstuvwxyz0", "lan", name);
	ck_assert_int_eq(strncmp(name, "mv-abcde-", 9), 0);
	ck_assert_uint_lt(strlen(name), IFNAMSIZ);
	macvtap_name("abcdefghijklmnopqrstuvwxyz1", "lan", other);
	ck_assert_str_ne(name, other);
}
END_TEST

/* ---- answers ---- */

/* What netlink reads is what the other end of a pair has written. */
static int answer(const void *bytes, size_t n_bytes, struct netlink *ret)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(send(pair[1], bytes, n_bytes, 0), (ssize_t)n_bytes);
	*ret = (struct netlink){ .fd = pair[0] };
	return pair[1];
}

struct link_answer {
	struct nlmsghdr header;
	struct ifinfomsg info;
	uint8_t bytes[64];
};

static struct link_answer link_answer(size_t n_bytes)
{
	return (struct link_answer){
		.header = { .nlmsg_len =
				    (uint32_t)(NLMSG_LENGTH(sizeof(struct ifinfomsg)) + n_bytes),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_seq = 1 },
		.info = { .ifi_index = 5, .ifi_flags = IFF_UP },
	};
}

START_TEST(test_get)
{
	/* A name without its NUL, a kind that is longer than any, a group of two bytes. */
	static const uint8_t attributes[] = "\x06\0\3\0ab\0\0"
					    "\x20\0\x12\0\x1c\0\1\0abcdefghijklmnopqrstuvw\0"
					    "\x06\0\x1b\0\1\2\0";
	struct link_answer message = link_answer(sizeof(attributes));
	struct netlink_link link;
	struct netlink netlink;
	int fd;

	memcpy(message.bytes, attributes, sizeof(attributes));
	fd = answer(&message, message.header.nlmsg_len, &netlink);
	ck_assert_int_eq(netlink_get(&netlink, 0, "ab", &link), 0);
	ck_assert_int_eq(link.index, 5);
	ck_assert_uint_eq(link.flags, IFF_UP);
	ck_assert_str_eq(link.name, "ab");
	ck_assert_str_eq(link.kind, "abcdefghijklmno");
	ck_assert_uint_eq(link.group, 0x201);
	ck_assert_str_eq(link.alias, "");
	close(fd);
	netlink_close(&netlink);
}
END_TEST

/* Lengths that are no lengths. */
static const struct {
	const char *what;
	uint32_t length;  /* of the message, as it says; 0: as it is */
	uint16_t type;    /* 0: RTM_NEWLINK */
	uint16_t n_first; /* length of the attribute, as it says */
	int result;
} hostile[] = {
	{ "longer than what came", 4096, 0, 8, -EBADMSG },
	{ "shorter than its head", 3, 0, 8, -EBADMSG },
	{ "without a link", NLMSG_LENGTH(0), 0, 8, -EBADMSG },
	{ "an error without a number", NLMSG_LENGTH(0), NLMSG_ERROR, 8, -EBADMSG },
	{ "an end where a link should be", 0, NLMSG_DONE, 8, -EBADMSG },
	{ "an attribute that is longer than the rest", 0, 0, 4096, 0 },
	{ "an attribute of no length", 0, 0, 0, 0 },
};

START_TEST(test_hostile_answers)
{
	struct link_answer message = link_answer(8);
	size_t n_bytes = message.header.nlmsg_len;
	struct netlink_link link;
	struct netlink netlink;
	int fd;

	if (hostile[_i].length > 0)
		message.header.nlmsg_len = hostile[_i].length;
	if (hostile[_i].type > 0)
		message.header.nlmsg_type = hostile[_i].type;
	memcpy(message.bytes, &hostile[_i].n_first, 2);
	message.bytes[2] = IFLA_IFNAME;
	fd = answer(&message, n_bytes, &netlink);
	ck_assert_msg(netlink_get(&netlink, 5, NULL, &link) == hostile[_i].result, "%s",
		hostile[_i].what);
	close(fd);
	netlink_close(&netlink);
}
END_TEST

/* The answer to what nobody waited for is not taken for this one's. */
START_TEST(test_late_answer)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} answers[2] = {
		{ .header = { .nlmsg_len = sizeof(answers[0]), .nlmsg_type = NLMSG_ERROR } },
		{ .header = { .nlmsg_len = sizeof(answers[0]),
			  .nlmsg_type = NLMSG_ERROR,
			  .nlmsg_seq = 1 },
			.error = { .error = -EBUSY } },
	};
	struct netlink netlink;
	int fd = answer(answers, sizeof(answers), &netlink);

	ck_assert_int_eq(netdev_delete(&netlink, 5), -EBUSY);
	close(fd);
	netlink_close(&netlink);
}
END_TEST

static int found_one(void *userdata, const struct netlink_link *link)
{
	unsigned int *n_found = userdata;

	++*n_found;
	return 0;
}

static const struct {
	uint16_t flags[2];
	int error;
	int result;
} lists[] = {
	{ { NLM_F_MULTI, NLM_F_MULTI }, 0, 0 },
	{ { NLM_F_MULTI | NLM_F_DUMP_INTR, NLM_F_MULTI }, 0, -EINTR },
	{ { NLM_F_MULTI, NLM_F_MULTI | NLM_F_DUMP_INTR }, 0, -EINTR },
	{ { NLM_F_MULTI, NLM_F_MULTI }, -ENOBUFS, -ENOBUFS },
};

/* Of a list that the kernel could not finish as it was begun it is known that it lacks some. */
START_TEST(test_list)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct nlmsghdr end;
		int error;
	} message = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = lists[_i].flags[0],
			.nlmsg_seq = 1 },
		.info = { .ifi_index = 5 },
		.end = { .nlmsg_len = NLMSG_LENGTH(sizeof(int)),
			.nlmsg_type = NLMSG_DONE,
			.nlmsg_flags = lists[_i].flags[1],
			.nlmsg_seq = 1 },
		.error = lists[_i].error,
	};
	unsigned int n_found = 0;
	struct netlink netlink;
	int fd = answer(&message, sizeof(message), &netlink);

	ck_assert_int_eq(netlink_list(&netlink, found_one, &n_found), lists[_i].result);
	ck_assert_uint_eq(n_found, 1);
	close(fd);
	netlink_close(&netlink);
}
END_TEST

/* ---- whose it is ---- */

START_TEST(test_group)
{
	ck_assert_uint_eq(netdev_group("/run/vmmd"), NETDEV_GROUP);
	ck_assert_uint_ne(netdev_group("/tmp/a/run/vmmd"), NETDEV_GROUP);
	ck_assert_uint_ne(netdev_group("/tmp/a/run/vmmd"), netdev_group("/tmp/b/run/vmmd"));
}
END_TEST

static const struct {
	uint32_t group;
	const char *name, *kind, *alias;
	bool ours, known;
} marks[] = {
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "vmmd web/lan", true, true },
	{ NETDEV_GROUP, "vz-lab", "bridge", "vmmd zone lab", true, false },
	{ 0, "mv-web-123456", "macvtap", "vmmd web/lan", false, true },
	{ 0, "vz-lab", "bridge", "", false, false },
	{ NETDEV_GROUP, "mv-web-123456", "veth", "vmmd web/lan", false, true },
	{ NETDEV_GROUP, "macvtap0", "macvtap", "vmmd web/lan", false, true },
	{ NETDEV_GROUP, "br0", "bridge", "", false, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "", true, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "vmmd web", true, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "vmmd web/", true, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "vmmd web/lan/more", true, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "libvirt web/lan", true, false },
	{ NETDEV_GROUP, "mv-web-123456", "macvtap", "vmmd abcdefghijklmnopqrstuvwxyz01/lan", true,
		false },
};

START_TEST(test_marks)
{
	char machine[CONFIG_MAX_NAME + 1], network[CONFIG_MAX_NAME + 1];

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		struct netlink_link link = { .group = marks[i].group };

		snprintf(link.name, sizeof(link.name), "%s", marks[i].name);
		snprintf(link.kind, sizeof(link.kind), "%s", marks[i].kind);
		snprintf(link.alias, sizeof(link.alias), "%s", marks[i].alias);
		ck_assert_msg(netdev_is_ours(&link, NETDEV_GROUP) == marks[i].ours, "%zu", i);
		ck_assert_msg(netdev_owner(&link, machine, network) == marks[i].known, "%zu", i);
		if (!marks[i].known)
			continue;
		ck_assert_str_eq(machine, "web");
		ck_assert_str_eq(network, "lan");
	}
}
END_TEST

/* ---- with the kernel ---- */

static struct netlink netlink;
static uint32_t group; /* of a vmmd with the directory dir */

static void setup(void)
{
	char path[80];

	make_dir();
	snprintf(path, sizeof(path), "%s/machine", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	group = netdev_group(dir);
	/* Each test is a process of its own. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	ck_assert_int_eq(netlink_open(&netlink), 0);
}

static void teardown(void)
{
	netlink_close(&netlink);
	remove_dir();
}

static int make(const char *kind, const char *name, uint32_t in_group)
{
	const struct ifinfomsg info = {};
	struct netlink_message message;
	struct netlink_link link;
	size_t nest;

	netlink_begin(&message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &info);
	netlink_put_text(&message, IFLA_IFNAME, name);
	netlink_put_u32(&message, IFLA_GROUP, in_group);
	nest = netlink_nest(&message, IFLA_LINKINFO);
	netlink_put_text(&message, IFLA_INFO_KIND, kind);
	netlink_nest_end(&message, nest);
	ck_assert_int_eq(netlink_call(&netlink, &message), 0);
	ck_assert_int_eq(netlink_get(&netlink, 0, name, &link), 0);
	ck_assert_str_eq(link.kind, kind);
	ck_assert_uint_eq(link.group, in_group);
	return link.index;
}

static bool is_there(int index)
{
	struct netlink_link link;
	int r = netlink_get(&netlink, index, NULL, &link);

	ck_assert(r == 0 || r == -ENODEV);
	return r == 0;
}

static bool keeps_all(void *userdata, const char *machine, const char *network)
{
	return true;
}

/* Empty bridges of ours go; others, those with a port, and what came later stay. */
START_TEST(test_sweep_of_bridges)
{
	const struct ifinfomsg info = { .ifi_index = make("veth", "port", 0) };
	int ours = make("bridge", "vz-empty", group), used = make("bridge", "vz-used", group),
	    foreign = make("bridge", "vz-foreign", 0), other = make("bridge", "br-mine", group),
	    late = make("bridge", "vz-late", group),
	    system = make("bridge", "vz-system", NETDEV_GROUP);
	const int indexes[] = { ours, used, foreign, other, system, info.ifi_index };
	const struct netdev_sweep sweep = {
		.run_dir = dir,
		.indexes = indexes,
		.n_indexes = ARRAY_SIZE(indexes),
		.keeps = keeps_all,
	};
	struct netlink_message message;

	netlink_begin(&message, RTM_SETLINK, NLM_F_ACK, &info);
	netlink_put_u32(&message, IFLA_MASTER, (uint32_t)used);
	ck_assert_int_eq(netlink_call(&netlink, &message), 0);
	ck_assert_int_eq(netdev_sweep(&sweep), 0);
	ck_assert(!is_there(ours));
	ck_assert(is_there(used) && is_there(foreign) && is_there(other) && is_there(late));
	/* Nor do another vmmd's. */
	ck_assert(is_there(system) && is_there(info.ifi_index));
	ck_assert_int_eq(netdev_delete(&netlink, info.ifi_index), 0);
	ck_assert_int_eq(netdev_sweep(&sweep), 0);
	ck_assert(!is_there(used));
	ck_assert(is_there(foreign) && is_there(other) && is_there(late));
}
END_TEST

/* Who may only read what vmmd shows to all cannot keep it from its work. */
START_TEST(test_lock)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock_fd = -EBADF;

	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(netdev_lock(dir, &lock_fd), 0);
	close(lock_fd);
	close(fd);
}
END_TEST

START_TEST(test_finish)
{
	int index = make("bridge", "vz-a", group);
	char alias[NETLINK_ALIAS_SIZE];
	struct netlink_link link;

	netdev_alias(alias, "web", "lan");
	ck_assert_int_eq(netdev_finish(&netlink, index, alias, true, IFF_ALLMULTI), 0);
	ck_assert_int_eq(netlink_get(&netlink, index, NULL, &link), 0);
	ck_assert_str_eq(link.alias, "vmmd web/lan");
	ck_assert_uint_eq(link.flags & (IFF_UP | IFF_ALLMULTI), IFF_UP | IFF_ALLMULTI);
	ck_assert_int_eq(netdev_finish(&netlink, index + 100, alias, false, 0), -ENODEV);
}
END_TEST

/* Why a macvtap is not made; and nothing is left of it. */
START_TEST(test_macvtap_refused)
{
	struct config_network network = { .name.value = (char *)"lan", .queues.value = 1 };
	const struct macvtap_order order = {
		.run_dir = dir,
		.machine = "web",
		.network = &network,
		.is_start = true,
	};
	int fds[CONFIG_MAX_PAIRS], index;
	char reason[160], name[IFNAMSIZ];
	struct netlink_link link;

	network.macvtap.value = (char *)"nowhere0";
	ck_assert_int_eq(macvtap_check(&network, reason, sizeof(reason)), -ENODEV);
	ck_assert_str_eq(reason, "\"nowhere0\": No such device");
	ck_assert_int_eq(macvtap_open(&order, fds, &index, reason, sizeof(reason)), -ENODEV);
	ck_assert_str_eq(reason, "\"nowhere0\": No such device");
	network.macvtap.value = (char *)"lo";
	ck_assert_int_eq(macvtap_check(&network, reason, sizeof(reason)), -EINVAL);
	ck_assert_str_eq(reason, "\"lo\" is the loopback: name an Ethernet interface");

	/* A link of its name that is somebody else's; or the kernel has no macvtap at all. Here
	 * /dev and /sys are not of this namespace, so that it ends there at the latest. */
	make("veth", "up", 0);
	network.macvtap.value = (char *)"up";
	macvtap_name("web", "lan", name);
	ck_assert_int_eq(macvtap_check(&network, reason, sizeof(reason)), 0);
	ck_assert_int_lt(macvtap_open(&order, fds, &index, reason, sizeof(reason)), 0);
	ck_assert_int_eq(netlink_get(&netlink, 0, name, &link), -ENODEV);
	make("bridge", name, 0);
	ck_assert_int_lt(macvtap_open(&order, fds, &index, reason, sizeof(reason)), 0);
	ck_assert_int_eq(netlink_get(&netlink, 0, name, &link), 0);
	ck_assert_str_eq(link.kind, "bridge");
}
END_TEST

/* ---- zones ---- */

static int open_in_zone(const char *machine, const char *zone, int expected)
{
	struct config_network network = {
		.name.value = (char *)"lan",
		.zone.value = (char *)zone,
		.queues.value = 1,
	};
	int fds[CONFIG_MAX_PAIRS] = { -EBADF };
	char reason[160] = "";

	ck_assert_msg(tap_open(dir, machine, &network, fds, reason, sizeof(reason)) == expected,
		"%s", reason);
	return fds[0];
}

/* A frame goes from one to the other. The bridge's and the host's own pass there too. */
static bool passes(int from, int to)
{
	static const uint8_t frame[12 + 60] = {
		[12] = 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 'h', 'i'
	};
	struct pollfd poll_fd = { .fd = to, .events = POLLIN };
	uint8_t bytes[2048];

	ck_assert_int_eq(write(from, frame, sizeof(frame)), sizeof(frame));
	while (poll(&poll_fd, 1, 200) == 1) {
		ssize_t n = read(to, bytes, sizeof(bytes));

		if (n == sizeof(frame) && memcmp(bytes + 12, frame + 12, 60) == 0)
			return true;
	}
	return false;
}

static void sweep_all(int index)
{
	const struct netdev_sweep sweep = {
		.run_dir = dir,
		.indexes = &index,
		.n_indexes = 1,
		.keeps = keeps_all,
	};

	ck_assert_int_eq(netdev_sweep(&sweep), 0);
}

/* Those of one zone see each other and no others; its bridge goes with the last of them. */
START_TEST(test_zone)
{
	int one = open_in_zone("one", "lab", 0), two = open_in_zone("two", "lab", 0),
	    three = open_in_zone("three", "else", 0), tries = 0, index;
	struct netlink_link bridge;

	ck_assert_int_eq(netlink_get(&netlink, 0, "vz-lab", &bridge), 0);
	ck_assert(netdev_is_ours(&bridge, group));
	ck_assert_str_eq(bridge.alias, "vmmd zone lab");
	ck_assert_uint_ne(bridge.flags & IFF_UP, 0);
	while (!passes(one, two))
		ck_assert_int_lt(++tries, 50);
	ck_assert(passes(two, one));
	ck_assert(!passes(one, three));
	index = bridge.index;
	close(one);
	sweep_all(index);
	ck_assert(is_there(index));
	one = open_in_zone("one", "lab", 0);
	tries = 0;
	while (!passes(two, one))
		ck_assert_int_lt(++tries, 50);
	close(one);
	close(two);
	sweep_all(index);
	ck_assert(!is_there(index));
	close(three);
	/* Made anew: nothing of the first is in the way. */
	one = open_in_zone("one", "lab", 0);
	ck_assert_int_eq(netlink_get(&netlink, 0, "vz-lab", &bridge), 0);
	close(one);
}
END_TEST

/* A bridge of somebody else's is used as it is, and stays; what is no bridge is refused. */
START_TEST(test_foreign_zone)
{
	int index = make("bridge", "vz-theirs", 0), tap;
	struct netlink_link bridge, port;
	struct config_network network = { .name.value = (char *)"lan",
		.zone.value = (char *)"theirs" };
	char reason[160], name[IFNAMSIZ];

	ck_assert_int_eq(zone_check("theirs", reason, sizeof(reason)), 0);
	tap = open_in_zone("one", "theirs", 0);
	tap_name("one", &network, name);
	ck_assert_int_eq(netlink_get(&netlink, 0, name, &port), 0);
	ck_assert_int_eq(port.master, index);
	close(tap);
	sweep_all(index);
	ck_assert_int_eq(netlink_get(&netlink, index, NULL, &bridge), 0);
	ck_assert_str_eq(bridge.alias, "");
	ck_assert_uint_eq(bridge.flags & IFF_UP, 0);

	make("veth", "vz-odd", 0);
	ck_assert_int_eq(zone_check("odd", reason, sizeof(reason)), -EEXIST);
	ck_assert_str_eq(reason, "vz-odd is there, and is no bridge");
	open_in_zone("one", "odd", -EEXIST);
	ck_assert_int_eq(zone_check("none", reason, sizeof(reason)), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("netdev");
	TCase *logic = unit_case(suite, "logic"), *kernel = unit_case(suite, "kernel");

	tcase_add_test(logic, test_macvtap_message);
	tcase_add_test(logic, test_zone_message);
	tcase_add_test(logic, test_message_too_long);
	tcase_add_test(logic, test_names);
	tcase_add_test(logic, test_get);
	tcase_add_loop_test(logic, test_hostile_answers, 0, ARRAY_SIZE(hostile));
	tcase_add_test(logic, test_late_answer);
	tcase_add_loop_test(logic, test_list, 0, ARRAY_SIZE(lists));
	tcase_add_test(logic, test_group);
	tcase_add_test(logic, test_marks);
	if (geteuid() == 0) {
		tcase_add_checked_fixture(kernel, setup, teardown);
		tcase_add_test(kernel, test_sweep_of_bridges);
		tcase_add_test(kernel, test_lock);
		tcase_add_test(kernel, test_finish);
		tcase_add_test(kernel, test_macvtap_refused);
		if (access("/dev/net/tun", R_OK | W_OK) == 0) {
			tcase_add_test(kernel, test_zone);
			tcase_add_test(kernel, test_foreign_zone);
		}
	}
	return unit_run(suite);
}
