/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user: messages on a socket. What each may look like is one table; a message that does
 * not is never seen by the rest. Contract: vhost-user.h.
 */
#include <vmmcore/vhost-user.h>

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

#define HEADER_BYTES 12
#define NSEC_PER_MSEC 1000000

static_assert(offsetof(struct vmm_vhost_user_message, payload) == 16, "header");
static_assert(sizeof(struct vmm_vhost_user_vring_addr) == 40, "vring address");
static_assert(sizeof(struct vmm_vhost_user_mem_table) == 8 + 8 * 32, "memory table");
static_assert(sizeof(struct vmm_vhost_user_mem_reg) == 40, "memory region");
static_assert(sizeof(struct vmm_vhost_user_inflight_area) == 24, "inflight");
static_assert(offsetof(struct vmm_vhost_user_device_config, bytes) == 12, "configuration");

#define TABLE_HEAD offsetof(struct vmm_vhost_user_mem_table, regions)
#define CONFIG_HEAD offsetof(struct vmm_vhost_user_device_config, bytes)
#define CONFIG_MAX (CONFIG_HEAD + VMM_VHOST_USER_CONFIG_BYTES)
#define TABLE_MAX sizeof(struct vmm_vhost_user_mem_table)
/* Some count the padding behind the last member, some do not. */
#define INFLIGHT_MIN offsetof(struct vmm_vhost_user_inflight_area, padding)
#define INFLIGHT_MAX sizeof(struct vmm_vhost_user_inflight_area)
#define STATE sizeof(struct vmm_vhost_user_vring_state)
#define ADDR sizeof(struct vmm_vhost_user_vring_addr)
#define REG sizeof(struct vmm_vhost_user_mem_reg)
#define LOG sizeof(struct vmm_vhost_user_log)

/* Sizes in bytes and numbers of descriptors. */
struct rule {
	bool known;
	uint16_t min, max;
	uint8_t min_fds, max_fds;
};

static const struct rule requests[VMM_VHOST_USER_N_REQUESTS] = {
	[VMM_VHOST_USER_GET_FEATURES] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_SET_FEATURES] = { true, 8, 8, 0, 0 },
	[VMM_VHOST_USER_SET_OWNER] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_RESET_OWNER] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_SET_MEM_TABLE] = { true, TABLE_HEAD, TABLE_MAX, 0, 8 },
	[VMM_VHOST_USER_SET_LOG_BASE] = { true, LOG, LOG, 1, 1 },
	[VMM_VHOST_USER_SET_LOG_FD] = { true, 0, 0, 1, 1 },
	[VMM_VHOST_USER_SET_VRING_NUM] = { true, STATE, STATE, 0, 0 },
	[VMM_VHOST_USER_SET_VRING_ADDR] = { true, ADDR, ADDR, 0, 0 },
	[VMM_VHOST_USER_SET_VRING_BASE] = { true, STATE, STATE, 0, 0 },
	[VMM_VHOST_USER_GET_VRING_BASE] = { true, STATE, STATE, 0, 0 },
	[VMM_VHOST_USER_SET_VRING_KICK] = { true, 8, 8, 0, 1 },
	[VMM_VHOST_USER_SET_VRING_CALL] = { true, 8, 8, 0, 1 },
	[VMM_VHOST_USER_SET_VRING_ERR] = { true, 8, 8, 0, 1 },
	[VMM_VHOST_USER_GET_PROTOCOL_FEATURES] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_SET_PROTOCOL_FEATURES] = { true, 8, 8, 0, 0 },
	[VMM_VHOST_USER_GET_QUEUE_NUM] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_SET_VRING_ENABLE] = { true, STATE, STATE, 0, 0 },
	[VMM_VHOST_USER_SET_BACKEND_REQ_FD] = { true, 0, 0, 1, 1 },
	[VMM_VHOST_USER_GET_CONFIG] = { true, CONFIG_HEAD, CONFIG_MAX, 0, 0 },
	[VMM_VHOST_USER_SET_CONFIG] = { true, CONFIG_HEAD, CONFIG_MAX, 0, 0 },
	[VMM_VHOST_USER_GET_INFLIGHT_FD] = { true, INFLIGHT_MIN, INFLIGHT_MAX, 0, 0 },
	[VMM_VHOST_USER_SET_INFLIGHT_FD] = { true, INFLIGHT_MIN, INFLIGHT_MAX, 1, 1 },
	[VMM_VHOST_USER_RESET_DEVICE] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_GET_MAX_MEM_SLOTS] = { true, 0, 0, 0, 0 },
	[VMM_VHOST_USER_ADD_MEM_REG] = { true, REG, REG, 1, 1 },
	/* Some front ends send the file again. */
	[VMM_VHOST_USER_REM_MEM_REG] = { true, REG, REG, 0, 1 },
	[VMM_VHOST_USER_SET_STATUS] = { true, 8, 8, 0, 0 },
	[VMM_VHOST_USER_GET_STATUS] = { true, 0, 0, 0, 0 },
};

/* Any other request has an acknowledgement: one number. */
static struct rule reply_rule(uint32_t request)
{
	switch (request) {
	case VMM_VHOST_USER_GET_CONFIG:
		return (struct rule){ true, 0, CONFIG_MAX, 0, 0 };
	case VMM_VHOST_USER_GET_INFLIGHT_FD:
		return (struct rule){ true, INFLIGHT_MIN, INFLIGHT_MAX, 0, 1 };
	case VMM_VHOST_USER_GET_VRING_BASE:
		return (struct rule){ true, STATE, STATE, 0, 0 };
	default:
		return (struct rule){ true, 8, 8, 0, 0 };
	}
}

static struct rule rule_of(enum vmm_vhost_user_kind kind, uint32_t request)
{
	static const struct rule unknown = { 0 };

	switch (kind) {
	case VMM_VHOST_USER_REQUEST:
		return request < ARRAY_SIZE(requests) ? requests[request] : unknown;
	case VMM_VHOST_USER_REPLY:
		if (request >= ARRAY_SIZE(requests) || !requests[request].known)
			return unknown;
		return reply_rule(request);
	case VMM_VHOST_USER_CHANNEL_REQUEST:
		if (request == VMM_VHOST_USER_BACKEND_CONFIG_CHANGE)
			return (struct rule){ true, 0, 0, 0, 0 };
		return unknown;
	case VMM_VHOST_USER_CHANNEL_REPLY:
		if (request == VMM_VHOST_USER_BACKEND_CONFIG_CHANGE)
			return (struct rule){ true, 8, 8, 0, 0 };
		return unknown;
	default:
		return unknown;
	}
}

static int check_header(enum vmm_vhost_user_kind kind, const struct vmm_vhost_user_message *message)
{
	bool is_reply = kind == VMM_VHOST_USER_REPLY || kind == VMM_VHOST_USER_CHANNEL_REPLY;
	uint32_t flags = VMM_VHOST_USER_VERSION;
	struct rule rule = rule_of(kind, message->request);

	if (is_reply)
		flags |= VMM_VHOST_USER_FLAG_REPLY;
	/* A reply may have kept the flag of its request. */
	if ((message->flags & ~VMM_VHOST_USER_FLAG_NEED_REPLY) != flags)
		return -EPROTO;
	if (!rule.known || message->size_bytes < rule.min || message->size_bytes > rule.max)
		return -EPROTO;
	return 0;
}

static bool config_is_whole(const struct vmm_vhost_user_message *message, bool may_be_empty)
{
	uint32_t n_bytes = message->size_bytes - (uint32_t)CONFIG_HEAD;

	return n_bytes == message->payload.config.size_bytes || (may_be_empty && n_bytes == 0);
}

/* What the sizes alone do not say. */
static int check_payload(
	enum vmm_vhost_user_kind kind, const struct vmm_vhost_user_message *message)
{
	struct rule rule = rule_of(kind, message->request);
	uint64_t n_table, number;
	bool no_fd;

	if (message->n_fds < rule.min_fds || message->n_fds > rule.max_fds)
		return -EPROTO;
	if (kind == VMM_VHOST_USER_REPLY && message->request == VMM_VHOST_USER_GET_CONFIG)
		/* Without any payload: it failed. */
		return message->size_bytes == 0 || (message->size_bytes >= CONFIG_HEAD &&
							   config_is_whole(message, false))
			       ? 0
			       : -EPROTO;
	if (kind != VMM_VHOST_USER_REQUEST)
		return 0;

	switch (message->request) {
	case VMM_VHOST_USER_SET_MEM_TABLE:
		n_table = message->payload.table.n_regions;
		if (n_table > VMM_VHOST_USER_TABLE_REGIONS || n_table != message->n_fds ||
			message->size_bytes !=
				TABLE_HEAD + n_table * sizeof(struct vmm_vhost_user_region))
			return -EPROTO;
		return 0;
	case VMM_VHOST_USER_SET_VRING_KICK:
	case VMM_VHOST_USER_SET_VRING_CALL:
	case VMM_VHOST_USER_SET_VRING_ERR:
		number = message->payload.number;
		no_fd = number & VMM_VHOST_USER_VRING_NO_FD;
		if ((number & ~(VMM_VHOST_USER_VRING_INDEX | VMM_VHOST_USER_VRING_NO_FD)) ||
			no_fd != (message->n_fds == 0))
			return -EPROTO;
		return 0;
	case VMM_VHOST_USER_GET_CONFIG:
	case VMM_VHOST_USER_SET_CONFIG:
		/* Of a question the room for the answer may have been left out. */
		if (message->payload.config.size_bytes > VMM_VHOST_USER_CONFIG_BYTES ||
			!config_is_whole(message, message->request == VMM_VHOST_USER_GET_CONFIG))
			return -EPROTO;
		return 0;
	default:
		return 0;
	}
}

/* 0: ready, or something is wrong that the call itself will tell. -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_nsec)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now_nsec = vmm_base_now_nsec();
		int timeout_msec = -1, n;

		if (deadline_nsec != UINT64_MAX) {
			if (now_nsec >= deadline_nsec)
				return -ETIMEDOUT;
			timeout_msec = (int)MIN(
				(deadline_nsec - now_nsec) / NSEC_PER_MSEC + 1, (uint64_t)1000000);
		}
		n = poll(&poll_fd, 1, timeout_msec);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

union fd_control {
	char bytes[CMSG_SPACE(VMM_VHOST_USER_MAX_FDS * sizeof(int))];
	struct cmsghdr align;
};

int vmm_vhost_user_send(
	int socket_fd, const struct vmm_vhost_user_message *message, uint64_t deadline_nsec)
{
	uint8_t bytes[HEADER_BYTES + sizeof(message->payload)];
	union fd_control control = { 0 };
	uint32_t header[3] = {
		message->request,
		message->flags | VMM_VHOST_USER_VERSION,
		message->size_bytes,
	};
	size_t size = HEADER_BYTES + message->size_bytes, done = 0;
	struct msghdr msg = { 0 };
	struct iovec iov;

	assert(message->size_bytes <= sizeof(message->payload));
	assert(message->n_fds <= VMM_VHOST_USER_MAX_FDS);
	memcpy(bytes, header, HEADER_BYTES);
	memcpy(bytes + HEADER_BYTES, &message->payload, message->size_bytes);
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (message->n_fds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(message->n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(message->n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), message->fds, message->n_fds * sizeof(int));
	}
	while (done < size) {
		ssize_t n;

		iov = (struct iovec){ .iov_base = bytes + done, .iov_len = size - done };
		n = sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			done += (size_t)n;
			/* The descriptors went with the first byte. */
			msg.msg_control = NULL;
			msg.msg_controllen = 0;
			continue;
		}
		if (errno == EPIPE)
			return -ECONNRESET;
		if (errno == EAGAIN) {
			int r = wait_for(socket_fd, POLLOUT, deadline_nsec);

			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Takes all descriptors that came, so that they are closed if they are too many. */
static int take_fds(struct vmm_vhost_user_message *message, struct msghdr *msg)
{
	bool too_many = msg->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (message->n_fds < VMM_VHOST_USER_MAX_FDS) {
				message->fds[message->n_fds++] = fd;
			} else {
				vmm_base_close(fd);
				too_many = true;
			}
		}
	}
	return too_many ? -EPROTO : 0;
}

static int receive_bytes(int socket_fd, void *data, size_t size, uint64_t deadline_nsec,
	struct vmm_vhost_user_message *message)
{
	size_t done = 0;
	int r;

	while (done < size) {
		struct iovec iov = { .iov_base = (char *)data + done, .iov_len = size - done };
		union fd_control control;
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t n = recvmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n > 0) {
			r = take_fds(message, &msg);
			if (r < 0)
				return r;
			done += (size_t)n;
		} else if (n == 0) {
			return -ECONNRESET;
		} else if (errno == EAGAIN) {
			r = wait_for(socket_fd, POLLIN, deadline_nsec);
			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int receive(int socket_fd, enum vmm_vhost_user_kind kind, uint64_t deadline_nsec,
	struct vmm_vhost_user_message *message)
{
	uint32_t header[3];
	int r;

	r = receive_bytes(socket_fd, header, HEADER_BYTES, deadline_nsec, message);
	if (r < 0)
		return r;
	message->request = header[0];
	message->flags = header[1];
	message->size_bytes = header[2];
	r = check_header(kind, message);
	if (r < 0)
		return r;
	r = receive_bytes(
		socket_fd, &message->payload, message->size_bytes, deadline_nsec, message);
	if (r < 0)
		return r;
	return check_payload(kind, message);
}

int vmm_vhost_user_receive(int socket_fd, enum vmm_vhost_user_kind kind, uint64_t deadline_nsec,
	struct vmm_vhost_user_message *ret_message)
{
	struct vmm_vhost_user_message message = { 0 };
	int r;

	r = receive(socket_fd, kind, deadline_nsec, &message);
	if (r < 0) {
		vmm_vhost_user_message_finish(&message);
		return r;
	}
	*ret_message = message;
	return 0;
}

void vmm_vhost_user_message_finish(struct vmm_vhost_user_message *message)
{
	for (unsigned int i = 0; i < message->n_fds; i++)
		message->fds[i] = vmm_base_close(message->fds[i]);
	message->n_fds = 0;
}
