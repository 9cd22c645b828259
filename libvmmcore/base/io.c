/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* base: whole reads and writes. */
#include "base/util.h"

int vmm_base_read_full(int fd, void *data, size_t size)
{
	uint8_t *at = data;

	while (size > 0) {
		ssize_t n = read(fd, at, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int vmm_base_write_full(int fd, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int vmm_base_pread_full(int fd, void *data, size_t size, uint64_t offset)
{
	uint8_t *at = data;
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
		return -EOVERFLOW;
	while (size > 0) {
		ssize_t n = pread(fd, at, size, (off_t)offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}
