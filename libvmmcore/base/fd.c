/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* base: closing, event descriptors, the clock, the version. */
#include "base/util.h"

#include <sys/eventfd.h>
#include <time.h>

#include <vmmcore/base.h>

const char *vmm_version(void)
{
	return VMM_VERSION;
}

int vmm_base_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		/* EINTR on Linux: the descriptor is gone all the same, never try again. */
		close(fd);
		errno = saved;
	}
	return -EBADF;
}

int vmm_base_eventfd_signal(int fd)
{
	uint64_t one = 1;

	for (;;) {
		if (write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
			return 0;
		/* A counter at its maximum is as pending as it can be. */
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int vmm_base_eventfd_clear(int fd, uint64_t *ret_count)
{
	uint64_t count;

	for (;;) {
		if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
			break;
		if (errno != EINTR)
			return -errno;
	}
	if (ret_count)
		*ret_count = count;
	return 0;
}

uint64_t vmm_base_now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
