/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * tap: network interfaces of machines. A tap lives as long as a descriptor of it is open: the
 * worker's. Runs in the child that opens resources.
 */
#ifndef VMMD_TAP_H
#define VMMD_TAP_H

#include <net/if.h>

#include "config.h"

/* virtio 1.x: struct virtio_net_hdr with num_buffers. */
enum { TAP_HEADER_BYTES = 12 };

/* Of both names in full. */
uint64_t tap_hash(const char *machine, const char *network);

/*
 * "vt-", the names cut short, a hash of both in full. "vb-" where it is a port of a bridge:
 * systemd-networkd makes a network with DHCP of each vt-, and takes it from its bridge for that.
 */
void tap_name(const char *machine, const struct config_network *network, char name[IFNAMSIZ]);

/*
 * The address given, or one made from the host's id and the names: locally administered, the same
 * each time, and another for a machine of that name on the next host.
 */
void tap_mac(const char *machine, const struct config_network *network, uint8_t mac[6]);
/* How it is made. host may be NULL: of the names only. */
void tap_make_mac(const uint8_t host[16], const char *machine, const char *network, uint8_t mac[6]);
/* The host's id for it: the machine id by HMAC-SHA256, which cannot be told from the address.
 * False where the host has none. */
bool tap_host_id(uint8_t host[16]);

/*
 * Makes it, adds it to its bridge or zone and takes it up. One descriptor a queue pair. run_dir is
 * for zones, see netdev_lock(). Negative errno and a reason.
 */
int tap_open(const char *run_dir, const char *machine, const struct config_network *network,
	int ret_fds[CONFIG_MAX_PAIRS], char *reason, size_t reason_size);
/* Whether that may work: the device and the bridge are there. */
int tap_check(const struct config_network *network, char *reason, size_t reason_size);

#endif
