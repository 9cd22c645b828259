/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: a host bridge with one root bus (segment 0, bus 0), and functions in its 32 slots: type 0
 * configuration space, BARs that the guest sizes and moves, capabilities, MSI-X.
 *
 * Configuration space is reached through an ECAM window of 1 MiB and through the ports 0xcf8
 * and 0xcfc (PCI Local Bus 3.0, 3.2.2.3.2; PCI Express Base 5.0, 7.2). Slot 0 holds the host
 * bridge. Functions are conventional PCI endpoints with 256 bytes of configuration space, no
 * I/O BAR and no INTx: interrupts are MSI-X.
 *
 * A BAR has an address from the start, taken from the windows of the bridge, so that a guest
 * without PCI resource allocation can use it once it sets the memory enable bit. While that is
 * set, the BAR is a range of the MMIO bus; elsewhere it is not on the bus at all.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                             | result                            |
 *   |---------------------------------------------------|-----------------------------------|
 *   | configuration access of no function, or bus > 0   | reads all ones, writes vanish     |
 *   | access across a dword, or of 3, 5, 6, 7 bytes     | the same                          |
 *   | write to read-only bits                           | vanishes                          |
 *   | BAR on another BAR, on RAM's or a device's range  | registers hold it, it is not      |
 *   |                                                   | reachable until it is moved away  |
 *   | BAR outside the windows of the bridge             | the same: windows are enforced    |
 *   | BAR wraps around 2^64                             | the same                          |
 *   | MSI-X table access other than aligned 4 or 8      | reads all ones, writes vanish     |
 *   | MSI-X message changed while unmasked              | in effect at once                 |
 *   | vector signalled while masked                     | pending bit, delivered on unmask  |
 *
 * Threads: accesses through the bus come from any thread. Adding and removing functions may
 * happen while they do. Callbacks are called with the bridge's lock held, in the accessing
 * thread: they call nothing of this block but vmm_pci_msix_fd(), and take no lock under which
 * another function of this block is called.
 */
#ifndef VMMCORE_PCI_H
#define VMMCORE_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>

VMM_BEGIN_DECLS

#define VMM_PCI_N_SLOTS 32
#define VMM_PCI_N_BARS 6
#define VMM_PCI_ECAM_BYTES (UINT64_C(1) << 20)
#define VMM_PCI_MAX_VECTORS 2048
#define VMM_PCI_SLOT_ANY 0 /* slot 0 is the host bridge's */

struct vmm_pci_bus;
struct vmm_pci_function;

/* Windows are what ACPI's _CRS of the bridge announces; size 0: there is none. */
struct vmm_pci_bus_config {
	struct vmm_bus *mmio; /* borrowed, outlives the bridge */
	struct vmm_bus *pio;  /* borrowed, may be NULL: no ports 0xcf8 to 0xcff */
	uint64_t ecam_gpa;    /* VMM_PCI_ECAM_BYTES there; aligned to that */
	uint64_t window32_gpa;
	uint64_t window32_bytes;
	uint64_t window64_gpa;
	uint64_t window64_bytes;
};

/* -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_pci_bus_new(
	const struct vmm_pci_bus_config *config, struct vmm_pci_bus **ret_bus);

/* No function may be left on it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_pci_bus *vmm_pci_bus_free(struct vmm_pci_bus *bus);

/* Bit n is set where slot n holds a function (bit 0: the host bridge). For hot-plug by ACPI. */
VMM_PUBLIC uint32_t vmm_pci_bus_slots(struct vmm_pci_bus *bus);

struct vmm_pci_bar {
	uint64_t size_bytes; /* 0: no BAR; a power of two, at least 16 */
	bool is_64bit;       /* takes the next BAR's place too */
	bool prefetchable;
	const struct vmm_bus_ops *ops; /* borrowed */
	void *userdata;                /* borrowed */
};

struct vmm_pci_ops {
	/* A BAR is now at gpa on the MMIO bus, or nowhere (mapped false). May be NULL. */
	void (*bar_moved)(void *userdata, unsigned int bar, bool mapped, uint64_t gpa);

	/*
	 * Before a read of configuration space within the function's own capabilities: may change
	 * the bytes, see vmm_pci_config_bytes(). May be NULL.
	 */
	void (*config_read)(void *userdata, unsigned int offset, unsigned int length);

	/* After a write to them was stored through the write mask. May be NULL. */
	void (*config_written)(void *userdata, unsigned int offset, unsigned int length);
};

struct vmm_pci_function_config {
	uint16_t vendor_id;
	uint16_t device_id;
	uint16_t subsystem_vendor_id;
	uint16_t subsystem_id;
	uint32_t class_code; /* class, subclass, interface: 24 bits */
	uint8_t revision;
	struct vmm_pci_bar bars[VMM_PCI_N_BARS];
	uint16_t n_vectors;            /* MSI-X vectors, 0: no MSI-X */
	unsigned int msix_bar;         /* a BAR of size 0 above, which MSI-X then takes (32-bit) */
	struct vmm_msi msi;            /* where the vectors lead; ops may be NULL: nowhere */
	const struct vmm_pci_ops *ops; /* borrowed, may be NULL */
	void *userdata;                /* borrowed */
};

/* A function that is on no bus yet. -EINVAL, -ENOMEM, errno of eventfd. */
VMM_PUBLIC int vmm_pci_function_new(
	const struct vmm_pci_function_config *config, struct vmm_pci_function **ret_function);

/*
 * Takes it off its bus, if it is on one. See bus.h about accesses that are still running. Takes
 * NULL. Returns NULL.
 */
VMM_PUBLIC struct vmm_pci_function *vmm_pci_function_free(struct vmm_pci_function *function);

/*
 * Appends a capability of id and size bytes (its two first bytes are id and next, then *data).
 * writable: a mask of the same layout as data, NULL: read-only. Before the function is on a
 * bus. Returns its offset, or -ENOSPC.
 */
VMM_PUBLIC int vmm_pci_add_capability(struct vmm_pci_function *function, uint8_t id,
	const void *data, const void *writable, size_t size);

/*
 * Registers of the function's own at a fixed offset behind its capabilities so far; the next
 * capability goes behind them. data and writable as above. Before the function is on a bus. 0,
 * -EINVAL or -ENOSPC.
 */
VMM_PUBLIC int vmm_pci_add_registers(struct vmm_pci_function *function, unsigned int offset,
	const void *data, const void *writable, size_t size);

/* The 256 bytes of its configuration space; only before it is on a bus and in its callbacks. */
VMM_PUBLIC uint8_t *vmm_pci_config_bytes(struct vmm_pci_function *function);

/*
 * Puts the function into slot (1 to 31, or VMM_PCI_SLOT_ANY) and gives its BARs addresses.
 * Returns the slot, -EBUSY, -EINVAL, -ENOSPC where slots or windows are full.
 */
VMM_PUBLIC int vmm_pci_bus_add(
	struct vmm_pci_bus *bus, struct vmm_pci_function *function, unsigned int slot);

/* Unmaps its BARs and frees its slot. No effect where it is on no bus. */
VMM_PUBLIC void vmm_pci_bus_remove(struct vmm_pci_function *function);

/*
 * The eventfd of a vector: one write to it is one interrupt, from any thread. Borrowed: lives as
 * long as the function. -EBADF for a vector that there is not.
 */
VMM_PUBLIC int vmm_pci_msix_fd(const struct vmm_pci_function *function, unsigned int vector);

/* Puts registers to their state after power-on: BAR addresses stay, decoding and MSI-X go off. */
VMM_PUBLIC void vmm_pci_function_reset(struct vmm_pci_function *function);

VMM_END_DECLS

#endif
