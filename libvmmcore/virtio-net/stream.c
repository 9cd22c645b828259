/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-net: frames over a stream socket, each behind its length (32 bits, big-endian), as
 * passt and QEMU's stream netdev speak it.
 */
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

#define PREFIX_BYTES 4

struct vmm_net_stream {
	int fd; /* owned */

	/* Received and not handed on: [in_start, in_end). */
	size_t in_start, in_end;
	uint8_t in[2 * (PREFIX_BYTES + VMM_NET_MAX_FRAME_BYTES)];

	/* The rest of a frame that was begun: [out_start, out_end). */
	size_t out_start, out_end;
	uint8_t out[PREFIX_BYTES + VMM_NET_MAX_FRAME_BYTES];
};

DEFINE_POINTER_CLEANUP(struct vmm_net_stream, vmm_net_stream_free);

int vmm_net_stream_new(int fd, struct vmm_net_stream **ret_stream)
{
	CLEANUP(vmm_net_stream_free_p) struct vmm_net_stream *stream = NULL;
	int flags;

	stream = malloc(sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	stream->in_start = stream->in_end = 0;
	stream->out_start = stream->out_end = 0;
	stream->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (stream->fd < 0)
		return -errno;
	flags = fcntl(stream->fd, F_GETFL);
	if (flags < 0 || fcntl(stream->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	*ret_stream = TAKE_PTR(stream);
	return 0;
}

struct vmm_net_stream *vmm_net_stream_free(struct vmm_net_stream *stream)
{
	if (!stream)
		return NULL;
	vmm_base_close(stream->fd);
	free(stream);
	return NULL;
}

/* The length of the frame that begins the input; 0: not all of it is there; -EPROTO. */
static int64_t next_frame(const struct vmm_net_stream *stream)
{
	size_t there = stream->in_end - stream->in_start;
	uint32_t prefix;

	if (there < PREFIX_BYTES)
		return 0;
	memcpy(&prefix, &stream->in[stream->in_start], sizeof(prefix));
	prefix = be32toh(prefix);
	if (prefix < ETHERNET_BYTES || prefix > VMM_NET_MAX_FRAME_BYTES)
		return -EPROTO;
	return there - PREFIX_BYTES < prefix ? 0 : (int64_t)prefix;
}

/* 0, -EAGAIN where nothing more is there, -ECONNRESET at the end. */
static int read_more(struct vmm_net_stream *stream)
{
	ssize_t n;

	memmove(stream->in, &stream->in[stream->in_start], stream->in_end - stream->in_start);
	stream->in_end -= stream->in_start;
	stream->in_start = 0;
	do
		n = recv(stream->fd, &stream->in[stream->in_end],
			sizeof(stream->in) - stream->in_end, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	stream->in_end += (size_t)n;
	return 0;
}

/* Copies between flat data and the bytes of the iovecs from offset on. */
static void scatter(
	const struct iovec *iov, size_t n_iov, size_t offset, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < n_iov && size > 0; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - offset, size);
		memcpy((uint8_t *)iov[i].iov_base + offset, data, part);
		data += part;
		size -= part;
		offset = 0;
	}
}

static size_t gather(
	const struct iovec *iov, size_t n_iov, size_t offset, uint8_t *data, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < n_iov && n < size; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - offset, size - n);
		memcpy(data + n, (const uint8_t *)iov[i].iov_base + offset, part);
		n += part;
		offset = 0;
	}
	return n;
}

static ssize_t stream_receive(
	void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	static const uint8_t header[VMM_NET_HEADER_BYTES];
	struct vmm_net_stream *stream = userdata;
	int64_t length;

	while ((length = next_frame(stream)) == 0) {
		int r = read_more(stream);

		if (r < 0)
			return r;
	}
	if (length < 0)
		return (ssize_t)length;
	scatter(iov, n_iov, 0, header, sizeof(header));
	scatter(iov, n_iov, sizeof(header), &stream->in[stream->in_start + PREFIX_BYTES],
		(size_t)length);
	stream->in_start += PREFIX_BYTES + (size_t)length;
	return VMM_NET_HEADER_BYTES + (ssize_t)length;
}

/* 0, -EAGAIN, or the errno of send. */
static int send_rest(struct vmm_net_stream *stream)
{
	while (stream->out_start < stream->out_end) {
		ssize_t n = send(stream->fd, &stream->out[stream->out_start],
			stream->out_end - stream->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		stream->out_start += (size_t)n;
	}
	stream->out_start = stream->out_end = 0;
	return 0;
}

/*
 * A frame of which the socket took only a part is kept here and refused with -EAGAIN, so that it
 * is offered again: then the rest is sent, and with that the frame that is offered. (Where the
 * device was reset in between it is another frame, which is lost, as frames may be.)
 */
static int stream_send(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	struct vmm_net_stream *stream = userdata;
	uint32_t prefix;
	size_t n;

	if (stream->out_end > 0)
		return send_rest(stream);
	n = gather(iov, n_iov, VMM_NET_HEADER_BYTES, &stream->out[PREFIX_BYTES],
		VMM_NET_MAX_FRAME_BYTES);
	prefix = htobe32((uint32_t)n);
	memcpy(stream->out, &prefix, sizeof(prefix));
	stream->out_end = PREFIX_BYTES + n;
	return send_rest(stream);
}

static int stream_fd(void *userdata, unsigned int pair)
{
	struct vmm_net_stream *stream = userdata;

	return pair == 0 ? stream->fd : -EBADF;
}

static const struct vmm_net_ops stream_ops = {
	.receive = stream_receive,
	.send = stream_send,
	.fd = stream_fd,
};

struct vmm_net_backend vmm_net_stream_backend(struct vmm_net_stream *stream)
{
	return (struct vmm_net_backend){ .ops = &stream_ops, .userdata = stream };
}
