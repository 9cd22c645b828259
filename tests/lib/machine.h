/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * machine: all that a guest's driver can do to a device model: access registers, share memory,
 * take interrupts. Whoever has another device model implements this and can run the same tests.
 *
 * Two ways to have a device in one: a virtio-mmio device at MACHINE_MMIO_GPA with interrupt
 * MACHINE_MMIO_IRQ, or a PCI function on bus 0 of an ECAM at MACHINE_ECAM_GPA.
 */
#ifndef VMM_TESTS_MACHINE_H
#define VMM_TESTS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_MMIO_GPA UINT64_C(0xd0000000)
#define MACHINE_MMIO_IRQ 5
#define MACHINE_ECAM_GPA UINT64_C(0xe0000000)
#define MACHINE_PCI_SLOT 3
#define MACHINE_MSI_GPA UINT64_C(0xfee00000)

struct machine;

struct machine_ops {
	/* Accesses to guest-physical addresses; data of a read is what a guest would get. */
	void (*read)(struct machine *machine, uint64_t gpa, void *data, size_t size);
	void (*write)(struct machine *machine, uint64_t gpa, const void *data, size_t size);
	/*
	 * Interrupts that came since the last call: MACHINE_MMIO_IRQ, or messages to
	 * MACHINE_MSI_GPA with this data.
	 */
	unsigned int (*interrupts)(struct machine *machine, uint32_t number);
	/* Lets the device work until it has nothing to do, or for a moment. */
	void (*run)(struct machine *machine);
};

struct machine {
	const struct machine_ops *ops;
	uint8_t *ram; /* guest address 0 */
	uint64_t ram_bytes;
};

#define MACHINE_ACCESSORS(bits)                                                                    \
	static inline uint##bits##_t machine_read##bits(struct machine *machine, uint64_t gpa)     \
	{                                                                                          \
		uint##bits##_t value = 0;                                                          \
                                                                                                   \
		machine->ops->read(machine, gpa, &value, sizeof(value));                           \
		return value;                                                                      \
	}                                                                                          \
	static inline void machine_write##bits(                                                    \
		struct machine *machine, uint64_t gpa, uint##bits##_t value)                       \
	{                                                                                          \
		machine->ops->write(machine, gpa, &value, sizeof(value));                          \
	}

MACHINE_ACCESSORS(8)
MACHINE_ACCESSORS(16)
MACHINE_ACCESSORS(32)
MACHINE_ACCESSORS(64)

#endif
