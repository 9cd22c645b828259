/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: data of virtio-vsock, its credit and its shapes, 5.10.6. */
#include "vsock-driver.h"

/* ---- data ---- */

static void stream_both_ways(struct conf *c)
{
	struct packet packet;
	uint8_t data[3000];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	begin(c);
	connect_type(c, STREAM);
	put_data(c, STREAM, 0, data, sizeof(data));
	CHECK(host_got(c, data, sizeof(data)));
	CHECK(c->target->host(VSOCK_HOST_SEND, data, sizeof(data)));
	packet = get_op(c, RW);
	CHECK(packet.header.len == sizeof(data));
	CHECK(memcmp(packet.payload, data, sizeof(data)) == 0);
	/* 5.10.6.3: it tells what was taken in the meantime. */
	CHECK(packet.header.fwd_cnt == sizeof(data));
}

static void large_data_in_several_packets(struct conf *c)
{
	uint8_t data[10000];
	uint32_t done = 0;

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 7);
	begin(c);
	connect_type(c, STREAM);
	CHECK(c->target->host(VSOCK_HOST_SEND, data, sizeof(data)));
	while (done < sizeof(data)) {
		struct packet packet = get_op(c, RW);

		CHECK(packet.header.len > 0 && packet.header.len <= sizeof(data) - done);
		CHECK(memcmp(packet.payload, data + done, packet.header.len) == 0);
		done += packet.header.len;
	}
}

static void credit_of_the_driver(struct conf *c)
{
	struct header header = make(REQUEST);
	uint8_t data[100] = { 1 };

	begin(c);
	header.buf_alloc = 60;
	put(c, &header, NULL, 0);
	get_op(c, RESPONSE);
	CHECK(c->target->host(VSOCK_HOST_SEND, data, sizeof(data)));
	CHECK(get_op(c, RW).header.len == 60);
	expect_silence(c);
	header = make(CREDIT_UPDATE);
	header.buf_alloc = 60;
	header.fwd_cnt = 20;
	put(c, &header, NULL, 0);
	CHECK(get_op(c, RW).header.len == 20);
	expect_silence(c);
	header.fwd_cnt = 60;
	put(c, &header, NULL, 0);
	CHECK(get_op(c, RW).header.len == 20);
}

static void credit_request_is_answered(struct conf *c)
{
	struct packet packet;

	begin(c);
	connect_type(c, STREAM);
	put_data(c, STREAM, 0, "12345", 5);
	put_op(c, CREDIT_REQUEST);
	packet = get_op(c, CREDIT_UPDATE);
	CHECK(packet.header.buf_alloc == VSOCK_BUFFER_BYTES);
	CHECK(packet.header.fwd_cnt == 5);
}

static void credit_comes_back(struct conf *c)
{
	static uint8_t data[8192];
	uint32_t sent = 0, told = 0;
	unsigned int rounds = 0;
	uint32_t id, len;

	begin(c);
	connect_type(c, STREAM);
	/* The host reads all; without updates the driver would have to stop at the buffer's end. */
	while (sent < 4 * VSOCK_BUFFER_BYTES && rounds++ < 100) {
		CHECK(sent - told + sizeof(data) <= VSOCK_BUFFER_BYTES);
		put_data(c, STREAM, 0, data, sizeof(data));
		sent += sizeof(data);
		CHECK(host_got(c, data, sizeof(data)));
		while (vring_get_used(c->d.rings[RECEIVE], &id, &len)) {
			struct header header;

			memcpy(&header, c->m->ram + rooms.gpas[id], HEADER_BYTES);
			CHECK(header.op == CREDIT_UPDATE);
			CHECK(header.fwd_cnt <= sent && header.fwd_cnt >= told);
			told = header.fwd_cnt;
			offer_room(c, ROOM_BYTES);
		}
	}
	CHECK(sent == 4 * VSOCK_BUFFER_BYTES);
}

static void more_than_the_credit_is_reset(struct conf *c)
{
	static uint8_t data[16384];
	bool reset = false;

	begin(c);
	connect_type(c, STREAM);
	/* Nobody reads: what the sockets hold, and the buffer, fill up. */
	for (unsigned int i = 0; i < 64 && !reset; i++) {
		uint32_t id, len;

		put_data(c, STREAM, 0, data, sizeof(data));
		while (vring_get_used(c->d.rings[RECEIVE], &id, &len)) {
			struct header header;

			memcpy(&header, c->m->ram + rooms.gpas[id], HEADER_BYTES);
			reset |= header.op == RST;
			offer_room(c, ROOM_BYTES);
		}
	}
	CHECK(reset && !is_open(c));
}

static void messages_keep_their_bounds(struct conf *c)
{
	struct packet packet;

	begin(c);
	connect_type(c, SEQPACKET);
	put_data(c, SEQPACKET, 0, "one ", 4);
	settle(c);
	CHECK(!c->target->host(VSOCK_HOST_GOT, "one ", 4));
	put_data(c, SEQPACKET, EOM, "message", 7);
	put_data(c, SEQPACKET, EOM, "another", 7);
	CHECK(host_got(c, "one message", 11));
	CHECK(host_got(c, "another", 7));
	CHECK(c->target->host(VSOCK_HOST_SEND, "first", 5));
	CHECK(c->target->host(VSOCK_HOST_SEND, "second", 6));
	packet = get_op(c, RW);
	CHECK(packet.header.len == 5 && packet.header.flags & EOM);
	packet = get_op(c, RW);
	CHECK(packet.header.len == 6 && packet.header.flags & EOM);
	CHECK(memcmp(packet.payload, "second", 6) == 0);
}

static void message_in_several_packets(struct conf *c)
{
	uint8_t data[6000];
	struct packet packet;

	memset(data, 0x42, sizeof(data));
	begin(c);
	connect_type(c, SEQPACKET);
	CHECK(c->target->host(VSOCK_HOST_SEND, data, sizeof(data)));
	packet = get_op(c, RW);
	CHECK(packet.header.len == ROOM_BYTES - HEADER_BYTES && !(packet.header.flags & EOM));
	packet = get_op(c, RW);
	CHECK(packet.header.len == sizeof(data) - (ROOM_BYTES - HEADER_BYTES));
	CHECK(packet.header.flags & EOM);
}

/* ---- shapes ---- */

static void breaks_with(struct conf *c, uint16_t queue, uint32_t len, uint32_t says, bool write)
{
	struct vring_buffer buffer;
	struct header header = make(RW);

	CHECK(vdriver_start(&c->d, F_STREAM | (c->packed ? F_PACKED : 0), 3, 64));
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, len + HEADER_BYTES), len, write };
	header.len = says;
	memcpy(c->m->ram + buffer.gpa, &header, HEADER_BYTES);
	vdriver_send(&c->d, queue, &buffer, 1);
	if (queue == RECEIVE) {
		header = make(RST);
		header.op = RW;
		buffer = (struct vring_buffer){ vdriver_alloc(&c->d, HEADER_BYTES), HEADER_BYTES,
			false };
		memcpy(c->m->ram + buffer.gpa, &header, HEADER_BYTES);
		vdriver_send(&c->d, TRANSMIT, &buffer, 1);
	}
	expect_needs_reset(c);
	CHECK(vdriver_reset(&c->d));
	begin(c);
	connect_type(c, STREAM);
}

static void packet_shorter_than_a_header(struct conf *c)
{
	breaks_with(c, TRANSMIT, HEADER_BYTES - 1, 0, false);
}

static void packet_shorter_than_it_says(struct conf *c)
{
	breaks_with(c, TRANSMIT, HEADER_BYTES + 9, 10, false);
}

static void receive_buffer_without_room(struct conf *c)
{
	breaks_with(c, RECEIVE, HEADER_BYTES - 1, 0, true);
}

static void packets_in_pieces(struct conf *c)
{
	struct header header = make(RW);
	struct vring_buffer buffers[4];
	uint32_t len;

	begin(c);
	connect_type(c, STREAM);
	header.len = 6;
	for (unsigned int i = 0; i < 4; i++) {
		static const uint32_t sizes[] = { 10, 34, 1, 5 };

		buffers[i] = (struct vring_buffer){ vdriver_alloc(&c->d, 64), sizes[i], false };
	}
	memcpy(c->m->ram + buffers[0].gpa, &header, 10);
	memcpy(c->m->ram + buffers[1].gpa, (uint8_t *)&header + 10, 34);
	memcpy(c->m->ram + buffers[2].gpa, "p", 1);
	memcpy(c->m->ram + buffers[3].gpa, "ieces", 5);
	CHECK(vdriver_transfer(&c->d, TRANSMIT, buffers, 4, &len));
	CHECK(host_got(c, "pieces", 6));
}

#define VSOCK(clause, text, run)                                                                   \
	{                                                                                          \
		clause, text, run, ANY, 19                                                         \
	}

static const struct conf_case cases[] = {
	VSOCK("5.10.6", "packets in pieces", packets_in_pieces),
	VSOCK("5.10.6", "a packet shorter than a header", packet_shorter_than_a_header),
	VSOCK("5.10.6", "a packet shorter than it says", packet_shorter_than_it_says),
	VSOCK("5.10.6.1", "a receive buffer without room", receive_buffer_without_room),
	VSOCK("5.10.6.3", "the driver's credit is kept to", credit_of_the_driver),
	VSOCK("5.10.6.3", "a request for credit is answered", credit_request_is_answered),
	VSOCK("5.10.6.3", "credit comes back", credit_comes_back),
	VSOCK("5.10.6.3", "more data than credit is reset", more_than_the_credit_is_reset),
	VSOCK("5.10.6.4", "data in several packets", large_data_in_several_packets),
	VSOCK("5.10.6.6", "a stream, both ways", stream_both_ways),
	VSOCK("5.10.6.6.1", "messages keep their bounds", messages_keep_their_bounds),
	VSOCK("5.10.6.6.1", "a message in several packets", message_in_several_packets),
};

const struct conf_group vsock_data_group = CONF_GROUP(cases);
