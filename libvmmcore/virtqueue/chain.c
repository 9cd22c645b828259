/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Copies to and from chains, and parts of iovecs.
 */
#include "virtqueue/virtqueue-internal.h"

#include <string.h>

/* Calls for the bytes [offset, offset + size) of the iovecs: copies each piece one way. */
static size_t copy(const struct iovec *iov, size_t n_iov, uint64_t offset, uint8_t *data,
	size_t size, bool to_guest)
{
	size_t done = 0;

	for (size_t i = 0; i < n_iov && done < size; i++) {
		uint8_t *base = iov[i].iov_base;
		size_t n;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		n = MIN(iov[i].iov_len - (size_t)offset, size - done);
		if (to_guest)
			memcpy(base + offset, data + done, n);
		else
			memcpy(data + done, base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t vmm_virtqueue_chain_read(
	const struct vmm_virtqueue_chain *chain, uint64_t offset, void *data, size_t size)
{
	return copy(chain->readable, chain->n_readable, offset, data, size, false);
}

size_t vmm_virtqueue_chain_write(
	const struct vmm_virtqueue_chain *chain, uint64_t offset, const void *data, size_t size)
{
	return copy(chain->writable, chain->n_writable, offset, (uint8_t *)data, size, true);
}

int vmm_virtqueue_slice(const struct iovec *iov, size_t n_iov, uint64_t offset, uint64_t length,
	struct iovec *out, size_t n_out)
{
	size_t n = 0;

	for (size_t i = 0; i < n_iov && length > 0; i++) {
		/* A copy: out may be iov, and is never ahead of it. */
		struct iovec piece = iov[i];

		if (offset >= piece.iov_len) {
			offset -= piece.iov_len;
			continue;
		}
		piece.iov_base = (uint8_t *)piece.iov_base + offset;
		piece.iov_len -= (size_t)offset;
		offset = 0;
		if (piece.iov_len > length)
			piece.iov_len = (size_t)length;
		if (n == n_out || n > INT32_MAX - 1)
			return -ENOBUFS;
		out[n++] = piece;
		length -= piece.iov_len;
	}
	return length > 0 ? -ERANGE : (int)n;
}
