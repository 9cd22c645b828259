/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * zone: [Network] Zone=. A bridge vz-NAME that the taps of all machines of the zone are ports of,
 * as systemd-nspawn's --network-zone= has it for containers, which may be in the same one. It is
 * made with its first machine and goes with its last, see sweep.h; one that somebody else has made
 * is used, and left. Runs in the child that opens resources.
 */
#ifndef VMMD_ZONE_H
#define VMMD_ZONE_H

#include <assert.h>

#include "netdev.h"

static_assert(CONFIG_MAX_ZONE == IFNAMSIZ - (int)sizeof(NETDEV_ZONE_PREFIX), "it names a link");

/* "vz-NAME" */
void zone_bridge(const char *zone, char name[IFNAMSIZ]);

/* The message that makes the bridge. For the tests. */
void zone_compose(
	struct netlink_message *message, const char *name, uint32_t group, const uint8_t mac[6]);

/* The link named tap becomes a port of the zone's bridge, which is made where there is none.
 * Negative errno and a reason. */
int zone_join(
	const char *run_dir, const char *zone, const char *tap, char *reason, size_t reason_size);
/* Whether that may work: what has the bridge's name is a bridge. */
int zone_check(const char *zone, char *reason, size_t reason_size);

#endif
