/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: split virtqueues, 2.7, and what both formats share of them. */
#include "conformance.h"

#define TABLE_BYTES 4096

/* Puts desc at index 0 and so on, and offers head. */
static void offer(struct conf *c, const struct vring_desc *desc, size_t n, uint16_t head)
{
	struct vring *ring = work_ring(c);

	memcpy(ring->desc, desc, n * sizeof(*desc));
	vring_offer(ring, head);
	vdriver_kick(&c->d, c->target->work_queue);
}

static uint64_t data(struct conf *c)
{
	return vdriver_alloc(&c->d, 64);
}

static void used_id_is_the_head(struct conf *c)
{
	start(c, 0);
	for (int i = 0; i < 10; i++) {
		struct vring_buffer buffers[8];
		uint32_t id, len;
		uint16_t head = vring_add(work_ring(c), buffers, prepare(c, buffers, 0));

		vdriver_kick(&c->d, c->target->work_queue);
		CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
		CHECK(id == head);
		CHECK(c->target->verify(c, len));
	}
}

static void used_length_is_what_was_written(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint64_t writable = 0;
	uint32_t id, len;
	size_t n;

	start(c, 0);
	n = prepare(c, buffers, 0);
	for (size_t i = 0; i < n; i++)
		writable += buffers[i].write ? buffers[i].len : 0;
	vdriver_send(&c->d, c->target->work_queue, buffers, n);
	CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	CHECK(len <= writable);
	CHECK(c->target->verify(c, len));
}

static void used_once(struct conf *c)
{
	start(c, 0);
	works(c);
	for (int i = 0; i < 3; i++) {
		vdriver_kick(&c->d, c->target->work_queue);
		expect_nothing(c);
	}
}

static void used_index_starts_at_0(struct conf *c)
{
	start(c, 0);
	settle(c);
	CHECK(work_ring(c)->used[1] == 0);
	works(c);
	CHECK(work_ring(c)->used[1] == 1);
}

static void indexes_wrap(struct conf *c)
{
	struct vring_buffer first[8], second[8];
	size_t n_first, n_second;
	uint32_t id, len;

	start_size(c, 0, 64);
	n_first = prepare(c, first, 0);
	n_second = prepare(c, second, 0);
	/* The same two again and again, 16 at once: it is only for the indexes. */
	for (uint32_t i = 0; i < 66000; i += 16) {
		for (unsigned int j = 0; j < 8; j++) {
			vring_add(work_ring(c), first, n_first);
			vring_add(work_ring(c), second, n_second);
		}
		vdriver_kick(&c->d, c->target->work_queue);
		for (unsigned int j = 0; j < 16; j++)
			CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len) &&
				id < 64);
		/* What comes next is not what was there one turn before. */
		memset(work_ring(c)->used + 2, 0xee, 64 * sizeof(struct vring_used_elem));
	}
	CHECK(work_ring(c)->used[1] == (uint16_t)66000);
	works(c);
}

static void many_at_once(struct conf *c)
{
	struct vring_buffer buffers[8];
	unsigned int n_slots = 0, n_sent = 0;
	uint32_t id, len;

	start_size(c, 0, 64);
	for (;;) {
		size_t n = prepare(c, buffers, 0);

		if (n_slots + n > 64)
			break;
		vring_add(work_ring(c), buffers, n);
		n_slots += (unsigned int)n;
		n_sent++;
	}
	vdriver_kick(&c->d, c->target->work_queue);
	for (; n_sent > 0; n_sent--)
		CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	expect_nothing(c);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
}

static void readable_memory_stays(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint8_t before[4096];
	uint32_t id, len;
	size_t n, at = 0;

	start(c, 0);
	n = prepare(c, buffers, 0);
	for (size_t i = 0; i < n; i++)
		if (!buffers[i].write) {
			CHECK(at + buffers[i].len <= sizeof(before));
			memcpy(before + at, c->m->ram + buffers[i].gpa, buffers[i].len);
			at += buffers[i].len;
		}
	vdriver_send(&c->d, c->target->work_queue, buffers, n);
	CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	at = 0;
	for (size_t i = 0; i < n; i++)
		if (!buffers[i].write) {
			CHECK(memcmp(before + at, c->m->ram + buffers[i].gpa, buffers[i].len) == 0);
			at += buffers[i].len;
		}
}

static void descriptors_stay(struct conf *c)
{
	uint8_t table[16 * 8], avail[4 + 2 * 8];
	struct vring_buffer buffers[8];

	start_size(c, 0, 8);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	memcpy(table, work_ring(c)->desc, sizeof(table));
	memcpy(avail, work_ring(c)->avail, sizeof(avail));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
	CHECK(memcmp(table, work_ring(c)->desc, sizeof(table)) == 0);
	CHECK(memcmp(avail, work_ring(c)->avail, sizeof(avail)) == 0);
}

static void framing_does_not_matter(struct conf *c)
{
	struct vring_buffer buffers[64];

	start_size(c, 0, 64);
	for (unsigned int pieces = 2; pieces <= 7; pieces++) {
		size_t n = prepare(c, buffers, pieces);

		vdriver_send(&c->d, c->target->work_queue, buffers, n);
		expect_done(c);
	}
}

static void one_byte_buffers(struct conf *c)
{
	struct vring_buffer whole[8], buffers[64];
	size_t n, n_out = 0;

	start_size(c, 0, 64);
	n = prepare(c, whole, 0);
	/* The first buffer byte by byte. */
	CHECK(whole[0].len + n < 64 || whole[0].write);
	for (uint32_t i = 0; i < whole[0].len && n_out < 40; i++)
		buffers[n_out++] = (struct vring_buffer){ whole[0].gpa + i,
			i == 39 ? whole[0].len - 39 : 1, whole[0].write };
	for (size_t i = 1; i < n; i++)
		buffers[n_out++] = whole[i];
	vdriver_send(&c->d, c->target->work_queue, buffers, n_out);
	expect_done(c);
}

static void descriptors_in_any_order(struct conf *c)
{
	struct vring_buffer buffers[8];
	struct vring_desc desc[16];
	size_t n;

	start_size(c, 0, 16);
	n = prepare(c, buffers, 0);
	memset(desc, 0, sizeof(desc));
	for (size_t i = 0; i < n; i++) {
		size_t at = 15 - 2 * i;

		desc[at] = (struct vring_desc){ buffers[i].gpa, buffers[i].len,
			(uint16_t)((buffers[i].write ? VRING_WRITE : 0) |
				   (i + 1 < n ? VRING_NEXT : 0)),
			(uint16_t)(at - 2) };
	}
	offer(c, desc, 16, 15);
	expect_done(c);
}

static void next_without_the_flag_is_ignored(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint16_t head;
	size_t n;

	start(c, 0);
	n = prepare(c, buffers, 0);
	head = vring_add(work_ring(c), buffers, n);
	work_ring(c)->desc[head + n - 1].next = 0xffff;
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
}

static void indirect_works(struct conf *c)
{
	struct vring_buffer buffers[64];

	needs(c, F_INDIRECT, "indirect descriptors");
	start(c, F_INDIRECT);
	for (unsigned int pieces = 0; pieces < 6; pieces++) {
		size_t n = prepare(c, buffers, pieces);

		vring_add_indirect(work_ring(c), buffers, n, vdriver_alloc(&c->d, n * 16));
		vdriver_kick(&c->d, c->target->work_queue);
		expect_done(c);
	}
}

static void indirect_and_direct(struct conf *c)
{
	struct vring_buffer buffers[8];

	needs(c, F_INDIRECT, "indirect descriptors");
	start(c, F_INDIRECT);
	for (int i = 0; i < 20; i++) {
		size_t n = prepare(c, buffers, 0);

		if (i % 2)
			vring_add(work_ring(c), buffers, n);
		else
			vring_add_indirect(work_ring(c), buffers, n, vdriver_alloc(&c->d, n * 16));
		vdriver_kick(&c->d, c->target->work_queue);
		expect_done(c);
	}
}

/* A direct descriptor whose chain goes on in a table. */
static void indirect_after_direct(struct conf *c)
{
	struct vring_buffer buffers[64];
	struct vring_desc desc[2], *table;
	uint64_t gpa;
	size_t n;

	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 64);
	n = prepare(c, buffers, 2);
	CHECK(n >= 2);
	gpa = vdriver_alloc(&c->d, n * 16);
	table = (void *)(c->m->ram + gpa);
	for (size_t i = 1; i < n; i++)
		table[i - 1] = (struct vring_desc){ buffers[i].gpa, buffers[i].len,
			(uint16_t)((buffers[i].write ? VRING_WRITE : 0) |
				   (i + 1 < n ? VRING_NEXT : 0)),
			(uint16_t)i };
	desc[0] = (struct vring_desc){ buffers[0].gpa, buffers[0].len,
		(uint16_t)((buffers[0].write ? VRING_WRITE : 0) | VRING_NEXT), 1 };
	desc[1] = (struct vring_desc){ gpa, (uint32_t)(n - 1) * 16, VRING_INDIRECT, 0 };
	offer(c, desc, 2, 0);
	expect_done(c);
}

/* The WRITE flag of the descriptor that refers to the table has no meaning (2.7.5.3.2). */
static void indirect_write_flag_is_ignored(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint16_t head;
	size_t n;

	needs(c, F_INDIRECT, "indirect descriptors");
	start(c, F_INDIRECT);
	n = prepare(c, buffers, 0);
	head = vring_add_indirect(work_ring(c), buffers, n, vdriver_alloc(&c->d, n * 16));
	work_ring(c)->desc[head].flags |= VRING_WRITE;
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
}

static void index_too_far(struct conf *c)
{
	start_size(c, 0, 8);
	work_ring(c)->avail[1] = 9;
	vdriver_kick(&c->d, c->target->work_queue);
	expect_broken_and_recovers(c);
}

static void index_goes_back(struct conf *c)
{
	start_size(c, 0, 8);
	works(c);
	work_ring(c)->avail[1] = 0;
	vdriver_kick(&c->d, c->target->work_queue);
	expect_broken_and_recovers(c);
}

/*
 * What follows is a valid request but for one fault, so that a device that overlooks the fault
 * carries it out.
 */
static size_t valid_chain(struct conf *c, struct vring_desc *desc, unsigned int pieces)
{
	struct vring_buffer buffers[64];
	size_t n = prepare(c, buffers, pieces);

	for (size_t i = 0; i < n; i++)
		desc[i] = (struct vring_desc){ buffers[i].gpa, buffers[i].len,
			(uint16_t)((buffers[i].write ? VRING_WRITE : 0) |
				   (i + 1 < n ? VRING_NEXT : 0)),
			(uint16_t)(i + 1 < n ? i + 1 : 0) };
	return n;
}

static void head_beyond_size(struct conf *c)
{
	struct vring_desc desc[64];

	start_size(c, 0, 8);
	offer(c, desc, valid_chain(c, desc, 0), 8);
	expect_broken_and_recovers(c);
}

static void next_beyond_size(struct conf *c)
{
	struct vring_desc desc[64];
	size_t n;

	start_size(c, 0, 8);
	n = valid_chain(c, desc, 2);
	desc[0].next = 8 + 1;
	offer(c, desc, n, 0);
	expect_broken_and_recovers(c);
}

static void loop_of_one(struct conf *c)
{
	struct vring_desc desc = { 0, 1, VRING_NEXT | VRING_WRITE, 0 };

	start_size(c, 0, 8);
	desc.addr = data(c);
	offer(c, &desc, 1, 0);
	expect_broken_and_recovers(c);
}

static void loop_of_three(struct conf *c)
{
	struct vring_desc desc[3];

	start_size(c, 0, 8);
	for (uint16_t i = 0; i < 3; i++)
		desc[i] = (struct vring_desc){ data(c), 1, VRING_NEXT, (uint16_t)((i + 1) % 3) };
	offer(c, desc, 3, 0);
	expect_broken_and_recovers(c);
}

static void readable_after_writable(struct conf *c)
{
	struct vring_buffer buffers[2];

	start_size(c, 0, 8);
	buffers[0] = (struct vring_buffer){ data(c), 16, true };
	buffers[1] = (struct vring_buffer){ data(c), 16, false };
	vring_add(work_ring(c), buffers, 2);
	vdriver_kick(&c->d, c->target->work_queue);
	expect_broken_and_recovers(c);
}

static void buffer_outside(struct conf *c, uint64_t gpa, uint32_t len)
{
	for (int write = 0; write < 2; write++) {
		const struct vring_buffer buffer = { gpa, len, write };

		start_size(c, 0, 8);
		vring_add(work_ring(c), &buffer, 1);
		vdriver_kick(&c->d, c->target->work_queue);
		expect_broken_and_recovers(c);
	}
}

static void buffer_outside_memory(struct conf *c)
{
	buffer_outside(c, c->m->ram_bytes, 16);
}

static void buffer_crosses_the_end(struct conf *c)
{
	buffer_outside(c, c->m->ram_bytes - 8, 16);
}

static void buffer_wraps(struct conf *c)
{
	buffer_outside(c, UINT64_MAX - 7, 16);
}

static void buffer_of_4_gib(struct conf *c)
{
	buffer_outside(c, 0x1000, UINT32_MAX);
}

static void indirect_is_not_negotiated(struct conf *c)
{
	struct vring_buffer buffers[8];
	size_t n;

	start_size(c, 0, 8);
	n = prepare(c, buffers, 0);
	vring_add_indirect(work_ring(c), buffers, n, vdriver_alloc(&c->d, n * 16));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_broken_and_recovers(c);
}

/* Offers a table with entries by a descriptor of this length and these flags. */
static void bad_table(
	struct conf *c, const struct vring_desc *entries, size_t n, size_t length, uint16_t flags)
{
	struct vring_desc desc = { 0, (uint32_t)length, (uint16_t)(VRING_INDIRECT | flags), 1 };

	desc.addr = vdriver_alloc(&c->d, TABLE_BYTES);
	memcpy(c->m->ram + desc.addr, entries, n * sizeof(*entries));
	offer(c, &desc, 1, 0);
	expect_broken_and_recovers(c);
}

/* The entries of a valid request, in a queue of 8. */
static size_t start_with_table(struct conf *c, struct vring_desc *entries, unsigned int pieces)
{
	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 8);
	return valid_chain(c, entries, pieces);
}

static void nested_indirect(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 0);

	entries[n - 1].flags |= VRING_INDIRECT;
	bad_table(c, entries, n, n * 16, 0);
}

static void indirect_with_next(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 0);

	bad_table(c, entries, n, n * 16, VRING_NEXT);
}

static void indirect_empty_table(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 0);

	bad_table(c, entries, n, 0, 0);
}

static void indirect_odd_length(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 0);

	bad_table(c, entries, n, n * 16 + 8, 0);
}

static void indirect_next_beyond_table(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 0);

	entries[n - 1].flags |= VRING_NEXT;
	entries[n - 1].next = (uint16_t)n;
	bad_table(c, entries, n, n * 16, 0);
}

static void indirect_loop(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 2);

	entries[n - 1].flags |= VRING_NEXT;
	entries[n - 1].next = (uint16_t)(n - 1);
	bad_table(c, entries, n, n * 16, 0);
}

static void indirect_longer_than_queue(struct conf *c)
{
	struct vring_desc entries[64];
	size_t n = start_with_table(c, entries, 9);

	if (n <= work_ring(c)->size)
		conf_not_applicable(c, "requests of too few bytes");
	bad_table(c, entries, n, n * 16, 0);
}

static void indirect_table_outside(struct conf *c)
{
	struct vring_desc desc = { 0, 16, VRING_INDIRECT, 0 };

	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 8);
	desc.addr = c->m->ram_bytes;
	offer(c, &desc, 1, 0);
	expect_broken_and_recovers(c);
}

static const struct conf_case cases[] = {
	{ "2.7.8", "the used id is the head of the chain", used_id_is_the_head, SPLIT_RING, 0 },
	{ "2.7.8.2", "the used length is not more than was writable",
		used_length_is_what_was_written, ANY, 0 },
	{ "2.7.8", "a buffer is used once", used_once, ANY, 0 },
	{ "2.7.8", "the used index starts at 0 and counts", used_index_starts_at_0, SPLIT_RING, 0 },
	{ "2.7.6", "indexes wrap at 65536", indexes_wrap, SPLIT_RING, 0 },
	{ "2.7.13", "a full ring at once", many_at_once, ANY, 0 },
	{ "2.7.5.1", "a device-readable buffer is not written", readable_memory_stays, ANY, 0 },
	{ "2.7.5.1", "descriptors and available ring are not written", descriptors_stay, SPLIT_RING,
		0 },
	{ "2.7.4.1", "framing of a message does not matter", framing_does_not_matter, ANY, 0 },
	{ "2.7.4.1", "a message in buffers of one byte", one_byte_buffers, ANY, 0 },
	{ "2.7.5", "descriptors of a chain in any order", descriptors_in_any_order, SPLIT_RING, 0 },
	{ "2.7.5", "next counts only with its flag", next_without_the_flag_is_ignored, SPLIT_RING,
		0 },
	{ "2.7.5.3", "indirect descriptors", indirect_works, ANY, 0 },
	{ "2.7.5.3", "indirect and direct chains in turns", indirect_and_direct, ANY, 0 },
	{ "2.7.5.3", "a direct descriptor before an indirect one", indirect_after_direct,
		SPLIT_RING, 0 },
	{ "2.7.5.3.2", "WRITE of the indirect descriptor is ignored",
		indirect_write_flag_is_ignored, SPLIT_RING, 0 },
	{ "2.7.13.3", "an available index beyond the size", index_too_far, SPLIT_RING, 0 },
	{ "2.7.6.1", "an available index that goes back", index_goes_back, SPLIT_RING, 0 },
	{ "2.7.6", "a head beyond the size", head_beyond_size, SPLIT_RING, 0 },
	{ "2.7.5", "a next beyond the size", next_beyond_size, SPLIT_RING, 0 },
	{ "2.7.5.2", "a chain that loops to itself", loop_of_one, SPLIT_RING, 0 },
	{ "2.7.5.2", "a chain that loops", loop_of_three, SPLIT_RING, 0 },
	{ "2.7.4.2", "a readable buffer after a writable one", readable_after_writable, ANY, 0 },
	{ "2.7.5", "a buffer outside memory", buffer_outside_memory, ANY, 0 },
	{ "2.7.5", "a buffer across the end of memory", buffer_crosses_the_end, ANY, 0 },
	{ "2.7.5", "a buffer that wraps around 2^64", buffer_wraps, ANY, 0 },
	{ "2.7.5", "a buffer of 4 GiB", buffer_of_4_gib, ANY, 0 },
	{ "2.7.5.3.1", "indirect without the feature", indirect_is_not_negotiated, ANY, 0 },
	{ "2.7.5.3.1", "nested indirect", nested_indirect, SPLIT_RING, 0 },
	{ "2.7.5.3.1", "indirect with next", indirect_with_next, SPLIT_RING, 0 },
	{ "2.7.5.3", "an empty indirect table", indirect_empty_table, SPLIT_RING, 0 },
	{ "2.7.5.3", "an indirect table of an odd length", indirect_odd_length, SPLIT_RING, 0 },
	{ "2.7.5.3", "a next beyond the indirect table", indirect_next_beyond_table, SPLIT_RING,
		0 },
	{ "2.7.5.3.1", "a loop in an indirect table", indirect_loop, SPLIT_RING, 0 },
	{ "2.7.5.3.1", "an indirect chain longer than the queue", indirect_longer_than_queue,
		SPLIT_RING, 0 },
	{ "2.7.5.3", "an indirect table outside memory", indirect_table_outside, SPLIT_RING, 0 },
};

const struct conf_group split_group = CONF_GROUP(cases);
