/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* netdev: see netdev.h. */
#include "netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "base/util.h"
#include "hash.h"

#define ALIAS_PREFIX "vmmd "

/* While links come and go all the time. */
#define MAX_LISTS 100

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_macvtap(const struct netlink_link *link)
{
	return strcmp(link->kind, "macvtap") == 0 && begins_with(link->name, NETDEV_MACVTAP_PREFIX);
}

static bool is_zone(const struct netlink_link *link)
{
	return strcmp(link->kind, "bridge") == 0 && begins_with(link->name, NETDEV_ZONE_PREFIX);
}

uint32_t netdev_group(const char *run_dir)
{
	uint32_t hash = (uint32_t)hash_text(HASH_BEGIN, run_dir);

	if (strcmp(run_dir, "/run/vmmd") == 0)
		return NETDEV_GROUP;
	/* 0 is the group of all links that have none. */
	return hash == 0 ? 1 : hash;
}

bool netdev_is_ours(const struct netlink_link *link, uint32_t group)
{
	return link->group == group && (is_macvtap(link) || is_zone(link));
}

bool netdev_owner(const struct netlink_link *link, char machine[CONFIG_MAX_NAME + 1],
	char network[CONFIG_MAX_NAME + 1])
{
	int end = 0;

	static_assert(CONFIG_MAX_NAME == 27, "as sscanf has it");
	machine[0] = network[0] = 0;
	return sscanf(link->alias, ALIAS_PREFIX "%27[^/]/%27[^/]%n", machine, network, &end) == 2 &&
	       !link->alias[end];
}

void netdev_alias(char alias[NETLINK_ALIAS_SIZE], const char *machine, const char *network)
{
	snprintf(alias, NETLINK_ALIAS_SIZE, ALIAS_PREFIX "%s/%s", machine, network);
}

/* The host takes no part in what passes there: no address of its own, no solicitations. */
static void silence(struct netlink *netlink, const struct ifinfomsg *info)
{
	const uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct netlink_message message;
	size_t all, inet6;

	netlink_begin(&message, RTM_SETLINK, NLM_F_ACK, info);
	all = netlink_nest(&message, IFLA_AF_SPEC);
	inet6 = netlink_nest(&message, AF_INET6);
	netlink_put(&message, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	netlink_nest_end(&message, inet6);
	netlink_nest_end(&message, all);
	/* A kernel without IPv6 has nothing to silence. */
	netlink_call(netlink, &message);
}

int netdev_finish(
	struct netlink *netlink, int index, const char *alias, bool is_silent, unsigned int flags)
{
	struct ifinfomsg info = { .ifi_index = index };
	struct netlink_message message;
	int r;

	netlink_begin(&message, RTM_SETLINK, NLM_F_ACK, &info);
	netlink_put_text(&message, IFLA_IFALIAS, alias);
	r = netlink_call(netlink, &message);
	if (r < 0)
		return r;
	if (is_silent)
		silence(netlink, &info);
	info.ifi_flags = info.ifi_change = IFF_UP | flags;
	netlink_begin(&message, RTM_SETLINK, NLM_F_ACK, &info);
	return netlink_call(netlink, &message);
}

int netdev_delete(struct netlink *netlink, int index)
{
	const struct ifinfomsg info = { .ifi_index = index };
	struct netlink_message message;

	netlink_begin(&message, RTM_DELLINK, NLM_F_ACK, &info);
	return netlink_call(netlink, &message);
}

int netdev_lock(const char *run_dir, int *ret_fd)
{
	CLEANUP(close_p) int fd = -EBADF;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/machine", run_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- the sweep ---- */

struct links {
	struct netlink_link *items; /* owned */
	size_t n_items;
};

static int collect(void *userdata, const struct netlink_link *link)
{
	struct links *links = userdata;
	struct netlink_link *items = reallocarray(links->items, links->n_items + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	links->items = items;
	items[links->n_items++] = *link;
	return 0;
}

/* Bridges go by what ports there are: a list that lacks some is none. */
static int collect_all(struct netlink *netlink, struct links *links)
{
	int r = -EINTR;

	for (unsigned int n = 0; r == -EINTR && n < MAX_LISTS; n++) {
		links->n_items = 0;
		r = netlink_list(netlink, collect, links);
	}
	return r;
}

static bool has_ports(const struct links *links, int bridge)
{
	for (size_t i = 0; i < links->n_items; i++)
		if (links->items[i].master == bridge)
			return true;
	return false;
}

static bool must_go(const struct netdev_sweep *sweep, const struct links *links,
	const struct netlink_link *link)
{
	char machine[CONFIG_MAX_NAME + 1], network[CONFIG_MAX_NAME + 1];
	bool is_known = false;

	for (size_t i = 0; i < sweep->n_indexes; i++)
		is_known |= sweep->indexes[i] == link->index;
	if (!is_known || !netdev_is_ours(link, netdev_group(sweep->run_dir)))
		return false;
	if (is_zone(link))
		return !has_ports(links, link->index);
	if (!netdev_owner(link, machine, network))
		machine[0] = network[0] = 0;
	return !sweep->keeps(sweep->userdata, machine, network);
}

int netdev_sweep(const struct netdev_sweep *sweep)
{
	CLEANUP(close_p) int lock_fd = -EBADF;
	struct links links = {};
	struct netlink netlink;
	int r, failure = 0;

	r = netdev_lock(sweep->run_dir, &lock_fd);
	if (r >= 0)
		r = netlink_open(&netlink);
	if (r < 0)
		return r;
	r = collect_all(&netlink, &links);
	for (size_t i = 0; r >= 0 && i < links.n_items; i++) {
		if (!must_go(sweep, &links, &links.items[i]))
			continue;
		failure = netdev_delete(&netlink, links.items[i].index);
		/* The others go all the same; this one may have gone by itself. */
		if (failure < 0 && failure != -ENODEV)
			r = failure;
	}
	free(links.items);
	netlink_close(&netlink);
	return r;
}
