/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm-machine: a machine (machine.h) around one virtio device of libvmmcore, on either transport,
 * without KVM: this file stands for what a monitor does with doorbells, eventfds and MSI routes.
 */
#ifndef VMM_TESTS_VMM_MACHINE_H
#define VMM_TESTS_VMM_MACHINE_H

#include <vmmcore/virtio.h>

#include "lib/machine.h"

#define VMM_MACHINE_SLOT MACHINE_PCI_SLOT
#define VMM_MACHINE_MAX_DOORBELLS 64
#define VMM_MACHINE_MAX_VECTORS 64
#define VMM_MACHINE_MAX_NUMBERS 256

struct vmm_machine {
	struct machine machine;
	struct vmm_mem *mem;
	struct vmm_bus *mmio;
	struct vmm_bus *pio;
	struct vmm_pci_bus *pci_bus;
	struct vmm_virtio_device *device; /* borrowed */
	struct vmm_virtio_mmio *mmio_transport;
	struct vmm_virtio_pci *pci_transport;
	int irq_fd;

	/* Doorbells are bound (as KVM does) unless this is set: then kicks take the long way. */
	bool no_doorbells;
	struct vmm_virtio_doorbell doorbells[VMM_MACHINE_MAX_DOORBELLS];
	unsigned int n_doorbells;

	struct {
		bool routed;
		int fd;
		struct vmm_msi_message message;
	} vectors[VMM_MACHINE_MAX_VECTORS];
	unsigned int counts[VMM_MACHINE_MAX_NUMBERS];

	/* Called by run() after the queues were served. May be NULL. */
	void (*run_more)(void *userdata);
	void *userdata;
	/* The device serves its queues itself, in its threads or in run_more(). */
	bool own_threads;
};

/* Memory first, since devices need it: ram_bytes at 0. Exits the test program on failure. */
void vmm_machine_init(struct vmm_machine *machine, uint64_t ram_bytes);
void vmm_machine_attach(struct vmm_machine *machine, struct vmm_virtio_device *device, bool pci);
void vmm_machine_detach(struct vmm_machine *machine);
/* After the device is gone. */
void vmm_machine_finish(struct vmm_machine *machine);

#endif
