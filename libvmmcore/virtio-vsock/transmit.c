/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vsock: packets of the guest, and what they do to connections (VIRTIO 1.2, 5.10.6). */
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

/*
 * What a look at the queue came to. That it was empty is for that look to say: a second one would
 * find the packet that the driver has added since, without a kick, as none was asked for.
 */
enum outcome {
	OUTCOME_DONE,
	OUTCOME_EMPTY,
	OUTCOME_WAITS, /* for a limit, or for orphans to go out: not a kick's affair */
};

/* How many packets one call takes before others get their turn. */
#define PACKETS_A_TURN 256

/* For the guest to take the end of a connection note of, and for a socket to take the rest. */
#define CLOSE_SECONDS 8
#define CONNECT_SECONDS 10
#define DRAIN_SECONDS 60

static void owe_rst(
	struct vmm_virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port, uint16_t type)
{
	unsigned int at = (vsock->first_orphan + vsock->n_orphans) % MAX_ORPHANS;

	/* The transmit queue waits when it is full; here it may be for an abort: then the guest
	 * learns with its next packet. */
	if (vsock->n_orphans == MAX_ORPHANS)
		return;
	vsock->orphans[at] = (struct orphan){ guest_port, host_port, type };
	vsock->n_orphans++;
}

/* RST to the guest, and gone. */
void vmm_vsock_abort(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	owe_rst(vsock, connection->guest_port, connection->host_port, (uint16_t)connection->type);
	vmm_vsock_remove(vsock, connection);
}

static void abort_for_fault(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	count(&vsock->n_reset, 1);
	vmm_vsock_abort(vsock, connection);
}

void vmm_vsock_establish(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	vmm_vsock_opened opened = TAKE(connection->opened, NULL);

	connection->state = STATE_ESTABLISHED;
	vmm_vsock_set_deadline(vsock, connection, 0);
	count(&vsock->n_opened, 1);
	if (opened)
		opened(connection->userdata, true);
	vmm_vsock_watch(vsock, connection);
}

static void handle_request(struct vmm_virtio_vsock *vsock, const struct packet *packet)
{
	struct vmm_vsock_request request = {
		.port = packet->host_port,
		.guest_port = packet->guest_port,
		.type = (enum vmm_vsock_type)packet->type,
	};
	struct connection *connection = NULL;
	int r = -ECONNREFUSED;

	if (vsock->ops)
		connection = vmm_vsock_add(vsock, packet->guest_port, packet->host_port,
			(enum vmm_vsock_type)packet->type);
	if (connection) {
		connection->state = STATE_CONNECTING;
		connection->guest_buf_alloc = packet->buf_alloc;
		connection->guest_fwd_cnt = packet->fwd_cnt;
		request.id = vmm_vsock_id(vsock, connection);
		r = vsock->ops->connect(vsock->ops_userdata, &request);
	}
	if (r == VMM_VSOCK_PENDING) {
		vmm_vsock_set_deadline(vsock, connection, CONNECT_SECONDS);
		return;
	}
	if (r < 0) {
		count(&vsock->n_refused, 1);
		if (connection)
			vmm_vsock_remove(vsock, connection);
		owe_rst(vsock, packet->guest_port, packet->host_port, packet->type);
		return;
	}
	connection->fd = r;
	vmm_vsock_owe(vsock, connection, OWE_RESPONSE);
	vmm_vsock_establish(vsock, connection);
}

/*
 * What a shutdown of the guest asks for, as soon as all that it sent before is in the socket: half
 * a close, or with both directions the end, which RST acknowledges (5.10.6.5).
 */
void vmm_vsock_shutdown_progress(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	uint8_t both = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

	if (connection->guest_shutdown & SHUTDOWN_RECEIVE)
		shutdown(connection->fd, SHUT_RD);
	if (connection->out_bytes > 0)
		return;
	if (connection->guest_shutdown & SHUTDOWN_SEND)
		shutdown(connection->fd, SHUT_WR);
	if ((connection->guest_shutdown & both) == both)
		vmm_vsock_abort(vsock, connection);
}

static void handle_shutdown(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	uint8_t both = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

	connection->guest_shutdown |= packet->flags & both;
	if (connection->state == STATE_CLOSING) {
		if ((connection->guest_shutdown & both) == both)
			vmm_vsock_abort(vsock, connection);
		return;
	}
	if (connection->state != STATE_ESTABLISHED) {
		vmm_vsock_abort(vsock, connection);
		return;
	}
	if ((connection->guest_shutdown & both) == both && connection->out_bytes > 0)
		vmm_vsock_set_deadline(vsock, connection, DRAIN_SECONDS);
	vmm_vsock_watch(vsock, connection);
	vmm_vsock_shutdown_progress(vsock, connection);
}

static void handle_data(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	int r;

	/* It was on its way when the socket ended: nobody is there to read it. */
	if (connection->state == STATE_CLOSING)
		return;
	if (connection->state != STATE_ESTABLISHED || connection->guest_shutdown & SHUTDOWN_SEND) {
		abort_for_fault(vsock, connection);
		return;
	}
	r = vmm_vsock_write(vsock, connection, packet);
	if (r == -ENOBUFS || r == -EMSGSIZE)
		abort_for_fault(vsock, connection);
	else if (r < 0)
		vmm_vsock_abort(vsock, connection);
	else
		vmm_vsock_watch(vsock, connection);
}

static void handle_known(
	struct vmm_virtio_vsock *vsock, struct connection *connection, const struct packet *packet)
{
	connection->guest_buf_alloc = packet->buf_alloc;
	connection->guest_fwd_cnt = packet->fwd_cnt;
	switch (packet->op) {
	case OP_RESPONSE:
		if (connection->state == STATE_REQUESTED)
			vmm_vsock_establish(vsock, connection);
		else
			abort_for_fault(vsock, connection);
		break;
	case OP_RST:
		vmm_vsock_remove(vsock, connection);
		break;
	case OP_SHUTDOWN:
		handle_shutdown(vsock, connection, packet);
		break;
	case OP_RW:
		handle_data(vsock, connection, packet);
		break;
	case OP_CREDIT_UPDATE:
		vmm_vsock_watch(vsock, connection);
		break;
	case OP_CREDIT_REQUEST:
		vmm_vsock_owe(vsock, connection, OWE_CREDIT);
		vmm_vsock_watch(vsock, connection);
		break;
	default: /* a REQUEST for what there is, or an unknown operation */
		abort_for_fault(vsock, connection);
		break;
	}
}

static void handle(struct vmm_virtio_vsock *vsock, const struct packet *packet)
{
	bool seqpacket = vmm_virtio_features(vsock->device) & (UINT64_C(1) << 1);
	struct connection *connection;

	connection = vmm_vsock_find(vsock, packet->guest_port, packet->host_port);
	if (connection && (uint16_t)connection->type == packet->type) {
		handle_known(vsock, connection, packet);
		return;
	}
	if (packet->op == OP_RST)
		return;
	if (packet->op == OP_REQUEST && !connection &&
		(packet->type == VMM_VSOCK_STREAM ||
			(packet->type == VMM_VSOCK_SEQPACKET && seqpacket)))
		handle_request(vsock, packet);
	else
		owe_rst(vsock, packet->guest_port, packet->host_port, packet->type);
}

/* Takes a chain apart. 1: *ret_packet is good; 0: it is not for us; -VMM_EGUEST. */
static int parse(struct vmm_virtio_vsock *vsock, const struct vmm_virtqueue_chain *chain,
	struct packet *ret_packet)
{
	struct vsock_header header;
	uint32_t len;
	int n;

	if (vmm_virtqueue_chain_read(chain, 0, &header, sizeof(header)) != sizeof(header))
		return -VMM_EGUEST;
	len = vmm_le32_get(header.len);
	if (len > VMM_VSOCK_MAX_PACKET_BYTES || len > chain->readable_bytes - HEADER_BYTES)
		return -VMM_EGUEST;
	if (vmm_le64_get(header.src_cid) != vsock->guest_cid ||
		vmm_le64_get(header.dst_cid) != VMM_VSOCK_CID_HOST)
		return 0;
	n = vmm_virtqueue_slice(chain->readable, chain->n_readable, HEADER_BYTES, len,
		vsock->iov + vsock->iov_room, vsock->iov_room);
	assert(n >= 0);
	*ret_packet = (struct packet){
		.guest_port = vmm_le32_get(header.src_port),
		.host_port = vmm_le32_get(header.dst_port),
		.len = len,
		.type = vmm_le16_get(header.type),
		.op = vmm_le16_get(header.op),
		.flags = vmm_le32_get(header.flags),
		.buf_alloc = vmm_le32_get(header.buf_alloc),
		.fwd_cnt = vmm_le32_get(header.fwd_cnt),
		.iov = vsock->iov + vsock->iov_room,
		.n_iov = (size_t)n,
	};
	return 1;
}

static bool admit(struct vmm_virtio_vsock *vsock, const struct packet *packet)
{
	uint64_t deadline;

	if (packet->op != OP_RW || !vmm_ratelimit_active(&vsock->transmit_limit))
		return true;
	deadline = vmm_ratelimit_take(&vsock->transmit_limit, 1, packet->len, vmm_base_now_nsec());
	if (deadline == 0)
		return true;
	vmm_vsock_set_timer(vsock, deadline);
	return false;
}

/* 0, or -VMM_EGUEST. */
static int transmit_one(
	struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue, enum outcome *ret_outcome)
{
	struct vmm_virtqueue_chain chain;
	struct packet packet;
	int r;

	if (vsock->n_orphans == MAX_ORPHANS) {
		vsock->transmit_waits = true;
		*ret_outcome = OUTCOME_WAITS;
		return 0;
	}
	r = vmm_virtqueue_pop(queue, vsock->iov, vsock->iov_room, &chain);
	if (r == -ENOBUFS) {
		vmm_virtqueue_break(queue, "packet of too many pieces");
		return -VMM_EGUEST;
	}
	if (r < 0)
		return r;
	if (r == 0) {
		*ret_outcome = OUTCOME_EMPTY;
		return 0;
	}
	r = parse(vsock, &chain, &packet);
	if (r < 0) {
		vmm_virtqueue_break(queue, "packet shorter than it says");
		return r;
	}
	if (r == 0) {
		count(&vsock->n_dropped, 1);
	} else if (!admit(vsock, &packet)) {
		vmm_virtqueue_undo_pop(queue, &chain);
		*ret_outcome = OUTCOME_WAITS;
		return 0;
	} else {
		handle(vsock, &packet);
	}
	vmm_virtqueue_push(queue, &chain, 0);
	*ret_outcome = OUTCOME_DONE;
	return 0;
}

/* Takes what there is. 0; 1: there is more, call again; -VMM_EGUEST. */
int vmm_vsock_transmit(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue)
{
	vsock->transmit_waits = false;
	vmm_virtqueue_disable_notifications(queue);
	for (int i = 0; i < PACKETS_A_TURN; i++) {
		enum outcome outcome;
		int r = transmit_one(vsock, queue, &outcome);

		if (r < 0)
			return r;
		if (outcome == OUTCOME_DONE)
			continue;
		if (outcome == OUTCOME_WAITS)
			return 0;
		if (!vmm_virtqueue_enable_notifications(queue))
			return 0;
		vmm_virtqueue_disable_notifications(queue);
	}
	return 1;
}
