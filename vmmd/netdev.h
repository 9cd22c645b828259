/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * netdev: links of the host that vmmd makes and that do not end with a descriptor, as taps do:
 * macvtaps and the bridges of zones. Each is marked: by its group from the moment it is there, and
 * by its alias, which says whose it is. Nothing without the mark is ever deleted.
 *
 * Blocks: for children, not for the loop. Negative errno.
 */
#ifndef VMMD_NETDEV_H
#define VMMD_NETDEV_H

#include "config.h"
#include "netlink.h"

/* "vmmd" in ASCII: ip link show group 1986882916. */
#define NETDEV_GROUP 0x766d6d64u

/* The group of the vmmd with that directory: NETDEV_GROUP with the system's own, and another for
 * one with --root=, so that neither takes the other's links away. */
uint32_t netdev_group(const char *run_dir);

#define NETDEV_MACVTAP_PREFIX "mv-"
#define NETDEV_ZONE_PREFIX "vz-"

/* A link that the vmmd of the group has made: its group, its kind and how its name begins. */
bool netdev_is_ours(const struct netlink_link *link, uint32_t group);

/* A macvtap's alias is "vmmd MACHINE/NETWORK". False where it is another's, or none yet. */
bool netdev_owner(const struct netlink_link *link, char machine[CONFIG_MAX_NAME + 1],
	char network[CONFIG_MAX_NAME + 1]);
void netdev_alias(char alias[NETLINK_ALIAS_SIZE], const char *machine, const char *network);

/* Its alias; without IPv6 addresses where is_silent; then up, with flags such as IFF_ALLMULTI. */
int netdev_finish(
	struct netlink *netlink, int index, const char *alias, bool is_silent, unsigned int flags);
int netdev_delete(struct netlink *netlink, int index);

/* Who joins a zone and who takes an empty one away do so one after the other. The lock is the
 * descriptor's, of a directory that nobody else may open, and so not lock either. */
int netdev_lock(const char *run_dir, int *ret_fd);

/* What is to go. */
struct netdev_sweep {
	const char *run_dir;
	/* Of what was there when the machines that are kept were counted: a link that has come
	 * since is not touched. */
	const int *indexes;
	size_t n_indexes;
	/* machine "" where a macvtap has no alias. Bridges of zones go when they are empty. */
	bool (*keeps)(void *userdata, const char *machine, const char *network);
	void *userdata;
};

int netdev_sweep(const struct netdev_sweep *sweep);

#endif
