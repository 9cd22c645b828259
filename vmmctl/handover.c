/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* handover: see handover.h; unix(7) for autobind, SO_PEERCRED and SCM_RIGHTS. */
#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "value.h"

/* "NAME:SOCKET", for those who are started by ssh. */
#define VARIABLE "VMMCTL_CONNECTION"

/* Names that the kernel gives are five digits. */
enum { N_DIGITS = 5 };

union rights {
	char data[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static bool is_peer_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

int handover_send(int socket_fd, int fd)
{
	union rights rights = {};
	char byte = 0;
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = rights.data,
		.msg_controllen = sizeof(rights.data),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive(int socket_fd)
{
	union rights rights = {};
	char byte;
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = rights.data,
		.msg_controllen = sizeof(rights.data),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
		header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -ENOENT;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* The child: until its parent ends, which is ssh by then. */
__attribute__((noreturn)) static void serve(int listen_fd, int fd, pid_t parent)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null_fd < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	/* Nobody waits for the end of what it would have inherited. */
	for (int i = 0; i <= STDERR_FILENO; i++)
		dup2(null_fd, i);
	for (;;) {
		int peer_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (peer_fd < 0 && errno != EINTR && errno != ECONNABORTED)
			_exit(EXIT_FAILURE);
		if (peer_fd >= 0 && is_peer_ours(peer_fd) && handover_send(peer_fd, fd) == 0)
			_exit(EXIT_SUCCESS);
		vmm_base_close(peer_fd);
	}
}

void handover_offer(const char *name, int fd)
{
	CLEANUP(close_p) int listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CLEANUP(free_p) char *value = NULL;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address);
	pid_t parent = getpid(), child;

	if (listen_fd < 0 ||
		bind(listen_fd, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
		listen(listen_fd, 1) < 0 ||
		getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0 ||
		size != offsetof(struct sockaddr_un, sun_path) + 1 + N_DIGITS)
		return;
	value = must_printf("%s:%.*s", name, N_DIGITS, address.sun_path + 1);
	child = fork();
	if (child == 0)
		serve(listen_fd, fd, parent);
	if (child > 0)
		setenv(VARIABLE, value, 1);
}

int handover_take(const char *name)
{
	CLEANUP(close_p) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const char *value = getenv(VARIABLE);
	const char *colon = value ? strrchr(value, ':') : NULL;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + N_DIGITS;

	if (fd < 0 || !colon || strlen(colon + 1) != N_DIGITS ||
		(size_t)(colon - value) != strlen(name) || strncmp(value, name, strlen(name)) != 0)
		return -ENOENT;
	memcpy(address.sun_path + 1, colon + 1, N_DIGITS);
	if (connect(fd, (struct sockaddr *)&address, size) < 0)
		return -errno;
	return is_peer_ours(fd) ? receive(fd) : -EPERM;
}
