/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "vhost-user-script.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "fuzz.h"

#define KIND_MEMORY 0xff
#define KIND_CHANNEL 0xfe
#define HEAD_BYTES 4
#define PAGE_BYTES 4096

static int near_fd = -EBADF, channel_fd = -EBADF;
static int fds[4];
static uint8_t *memory;

static void set_up(void)
{
	int pipes[2];

	fds[SCRIPT_MEMFD] = memfd_create("fuzz", MFD_CLOEXEC);
	fds[SCRIPT_SHORT_MEMFD] = memfd_create("short", MFD_CLOEXEC);
	FUZZ_CHECK(ftruncate(fds[SCRIPT_MEMFD], SCRIPT_MEMORY_BYTES) == 0);
	FUZZ_CHECK(ftruncate(fds[SCRIPT_SHORT_MEMFD], PAGE_BYTES) == 0);
	fds[SCRIPT_EVENTFD] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	FUZZ_CHECK(pipe(pipes) == 0);
	fds[SCRIPT_PIPE] = pipes[1];
	close(pipes[0]);
	memory = mmap(NULL, SCRIPT_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		fds[SCRIPT_MEMFD], 0);
	FUZZ_CHECK(memory != MAP_FAILED);
}

static bool send_piece(uint8_t kind, const uint8_t *bytes, size_t size)
{
	union {
		char bytes[CMSG_SPACE(15 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned int n = kind & 15;

	if (n > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned int i = 0; i < n; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fds[kind >> 4 & 3], sizeof(int));
	}
	/* Inputs are small, but a socket may be full all the same: that is the end of it then. */
	return sendmsg(near_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

struct piece {
	uint8_t kind, offset;
	const uint8_t *bytes;
	size_t length;
};

/* False: there is none any more. */
static bool next_piece(const uint8_t **data, size_t *size, struct piece *ret)
{
	const uint8_t *head = *data;

	if (*size < HEAD_BYTES)
		return false;
	*ret = (struct piece){
		.kind = head[0],
		.offset = head[1],
		.bytes = head + HEAD_BYTES,
		.length = MIN(head[2] | (size_t)head[3] << 8, *size - HEAD_BYTES),
	};
	*data += HEAD_BYTES + ret->length;
	*size -= HEAD_BYTES + ret->length;
	return true;
}

int script_socket(const uint8_t *data, size_t size)
{
	struct piece piece;
	int pair[2];

	if (!memory)
		set_up();
	script_end();
	memset(memory, 0, SCRIPT_MEMORY_BYTES);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	near_fd = pair[0];
	while (next_piece(&data, &size, &piece)) {
		if (piece.kind == KIND_MEMORY)
			memcpy(memory + piece.offset * 64, piece.bytes, piece.length);
		else if (piece.kind != KIND_CHANNEL && piece.length > 0 &&
			 !send_piece(piece.kind, piece.bytes, piece.length))
			break;
	}
	shutdown(near_fd, SHUT_WR);
	return pair[1];
}

/* The first descriptor that the other end has sent, or -1. */
static int receive_fd(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char bytes[64];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };

	for (;;) {
		struct msghdr msg = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes) };
		struct cmsghdr *cmsg;
		int fd;

		if (recvmsg(near_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return -1;
		cmsg = CMSG_FIRSTHDR(&msg);
		if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		return fd;
	}
}

void script_channel(const uint8_t *data, size_t size)
{
	struct piece piece;

	channel_fd = receive_fd();
	while (next_piece(&data, &size, &piece))
		if (piece.kind == KIND_CHANNEL && send(channel_fd, piece.bytes, piece.length,
							  MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
}

void script_end(void)
{
	near_fd = vmm_base_close(near_fd);
	channel_fd = vmm_base_close(channel_fd);
}
