/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: the driver's side of virtio-vsock, 5.10, for the cases in vsock*.c. */
#ifndef VMM_TESTS_VSOCK_DRIVER_H
#define VMM_TESTS_VSOCK_DRIVER_H

#include "conformance.h"
#include "target-vsock.h"

#define F_STREAM (UINT64_C(1) << 0)
#define F_SEQPACKET (UINT64_C(1) << 1)
#define RECEIVE 0
#define TRANSMIT 1
#define EVENT 2
#define HEADER_BYTES 44
#define GUEST_PORT 5000
#define N_ROOMS 16
#define ROOM_BYTES 4096

enum op {
	REQUEST = 1,
	RESPONSE = 2,
	RST = 3,
	SHUTDOWN = 4,
	RW = 5,
	CREDIT_UPDATE = 6,
	CREDIT_REQUEST = 7,
};

enum { STREAM = 1, SEQPACKET = 2 };

#define SHUT_RECEIVE 1
#define SHUT_SEND 2
#define EOM 1

/* struct virtio_vsock_hdr, 5.10.6. */
struct header {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed));

/* What came from the device, with the first bytes of its payload. */
struct packet {
	struct header header;
	uint32_t used_len;
	uint8_t payload[ROOM_BYTES];
};

/* Receive buffers, by the id of their chain. */
struct rooms {
	uint64_t gpas[65536];
};

static struct rooms rooms;

static inline void offer_room(struct conf *c, uint32_t size)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, size), size, true };

	rooms.gpas[vdriver_send(&c->d, RECEIVE, &buffer, 1)] = buffer.gpa;
}

static inline void begin_without(struct conf *c, uint64_t features)
{
	uint64_t wanted = (F_STREAM | F_SEQPACKET) & ~features;

	if (c->packed) {
		needs(c, F_PACKED, "packed ring");
		wanted |= F_PACKED;
	}
	CHECK(vdriver_start(&c->d, wanted, 3, 64));
	for (unsigned int i = 0; i < N_ROOMS; i++)
		offer_room(c, ROOM_BYTES);
}

static inline void begin(struct conf *c)
{
	begin_without(c, 0);
}

static inline struct header make(enum op op)
{
	return (struct header){
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = GUEST_PORT,
		.dst_port = VSOCK_PORT,
		.type = STREAM,
		.op = op,
		.buf_alloc = 16384,
	};
}

static inline void put(struct conf *c, const struct header *header, const void *data, uint32_t size)
{
	struct vring_buffer buffer = { 0, HEADER_BYTES + size, false };
	uint32_t len;

	if (c->d.next_gpa > c->m->ram_bytes * 3 / 4)
		c->d.next_gpa = c->m->ram_bytes / 2;
	buffer.gpa = vdriver_alloc(&c->d, buffer.len);
	memcpy(c->m->ram + buffer.gpa, header, HEADER_BYTES);
	if (size > 0)
		memcpy(c->m->ram + buffer.gpa + HEADER_BYTES, data, size);
	CHECK(vdriver_transfer(&c->d, TRANSMIT, &buffer, 1, &len));
	CHECK(len == 0);
}

static inline void put_op(struct conf *c, enum op op)
{
	struct header header = make(op);

	put(c, &header, NULL, 0);
}

static inline void put_data(
	struct conf *c, uint16_t type, uint32_t flags, const void *data, uint32_t size)
{
	struct header header = make(RW);

	header.type = type;
	header.flags = flags;
	header.len = size;
	put(c, &header, data, size);
}

static inline struct packet get(struct conf *c)
{
	struct packet packet = { .used_len = 0 };
	uint32_t id;

	CHECK(vdriver_wait_used(&c->d, RECEIVE, &id, &packet.used_len));
	memcpy(&packet.header, c->m->ram + rooms.gpas[id], HEADER_BYTES);
	CHECK(packet.used_len == HEADER_BYTES + packet.header.len);
	CHECK(packet.header.len <= ROOM_BYTES - HEADER_BYTES);
	memcpy(packet.payload, c->m->ram + rooms.gpas[id] + HEADER_BYTES, packet.header.len);
	/* 5.10.6.2: addresses of both ends, in all packets. */
	CHECK(packet.header.src_cid == VSOCK_HOST_CID);
	CHECK(packet.header.dst_cid == VSOCK_GUEST_CID);
	return packet;
}

static inline struct packet get_op(struct conf *c, enum op op)
{
	struct packet packet = get(c);

	CHECK(packet.header.op == op);
	return packet;
}

static inline void expect_silence(struct conf *c)
{
	uint32_t id, len;

	settle(c);
	CHECK(!vring_get_used(c->d.rings[RECEIVE], &id, &len));
}

static inline bool host_got(struct conf *c, const void *data, size_t size)
{
	settle(c);
	return c->target->host(VSOCK_HOST_GOT, data, size);
}

static inline bool is_open(struct conf *c)
{
	settle(c);
	return c->target->host(VSOCK_HOST_IS_OPEN, NULL, 0);
}

static inline struct packet connect_type(struct conf *c, uint16_t type)
{
	struct header header = make(REQUEST);
	struct packet packet;

	header.type = type;
	put(c, &header, NULL, 0);
	packet = get_op(c, RESPONSE);
	CHECK(packet.header.type == type);
	CHECK(packet.header.src_port == VSOCK_PORT && packet.header.dst_port == GUEST_PORT);
	return packet;
}

#endif
