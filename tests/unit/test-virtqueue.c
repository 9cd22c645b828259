/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include <vmmcore/virtqueue.h>

#include "base/util.h"
#include "lib/vring.h"
#include "unit.h"

/* Two adjacent regions, the first of which ends in the middle of what tests use; then a hole, and
 * a read-only region. */
#define RAM_A_BYTES UINT64_C(0x40000)
#define RAM_B_GPA RAM_A_BYTES
#define RAM_B_BYTES UINT64_C(0x40000)
#define HOLE_GPA (RAM_B_GPA + RAM_B_BYTES)
#define ROM_GPA UINT64_C(0x100000)
#define ROM_BYTES UINT64_C(0x1000)

#define RING_GPA UINT64_C(0x1000)
#define DATA_GPA UINT64_C(0x20000)
#define SIZE 16

static struct vmm_mem *mem;
static struct vmm_virtqueue *queue;
static struct vring ring;
static struct iovec iov[64];
static struct vmm_virtqueue_chain chain;

static uint8_t *ram(void)
{
	return vmm_mem_pointer(mem, 0, RAM_A_BYTES, 1, true);
}

static void setup(void)
{
	static const struct vmm_mem_config regions[] = {
		{ .gpa = 0, .size_bytes = RAM_A_BYTES },
		{ .gpa = RAM_B_GPA, .size_bytes = RAM_B_BYTES },
		{ .gpa = ROM_GPA, .size_bytes = ROM_BYTES, .read_only = true },
	};

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		ck_assert_int_eq(vmm_mem_add(mem, &regions[i]), 0);
	ck_assert_int_eq(vmm_virtqueue_new(mem, &queue), 0);
}

static void teardown(void)
{
	queue = vmm_virtqueue_free(queue);
	mem = vmm_mem_free(mem);
}

static struct vmm_virtqueue_config config_of(uint64_t features)
{
	return (struct vmm_virtqueue_config){
		.size = ring.size,
		.desc_gpa = ring.desc_gpa,
		.driver_gpa = ring.driver_gpa,
		.device_gpa = ring.device_gpa,
		.features = features | (ring.packed ? VMM_VIRTIO_F_RING_PACKED : 0),
	};
}

static void start(uint16_t size, bool packed, uint64_t features)
{
	struct vmm_virtqueue_config config;

	vring_init(&ring, ram(), RING_GPA, size, packed);
	config = config_of(features);
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	ck_assert(vmm_virtqueue_is_active(queue));
	ck_assert_uint_eq(vmm_virtqueue_size(queue), size);
}

static int pop(void)
{
	return vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &chain);
}

static void expect_used(uint32_t id, uint32_t len)
{
	uint32_t got_id, got_len;

	ck_assert(vring_get_used(&ring, &got_id, &got_len));
	ck_assert_uint_eq(got_id, id);
	ck_assert_uint_eq(got_len, len);
}

static void expect_nothing_used(void)
{
	uint32_t id, len;

	ck_assert(!vring_get_used(&ring, &id, &len));
}

START_TEST(chain_gives_readable_then_writable)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 16, false },
		{ DATA_GPA + 0x100, 0, false },
		{ DATA_GPA + 0x200, 32, false },
		{ DATA_GPA + 0x1000, 512, true },
		{ DATA_GPA + 0x2000, 1, true },
	};
	uint16_t id;

	start(SIZE, _i, 0);
	ck_assert_int_eq(pop(), 0);
	id = vring_add(&ring, buffers, ARRAY_SIZE(buffers));
	ck_assert(!vmm_virtqueue_is_empty(queue));
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 2);
	ck_assert_uint_eq(chain.n_writable, 2);
	ck_assert_uint_eq(chain.readable_bytes, 48);
	ck_assert_uint_eq(chain.writable_bytes, 513);
	ck_assert_ptr_eq(chain.readable[0].iov_base, ram() + DATA_GPA);
	ck_assert_ptr_eq(chain.readable[1].iov_base, ram() + DATA_GPA + 0x200);
	ck_assert_ptr_eq(chain.writable[0].iov_base, ram() + DATA_GPA + 0x1000);
	ck_assert_uint_eq(chain.writable[1].iov_len, 1);
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 1);
	ck_assert(vmm_virtqueue_is_empty(queue));
	expect_nothing_used();

	vmm_virtqueue_push(queue, &chain, 513);
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
	expect_used(id, 513);
	expect_nothing_used();
	ck_assert_int_eq(pop(), 0);
}
END_TEST

START_TEST(chain_of_one_kind_only)
{
	const struct vring_buffer readable = { DATA_GPA, 16, false };
	const struct vring_buffer writable = { DATA_GPA, 16, true };

	start(SIZE, _i, 0);
	vring_add(&ring, &readable, 1);
	vring_add(&ring, &writable, 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 1);
	ck_assert_uint_eq(chain.n_writable, 0);
	ck_assert_uint_eq(chain.writable_bytes, 0);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 0);
	ck_assert_uint_eq(chain.n_writable, 1);
	ck_assert_uint_eq(chain.readable_bytes, 0);
	ck_assert_uint_eq(chain.writable_bytes, 16);
}
END_TEST

/* Many times around the ring, with chains of all lengths, completed out of order. */
START_TEST(ring_wraps)
{
	static const uint16_t packed_sizes[] = { SIZE, 7 };
	uint16_t sizes[] = { SIZE, 4 };
	struct vmm_virtqueue_chain popped[3];

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint16_t size = _i ? packed_sizes[s] : sizes[s];

		start(size, _i, VMM_VIRTIO_F_INDIRECT_DESC);
		for (unsigned int round = 0; round < (s ? 2000 : 35000); round++) {
			struct vring_buffer buffers[4];
			unsigned int n_chains = 1 + round % 3;
			uint16_t ids[3];

			for (unsigned int c = 0; c < n_chains; c++) {
				unsigned int n = n_chains == 1 ? 1 + round / 3 % 4 : 1;

				for (unsigned int i = 0; i < n; i++)
					buffers[i] = (struct vring_buffer){ DATA_GPA + 0x100 * c,
						8 + c, i > 0 };
				ids[c] = round % 5 == 0
						 ? vring_add_indirect(&ring, buffers, n, 0x10000)
						 : vring_add(&ring, buffers, n);
			}
			for (unsigned int c = 0; c < n_chains; c++)
				ck_assert_int_eq(
					vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &popped[c]),
					1);
			for (unsigned int c = n_chains; c-- > 0;)
				vmm_virtqueue_fill(queue, &popped[c], c);
			expect_nothing_used();
			vmm_virtqueue_flush(queue);
			for (unsigned int c = n_chains; c-- > 0;)
				expect_used(ids[c], c);
			ck_assert_int_eq(pop(), 0);
		}
	}
}
END_TEST

START_TEST(largest_queue)
{
	const struct vring_buffer buffer = { 0x100, 4, false };
	struct vmm_virtqueue_config config;
	struct vmm_mem_config region = { .gpa = 0x10000000, .size_bytes = 0x200000 };
	uint8_t *base;

	/* Laid out in a region of its own: ram() is too small. */
	ck_assert_int_eq(vmm_mem_add(mem, &region), 0);
	base = vmm_mem_pointer(mem, region.gpa, region.size_bytes, 1, true);
	vring_init(&ring, base, 0, VMM_VIRTQUEUE_MAX_SIZE, _i);
	config = config_of(VMM_VIRTIO_F_EVENT_IDX);
	config.desc_gpa += region.gpa;
	config.driver_gpa += region.gpa;
	config.device_gpa += region.gpa;
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++)
			vring_add(&ring, &buffer, 1);
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++) {
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
		ck_assert_int_eq(pop(), 0);
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++)
			expect_used((uint32_t)i, 0);
	}
}
END_TEST

START_TEST(indirect_chain)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 16, false },
		{ DATA_GPA + 0x100, 24, true },
		{ DATA_GPA + 0x200, 32, true },
	};
	/* Aligned, unaligned, and across the regions. */
	static const uint64_t tables[] = { 0x10000, 0x10003, RAM_B_GPA - 24 };
	uint8_t *across = ram();

	start(SIZE, _i, VMM_VIRTIO_F_INDIRECT_DESC);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint16_t id = vring_add_indirect(&ring, buffers, 3, 0x10000);
		uint8_t table[48];

		memcpy(table, across + 0x10000, sizeof(table));
		ck_assert_int_eq(vmm_mem_write(mem, tables[i], table, sizeof(table)), 0);
		if (_i)
			ring.ring[(ring.next_avail + SIZE - 1) % SIZE].addr = tables[i];
		else
			ring.desc[id].addr = tables[i];
		ck_assert_int_eq(pop(), 1);
		ck_assert_uint_eq(chain.n_readable, 1);
		ck_assert_uint_eq(chain.n_writable, 2);
		ck_assert_uint_eq(chain.readable_bytes, 16);
		ck_assert_uint_eq(chain.writable_bytes, 56);
		ck_assert_uint_eq(chain.n_descriptors, 1);
		vmm_virtqueue_push(queue, &chain, 1);
		expect_used(id, 1);
	}
}
END_TEST

START_TEST(buffer_across_regions)
{
	const struct vring_buffer buffer = { RAM_B_GPA - 10, 30, true };
	uint8_t data[30], back[30];

	start(SIZE, _i, 0);
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.writable_bytes, 30);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + 1);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&chain, 0, data, sizeof(data)), 30);
	ck_assert_int_eq(vmm_mem_read(mem, RAM_B_GPA - 10, back, sizeof(back)), 0);
	ck_assert_mem_eq(data, back, sizeof(data));
}
END_TEST

START_TEST(too_few_iovecs_takes_nothing)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, true },
	};

	start(SIZE, _i, 0);
	vring_add(&ring, buffers, 3);
	for (size_t n = 0; n < 3; n++)
		ck_assert_int_eq(vmm_virtqueue_pop(queue, iov, n, &chain), -ENOBUFS);
	ck_assert_ptr_null(vmm_virtqueue_fault(queue));
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
	ck_assert_int_eq(vmm_virtqueue_pop(queue, iov, 3, &chain), 1);
	ck_assert_uint_eq(chain.n_readable, 2);
}
END_TEST

START_TEST(undo_gives_chains_back)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, true },
	};
	struct vmm_virtqueue_chain popped[4];

	start(7 + !_i, _i, 0); /* 7: no power of two where the format allows that */
	for (int round = 0; round < 20; round++) {
		uint16_t ids[2];

		ids[0] = vring_add(&ring, buffers, 3);
		ids[1] = vring_add(&ring, buffers, 2);
		for (int again = 0; again < 3; again++) {
			for (int i = 0; i < 2; i++) {
				ck_assert_int_eq(
					vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &popped[i]),
					1);
				ck_assert_uint_eq(popped[i].id, ids[i]);
			}
			ck_assert_int_eq(pop(), 0);
			if (again == 2)
				break;
			vmm_virtqueue_undo_pop(queue, &popped[1]);
			vmm_virtqueue_undo_pop(queue, &popped[0]);
			ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
		}
		vmm_virtqueue_push(queue, &popped[0], 7);
		vmm_virtqueue_push(queue, &popped[1], 8);
		expect_used(ids[0], 7);
		expect_used(ids[1], 8);
	}
}
END_TEST

START_TEST(interrupt_flag)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	start(SIZE, _i, 0);
	ck_assert(!vmm_virtqueue_should_notify(queue));
	for (int on = 1; on >= 0; on--) {
		vring_set_interrupts(&ring, on);
		vring_add(&ring, &buffer, 1);
		ck_assert_int_eq(pop(), 1);
		ck_assert(!vmm_virtqueue_should_notify(queue));
		vmm_virtqueue_push(queue, &chain, 0);
		ck_assert_int_eq(vmm_virtqueue_should_notify(queue), on);
		ck_assert(!vmm_virtqueue_should_notify(queue));
	}
}
END_TEST

/* An interrupt comes exactly when the used position passes the event, all around the indexes. */
START_TEST(interrupt_event_index)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	uint32_t used = 0; /* chains pushed so far */

	start(SIZE, _i, VMM_VIRTIO_F_EVENT_IDX);
	for (unsigned int round = 0; round < 20000; round++) {
		unsigned int n = 1 + round % 5;
		unsigned int ahead = round / 5 % 8; /* event: after so many more */
		uint32_t event = used + ahead, id, len;

		if (_i)
			vring_set_used_event(&ring, event % SIZE, event / SIZE % 2 == 0);
		else
			vring_set_used_event(&ring, (uint16_t)event, false);
		for (unsigned int i = 0; i < n; i++) {
			vring_add(&ring, &buffer, 1);
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
		used += n;
		ck_assert_int_eq(vmm_virtqueue_should_notify(queue), ahead < n);
		while (vring_get_used(&ring, &id, &len))
			;
	}
}
END_TEST

START_TEST(many_pushes_always_pass_the_event)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	uint32_t id, len;

	start(SIZE, _i, VMM_VIRTIO_F_EVENT_IDX);
	for (unsigned int i = 0; i < 65536; i++) {
		vring_add(&ring, &buffer, 1);
		ck_assert_int_eq(pop(), 1);
		vmm_virtqueue_push(queue, &chain, 0);
		while (vring_get_used(&ring, &id, &len))
			;
	}
	ck_assert(vmm_virtqueue_should_notify(queue));
}
END_TEST

START_TEST(kick_suppression)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	bool event_idx = _i & 1, packed = _i & 2;

	start(SIZE, packed, event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	for (int round = 0; round < 100; round++) {
		/* Enabled and drained: the next chain is wanted. */
		ck_assert(!vmm_virtqueue_enable_notifications(queue));
		vring_add(&ring, &buffer, 1);
		ck_assert(vring_kick_wanted(&ring, event_idx, 1));

		vmm_virtqueue_disable_notifications(queue);
		vring_add(&ring, &buffer, 1);
		ck_assert(!vring_kick_wanted(&ring, event_idx, 1));

		/* What came in between is reported, not lost. */
		ck_assert(vmm_virtqueue_enable_notifications(queue));
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
	}
}
END_TEST

START_TEST(fresh_queue_wants_kicks)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	bool event_idx = _i & 1, packed = _i & 2;

	start(SIZE, packed, event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	vring_add(&ring, &buffer, 1);
	ck_assert(vring_kick_wanted(&ring, event_idx, 1));
}
END_TEST

START_TEST(state_goes_on)
{
	const struct vring_buffer buffers[] = { { DATA_GPA, 1, false }, { DATA_GPA, 1, true } };
	struct vmm_virtqueue_config config;
	struct vmm_virtqueue_state state;

	start(7 + !_i, _i, 0);
	config = config_of(0);
	for (int round = 0; round < 30; round++) {
		uint16_t id = vring_add(&ring, buffers, 2);

		ck_assert_int_eq(pop(), 1);
		vmm_virtqueue_push(queue, &chain, 5);
		expect_used(id, 5);
		state = vmm_virtqueue_get_state(queue);
		vmm_virtqueue_deactivate(queue);
		ck_assert_int_eq(pop(), 0);
		ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, &state), 0);
	}
}
END_TEST

START_TEST(registers_are_frozen)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	struct vmm_virtqueue_config config;

	vring_init(&ring, ram(), RING_GPA, SIZE, _i);
	config = config_of(0);
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	memset(&config, 0xff, sizeof(config));
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
}
END_TEST

START_TEST(inactive_queue_is_quiet)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	ck_assert_int_eq(pop(), 0);
	start(SIZE, _i, 0);
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
	vmm_virtqueue_deactivate(queue);
	ck_assert_int_eq(pop(), 0);
	vmm_virtqueue_push(queue, &chain, 1);
	vmm_virtqueue_undo_pop(queue, &chain);
	ck_assert(!vmm_virtqueue_should_notify(queue));
	ck_assert(!vmm_virtqueue_enable_notifications(queue));
	vmm_virtqueue_disable_notifications(queue);
	ck_assert(vmm_virtqueue_is_empty(queue));
	ck_assert_uint_eq(vmm_virtqueue_size(queue), 0);
	expect_nothing_used();
}
END_TEST

START_TEST(removed_memory_ends_the_queue)
{
	struct vmm_virtqueue_config config;

	start(SIZE, _i, 0);
	ck_assert_int_eq(vmm_virtqueue_forget_memory(queue), 0);
	config = config_of(0);
	config.device_gpa = RAM_B_GPA;
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	ck_assert_int_eq(vmm_mem_remove(mem, RAM_B_GPA), 0);
	ck_assert_int_eq(vmm_virtqueue_forget_memory(queue), -VMM_EGUEST);
	ck_assert_ptr_nonnull(vmm_virtqueue_fault(queue));
	ck_assert_int_eq(pop(), 0);
}
END_TEST

static const struct bad_config {
	const char *name;
	bool packed;
	struct vmm_virtqueue_config config;
} bad_configs[] = {
	{ "size 0", false, { 0, 0x1000, 0x2000, 0x3000, 0 } },
	{ "size 3", false, { 3, 0x1000, 0x2000, 0x3000, 0 } },
	{ "size 65536", false, { 65536, 0x1000, 0x2000, 0x3000, 0 } },
	{ "size 32769", true, { 32769, 0x1000, 0x2000, 0x3000, 0 } },
	{ "size 0 packed", true, { 0, 0x1000, 0x2000, 0x3000, 0 } },
	{ "desc misaligned", false, { 16, 0x1008, 0x2000, 0x3000, 0 } },
	{ "avail misaligned", false, { 16, 0x1000, 0x2001, 0x3000, 0 } },
	{ "used misaligned", false, { 16, 0x1000, 0x2000, 0x3002, 0 } },
	{ "desc in the hole", false, { 16, HOLE_GPA, 0x2000, 0x3000, 0 } },
	{ "avail in the hole", false, { 16, 0x1000, HOLE_GPA, 0x3000, 0 } },
	{ "used in the hole", false, { 16, 0x1000, 0x2000, HOLE_GPA, 0 } },
	{ "desc into the hole", false, { 16, HOLE_GPA - 240, 0x2000, 0x3000, 0 } },
	{ "desc across regions", false, { 16, RAM_B_GPA - 128, 0x2000, 0x3000, 0 } },
	{ "avail across regions", false, { 16, 0x1000, RAM_B_GPA - 34, 0x3000, 0 } },
	{ "used event beyond memory", false,
		{ 16, 0x1000, HOLE_GPA - 36, 0x3000, VMM_VIRTIO_F_EVENT_IDX } },
	{ "avail event beyond memory", false,
		{ 16, 0x1000, 0x2000, HOLE_GPA - 132, VMM_VIRTIO_F_EVENT_IDX } },
	{ "used read-only", false, { 16, 0x1000, 0x2000, ROM_GPA, 0 } },
	{ "desc wraps", false, { 16, UINT64_MAX - 15, 0x2000, 0x3000, 0 } },
	{ "used wraps", false, { 16, 0x1000, 0x2000, UINT64_MAX - 3, 0 } },
	{ "ring misaligned", true, { 16, 0x1008, 0x2000, 0x3000, 0 } },
	{ "ring read-only", true, { 16, ROM_GPA, 0x2000, 0x3000, 0 } },
	{ "driver event in the hole", true, { 16, 0x1000, HOLE_GPA, 0x3000, 0 } },
	{ "driver event misaligned", true, { 16, 0x1000, 0x2002, 0x3000, 0 } },
	{ "device event read-only", true, { 16, 0x1000, 0x2000, ROM_GPA, 0 } },
	{ "ring across regions", true, { 16, RAM_B_GPA - 128, 0x2000, 0x3000, 0 } },
};

START_TEST(bad_configuration_is_refused)
{
	const struct bad_config *bad = &bad_configs[_i];
	struct vmm_virtqueue_config config = bad->config;

	config.features |= bad->packed ? VMM_VIRTIO_F_RING_PACKED : 0;
	ck_assert_msg(vmm_virtqueue_activate(queue, &config, NULL) == -VMM_EGUEST, "%s", bad->name);
	ck_assert(!vmm_virtqueue_is_active(queue));
	ck_assert_ptr_nonnull(vmm_virtqueue_fault(queue));
	ck_assert_int_eq(pop(), 0);
}
END_TEST

/* Without the feature, the ring ends before the event: it may then end where memory does. */
START_TEST(ring_without_event_may_end_with_memory)
{
	struct vmm_virtqueue_config config = { 16, 0x1000, HOLE_GPA - 36, HOLE_GPA - 256, 0 };

	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
}
END_TEST

static void expect_broken(const char *name)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	ck_assert_msg(pop() == -VMM_EGUEST, "%s", name);
	ck_assert_ptr_nonnull(vmm_virtqueue_fault(queue));
	/* And stays so, whatever the driver does then. */
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), -VMM_EGUEST);
	ck_assert(vmm_virtqueue_is_empty(queue));
	ck_assert(!vmm_virtqueue_enable_notifications(queue));
	/* Until it starts anew. */
	start(SIZE, ring.packed, 0);
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
}

#define TABLE 0x10000

/* Split: descriptors 0 to 3 as given, head 0 offered. table goes to TABLE. */
static const struct bad_split {
	const char *name;
	uint64_t features;
	uint16_t head;
	uint16_t avail_step; /* instead of 1 */
	struct vring_desc desc[4];
	struct vring_desc table[3];
} bad_splits[] = {
	{ .name = "head beyond size", .head = SIZE },
	{ .name = "head 65535", .head = 65535 },
	{ .name = "index too far", .avail_step = SIZE + 1 },
	{ .name = "index goes back", .avail_step = 65535 },
	{ .name = "next beyond size", .desc = { { DATA_GPA, 1, VRING_NEXT, SIZE } } },
	{ .name = "loop of one", .desc = { { DATA_GPA, 1, VRING_NEXT, 0 } } },
	{ .name = "loop of two",
		.desc = { { DATA_GPA, 1, VRING_NEXT, 1 }, { DATA_GPA, 1, VRING_NEXT, 0 } } },
	{ .name = "loop of empty buffers", .desc = { { DATA_GPA, 0, VRING_NEXT, 0 } } },
	{ .name = "readable after writable",
		.desc = { { DATA_GPA, 1, VRING_NEXT | VRING_WRITE, 1 }, { DATA_GPA, 1, 0, 0 } } },
	{ .name = "readable after empty writable",
		.desc = { { DATA_GPA, 0, VRING_NEXT | VRING_WRITE, 1 }, { DATA_GPA, 1, 0, 0 } } },
	{ .name = "in the hole", .desc = { { HOLE_GPA, 1, 0, 0 } } },
	{ .name = "into the hole", .desc = { { HOLE_GPA - 1, 2, 0, 0 } } },
	{ .name = "wraps", .desc = { { UINT64_MAX, 2, 0, 0 } } },
	{ .name = "wraps into memory", .desc = { { UINT64_MAX - 4095, UINT32_MAX, 0, 0 } } },
	{ .name = "longer than memory", .desc = { { DATA_GPA, UINT32_MAX, 0, 0 } } },
	{ .name = "writable in read-only memory", .desc = { { ROM_GPA, 1, VRING_WRITE, 0 } } },
	{ .name = "indirect without the feature",
		.desc = { { TABLE, 16, VRING_INDIRECT, 0 } },
		.table = { { DATA_GPA, 1, 0, 0 } } },
	{ .name = "indirect with next",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 16, VRING_INDIRECT | VRING_NEXT, 1 }, { DATA_GPA, 1, 0, 0 } },
		.table = { { DATA_GPA, 1, 0, 0 } } },
	{ .name = "nested indirect",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 16, VRING_INDIRECT, 0 } },
		.table = { { TABLE, 16, VRING_INDIRECT, 0 } } },
	{ .name = "empty table",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 0, VRING_INDIRECT, 0 } } },
	{ .name = "table of 15 bytes",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 15, VRING_INDIRECT, 0 } } },
	{ .name = "table of 24 bytes",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 24, VRING_INDIRECT, 0 } } },
	{ .name = "table in the hole",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { HOLE_GPA, 16, VRING_INDIRECT, 0 } } },
	{ .name = "table into the hole",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { HOLE_GPA - 8, 16, VRING_INDIRECT, 0 } } },
	{ .name = "table of 4 GiB",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 0xfffffff0, VRING_INDIRECT, 0 } } },
	{ .name = "next beyond the table",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 32, VRING_INDIRECT, 0 } },
		.table = { { DATA_GPA, 1, VRING_NEXT, 2 } } },
	{ .name = "loop in the table",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 32, VRING_INDIRECT, 0 } },
		.table = { { DATA_GPA, 1, VRING_NEXT, 1 }, { DATA_GPA, 1, VRING_NEXT, 0 } } },
	{ .name = "table's buffer in the hole",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { TABLE, 16, VRING_INDIRECT, 0 } },
		.table = { { HOLE_GPA, 1, 0, 0 } } },
	{ .name = "readable in the table after writable",
		.features = VMM_VIRTIO_F_INDIRECT_DESC,
		.desc = { { DATA_GPA, 1, VRING_WRITE | VRING_NEXT, 1 },
			{ TABLE, 16, VRING_INDIRECT, 0 } },
		.table = { { DATA_GPA, 1, 0, 0 } } },
};

START_TEST(bad_split_ring_breaks)
{
	const struct bad_split *bad = &bad_splits[_i];

	start(SIZE, false, bad->features);
	memcpy(ring.desc, bad->desc, sizeof(bad->desc));
	memcpy(ram() + TABLE, bad->table, sizeof(bad->table));
	vring_offer(&ring, bad->head);
	if (bad->avail_step)
		ring.avail[1] = bad->avail_step;
	expect_broken(bad->name);
}
END_TEST

static const struct bad_packed {
	const char *name;
	uint64_t features;
	unsigned int n; /* entries; the rest of the ring is of the last kind */
	struct vring_packed_desc desc[3];
	struct vring_packed_desc table[2];
} bad_packeds[] = {
	{ "endless chain", 0, 1, { { DATA_GPA, 1, 0, VRING_NEXT } } },
	{ "endless empty chain", 0, 1, { { DATA_GPA, 0, 0, VRING_NEXT } } },
	{ "readable after writable", 0, 2,
		{ { DATA_GPA, 1, 0, VRING_NEXT | VRING_WRITE }, { DATA_GPA, 1, 0, 0 } } },
	{ "in the hole", 0, 1, { { HOLE_GPA, 1, 0, 0 } } },
	{ "wraps", 0, 1, { { UINT64_MAX, 2, 0, 0 } } },
	{ "writable in read-only memory", 0, 1, { { ROM_GPA, 1, 0, VRING_WRITE } } },
	{ "indirect without the feature", 0, 1, { { TABLE, 16, 0, VRING_INDIRECT } } },
	{ "indirect with next", VMM_VIRTIO_F_INDIRECT_DESC, 1,
		{ { TABLE, 16, 0, VRING_INDIRECT | VRING_NEXT } } },
	{ "indirect at the end of a chain", VMM_VIRTIO_F_INDIRECT_DESC, 2,
		{ { DATA_GPA, 1, 0, VRING_NEXT }, { TABLE, 16, 0, VRING_INDIRECT } },
		{ { DATA_GPA, 1, 0, 0 } } },
	{ "empty table", VMM_VIRTIO_F_INDIRECT_DESC, 1, { { TABLE, 0, 0, VRING_INDIRECT } } },
	{ "table of 17 bytes", VMM_VIRTIO_F_INDIRECT_DESC, 1,
		{ { TABLE, 17, 0, VRING_INDIRECT } } },
	{ "table longer than the queue", VMM_VIRTIO_F_INDIRECT_DESC, 1,
		{ { TABLE, (SIZE + 1) * 16, 0, VRING_INDIRECT } } },
	{ "table in the hole", VMM_VIRTIO_F_INDIRECT_DESC, 1,
		{ { HOLE_GPA, 16, 0, VRING_INDIRECT } } },
	{ "readable after writable in the table", VMM_VIRTIO_F_INDIRECT_DESC, 1,
		{ { TABLE, 32, 0, VRING_INDIRECT } },
		{ { DATA_GPA, 1, 0, VRING_WRITE }, { DATA_GPA, 1, 0, 0 } } },
};

START_TEST(bad_packed_ring_breaks)
{
	const struct bad_packed *bad = &bad_packeds[_i];

	start(SIZE, true, bad->features);
	for (unsigned int i = 0; i < SIZE; i++) {
		ring.ring[i] = bad->desc[MIN(i, bad->n - 1)];
		ring.ring[i].flags |= VRING_AVAIL;
	}
	memcpy(ram() + TABLE, bad->table, sizeof(bad->table));
	expect_broken(bad->name);
}
END_TEST

/* The flags of entries in an indirect table, other than WRITE, are ignored (2.8.7). */
START_TEST(packed_table_flags_are_ignored)
{
	struct vring_packed_desc table[2] = {
		{ DATA_GPA, 1, 0, VRING_NEXT | VRING_INDIRECT },
		{ DATA_GPA, 1, 0, VRING_WRITE | VRING_NEXT },
	};

	start(SIZE, true, VMM_VIRTIO_F_INDIRECT_DESC);
	memcpy(ram() + TABLE, table, sizeof(table));
	ring.ring[0] = (struct vring_packed_desc){ TABLE, 32, 3, VRING_INDIRECT | VRING_AVAIL };
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.id, 3);
	ck_assert_uint_eq(chain.n_readable, 1);
	ck_assert_uint_eq(chain.n_writable, 1);
}
END_TEST

START_TEST(more_than_4_gib_in_a_chain_breaks)
{
	/* The same memory again and again: 6 times 1 GiB. */
	struct vmm_mem_config region = { .gpa = UINT64_C(1) << 32, .size_bytes = 1u << 30 };
	struct vring_buffer buffers[6];
	uint64_t sum = (uint64_t)region.size_bytes * 4;

	ck_assert_int_eq(vmm_mem_add(mem, &region), 0);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = (struct vring_buffer){ region.gpa, 1u << 30, i > 2 };
	start(SIZE, _i, 0);
	vring_add(&ring, buffers, 4);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.readable_bytes + chain.writable_bytes, sum);
	vmm_virtqueue_push(queue, &chain, 0);
	vring_add(&ring, buffers, 5);
	expect_broken("5 GiB");
}
END_TEST

START_TEST(more_in_flight_than_entries_breaks)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	start(SIZE, _i, 0);
	for (int i = 0; i < SIZE; i++) {
		vring_add(&ring, &buffer, 1);
		ck_assert_int_eq(pop(), 1);
	}
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), -VMM_EGUEST);
}
END_TEST

START_TEST(longest_chain_is_the_queue_size)
{
	struct vring_buffer buffers[SIZE + 1];

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = (struct vring_buffer){ DATA_GPA, 1, false };
	start(SIZE, _i, VMM_VIRTIO_F_INDIRECT_DESC);
	vring_add(&ring, buffers, SIZE);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, SIZE);
	vmm_virtqueue_push(queue, &chain, 0);
	vring_add_indirect(&ring, buffers, SIZE, TABLE);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, SIZE);
	vmm_virtqueue_push(queue, &chain, 0);
	vring_add_indirect(&ring, buffers, SIZE + 1, TABLE);
	expect_broken("indirect chain longer than the queue");
}
END_TEST

START_TEST(break_by_the_device)
{
	start(SIZE, _i, 0);
	vmm_virtqueue_break(queue, "because");
	vmm_virtqueue_break(queue, "later");
	ck_assert_str_eq(vmm_virtqueue_fault(queue), "because");
	ck_assert_int_eq(pop(), -VMM_EGUEST);
}
END_TEST

START_TEST(copies_and_slices)
{
	uint8_t bytes[64], data[64];
	struct iovec parts[] = { { bytes, 10 }, { bytes + 10, 0 }, { bytes + 20, 5 },
		{ bytes + 30, 20 } };
	struct vmm_virtqueue_chain c = {
		.readable = parts,
		.n_readable = 3,
		.writable = parts + 3,
		.n_writable = 1,
		.readable_bytes = 15,
		.writable_bytes = 20,
	};
	struct iovec out[4];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 0, data, 64), 15);
	ck_assert_uint_eq(data[9], 9);
	ck_assert_uint_eq(data[10], 20);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 12, data, 2), 2);
	ck_assert_uint_eq(data[0], 22);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 15, data, 1), 0);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, UINT64_MAX, data, 1), 0);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&c, 19, "xy", 2), 1);
	ck_assert_uint_eq(bytes[49], 'x');
	ck_assert_uint_eq(bytes[50], 50);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&c, 20, "z", 1), 0);

	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 5, 12, out, 4), 3);
	ck_assert_ptr_eq(out[0].iov_base, bytes + 5);
	ck_assert_uint_eq(out[0].iov_len, 5);
	ck_assert_uint_eq(out[1].iov_len, 5);
	ck_assert_ptr_eq(out[2].iov_base, bytes + 30);
	ck_assert_uint_eq(out[2].iov_len, 2);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 5, 12, out, 2), -ENOBUFS);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 0, 35, out, 4), 3);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 0, 36, out, 4), -ERANGE);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 35, 0, out, 4), 0);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, UINT64_MAX, 1, out, 4), -ERANGE);
	/* In place. */
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 11, 14, parts, 4), 2);
	ck_assert_ptr_eq(parts[0].iov_base, bytes + 21);
	ck_assert_uint_eq(parts[0].iov_len, 4);
	ck_assert_uint_eq(parts[1].iov_len, 10);
}
END_TEST

/* A driver in another thread, sleeping only when no kick was wanted: nothing is ever lost. */
#define N_RACE 4000
static sem_t kicks, interrupts;
static bool race_event_idx;

/* Like an eventfd: all signals that came are one. */
static void wait_for(sem_t *signals)
{
	while (sem_wait(signals) < 0)
		ck_assert_int_eq(errno, EINTR);
	while (sem_trywait(signals) == 0)
		;
}

static void *race_driver(void *arg)
{
	const struct vring_buffer buffer = { DATA_GPA, 4, true };
	unsigned int n_sent = 0, n_done = 0;
	uint32_t id, len;

	while (n_done < N_RACE) {
		while (n_sent < N_RACE && n_sent - n_done < SIZE) {
			vring_add(&ring, &buffer, 1);
			n_sent++;
			if (vring_kick_wanted(&ring, race_event_idx, 1))
				sem_post(&kicks);
		}
		if (vring_get_used(&ring, &id, &len)) {
			n_done++;
			continue;
		}
		/* Ask for an interrupt, look again, then sleep. */
		if (race_event_idx) {
			vring_set_used_event(&ring, ring.packed ? ring.next_used : ring.last_used,
				ring.used_wrap);
			vring_fence();
			if (vring_get_used(&ring, &id, &len)) {
				n_done++;
				continue;
			}
		}
		wait_for(&interrupts);
	}
	return NULL;
}

START_TEST(no_wake_up_is_lost)
{
	pthread_t thread;
	unsigned int n = 0;
	int r;

	race_event_idx = _i & 1;
	sem_init(&kicks, 0, 0);
	sem_init(&interrupts, 0, 0);
	start(SIZE, _i & 2, race_event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_driver, NULL), 0);
	while (n < N_RACE) {
		wait_for(&kicks);
		do {
			vmm_virtqueue_disable_notifications(queue);
			while ((r = pop()) > 0) {
				vmm_virtqueue_push(queue, &chain, 0);
				n++;
				if (vmm_virtqueue_should_notify(queue))
					sem_post(&interrupts);
			}
			ck_assert_int_eq(r, 0);
		} while (vmm_virtqueue_enable_notifications(queue));
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(n, N_RACE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *t = unit_case(suite, "queue");
	int n_split = ARRAY_SIZE(bad_splits), n_packed = ARRAY_SIZE(bad_packeds);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, chain_gives_readable_then_writable, 0, 2);
	tcase_add_loop_test(t, chain_of_one_kind_only, 0, 2);
	tcase_add_loop_test(t, ring_wraps, 0, 2);
	tcase_add_loop_test(t, largest_queue, 0, 2);
	tcase_add_loop_test(t, indirect_chain, 0, 2);
	tcase_add_loop_test(t, buffer_across_regions, 0, 2);
	tcase_add_loop_test(t, too_few_iovecs_takes_nothing, 0, 2);
	tcase_add_loop_test(t, undo_gives_chains_back, 0, 2);
	tcase_add_loop_test(t, interrupt_flag, 0, 2);
	tcase_add_loop_test(t, interrupt_event_index, 0, 2);
	tcase_add_loop_test(t, many_pushes_always_pass_the_event, 0, 2);
	tcase_add_loop_test(t, kick_suppression, 0, 4);
	tcase_add_loop_test(t, fresh_queue_wants_kicks, 0, 4);
	tcase_add_loop_test(t, state_goes_on, 0, 2);
	tcase_add_loop_test(t, registers_are_frozen, 0, 2);
	tcase_add_loop_test(t, inactive_queue_is_quiet, 0, 2);
	tcase_add_loop_test(t, removed_memory_ends_the_queue, 0, 2);
	tcase_add_loop_test(t, no_wake_up_is_lost, 0, 4);

	t = unit_case(suite, "hostile");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bad_configuration_is_refused, 0, ARRAY_SIZE(bad_configs));
	tcase_add_test(t, ring_without_event_may_end_with_memory);
	tcase_add_loop_test(t, bad_split_ring_breaks, 0, n_split);
	tcase_add_loop_test(t, bad_packed_ring_breaks, 0, n_packed);
	tcase_add_test(t, packed_table_flags_are_ignored);
	tcase_add_loop_test(t, more_than_4_gib_in_a_chain_breaks, 0, 2);
	tcase_add_loop_test(t, more_in_flight_than_entries_breaks, 0, 2);
	tcase_add_loop_test(t, longest_chain_is_the_queue_size, 0, 2);
	tcase_add_loop_test(t, break_by_the_device, 0, 2);

	t = unit_case(suite, "chains");
	tcase_add_test(t, copies_and_slices);
	return unit_run(suite);
}
