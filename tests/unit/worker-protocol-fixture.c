/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of vmmd's and the worker's protocol share. */
#include "worker-protocol-fixture.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/util.h"

int pair[2];

void open_pair(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

void close_pair(void)
{
	vmm_base_close(pair[0]);
	vmm_base_close(pair[1]);
}

int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

unsigned int count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}
