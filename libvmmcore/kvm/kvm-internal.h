/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* kvm: what the files of this block share. */
#ifndef VMM_KVM_INTERNAL_H
#define VMM_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include <vmmcore/kvm.h>

#include "base/util.h"

/* More entries than any KVM has today; the rest of the array is for our own. */
#define CPUID_MAX_ENTRIES 256

struct vmm_kvm {
	int fd; /* owned */
	size_t run_size_bytes;
	uint32_t max_vcpus;
	uint32_t max_routes;
	bool tsc_deadline;
	uint64_t sync_regs;       /* KVM_SYNC_X86_... that can be had */
	struct kvm_cpuid2 *cpuid; /* owned: what KVM supports; read-only after new */
};

struct memory_slot {
	uint64_t size_bytes; /* 0: free */
	bool dirty_log;
};

/* One MSI GSI: VMM_VM_N_IOAPIC_PINS and up, index 0 being the first. */
struct msi_gsi {
	bool used;
	bool bound;       /* fd is an irqfd on it now */
	int fd;           /* borrowed; -EBADF: allocated by vmm_vm_msi_alloc() */
	uint32_t i_entry; /* its place in the routing table; 0: no route yet */
};

struct vmm_vm {
	const struct vmm_kvm *kvm; /* borrowed */
	int fd;                    /* owned */
	bool manual_dirty_log;
	bool has_irqchip;

	pthread_mutex_t slots_lock;
	struct memory_slot slots[VMM_VM_MAX_SLOTS];

	pthread_mutex_t routes_lock;
	struct msi_gsi *msis; /* owned */
	uint32_t n_msis, n_msis_room;
	struct kvm_irq_routing *routing; /* owned: the table as KVM has it */
};

struct vmm_vcpu {
	struct vmm_vm *vm; /* borrowed */
	int fd;            /* owned */
	uint32_t id;
	struct kvm_run *run; /* owned mapping, shared with the kernel */

	/* String I/O that is not wholly handed out yet; the vCPU's thread only. */
	uint32_t n_items_left;
	uint8_t *next_item;
	bool sync_regs;
	bool regs_are_synced; /* run->s.regs is what the vCPU has */
	bool pause_was_told;  /* to KVM's clock, in this pause */

	/*
	 * Kicks. run->immediate_exit is the request; who sets it from 0 to 1 signals tid. wake_seq
	 * is the futex of a thread that is held by a pause.
	 */
	atomic_int tid; /* 0: no thread is attached */
	int kick_signal;
	_Atomic uint32_t n_pauses;
	_Atomic uint32_t wake_seq;
	_Atomic uint32_t n_answers; /* futex of vmm_vcpu_sync() */
	_Atomic uint32_t n_waiting; /* for n_answers */
};

/* ioctl, retried on EINTR, with -errno as its failure. */
static inline int kvm_ioctl(int fd, unsigned long request, void *argument)
{
	int r;

	do
		r = ioctl(fd, request, argument);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static inline int kvm_ioctl_number(int fd, unsigned long request, unsigned long argument)
{
	return kvm_ioctl(fd, request, (void *)argument);
}

/* Fills in what KVM supports but leaves to its caller. */
void vmm_kvm_cpuid_complete(struct kvm_cpuid2 *cpuid);

/* Gives a vCPU its CPUID table: KVM's own, changed for its place in the topology. */
int vmm_kvm_cpuid_set(struct vmm_vcpu *vcpu, const struct vmm_vcpu_config *config);

void vmm_kvm_routes_finish(struct vmm_vm *vm);

#endif
