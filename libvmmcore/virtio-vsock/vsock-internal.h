/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vsock: what its files share. See the public header for the contract. */
#ifndef VMM_VIRTIO_VSOCK_INTERNAL_H
#define VMM_VIRTIO_VSOCK_INTERNAL_H

#include <vmmcore/virtio-vsock.h>
#include <vmmcore/virtqueue.h>

/* struct virtio_vsock_hdr, 5.10.6 */
struct vsock_header {
	struct vmm_le64 src_cid;
	struct vmm_le64 dst_cid;
	struct vmm_le32 src_port;
	struct vmm_le32 dst_port;
	struct vmm_le32 len;
	struct vmm_le16 type;
	struct vmm_le16 op;
	struct vmm_le32 flags;
	struct vmm_le32 buf_alloc;
	struct vmm_le32 fwd_cnt;
} __attribute__((packed));

#define HEADER_BYTES 44

enum {
	OP_REQUEST = 1,
	OP_RESPONSE = 2,
	OP_RST = 3,
	OP_SHUTDOWN = 4,
	OP_RW = 5,
	OP_CREDIT_UPDATE = 6,
	OP_CREDIT_REQUEST = 7,
};

#define SHUTDOWN_RECEIVE 1 /* the sender of the packet receives no more */
#define SHUTDOWN_SEND 2

#define SEQPACKET_EOM 1
#define SEQPACKET_EOR 2

enum {
	QUEUE_RECEIVE = 0,
	QUEUE_TRANSMIT = 1,
	QUEUE_EVENT = 2,
};

/* A packet that was taken apart; the payload stays in the guest's buffers. */
struct packet {
	uint32_t guest_port, host_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
	const struct iovec *iov; /* len bytes */
	size_t n_iov;
};

enum state {
	STATE_FREE = 0,
	STATE_REQUESTED,  /* by us: REQUEST is sent or pending */
	STATE_CONNECTING, /* by the guest: the back end is asked */
	STATE_ESTABLISHED,
	STATE_CLOSING, /* the socket is gone; the guest is told, and answers with RST */
};

/* Packets for the guest that a connection owes, in the order in which they go out. */
#define OWE_REQUEST (1u << 0)
#define OWE_RESPONSE (1u << 1)
#define OWE_CREDIT (1u << 2)
#define OWE_SHUTDOWN (1u << 3) /* with flags in shutdown_owed */

struct connection {
	enum state state;
	enum vmm_vsock_type type;
	uint32_t guest_port, host_port;
	int fd;              /* owned, -EBADF while connecting and closing */
	uint32_t generation; /* part of its id: an old id finds nothing */

	/* Links by index + 1, 0 is none: hash chain or free list; owing list. */
	uint32_t next_hash;
	uint32_t next_owing;
	bool is_owing;

	uint8_t owed;
	uint8_t shutdown_owed;  /* SHUTDOWN_... */
	uint8_t guest_shutdown; /* what the guest said */
	bool host_eof;          /* nothing more comes from the socket */
	bool is_starved;        /* something came, and no buffer of the guest or no limit took it */
	bool is_watched;        /* the socket is in the engine's epoll set */
	uint32_t watched_events;
	uint64_t deadline_nsec; /* REQUESTED, CONNECTING, CLOSING; 0: none */

	/* Credit, 5.10.6.3: free-running counts. */
	uint32_t guest_buf_alloc, guest_fwd_cnt; /* the guest's, as it said last */
	uint32_t sent;                           /* to the guest */
	uint32_t need;                           /* seqpacket: of credit, for what comes next */
	uint32_t received;                       /* from the guest */
	uint32_t forwarded;                      /* of those, into the socket */
	uint32_t forwarded_told;                 /* as the guest knows it */
	uint8_t wide;                            /* its place among the wide rings, + 1; 0: none */

	/* What the socket did not take: [out_start, out_start + out_bytes) modulo the size. */
	uint32_t out_start, out_bytes;
	uint32_t message_bytes; /* seqpacket: of the message whose end has not come */
	bool message_begun;
	uint32_t n_messages; /* seqpacket: complete ones there, each behind its length */
	uint16_t batch;      /* buffers to read into at once, grows with the stream */

	vmm_vsock_opened opened; /* NULL once it was called */
	void *userdata;
};

/* An RST for a connection that there is not. */
struct orphan {
	uint32_t guest_port, host_port;
	uint16_t type;
};

#define MAX_ORPHANS 128
#define MAX_BATCH 64

/*
 * A stream that goes on gets a larger buffer, so that the guest can send while it waits to hear of
 * its credit; only so many have one at a time.
 */
#define MAX_WIDE 16
#define WIDE_FACTOR 4 /* so many times buffer_bytes */

struct vmm_virtio_vsock {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_loop *loop;            /* borrowed */
	uint64_t guest_cid;
	const struct vmm_vsock_ops *ops;
	void *ops_userdata;
	uint32_t buffer_bytes;

	/* Owned sources of the loop. */
	struct vmm_loop_source *receive_kick, *transmit_kick, *sockets, *timer, *wake;
	int epoll_fd; /* owned: the sockets of all connections */

	struct connection *connections; /* owned; n_connections_room */
	uint32_t n_connections_room;
	uint32_t n_ever_used; /* those above were never touched */
	uint32_t first_free;  /* index + 1 */
	uint32_t *hash;       /* owned; index + 1 of the first in a bucket */
	uint32_t hash_mask;
	uint8_t *
		buffers; /* owned mapping: twice buffer_bytes for each connection, and wide rings */
	uint16_t wide_taken; /* a bit a wide ring */
	uint32_t first_owing, last_owing;
	uint32_t next_host_port;

	struct orphan orphans[MAX_ORPHANS];
	unsigned int first_orphan, n_orphans;

	struct iovec *iov; /* owned; twice iov_room: what is popped, and the payload of that */
	size_t iov_room;
	struct vmm_virtqueue_chain batch[MAX_BATCH];
	uint32_t n_starved;
	bool wants_buffers;  /* the driver has been asked to kick for the next receive buffer */
	bool transmit_waits; /* for orphans to go out */
	bool reset_pending;  /* the connections are to go before anything else happens */

	struct vmm_ratelimit receive_limit, transmit_limit;
	uint64_t timer_nsec; /* what the timer is set to, 0: nothing */

	/* Atomic. */
	uint32_t n_connections;
	uint64_t n_opened, n_refused, n_reset, n_dropped, received_bytes, transmitted_bytes;
};

static inline void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* connection.c: the table */
struct connection *vmm_vsock_find(
	struct vmm_virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port);
struct connection *vmm_vsock_by_id(struct vmm_virtio_vsock *vsock, uint64_t id);
uint64_t vmm_vsock_id(struct vmm_virtio_vsock *vsock, const struct connection *connection);
struct connection *vmm_vsock_add(struct vmm_virtio_vsock *vsock, uint32_t guest_port,
	uint32_t host_port, enum vmm_vsock_type type);
void vmm_vsock_remove(struct vmm_virtio_vsock *vsock, struct connection *connection);
void vmm_vsock_remove_all(struct vmm_virtio_vsock *vsock);
uint32_t vmm_vsock_unused_host_port(struct vmm_virtio_vsock *vsock, uint32_t guest_port);
void vmm_vsock_owe(struct vmm_virtio_vsock *vsock, struct connection *connection, uint8_t what);
struct connection *vmm_vsock_next_owing(struct vmm_virtio_vsock *vsock);
void vmm_vsock_watch(struct vmm_virtio_vsock *vsock, struct connection *connection);
void vmm_vsock_set_deadline(
	struct vmm_virtio_vsock *vsock, struct connection *connection, uint64_t seconds);
void vmm_vsock_set_timer(struct vmm_virtio_vsock *vsock, uint64_t deadline_nsec);
void vmm_vsock_expire(struct vmm_virtio_vsock *vsock);
uint32_t vmm_vsock_credit(const struct connection *connection);
void vmm_vsock_starve(struct vmm_virtio_vsock *vsock, struct connection *connection);
void vmm_vsock_feed(struct vmm_virtio_vsock *vsock);

/* outgoing.c: what goes into the sockets. 0, or a negative errno that ends the connection. */
size_t vmm_vsock_buffers_bytes(const struct vmm_virtio_vsock *vsock);
uint32_t vmm_vsock_window_bytes(
	const struct vmm_virtio_vsock *vsock, const struct connection *connection);
void vmm_vsock_give_up_ring(struct vmm_virtio_vsock *vsock, struct connection *connection);
int vmm_vsock_write(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet);
int vmm_vsock_flush(struct vmm_virtio_vsock *vsock, struct connection *connection);

/* vsock.c: ends the connection that was opened with userdata and is not established. */
void vmm_vsock_cancel(struct vmm_virtio_vsock *vsock, const void *userdata);

/* transmit.c: what the guest sends */
void vmm_vsock_establish(struct vmm_virtio_vsock *vsock, struct connection *connection);
void vmm_vsock_abort(struct vmm_virtio_vsock *vsock, struct connection *connection);
void vmm_vsock_shutdown_progress(struct vmm_virtio_vsock *vsock, struct connection *connection);
int vmm_vsock_transmit(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue);

/* receive.c: what the guest gets */
int vmm_vsock_receive(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue);

#endif
