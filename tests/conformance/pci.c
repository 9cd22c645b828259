/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-pci: discovery, capabilities, MSI-X, notifications: 4.1. */
#include "conformance.h"

static uint32_t conf32(struct conf *c, unsigned int offset)
{
	return machine_read32(c->m, c->d.config + offset);
}

static uint16_t conf16(struct conf *c, unsigned int offset)
{
	return machine_read16(c->m, c->d.config + offset);
}

static uint8_t conf8(struct conf *c, unsigned int offset)
{
	return machine_read8(c->m, c->d.config + offset);
}

static void vendor_id(struct conf *c)
{
	CHECK(conf16(c, 0) == 0x1af4);
}

static void device_id(struct conf *c)
{
	CHECK(conf16(c, 2) == 0x1040 + c->target->type);
}

static void revision(struct conf *c)
{
	CHECK(conf8(c, 8) >= 1);
}

static void subsystem(struct conf *c)
{
	CHECK(conf16(c, 0x2e) >= 0x40);
}

static void capability_list(struct conf *c)
{
	unsigned int n = 0;

	CHECK(conf16(c, 6) & 0x10);
	for (unsigned int at = conf8(c, 0x34); at; at = conf8(c, at + 1)) {
		CHECK(at >= 0x40 && at % 4 == 0);
		CHECK(n++ < 48);
	}
}

/* Calls check for each virtio capability; returns how many there are. */
static unsigned int each(
	struct conf *c, unsigned int type, void (*check)(struct conf *c, unsigned int at))
{
	unsigned int n = 0, guard = 0;

	for (unsigned int at = conf8(c, 0x34); at && guard++ < 48; at = conf8(c, at + 1)) {
		if (conf8(c, at) != 9 || (type && conf8(c, at + 3) != type))
			continue;
		if (check)
			check(c, at);
		n++;
	}
	return n;
}

static void every_structure_is_there(struct conf *c)
{
	for (unsigned int type = 1; type <= 3; type++)
		CHECK(each(c, type, NULL) >= 1);
	if (c->target->config_bytes > 0)
		CHECK(each(c, 4, NULL) >= 1);
}

static void check_bar(struct conf *c, unsigned int at)
{
	CHECK(conf8(c, at + 4) <= 5);
}

static void bars_are_valid(struct conf *c)
{
	each(c, 0, check_bar);
}

static void check_length(struct conf *c, unsigned int at)
{
	unsigned int type = conf8(c, at + 3);

	CHECK(conf8(c, at + 2) >= (type == 2 || type == 5 ? 20 : 16));
}

static void cap_len_covers_the_structure(struct conf *c)
{
	each(c, 0, check_length);
}

static void check_alignment(struct conf *c, unsigned int at)
{
	static const uint32_t alignments[] = { 1, 4, 2, 1, 4, 1 };
	unsigned int type = conf8(c, at + 3);

	if (type >= 1 && type <= 4)
		CHECK(conf32(c, at + 8) % alignments[type] == 0);
}

static void offsets_are_aligned(struct conf *c)
{
	each(c, 0, check_alignment);
}

static uint64_t bar_bytes(struct conf *c, unsigned int bar)
{
	unsigned int offset = 0x10 + 4 * bar;
	uint32_t old = conf32(c, offset), mask;
	uint16_t command = conf16(c, 4);

	machine_write16(c->m, c->d.config + 4, 0);
	machine_write32(c->m, c->d.config + offset, UINT32_MAX);
	mask = conf32(c, offset) & ~15u;
	machine_write32(c->m, c->d.config + offset, old);
	machine_write16(c->m, c->d.config + 4, command);
	return mask ? (uint32_t)(~mask + 1) : 0;
}

static void check_inside(struct conf *c, unsigned int at)
{
	if (conf8(c, at + 3) >= 1 && conf8(c, at + 3) <= 4)
		CHECK((uint64_t)conf32(c, at + 8) + conf32(c, at + 12) <=
			bar_bytes(c, conf8(c, at + 4)));
}

static void structures_lie_in_their_bars(struct conf *c)
{
	each(c, 0, check_inside);
}

static void check_common(struct conf *c, unsigned int at)
{
	CHECK(conf32(c, at + 12) >= 0x38);
}

static void common_length(struct conf *c)
{
	each(c, 1, check_common);
}

static void check_isr(struct conf *c, unsigned int at)
{
	CHECK(conf32(c, at + 12) >= 1);
}

static void isr_length(struct conf *c)
{
	each(c, 3, check_isr);
}

static void check_device(struct conf *c, unsigned int at)
{
	CHECK(conf32(c, at + 12) >= c->target->config_bytes);
}

static void device_length(struct conf *c)
{
	each(c, 4, check_device);
}

static void check_notify(struct conf *c, unsigned int at)
{
	uint32_t multiplier = conf32(c, at + 16), length = conf32(c, at + 12);

	CHECK((multiplier & (multiplier - 1)) == 0 && multiplier != 1);
	for (uint16_t q = 0; q < c->target->n_queues; q++) {
		uint32_t off;

		vdriver_select(&c->d, q);
		off = machine_read16(c->m, c->d.common + 0x1e);
		CHECK((uint64_t)off * multiplier + 2 <= length);
	}
}

static void notifications_fit(struct conf *c)
{
	each(c, 2, check_notify);
}

static void capabilities_are_read_only(struct conf *c)
{
	for (unsigned int at = conf8(c, 0x34); at; at = conf8(c, at + 1)) {
		uint32_t first = conf32(c, at), third = conf32(c, at + 8);

		if (conf8(c, at) != 9 || conf8(c, at + 3) == 5)
			continue;
		machine_write32(c->m, c->d.config + at, ~first);
		machine_write32(c->m, c->d.config + at + 8, ~third);
		CHECK(conf32(c, at) == first && conf32(c, at + 8) == third);
	}
}

static void identity_is_read_only(struct conf *c)
{
	uint32_t id = conf32(c, 0), class_code = conf32(c, 8);

	machine_write32(c->m, c->d.config, 0);
	machine_write32(c->m, c->d.config + 8, 0);
	CHECK(conf32(c, 0) == id && conf32(c, 8) == class_code);
}

static void bars_can_be_sized(struct conf *c)
{
	uint64_t bytes = bar_bytes(c, 0);

	CHECK(bytes >= 4096 && (bytes & (bytes - 1)) == 0);
	start(c, 0);
	works(c);
}

static void memory_decode_can_be_switched_off(struct conf *c)
{
	start(c, 0);
	machine_write16(c->m, c->d.config + 4, 0);
	CHECK(machine_read32(c->m, c->d.common) == UINT32_MAX);
	machine_write16(c->m, c->d.config + 4, 6);
	works(c);
}

static void bar_can_be_moved(struct conf *c)
{
	uint32_t old = conf32(c, 0x10), moved = old ^ 0x00800000;
	struct vring_buffer buffers[8];
	uint64_t notify;

	start(c, 0);
	machine_write16(c->m, c->d.config + 4, 0);
	machine_write32(c->m, c->d.config + 0x10, moved);
	machine_write16(c->m, c->d.config + 4, 6);
	CHECK(machine_read32(c->m, c->d.common) == UINT32_MAX);
	/* All structures are in BAR 0 here, or this says nothing. */
	if (c->d.common < (old & ~15u) || c->d.notify < (old & ~15u))
		conf_not_applicable(c, "structures elsewhere");
	notify = c->d.notify;
	c->d.common += (uint64_t)moved - old;
	c->d.notify += (uint64_t)moved - old;
	c->d.isr += (uint64_t)moved - old;
	c->d.device += (uint64_t)moved - old;
	CHECK(vdriver_status(&c->d) == ALL_SET);
	/* A kick at the old address is for nobody. */
	settle(c);
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	for (unsigned int i = 0; i < c->target->n_queues; i++)
		machine_write16(c->m, notify + i * c->d.notify_multiplier, c->target->work_queue);
	expect_nothing(c);
	vdriver_kick(&c->d, c->target->work_queue);
	expect_done(c);
}

static void msix_is_there(struct conf *c)
{
	CHECK(c->d.msix_cap != 0);
	CHECK(c->d.n_vectors >= 2 && c->d.n_vectors <= 2048);
}

static void vectors_start_unassigned(struct conf *c)
{
	CHECK(machine_read16(c->m, c->d.common + 0x10) == VDRIVER_NO_VECTOR);
	for (uint16_t q = 0; q < c->target->n_queues; q++) {
		vdriver_select(&c->d, q);
		CHECK(machine_read16(c->m, c->d.common + 0x1a) == VDRIVER_NO_VECTOR);
	}
}

static void vectors_read_back(struct conf *c)
{
	for (uint16_t v = 0; v < c->d.n_vectors; v++) {
		CHECK(vdriver_set_config_vector(&c->d, v) == v);
		vdriver_select(&c->d, 0);
		CHECK(vdriver_set_queue_vector(&c->d, v) == v);
	}
	CHECK(vdriver_set_config_vector(&c->d, VDRIVER_NO_VECTOR) == VDRIVER_NO_VECTOR);
	CHECK(vdriver_set_queue_vector(&c->d, VDRIVER_NO_VECTOR) == VDRIVER_NO_VECTOR);
}

static void absent_vector_reads_no_vector(struct conf *c)
{
	uint16_t absent = (uint16_t)c->d.n_vectors;

	CHECK(vdriver_set_config_vector(&c->d, absent) == VDRIVER_NO_VECTOR);
	vdriver_select(&c->d, 0);
	CHECK(vdriver_set_queue_vector(&c->d, absent) == VDRIVER_NO_VECTOR);
	CHECK(vdriver_set_queue_vector(&c->d, 0xfffe) == VDRIVER_NO_VECTOR);
}

static void reset_unassigns_vectors(struct conf *c)
{
	start(c, 0);
	CHECK(vdriver_reset(&c->d));
	vectors_start_unassigned(c);
}

static void any_vector_for_any_event(struct conf *c)
{
	start(c, 0);
	for (uint16_t v = 0; v < c->d.n_vectors; v++) {
		vdriver_msix_entry(&c->d, v, 100u + v, false);
		vdriver_select(&c->d, c->target->work_queue);
		CHECK(vdriver_set_queue_vector(&c->d, v) == v);
		works(c);
		CHECK(c->m->ops->interrupts(c->m, 100u + v) == 1);
	}
}

static void queues_may_share_a_vector(struct conf *c)
{
	start(c, 0);
	for (uint16_t q = 0; q < c->target->n_queues; q++) {
		vdriver_select(&c->d, q);
		CHECK(vdriver_set_queue_vector(&c->d, 0) == 0);
	}
	vdriver_config_interrupts(&c->d);
	works(c);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
}

static void no_vector_is_silent(struct conf *c)
{
	start(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_vector(&c->d, VDRIVER_NO_VECTOR);
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	works(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 0);
}

static void no_config_vector_is_silent(struct conf *c)
{
	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	start(c, 0);
	vdriver_set_config_vector(&c->d, VDRIVER_NO_VECTOR);
	vdriver_config_interrupts(&c->d);
	c->target->change_config();
	settle(c);
	CHECK(vdriver_config_interrupts(&c->d) == 0);
}

static unsigned int work_vector(struct conf *c)
{
	unsigned int vector = 1u + c->target->work_queue;

	return vector < c->d.n_vectors ? vector : 0;
}

static void masked_vector_is_pending(struct conf *c)
{
	unsigned int v = work_vector(c);
	uint64_t pba;

	start(c, 0);
	pba = c->d.msix_pba + v / 64 * 8;
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	machine_write32(c->m, c->d.msix_table + 16 * v + 12, 1);
	CHECK(!(machine_read64(c->m, pba) >> v % 64 & 1));
	works(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 0);
	CHECK(machine_read64(c->m, pba) >> v % 64 & 1);
	machine_write32(c->m, c->d.msix_table + 16 * v + 12, 0);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 1);
	CHECK(!(machine_read64(c->m, pba) >> v % 64 & 1));
}

static void function_mask(struct conf *c)
{
	start(c, 0);
	vdriver_queue_interrupts(&c->d, c->target->work_queue);
	machine_write16(c->m, c->d.config + c->d.msix_cap + 2, 0xc000);
	works(c);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 0);
	machine_write16(c->m, c->d.config + c->d.msix_cap + 2, 0x8000);
	CHECK(vdriver_queue_interrupts(&c->d, c->target->work_queue) == 1);
}

static void message_can_change(struct conf *c)
{
	start(c, 0);
	machine_write32(c->m, c->d.msix_table + 16 * work_vector(c) + 8, 150);
	works(c);
	CHECK(c->m->ops->interrupts(c->m, 150) == 1);
}

static void table_reads_back(struct conf *c)
{
	for (unsigned int v = 0; v < c->d.n_vectors; v++) {
		uint64_t entry = c->d.msix_table + 16 * v;

		CHECK(machine_read32(c->m, entry + 12) == 1);
		vdriver_msix_entry(&c->d, v, 0x4000 + v, true);
		CHECK(machine_read32(c->m, entry) == (uint32_t)MACHINE_MSI_GPA);
		CHECK(machine_read32(c->m, entry + 8) == 0x4000 + v);
		CHECK(machine_read64(c->m, entry) == MACHINE_MSI_GPA);
	}
}

static void isr_without_msix(struct conf *c)
{
	start(c, 0);
	vdriver_msix_enable(&c->d, false);
	vdriver_select(&c->d, c->target->work_queue);
	vdriver_set_queue_vector(&c->d, VDRIVER_NO_VECTOR);
	vdriver_isr(&c->d);
	works(c);
	CHECK(vdriver_isr(&c->d) == 1);
}

static void isr_is_cleared_by_reading(struct conf *c)
{
	isr_without_msix(c);
	CHECK(vdriver_isr(&c->d) == 0);
}

static void isr_of_a_config_change(struct conf *c)
{
	if (!c->target->change_config)
		conf_not_applicable(c, "configuration never changes");
	start(c, 0);
	vdriver_set_config_vector(&c->d, VDRIVER_NO_VECTOR);
	vdriver_isr(&c->d);
	c->target->change_config();
	settle(c);
	CHECK(vdriver_isr(&c->d) & 2);
}

static void isr_writes_change_nothing(struct conf *c)
{
	start(c, 0);
	machine_write8(c->m, c->d.isr, 0xff);
	CHECK(vdriver_isr(&c->d) == 0);
	works(c);
}

static void kick_value_does_not_matter(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint16_t off;

	start(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	off = machine_read16(c->m, c->d.common + 0x1e);
	for (uint16_t value = 0; value < 3; value++) {
		vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
		machine_write16(c->m, c->d.notify + (uint64_t)off * c->d.notify_multiplier,
			c->target->work_queue);
		expect_done(c);
	}
}

static void set_window(struct conf *c, uint8_t bar, uint32_t offset, uint32_t length)
{
	uint64_t cap = c->d.config + c->d.window_cap;

	machine_write8(c->m, cap + 4, bar);
	machine_write32(c->m, cap + 8, offset);
	machine_write32(c->m, cap + 12, length);
}

static void window_is_there(struct conf *c)
{
	CHECK(c->d.window_cap != 0);
	CHECK(conf8(c, c->d.window_cap + 2) >= 20);
}

static uint32_t common_offset(struct conf *c)
{
	for (unsigned int at = conf8(c, 0x34); at; at = conf8(c, at + 1))
		if (conf8(c, at) == 9 && conf8(c, at + 3) == 1)
			return conf32(c, at + 8);
	return 0;
}

static void window_reads(struct conf *c)
{
	start(c, 0);
	set_window(c, 0, common_offset(c) + 0x14, 1);
	CHECK(conf8(c, c->d.window_cap + 16) == ALL_SET);
	set_window(c, 0, common_offset(c) + 0x12, 2);
	CHECK(conf16(c, c->d.window_cap + 16) == machine_read16(c->m, c->d.common + 0x12));
}

static void window_writes(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	set_window(c, 0, common_offset(c) + 0x14, 1);
	machine_write8(c->m, c->d.config + c->d.window_cap + 16, ACKNOWLEDGE);
	CHECK(vdriver_status(&c->d) == ACKNOWLEDGE);
	set_window(c, 0, common_offset(c) + 0x16, 2);
	machine_write16(c->m, c->d.config + c->d.window_cap + 16, 7);
	CHECK(machine_read16(c->m, c->d.common + 0x16) == 7);
}

static void window_kicks(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint32_t notify;

	start(c, 0);
	vdriver_select(&c->d, c->target->work_queue);
	notify = (uint32_t)(c->d.notify - c->d.common) + common_offset(c) +
		 machine_read16(c->m, c->d.common + 0x1e) * c->d.notify_multiplier;
	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
	set_window(c, 0, notify, 2);
	machine_write16(c->m, c->d.config + c->d.window_cap + 16, c->target->work_queue);
	expect_done(c);
}

static void window_to_nowhere(struct conf *c)
{
	start(c, 0);
	for (unsigned int i = 0; i < 6; i++) {
		set_window(c, i == 0 ? 5 : 0,
			i == 1   ? UINT32_MAX
			: i == 2 ? 0x7ffffffc
				 : 0x14,
			i == 3   ? 3
			: i == 4 ? UINT32_MAX
			: i == 5 ? 0
				 : 4);
		machine_write32(c->m, c->d.config + c->d.window_cap + 16, 0);
		conf32(c, c->d.window_cap + 16);
	}
	set_window(c, 5, common_offset(c) + 0x14, 1);
	machine_write8(c->m, c->d.config + c->d.window_cap + 16, 0);
	CHECK(vdriver_status(&c->d) == ALL_SET);
	works(c);
}

static const struct conf_case cases[] = {
	{ "4.1.2.1", "vendor 0x1af4", vendor_id, PCI, 0 },
	{ "4.1.2.1", "device 0x1040 + the device's type", device_id, PCI, 0 },
	{ "4.1.2.1", "revision 1 or more", revision, PCI, 0 },
	{ "4.1.2.1", "subsystem 0x40 or more", subsystem, PCI, 0 },
	{ "4.1.4", "the capability list ends", capability_list, PCI, 0 },
	{ "4.1.4.2", "common, notify, ISR and device structures are there",
		every_structure_is_there, PCI, 0 },
	{ "4.1.4", "structures are in BARs 0 to 5", bars_are_valid, PCI, 0 },
	{ "4.1.4", "cap_len covers the structure", cap_len_covers_the_structure, PCI, 0 },
	{ "4.1.4.3.1", "offsets are aligned", offsets_are_aligned, PCI, 0 },
	{ "4.1.4", "structures lie inside their BARs", structures_lie_in_their_bars, PCI, 0 },
	{ "4.1.4.3.1", "length of the common configuration", common_length, PCI, 0 },
	{ "4.1.4.5.1", "length of the ISR status", isr_length, PCI, 0 },
	{ "4.1.4.6.1", "length of the device configuration", device_length, PCI, 0 },
	{ "4.1.4.4.1", "notify multiplier and offsets fit", notifications_fit, PCI, 0 },
	{ "4.1.4.1", "capabilities are read-only", capabilities_are_read_only, PCI, 0 },
	{ "4.1.2.1", "identity is read-only", identity_is_read_only, PCI, 0 },
	{ "4.1.3", "BARs can be sized", bars_can_be_sized, PCI, 0 },
	{ "4.1.3", "memory decoding can be switched off", memory_decode_can_be_switched_off, PCI,
		0 },
	{ "4.1.3", "BAR 0 can be moved while the device runs", bar_can_be_moved, PCI, 0 },
	{ "4.1.5.1.2.1", "MSI-X with 2 to 2048 vectors", msix_is_there, PCI, 0 },
	{ "4.1.5.1.2.1", "vectors are unassigned at first", vectors_start_unassigned, PCI, 0 },
	{ "4.1.5.1.2.1", "vectors read back", vectors_read_back, PCI, 0 },
	{ "4.1.5.1.2.1", "a vector that is not there reads NO_VECTOR",
		absent_vector_reads_no_vector, PCI, 0 },
	{ "4.1.5.1.2.1", "a reset unassigns vectors", reset_unassigns_vectors, PCI, 0 },
	{ "4.1.5.1.2.1", "any vector for any event", any_vector_for_any_event, PCI, 0 },
	{ "4.1.5.1.2", "events may share a vector", queues_may_share_a_vector, PCI, 0 },
	{ "4.1.5.3.1", "no message for a queue with NO_VECTOR", no_vector_is_silent, PCI, 0 },
	{ "4.1.5.4.1", "no message for configuration with NO_VECTOR", no_config_vector_is_silent,
		PCI, 0 },
	{ "4.1.5.1.2", "a masked vector is pending, and sent when unmasked",
		masked_vector_is_pending, PCI, 0 },
	{ "4.1.5.1.2", "the function mask holds all vectors", function_mask, PCI, 0 },
	{ "4.1.5.1.2", "a message changed while unmasked", message_can_change, PCI, 0 },
	{ "4.1.5.1.2", "the MSI-X table reads back, masked at first", table_reads_back, PCI, 0 },
	{ "4.1.4.5.1", "ISR bit 0 without MSI-X", isr_without_msix, PCI, 0 },
	{ "4.1.4.5.1", "reading the ISR clears it", isr_is_cleared_by_reading, PCI, 0 },
	{ "4.1.4.5.1", "ISR bit 1 for a configuration change", isr_of_a_config_change, PCI, 0 },
	{ "4.1.4.5", "writes to the ISR change nothing", isr_writes_change_nothing, PCI, 0 },
	{ "4.1.5.2", "kicks go by address", kick_value_does_not_matter, PCI, 0 },
	{ "4.1.4.9.1", "the configuration access capability is there", window_is_there, PCI, 0 },
	{ "4.1.4.9.1", "reads through the configuration access capability", window_reads, PCI, 0 },
	{ "4.1.4.9.1", "writes through the configuration access capability", window_writes, PCI,
		0 },
	{ "4.1.4.9.1", "kicks through the configuration access capability", window_kicks, PCI, 0 },
	{ "4.1.4.9.2", "a window to nowhere", window_to_nowhere, PCI, 0 },
};

const struct conf_group pci_group = CONF_GROUP(cases);
