/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vsock: packets for the guest: what connections owe it, and what comes from sockets. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

#define SOCKETS_A_TURN 64
#define CLOSE_SECONDS 8
#define MAX_IOV 1024 /* what the kernel takes in one call */

/* For the guest, and the connection's credit with it; connection NULL: an RST for nobody. */
static void put_header(struct vmm_virtio_vsock *vsock, struct connection *connection,
	const struct vmm_virtqueue_chain *chain, struct vsock_header *header)
{
	header->src_cid = vmm_le64_make(VMM_VSOCK_CID_HOST);
	header->dst_cid = vmm_le64_make(vsock->guest_cid);
	if (connection) {
		header->src_port = vmm_le32_make(connection->host_port);
		header->dst_port = vmm_le32_make(connection->guest_port);
		header->type = vmm_le16_make((uint16_t)connection->type);
		header->buf_alloc = vmm_le32_make(vmm_vsock_window_bytes(vsock, connection));
		header->fwd_cnt = vmm_le32_make(connection->forwarded);
		connection->forwarded_told = connection->forwarded;
		/* Every packet tells of the credit. */
		connection->owed &= (uint8_t)~OWE_CREDIT;
	}
	vmm_virtqueue_chain_write(chain, 0, header, sizeof(*header));
}

/* 1, 0 where the guest has given no buffer (it will kick), or -VMM_EGUEST. */
static int pop_buffer(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue, size_t used_iov,
	struct vmm_virtqueue_chain *ret_chain)
{
	int r;

	do
		r = vmm_virtqueue_pop(
			queue, vsock->iov + used_iov, vsock->iov_room - used_iov, ret_chain);
	while (r == 0 && vmm_virtqueue_enable_notifications(queue));
	if (r == 0)
		vsock->wants_buffers = true;
	if (r == -ENOBUFS && used_iov > 0)
		return 0;
	if (r == -ENOBUFS || (r > 0 && (ret_chain->n_readable > 0 ||
					       ret_chain->writable_bytes <= HEADER_BYTES))) {
		vmm_virtqueue_break(queue, "receive buffer of the wrong shape");
		return -VMM_EGUEST;
	}
	return r;
}

/* As pop_buffer(). */
static int send_orphans(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue)
{
	while (vsock->n_orphans > 0) {
		const struct orphan *orphan = &vsock->orphans[vsock->first_orphan];
		struct vmm_virtqueue_chain chain;
		struct vsock_header header = {
			.src_port = vmm_le32_make(orphan->host_port),
			.dst_port = vmm_le32_make(orphan->guest_port),
			.type = vmm_le16_make(orphan->type),
			.op = vmm_le16_make(OP_RST),
		};
		int r = pop_buffer(vsock, queue, 0, &chain);

		if (r <= 0)
			return r;
		put_header(vsock, NULL, &chain, &header);
		vmm_virtqueue_push(queue, &chain, HEADER_BYTES);
		vsock->first_orphan = (vsock->first_orphan + 1) % MAX_ORPHANS;
		vsock->n_orphans--;
	}
	return 1;
}

/* The operation that is next of those that are owed; it is then owed no more. */
static void next_owed(struct connection *connection, struct vsock_header *header)
{
	static const struct {
		uint8_t owed;
		uint16_t op;
	} order[] = {
		{ OWE_REQUEST, OP_REQUEST },
		{ OWE_RESPONSE, OP_RESPONSE },
		{ OWE_CREDIT, OP_CREDIT_UPDATE },
		{ OWE_SHUTDOWN, OP_SHUTDOWN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(connection->owed & order[i].owed))
			continue;
		connection->owed &= (uint8_t)~order[i].owed;
		header->op = vmm_le16_make(order[i].op);
		if (order[i].owed == OWE_SHUTDOWN)
			header->flags = vmm_le32_make(connection->shutdown_owed);
		return;
	}
}

/* As pop_buffer(). */
static int send_owed(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue)
{
	struct connection *connection;

	while ((connection = vmm_vsock_next_owing(vsock))) {
		while (connection->owed) {
			struct vmm_virtqueue_chain chain;
			struct vsock_header header = { 0 };
			int r = pop_buffer(vsock, queue, 0, &chain);

			if (r <= 0) {
				vmm_vsock_owe(vsock, connection, 0);
				return r;
			}
			next_owed(connection, &header);
			put_header(vsock, connection, &chain, &header);
			vmm_virtqueue_push(queue, &chain, HEADER_BYTES);
		}
	}
	return 1;
}

/* The socket says no more: the guest is told, after all that came before. */
static void host_ended(
	struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t events)
{
	connection->host_eof = true;
	connection->shutdown_owed |= SHUTDOWN_SEND;
	if (events & EPOLLHUP) {
		/* Nobody is there to read either. */
		connection->shutdown_owed |= SHUTDOWN_RECEIVE;
		connection->state = STATE_CLOSING;
		vmm_vsock_set_deadline(vsock, connection, CLOSE_SECONDS);
	}
	vmm_vsock_owe(vsock, connection, OWE_SHUTDOWN);
	vmm_vsock_watch(vsock, connection);
}

/* Buffers of the guest that were popped for one read of a socket. */
struct scatter {
	size_t n_chains;
	size_t n_popped_iov;
	size_t n_iov; /* of payload, in the second half of vsock->iov */
	uint32_t room_bytes;
};

/* Pops buffers for bytes, at most max_chains. 1; 0 where there are not enough for one; fault. */
static int scatter_pop(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue, uint32_t bytes,
	size_t max_chains, struct scatter *ret)
{
	*ret = (struct scatter){ 0 };
	while (ret->room_bytes < bytes && ret->n_chains < max_chains) {
		struct vmm_virtqueue_chain *chain = &vsock->batch[ret->n_chains];
		uint64_t part;
		int r;

		r = pop_buffer(vsock, queue, ret->n_popped_iov, chain);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		part = MIN(
			chain->writable_bytes - HEADER_BYTES, (uint64_t)(bytes - ret->room_bytes));
		r = vmm_virtqueue_slice(chain->writable, chain->n_writable, HEADER_BYTES, part,
			vsock->iov + vsock->iov_room + ret->n_iov, vsock->iov_room - ret->n_iov);
		assert(r > 0);
		ret->n_popped_iov += chain->n_writable;
		ret->n_iov += (size_t)r;
		ret->n_chains++;
		ret->room_bytes += (uint32_t)part;
	}
	return ret->n_chains > 0;
}

static void scatter_undo(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue,
	struct scatter *scatter, size_t n_kept)
{
	while (scatter->n_chains > n_kept)
		vmm_virtqueue_undo_pop(queue, &vsock->batch[--scatter->n_chains]);
}

/* Gives the guest the first bytes that were read, a packet a buffer. */
static void scatter_push(struct vmm_virtio_vsock *vsock, struct connection *connection,
	struct vmm_virtqueue *queue, struct scatter *scatter, uint32_t bytes)
{
	uint32_t left = bytes;
	size_t n_used = 0;

	for (uint64_t sum = 0; sum < bytes; n_used++)
		sum += vsock->batch[n_used].writable_bytes - HEADER_BYTES;
	scatter_undo(vsock, queue, scatter, n_used);
	for (size_t i = 0; i < n_used; i++) {
		struct vmm_virtqueue_chain *chain = &vsock->batch[i];
		uint32_t part = (uint32_t)MIN((uint64_t)left, chain->writable_bytes - HEADER_BYTES);
		struct vsock_header header = {
			.len = vmm_le32_make(part),
			.op = vmm_le16_make(OP_RW),
		};

		left -= part;
		if (connection->type == VMM_VSOCK_SEQPACKET && left == 0)
			header.flags = vmm_le32_make(SEQPACKET_EOM);
		put_header(vsock, connection, chain, &header);
		vmm_virtqueue_fill(queue, chain, HEADER_BYTES + part);
	}
	vmm_virtqueue_flush(queue);
	connection->sent += bytes;
	count(&vsock->received_bytes, bytes);
}

/* Asks the limit for up to *bytes. False: not now, the timer is set. */
static bool admit(struct vmm_virtio_vsock *vsock, struct connection *connection, uint32_t *bytes)
{
	uint64_t deadline;
	int available = 0;

	if (!vmm_ratelimit_active(&vsock->receive_limit))
		return true;
	if (ioctl(connection->fd, FIONREAD, &available) == 0 && available > 0)
		*bytes = MIN(*bytes, (uint32_t)available);
	deadline = vmm_ratelimit_take(&vsock->receive_limit, 1, *bytes, vmm_base_now_nsec());
	if (deadline == 0)
		return true;
	vmm_vsock_set_timer(vsock, deadline);
	return false;
}

/* How much to read next. 0: nothing now, as *ret_end says for good. */
static uint32_t bytes_to_read(struct connection *connection, bool *ret_end, bool *ret_fault)
{
	uint32_t credit = vmm_vsock_credit(connection);
	ssize_t length;

	if (connection->type == VMM_VSOCK_STREAM)
		return MIN(credit, (uint32_t)VMM_VSOCK_MAX_PACKET_BYTES);
	length = recv(connection->fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	if (length == 0)
		*ret_end = true;
	else if (length < 0)
		*ret_fault = errno != EAGAIN && errno != EINTR;
	else if (length > (ssize_t)connection->guest_buf_alloc)
		*ret_fault = true;
	else if ((uint32_t)length > credit)
		connection->need = (uint32_t)length;
	else
		return (uint32_t)length;
	return 0;
}

/* Reads once. 0, or -VMM_EGUEST. */
static int pump(struct vmm_virtio_vsock *vsock, struct connection *connection,
	struct vmm_virtqueue *queue, uint32_t events)
{
	bool whole = connection->type == VMM_VSOCK_SEQPACKET;
	struct msghdr message = { .msg_iov = vsock->iov + vsock->iov_room };
	bool end = false, fault = false;
	struct scatter scatter;
	uint32_t bytes;
	ssize_t n;
	int r;

	connection->need = 0;
	bytes = bytes_to_read(connection, &end, &fault);
	if (fault) {
		vmm_vsock_abort(vsock, connection);
		return 0;
	}
	if (end) {
		host_ended(vsock, connection, events);
		return 0;
	}
	if (bytes == 0) {
		vmm_vsock_watch(vsock, connection);
		return 0;
	}
	if (!admit(vsock, connection, &bytes)) {
		vmm_vsock_starve(vsock, connection);
		return 0;
	}
	r = scatter_pop(vsock, queue, bytes, whole ? MAX_BATCH : connection->batch, &scatter);
	if (r < 0)
		return r;
	if (r == 0 || (whole && (scatter.room_bytes < bytes || scatter.n_iov > MAX_IOV))) {
		bool hopeless = scatter.n_chains == MAX_BATCH || scatter.n_iov > MAX_IOV;

		scatter_undo(vsock, queue, &scatter, 0);
		vmm_ratelimit_give_back(&vsock->receive_limit, 1, bytes);
		if (hopeless)
			vmm_vsock_abort(vsock, connection);
		else
			vmm_vsock_starve(vsock, connection);
		return 0;
	}
	message.msg_iovlen = MIN(scatter.n_iov, (size_t)MAX_IOV);
	do
		n = recvmsg(connection->fd, &message, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		int error = n < 0 ? errno : 0;

		scatter_undo(vsock, queue, &scatter, 0);
		vmm_ratelimit_give_back(&vsock->receive_limit, 1, bytes);
		if (error == 0)
			host_ended(vsock, connection, events);
		else if (error != EAGAIN)
			vmm_vsock_abort(vsock, connection);
		return 0;
	}
	vmm_ratelimit_give_back(&vsock->receive_limit, 0, bytes - (uint32_t)n);
	connection->batch =
		(uint16_t)((uint32_t)n == scatter.room_bytes ? MIN(connection->batch * 2, MAX_BATCH)
							     : MAX(connection->batch / 2, 1));
	scatter_push(vsock, connection, queue, &scatter, (uint32_t)n);
	vmm_vsock_watch(vsock, connection);
	return 0;
}

static int serve_socket(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue,
	const struct epoll_event *event)
{
	struct connection *connection = vmm_vsock_by_id(vsock, event->data.u64);
	int r;

	if (!connection || connection->state != STATE_ESTABLISHED)
		return 0;
	if (connection->out_bytes > 0 && event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		r = vmm_vsock_flush(vsock, connection);
		if (r < 0) {
			vmm_vsock_abort(vsock, connection);
			return 0;
		}
		vmm_vsock_watch(vsock, connection);
		if (connection->out_bytes == 0 && connection->guest_shutdown) {
			uint64_t id = vmm_vsock_id(vsock, connection);

			vmm_vsock_shutdown_progress(vsock, connection);
			connection = vmm_vsock_by_id(vsock, id);
			if (!connection)
				return 0;
		}
	}
	if (!(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || connection->host_eof ||
		connection->is_starved)
		return 0;
	/* What it owes, its RESPONSE first of all, goes before its data. */
	if (connection->owed) {
		vmm_vsock_starve(vsock, connection);
		return 0;
	}
	return pump(vsock, connection, queue, event->events);
}

/* Serves what is there for the guest; the epoll set says by itself if more is. 0, -VMM_EGUEST. */
int vmm_vsock_receive(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue)
{
	struct epoll_event events[SOCKETS_A_TURN];
	int n, r;

	/* Whoever waits for a buffer waits for the kick that was asked for. */
	if (!vsock->wants_buffers)
		vmm_virtqueue_disable_notifications(queue);
	n = epoll_wait(vsock->epoll_fd, events, SOCKETS_A_TURN, 0);
	for (int i = 0; i < n; i++) {
		r = send_owed(vsock, queue);
		if (r >= 0)
			r = serve_socket(vsock, queue, &events[i]);
		if (r < 0)
			return r;
	}
	r = send_orphans(vsock, queue);
	if (r > 0)
		r = send_owed(vsock, queue);
	return MIN(r, 0);
}
