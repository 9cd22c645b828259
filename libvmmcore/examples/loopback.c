/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "loopback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two ends of a socket that keeps frames apart: what goes in at the first comes out of the other.
 */
struct loopback {
	int fds[2];
};

static ssize_t loopback_receive(
	void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	ssize_t n = readv(((struct loopback *)userdata)->fds[1], iov, (int)n_iov);

	return n < 0 ? -errno : n;
}

static int loopback_send(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	/* A frame for which there is no room is lost, as on a real cable. */
	return writev(((struct loopback *)userdata)->fds[0], iov, (int)n_iov) < 0 ? -ENOBUFS : 0;
}

static int loopback_fd(void *userdata, unsigned int pair)
{
	return ((struct loopback *)userdata)->fds[1];
}

static const struct vmm_net_ops loopback_ops = { loopback_receive, loopback_send, loopback_fd };

struct loopback *loopback_new(void)
{
	struct loopback *loopback = malloc(sizeof(*loopback));

	if (loopback && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
				loopback->fds) < 0) {
		free(loopback);
		return NULL;
	}
	return loopback;
}

void loopback_free(struct loopback *loopback)
{
	close(loopback->fds[0]);
	close(loopback->fds[1]);
	free(loopback);
}

struct vmm_net_backend loopback_backend(struct loopback *loopback)
{
	struct vmm_net_backend backend = { &loopback_ops, loopback };

	return backend;
}
