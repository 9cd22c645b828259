/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * acpi: the ACPI 6.4 tables of a hardware-reduced PC, written into guest memory, and the one
 * device behind them: the generic event device (GED) with the sleep, reset, power button and
 * PCI hotplug registers that the tables speak of.
 *
 * Tables: RSDP, XSDT, FADT, MADT, MCFG (with PCI), DSDT. The DSDT describes what the config names
 * and nothing else. All lie between tables_gpa and tables_gpa + tables_room_bytes, the RSDP at
 * its start; the monitor marks that range reserved in its memory map.
 *
 * Where a PC's firmware begins, at VMM_ACPI_RESET_VECTOR_GPA, a few instructions are put that
 * write the GED's reset register. Linux on hardware-reduced ACPI without EFI (6.1 does) restarts
 * by going there in real mode, not by the reset register.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                            | result                              |
 *   |--------------------------------------------------|-------------------------------------|
 *   | no CPU, more than VMM_ACPI_MAX_CPUS              | -EINVAL                             |
 *   | more devices than the limits below               | -EINVAL                             |
 *   | window of size 0, wrapping or crossing 4 GiB     | -EINVAL                             |
 *   | tables larger than their room                    | -ENOSPC, nothing is written         |
 *   | room that reaches over the reset vector          | -EINVAL                             |
 *   | tables outside memory                            | -VMM_EGUEST                         |
 *   | GED: guest ejects a slot that it was not given   | the callback is not called          |
 *   | GED: any other write, any read                   | defined below, never fails          |
 *
 * Threads: vmm_acpi_build() in any thread, before the guest runs. vmm_ged_raise() and the
 * vmm_ged_pci_*() functions in any thread. To free a GED, see bus.h.
 */
#ifndef VMMCORE_ACPI_H
#define VMMCORE_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>
#include <vmmcore/mem.h>

VMM_BEGIN_DECLS

#define VMM_ACPI_TABLES_GPA UINT64_C(0xe0000)
#define VMM_ACPI_TABLES_ROOM_BYTES UINT64_C(0x10000)
#define VMM_ACPI_RESET_VECTOR_GPA UINT64_C(0xffff0)
#define VMM_ACPI_MAX_CPUS 64
#define VMM_ACPI_MAX_SERIALS 4
#define VMM_ACPI_MAX_VIRTIO_MMIO 64
#define VMM_ACPI_MAX_PCI_SLOTS 32

/* PNP0501. base is a port; its eight registers are one byte apart. */
struct vmm_acpi_serial {
	uint16_t port;
	uint32_t gsi; /* edge-triggered, active high */
};

/* LNRO0005, the virtio-mmio transport. */
struct vmm_acpi_virtio_mmio {
	uint64_t base_gpa; /* base_gpa + size_bytes does not exceed 4 GiB */
	uint64_t size_bytes;
	uint32_t gsi; /* edge-triggered, active high */
};

/* PNP0A08, segment 0, bus 0 only. A window of size 0 is absent. */
struct vmm_acpi_pci {
	uint64_t ecam_gpa; /* 1 MiB, aligned to it, below 4 GiB: bus 0 */
	uint64_t mmio32_gpa;
	uint64_t mmio32_size_bytes; /* wholly below 4 GiB */
	uint64_t mmio64_gpa;
	uint64_t mmio64_size_bytes; /* wholly above 4 GiB */
	/*
	 * Bit n: device n of bus 0 can be plugged and unplugged while the guest runs (needs the
	 * GED). Not bit 0, the host bridge.
	 */
	uint32_t hotplug_slots;
};

/* Zero is the default of each member but n_cpus. */
struct vmm_acpi_config {
	uint64_t tables_gpa;        /* aligned to 16; 0: VMM_ACPI_TABLES_GPA */
	uint64_t tables_room_bytes; /* 0: VMM_ACPI_TABLES_ROOM_BYTES */

	unsigned int n_cpus; /* with APIC IDs 0 to n_cpus - 1 */
	uint32_t lapic_gpa;  /* 0: 0xfee00000 */
	uint32_t ioapic_gpa; /* 0: 0xfec00000; it serves GSIs from 0 on */
	uint8_t ioapic_id;   /* as the irqchip has it (KVM: 0) */

	/* The GED: its port as given to vmm_ged_new(), and its interrupt. 0: no GED. */
	uint16_t ged_port;
	uint32_t ged_gsi;  /* edge-triggered, active high */
	bool has_firmware; /* leave VMM_ACPI_RESET_VECTOR_GPA alone */

	const struct vmm_acpi_serial *serials; /* borrowed for the call */
	size_t n_serials;
	const struct vmm_acpi_virtio_mmio *virtio_mmio; /* borrowed for the call */
	size_t n_virtio_mmio;
	const struct vmm_acpi_pci *pci; /* borrowed for the call; NULL: no PCI */

	uint16_t pvpanic_port; /* 0: none; QEMU0001 */
	bool rtc;              /* PNP0B00 at 0x70 and 0x71 */
	bool i8042;            /* PNP0303 at 0x60 and 0x64, GSI 1 */

	uint64_t vmgenid_gpa; /* 0: none; where the generation ID lies, see platform.h */
	uint64_t vmclock_gpa; /* 0: none; the page of the clock, see platform.h */
};

struct vmm_acpi_tables {
	uint64_t rsdp_gpa;
	uint64_t size_bytes; /* of all tables, from rsdp_gpa on */
};

/* Writes all tables. 0, -EINVAL, -ENOSPC, -ENOMEM or -VMM_EGUEST, see above. */
VMM_PUBLIC int vmm_acpi_build(struct vmm_mem *mem, const struct vmm_acpi_config *config,
	struct vmm_acpi_tables *ret_tables);

/*
 * The GED's registers, little-endian, on a port I/O bus. Reads of what is write-only give 0.
 *
 *   | offset | bytes | access | register                                                       |
 *   |--------|-------|--------|----------------------------------------------------------------|
 *   | 0x00   | 1     | rw     | sleep control (ACPI 6.4 §4.8.3.7): SLP_EN, type 5: power off   |
 *   | 0x01   | 1     | rw     | sleep status: reads 0                                          |
 *   | 0x02   | 1     | w      | reset: VMM_GED_RESET_VALUE resets, all else does nothing       |
 *   | 0x04   | 4     | r      | events pending (enum vmm_ged_event); reading clears            |
 *   | 0x08   | 4     | r      | PCI slots that were plugged; reading clears                    |
 *   | 0x0c   | 4     | r      | PCI slots to be given up; reading clears                       |
 *   | 0x10   | 4     | w      | eject: bit n: the guest has given up PCI slot n                |
 */
#define VMM_GED_PORT 0x600
#define VMM_GED_SIZE_BYTES 0x14
#define VMM_GED_GSI 9
#define VMM_GED_RESET_VALUE 1

enum vmm_ged_event {
	VMM_GED_POWER_BUTTON = 1 << 0,
	VMM_GED_PCI_HOTPLUG = 1 << 1,
	VMM_GED_VMGENID = 1 << 2,
	VMM_GED_VMCLOCK = 1 << 3,
};

struct vmm_ged;

/*
 * In the vCPU's thread, no lock held, none may free the object or block. The vCPU goes on when
 * one returns: who wants it stopped sees to that. Any of them may be NULL.
 */
struct vmm_ged_ops {
	/* The guest turned itself off (S5). */
	void (*power_off)(void *userdata);
	/* The guest asked for a reset of the machine. */
	void (*reset)(void *userdata);
	/* The guest has given up this slot, which was occupied: the device may go. */
	void (*pci_eject)(void *userdata, unsigned int slot);
};

struct vmm_ged_config {
	struct vmm_bus *bus;           /* port I/O; borrowed, outlives the device */
	uint16_t port;                 /* 0: VMM_GED_PORT */
	struct vmm_irq irq;            /* set_level is called with the device's lock held */
	uint32_t pci_occupied;         /* slots for plugging that are occupied from the start */
	const struct vmm_ged_ops *ops; /* borrowed, outlives the device */
	void *userdata;                /* borrowed */
};

/* Makes a GED and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_ged_new(const struct vmm_ged_config *config, struct vmm_ged **ret_ged);

/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_ged *vmm_ged_free(struct vmm_ged *ged);

/*
 * Raises events (bits of enum vmm_ged_event), VMM_GED_POWER_BUTTON to press the button. What the
 * guest has not read yet stays pending, as one event; each raise is a new edge. 0, or a
 * negative errno of the interrupt line.
 */
VMM_PUBLIC int vmm_ged_raise(struct vmm_ged *ged, uint32_t events);

/*
 * The device in slot (1 to 31) is there and answers: tells the guest. -EINVAL, -EEXIST where the
 * slot is occupied.
 */
VMM_PUBLIC int vmm_ged_pci_plug(struct vmm_ged *ged, unsigned int slot);

/*
 * Asks the guest to give the slot up. It may take its time or never answer; asking again is
 * fine. ops->pci_eject is the answer. -EINVAL, -ENOENT where the slot is empty.
 */
VMM_PUBLIC int vmm_ged_pci_unplug(struct vmm_ged *ged, unsigned int slot);

/*
 * The device in slot is there from the start, before the guest runs: it can be given up like one
 * that was plugged. -EINVAL, -EEXIST.
 */
VMM_PUBLIC int vmm_ged_pci_occupy(struct vmm_ged *ged, unsigned int slot);

/*
 * The device in slot was taken off the bus without the guest having given it up: asks the guest
 * to look. ops->pci_eject is not called for it any more. -EINVAL.
 */
VMM_PUBLIC int vmm_ged_pci_gone(struct vmm_ged *ged, unsigned int slot);

VMM_END_DECLS

#endif
