/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a driver, or who uses the block, can do wrong. */
#include "virtqueue-fixture.h"

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
	struct vring_buffer buffers[2 * SIZE + 1];

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

	/* Where longer tables are taken: as long as said, and no longer. */
	for (uint32_t n = 2 * SIZE; n <= 2 * SIZE + 1; n++) {
		struct vmm_virtqueue_config config;

		start(SIZE, _i, VMM_VIRTIO_F_INDIRECT_DESC);
		vmm_virtqueue_deactivate(queue);
		config =
			config_of(VMM_VIRTIO_F_INDIRECT_DESC | (_i ? VMM_VIRTIO_F_RING_PACKED : 0));
		config.max_indirect = 2 * SIZE;
		ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
		vring_add_indirect(&ring, buffers, n, TABLE);
		if (n == 2 * SIZE) {
			ck_assert_int_eq(pop(), 1);
			ck_assert_uint_eq(chain.n_readable, n);
		} else {
			expect_broken("indirect chain longer than is taken");
		}
	}
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

void add_hostile_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, bad_configuration_is_refused, 0, ARRAY_SIZE(bad_configs));
	tcase_add_test(tcase, ring_without_event_may_end_with_memory);
	tcase_add_loop_test(tcase, bad_split_ring_breaks, 0, ARRAY_SIZE(bad_splits));
	tcase_add_loop_test(tcase, bad_packed_ring_breaks, 0, ARRAY_SIZE(bad_packeds));
	tcase_add_test(tcase, packed_table_flags_are_ignored);
	tcase_add_loop_test(tcase, more_than_4_gib_in_a_chain_breaks, 0, 2);
	tcase_add_loop_test(tcase, more_in_flight_than_entries_breaks, 0, 2);
	tcase_add_loop_test(tcase, longest_chain_is_the_queue_size, 0, 2);
	tcase_add_loop_test(tcase, break_by_the_device, 0, 2);
}
