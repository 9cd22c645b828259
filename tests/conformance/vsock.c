/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-vsock, 5.10. */
#include "vsock-driver.h"

/* ---- set-up ---- */

static void three_queues(struct conf *c)
{
	for (uint16_t i = 0; i < 3; i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_max(&c->d) > 0);
	}
	vdriver_select(&c->d, 3);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void guest_cid(struct conf *c)
{
	CHECK(machine_read32(c->m, c->d.device) == VSOCK_GUEST_CID);
	/* 5.10.4: the upper 32 bits are reserved and zeroed. */
	CHECK(machine_read32(c->m, c->d.device + 4) == 0);
}

static void cid_is_read_only(struct conf *c)
{
	begin(c);
	machine_write32(c->m, c->d.device, 3);
	guest_cid(c);
	connect_type(c, STREAM);
}

static void seqpacket_needs_its_feature(struct conf *c)
{
	struct header header = make(REQUEST);

	begin_without(c, F_SEQPACKET);
	header.type = SEQPACKET;
	put(c, &header, NULL, 0);
	CHECK(get_op(c, RST).header.type == SEQPACKET);
	connect_type(c, STREAM);
}

static void event_queue_is_quiet(struct conf *c)
{
	struct vring_buffer buffer;
	uint32_t id, len;

	begin(c);
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, 4), 4, true };
	vdriver_send(&c->d, EVENT, &buffer, 1);
	connect_type(c, STREAM);
	CHECK(!vring_get_used(c->d.rings[EVENT], &id, &len));
}

/* ---- connections ---- */

static void connects(struct conf *c)
{
	begin(c);
	CHECK(connect_type(c, STREAM).header.buf_alloc == VSOCK_BUFFER_BYTES);
	CHECK(is_open(c));
}

static void refused_with_rst(struct conf *c)
{
	struct header header = make(REQUEST);
	struct packet packet;

	begin(c);
	header.dst_port = VSOCK_PORT + 9;
	put(c, &header, NULL, 0);
	packet = get_op(c, RST);
	CHECK(packet.header.src_port == VSOCK_PORT + 9);
	CHECK(packet.header.dst_port == GUEST_PORT);
	CHECK(!is_open(c));
}

static void host_opens(struct conf *c, uint16_t type)
{
	uint32_t port = GUEST_PORT;
	uint8_t data[5];
	struct header header = make(RESPONSE);
	struct packet packet;

	memcpy(data, &port, 4);
	data[4] = (uint8_t)type;
	CHECK(c->target->host(VSOCK_HOST_CONNECT, data, sizeof(data)));
	packet = get_op(c, REQUEST);
	CHECK(packet.header.dst_port == GUEST_PORT && packet.header.type == type);
	header.dst_port = packet.header.src_port;
	header.type = type;
	put(c, &header, NULL, 0);
	CHECK(c->target->host(VSOCK_HOST_SEND, "from the host", 13));
	packet = get_op(c, RW);
	CHECK(packet.header.len == 13 && memcmp(packet.payload, "from the host", 13) == 0);
}

static void host_connects(struct conf *c)
{
	begin(c);
	host_opens(c, STREAM);
}

static void host_connects_seqpacket(struct conf *c)
{
	begin(c);
	host_opens(c, SEQPACKET);
}

static void guest_refuses(struct conf *c)
{
	uint8_t data[5] = { 0x88, 0x13, 0, 0, STREAM };
	struct header header = make(RST);

	begin(c);
	CHECK(c->target->host(VSOCK_HOST_CONNECT, data, sizeof(data)));
	header.dst_port = get_op(c, REQUEST).header.src_port;
	put(c, &header, NULL, 0);
	CHECK(!is_open(c));
	expect_silence(c);
}

static void second_request_is_reset(struct conf *c)
{
	begin(c);
	connect_type(c, STREAM);
	put_op(c, REQUEST);
	get_op(c, RST);
	CHECK(!is_open(c));
}

static void wrong_cids_are_dropped(struct conf *c)
{
	struct header header = make(REQUEST);

	begin(c);
	header.src_cid = VSOCK_GUEST_CID + 1;
	put(c, &header, NULL, 0);
	header = make(REQUEST);
	header.dst_cid = 1;
	put(c, &header, NULL, 0);
	header.dst_cid = VSOCK_HOST_CID | UINT64_C(1) << 32;
	put(c, &header, NULL, 0);
	expect_silence(c);
	CHECK(!is_open(c));
	connect_type(c, STREAM);
}

static void unknown_type_is_reset(struct conf *c)
{
	struct header header = make(REQUEST);

	begin(c);
	header.type = 9;
	put(c, &header, NULL, 0);
	CHECK(get_op(c, RST).header.type == 9);
}

static void no_connection_is_reset(struct conf *c)
{
	begin(c);
	put_op(c, RW);
	get_op(c, RST);
	put_op(c, CREDIT_REQUEST);
	get_op(c, RST);
	put_op(c, RESPONSE);
	get_op(c, RST);
}

static void no_rst_for_an_rst(struct conf *c)
{
	begin(c);
	put_op(c, RST);
	expect_silence(c);
}

static void unknown_op_is_reset(struct conf *c)
{
	struct header header = make(REQUEST);

	begin(c);
	connect_type(c, STREAM);
	header.op = 77;
	put(c, &header, NULL, 0);
	get_op(c, RST);
	CHECK(!is_open(c));
}

/* ---- the end ---- */

static void guest_sends_no_more(struct conf *c)
{
	struct header header = make(SHUTDOWN);

	begin(c);
	connect_type(c, STREAM);
	put_data(c, STREAM, 0, "last", 4);
	header.flags = SHUT_SEND;
	put(c, &header, NULL, 0);
	CHECK(host_got(c, "last", 4));
	CHECK(c->target->host(VSOCK_HOST_AT_END, NULL, 0));
	/* The other direction lives. */
	CHECK(c->target->host(VSOCK_HOST_SEND, "answer", 6));
	CHECK(get_op(c, RW).header.len == 6);
	CHECK(is_open(c));
}

static void data_after_shutdown_is_reset(struct conf *c)
{
	struct header header = make(SHUTDOWN);

	begin(c);
	connect_type(c, STREAM);
	header.flags = SHUT_SEND;
	put(c, &header, NULL, 0);
	put_data(c, STREAM, 0, "too late", 8);
	get_op(c, RST);
	CHECK(!is_open(c));
}

static void guest_receives_no_more(struct conf *c)
{
	struct header header = make(SHUTDOWN);

	begin(c);
	connect_type(c, STREAM);
	header.flags = SHUT_RECEIVE;
	put(c, &header, NULL, 0);
	settle(c);
	c->target->host(VSOCK_HOST_SEND, "unwanted", 8);
	expect_silence(c);
	put_data(c, STREAM, 0, "still", 5);
	CHECK(host_got(c, "still", 5));
}

static void shutdown_of_both_is_answered_by_rst(struct conf *c)
{
	struct header header = make(SHUTDOWN);

	begin(c);
	connect_type(c, STREAM);
	header.flags = SHUT_SEND | SHUT_RECEIVE;
	put(c, &header, NULL, 0);
	get_op(c, RST);
	CHECK(!is_open(c));
	expect_silence(c);
}

/* The hints are cumulative: a flag that was given once stays. */
static void shutdown_hints_add_up(struct conf *c)
{
	struct header header = make(SHUTDOWN);

	begin(c);
	connect_type(c, STREAM);
	header.flags = SHUT_SEND;
	put(c, &header, NULL, 0);
	expect_silence(c);
	header.flags = SHUT_RECEIVE;
	put(c, &header, NULL, 0);
	get_op(c, RST);
}

static void guest_resets(struct conf *c)
{
	begin(c);
	connect_type(c, STREAM);
	put_op(c, RST);
	CHECK(!is_open(c));
	CHECK(c->target->host(VSOCK_HOST_AT_END, NULL, 0));
	expect_silence(c);
	/* The ports are free again. */
	connect_type(c, STREAM);
}

static void host_sends_no_more(struct conf *c)
{
	struct packet packet;

	begin(c);
	connect_type(c, STREAM);
	CHECK(c->target->host(VSOCK_HOST_SEND, "last", 4));
	CHECK(c->target->host(VSOCK_HOST_SHUT_OUT, NULL, 0));
	packet = get_op(c, RW);
	CHECK(packet.header.len == 4);
	packet = get_op(c, SHUTDOWN);
	CHECK(packet.header.flags == SHUT_SEND);
	put_data(c, STREAM, 0, "still", 5);
	CHECK(host_got(c, "still", 5));
}

static void host_closes(struct conf *c)
{
	struct packet packet;

	begin(c);
	connect_type(c, STREAM);
	CHECK(c->target->host(VSOCK_HOST_CLOSE, NULL, 0));
	packet = get_op(c, SHUTDOWN);
	CHECK(packet.header.flags == (SHUT_SEND | SHUT_RECEIVE));
	put_op(c, RST);
	CHECK(!is_open(c));
	expect_silence(c);
}

static void reset_closes_connections(struct conf *c)
{
	begin(c);
	connect_type(c, STREAM);
	CHECK(vdriver_reset(&c->d));
	settle(c);
	CHECK(!is_open(c));
	CHECK(c->target->host(VSOCK_HOST_AT_END, NULL, 0));
	begin(c);
	expect_silence(c);
	connect_type(c, STREAM);
}

#define VSOCK(clause, text, run)                                                                   \
	{                                                                                          \
		clause, text, run, ANY, 19                                                         \
	}

static const struct conf_case cases[] = {
	VSOCK("5.10.2", "receive, transmit and event queue", three_queues),
	VSOCK("5.10.3", "seqpacket needs its feature", seqpacket_needs_its_feature),
	VSOCK("5.10.4", "the guest's CID", guest_cid),
	VSOCK("5.10.4", "the CID is read-only", cid_is_read_only),
	VSOCK("5.10.6.2", "packets with other CIDs are dropped", wrong_cids_are_dropped),
	VSOCK("5.10.6.4.2", "an unknown type is reset", unknown_type_is_reset),
	VSOCK("5.10.6.5", "the driver connects", connects),
	VSOCK("5.10.6.5", "a refused connection is reset", refused_with_rst),
	VSOCK("5.10.6.5", "the device connects", host_connects),
	VSOCK("5.10.6.5", "the device connects for messages", host_connects_seqpacket),
	VSOCK("5.10.6.5", "the driver refuses", guest_refuses),
	VSOCK("5.10.6.5", "a second request for a connection", second_request_is_reset),
	VSOCK("5.10.6.5", "packets without a connection are reset", no_connection_is_reset),
	VSOCK("5.10.6.5", "RST is not answered", no_rst_for_an_rst),
	VSOCK("5.10.6.5", "an unknown operation is reset", unknown_op_is_reset),
	VSOCK("5.10.6.5", "the driver resets", guest_resets),
	VSOCK("5.10.6.5", "the driver sends no more", guest_sends_no_more),
	VSOCK("5.10.6.5", "data after the end is reset", data_after_shutdown_is_reset),
	VSOCK("5.10.6.5", "the driver receives no more", guest_receives_no_more),
	VSOCK("5.10.6.5", "both directions shut down: RST", shutdown_of_both_is_answered_by_rst),
	VSOCK("5.10.6.5", "hints of a shutdown add up", shutdown_hints_add_up),
	VSOCK("5.10.6.5", "the host sends no more", host_sends_no_more),
	VSOCK("5.10.6.5", "the host closes", host_closes),
	VSOCK("5.10.6.7", "no event without a reset of the transport", event_queue_is_quiet),
	VSOCK("2.4", "a reset closes the connections", reset_closes_connections),
};

const struct conf_group vsock_group = CONF_GROUP(cases);
