/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * transport-script: accesses of any width to the registers of a virtio device on MMIO or PCI, its
 * configuration space and its MSI-X table, as the input says, in steps of 8 bytes: what, width,
 * offset (2), value (4). Some steps set the device up as a driver does, so that accesses find it
 * in any state. Checked: it can be reset afterwards, and then serves a driver.
 */
#ifndef VMM_TESTS_TRANSPORT_SCRIPT_H
#define VMM_TESTS_TRANSPORT_SCRIPT_H

#include <string.h>

#include <vmmcore/virtio-rng.h>

#include "fuzz.h"
#include "lib/vdriver.h"
#include "lib/vmm-machine.h"

#define TRANSPORT_RAM_BYTES (UINT64_C(1) << 20)
#define TRANSPORT_QUEUE_SIZE 8

struct transport {
	struct vmm_machine machine;
	struct vdriver driver;
	struct vmm_virtio_rng *rng;
	bool pci;
	bool packed;
	uint64_t bar_gpa; /* where the PCI function was at first */
};

struct transport_step {
	uint8_t what;
	uint8_t width;
	uint16_t offset;
	uint32_t value;
};

static inline void transport_start(struct transport *t, uint64_t features)
{
	struct machine *m = &t->machine.machine;

	vdriver_finish(&t->driver);
	/* It may be somewhere else by now, or not be decoded at all. */
	if (t->pci) {
		uint64_t bar = MACHINE_ECAM_GPA + ((uint64_t)MACHINE_PCI_SLOT << 15) + 0x10;

		if (t->bar_gpa == 0)
			t->bar_gpa = (machine_read32(m, bar) & ~UINT32_C(15)) |
				     (uint64_t)machine_read32(m, bar + 4) << 32;
		machine_write32(m, bar, (uint32_t)t->bar_gpa);
		machine_write32(m, bar + 4, (uint32_t)(t->bar_gpa >> 32));
	}
	FUZZ_CHECK(t->pci ? vdriver_probe_pci(&t->driver, m, MACHINE_PCI_SLOT)
			  : vdriver_probe_mmio(&t->driver, m));
	FUZZ_CHECK(vdriver_start(&t->driver, features | F_RING_RESET | (t->packed ? F_PACKED : 0),
		1, TRANSPORT_QUEUE_SIZE));
}

static inline void transport_ask(struct transport *t, uint32_t len)
{
	struct vring_buffer buffer = { TRANSPORT_RAM_BYTES / 2, len, true };

	if (t->driver.rings[0])
		vdriver_send(&t->driver, 0, &buffer, 1);
}

/* Where an access goes: registers, then with PCI the configuration space, and anywhere near. */
static inline uint64_t transport_address(
	const struct transport *t, const struct transport_step *step)
{
	if (!t->pci)
		return MACHINE_MMIO_GPA + step->offset % 0x1100;
	switch (step->what >> 6) {
	case 0:
		return MACHINE_ECAM_GPA + ((uint64_t)MACHINE_PCI_SLOT << 15) +
		       step->offset % 0x1000;
	case 1:
		return t->driver.common + step->offset % 0x40;
	case 2:
		return t->driver.msix_table + step->offset % 0x80;
	default:
		return t->driver.common + step->offset;
	}
}

static inline void transport_access(
	struct transport *t, const struct transport_step *step, bool write)
{
	static const uint8_t widths[] = { 4, 1, 2, 8 };
	struct machine *m = &t->machine.machine;
	uint64_t address = transport_address(t, step);
	uint64_t value = step->value | (uint64_t)step->value << 32;
	size_t width = widths[step->width % 4];

	if (write)
		m->ops->write(m, address, &value, width);
	else
		m->ops->read(m, address, &value, width);
}

static inline void transport_do(struct transport *t, const struct transport_step *step)
{
	struct machine *m = &t->machine.machine;

	switch (step->what & 7) {
	case 0:
	case 1:
	case 2:
		transport_access(t, step, true);
		break;
	case 3:
		transport_access(t, step, false);
		break;
	case 4:
		memcpy(m->ram + step->offset % 0x8000, &step->value, sizeof(step->value));
		break;
	case 5:
		transport_ask(t, step->value % 5000);
		break;
	case 6:
		transport_start(t, (uint64_t)step->value << 24);
		break;
	case 7:
		vmm_virtio_config_begin(t->machine.device);
		vmm_virtio_config_end(t->machine.device, true);
		m->ops->interrupts(m, step->value % 64);
		break;
	}
	m->ops->run(m);
}

static inline void transport_fuzz(struct transport *t, const uint8_t *data, size_t size)
{
	struct vmm_virtio_rng_config config = { 0 };
	struct transport_step step;
	uint32_t id, len;

	t->packed = size > 0 && data[0] & 1;
	vmm_machine_init(&t->machine, TRANSPORT_RAM_BYTES);
	t->machine.no_doorbells = size > 0 && data[0] & 2;
	config.mem = t->machine.mem;
	FUZZ_CHECK(vmm_virtio_rng_new(&config, &t->rng) == 0);
	vmm_machine_attach(&t->machine, vmm_virtio_rng_device(t->rng), t->pci);
	transport_start(t, 0);
	for (size_t at = 1; at + sizeof(step) <= size && at < 512 * sizeof(step);
		at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		transport_do(t, &step);
	}
	transport_start(t, 0);
	transport_ask(t, 16);
	t->machine.machine.ops->run(&t->machine.machine);
	FUZZ_CHECK(vring_get_used(t->driver.rings[0], &id, &len) && len == 16);
	vdriver_finish(&t->driver);
	vmm_machine_detach(&t->machine);
	vmm_virtio_rng_free(t->rng);
	vmm_machine_finish(&t->machine);
}

#endif
