/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: packed virtqueues, 2.8. */
#include "conformance.h"

static struct vring_packed_desc *entry(struct conf *c, unsigned int index)
{
	return &work_ring(c)->ring[index];
}

/* Writes entries from 0 on, the first one's flags last, as available in the first lap. */
static void offer(struct conf *c, const struct vring_packed_desc *desc, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*entry(c, i) = desc[i];
		entry(c, i)->flags |= i > 0 ? VRING_AVAIL : 0;
	}
	__atomic_store_n(&entry(c, 0)->flags, desc[0].flags | VRING_AVAIL, __ATOMIC_SEQ_CST);
	vdriver_kick(&c->d, c->target->work_queue);
}

static uint64_t data(struct conf *c)
{
	return vdriver_alloc(&c->d, 64);
}

static void used_id_is_the_buffers(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint32_t id, len;

	start(c, 0);
	for (int i = 0; i < 10; i++) {
		uint16_t sent = vring_add(work_ring(c), buffers, prepare(c, buffers, 0));

		vdriver_kick(&c->d, c->target->work_queue);
		CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
		CHECK(id == sent);
	}
}

/* Ids need not be in order, nor below the number of entries in use. */
static void any_id(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint32_t id, len;

	start_size(c, 0, 16);
	work_ring(c)->next_id = 13;
	for (int i = 0; i < 10; i++) {
		uint16_t sent = vring_add(work_ring(c), buffers, prepare(c, buffers, 0));

		vdriver_kick(&c->d, c->target->work_queue);
		CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
		CHECK(id == sent);
		work_ring(c)->next_id = (uint16_t)((sent + 5) % 16);
	}
}

static void wrap_counters_start_at_1(struct conf *c)
{
	start_size(c, 0, 8);
	works(c);
	CHECK((entry(c, 0)->flags & VRING_AVAIL) && (entry(c, 0)->flags & VRING_USED));
}

static void wrap_counters_flip(struct conf *c)
{
	struct vring_buffer buffers[8];
	size_t n;

	start_size(c, 0, 12);
	n = prepare(c, buffers, 0);
	CHECK(12 % n == 0);
	for (size_t i = 0; i < 12 / n; i++)
		works(c);
	works(c);
	/* The second lap: both bits clear say used. */
	CHECK(!(entry(c, 0)->flags & VRING_AVAIL) && !(entry(c, 0)->flags & VRING_USED));
}

static void many_laps(struct conf *c)
{
	start_size(c, 0, 7);
	for (int i = 0; i < 1000; i++)
		works(c);
}

/* The last chain of a lap may lie across the end of the ring. */
static void chain_across_the_end(struct conf *c)
{
	struct vring_buffer buffers[64];

	start_size(c, 0, 16);
	for (int i = 0; i < 100; i++) {
		size_t n = prepare(c, buffers, 2 + (unsigned int)i % 3);

		vdriver_send(&c->d, c->target->work_queue, buffers, n);
		expect_done(c);
	}
}

/* Only the first entry of a chain that was used is written. */
static void skipped_entries_stay(struct conf *c)
{
	struct vring_packed_desc before[16];
	struct vring_buffer buffers[64];
	size_t n;

	start_size(c, 0, 16);
	n = prepare(c, buffers, 3);
	vring_add(work_ring(c), buffers, n);
	memcpy(before, work_ring(c)->ring, sizeof(before));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
	CHECK(memcmp(before + 1, work_ring(c)->ring + 1, sizeof(before) - sizeof(before[0])) == 0);
}

static void address_of_a_used_entry_stays(struct conf *c)
{
	struct vring_buffer buffers[8];

	start_size(c, 0, 16);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
	/* Next and indirect have no meaning in a used entry. */
	CHECK(!(entry(c, 0)->flags & VRING_INDIRECT));
}

static void write_flag_of_a_used_entry(struct conf *c)
{
	struct vring_buffer buffers[8];
	bool writable = false;
	size_t n;

	start_size(c, 0, 16);
	n = prepare(c, buffers, 0);
	for (size_t i = 0; i < n; i++)
		writable |= buffers[i].write;
	vring_add(work_ring(c), buffers, n);
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
	CHECK(!!(entry(c, 0)->flags & VRING_WRITE) == writable);
}

static void not_available_is_not_touched(struct conf *c)
{
	struct vring_packed_desc before;

	start_size(c, 0, 8);
	/* Looks like the lap after the next: both bits as if used. */
	*entry(c, 0) = (struct vring_packed_desc){ data(c), 16, 3, VRING_AVAIL | VRING_USED };
	before = *entry(c, 0);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	CHECK(memcmp(&before, entry(c, 0), sizeof(before)) == 0);
	*entry(c, 0) = (struct vring_packed_desc){ data(c), 16, 3, VRING_USED };
	before = *entry(c, 0);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	CHECK(memcmp(&before, entry(c, 0), sizeof(before)) == 0);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
}

static void event_structure_of_the_driver_stays(struct conf *c)
{
	start(c, 0);
	vring_set_interrupts(work_ring(c), false);
	for (int i = 0; i < 5; i++)
		works(c);
	CHECK(work_ring(c)->driver_event[0] == 0 && work_ring(c)->driver_event[1] == 1);
}

static void table_flags_are_ignored(struct conf *c)
{
	struct vring_buffer buffers[8];
	struct vring_packed_desc *table;
	uint64_t gpa;
	size_t n;

	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 8);
	n = prepare(c, buffers, 0);
	gpa = vdriver_alloc(&c->d, n * 16);
	vring_add_indirect(work_ring(c), buffers, n, gpa);
	table = (void *)(c->m->ram + gpa);
	/* Too late for a chain that the device looked at: it was not kicked yet. */
	for (size_t i = 0; i < n; i++) {
		table[i].flags |= VRING_NEXT | VRING_AVAIL | VRING_USED;
		table[i].id = 0x5a5a;
	}
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
}

static void endless_chain(struct conf *c)
{
	struct vring_packed_desc desc[8];

	start_size(c, 0, 8);
	for (uint16_t i = 0; i < 8; i++)
		desc[i] = (struct vring_packed_desc){ data(c), 1, 0, VRING_NEXT };
	offer(c, desc, 8);
	expect_broken_and_recovers(c);
}

/* The id is that of the last entry of the chain. */
static void id_of_the_last_entry_counts(struct conf *c)
{
	struct vring_buffer buffers[64];
	struct vring *ring;
	uint32_t id, len;
	size_t n;

	start_size(c, 0, 16);
	ring = work_ring(c);
	n = prepare(c, buffers, 2);
	CHECK(n >= 2);
	for (size_t i = n; i-- > 0;) {
		uint16_t flags = (uint16_t)((buffers[i].write ? VRING_WRITE : 0) |
					    (i + 1 < n ? VRING_NEXT : 0) | VRING_AVAIL);

		ring->ring[i] = (struct vring_packed_desc){ buffers[i].gpa, buffers[i].len,
			i + 1 < n ? 1 : 9, 0 };
		__atomic_store_n(&ring->ring[i].flags, flags, __ATOMIC_SEQ_CST);
	}
	ring->n_slots[9] = (uint16_t)n;
	vdriver_kick(&c->d, c->target->work_queue);
	CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	CHECK(id == 9);
}

/* A table that holds a valid request, offered by a descriptor of this length and these flags. */
static void bad_indirect(
	struct conf *c, int more, unsigned int pieces, uint16_t flags, uint64_t gpa)
{
	struct vring_packed_desc desc = { gpa, 0, 0, (uint16_t)(VRING_INDIRECT | flags) };
	struct vring_buffer buffers[64];
	size_t n;

	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 8);
	n = prepare(c, buffers, pieces);
	if (pieces > 0 && n <= work_ring(c)->size)
		conf_not_applicable(c, "requests of too few bytes");
	desc.len = more == INT32_MIN ? 0 : (uint32_t)((int)n * 16 + more);
	if (!gpa) {
		struct vring_packed_desc *table;

		desc.addr = vdriver_alloc(&c->d, 4096);
		table = (void *)(c->m->ram + desc.addr);
		for (size_t i = 0; i < n; i++)
			table[i] = (struct vring_packed_desc){ buffers[i].gpa, buffers[i].len, 0,
				buffers[i].write ? VRING_WRITE : 0 };
	}
	offer(c, &desc, 1);
	expect_broken_and_recovers(c);
}

static void indirect_with_next(struct conf *c)
{
	bad_indirect(c, 0, 0, VRING_NEXT, 0);
}

static void indirect_empty(struct conf *c)
{
	bad_indirect(c, INT32_MIN, 0, 0, 0);
}

static void indirect_odd_length(struct conf *c)
{
	bad_indirect(c, 8, 0, 0, 0);
}

static void indirect_longer_than_queue(struct conf *c)
{
	bad_indirect(c, 0, 9, 0, 0);
}

static void indirect_outside_memory(struct conf *c)
{
	bad_indirect(c, 0, 0, 0, c->m->ram_bytes);
}

static void indirect_in_a_chain(struct conf *c)
{
	struct vring_packed_desc desc[2], *table;
	struct vring_buffer buffers[64];
	size_t n;

	needs(c, F_INDIRECT, "indirect descriptors");
	start_size(c, F_INDIRECT, 8);
	n = prepare(c, buffers, 2);
	desc[0] = (struct vring_packed_desc){ buffers[0].gpa, buffers[0].len, 0,
		(uint16_t)(VRING_NEXT | (buffers[0].write ? VRING_WRITE : 0)) };
	desc[1] = (struct vring_packed_desc){ vdriver_alloc(&c->d, 4096), (uint32_t)(n - 1) * 16, 0,
		VRING_INDIRECT };
	table = (void *)(c->m->ram + desc[1].addr);
	for (size_t i = 1; i < n; i++)
		table[i - 1] = (struct vring_packed_desc){ buffers[i].gpa, buffers[i].len, 0,
			buffers[i].write ? VRING_WRITE : 0 };
	offer(c, desc, 2);
	expect_broken_and_recovers(c);
}

static const struct conf_case cases[] = {
	{ "2.8.13", "the used id is the buffer's", used_id_is_the_buffers, PACKED_RING, 0 },
	{ "2.8.6", "any id will do", any_id, PACKED_RING, 0 },
	{ "2.8.6", "the id of a chain is in its last entry", id_of_the_last_entry_counts,
		PACKED_RING, 0 },
	{ "2.8.1", "wrap counters start at 1", wrap_counters_start_at_1, PACKED_RING, 0 },
	{ "2.8.1", "wrap counters flip after a lap", wrap_counters_flip, PACKED_RING, 0 },
	{ "2.8.1", "many laps", many_laps, PACKED_RING, 0 },
	{ "2.8.5", "a chain across the end of the ring", chain_across_the_end, PACKED_RING, 0 },
	{ "2.8.5", "one used entry for a chain, the rest is skipped", skipped_entries_stay,
		PACKED_RING, 0 },
	{ "2.8.12", "a used entry is not indirect", address_of_a_used_entry_stays, PACKED_RING, 0 },
	{ "2.8.3", "WRITE of a used entry says that something was written",
		write_flag_of_a_used_entry, PACKED_RING, 0 },
	{ "2.8.2", "an entry that is not available is not touched", not_available_is_not_touched,
		PACKED_RING, 0 },
	{ "2.8.10", "the driver's event structure is not written",
		event_structure_of_the_driver_stays, PACKED_RING, 0 },
	{ "2.8.7", "flags in an indirect table, but WRITE, are ignored", table_flags_are_ignored,
		PACKED_RING, 0 },
	{ "2.8.17", "a chain without end", endless_chain, PACKED_RING, 0 },
	{ "2.8.19", "indirect with next", indirect_with_next, PACKED_RING, 0 },
	{ "2.8.19", "indirect at the end of a chain", indirect_in_a_chain, PACKED_RING, 0 },
	{ "2.8.7", "an empty indirect table", indirect_empty, PACKED_RING, 0 },
	{ "2.8.7", "an indirect table of an odd length", indirect_odd_length, PACKED_RING, 0 },
	{ "2.8.19", "an indirect table longer than the queue", indirect_longer_than_queue,
		PACKED_RING, 0 },
	{ "2.8.7", "an indirect table outside memory", indirect_outside_memory, PACKED_RING, 0 },
};

const struct conf_group packed_group = CONF_GROUP(cases);
