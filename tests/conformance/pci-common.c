/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-pci: the common configuration structure, 4.1.4.3. */
#include "conformance.h"

#define COMMON8(c, at) machine_read8((c)->m, (c)->d.common + (at))
#define COMMON16(c, at) machine_read16((c)->m, (c)->d.common + (at))
#define COMMON32(c, at) machine_read32((c)->m, (c)->d.common + (at))

static void set16(struct conf *c, uint64_t at, uint16_t value)
{
	machine_write16(c->m, c->d.common + at, value);
}

static void set32(struct conf *c, uint64_t at, uint32_t value)
{
	machine_write32(c->m, c->d.common + at, value);
}

static void selects_read_back(struct conf *c)
{
	set32(c, 0x00, 1);
	CHECK(COMMON32(c, 0x00) == 1);
	set32(c, 0x08, 1);
	CHECK(COMMON32(c, 0x08) == 1);
	set16(c, 0x16, 3);
	CHECK(COMMON16(c, 0x16) == 3);
}

static void feature_words(struct conf *c)
{
	set32(c, 0x00, 1);
	CHECK(COMMON32(c, 0x04) & 1);
	for (uint32_t word = 2; word < 8; word++) {
		set32(c, 0x00, word);
		CHECK(COMMON32(c, 0x04) == 0);
	}
}

static void offered_features_are_read_only(struct conf *c)
{
	uint64_t offered = vdriver_offered(&c->d);

	set32(c, 0x00, 1);
	set32(c, 0x04, 0);
	CHECK(vdriver_offered(&c->d) == offered);
}

static void driver_features_read_back(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
	vdriver_set_features(&c->d, F_VERSION_1);
	set32(c, 0x08, 1);
	CHECK(COMMON32(c, 0x0c) == 1);
	set32(c, 0x08, 0);
	CHECK(COMMON32(c, 0x0c) == 0);
}

static void number_of_queues(struct conf *c)
{
	uint16_t n = COMMON16(c, 0x12);

	CHECK(n >= c->target->n_queues);
	vdriver_select(&c->d, n - 1);
	CHECK(vdriver_queue_max(&c->d) > 0);
	vdriver_select(&c->d, n);
	CHECK(vdriver_queue_max(&c->d) == 0);
	set16(c, 0x12, 99);
	CHECK(COMMON16(c, 0x12) == n);
}

static void queue_size_reads_back(struct conf *c)
{
	negotiate(c, 0);
	vdriver_select(&c->d, 0);
	set16(c, 0x18, 8);
	CHECK(COMMON16(c, 0x18) == 8);
}

static void addresses_read_back(struct conf *c)
{
	negotiate(c, 0);
	vdriver_select(&c->d, 0);
	vdriver_set_queue_addresses(&c->d, UINT64_C(0x1122334455667780),
		UINT64_C(0x2233445566778890), UINT64_C(0x33445566778899a0));
	CHECK(COMMON32(c, 0x20) == 0x55667780 && COMMON32(c, 0x24) == 0x11223344);
	CHECK(COMMON32(c, 0x28) == 0x66778890 && COMMON32(c, 0x2c) == 0x22334455);
	CHECK(COMMON32(c, 0x30) == 0x778899a0 && COMMON32(c, 0x34) == 0x33445566);
}

static void queues_have_registers_of_their_own(struct conf *c)
{
	if (c->target->n_queues < 2)
		conf_not_applicable(c, "one queue only");
	negotiate(c, 0);
	for (uint16_t q = 0; q < 2; q++) {
		vdriver_select(&c->d, q);
		set32(c, 0x20, 0x1000u * (q + 1));
		set16(c, 0x18, (uint16_t)(4 << q));
	}
	for (uint16_t q = 0; q < 2; q++) {
		vdriver_select(&c->d, q);
		CHECK(COMMON32(c, 0x20) == 0x1000u * (q + 1));
		CHECK(COMMON16(c, 0x18) == 4 << q);
	}
}

static void notify_offsets_are_read_only(struct conf *c)
{
	for (uint16_t q = 0; q < c->target->n_queues; q++) {
		uint16_t off;

		vdriver_select(&c->d, q);
		off = COMMON16(c, 0x1e);
		set16(c, 0x1e, (uint16_t)~off);
		CHECK(COMMON16(c, 0x1e) == off);
	}
}

static void each_queue_can_be_kicked(struct conf *c)
{
	for (uint16_t a = 0; a < c->target->n_queues; a++)
		for (uint16_t b = 0; b < a; b++) {
			uint16_t off;

			vdriver_select(&c->d, a);
			off = COMMON16(c, 0x1e);
			vdriver_select(&c->d, b);
			CHECK(COMMON16(c, 0x1e) != off || c->d.notify_multiplier == 0);
		}
}

static void enable_cannot_be_taken_back(struct conf *c)
{
	start(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	set16(c, 0x1c, 0);
	CHECK(COMMON16(c, 0x1c) == 1);
	works(c);
}

static void generation_is_read_only(struct conf *c)
{
	uint8_t generation = COMMON8(c, 0x15);

	machine_write8(c->m, c->d.common + 0x15, (uint8_t)~generation);
	CHECK(COMMON8(c, 0x15) == generation);
}

static void addresses_as_double_words(struct conf *c)
{
	negotiate(c, 0);
	vdriver_select(&c->d, 0);
	machine_write64(c->m, c->d.common + 0x20, UINT64_C(0x123456789abcdef0));
	CHECK(COMMON32(c, 0x20) == 0x9abcdef0 && COMMON32(c, 0x24) == 0x12345678);
}

static void narrow_accesses_change_nothing(struct conf *c)
{
	start(c, 0);
	machine_write16(c->m, c->d.common + 0x14, 0);
	machine_write32(c->m, c->d.common + 0x14, 0);
	machine_write64(c->m, c->d.common + 0x10, 0);
	CHECK(vdriver_status(&c->d) == ALL_SET);
	works(c);
}

static void bytes_behind_the_structure(struct conf *c)
{
	start(c, 0);
	for (uint64_t at = 0x3c; at < 0x100; at += 4) {
		set32(c, at, UINT32_MAX);
		COMMON32(c, at);
	}
	works(c);
}

static void high_halves_count(struct conf *c)
{
	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	vdriver_make_ring(&c->d, c->target->work_queue, 8);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_size(&c->d, 8);
	vdriver_set_queue_addresses(&c->d, work_ring(c)->desc_gpa,
		work_ring(c)->driver_gpa | UINT64_C(1) << 40, work_ring(c)->device_gpa);
	vdriver_enable_queue(&c->d, 1);
	vdriver_set_status(&c->d, ALL_SET);
	CHECK(vdriver_status(&c->d) & NEEDS_RESET);
}

static void queue_reset_reads_0(struct conf *c)
{
	start(c, 0);
	vdriver_select(&c->d, 0);
	CHECK(COMMON16(c, 0x3a) == 0);
}

static const struct conf_case cases[] = {
	{ "4.1.4.3", "selects read back", selects_read_back, PCI, 0 },
	{ "4.1.4.3.1", "device_feature_select beyond 1 reads no features", feature_words, PCI, 0 },
	{ "4.1.4.3", "device_feature is read-only", offered_features_are_read_only, PCI, 0 },
	{ "4.1.4.3.1", "driver_feature reads back", driver_features_read_back, PCI, 0 },
	{ "4.1.4.3", "num_queues", number_of_queues, PCI, 0 },
	{ "4.1.4.3", "queue_size reads back", queue_size_reads_back, PCI, 0 },
	{ "4.1.4.3", "queue addresses read back", addresses_read_back, PCI, 0 },
	{ "4.1.4.3", "each queue has registers of its own", queues_have_registers_of_their_own, PCI,
		0 },
	{ "4.1.4.3", "queue_notify_off is read-only", notify_offsets_are_read_only, PCI, 0 },
	{ "4.1.4.4", "each queue is kicked at a place of its own", each_queue_can_be_kicked, PCI,
		0 },
	{ "4.1.4.3.2", "queue_enable cannot be taken back", enable_cannot_be_taken_back, PCI, 0 },
	{ "4.1.4.3", "config_generation is read-only", generation_is_read_only, PCI, 0 },
	{ "4.1.3.2", "64-bit fields in one access or two", addresses_as_double_words, PCI, 0 },
	{ "4.1.3.1", "accesses of other widths change nothing", narrow_accesses_change_nothing, PCI,
		0 },
	{ "4.1.4.3", "bytes behind the structure", bytes_behind_the_structure, PCI, 0 },
	{ "4.1.4.3", "high halves of addresses count", high_halves_count, PCI, 0 },
	{ "4.1.4.3.1", "queue_reset reads 0 while none is under way", queue_reset_reads_0, PCI, 0 },
};

const struct conf_group pci_common_group = CONF_GROUP(cases);
