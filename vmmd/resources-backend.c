/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* resources: connections to back ends, in the child. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "links.h"
#include "resources.h"

#define RETRY_USEC 10000

/* Any length of path, and what is looked at is what is connected to, by links too. */
static int try_connect(const char *path, int *ret_fd)
{
	CLEANUP(close_p) int path_fd = open(path, O_PATH | O_CLOEXEC), fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int r;

	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	r = links_check(path, &st);
	if (r < 0)
		return r;
	/* Does not wait where its queue is full. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int backend_connect(const char *path, unsigned int patience_msec, int *ret_fd)
{
	uint64_t deadline_nsec = vmm_base_now_nsec() + patience_msec * UINT64_C(1000000);
	int r;

	for (;;) {
		r = try_connect(path, ret_fd);
		if ((r != -ENOENT && r != -ESTALE && r != -ECONNREFUSED && r != -EAGAIN) ||
			vmm_base_now_nsec() >= deadline_nsec)
			return r;
		usleep(RETRY_USEC);
	}
}

const char *backend_unit_kind(enum vmm_device_kind kind)
{
	switch (kind) {
	case VMM_DEVICE_DRIVE:
		return "drive";
	case VMM_DEVICE_NETWORK:
		return "network";
	default:
		return "share";
	}
}

int backend_unit_socket(const char *dir, enum vmm_device_kind kind, const char *machine,
	const char *device, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/%s-%s:%s", dir, backend_unit_kind(kind), machine, device);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}
