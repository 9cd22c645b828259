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
#define HEAD_BYTES 4
#define PAGE_BYTES 4096

static int near_fd = -EBADF;
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

int script_socket(const uint8_t *data, size_t size)
{
	int pair[2];

	if (!memory)
		set_up();
	script_end();
	memset(memory, 0, SCRIPT_MEMORY_BYTES);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	near_fd = pair[0];
	while (size >= HEAD_BYTES) {
		size_t length = data[2] | (size_t)data[3] << 8;
		uint8_t kind = data[0], offset = data[1];

		data += HEAD_BYTES;
		size -= HEAD_BYTES;
		length = MIN(length, size);
		if (kind == KIND_MEMORY)
			memcpy(memory + offset * 64, data, length);
		else if (length > 0 && !send_piece(kind, data, length))
			break;
		data += length;
		size -= length;
	}
	shutdown(near_fd, SHUT_WR);
	return pair[1];
}

void script_end(void)
{
	near_fd = vmm_base_close(near_fd);
}
