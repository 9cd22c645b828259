/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: setting queues up and resetting them: 2.6, 3.1.1, 4.1.5.1.3, 4.2.3.2. */
#include "conformance.h"

static void every_queue_is_there(struct conf *c)
{
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_max(&c->d) > 0);
		CHECK(vdriver_queue_max(&c->d) <= 32768);
	}
}

static void maximum_is_a_power_of_two(struct conf *c)
{
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		uint32_t max;

		vdriver_select(&c->d, i);
		max = vdriver_queue_max(&c->d);
		CHECK((max & (max - 1)) == 0);
	}
}

static void absent_queue_has_size_0(struct conf *c)
{
	vdriver_select(&c->d, 1000);
	CHECK(vdriver_queue_max(&c->d) == 0);
	vdriver_select(&c->d, 0xffff);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void absent_queue_takes_no_writes(struct conf *c)
{
	start(c, 0);
	vdriver_select(&c->d, 0xffff);
	vdriver_set_queue_size(&c->d, 16);
	vdriver_set_queue_addresses(&c->d, 0, 0, 0);
	vdriver_enable_queue(&c->d, 1);
	CHECK(vdriver_queue_enabled(&c->d) == 0);
	vdriver_reset_queue(&c->d);
	works(c);
}

static void queues_are_disabled_at_first(struct conf *c)
{
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_enabled(&c->d) == 0);
	}
}

static void enable_reads_back(struct conf *c)
{
	negotiate(c, 0);
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		vdriver_select(&c->d, i);
		vdriver_make_ring(&c->d, i, 4);
		vdriver_program_queue(&c->d, i);
		CHECK(vdriver_queue_enabled(&c->d) == 1);
	}
}

static void enable_takes_only_1(struct conf *c)
{
	negotiate(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_enable_queue(&c->d, 2);
	CHECK(vdriver_queue_enabled(&c->d) == 0);
}

static void every_small_size_works(struct conf *c)
{
	/* A chain needs as many entries as request() may have buffers. */
	for (uint16_t size = 4; size <= 64; size *= 2) {
		start_size(c, 0, size);
		for (int i = 0; i < 3 * size; i++)
			works(c);
	}
}

static void largest_size_works(struct conf *c)
{
	start_size(c, 0, 0);
	for (int i = 0; i < 20; i++)
		works(c);
}

static void packed_size_need_not_be_a_power_of_two(struct conf *c)
{
	static const uint16_t sizes[] = { 5, 7, 12 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		start_size(c, 0, sizes[i]);
		for (int n = 0; n < 40; n++)
			works(c);
	}
}

static void enabled_queue_is_frozen(struct conf *c)
{
	negotiate(c, 0);
	set_up_queues(c, 0, VDRIVER_MAX_QUEUES);
	for (int ok = 0; ok < 2; ok++) {
		vdriver_select(&c->d, c->target->work_queue);
		vdriver_set_queue_addresses(&c->d, 0x10, 0x20, 0x30);
		vdriver_set_queue_size(&c->d, 2);
		driver_ok(c);
	}
	for (int i = 0; i < 20; i++)
		works(c);
}

/* CVE-2026-5747: the size register, grown after activation, let the device run off the ring. */
static void size_cannot_grow_while_running(struct conf *c)
{
	uint32_t max;

	vdriver_select(&c->d, c->target->work_queue);
	max = vdriver_queue_max(&c->d);
	start_size(c, 0, 8);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_size(&c->d, max);
	for (int i = 0; i < 40; i++)
		works(c);
}

static void size_above_the_maximum(struct conf *c)
{
	uint32_t max;

	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	vdriver_select(&c->d, c->target->work_queue);
	max = vdriver_queue_max(&c->d);
	vdriver_make_ring(&c->d, c->target->work_queue, (uint16_t)max);
	if (max < 32768) {
		vdriver_set_queue_size(&c->d, max * 2);
		if (c->d.pci)
			CHECK(vdriver_queue_max(&c->d) <= max);
	}
	vdriver_set_queue_size(&c->d, 0xffff);
	if (c->d.pci)
		CHECK(vdriver_queue_max(&c->d) <= max);
	recovers(c);
}

static void bad_queue(struct conf *c, uint64_t desc, uint64_t avail, uint64_t used, uint32_t size)
{
	uint8_t status;

	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	vdriver_make_ring(&c->d, c->target->work_queue, 8);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_size(&c->d, size);
	vdriver_set_queue_addresses(&c->d, desc ? desc : work_ring(c)->desc_gpa,
		avail ? avail : work_ring(c)->driver_gpa, used ? used : work_ring(c)->device_gpa);
	vdriver_enable_queue(&c->d, 1);
	vdriver_set_status(&c->d, ALL_SET);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	status = vdriver_status(&c->d);
	CHECK((status & NEEDS_RESET) || !(status & DRIVER_OK));
	recovers(c);
}

static void descriptors_outside_memory(struct conf *c)
{
	bad_queue(c, c->m->ram_bytes, 0, 0, 8);
	bad_queue(c, c->m->ram_bytes - 64, 0, 0, 8);
	bad_queue(c, UINT64_MAX & ~UINT64_C(15), 0, 0, 8);
}

static void driver_area_outside_memory(struct conf *c)
{
	bad_queue(c, 0, c->m->ram_bytes, 0, 8);
	bad_queue(c, 0, UINT64_MAX & ~UINT64_C(15), 0, 8);
}

static void device_area_outside_memory(struct conf *c)
{
	bad_queue(c, 0, 0, c->m->ram_bytes, 8);
	bad_queue(c, 0, 0, UINT64_MAX & ~UINT64_C(15), 8);
}

static void descriptors_misaligned(struct conf *c)
{
	bad_queue(c, 0x8008, 0, 0, 8);
}

static void driver_area_misaligned(struct conf *c)
{
	bad_queue(c, 0, 0x8001, 0, 8);
}

static void device_area_misaligned(struct conf *c)
{
	bad_queue(c, 0, 0, 0x8002, 8);
}

static void split_size_no_power_of_two(struct conf *c)
{
	bad_queue(c, 0, 0, 0, 6);
}

static void queue_without_use_is_no_error(struct conf *c)
{
	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	/* Not enabled: where it lies does not matter. */
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_addresses(&c->d, UINT64_MAX & ~UINT64_C(15), 0, 0);
	driver_ok(c);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
}

static void queue_cannot_come_after_driver_ok(struct conf *c)
{
	struct vring_buffer buffers[8];

	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	driver_ok(c);
	vdriver_make_ring(&c->d, c->target->work_queue, 8);
	vdriver_program_queue(&c->d, c->target->work_queue);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_nothing(c);
	recovers(c);
}

static void reset_queue(struct conf *c)
{
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_reset_queue(&c->d);
	for (int i = 0; i < 1000 && vdriver_queue_resetting(&c->d); i++)
		c->m->ops->run(c->m);
	CHECK(vdriver_queue_resetting(&c->d) == 0);
}

static void queue_reset_disables(struct conf *c)
{
	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	works(c);
	reset_queue(c);
	CHECK(vdriver_queue_enabled(&c->d) == 0);
	CHECK(vdriver_status(&c->d) == ALL_SET);
}

static void queue_reset_stops_that_queue(struct conf *c)
{
	struct vring_buffer buffers[8];

	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	reset_queue(c);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_nothing(c);
}

static void queue_reset_restores_registers(struct conf *c)
{
	uint32_t max;

	needs(c, F_RING_RESET, "ring reset");
	vdriver_select(&c->d, c->target->work_queue);
	max = vdriver_queue_max(&c->d);
	start_size(c, F_RING_RESET, 8);
	reset_queue(c);
	CHECK(vdriver_queue_max(&c->d) == max);
}

static void queue_comes_back(struct conf *c)
{
	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	for (uint16_t size = 4; size <= 32; size *= 2) {
		reset_queue(c);
		vdriver_make_ring(&c->d, c->target->work_queue, size);
		vdriver_program_queue(&c->d, c->target->work_queue);
		CHECK(vdriver_queue_enabled(&c->d) == 1);
		for (int i = 0; i < 2 * size; i++)
			works(c);
	}
}

static void queue_reset_takes_only_1(struct conf *c)
{
	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	vdriver_select(&c->d, c->target->work_queue);
	if (c->d.pci)
		machine_write16(c->m, c->d.common + 0x3a, 2);
	else
		machine_write32(c->m, c->d.common + 0xc0, 2);
	CHECK(vdriver_queue_enabled(&c->d) == 1);
	works(c);
}

static void queue_reset_needs_the_feature(struct conf *c)
{
	start(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_reset_queue(&c->d);
	CHECK(vdriver_queue_enabled(&c->d) == 1);
	works(c);
}

static void queue_reset_with_requests_waiting(struct conf *c)
{
	struct vring_buffer buffers[8];

	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	for (int i = 0; i < 3; i++)
		vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	reset_queue(c);
	expect_nothing(c);
	vdriver_make_ring(&c->d, c->target->work_queue, 8);
	vdriver_program_queue(&c->d, c->target->work_queue);
	works(c);
}

static void queue_reset_of_a_bad_ring(struct conf *c)
{
	const struct vring_buffer outside = { UINT64_C(1) << 45, 16, false };

	needs(c, F_RING_RESET, "ring reset");
	start(c, F_RING_RESET);
	vring_add(work_ring(c), &outside, 1);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	reset_queue(c);
	recovers(c);
}

static const struct conf_case cases[] = {
	{ "2.6", "each queue of the device has a size", every_queue_is_there, ONCE, 0 },
	{ "2.7", "the maximum size is a power of two", maximum_is_a_power_of_two, ONCE, 0 },
	{ "4.1.4.3.1", "a queue that is not there has size 0", absent_queue_has_size_0, ONCE, 0 },
	{ "2.6", "a queue that is not there takes no writes", absent_queue_takes_no_writes, ONCE,
		0 },
	{ "3.1.1", "queues are disabled at first", queues_are_disabled_at_first, ONCE, 0 },
	{ "3.1.1", "an enabled queue reads as enabled", enable_reads_back, ONCE, 0 },
	{ "4.1.4.3.2", "a queue is enabled by 1 only", enable_takes_only_1, ONCE, 0 },
	{ "2.6", "sizes from 4 to 64 work", every_small_size_works, ANY, 0 },
	{ "2.6", "the largest size works", largest_size_works, ANY, 0 },
	{ "2.8.10.1", "a packed ring's size need not be a power of two",
		packed_size_need_not_be_a_power_of_two, PACKED_RING, 0 },
	{ "4.1.5.1.3", "registers of an enabled queue are frozen", enabled_queue_is_frozen, ANY,
		0 },
	{ "2.6", "the size cannot grow while running", size_cannot_grow_while_running, ANY, 0 },
	{ "4.2.2.2", "a size above the maximum is not taken", size_above_the_maximum, ONCE, 0 },
	{ "2.7.5", "descriptors outside memory are refused", descriptors_outside_memory, ANY, 0 },
	{ "2.7.6", "a driver area outside memory is refused", driver_area_outside_memory, ANY, 0 },
	{ "2.7.8", "a device area outside memory is refused", device_area_outside_memory, ANY, 0 },
	{ "2.7", "misaligned descriptors are refused", descriptors_misaligned, ANY, 0 },
	{ "2.7", "a misaligned driver area is refused", driver_area_misaligned, ANY, 0 },
	{ "2.7", "a misaligned device area is refused", device_area_misaligned, ANY, 0 },
	{ "2.7", "a split ring's size that is no power of two", split_size_no_power_of_two,
		SPLIT_RING, 0 },
	{ "3.1.1", "a queue that was not set up is no error", queue_without_use_is_no_error, ONCE,
		0 },
	{ "3.1.1", "a queue cannot be set up after DRIVER_OK", queue_cannot_come_after_driver_ok,
		ONCE, 0 },
	{ "2.6.1.1.1", "queue reset disables the queue", queue_reset_disables, ANY, 0 },
	{ "2.6.1.1.1", "a reset queue is not executed", queue_reset_stops_that_queue, ANY, 0 },
	{ "2.6.1.1.1", "queue reset restores the size", queue_reset_restores_registers, ONCE, 0 },
	{ "2.6.1.2.1", "a reset queue comes back, with any size", queue_comes_back, ANY, 0 },
	{ "2.6.1.1", "queue reset is asked for by 1 only", queue_reset_takes_only_1, ONCE, 0 },
	{ "2.6.1", "queue reset needs its feature", queue_reset_needs_the_feature, ONCE, 0 },
	{ "2.6.1.1.1", "queue reset with requests waiting", queue_reset_with_requests_waiting, ANY,
		0 },
	{ "2.6.1.1", "queue reset of a broken ring", queue_reset_of_a_bad_ring, ANY, 0 },
};

const struct conf_group queue_group = CONF_GROUP(cases);
