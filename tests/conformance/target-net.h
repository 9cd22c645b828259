/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-net know of the network behind it. */
#ifndef VMM_TESTS_TARGET_NET_H
#define VMM_TESTS_TARGET_NET_H

#include <stdint.h>

#define NET_PAIRS 2
#define NET_MTU 1400
#define NET_MAC                                                                                    \
	{                                                                                          \
		0x52, 0x54, 0, 1, 2, 3                                                             \
	}

/* struct virtio_net_hdr, 5.1.6. */
struct net_frame_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

/* Events for target.host(). A frame is its header and what goes over the wire. */
enum net_host {
	NET_HOST_GIVE,     /* data: a byte, the pair; then a frame for the guest */
	NET_HOST_TOOK,     /* whether the oldest frame of the guest is data; it is gone then */
	NET_HOST_NOTHING,  /* whether there is no frame of the guest left */
	NET_HOST_LINK,     /* data: a byte, 1 for up */
	NET_HOST_ANNOUNCE, /* asks the guest to announce itself */
	NET_HOST_OFFLOADS, /* whether the network was told data, a byte: 1 checksum, 2 TSO4, 4 TSO6
			    */
	NET_HOST_IN_USE,   /* whether the pairs in use are data, a byte */
};

#endif
