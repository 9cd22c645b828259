/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net: what its files share. See the public header for the contract. */
#ifndef VMM_VIRTIO_NET_INTERNAL_H
#define VMM_VIRTIO_NET_INTERNAL_H

#include <vmmcore/virtio-net.h>
#include <vmmcore/virtqueue.h>

/* Feature bits, 5.1.3. */
#define F_CSUM (UINT64_C(1) << 0)
#define F_GUEST_CSUM (UINT64_C(1) << 1)
#define F_CTRL_GUEST_OFFLOADS (UINT64_C(1) << 2)
#define F_MTU (UINT64_C(1) << 3)
#define F_MAC (UINT64_C(1) << 5)
#define F_GUEST_TSO4 (UINT64_C(1) << 7)
#define F_GUEST_TSO6 (UINT64_C(1) << 8)
#define F_GUEST_ECN (UINT64_C(1) << 9)
#define F_HOST_TSO4 (UINT64_C(1) << 11)
#define F_HOST_TSO6 (UINT64_C(1) << 12)
#define F_HOST_ECN (UINT64_C(1) << 13)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_STATUS (UINT64_C(1) << 16)
#define F_CTRL_VQ (UINT64_C(1) << 17)
#define F_GUEST_ANNOUNCE (UINT64_C(1) << 21)
#define F_MQ (UINT64_C(1) << 22)
#define F_CTRL_MAC_ADDR (UINT64_C(1) << 23)

/* Those that a driver may turn off and on again through the control queue. */
#define GUEST_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)

/* struct virtio_net_config, status: 5.1.4 */
#define STATUS_LINK_UP 1
#define STATUS_ANNOUNCE 2

#define ETHERNET_BYTES 14 /* the shortest frame: a header and nothing behind it */

/* struct virtio_net_hdr, 5.1.6 */
struct net_header {
	uint8_t flags;
	uint8_t gso_type;
	struct vmm_le16 hdr_len;
	struct vmm_le16 gso_size;
	struct vmm_le16 csum_start;
	struct vmm_le16 csum_offset;
	struct vmm_le16 num_buffers;
};

#define HEADER_NEEDS_CSUM 1
#define GSO_NONE 0
#define GSO_TCPV4 1
#define GSO_TCPV6 4
#define GSO_ECN 0x80

/* How many frames one call serves before others get their turn. */
#define FRAMES_A_TURN 128

/*
 * Buffers of the driver that were popped and not used yet, the oldest first: enough for the
 * largest frame that may come. Their iovecs lie one behind another, with room for one more at both
 * ends, so that they are one scatter list for the back end. Under the receive queue's data lock.
 */
struct window {
	struct vmm_virtqueue_chain *chains; /* owned; room for chains_room */
	struct iovec *iov;                  /* in iov_owned, behind its first; room for iov_room */
	struct iovec *iov_owned;
	size_t chains_room, iov_room;
	size_t first_chain, end_chain;
	size_t first_iov, end_iov;
	uint64_t size_bytes;
};

/*
 * Frames of the driver that were popped and go to the back end together, the oldest first. Empty
 * but while the queue is served. Under the transmit queue's data lock.
 */
struct batch {
	struct batch_entry {
		struct vmm_virtqueue_chain chain;
		struct net_header header;
		uint64_t frame_bytes;
	} * entries;                  /* owned; VMM_NET_MAX_BATCH of them */
	struct vmm_net_frame *frames; /* owned; as many, their iovecs one behind another in iov */
	struct iovec *iov;            /* owned; room for a header and the longest chain */
	size_t iov_room;
	size_t n_frames, n_iov;
};

struct pair {
	struct vmm_virtio_net *net; /* borrowed, contains us */
	unsigned int index;

	/* Owned sources of the pair's loop. */
	struct vmm_loop_source *receive_kick, *transmit_kick;
	struct vmm_loop_source *backend; /* NULL where it has no descriptor */
	struct vmm_loop_source *wake;
	struct vmm_loop_source *receive_timer, *transmit_timer;
	uint32_t backend_events; /* what the source waits for now */

	/* In the pair's thread: what the back end is waited for. */
	bool want_receive, want_transmit;

	/* Under the receive queue's data lock. */
	struct window window;
	uint8_t *overflow;     /* owned; takes what does not fit */
	uint64_t held_bytes;   /* of a frame that came and is not delivered yet */
	uint64_t placed_bytes; /* of those, in the window; the others are in overflow */
	struct net_header held_header;
	uint64_t receive_bytes;   /* the largest frame that may come now, with its header */
	uint64_t expected_bytes;  /* how much the next frame gets at first */
	unsigned int n_unflushed; /* buffers that the driver does not see yet */
	struct vmm_ratelimit receive_limit;

	/* Under the transmit queue's data lock. */
	struct batch batch;
	struct vmm_ratelimit transmit_limit;

	/* Written by the pair's thread, read by any: atomic. */
	uint64_t n_received, received_bytes, n_transmitted, transmitted_bytes;
	uint64_t n_receive_dropped, n_transmit_dropped, n_limited;
};

struct vmm_virtio_net {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_net_backend backend;
	struct pair *pairs; /* owned */
	unsigned int n_pairs;
	struct vmm_loop_source *control_kick; /* owned; of loops[0] */
	uint16_t mtu;

	/* Atomic. */
	unsigned int n_pairs_used; /* 0 while not active */
	uint64_t mac;              /* first octet in the lowest byte */
	uint64_t guest_offloads;   /* GUEST_OFFLOADS that are on now */
	uint16_t status;
	bool link_up; /* what set_link() said; the driver sees it less backend_failed */
	bool backend_failed;
};

static inline unsigned int receive_queue(const struct pair *pair)
{
	return pair->index * 2;
}

static inline unsigned int transmit_queue(const struct pair *pair)
{
	return pair->index * 2 + 1;
}

static inline void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* net.c */
bool vmm_net_link_is_up(struct vmm_virtio_net *net);
void vmm_net_backend_failed(struct vmm_virtio_net *net);
void vmm_net_wake_all(struct vmm_virtio_net *net);

/* receive.c: under the receive queue's data lock */
int vmm_net_window_init(struct window *window, unsigned int queue_size);
void vmm_net_window_finish(struct window *window);
int vmm_net_receive(struct pair *pair, struct vmm_virtqueue *queue);
void vmm_net_receive_pause(struct pair *pair, struct vmm_virtqueue *queue);
void vmm_net_receive_reset(struct pair *pair);
void vmm_net_receive_set_offloads(struct vmm_virtio_net *net, uint64_t features);

/* transmit.c: under the transmit queue's data lock */
int vmm_net_batch_init(struct batch *batch, unsigned int queue_size);
void vmm_net_batch_finish(struct batch *batch);
int vmm_net_transmit(struct pair *pair, struct vmm_virtqueue *queue);

/*
 * uring.c: frames to one non-blocking descriptor, one system call for several. Sends up to
 * VMM_NET_MAX_BATCH of them and returns how many it is done with, all or the first ones: the ring
 * then is of no more use and takes none, and the others are to be sent without it.
 */
struct net_uring;

int vmm_net_uring_new(int fd, struct net_uring **ret_uring);
struct net_uring *vmm_net_uring_free(struct net_uring *uring);
size_t vmm_net_uring_send(struct net_uring *uring, struct vmm_net_frame *frames, size_t n_frames);

/* control.c: under the control queue's data lock */
int vmm_net_control(struct vmm_virtio_net *net, struct vmm_virtqueue *queue);
int vmm_net_set_pairs(struct vmm_virtio_net *net, unsigned int n_pairs);
int vmm_net_set_guest_offloads(struct vmm_virtio_net *net, uint64_t features);

#endif
