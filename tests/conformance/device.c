/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: status, features, reset, configuration space, initialization: 2.1 to 2.5, 3.1. */
#include "conformance.h"

static void status_starts_at_0(struct conf *c)
{
	CHECK(vdriver_status(&c->d) == 0);
}

static void status_bits_read_back(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	vdriver_set_status(&c->d, ACKNOWLEDGE);
	CHECK(vdriver_status(&c->d) == ACKNOWLEDGE);
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
	CHECK(vdriver_status(&c->d) == (ACKNOWLEDGE | DRIVER));
}

static void failed_reads_back(struct conf *c)
{
	start(c, 0);
	vdriver_set_status(&c->d, ALL_SET | FAILED);
	CHECK(vdriver_status(&c->d) & FAILED);
	recovers(c);
}

static void bits_cannot_be_cleared(struct conf *c)
{
	start(c, 0);
	vdriver_set_status(&c->d, ACKNOWLEDGE);
	CHECK((vdriver_status(&c->d) & ALL_SET) == ALL_SET);
	works(c);
}

static void needs_reset_is_the_devices(struct conf *c)
{
	start(c, 0);
	vdriver_set_status(&c->d, ALL_SET | NEEDS_RESET);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
	works(c);
}

static void nothing_is_used_before_driver_ok(struct conf *c)
{
	struct vring_buffer buffers[8];

	negotiate(c, 0);
	set_up_queues(c, 0, VDRIVER_MAX_QUEUES);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_nothing(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 0);
	driver_ok(c);
	/* What was offered before may be kicked for after it, at the latest. */
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
}

static void break_ring(struct conf *c)
{
	const struct vring_buffer outside = { c->m->ram_bytes + (UINT64_C(1) << 40), 16, false };

	vring_add(work_ring(c), &outside, 1);
	vdriver_kick(&c->d, c->target->work_queue);
	vdriver_wait_status(&c->d, NEEDS_RESET);
	settle(c);
}

static void error_sets_needs_reset(struct conf *c)
{
	start(c, 0);
	break_ring(c);
	CHECK(vdriver_status(&c->d) & NEEDS_RESET);
	CHECK((vdriver_status(&c->d) & ALL_SET) == ALL_SET);
}

static void error_interrupts(struct conf *c)
{
	start(c, 0);
	vdriver_config_interrupts(&c->d);
	break_ring(c);
	CHECK(vdriver_config_interrupts(&c->d) > 0);
}

static void error_interrupts_once(struct conf *c)
{
	start(c, 0);
	break_ring(c);
	vdriver_config_interrupts(&c->d);
	for (int i = 0; i < 10; i++) {
		vdriver_kick(&c->d, c->target->work_queue);
		settle(c);
	}
	CHECK(vdriver_config_interrupts(&c->d) == 0);
}

static void reset_clears_needs_reset(struct conf *c)
{
	start(c, 0);
	break_ring(c);
	CHECK(vdriver_reset(&c->d));
	CHECK(vdriver_status(&c->d) == 0);
	recovers(c);
}

static void no_needs_reset_before_driver_ok(struct conf *c)
{
	negotiate(c, 0);
	vdriver_config_interrupts(&c->d);
	vdriver_isr(&c->d);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
	CHECK(vdriver_config_interrupts(&c->d) == 0);
}

static void features_read_the_same(struct conf *c)
{
	uint64_t first = vdriver_offered(&c->d);

	CHECK(first == vdriver_offered(&c->d));
	start(c, 0);
	CHECK(first == vdriver_offered(&c->d));
	CHECK(vdriver_reset(&c->d));
	CHECK(first == vdriver_offered(&c->d));
}

static void version_1_is_offered(struct conf *c)
{
	CHECK(vdriver_offered(&c->d) & F_VERSION_1);
}

static void reserved_features_are_not_offered(struct conf *c)
{
	/* 41 to 63 are reserved for the future; of 24 to 40 only those that this text names. */
	CHECK((vdriver_offered(&c->d) >> 41) == 0);
}

static void offered_features_are_accepted(struct conf *c)
{
	CHECK(vdriver_negotiate(&c->d, F_VERSION_1));
	CHECK(vdriver_negotiate(&c->d, UINT64_MAX));
}

static void not_offered_features_are_refused(struct conf *c)
{
	uint64_t offered = vdriver_offered(&c->d);

	for (unsigned int bit = 0; bit < 64; bit++) {
		if (offered >> bit & 1)
			continue;
		CHECK(vdriver_reset(&c->d));
		vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
		vdriver_set_features(&c->d, F_VERSION_1 | UINT64_C(1) << bit);
		vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		CHECK(!(vdriver_status(&c->d) & FEATURES_OK));
	}
}

static void version_1_is_required(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
	vdriver_set_features(&c->d, 0);
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	CHECK(!(vdriver_status(&c->d) & FEATURES_OK));
}

static void features_may_be_tried_again(struct conf *c)
{
	version_1_is_required(c);
	vdriver_set_features(&c->d, F_VERSION_1);
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	CHECK(vdriver_status(&c->d) & FEATURES_OK);
}

/* Event index, written after FEATURES_OK, would change how the ring is read. */
static void features_are_final(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	negotiate(c, 0);
	vdriver_set_features(&c->d, c->d.features | F_EVENT_IDX);
	set_up_queues(c, 0, VDRIVER_MAX_QUEUES);
	driver_ok(c);
	vring_set_interrupts(work_ring(c), true);
	/* With event index negotiated, this would suppress the interrupt. */
	work_ring(c)->avail[2 + work_ring(c)->size] = 0x7000;
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	works(c);
	works(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 2);
}

static void driver_ok_needs_features_ok(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER | DRIVER_OK);
	CHECK(!(vdriver_status(&c->d) & FEATURES_OK));
	CHECK(vdriver_status(&c->d) & NEEDS_RESET);
	recovers(c);
}

static void reset_gives_status_0(struct conf *c)
{
	start(c, 0);
	vdriver_set_status(&c->d, 0);
	settle(c);
	CHECK(vdriver_status(&c->d) == 0);
}

static void reset_disables_queues(struct conf *c)
{
	start(c, 0);
	CHECK(vdriver_reset(&c->d));
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_enabled(&c->d) == 0);
	}
}

static void reset_restores_queue_size(struct conf *c)
{
	uint32_t max;

	vdriver_select(&c->d, c->target->work_queue);
	max = vdriver_queue_max(&c->d);
	start_size(c, 0, 4);
	CHECK(vdriver_reset(&c->d));
	vdriver_select(&c->d, c->target->work_queue);
	CHECK(vdriver_queue_max(&c->d) == max);
}

static void reset_ends_ring_access(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint8_t before[512], *used;

	start(c, 0);
	works(c);
	CHECK(vdriver_reset(&c->d));
	used = c->m->ram + work_ring(c)->device_gpa;
	memcpy(before, used, c->packed ? 4 : 512);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	vdriver_kick(&c->d, c->target->work_queue);
	expect_nothing(c);
	CHECK(memcmp(before, used, c->packed ? 4 : 512) == 0);
}

static void reset_ends_interrupts(struct conf *c)
{
	start(c, 0);
	works(c);
	CHECK(vdriver_reset(&c->d));
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	vdriver_kick(&c->d, c->target->work_queue);
	settle(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 0);
	CHECK(vdriver_isr(&c->d) == 0);
}

static void reset_clears_interrupt_status(struct conf *c)
{
	start(c, 0);
	works(c);
	if (c->d.pci) {
		/* Without a vector the status register is all there is. */
		vdriver_select(&c->d, c->target->work_queue);
		vdriver_set_queue_vector(&c->d, VDRIVER_NO_VECTOR);
		works(c);
	}
	CHECK(vdriver_reset(&c->d));
	CHECK(vdriver_isr(&c->d) == 0);
}

static void reset_forgets_features(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start(c, F_EVENT_IDX);
	works(c);
	start(c, 0);
	vring_set_interrupts(work_ring(c), true);
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	works(c);
	works(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 2);
}

static void reset_with_requests_waiting(struct conf *c)
{
	struct vring_buffer buffers[8];

	for (int round = 0; round < 5; round++) {
		start(c, 0);
		for (int i = 0; i < 3; i++)
			vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
		vdriver_kick(&c->d, c->target->work_queue);
		CHECK(vdriver_reset(&c->d));
	}
	recovers(c);
}

static void restart_many_times(struct conf *c)
{
	for (int round = 0; round < 10; round++) {
		start_size(c, 0, round % 2 ? 8 : 0);
		works(c);
	}
}

static uint64_t read_config(struct conf *c, uint32_t offset, unsigned int size)
{
	uint64_t gpa = c->d.device + offset;

	switch (size) {
	case 1:
		return machine_read8(c->m, gpa);
	case 2:
		return machine_read16(c->m, gpa);
	case 4:
		return machine_read32(c->m, gpa);
	default:
		return machine_read64(c->m, gpa);
	}
}

static void config_reads_agree(struct conf *c)
{
	uint32_t n = c->target->config_bytes & ~3u;

	if (n == 0)
		conf_not_applicable(c, "no configuration space");
	for (uint32_t at = 0; at < n; at += 4) {
		uint32_t bytes = 0, halves = 0;

		for (unsigned int i = 0; i < 4; i++)
			bytes |= (uint32_t)read_config(c, at + i, 1) << (8 * i);
		for (unsigned int i = 0; i < 4; i += 2)
			halves |= (uint32_t)read_config(c, at + i, 2) << (8 * i);
		CHECK(bytes == halves);
		CHECK(bytes == read_config(c, at, 4));
	}
}

static void config_before_features_ok(struct conf *c)
{
	uint64_t first;

	if (c->target->config_bytes < 4)
		conf_not_applicable(c, "no configuration space");
	first = read_config(c, 0, 4);
	start(c, 0);
	CHECK(read_config(c, 0, 4) == first);
}

static void config_survives_writes(struct conf *c)
{
	start(c, 0);
	for (uint32_t at = 0; at < 4096 - 0x100; at += 4)
		machine_write32(c->m, c->d.device + at, at);
	for (uint32_t at = 0; at < 64; at++)
		machine_write8(c->m, c->d.device + at, 0xff);
	recovers(c);
}

static void generation_is_constant(struct conf *c)
{
	uint32_t first;

	start(c, 0);
	first = vdriver_generation(&c->d);
	read_config(c, 0, 4);
	works(c);
	CHECK(vdriver_generation(&c->d) == first);
}

static void generation_changes(struct conf *c)
{
	uint32_t first;

	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	start(c, 0);
	first = vdriver_generation(&c->d);
	c->target->change_config();
	settle(c);
	CHECK(vdriver_generation(&c->d) != first);
}

static void change_interrupts(struct conf *c)
{
	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	start(c, 0);
	vdriver_config_interrupts(&c->d);
	c->target->change_config();
	settle(c);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	if (!c->d.pci)
		CHECK(vdriver_isr(&c->d) & 2);
}

static void change_before_driver_ok_is_silent(struct conf *c)
{
	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	negotiate(c, 0);
	vdriver_config_interrupts(&c->d);
	c->target->change_config();
	settle(c);
	CHECK(vdriver_config_interrupts(&c->d) == 0);
	CHECK(vdriver_isr(&c->d) == 0);
}

static const struct conf_case cases[] = {
	{ "2.1.2", "status is 0 at first", status_starts_at_0, ONCE, 0 },
	{ "2.1", "ACKNOWLEDGE and DRIVER read back", status_bits_read_back, ONCE, 0 },
	{ "2.1", "FAILED reads back", failed_reads_back, ONCE, 0 },
	{ "2.1.1", "status bits cannot be cleared one by one", bits_cannot_be_cleared, ONCE, 0 },
	{ "2.1", "DEVICE_NEEDS_RESET cannot be set by the driver", needs_reset_is_the_devices, ONCE,
		0 },
	{ "2.1.2", "no buffer is used before DRIVER_OK", nothing_is_used_before_driver_ok, ANY, 0 },
	{ "2.1.2", "an error sets DEVICE_NEEDS_RESET", error_sets_needs_reset, ANY, 0 },
	{ "2.1.2", "an error after DRIVER_OK interrupts", error_interrupts, ANY, 0 },
	{ "2.1.2", "an error interrupts once", error_interrupts_once, ANY, 0 },
	{ "2.1.2", "a reset clears DEVICE_NEEDS_RESET", reset_clears_needs_reset, ANY, 0 },
	{ "2.1.2", "no notification before DRIVER_OK", no_needs_reset_before_driver_ok, ONCE, 0 },
	{ "2.2", "features read the same at any time", features_read_the_same, ONCE, 0 },
	{ "6.2", "VERSION_1 is offered", version_1_is_offered, ONCE, 0 },
	{ "2.2", "reserved features are not offered", reserved_features_are_not_offered, ONCE, 0 },
	{ "2.2.2", "any valid subset of features is accepted", offered_features_are_accepted, ONCE,
		0 },
	{ "2.2.2", "features that were not offered are refused", not_offered_features_are_refused,
		ONCE, 0 },
	{ "6.2", "a driver without VERSION_1 is refused", version_1_is_required, ONCE, 0 },
	{ "2.2.2", "features may be tried again after a refusal", features_may_be_tried_again, ONCE,
		0 },
	{ "3.1.1", "features are final after FEATURES_OK", features_are_final, SPLIT_RING, 0 },
	{ "3.1.1", "DRIVER_OK without FEATURES_OK starts nothing", driver_ok_needs_features_ok,
		ONCE, 0 },
	{ "2.4.1", "a reset ends in status 0", reset_gives_status_0, ONCE, 0 },
	{ "2.4.1", "a reset disables the queues", reset_disables_queues, ONCE, 0 },
	{ "2.4.1", "a reset restores the queue size", reset_restores_queue_size, ONCE, 0 },
	{ "2.4.1", "no ring is accessed after a reset", reset_ends_ring_access, ANY, 0 },
	{ "2.4.1", "no notification after a reset", reset_ends_interrupts, ANY, 0 },
	{ "2.4.1", "a reset clears the interrupt status", reset_clears_interrupt_status, ONCE, 0 },
	{ "2.4.1", "a reset forgets negotiated features", reset_forgets_features, SPLIT_RING, 0 },
	{ "2.4.1", "reset with requests waiting", reset_with_requests_waiting, ANY, 0 },
	{ "3.1.1", "initialization again and again", restart_many_times, ANY, 0 },
	{ "2.5", "configuration reads agree in all widths", config_reads_agree, ONCE, 0 },
	{ "2.5.2", "configuration is readable before FEATURES_OK", config_before_features_ok, ONCE,
		0 },
	{ "2.5", "configuration writes anywhere do no harm", config_survives_writes, ONCE, 0 },
	{ "2.5.2", "generation stays without a change", generation_is_constant, ONCE, 0 },
	{ "2.5.2", "generation changes with the configuration", generation_changes, ONCE, 0 },
	{ "2.3", "a change of configuration interrupts", change_interrupts, ONCE, 0 },
	{ "2.1.2", "a change before DRIVER_OK does not interrupt",
		change_before_driver_ok_is_silent, ONCE, 0 },
};

const struct conf_group device_group = CONF_GROUP(cases);
