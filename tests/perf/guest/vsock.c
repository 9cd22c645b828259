/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The bench guest: virtio-vsock (VIRTIO 1.2, 5.10), a server without end that takes every stream
 * connection of the host, as many as there is room for:
 *
 *	bench=vsock
 *
 * The host says on port 1 in 8 bytes how many follow, and gets one byte when all have come; it says
 * on port 2 how many it wants, and gets them; and gets on any other port what it sends. "BEGIN"
 * is printed when it is there. tests/perf/vsock-client.c is the host's side.
 */
#include "guest.h"

#define QUEUE_SIZE 256
#define EVENT_QUEUE_SIZE 4
#define N_RECEIVE 64
#define PAYLOAD_BYTES 65536
#define MAX_CONNECTIONS 4096 /* a power of two */
#define MAX_SOURCES 16
#define BUFFER_BYTES 262144 /* our credit for the host, as Linux has it */

#define F_EVENT_IDX (UINT64_C(1) << 29)
#define HOST_CID 2
#define TYPE_STREAM 1

enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST
};
enum { PORT_SINK = 1, PORT_SOURCE = 2 };

struct header {
	uint64_t source_cid, target_cid;
	uint32_t source_port, target_port;
	uint32_t length;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 44, "virtio_vsock_hdr");

struct connection {
	bool used;
	uint32_t host_port, guest_port;
	uint32_t taken, told; /* of the host's bytes: by us, as we said last */
	uint32_t sent, peer_buf_alloc, peer_fwd_cnt; /* of ours */
	uint64_t order;                              /* how many bytes: the first 8 of the host */
	unsigned int n_order;
	uint64_t left; /* to take or to send */
};

static struct virtqueue receive_queue, send_queue, event_queue;
static struct connection connections[MAX_CONNECTIONS];
static struct connection *sources[MAX_SOURCES];
static unsigned int n_sources;
static uint64_t guest_cid;

/* Slot i of the send queue has the descriptors 2i and 2i + 1, a header and one for data. */
static struct header *slot_headers[QUEUE_SIZE / 2];
static uint8_t *slot_data[QUEUE_SIZE / 2]; /* for echoes; what is sent else is all the same */
static uint16_t free_slots[QUEUE_SIZE / 2];
static unsigned int n_free_slots;
static uint8_t *source_data;

#define ECHO_BYTES 4096

static struct connection *find(uint32_t host_port, uint32_t guest_port, bool make)
{
	for (uint32_t i = 0; i < MAX_CONNECTIONS; i++) {
		struct connection *connection =
			&connections[(host_port + i) & (MAX_CONNECTIONS - 1)];

		if (connection->used && connection->host_port == host_port &&
			connection->guest_port == guest_port)
			return connection;
		if (make && !connection->used) {
			*connection = (struct connection){
				.used = true, .host_port = host_port, .guest_port = guest_port
			};
			return connection;
		}
	}
	return 0;
}

static void reap(void)
{
	uint16_t head;

	while (queue_used(&send_queue, &head))
		free_slots[n_free_slots++] = head / 2;
}

/* The device takes what it is given, so that a slot comes free. */
static uint16_t take_slot(void)
{
	while (n_free_slots == 0) {
		queue_kick(&send_queue);
		reap();
		__builtin_ia32_pause();
	}
	return free_slots[--n_free_slots];
}

/* data NULL: that of the slot. */
static void send(struct connection *connection, uint16_t op, uint16_t slot, const uint8_t *data,
	uint32_t length)
{
	struct header *header = slot_headers[slot];
	struct desc *descs = &send_queue.descs[slot * 2];

	*header = (struct header){
		.source_cid = guest_cid,
		.target_cid = HOST_CID,
		.source_port = connection->guest_port,
		.target_port = connection->host_port,
		.length = length,
		.type = TYPE_STREAM,
		.op = op,
		.buf_alloc = BUFFER_BYTES,
		.fwd_cnt = connection->taken,
	};
	connection->told = connection->taken;
	connection->sent += length;
	descs[0].flags = length > 0 ? DESC_NEXT : 0;
	descs[1].gpa = (uint64_t)(data ? data : slot_data[slot]);
	descs[1].length = length;
	queue_add(&send_queue, (uint16_t)(slot * 2));
}

static void answer(struct connection *connection, uint16_t op)
{
	send(connection, op, take_slot(), 0, 0);
}

static uint32_t credit(const struct connection *connection)
{
	return connection->peer_buf_alloc - (connection->sent - connection->peer_fwd_cnt);
}

/* What the host has said for a start; returns what is left of data. */
static uint32_t take_order(struct connection *connection, const uint8_t *data, uint32_t length)
{
	uint32_t at = 0;

	while (at < length && connection->n_order < 8)
		connection->order |= (uint64_t)data[at++] << (8 * connection->n_order++);
	if (at > 0 && connection->n_order == 8) {
		connection->left = connection->order;
		if (connection->guest_port == PORT_SOURCE && n_sources < MAX_SOURCES)
			sources[n_sources++] = connection;
	}
	return length - at;
}

static void take_data(struct connection *connection, const uint8_t *data, uint32_t length)
{
	connection->taken += length;
	if (connection->guest_port == PORT_SINK) {
		uint32_t rest = take_order(connection, data, length);

		if (rest > 0 && connection->left > 0) {
			connection->left -= rest < connection->left ? rest : connection->left;
			if (connection->left == 0) {
				send(connection, OP_RW, take_slot(), source_data, 1);
				return;
			}
		}
	} else if (connection->guest_port == PORT_SOURCE) {
		take_order(connection, data, length);
	} else if (length <= ECHO_BYTES && length <= credit(connection)) {
		uint16_t slot = take_slot();

		memcpy(slot_data[slot], data, length);
		send(connection, OP_RW, slot, 0, length);
		return;
	}
	if (connection->taken - connection->told >= BUFFER_BYTES / 2)
		answer(connection, OP_CREDIT_UPDATE);
}

static void end_connection(struct connection *connection)
{
	for (unsigned int i = 0; i < n_sources; i++) {
		if (sources[i] == connection)
			sources[i] = sources[--n_sources];
	}
	*connection = (struct connection){ .used = false };
}

static void take_packet(const struct header *header)
{
	bool is_request = header->op == OP_REQUEST;
	struct connection *connection = find(header->source_port, header->target_port, is_request);
	struct connection stranger = { .host_port = header->source_port,
		.guest_port = header->target_port };

	if (!connection) {
		if (header->op != OP_RST)
			answer(&stranger, OP_RST);
		return;
	}
	connection->peer_buf_alloc = header->buf_alloc;
	connection->peer_fwd_cnt = header->fwd_cnt;
	switch (header->op) {
	case OP_REQUEST:
		answer(connection, OP_RESPONSE);
		break;
	case OP_RW:
		take_data(connection, (const uint8_t *)(header + 1), header->length);
		break;
	case OP_CREDIT_REQUEST:
		answer(connection, OP_CREDIT_UPDATE);
		break;
	case OP_SHUTDOWN:
		answer(connection, OP_RST);
		end_connection(connection);
		break;
	case OP_RST:
		end_connection(connection);
		break;
	default:
		break;
	}
}

static void feed_sources(void)
{
	for (unsigned int i = 0; i < n_sources; i++) {
		struct connection *connection = sources[i];

		while (connection->left > 0 && credit(connection) > 0 && n_free_slots > 0) {
			uint64_t length = connection->left;

			if (length > credit(connection))
				length = credit(connection);
			if (length > PAYLOAD_BYTES)
				length = PAYLOAD_BYTES;
			connection->left -= length;
			send(connection, OP_RW, take_slot(), source_data, (uint32_t)length);
		}
	}
}

static void set_up(struct device *device)
{
	uint32_t room = sizeof(struct header) + PAYLOAD_BYTES;

	device_find(device, 19, 0);
	device_start(device, F_EVENT_IDX);
	guest_cid = *(volatile uint64_t *)device->config;
	device_queue(device, 0, QUEUE_SIZE, &receive_queue);
	device_queue(device, 1, QUEUE_SIZE, &send_queue);
	device_queue(device, 2, EVENT_QUEUE_SIZE, &event_queue);
	device_ok(device);
	source_data = arena(PAYLOAD_BYTES, 4096);
	for (uint16_t i = 0; i < QUEUE_SIZE / 2; i++) {
		slot_headers[i] = arena(sizeof(struct header), 64);
		slot_data[i] = arena(ECHO_BYTES, 4096);
		send_queue.descs[i * 2] = (struct desc){ (uint64_t)slot_headers[i],
			sizeof(struct header), DESC_NEXT, (uint16_t)(i * 2 + 1) };
		free_slots[n_free_slots++] = i;
	}
	for (uint16_t i = 0; i < N_RECEIVE; i++) {
		receive_queue.descs[i] =
			(struct desc){ (uint64_t)arena(room, 4096), room, DESC_WRITE, 0 };
		queue_add(&receive_queue, i);
	}
	queue_kick(&receive_queue);
}

void bench_vsock(void)
{
	struct device device;

	set_up(&device);
	print("BEGIN\n");
	for (;;) {
		bool received = false;
		uint16_t head;

		while (queue_used(&receive_queue, &head)) {
			take_packet((const struct header *)receive_queue.descs[head].gpa);
			queue_add(&receive_queue, head);
			received = true;
		}
		reap();
		feed_sources();
		if (received)
			queue_kick(&receive_queue);
		if (send_queue.next_avail != send_queue.avail_idx)
			queue_kick(&send_queue);
		__builtin_ia32_pause();
	}
}
