/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: frames of virtio-net, 5.1.6.2 to 5.1.6.4. */
#include "net-driver.h"

/* ---- 5.1.6.2: transmission ---- */

static void frames_go_out_unchanged(struct conf *c)
{
	start_without(c, 0);
	for (uint32_t size = 14; size <= NET_MTU + 14; size += 77) {
		struct sample sample = make_sample(size);

		transmit(c, &sample, size);
		CHECK(host_took(c, &sample, size));
	}
}

static void checksum_offload(struct conf *c)
{
	struct sample sample = make_sample(100);

	start_without(c, 0);
	sample.header.flags = NEEDS_CSUM;
	sample.header.csum_start = 34;
	sample.header.csum_offset = 16;
	transmit(c, &sample, 100);
	CHECK(host_took(c, &sample, 100));
}

static void checksum_behind_the_frame(struct conf *c)
{
	struct sample sample = make_sample(100), good = make_sample(60);

	start_without(c, 0);
	sample.header.flags = NEEDS_CSUM;
	sample.header.csum_start = 90;
	sample.header.csum_offset = 9;
	transmit(c, &sample, 100);
	CHECK(host_took_nothing(c));
	sample.header.csum_start = 0xffff;
	sample.header.csum_offset = 0xffff;
	transmit(c, &sample, 100);
	CHECK(host_took_nothing(c));
	transmit(c, &good, 60);
	CHECK(host_took(c, &good, 60));
}

/* What is in csum_start means nothing without the flag. */
static void checksum_fields_without_the_flag(struct conf *c)
{
	struct sample sample = make_sample(100);

	start_without(c, 0);
	sample.header.csum_start = 0xfff0;
	sample.header.csum_offset = 0xfff0;
	transmit(c, &sample, 100);
	CHECK(host_took(c, &sample, 100));
}

static void segmentation_offload(struct conf *c)
{
	struct sample sample = make_sample(3000);

	start_without(c, 0);
	sample.header = (struct net_frame_header){ .flags = NEEDS_CSUM,
		.gso_type = GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16 };
	transmit(c, &sample, 3000);
	CHECK(host_took(c, &sample, 3000));
	sample.header.gso_type = GSO_TCPV6;
	transmit(c, &sample, 3000);
	CHECK(host_took(c, &sample, 3000));
}

static void segmentation_that_was_not_negotiated(struct conf *c)
{
	struct sample sample = make_sample(3000), good = make_sample(60);

	start_without(c, F_HOST_TSO4);
	sample.header = (struct net_frame_header){ .flags = NEEDS_CSUM,
		.gso_type = GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16 };
	transmit(c, &sample, 3000);
	CHECK(host_took_nothing(c));
	sample.header.gso_type = GSO_UNKNOWN;
	transmit(c, &sample, 3000);
	CHECK(host_took_nothing(c));
	transmit(c, &good, 60);
	CHECK(host_took(c, &good, 60));
}

static void checksum_that_was_not_negotiated(struct conf *c)
{
	struct sample sample = make_sample(100);

	start_without(c, F_CSUM | F_HOST_TSO4 | F_HOST_TSO6);
	sample.header.flags = NEEDS_CSUM;
	sample.header.csum_start = 34;
	sample.header.csum_offset = 16;
	transmit(c, &sample, 100);
	CHECK(host_took_nothing(c));
}

static void unknown_flags_are_ignored(struct conf *c)
{
	struct sample sample = make_sample(100);

	start_without(c, 0);
	sample.header.flags = 0xf0;
	transmit(c, &sample, 100);
	sample.header.flags = 0;
	CHECK(host_took(c, &sample, 100));
}

/* hdr_len is a hint: a driver that has it wrong is served. */
static void header_length_is_a_hint(struct conf *c)
{
	struct sample sample = make_sample(200);

	start_without(c, 0);
	sample.header = (struct net_frame_header){ .flags = NEEDS_CSUM,
		.gso_type = GSO_TCPV4,
		.hdr_len = 0xffff,
		.gso_size = 100,
		.csum_start = 34,
		.csum_offset = 16 };
	transmit(c, &sample, 200);
	sample.header.hdr_len = 200;
	CHECK(host_took(c, &sample, 200));
}

static void shorter_than_its_header(struct conf *c)
{
	struct sample sample = make_sample(60);
	struct vring_buffer buffer = { 0, HEADER_BYTES - 2, false };
	uint32_t len;

	start_without(c, 0);
	buffer.gpa = vdriver_alloc(&c->d, 16);
	memset(c->m->ram + buffer.gpa, 0, 16);
	CHECK(vdriver_transfer(&c->d, 1, &buffer, 1, &len));
	CHECK(len == 0 && host_took_nothing(c));
	transmit(c, &sample, 60);
	CHECK(host_took(c, &sample, 60));
}

/* ---- 5.1.6.4: reception ---- */

static void one_buffer_for_a_frame(struct conf *c)
{
	struct sample sample = make_sample(200);
	uint64_t gpa;

	start_without(c, F_MRG_RXBUF);
	gpa = offer_room(c, 0, 70000);
	sample.header.num_buffers = 0x7777;
	give(c, 0, &sample, 200);
	CHECK(received(c, 0) == HEADER_BYTES + 200);
	CHECK(header_at(c, gpa).num_buffers == 1);
	CHECK(memcmp(c->m->ram + gpa + HEADER_BYTES, sample.frame, 200) == 0);
	CHECK(c->m->ram[gpa + HEADER_BYTES + 200] == 0);
}

static void too_large_without_mergeable(struct conf *c)
{
	struct sample large = make_sample(1000), small = make_sample(100);
	uint64_t gpa;

	start_without(c, F_MRG_RXBUF | F_GUEST_TSO4 | F_GUEST_TSO6);
	gpa = offer_room(c, 0, 512);
	for (unsigned int i = 0; i < 4; i++)
		offer_room(c, 0, 512);
	give(c, 0, &large, 1000);
	give(c, 0, &small, 100);
	CHECK(received(c, 0) == HEADER_BYTES + 100);
	CHECK(header_at(c, gpa).num_buffers == 1);
	expect_none_received(c, 0);
}

static void mergeable_buffers(struct conf *c)
{
	struct sample sample = make_sample(1200);
	uint64_t gpas[4];
	uint32_t left = HEADER_BYTES + 1200;

	needs(c, F_MRG_RXBUF, "mergeable buffers");
	start_without(c, F_GUEST_TSO4 | F_GUEST_TSO6);
	for (unsigned int i = 0; i < 4; i++)
		gpas[i] = offer_room(c, 0, 500);
	give(c, 0, &sample, 1200);
	for (unsigned int i = 0; left > 0; i++) {
		uint32_t part = left < 500 ? left : 500;
		uint32_t skip = i == 0 ? HEADER_BYTES : 0;

		CHECK(i < 4 && received(c, 0) == part);
		CHECK(memcmp(c->m->ram + gpas[i] + skip,
			      sample.frame + i * 500 + skip - HEADER_BYTES, part - skip) == 0);
		left -= part;
	}
	CHECK(header_at(c, gpas[0]).num_buffers == 3);
	expect_none_received(c, 0);
}

static void mergeable_frames_wait_for_room(struct conf *c)
{
	struct sample sample = make_sample(1200);
	uint64_t gpa, third;

	needs(c, F_MRG_RXBUF, "mergeable buffers");
	start_without(c, 0);
	gpa = offer_room(c, 0, 500);
	give(c, 0, &sample, 1200);
	expect_none_received(c, 0);
	offer_room(c, 0, 500);
	expect_none_received(c, 0);
	third = offer_room(c, 0, 500);
	CHECK(received(c, 0) == 500 && received(c, 0) == 500);
	CHECK(received(c, 0) == HEADER_BYTES + 1200 - 1000);
	CHECK(header_at(c, gpa).num_buffers == 3);
	CHECK(memcmp(c->m->ram + third, sample.frame + 1000 - HEADER_BYTES, 200) == 0);
}

static void frames_wait_for_buffers(struct conf *c)
{
	struct sample sample = make_sample(64);
	uint64_t gpa;

	start_without(c, 0);
	give(c, 0, &sample, 64);
	settle(c);
	gpa = offer_room(c, 0, 70000);
	CHECK(received(c, 0) == HEADER_BYTES + 64);
	CHECK(memcmp(c->m->ram + gpa + HEADER_BYTES, sample.frame, 64) == 0);
}

static void no_flags_without_guest_csum(struct conf *c)
{
	struct sample sample = make_sample(100);
	uint64_t gpa;

	start_without(c, F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6);
	gpa = offer_room(c, 0, 2048);
	sample.header.flags = DATA_VALID;
	give(c, 0, &sample, 100);
	CHECK(received(c, 0) == HEADER_BYTES + 100);
	CHECK(header_at(c, gpa).flags == 0);
}

static void no_segments_that_were_not_negotiated(struct conf *c)
{
	struct sample sample = make_sample(1000), plain = make_sample(100);
	uint64_t gpa;

	start_without(c, F_GUEST_TSO6);
	gpa = offer_room(c, 0, 70000);
	sample.header = (struct net_frame_header){ .flags = NEEDS_CSUM,
		.gso_type = GSO_TCPV6,
		.hdr_len = 74,
		.gso_size = 500,
		.csum_start = 54,
		.csum_offset = 16 };
	give(c, 0, &sample, 1000);
	give(c, 0, &plain, 100);
	CHECK(received(c, 0) == HEADER_BYTES + 100);
	CHECK(header_at(c, gpa).gso_type == 0);
}

static void longer_than_the_mtu(struct conf *c)
{
	struct sample large = make_sample(NET_MTU + 19), whole = make_sample(NET_MTU + 14);
	uint64_t gpa;

	needs(c, F_MTU, "MTU");
	start_without(c, 0);
	gpa = offer_room(c, 0, 70000);
	give(c, 0, &large, NET_MTU + 19);
	give(c, 0, &whole, NET_MTU + 14);
	CHECK(received(c, 0) == HEADER_BYTES + NET_MTU + 14);
	CHECK(memcmp(c->m->ram + gpa + HEADER_BYTES, whole.frame, NET_MTU + 14) == 0);
}

static void receive_buffer_without_room_for_a_header(struct conf *c)
{
	struct sample sample = make_sample(100);

	start_without(c, 0);
	offer_room(c, 0, HEADER_BYTES - 1);
	give(c, 0, &sample, 100);
	expect_needs_reset(c);
	recovers(c);
}

#define NET(clause, text, run)                                                                     \
	{                                                                                          \
		clause, text, run, ANY, 1                                                          \
	}

static const struct conf_case cases[] = {
	NET("5.1.6.2", "frames go out as they are", frames_go_out_unchanged),
	NET("5.1.6.2.2", "a checksum is left to the network", checksum_offload),
	NET("5.1.6.2.2", "a checksum behind the frame", checksum_behind_the_frame),
	NET("5.1.6.2.2", "no use of csum_start without NEEDS_CSUM",
		checksum_fields_without_the_flag),
	NET("5.1.6.2.2", "segmentation is left to the network", segmentation_offload),
	NET("5.1.6.2.1", "segmentation that was not negotiated",
		segmentation_that_was_not_negotiated),
	NET("5.1.6.2.1", "a checksum that was not negotiated", checksum_that_was_not_negotiated),
	NET("5.1.6.2.2", "unknown flags are ignored", unknown_flags_are_ignored),
	NET("5.1.6.2.2", "hdr_len is not relied on", header_length_is_a_hint),
	NET("5.1.6.2", "a frame shorter than its header", shorter_than_its_header),
	NET("5.1.6.4.1", "num_buffers is 1 without mergeable buffers", one_buffer_for_a_frame),
	NET("5.1.6.4", "a frame that one buffer cannot hold", too_large_without_mergeable),
	NET("5.1.6.4.1", "num_buffers of mergeable buffers", mergeable_buffers),
	NET("5.1.6.4.1", "buffers of one frame are used together", mergeable_frames_wait_for_room),
	NET("5.1.6.3", "frames wait for buffers", frames_wait_for_buffers),
	NET("5.1.6.4.1", "flags are 0 without GUEST_CSUM", no_flags_without_guest_csum),
	NET("5.1.6.4.1", "no segments of a type that was not negotiated",
		no_segments_that_were_not_negotiated),
	NET("5.1.4.1", "no frame longer than the MTU", longer_than_the_mtu),
	NET("5.1.6.3.1", "a receive buffer without room for a header",
		receive_buffer_without_room_for_a_header),
};

const struct conf_group net_frames_group = CONF_GROUP(cases);
