/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vsock: the socket device of VIRTIO 1.2, 5.10, with a connection engine of its own: each
 * connection of the guest is one socket of the host, and no vhost and no AF_VSOCK is needed.
 *
 * From the guest: a connection to port P of CID 2 asks the back end's connect() for a connected
 * socket (SOCK_STREAM for stream, SOCK_SEQPACKET for seqpacket connections).
 *
 * To the guest: vmm_virtio_vsock_open() takes a connected socket and a port. vmm_vsock_mux does
 * that for clients of a listening unix socket, who say "CONNECT PORT\n" first and read
 * "OK HOSTPORT\n" once the guest has accepted, as Firecracker's clients do.
 *
 * Data goes straight between the guest's buffers and the sockets. What a host socket does not
 * take at once waits in the connection's buffer, which is what the guest has as credit: a guest
 * that sends more loses the connection. Buffers are address space until they are used.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                               | result                            |
 *   |-----------------------------------------------------|-----------------------------------|
 *   | packet shorter than its header or its length        | the queue breaks, NEEDS_RESET     |
 *   | packet with more than 64 KiB                        | the queue breaks, NEEDS_RESET     |
 *   | wrong source or destination CID                     | dropped, counted                  |
 *   | unknown type or operation, unknown connection       | RST (never in answer to an RST)   |
 *   | more data than credit                               | RST, closed                       |
 *   | credit counters that run backwards, or anywhere     | as much as the last said, at most |
 *   |                                                     | what the buffer says              |
 *   | more connections than the maximum                   | RST                               |
 *   | REQUEST for a connection that there is              | RST, closed                       |
 *   | never an answer to a request or a shutdown          | closed after a time limit         |
 *   | seqpacket message larger than the buffer            | RST, closed                       |
 *   | answers that the guest does not take                | its transmit queue waits          |
 *   | receive buffer too small for a header               | the queue breaks, NEEDS_RESET     |
 *   | mux client: too long, too slow, no valid line       | closed                            |
 *
 * Threads: everything but _get_status() in the thread of its loop.
 */
#ifndef VMMCORE_VIRTIO_VSOCK_H
#define VMMCORE_VIRTIO_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/loop.h>
#include <vmmcore/mem.h>
#include <vmmcore/ratelimit.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_VSOCK_CID_HOST 2
#define VMM_VSOCK_MIN_CID 3
#define VMM_VSOCK_MAX_CONNECTIONS 16384
#define VMM_VSOCK_MAX_PACKET_BYTES 65536

enum vmm_vsock_type {
	VMM_VSOCK_STREAM = 1,
	VMM_VSOCK_SEQPACKET = 2,
};

struct vmm_virtio_vsock;

/* What the guest asks for. */
struct vmm_vsock_request {
	uint64_t id; /* for vmm_virtio_vsock_answer() */
	uint32_t port;
	uint32_t guest_port;
	enum vmm_vsock_type type;
};

struct vmm_vsock_ops {
	/*
	 * Returns a connected socket, which the device then owns; VMM_VSOCK_PENDING, and
	 * vmm_virtio_vsock_answer() follows, not from inside this call; or a negative errno: the
	 * guest is refused.
	 */
	int (*connect)(void *userdata, const struct vmm_vsock_request *request);
};

#define VMM_VSOCK_PENDING INT32_MIN

/* Zero is the default of each member but mem, loop and guest_cid. */
struct vmm_virtio_vsock_config {
	struct vmm_mem *mem;             /* borrowed, outlives the device */
	struct vmm_loop *loop;           /* borrowed, outlives the device */
	uint64_t guest_cid;              /* VMM_VSOCK_MIN_CID to 2^32 - 2 */
	const struct vmm_vsock_ops *ops; /* borrowed; NULL: all requests of the guest are refused */
	void *userdata;                  /* borrowed, for ops */
	unsigned int queue_size;         /* power of two up to 1024; 0: 256 */
	uint32_t max_connections;        /* 0: 4096 */
	/*
	 * What the guest may have under way to a socket: power of two from 4 KiB to 1 MiB; 0: 64 KiB.
	 * Up to 16 streams that have carried four times as much are told of four times as much.
	 */
	uint32_t buffer_bytes;
	bool no_seqpacket;
	struct vmm_ratelimit_config receive_limits;  /* towards the guest */
	struct vmm_ratelimit_config transmit_limits; /* from the guest */
};

/* -EINVAL, -ENOMEM, errno of eventfd and epoll. */
VMM_PUBLIC int vmm_virtio_vsock_new(
	const struct vmm_virtio_vsock_config *config, struct vmm_virtio_vsock **ret_vsock);

/* The transport is gone. Closes all connections. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_vsock *vmm_virtio_vsock_free(struct vmm_virtio_vsock *vsock);

/* For a transport, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_vsock_device(struct vmm_virtio_vsock *vsock);

/*
 * The answer to a pending connect(): a connected socket, which is taken over in any case, or a
 * negative errno. -ENOENT where the request is gone meanwhile.
 */
VMM_PUBLIC int vmm_virtio_vsock_answer(struct vmm_virtio_vsock *vsock, uint64_t id, int fd);

/*
 * Called once in the loop's thread: established, and the guest reads what is sent into the socket;
 * or not (refused, timed out, reset), and the socket has been closed. May be NULL.
 */
typedef void (*vmm_vsock_opened)(void *userdata, bool established);

/*
 * Connects fd, a connected socket that is taken over in any case, to a port of the guest. 0, and
 * *ret_host_port is the port that the guest sees; -ENOTCONN while no driver is active; -EMFILE;
 * -EPROTONOSUPPORT for seqpacket that was not negotiated. What was read from fd before belongs
 * to the caller.
 */
VMM_PUBLIC int vmm_virtio_vsock_open(struct vmm_virtio_vsock *vsock, uint32_t port,
	enum vmm_vsock_type type, int fd, vmm_vsock_opened opened, void *userdata,
	uint32_t *ret_host_port);

/* NULL: no limits. -EINVAL changes nothing. */
VMM_PUBLIC int vmm_virtio_vsock_set_limits(struct vmm_virtio_vsock *vsock,
	const struct vmm_ratelimit_config *receive_limits,
	const struct vmm_ratelimit_config *transmit_limits);

struct vmm_virtio_vsock_status {
	uint32_t n_connections;
	uint64_t n_opened, n_refused, n_reset, n_dropped; /* reset: for a fault of the guest */
	uint64_t received_bytes, transmitted_bytes;       /* by the guest */
};

VMM_PUBLIC void vmm_virtio_vsock_get_status(
	struct vmm_virtio_vsock *vsock, struct vmm_virtio_vsock_status *ret_status);

/*
 * Serves clients of a listening SOCK_STREAM unix socket (duplicated), in the device's loop. At
 * most 64 of them may be in their first line, for 5 s; others wait in the socket's backlog.
 * Freed before the device. -ENOMEM, errno of fcntl and epoll.
 */
struct vmm_vsock_mux;

VMM_PUBLIC int vmm_vsock_mux_new(
	struct vmm_virtio_vsock *vsock, int listen_fd, struct vmm_vsock_mux **ret_mux);
/* Ends its clients that have no connection yet. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_vsock_mux *vmm_vsock_mux_free(struct vmm_vsock_mux *mux);

VMM_END_DECLS

#endif
