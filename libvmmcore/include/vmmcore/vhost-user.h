/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user: virtqueues that another process serves, reached over a Unix stream socket. The
 * messages of the protocol, in both directions, and the front end: the side that has the guest.
 * The other side is in vhost-user-backend.h; virtio-vhost makes a device of a front end.
 *
 * Messages are received into a copy, and what comes back from vmm_vhost_user_receive() has the
 * length, the number of descriptors and the counts inside that its kind of message must have.
 *
 * Where the peer breaks the protocol, is gone or does not answer in time, a front end is of no
 * more use: that call fails, and each later one with -ENOTCONN. Somebody connects anew.
 *
 *   | result       | what the peer did                                                      |
 *   |--------------|------------------------------------------------------------------------|
 *   | -EPROTO      | broke the protocol                                                     |
 *   | -ECONNRESET  | closed the connection, also in the middle of a message                 |
 *   | -ETIMEDOUT   | did not answer, or not read, in time                                   |
 *   | -EREMOTEIO   | answered that the request failed: the front end goes on                |
 *   | -EOPNOTSUPP  | did not negotiate what the call needs: nothing was sent                |
 *
 * Hostile inputs and what happens:
 *
 *   | input                                             | result                              |
 *   |---------------------------------------------------|-------------------------------------|
 *   | version other than 1, reserved flags              | -EPROTO                             |
 *   | reply instead of request, or the other way round  | -EPROTO                             |
 *   | reply to another request than the one sent        | -EPROTO                             |
 *   | unknown request                                   | -EPROTO                             |
 *   | size that the request does not have, also 2^32 - 1| -EPROTO, nothing more is read       |
 *   | more, fewer, or truncated descriptors             | -EPROTO, all of them are closed     |
 *   | descriptors in the middle of a message            | counted as any other                |
 *   | number of regions above 8, or not that of the fds | -EPROTO                             |
 *   | "no descriptor" together with one, and vice versa | -EPROTO                             |
 *   | configuration of another size than was asked for  | -EPROTO                             |
 *   | inflight region larger than its file, or empty    | -EPROTO                             |
 *   | a byte a second                                   | -ETIMEDOUT                          |
 *   | endless stream on the back end's channel          | one message a call, the caller's    |
 *   |                                                   |   budget                            |
 *   | unknown or unwanted message on that channel       | -EPROTO, the channel is closed      |
 *
 * Threads: a front end belongs to one thread at a time. The functions on messages may be called
 * from any thread, a socket belongs to one.
 */
#ifndef VMMCORE_VHOST_USER_H
#define VMMCORE_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtqueue.h>

VMM_BEGIN_DECLS

#define VMM_VHOST_USER_MAX_QUEUES 64
#define VMM_VHOST_USER_MAX_FDS 8
#define VMM_VHOST_USER_TABLE_REGIONS 8 /* of SET_MEM_TABLE */
#define VMM_VHOST_USER_CONFIG_BYTES 256
#define VMM_VHOST_USER_TIMEOUT_NSEC UINT64_C(5000000000)

/* Among the features: there are protocol features. */
#define VMM_VHOST_USER_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define VMM_VHOST_USER_F_LOG_ALL (UINT64_C(1) << 26)

/* Protocol features, as masks. */
#define VMM_VHOST_USER_PROTOCOL_MQ (UINT64_C(1) << 0)
#define VMM_VHOST_USER_PROTOCOL_LOG_SHMFD (UINT64_C(1) << 1)
#define VMM_VHOST_USER_PROTOCOL_REPLY_ACK (UINT64_C(1) << 3)
#define VMM_VHOST_USER_PROTOCOL_BACKEND_REQ (UINT64_C(1) << 5)
#define VMM_VHOST_USER_PROTOCOL_CONFIG (UINT64_C(1) << 9)
#define VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD (UINT64_C(1) << 12)
#define VMM_VHOST_USER_PROTOCOL_RESET_DEVICE (UINT64_C(1) << 13)
#define VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS (UINT64_C(1) << 15)
#define VMM_VHOST_USER_PROTOCOL_STATUS (UINT64_C(1) << 16)

enum vmm_vhost_user_request {
	VMM_VHOST_USER_GET_FEATURES = 1,
	VMM_VHOST_USER_SET_FEATURES = 2,
	VMM_VHOST_USER_SET_OWNER = 3,
	VMM_VHOST_USER_RESET_OWNER = 4,
	VMM_VHOST_USER_SET_MEM_TABLE = 5,
	VMM_VHOST_USER_SET_LOG_BASE = 6,
	VMM_VHOST_USER_SET_LOG_FD = 7,
	VMM_VHOST_USER_SET_VRING_NUM = 8,
	VMM_VHOST_USER_SET_VRING_ADDR = 9,
	VMM_VHOST_USER_SET_VRING_BASE = 10,
	VMM_VHOST_USER_GET_VRING_BASE = 11,
	VMM_VHOST_USER_SET_VRING_KICK = 12,
	VMM_VHOST_USER_SET_VRING_CALL = 13,
	VMM_VHOST_USER_SET_VRING_ERR = 14,
	VMM_VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VMM_VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VMM_VHOST_USER_GET_QUEUE_NUM = 17,
	VMM_VHOST_USER_SET_VRING_ENABLE = 18,
	VMM_VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VMM_VHOST_USER_GET_CONFIG = 24,
	VMM_VHOST_USER_SET_CONFIG = 25,
	VMM_VHOST_USER_GET_INFLIGHT_FD = 31,
	VMM_VHOST_USER_SET_INFLIGHT_FD = 32,
	VMM_VHOST_USER_RESET_DEVICE = 34,
	VMM_VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VMM_VHOST_USER_ADD_MEM_REG = 37,
	VMM_VHOST_USER_REM_MEM_REG = 38,
	VMM_VHOST_USER_SET_STATUS = 39,
	VMM_VHOST_USER_GET_STATUS = 40,
	VMM_VHOST_USER_N_REQUESTS,
};

/* What a back end asks on its own channel. */
enum vmm_vhost_user_backend_request {
	VMM_VHOST_USER_BACKEND_CONFIG_CHANGE = 2,
	VMM_VHOST_USER_BACKEND_N_REQUESTS,
};

#define VMM_VHOST_USER_VERSION 1u
#define VMM_VHOST_USER_FLAG_REPLY (1u << 2)
#define VMM_VHOST_USER_FLAG_NEED_REPLY (1u << 3)

/* Of SET_VRING_KICK, _CALL and _ERR: the queue, or this bit too where no descriptor comes along. */
#define VMM_VHOST_USER_VRING_INDEX UINT64_C(0xff)
#define VMM_VHOST_USER_VRING_NO_FD UINT64_C(0x100)

struct vmm_vhost_user_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t user_address; /* by which rings are named */
	uint64_t mmap_offset;
};

struct vmm_vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vmm_vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags; /* bit 0: log */
	uint64_t desc_user_address;
	uint64_t used_user_address;
	uint64_t avail_user_address;
	uint64_t log_gpa;
};

struct vmm_vhost_user_mem_table {
	uint32_t n_regions;
	uint32_t padding;
	struct vmm_vhost_user_region regions[VMM_VHOST_USER_TABLE_REGIONS];
};

struct vmm_vhost_user_mem_reg {
	uint64_t padding;
	struct vmm_vhost_user_region region;
};

struct vmm_vhost_user_device_config {
	uint32_t offset;
	uint32_t size_bytes;
	uint32_t flags;
	uint8_t bytes[VMM_VHOST_USER_CONFIG_BYTES];
};

struct vmm_vhost_user_inflight_area {
	uint64_t mmap_size_bytes;
	uint64_t mmap_offset;
	uint16_t n_queues;
	uint16_t queue_size;
	uint8_t padding[4];
};

struct vmm_vhost_user_log {
	uint64_t mmap_size_bytes;
	uint64_t mmap_offset;
};

/* Host byte order, which the protocol asks for. */
struct vmm_vhost_user_message {
	uint32_t request;
	uint32_t flags;
	uint32_t size_bytes; /* of the payload */
	union {
		uint64_t number;
		struct vmm_vhost_user_vring_state state;
		struct vmm_vhost_user_vring_addr addr;
		struct vmm_vhost_user_mem_table table;
		struct vmm_vhost_user_mem_reg reg;
		struct vmm_vhost_user_device_config config;
		struct vmm_vhost_user_inflight_area inflight;
		struct vmm_vhost_user_log log;
	} payload;
	int fds[VMM_VHOST_USER_MAX_FDS]; /* sent: borrowed; received: owned by the message */
	unsigned int n_fds;
};

/* Which of the four kinds of message may come. */
enum vmm_vhost_user_kind {
	VMM_VHOST_USER_REQUEST,         /* front end to back end */
	VMM_VHOST_USER_REPLY,           /* back end to front end */
	VMM_VHOST_USER_CHANNEL_REQUEST, /* back end to front end, on the channel */
	VMM_VHOST_USER_CHANNEL_REPLY,   /* front end to back end, on the channel */
};

/*
 * deadline_nsec is on CLOCK_MONOTONIC, UINT64_MAX: none; the socket may block or not. The flags
 * of a message that is sent are completed with the version. Results: see above, errno of sendmsg
 * and recvmsg. A message that was received is finished, one that failed is not.
 */
VMM_PUBLIC int vmm_vhost_user_send(
	int socket_fd, const struct vmm_vhost_user_message *message, uint64_t deadline_nsec);
VMM_PUBLIC int vmm_vhost_user_receive(int socket_fd, enum vmm_vhost_user_kind kind,
	uint64_t deadline_nsec, struct vmm_vhost_user_message *ret_message);

/* Closes the descriptors that nobody took out (by -EBADF in their place). */
VMM_PUBLIC void vmm_vhost_user_message_finish(struct vmm_vhost_user_message *message);

/* The front end */

struct vmm_vhost_user;

/* Zero is the default of each member but fd. */
struct vmm_vhost_user_config {
	int fd;                     /* a connected stream socket, duplicated */
	uint64_t protocol_features; /* that may be negotiated; 0: all that this block knows */
	uint64_t timeout_nsec;      /* of each exchange; 0: VMM_VHOST_USER_TIMEOUT_NSEC */
};

/* Becomes the owner, and negotiates protocol features. Errors: see above. -ENOMEM. */
VMM_PUBLIC int vmm_vhost_user_new(
	const struct vmm_vhost_user_config *config, struct vmm_vhost_user **ret_user);

/* Closes the connection; the back end stops the queues by that. NULL to NULL. */
VMM_PUBLIC struct vmm_vhost_user *vmm_vhost_user_free(struct vmm_vhost_user *user);

/* Readable or hung up between two calls: the back end is gone (or breaks the protocol). */
VMM_PUBLIC int vmm_vhost_user_fd(const struct vmm_vhost_user *user);

/* Offered, without that for protocol features; negotiated; without MQ the limit is unknown: 64. */
VMM_PUBLIC uint64_t vmm_vhost_user_features(const struct vmm_vhost_user *user);
VMM_PUBLIC uint64_t vmm_vhost_user_protocol_features(const struct vmm_vhost_user *user);
VMM_PUBLIC unsigned int vmm_vhost_user_max_queues(const struct vmm_vhost_user *user);

/* What was negotiated with the driver. -ENOTSUP for what was not offered. */
VMM_PUBLIC int vmm_vhost_user_set_features(struct vmm_vhost_user *user, uint64_t features);

/*
 * The memory of the guest, each region a file (-EINVAL otherwise): one by one where the back end
 * has slots for them, as a table else. Where it was called before, the difference is told.
 * Read-only regions are left out. -ENOSPC where the back end has no room for so many. A ring's
 * address is that of the guest: the host's own stay unknown.
 */
VMM_PUBLIC int vmm_vhost_user_set_memory(
	struct vmm_vhost_user *user, const struct vmm_mem_region *regions, size_t n_regions);

struct vmm_vhost_user_queue {
	struct vmm_virtqueue_config config; /* unchecked; features: whether the ring is packed */
	struct vmm_virtqueue_state state;   /* where to go on */
	int kick_fd;                        /* eventfd, borrowed during the call */
	int call_fd;                        /* eventfd; -EBADF: no interrupts */
};

/* Sets a queue up and enables it. -VMM_EGUEST where it is not in shared memory. */
VMM_PUBLIC int vmm_vhost_user_start(
	struct vmm_vhost_user *user, unsigned int index, const struct vmm_vhost_user_queue *queue);

/* Stops a queue; when this returns nothing is in flight. Where it stands. */
VMM_PUBLIC int vmm_vhost_user_stop(
	struct vmm_vhost_user *user, unsigned int index, struct vmm_virtqueue_state *ret_state);

/* Another eventfd to interrupt with, borrowed during the call; -EBADF: none. */
VMM_PUBLIC int vmm_vhost_user_set_call(
	struct vmm_vhost_user *user, unsigned int index, int call_fd);

/* Configuration space, with PROTOCOL_CONFIG. All of size bytes, at most ..._CONFIG_BYTES. */
VMM_PUBLIC int vmm_vhost_user_get_config(
	struct vmm_vhost_user *user, uint32_t offset, void *data, size_t size);
VMM_PUBLIC int vmm_vhost_user_set_config(
	struct vmm_vhost_user *user, uint32_t offset, const void *data, size_t size);

/*
 * The memory in which a back end notes what it has taken out of a queue, with
 * PROTOCOL_INFLIGHT_SHMFD. The first back end makes it, the next ones are given it before their
 * queues start, and take up what was in flight. fd is owned by whoever asked.
 */
struct vmm_vhost_user_inflight {
	int fd;
	struct vmm_vhost_user_inflight_area area;
};

/*
 * -EOPNOTSUPP without that protocol feature, -EREMOTEIO where the back end has none, -EPROTO where
 * its file is not as large as it says.
 */
VMM_PUBLIC int vmm_vhost_user_get_inflight(struct vmm_vhost_user *user, uint16_t n_queues,
	uint16_t queue_size, struct vmm_vhost_user_inflight *ret_inflight);
VMM_PUBLIC int vmm_vhost_user_set_inflight(
	struct vmm_vhost_user *user, const struct vmm_vhost_user_inflight *inflight);

/* With PROTOCOL_RESET_DEVICE; with PROTOCOL_STATUS. */
VMM_PUBLIC int vmm_vhost_user_reset_device(struct vmm_vhost_user *user);
VMM_PUBLIC int vmm_vhost_user_set_status(struct vmm_vhost_user *user, uint8_t status);
VMM_PUBLIC int vmm_vhost_user_get_status(struct vmm_vhost_user *user);

/*
 * The back end's channel, with PROTOCOL_BACKEND_REQ: its descriptor, -EBADF without, and when that
 * is readable, one message of it, answered. Returns 1 where the configuration changed, 0 where
 * there was no message, or an error: the channel is closed then, and the rest goes on.
 */
VMM_PUBLIC int vmm_vhost_user_channel_fd(const struct vmm_vhost_user *user);
VMM_PUBLIC int vmm_vhost_user_channel_process(struct vmm_vhost_user *user);

VMM_END_DECLS

#endif
