/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: the same registers for guests that drive the PCI devices of a worker: found on the bus,
 * given an address, and accessed by their names of virtio-mmio (VIRTIO 1.2, 4.1.4).
 */
#ifndef VMM_TESTS_GUEST_PCI_H
#define VMM_TESTS_GUEST_PCI_H

#include "mmio.h"

#define ECAM 0xe0000000u
#define BARS 0xd0000000u /* in the window below the ECAM; one mebibyte a slot */

enum { CAP_COMMON = 1, CAP_NOTIFY = 2 };

static inline uintptr_t pci_config(unsigned int slot)
{
	return ECAM + (slot << 15);
}

/* 0: there is none. */
static inline uint32_t pci_virtio_type(unsigned int slot)
{
	uint32_t id = read32(pci_config(slot));

	return (id & 0xffff) == 0x1af4 && id >> 16 >= 0x1040 ? (id >> 16) - 0x1040 : 0;
}

/* Where a capability of virtio is in configuration space. */
static inline uintptr_t pci_capability(unsigned int slot, uint8_t type)
{
	uintptr_t config = pci_config(slot);
	uint8_t at = read8(config + 0x34);

	for (unsigned int i = 0; i < 48 && at != 0; i++) {
		if (read8(config + at) == 9 && read8(config + at + 3) == type)
			return config + at;
		at = read8(config + at + 1);
	}
	EXPECT(0);
	return 0;
}

static inline uintptr_t pci_structure(unsigned int slot, uint8_t type)
{
	uintptr_t config = pci_config(slot), capability = pci_capability(slot, type);
	uintptr_t bar = config + 0x10 + 4u * read8(capability + 4);

	if ((read32(bar) & ~15u) == 0 || !(read16(config + 4) & 2)) {
		write32(bar, BARS + slot * 0x100000u);
		if (read32(bar) & 4)
			write32(bar + 4, 0);
	}
	return (read32(bar) & ~15u) + read32(capability + 8);
}

/* Returns where the common configuration is, and where the first queue is notified. */
static inline uintptr_t pci_enable(unsigned int slot, uintptr_t *ret_notify)
{
	uintptr_t common = pci_structure(slot, CAP_COMMON);

	*ret_notify = pci_structure(slot, CAP_NOTIFY);
	write16(pci_config(slot) + 4, 6);
	return common;
}

static inline uint32_t pci_notify_stride(unsigned int slot)
{
	return read32(pci_capability(slot, CAP_NOTIFY) + 16);
}

static inline uint32_t pci_get(uintptr_t common, unsigned int reg)
{
	switch (reg) {
	case R_DEVICE_FEATURES:
		return read32(common + 4);
	case R_QUEUE_SIZE_MAX:
		return read16(common + 24);
	case R_STATUS:
		return read8(common + 20);
	}
	EXPECT(0);
	return 0;
}

static inline void pci_set(uintptr_t common, uintptr_t notify, unsigned int reg, uint32_t value)
{
	switch (reg) {
	case R_DEVICE_FEATURES_SEL:
		write32(common, value);
		break;
	case R_DRIVER_FEATURES_SEL:
		write32(common + 8, value);
		break;
	case R_DRIVER_FEATURES:
		write32(common + 12, value);
		break;
	case R_STATUS:
		write8(common + 20, (uint8_t)value);
		break;
	case R_QUEUE_SEL:
		write16(common + 22, (uint16_t)value);
		break;
	case R_QUEUE_SIZE:
		write16(common + 24, (uint16_t)value);
		break;
	case R_QUEUE_READY:
		write16(common + 28, (uint16_t)value);
		break;
	case R_QUEUE_NOTIFY:
		write16(notify, (uint16_t)value);
		break;
	case R_QUEUE_DESC:
	case R_QUEUE_DESC + 4:
		write32(common + 32 + reg - R_QUEUE_DESC, value);
		break;
	case R_QUEUE_DRIVER:
	case R_QUEUE_DRIVER + 4:
		write32(common + 40 + reg - R_QUEUE_DRIVER, value);
		break;
	case R_QUEUE_DEVICE:
	case R_QUEUE_DEVICE + 4:
		write32(common + 48 + reg - R_QUEUE_DEVICE, value);
		break;
	default:
		EXPECT(0);
	}
}

#endif
