/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "lib/vdriver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t vdriver_wait_nsec = UINT64_C(5000000000);

enum mmio_register {
	MMIO_MAGIC = 0x00,
	MMIO_VERSION = 0x04,
	MMIO_DEVICE_ID = 0x08,
	MMIO_DEVICE_FEATURES = 0x10,
	MMIO_DEVICE_FEATURES_SEL = 0x14,
	MMIO_DRIVER_FEATURES = 0x20,
	MMIO_DRIVER_FEATURES_SEL = 0x24,
	MMIO_QUEUE_SEL = 0x30,
	MMIO_QUEUE_MAX = 0x34,
	MMIO_QUEUE_SIZE = 0x38,
	MMIO_QUEUE_READY = 0x44,
	MMIO_NOTIFY = 0x50,
	MMIO_INTERRUPT_STATUS = 0x60,
	MMIO_INTERRUPT_ACK = 0x64,
	MMIO_STATUS = 0x70,
	MMIO_DESC = 0x80,
	MMIO_DRIVER = 0x90,
	MMIO_DEVICE = 0xa0,
	MMIO_QUEUE_RESET = 0xc0,
	MMIO_GENERATION = 0xfc,
	MMIO_CONFIG = 0x100,
};

enum pci_register {
	PCI_FEATURE_SELECT = 0x00,
	PCI_FEATURE = 0x04,
	PCI_DRIVER_SELECT = 0x08,
	PCI_DRIVER_FEATURE = 0x0c,
	PCI_CONFIG_VECTOR = 0x10,
	PCI_STATUS = 0x14,
	PCI_GENERATION = 0x15,
	PCI_QUEUE_SELECT = 0x16,
	PCI_QUEUE_SIZE = 0x18,
	PCI_QUEUE_VECTOR = 0x1a,
	PCI_QUEUE_ENABLE = 0x1c,
	PCI_NOTIFY_OFF = 0x1e,
	PCI_DESC = 0x20,
	PCI_DRIVER = 0x28,
	PCI_DEVICE = 0x30,
	PCI_QUEUE_RESET = 0x3a,
};

static uint64_t now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint32_t read32(struct vdriver *driver, uint64_t offset)
{
	return machine_read32(driver->machine, driver->common + offset);
}

static void write32(struct vdriver *driver, uint64_t offset, uint32_t value)
{
	machine_write32(driver->machine, driver->common + offset, value);
}

static uint16_t read16(struct vdriver *driver, uint64_t offset)
{
	return machine_read16(driver->machine, driver->common + offset);
}

static void write16(struct vdriver *driver, uint64_t offset, uint16_t value)
{
	machine_write16(driver->machine, driver->common + offset, value);
}

bool vdriver_probe_mmio(struct vdriver *driver, struct machine *machine)
{
	*driver = (struct vdriver){
		.machine = machine,
		.common = MACHINE_MMIO_GPA,
		.device = MACHINE_MMIO_GPA + MMIO_CONFIG,
		.next_gpa = 0x1000,
	};
	return read32(driver, MMIO_MAGIC) == 0x74726976 && read32(driver, MMIO_VERSION) == 2 &&
	       read32(driver, MMIO_DEVICE_ID) != 0;
}

static uint64_t bar_address(struct vdriver *driver, unsigned int bar)
{
	uint64_t reg = driver->config + 0x10 + 4 * bar;
	uint64_t address = machine_read32(driver->machine, reg);

	if ((address & 6) == 4)
		address |= (uint64_t)machine_read32(driver->machine, reg + 4) << 32;
	return address & ~UINT64_C(15);
}

static void take_capability(struct vdriver *driver, unsigned int at)
{
	struct machine *machine = driver->machine;
	uint64_t cap = driver->config + at;
	uint8_t id = machine_read8(machine, cap);
	uint64_t start;

	if (id == 0x11) {
		uint32_t table = machine_read32(machine, cap + 4);
		uint32_t pba = machine_read32(machine, cap + 8);

		driver->msix_cap = at;
		driver->n_vectors = (machine_read16(machine, cap + 2) & 0x7ffu) + 1;
		driver->msix_table = bar_address(driver, table & 7) + (table & ~7u);
		driver->msix_pba = bar_address(driver, pba & 7) + (pba & ~7u);
	}
	if (id != 0x09)
		return;
	start = bar_address(driver, machine_read8(machine, cap + 4)) +
		machine_read32(machine, cap + 8);
	switch (machine_read8(machine, cap + 3)) {
	case 1:
		driver->common = start;
		break;
	case 2:
		driver->notify = start;
		driver->notify_multiplier = machine_read32(machine, cap + 16);
		break;
	case 3:
		driver->isr = start;
		break;
	case 4:
		driver->device = start;
		driver->device_bytes = machine_read32(machine, cap + 12);
		break;
	case 5:
		driver->window_cap = at;
		break;
	default:
		break;
	}
}

bool vdriver_probe_pci(struct vdriver *driver, struct machine *machine, unsigned int slot)
{
	unsigned int at, n = 0;

	*driver = (struct vdriver){
		.machine = machine,
		.pci = true,
		.config = MACHINE_ECAM_GPA + ((uint64_t)slot << 15),
		.next_gpa = 0x1000,
	};
	if (machine_read16(machine, driver->config) != 0x1af4 ||
		machine_read16(machine, driver->config + 2) < 0x1040)
		return false;
	/* Memory decoding and bus mastering on. */
	machine_write16(machine, driver->config + 4, 6);
	for (at = machine_read8(machine, driver->config + 0x34); at != 0 && n++ < 48;
		at = machine_read8(machine, driver->config + at + 1))
		take_capability(driver, at);
	return driver->common != 0 && driver->notify != 0 && driver->isr != 0;
}

void vdriver_finish(struct vdriver *driver)
{
	for (unsigned int i = 0; i < VDRIVER_MAX_QUEUES; i++)
		free(driver->rings[i]);
	*driver = (struct vdriver){ 0 };
}

uint8_t vdriver_status(struct vdriver *driver)
{
	if (driver->pci)
		return machine_read8(driver->machine, driver->common + PCI_STATUS);
	return (uint8_t)read32(driver, MMIO_STATUS);
}

bool vdriver_wait_status(struct vdriver *driver, uint8_t bits)
{
	uint64_t end = now_nsec() + vdriver_wait_nsec;

	while ((vdriver_status(driver) & bits) != bits) {
		if (now_nsec() > end)
			return false;
		driver->machine->ops->run(driver->machine);
	}
	return true;
}

void vdriver_set_status(struct vdriver *driver, uint8_t status)
{
	if (driver->pci)
		machine_write8(driver->machine, driver->common + PCI_STATUS, status);
	else
		write32(driver, MMIO_STATUS, status);
}

bool vdriver_reset(struct vdriver *driver)
{
	uint64_t end = now_nsec() + vdriver_wait_nsec;

	vdriver_set_status(driver, 0);
	while (vdriver_status(driver) != 0) {
		if (now_nsec() > end)
			return false;
		driver->machine->ops->run(driver->machine);
	}
	return true;
}

uint64_t vdriver_offered(struct vdriver *driver)
{
	uint64_t features = 0;

	for (uint32_t i = 0; i < 2; i++) {
		write32(driver, driver->pci ? PCI_FEATURE_SELECT : MMIO_DEVICE_FEATURES_SEL, i);
		features |=
			(uint64_t)read32(driver, driver->pci ? PCI_FEATURE : MMIO_DEVICE_FEATURES)
			<< (32 * i);
	}
	return features;
}

void vdriver_set_features(struct vdriver *driver, uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		write32(driver, driver->pci ? PCI_DRIVER_SELECT : MMIO_DRIVER_FEATURES_SEL, i);
		write32(driver, driver->pci ? PCI_DRIVER_FEATURE : MMIO_DRIVER_FEATURES,
			(uint32_t)(features >> (32 * i)));
	}
}

uint32_t vdriver_generation(struct vdriver *driver)
{
	if (driver->pci)
		return machine_read8(driver->machine, driver->common + PCI_GENERATION);
	return read32(driver, MMIO_GENERATION);
}

uint8_t vdriver_isr(struct vdriver *driver)
{
	uint32_t status;

	if (driver->pci)
		return machine_read8(driver->machine, driver->isr);
	status = read32(driver, MMIO_INTERRUPT_STATUS);
	write32(driver, MMIO_INTERRUPT_ACK, status);
	return (uint8_t)status;
}

void vdriver_select(struct vdriver *driver, uint16_t queue)
{
	if (driver->pci)
		write16(driver, PCI_QUEUE_SELECT, queue);
	else
		write32(driver, MMIO_QUEUE_SEL, queue);
}

uint32_t vdriver_queue_max(struct vdriver *driver)
{
	return driver->pci ? read16(driver, PCI_QUEUE_SIZE) : read32(driver, MMIO_QUEUE_MAX);
}

void vdriver_set_queue_size(struct vdriver *driver, uint32_t size)
{
	if (driver->pci)
		write16(driver, PCI_QUEUE_SIZE, (uint16_t)size);
	else
		write32(driver, MMIO_QUEUE_SIZE, size);
}

static void write_address(struct vdriver *driver, uint64_t offset, uint64_t address)
{
	write32(driver, offset, (uint32_t)address);
	write32(driver, offset + 4, (uint32_t)(address >> 32));
}

void vdriver_set_queue_addresses(
	struct vdriver *driver, uint64_t desc, uint64_t avail, uint64_t used)
{
	write_address(driver, driver->pci ? PCI_DESC : MMIO_DESC, desc);
	write_address(driver, driver->pci ? PCI_DRIVER : MMIO_DRIVER, avail);
	write_address(driver, driver->pci ? PCI_DEVICE : MMIO_DEVICE, used);
}

void vdriver_enable_queue(struct vdriver *driver, uint32_t value)
{
	if (driver->pci)
		write16(driver, PCI_QUEUE_ENABLE, (uint16_t)value);
	else
		write32(driver, MMIO_QUEUE_READY, value);
}

uint32_t vdriver_queue_enabled(struct vdriver *driver)
{
	return driver->pci ? read16(driver, PCI_QUEUE_ENABLE) : read32(driver, MMIO_QUEUE_READY);
}

void vdriver_reset_queue(struct vdriver *driver)
{
	if (driver->pci)
		write16(driver, PCI_QUEUE_RESET, 1);
	else
		write32(driver, MMIO_QUEUE_RESET, 1);
}

uint32_t vdriver_queue_resetting(struct vdriver *driver)
{
	return driver->pci ? read16(driver, PCI_QUEUE_RESET) : read32(driver, MMIO_QUEUE_RESET);
}

void vdriver_kick(struct vdriver *driver, uint16_t queue)
{
	uint16_t off;

	if (!driver->pci) {
		write32(driver, MMIO_NOTIFY, queue);
		return;
	}
	vdriver_select(driver, queue);
	off = read16(driver, PCI_NOTIFY_OFF);
	machine_write16(
		driver->machine, driver->notify + (uint64_t)off * driver->notify_multiplier, queue);
}

unsigned int vdriver_queue_interrupts(struct vdriver *driver, uint16_t queue)
{
	return driver->machine->ops->interrupts(
		driver->machine, driver->pci ? VDRIVER_QUEUE_MESSAGE(queue) : MACHINE_MMIO_IRQ);
}

unsigned int vdriver_config_interrupts(struct vdriver *driver)
{
	return driver->machine->ops->interrupts(
		driver->machine, driver->pci ? VDRIVER_CONFIG_MESSAGE : MACHINE_MMIO_IRQ);
}

void vdriver_msix_entry(struct vdriver *driver, unsigned int vector, uint32_t message, bool masked)
{
	uint64_t entry = driver->msix_table + 16 * (uint64_t)vector;

	machine_write32(driver->machine, entry, (uint32_t)MACHINE_MSI_GPA);
	machine_write32(driver->machine, entry + 4, (uint32_t)(MACHINE_MSI_GPA >> 32));
	machine_write32(driver->machine, entry + 8, message);
	machine_write32(driver->machine, entry + 12, masked);
}

void vdriver_msix_enable(struct vdriver *driver, bool on)
{
	machine_write16(driver->machine, driver->config + driver->msix_cap + 2, on ? 0x8000 : 0);
}

uint16_t vdriver_set_queue_vector(struct vdriver *driver, uint16_t vector)
{
	write16(driver, PCI_QUEUE_VECTOR, vector);
	return read16(driver, PCI_QUEUE_VECTOR);
}

uint16_t vdriver_set_config_vector(struct vdriver *driver, uint16_t vector)
{
	write16(driver, PCI_CONFIG_VECTOR, vector);
	return read16(driver, PCI_CONFIG_VECTOR);
}

bool vdriver_negotiate(struct vdriver *driver, uint64_t wanted)
{
	if (!vdriver_reset(driver))
		return false;
	driver->next_gpa = 0x1000;
	vdriver_set_status(driver, ACKNOWLEDGE);
	vdriver_set_status(driver, ACKNOWLEDGE | DRIVER);
	driver->features = vdriver_offered(driver) & (wanted | F_VERSION_1);
	vdriver_set_features(driver, driver->features);
	vdriver_set_status(driver, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return vdriver_status(driver) & FEATURES_OK;
}

void vdriver_make_ring(struct vdriver *driver, uint16_t queue, uint16_t size)
{
	struct vring *ring = driver->rings[queue];

	if (!ring)
		ring = driver->rings[queue] = malloc(sizeof(*ring));
	if (!ring)
		abort();
	driver->next_gpa = (driver->next_gpa + 4095) & ~UINT64_C(4095);
	vring_init(ring, driver->machine->ram, driver->next_gpa, size, driver->features & F_PACKED);
	driver->next_gpa = ring->end_gpa;
}

void vdriver_program_queue(struct vdriver *driver, uint16_t queue)
{
	const struct vring *ring = driver->rings[queue];

	vdriver_select(driver, queue);
	vdriver_set_queue_size(driver, ring->size);
	vdriver_set_queue_addresses(driver, ring->desc_gpa, ring->driver_gpa, ring->device_gpa);
	if (driver->pci && driver->n_vectors > 0) {
		unsigned int vector = 1u + queue < driver->n_vectors ? 1u + queue : 0;

		vdriver_msix_entry(driver, vector, VDRIVER_QUEUE_MESSAGE(queue), false);
		vdriver_set_queue_vector(driver, (uint16_t)vector);
	}
	vdriver_enable_queue(driver, 1);
}

bool vdriver_start(struct vdriver *driver, uint64_t wanted, unsigned int n_queues, uint16_t size)
{
	if (!vdriver_negotiate(driver, wanted))
		return false;
	if (driver->pci && driver->n_vectors > 0) {
		vdriver_msix_enable(driver, true);
		vdriver_msix_entry(driver, 0, VDRIVER_CONFIG_MESSAGE, false);
		vdriver_set_config_vector(driver, 0);
	}
	for (uint16_t i = 0; i < n_queues; i++) {
		uint32_t max;

		vdriver_select(driver, i);
		max = vdriver_queue_max(driver);
		if (max == 0)
			return false;
		vdriver_make_ring(driver, i, size && size < max ? size : (uint16_t)max);
		vdriver_program_queue(driver, i);
		if (vdriver_queue_enabled(driver) != 1)
			return false;
	}
	vdriver_set_status(driver, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	return vdriver_status(driver) == (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

uint64_t vdriver_alloc(struct vdriver *driver, uint64_t bytes)
{
	uint64_t gpa = (driver->next_gpa + 15) & ~UINT64_C(15);

	if (gpa + bytes > driver->machine->ram_bytes)
		abort();
	driver->next_gpa = gpa + bytes;
	return gpa;
}

uint16_t vdriver_send(
	struct vdriver *driver, uint16_t queue, const struct vring_buffer *buffers, size_t n)
{
	struct vring *ring = driver->rings[queue];
	uint16_t sent = vring_add(ring, buffers, n);

	if (vring_kick_wanted(
		    ring, driver->features & F_EVENT_IDX, (uint16_t)(ring->packed ? n : 1)))
		vdriver_kick(driver, queue);
	return sent;
}

bool vdriver_wait_used(struct vdriver *driver, uint16_t queue, uint32_t *ret_id, uint32_t *ret_len)
{
	uint64_t end = now_nsec() + vdriver_wait_nsec;

	while (!vring_get_used(driver->rings[queue], ret_id, ret_len)) {
		if (now_nsec() > end)
			return false;
		driver->machine->ops->run(driver->machine);
	}
	return true;
}

bool vdriver_transfer(struct vdriver *driver, uint16_t queue, const struct vring_buffer *buffers,
	size_t n, uint32_t *ret_len)
{
	uint32_t id;

	vdriver_send(driver, queue, buffers, n);
	return vdriver_wait_used(driver, queue, &id, ret_len);
}
