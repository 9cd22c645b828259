/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* message: sendmsg and recvmsg with SCM_RIGHTS; see message.h. */
#include "worker/message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/util.h"
#include "worker/protocol.h"

/* Room for one set of descriptors; aligned as cmsghdr needs it. */
union control_buffer {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(VMM_MESSAGE_MAX_FDS * sizeof(int))];
};

/* Moves descriptors into fds and closes those beyond n_fds. Returns how many came. */
static size_t take_fds(struct msghdr *message, int *fds, size_t n_fds)
{
	struct cmsghdr *cmsg;
	size_t n_taken = 0, n;
	int fd;

	for (cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++, n_taken++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (n_taken < n_fds)
				fds[n_taken] = fd;
			else
				vmm_base_close(fd);
		}
	}
	return n_taken;
}

int vmm_message_receive(int socket_fd, int flags, void *data, size_t data_size, size_t *ret_size,
	int *ret_fds, size_t n_fds, size_t *ret_n_fds)
{
	union control_buffer control;
	struct iovec iov = { .iov_base = data, .iov_len = data_size };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	size_t n_came;
	ssize_t n;

	do {
		n = recvmsg(socket_fd, &message, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;

	n_came = take_fds(&message, ret_fds, n_fds);
	if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || n_came > n_fds) {
		for (size_t i = 0; i < MIN(n_came, n_fds); i++)
			ret_fds[i] = vmm_base_close(ret_fds[i]);
		return -EBADMSG;
	}
	if (n == 0) {
		/* An empty message looks like the end, and is as little use. */
		for (size_t i = 0; i < n_came; i++)
			ret_fds[i] = vmm_base_close(ret_fds[i]);
		return -ECONNRESET;
	}
	*ret_size = (size_t)n;
	*ret_n_fds = n_came;
	return 0;
}

int vmm_message_send(int socket_fd, int flags, const void *data, size_t size, const void *more,
	size_t more_size, const int *fds, size_t n_fds)
{
	union control_buffer control;
	struct iovec iov[2] = {
		{ .iov_base = (void *)data, .iov_len = size },
		{ .iov_base = (void *)more, .iov_len = more_size },
	};
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = more_size > 0 ? 2 : 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (n_fds > VMM_MESSAGE_MAX_FDS)
		return -EINVAL;
	if (n_fds > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(socket_fd, &message, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	/* Where the peer closed with messages unread, the kernel says so once. */
	return errno == ECONNRESET ? -EPIPE : -errno;
}

uint64_t vmm_message_deadline(uint64_t timeout_nsec)
{
	uint64_t deadline_nsec;

	if (__builtin_add_overflow(vmm_base_now_nsec(), timeout_nsec, &deadline_nsec))
		return UINT64_MAX;
	return deadline_nsec;
}

int vmm_message_wait(int fd, short events, uint64_t deadline_nsec)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	struct timespec left;
	uint64_t now_nsec, left_nsec;
	int r;

	for (;;) {
		now_nsec = vmm_base_now_nsec();
		if (now_nsec >= deadline_nsec)
			return -ETIMEDOUT;
		left_nsec = deadline_nsec - now_nsec;
		left = (struct timespec){ .tv_sec = left_nsec / 1000000000,
			.tv_nsec = left_nsec % 1000000000 };
		r = ppoll(&poll_fd, 1, deadline_nsec == UINT64_MAX ? NULL : &left, NULL);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

bool vmm_message_string_ends(const char *string, size_t size)
{
	size_t length = strnlen(string, size);

	if (length == size)
		return false;
	for (size_t i = length; i < size; i++)
		if (string[i] != '\0')
			return false;
	return true;
}
