/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * macvtap: [Network] MACVTap=. A link on top of one of the host's, whose device /dev/tapN is a tap
 * for who opens it. The link does not end with its descriptors: see netdev.h and sweep.h. Runs in
 * the child that opens resources.
 */
#ifndef VMMD_MACVTAP_H
#define VMMD_MACVTAP_H

#include "netdev.h"

/* "mv-", the names cut short, a hash of both in full. */
void macvtap_name(const char *machine, const char *network, char name[IFNAMSIZ]);

/* The message that makes one, in bridge mode, on the link with the index parent. For the tests. */
void macvtap_compose(struct netlink_message *message, const char *name, int parent, uint32_t group,
	const uint8_t mac[6]);

struct macvtap_order {
	const char *run_dir; /* see netdev_group() */
	const char *machine;
	const struct config_network *network;
	/* A machine that starts has no other: one that is there is of an earlier end, and goes. */
	bool is_start;
};

/*
 * Makes it, takes it up and opens it, once for each queue pair. *ret_index is the link's: who
 * fails later deletes it. Negative errno and a reason, and nothing is left.
 */
int macvtap_open(const struct macvtap_order *order, int ret_fds[CONFIG_MAX_PAIRS], int *ret_index,
	char *reason, size_t reason_size);
/* Whether that may work: the parent is there, and is of a kind that can. */
int macvtap_check(const struct config_network *network, char *reason, size_t reason_size);
/* The link of a descriptor that macvtap_open() gave, where what followed has failed. */
void macvtap_delete(int index);

#endif
