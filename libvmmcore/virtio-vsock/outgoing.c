/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vsock: from the guest into the sockets. A stream's bytes go straight from the guest's
 * buffers; what the socket does not take waits in the connection's ring. A seqpacket message is
 * put together in the ring, behind its length, and sent when its end has come.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

/* ---- rings ---- */

/* All of them: one for each connection, and behind those the wide ones. */
size_t vmm_vsock_buffers_bytes(const struct vmm_virtio_vsock *vsock)
{
	return ((size_t)vsock->n_connections_room + MAX_WIDE * WIDE_FACTOR) * vsock->buffer_bytes *
	       2;
}

/* What the guest may have under way to the socket. */
uint32_t vmm_vsock_window_bytes(
	const struct vmm_virtio_vsock *vsock, const struct connection *connection)
{
	return vsock->buffer_bytes * (connection->wide ? WIDE_FACTOR : 1);
}

static uint32_t ring_bytes(
	const struct vmm_virtio_vsock *vsock, const struct connection *connection)
{
	return vmm_vsock_window_bytes(vsock, connection) * 2;
}

static uint8_t *ring(struct vmm_virtio_vsock *vsock, const struct connection *connection)
{
	size_t index = (size_t)(connection - vsock->connections);

	if (connection->wide)
		index = vsock->n_connections_room + (size_t)(connection->wide - 1) * WIDE_FACTOR;
	return vsock->buffers + index * vsock->buffer_bytes * 2;
}

/* What it took of memory goes back. */
void vmm_vsock_give_up_ring(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	if (connection->received > 0)
		madvise(ring(vsock, connection), ring_bytes(vsock, connection), MADV_DONTNEED);
	if (connection->wide)
		vsock->wide_taken &= (uint16_t) ~(1u << (connection->wide - 1));
	connection->wide = 0;
}

/* Where the ring is empty, and there is another. */
static void widen(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	unsigned int free_bits = (uint16_t)~vsock->wide_taken;

	if (connection->wide || connection->out_bytes > 0 || free_bits == 0)
		return;
	vmm_vsock_give_up_ring(vsock, connection);
	connection->wide = (uint8_t)(__builtin_ctz(free_bits) + 1);
	connection->out_start = 0;
	vsock->wide_taken |= (uint16_t)(1u << (connection->wide - 1));
	vmm_vsock_owe(vsock, connection, OWE_CREDIT);
}

/* length bytes of the ring from offset behind its start on, as one or two iovecs. */
static int ring_iov(struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t offset,
	uint32_t length, struct iovec iov[2])
{
	uint32_t at = (connection->out_start + offset) & (ring_bytes(vsock, connection) - 1);
	uint32_t first = MIN(length, ring_bytes(vsock, connection) - at);

	iov[0] = (struct iovec){ ring(vsock, connection) + at, first };
	iov[1] = (struct iovec){ ring(vsock, connection), length - first };
	return length > first ? 2 : 1;
}

static void ring_put(struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t offset,
	const void *data, uint32_t length)
{
	struct iovec iov[2];

	ring_iov(vsock, connection, offset, length, iov);
	memcpy(iov[0].iov_base, data, iov[0].iov_len);
	memcpy(iov[1].iov_base, (const uint8_t *)data + iov[0].iov_len, iov[1].iov_len);
}

static void ring_get(struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t offset,
	void *data, uint32_t length)
{
	struct iovec iov[2];

	ring_iov(vsock, connection, offset, length, iov);
	memcpy(data, iov[0].iov_base, iov[0].iov_len);
	memcpy((uint8_t *)data + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
}

/* Appends the payload from skip on; the caller knows that it fits. */
static void ring_append(struct vmm_virtio_vsock *vsock, struct connection *connection,
	const struct packet *packet, size_t skip)
{
	for (size_t i = 0; i < packet->n_iov; i++) {
		const struct iovec *iov = &packet->iov[i];

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		ring_put(vsock, connection, connection->out_bytes,
			(const uint8_t *)iov->iov_base + skip, (uint32_t)(iov->iov_len - skip));
		connection->out_bytes += (uint32_t)(iov->iov_len - skip);
		skip = 0;
	}
}

static void ring_drop(
	struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t length)
{
	connection->out_start =
		(connection->out_start + length) & (ring_bytes(vsock, connection) - 1);
	connection->out_bytes -= length;
}

/* ---- sockets ---- */

/* Counts what the socket has; the guest hears of it when a quarter of the buffer is free again. */
static void forwarded(
	struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t length)
{
	connection->forwarded += length;
	count(&vsock->transmitted_bytes, length);
	if (connection->forwarded - connection->forwarded_told >=
		vmm_vsock_window_bytes(vsock, connection) / 4)
		vmm_vsock_owe(vsock, connection, OWE_CREDIT);
	if (connection->type == VMM_VSOCK_STREAM &&
		connection->forwarded >= WIDE_FACTOR * vsock->buffer_bytes)
		widen(vsock, connection);
}

/* Bytes that the socket took, 0 where it takes none now, or a negative errno. */
static ssize_t send_iov(struct connection *connection, const struct iovec *iov, size_t n_iov)
{
	struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov };
	ssize_t n;

	do
		n = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -errno;
	return n;
}

static int flush_stream(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	while (connection->out_bytes > 0) {
		struct iovec iov[2];
		int n_iov = ring_iov(vsock, connection, 0, connection->out_bytes, iov);
		ssize_t n = send_iov(connection, iov, (size_t)n_iov);

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		ring_drop(vsock, connection, (uint32_t)n);
		forwarded(vsock, connection, (uint32_t)n);
	}
	return 0;
}

static int flush_messages(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	while (connection->n_messages > 0) {
		struct iovec iov[2];
		uint32_t length;
		ssize_t n;
		int n_iov;

		ring_get(vsock, connection, 0, &length, sizeof(length));
		n_iov = ring_iov(vsock, connection, sizeof(length), length, iov);
		n = send_iov(connection, iov, (size_t)n_iov);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		ring_drop(vsock, connection, (uint32_t)sizeof(length) + length);
		connection->n_messages--;
		forwarded(vsock, connection, length);
	}
	return 0;
}

int vmm_vsock_flush(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	if (connection->type == VMM_VSOCK_SEQPACKET)
		return flush_messages(vsock, connection);
	return flush_stream(vsock, connection);
}

static int write_stream(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	size_t taken = 0;

	if (connection->out_bytes == 0 && packet->len > 0) {
		ssize_t n = send_iov(connection, packet->iov, packet->n_iov);

		if (n < 0 && n != -EAGAIN)
			return (int)n;
		taken = n > 0 ? (size_t)n : 0;
		forwarded(vsock, connection, (uint32_t)taken);
	}
	ring_append(vsock, connection, packet, taken);
	return 0;
}

static int write_message(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	uint32_t prefix = connection->message_begun ? 0 : (uint32_t)sizeof(uint32_t);

	/* The payload is within the credit; lengths of many small messages may not be. */
	if (packet->len + prefix > ring_bytes(vsock, connection) - connection->out_bytes)
		return -EMSGSIZE;
	connection->out_bytes += prefix;
	connection->message_begun = true;
	ring_append(vsock, connection, packet, 0);
	connection->message_bytes += packet->len;
	if (!(packet->flags & SEQPACKET_EOM))
		return 0;
	ring_put(vsock, connection,
		connection->out_bytes - connection->message_bytes - (uint32_t)sizeof(uint32_t),
		&connection->message_bytes, sizeof(uint32_t));
	connection->message_bytes = 0;
	connection->message_begun = false;
	connection->n_messages++;
	return flush_messages(vsock, connection);
}

int vmm_vsock_write(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	if (connection->received - connection->forwarded + packet->len >
		vmm_vsock_window_bytes(vsock, connection))
		return -ENOBUFS;
	connection->received += packet->len;
	if (connection->type == VMM_VSOCK_SEQPACKET)
		return write_message(vsock, connection, packet);
	return write_stream(vsock, connection, packet);
}
