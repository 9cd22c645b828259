/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * board: what stands between KVM and devices, ready-made, for monitors that want it as most do: a
 * VM whose memory slots are the regions of a vmm_mem, two buses, interrupt lines and messages and
 * doorbells that never leave the kernel, and a thread for each vCPU that carries accesses to the
 * buses. Everything here is done with kvm.h, mem.h and bus.h alone, and can be done otherwise.
 *
 *	vmm_board_new()      from a vmm_kvm and a vmm_mem
 *	...                  devices on vmm_board_pio() and vmm_board_mmio(), with
 *	                     vmm_board_irq(), vmm_board_msi(), vmm_board_doorbells()
 *	vmm_board_start()    with the entry that a loader gave
 *	vmm_board_stop()     at the end, and then devices and board are freed
 *
 * Hostile inputs and what happens:
 *
 *   | input                                         | result                                |
 *   |-----------------------------------------------|---------------------------------------|
 *   | guest: access of any kind                     | see bus.h                             |
 *   | guest: triple fault, code KVM cannot run      | ops->stopped, that vCPU ends          |
 *   | guest: more MSI messages than KVM has routes  | -ENOSPC to the device                 |
 *   | a GSI that is no pin                          | -EINVAL                               |
 *
 * Threads: new, start, stop and free in one thread at a time; the rest from any thread.
 */
#ifndef VMMCORE_BOARD_H
#define VMMCORE_BOARD_H

#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>
#include <vmmcore/kvm.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

struct vmm_board;

/* Called in a vCPU's thread. None may call start, stop or free. Each may be NULL. */
struct vmm_board_ops {
	/*
	 * First in each vCPU's thread, as to close its sandbox. Negative: the vCPU does not run,
	 * and stopped follows.
	 */
	int (*thread_start)(void *userdata, uint32_t vcpu_id);

	/*
	 * The vCPU runs no more, though nobody stopped the board. error: a negative errno of the
	 * host, or 0 where exit says why (VMM_EXIT_SHUTDOWN...; NULL with an error).
	 */
	void (*stopped)(
		void *userdata, uint32_t vcpu_id, int error, const struct vmm_vcpu_exit *exit);
};

/* Zero is the default of each member but kvm and mem. */
struct vmm_board_config {
	struct vmm_kvm *kvm;       /* borrowed, outlives the board */
	struct vmm_mem *mem;       /* borrowed, outlives the board; has all its regions */
	uint32_t n_vcpus;          /* 1 */
	uint32_t threads_per_core; /* as in vmm_vcpu_config */
	uint32_t cores_per_socket;
	int kick_signal;                 /* as for vmm_vcpu_attach(); its handler is installed */
	const struct vmm_board_ops *ops; /* borrowed, may be NULL */
	void *userdata;                  /* borrowed */
};

/* -EINVAL, -ENOMEM, and what KVM gives. */
VMM_PUBLIC int vmm_board_new(const struct vmm_board_config *config, struct vmm_board **ret_board);

/* Stops it. The devices are gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_board *vmm_board_free(struct vmm_board *board);

/* Borrowed. */
VMM_PUBLIC struct vmm_vm *vmm_board_vm(struct vmm_board *board);
VMM_PUBLIC struct vmm_bus *vmm_board_pio(struct vmm_board *board);
VMM_PUBLIC struct vmm_bus *vmm_board_mmio(struct vmm_board *board);

/*
 * An edge-triggered line to pin gsi of the IOAPIC, as a line for devices and as the eventfd
 * behind it, which is returned and borrowed. Both live as long as the board and are the same each
 * time. -EINVAL where gsi is no pin, errno of eventfd, and what KVM gives.
 */
VMM_PUBLIC int vmm_board_irq(struct vmm_board *board, uint32_t gsi, struct vmm_irq *ret_irq);
VMM_PUBLIC int vmm_board_irq_fd(struct vmm_board *board, uint32_t gsi);

/* For the vectors of PCI functions. */
VMM_PUBLIC struct vmm_msi vmm_board_msi(struct vmm_board *board);

/* For the transports of virtio devices, with the board as userdata. */
VMM_PUBLIC const struct vmm_virtio_doorbell_ops *vmm_board_doorbells(void);

/*
 * Sets up the vCPUs, entry for the first, and runs each in a thread of its own, in which all
 * signals but the kick are blocked. Once: -EALREADY, also after a failure. On failure none runs:
 * what vmm_vcpu_setup() gives for the configuration, errno of sigaction and pthread_create.
 */
VMM_PUBLIC int vmm_board_start(struct vmm_board *board, const struct vmm_x86_entry *entry);

/* Ends all vCPUs' threads and waits for them. What was stopped cannot be started again. */
VMM_PUBLIC void vmm_board_stop(struct vmm_board *board);

/*
 * Holds all vCPUs: when it returns no guest code runs and none is in a device. -ETIMEDOUT where
 * one does not answer in time; it is held all the same once it does. A board that is paused when
 * it starts is held from its first instruction on. Each pause is ended by a resume. Not from a
 * vCPU's thread.
 */
VMM_PUBLIC int vmm_board_pause(struct vmm_board *board, uint64_t timeout_nsec);
VMM_PUBLIC void vmm_board_resume(struct vmm_board *board);

/*
 * Waits until each vCPU has left the access that it was in, if any: between taking a device off a
 * bus and freeing it. -ETIMEDOUT. Not from a vCPU's thread.
 */
VMM_PUBLIC int vmm_board_sync(struct vmm_board *board, uint64_t timeout_nsec);

VMM_END_DECLS

#endif
