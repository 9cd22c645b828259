/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-mmio, 4.2. */
#include "conformance.h"

static uint32_t reg(struct conf *c, uint64_t offset)
{
	return machine_read32(c->m, c->d.common + offset);
}

static void set_reg(struct conf *c, uint64_t offset, uint32_t value)
{
	machine_write32(c->m, c->d.common + offset, value);
}

static void magic(struct conf *c)
{
	CHECK(reg(c, 0x00) == 0x74726976);
}

static void version(struct conf *c)
{
	CHECK(reg(c, 0x04) == 2);
}

static void device_id(struct conf *c)
{
	CHECK(reg(c, 0x08) == c->target->type);
}

static void identity_is_read_only(struct conf *c)
{
	uint32_t vendor = reg(c, 0x0c);

	for (uint64_t at = 0; at < 0x10; at += 4)
		set_reg(c, at, 0xdeadbeef);
	CHECK(reg(c, 0) == 0x74726976 && reg(c, 4) == 2 && reg(c, 8) == c->target->type);
	CHECK(reg(c, 0x0c) == vendor);
}

static void feature_words(struct conf *c)
{
	set_reg(c, 0x14, 1);
	CHECK(reg(c, 0x10) & 1);
	set_reg(c, 0x14, 2);
	CHECK(reg(c, 0x10) == 0);
	set_reg(c, 0x14, UINT32_MAX);
	CHECK(reg(c, 0x10) == 0);
}

static void driver_feature_words_beyond_1(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER);
	vdriver_set_features(&c->d, F_VERSION_1);
	for (uint32_t i = 2; i < 4; i++) {
		set_reg(c, 0x24, i);
		set_reg(c, 0x20, i == 2 ? UINT32_MAX : 0);
	}
	vdriver_set_status(&c->d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	CHECK(vdriver_status(&c->d) & FEATURES_OK);
}

static void ready_is_0_for_an_absent_queue(struct conf *c)
{
	set_reg(c, 0x30, 999);
	CHECK(reg(c, 0x34) == 0 && reg(c, 0x44) == 0);
}

static void ready_can_be_taken_back(struct conf *c)
{
	negotiate(c, 0);
	set_up_queues(c, 8, VDRIVER_MAX_QUEUES);
	vdriver_select(&c->d, 0);
	vdriver_enable_queue(&c->d, 0);
	CHECK(vdriver_queue_enabled(&c->d) == 0);
	vdriver_program_queue(&c->d, 0);
	driver_ok(c);
	works(c);
}

static void interrupt_status_bit_0(struct conf *c)
{
	start(c, 0);
	works(c);
	CHECK(reg(c, 0x60) == 1);
}

static void interrupt_status_bit_1(struct conf *c)
{
	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	start(c, 0);
	c->target->change_config();
	settle(c);
	CHECK(reg(c, 0x60) & 2);
}

static void acknowledge_clears(struct conf *c)
{
	start(c, 0);
	works(c);
	set_reg(c, 0x64, 1);
	CHECK(reg(c, 0x60) == 0);
}

static void acknowledge_clears_what_it_says(struct conf *c)
{
	start(c, 0);
	works(c);
	set_reg(c, 0x64, 2);
	CHECK(reg(c, 0x60) == 1);
}

static void status_is_not_consumed_by_reading(struct conf *c)
{
	start(c, 0);
	works(c);
	reg(c, 0x60);
	CHECK(reg(c, 0x60) == 1);
}

static void each_used_buffer_is_an_edge(struct conf *c)
{
	start(c, 0);
	vdriver_queue_interrupts(&c->d, 0);
	for (int i = 0; i < 5; i++) {
		works(c);
		CHECK(vdriver_queue_interrupts(&c->d, 0) == 1);
	}
}

static void config_starts_at_0x100(struct conf *c)
{
	CHECK(c->d.device == c->d.common + 0x100);
	if (c->target->config_bytes >= 4)
		CHECK(reg(c, 0x100) != UINT32_MAX ||
			machine_read8(c->m, c->d.common + 0x100) == 0xff);
	CHECK(machine_read16(c->m, c->d.common + 0xff0) == 0xffff ||
		machine_read16(c->m, c->d.common + 0xff0) == 0);
}

static void no_shared_memory(struct conf *c)
{
	set_reg(c, 0xac, 0);
	CHECK(reg(c, 0xb0) == UINT32_MAX && reg(c, 0xb4) == UINT32_MAX);
}

static void narrow_accesses_change_nothing(struct conf *c)
{
	start(c, 0);
	machine_write8(c->m, c->d.common + 0x70, 0);
	machine_write16(c->m, c->d.common + 0x70, 0);
	machine_write64(c->m, c->d.common + 0x70, 0);
	machine_write32(c->m, c->d.common + 0x72, 0);
	machine_write8(c->m, c->d.common + 0x73, 0);
	CHECK(vdriver_status(&c->d) == ALL_SET);
	works(c);
}

static void reserved_registers(struct conf *c)
{
	static const uint64_t offsets[] = { 0x18, 0x1c, 0x28, 0x2c, 0x3c, 0x40, 0x48, 0x4c, 0x54,
		0x58, 0x5c, 0x68, 0x6c, 0x74, 0xc4, 0xd0, 0xf8 };

	start(c, 0);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		set_reg(c, offsets[i], UINT32_MAX);
		CHECK(reg(c, offsets[i]) == 0);
	}
	works(c);
}

static void write_only_registers_read_harmlessly(struct conf *c)
{
	start(c, 0);
	for (uint64_t at = 0; at < 0x100; at += 4)
		if (at != 0x60)
			reg(c, at);
	works(c);
	CHECK(vdriver_status(&c->d) == ALL_SET);
}

static void reset_lasts_until_it_is_over(struct conf *c)
{
	struct vring_buffer buffers[8];

	for (int i = 0; i < 20; i++) {
		start(c, 0);
		vdriver_send(&c->d, c->target->work_queue, buffers, prepare(c, buffers, 0));
		set_reg(c, 0x70, 0);
		CHECK(reg(c, 0x70) == 0);
	}
}

static void address_high_halves_count(struct conf *c)
{
	negotiate(c, 0);
	set_up_queues(c, 8, c->target->work_queue);
	vdriver_make_ring(&c->d, c->target->work_queue, 8);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_size(&c->d, 8);
	vdriver_set_queue_addresses(&c->d, work_ring(c)->desc_gpa | UINT64_C(1) << 40,
		work_ring(c)->driver_gpa, work_ring(c)->device_gpa);
	vdriver_enable_queue(&c->d, 1);
	vdriver_set_status(&c->d, ALL_SET);
	CHECK(vdriver_status(&c->d) & NEEDS_RESET);
}

static const struct conf_case cases[] = {
	{ "4.2.2.1", "MagicValue", magic, MMIO, 0 },
	{ "4.2.2.1", "Version is 2", version, MMIO, 0 },
	{ "4.2.2", "DeviceID is the device's type", device_id, MMIO, 0 },
	{ "4.2.2", "identity is read-only", identity_is_read_only, MMIO, 0 },
	{ "4.2.2", "DeviceFeaturesSel beyond 1 reads no features", feature_words, MMIO, 0 },
	{ "4.2.2", "DriverFeaturesSel beyond 1 changes nothing", driver_feature_words_beyond_1,
		MMIO, 0 },
	{ "4.2.2.1", "QueueReady and QueueSizeMax of no queue are 0",
		ready_is_0_for_an_absent_queue, MMIO, 0 },
	{ "4.2.2.2", "QueueReady can be taken back before DRIVER_OK", ready_can_be_taken_back, MMIO,
		0 },
	{ "4.2.2", "InterruptStatus bit 0: used buffer", interrupt_status_bit_0, MMIO, 0 },
	{ "4.2.2", "InterruptStatus bit 1: configuration change", interrupt_status_bit_1, MMIO, 0 },
	{ "4.2.2", "InterruptACK clears", acknowledge_clears, MMIO, 0 },
	{ "4.2.2", "InterruptACK clears only what it says", acknowledge_clears_what_it_says, MMIO,
		0 },
	{ "4.2.2", "reading InterruptStatus does not clear it", status_is_not_consumed_by_reading,
		MMIO, 0 },
	{ "4.2.3.4", "each used buffer is an interrupt", each_used_buffer_is_an_edge, MMIO, 0 },
	{ "4.2.2", "configuration starts at 0x100", config_starts_at_0x100, MMIO, 0 },
	{ "4.2.2", "no shared memory region: length of all ones", no_shared_memory, MMIO, 0 },
	{ "4.2.2.2", "accesses of other widths change nothing", narrow_accesses_change_nothing,
		MMIO, 0 },
	{ "4.2.2", "reserved registers", reserved_registers, MMIO, 0 },
	{ "4.2.2", "reading any register does no harm", write_only_registers_read_harmlessly, MMIO,
		0 },
	{ "4.2.2.1", "a write of 0 to Status has reset the device", reset_lasts_until_it_is_over,
		MMIO, 0 },
	{ "4.2.3.2", "high halves of addresses count", address_high_halves_count, MMIO, 0 },
};

const struct conf_group mmio_group = CONF_GROUP(cases);
