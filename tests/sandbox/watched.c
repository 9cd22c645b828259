/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * watched: becomes the worker, with each of its system calls told to somebody else first, see
 * seccomp_unotify(2). Beside the path by which it was started, in that directory, are "socket",
 * which gets the descriptor of these notifications, and "worker", which is executed. The worker's
 * own filters hold as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

/* What is told by it cannot be told of itself. The worker has none of that number. */
#define SOCKET_NUMBER 1000

#define LOAD(member)                                                                               \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))

static int install(void)
{
	struct sock_filter filter[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SOCKET_NUMBER, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	/* Once heard of, a call is answered before a signal: it looks to the worker as ever. */
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		&program);
}

static int give(int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec byte = { .iov_base = (char *)"", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };

	control.header = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
	};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return sendmsg(SOCKET_NUMBER, &message, 0) == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *own = (const char *)getauxval(AT_EXECFN), *slash = strrchr(own, '/');
	int length = slash ? (int)(slash - own) : 0, fd;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char worker[128];

	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/socket", length, own);
	snprintf(worker, sizeof(worker), "%.*s/worker", length, own);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || dup3(fd, SOCKET_NUMBER, O_CLOEXEC) < 0 ||
		connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fprintf(stderr, "%s: %s\n", address.sun_path, strerror(errno));
		return 126;
	}
	fd = install();
	if (fd < 0 || give(fd) < 0)
		return 126;
	execv(worker, argv);
	return 127;
}
