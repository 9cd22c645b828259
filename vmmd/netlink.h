/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * netlink: as much of rtnetlink(7) as links of machines take: one message at a time, with the
 * kernel's answer. Blocks for up to NETLINK_TIMEOUT_SEC: for children, not for the loop.
 */
#ifndef VMMD_NETLINK_H
#define VMMD_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NETLINK_MAX_BYTES = 1024, /* of a message that is sent */
	NETLINK_TIMEOUT_SEC = 5,
	NETLINK_ALIAS_SIZE = 256, /* IFALIASZ */
};

/* A message about links, as it grows. What no longer fits makes it too long, which is told when
 * it is sent. */
struct netlink_message {
	_Alignas(struct nlmsghdr) uint8_t bytes[NETLINK_MAX_BYTES];
	size_t n_bytes;
	bool too_long;
};

/* type: RTM_NEWLINK and the like; flags: NLM_F_CREATE and the like, with NLM_F_ACK where there is
 * no other answer. */
void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags,
	const struct ifinfomsg *link);
void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t n_bytes);
void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text);
void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value);
/* What is put until the end with the number that it gives lies in the attribute. */
size_t netlink_nest(struct netlink_message *message, uint16_t type);
void netlink_nest_end(struct netlink_message *message, size_t nest);

struct netlink {
	int fd; /* owned */
	uint32_t sequence;
};

int netlink_open(struct netlink *netlink);
void netlink_close(struct netlink *netlink);

/* Sends it and waits for its acknowledgement: 0, or what the kernel says. */
int netlink_call(struct netlink *netlink, struct netlink_message *message);

/* What the kernel says of a link. */
struct netlink_link {
	int index;
	int parent; /* the link below; 0: none */
	int master; /* the bridge that it is a port of; 0: none */
	uint32_t group;
	unsigned int flags; /* IFF_UP */
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge"; "": a device of its own */
	char alias[NETLINK_ALIAS_SIZE];
};

/* By its index, or where that is 0 by its name. -ENODEV. */
int netlink_get(
	struct netlink *netlink, int index, const char *name, struct netlink_link *ret_link);

/* All of them. Ends when found gives what is not 0, and returns that. -EINTR: links have come or
 * gone meanwhile, and found may have missed others, too. */
typedef int (*netlink_found_t)(void *userdata, const struct netlink_link *link);
int netlink_list(struct netlink *netlink, netlink_found_t found, void *userdata);

#endif
