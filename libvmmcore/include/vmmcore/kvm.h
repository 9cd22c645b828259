/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kvm: virtual machines and vCPUs on Linux' /dev/kvm (Documentation/virt/kvm/api.rst). The only
 * block that knows KVM, and it knows nothing but KVM: no memory table, no bus, no device. What
 * it needs of those comes as plain numbers, pointers and descriptors.
 *
 *   vmm_kvm    the system: an open /dev/kvm that has what this block needs
 *   vmm_vm     memory slots, interrupt controller, eventfds that raise interrupts (irqfd) and
 *              that accesses signal (ioeventfd), MSI routes, the dirty log
 *   vmm_vcpu   set-up for its first instruction, run, kick, pause
 *
 * The order that starts fastest, because adding a slot waits for nobody while there is neither
 * an interrupt controller nor a vCPU: vmm_vm_new(), vmm_vm_set_memory()...,
 * vmm_vm_create_irqchip(), vmm_vcpu_new(), vmm_vcpu_setup(), then in each vCPU's thread
 * vmm_vcpu_attach() and vmm_vcpu_run().
 *
 * Hostile inputs and what happens:
 *
 *   | input                                         | result                                |
 *   |-----------------------------------------------|---------------------------------------|
 *   | a descriptor that is not /dev/kvm             | -ENOTTY, or -ENODEV: another version  |
 *   | a KVM without a needed capability             | -EOPNOTSUPP, and its name             |
 *   | an MSR or a CPUID leaf that KVM refuses       | left out, counted                     |
 *   | a slot number beyond VMM_VM_MAX_SLOTS         | -EINVAL                               |
 *   | a bitmap smaller than its slot                | -ENOBUFS, nothing is written          |
 *   | a GSI that is not an allocated MSI GSI        | -EINVAL                               |
 *   | guest: string I/O of many items               | one exit an item, the data in place   |
 *   | guest: code that KVM cannot run               | an exit: VMM_EXIT_INTERNAL_ERROR      |
 *   | guest: triple fault                           | an exit: VMM_EXIT_SHUTDOWN            |
 *   | guest: an MSI that no local APIC takes        | dropped                               |
 *
 * Threads: functions of vmm_kvm and vmm_vm may be called from any thread, several at once, but
 * for new and free. A vCPU belongs to the thread that attached it; vmm_vcpu_kick(), _pause(),
 * _resume(), _sync() and _n_answers() may be called from any thread.
 */
#ifndef VMMCORE_KVM_H
#define VMMCORE_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_VM_MAX_SLOTS 512
#define VMM_VM_MAX_VCPUS 254 /* APIC ids 0 to 253: no interrupt remapping is needed */
#define VMM_VM_N_IOAPIC_PINS 24

/* Three pages for KVM's own use on hosts that need them, and one more below: never RAM. */
#define VMM_VM_TSS_GPA UINT64_C(0xfffbd000)
#define VMM_VM_IDENTITY_MAP_GPA UINT64_C(0xfffbc000)

struct vmm_kvm;
struct vmm_vm;
struct vmm_vcpu;

/* ---- the system ---- */

/*
 * kvm_fd is an open /dev/kvm; it is duplicated, the caller keeps its own. Each capability that
 * this block needs is checked: where one is missing the result is -EOPNOTSUPP and
 * *ret_missing its name ("KVM_CAP_IRQFD", static storage); ret_missing may be NULL and is
 * written in any case, NULL where it is not about a capability.
 */
VMM_PUBLIC int vmm_kvm_new(int kvm_fd, struct vmm_kvm **ret_kvm, const char **ret_missing);

/* The same for a path; NULL: "/dev/kvm". Also the errno of open(). */
VMM_PUBLIC int vmm_kvm_open(const char *path, struct vmm_kvm **ret_kvm, const char **ret_missing);

/* All VMs made from it are freed before. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_kvm *vmm_kvm_free(struct vmm_kvm *kvm);

/* What KVM_CHECK_EXTENSION says of a KVM_CAP_ number: 0 is no. */
VMM_PUBLIC int vmm_kvm_capability(const struct vmm_kvm *kvm, int capability);

/* The most vCPUs a VM can have: KVM's limit and VMM_VM_MAX_VCPUS, the smaller. */
VMM_PUBLIC uint32_t vmm_kvm_max_vcpus(const struct vmm_kvm *kvm);

/* ---- the VM ---- */

/* Zero is the default of each member. */
struct vmm_vm_config {
	uint64_t tss_gpa;          /* VMM_VM_TSS_GPA */
	uint64_t identity_map_gpa; /* VMM_VM_IDENTITY_MAP_GPA */
	/*
	 * vmm_vm_dirty_log_get() leaves the log as it is, and vmm_vm_dirty_log_clear() clears
	 * what it is told to. -EOPNOTSUPP on a KVM that cannot.
	 */
	bool manual_dirty_log;
};

/* config may be NULL. */
VMM_PUBLIC int vmm_vm_new(
	struct vmm_kvm *kvm, const struct vmm_vm_config *config, struct vmm_vm **ret_vm);

/* All vCPUs are freed before. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_vm *vmm_vm_free(struct vmm_vm *vm);

/* For what this block does not offer. Borrowed. */
VMM_PUBLIC int vmm_vm_fd(const struct vmm_vm *vm);

struct vmm_vm_memory {
	uint32_t slot;       /* below VMM_VM_MAX_SLOTS, the caller's choice */
	uint64_t gpa;        /* whole pages, as the others */
	uint64_t size_bytes; /* 0 removes the slot */
	void *host;          /* borrowed: stays mapped until the slot is removed */
	bool read_only;      /* a guest's write becomes VMM_EXIT_MMIO_WRITE */
	bool dirty_log;
};

/*
 * Adds, changes (gpa or flags of the same size and host) or removes a slot. -EINVAL, -EEXIST
 * where it overlaps another slot, and what KVM_SET_USER_MEMORY_REGION gives.
 */
VMM_PUBLIC int vmm_vm_set_memory(struct vmm_vm *vm, const struct vmm_vm_memory *memory);

/*
 * Copies the slot's log into bitmap, bit 0 of word 0 being its first page, and clears it unless
 * the log is manual. n_words is (pages + 63) / 64 or more. -ENOENT where the slot has no log.
 */
VMM_PUBLIC int vmm_vm_dirty_log_get(
	struct vmm_vm *vm, uint32_t slot, uint64_t *bitmap, size_t n_words);

/*
 * For a manual log: clears those pages of [first_page, first_page + n_pages) whose bits are set.
 * Bit 0 of word 0 is first_page, a multiple of 64; n_pages is one too unless it reaches the end
 * of the slot.
 */
VMM_PUBLIC int vmm_vm_dirty_log_clear(struct vmm_vm *vm, uint32_t slot, uint64_t first_page,
	uint32_t n_pages, const uint64_t *bitmap);

/*
 * The interrupt controllers, in the kernel: PICs, an IOAPIC of 24 pins (GSI 0 to 23) at
 * 0xfec00000 and a local APIC a vCPU. Before the first vCPU. The PICs are masked until a guest
 * initialises them. with_pit adds an i8254, for guests without hardware-reduced ACPI.
 */
VMM_PUBLIC int vmm_vm_create_irqchip(struct vmm_vm *vm, bool with_pit);

/* Sets the level of a pin of the IOAPIC (and of the PICs, below 16). */
VMM_PUBLIC int vmm_vm_set_irq(struct vmm_vm *vm, uint32_t gsi, bool level);

/*
 * irqfd: a signal on fd (an eventfd, borrowed) raises gsi, with no thread in between: an edge
 * for a pin, a message for an MSI GSI. One fd leads to one GSI at a time: -EBUSY.
 *
 * Resampling is for level-triggered pins: a signal raises the line, and it stays up until the
 * guest ends the interrupt; then KVM lowers it and signals resample_fd, and who still wants
 * service signals fd again.
 *
 * Deassign waits until no delivery from fd is under way.
 */
VMM_PUBLIC int vmm_vm_irqfd_assign(struct vmm_vm *vm, int fd, uint32_t gsi);
VMM_PUBLIC int vmm_vm_irqfd_assign_resample(
	struct vmm_vm *vm, int fd, int resample_fd, uint32_t gsi);
VMM_PUBLIC int vmm_vm_irqfd_deassign(struct vmm_vm *vm, int fd, uint32_t gsi);

/* ioeventfd: a guest's write signals fd (borrowed) and makes no exit. */
struct vmm_vm_ioeventfd {
	int fd;
	uint64_t address;      /* a port number where pio is set */
	uint32_t length_bytes; /* 1, 2, 4, 8: only writes of that size; 0: of any size */
	bool pio;
	bool has_datamatch; /* only where the value written is datamatch; needs a size */
	uint64_t datamatch;
};

/* -EEXIST for the same place (and value) twice. */
VMM_PUBLIC int vmm_vm_ioeventfd_assign(struct vmm_vm *vm, const struct vmm_vm_ioeventfd *what);
VMM_PUBLIC int vmm_vm_ioeventfd_deassign(struct vmm_vm *vm, const struct vmm_vm_ioeventfd *what);

/*
 * MSI, the short way: from now on a signal on fd (an eventfd, borrowed, at most one message at a
 * time) is delivered to the guest as this message. Again with another message: rerouted. The
 * route that fd had is kept while it is unbound, so that masking and unmasking a vector costs one
 * ioctl each; vmm_vm_msi_forget() gives it back and comes before fd is closed. -ENOSPC when KVM's
 * table of routes is full. Unbind and forget of an unknown fd do nothing.
 */
VMM_PUBLIC int vmm_vm_msi_bind(struct vmm_vm *vm, int fd, uint64_t address, uint32_t data);
VMM_PUBLIC int vmm_vm_msi_unbind(struct vmm_vm *vm, int fd);
VMM_PUBLIC void vmm_vm_msi_forget(struct vmm_vm *vm, int fd);

/*
 * MSI, the long way: a GSI of one's own (returned, 24 or higher; -ENOSPC), the message it stands
 * for, and an irqfd on it. A route that does not change costs nothing to set again.
 */
VMM_PUBLIC int vmm_vm_msi_alloc(struct vmm_vm *vm);
VMM_PUBLIC int vmm_vm_msi_route(struct vmm_vm *vm, uint32_t gsi, uint64_t address, uint32_t data);
VMM_PUBLIC void vmm_vm_msi_free(struct vmm_vm *vm, uint32_t gsi);

/* Sends a message now. 1: delivered; 0: no local APIC took it. */
VMM_PUBLIC int vmm_vm_signal_msi(struct vmm_vm *vm, uint64_t address, uint32_t data);

/* ---- vCPUs ---- */

/* A vCPU; its id is its APIC id. -EEXIST, -ENOMEM, and what KVM_CREATE_VCPU and mmap give. */
VMM_PUBLIC int vmm_vcpu_new(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu **ret_vcpu);

/* No thread is in vmm_vcpu_run(). Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_vcpu *vmm_vcpu_free(struct vmm_vcpu *vcpu);

/* For what this block does not offer. Borrowed. */
VMM_PUBLIC int vmm_vcpu_fd(const struct vmm_vcpu *vcpu);
VMM_PUBLIC uint32_t vmm_vcpu_id(const struct vmm_vcpu *vcpu);

/* Zero is the default of each member. */
struct vmm_vcpu_config {
	uint32_t n_vcpus;          /* of the whole VM; 1 */
	uint32_t threads_per_core; /* 1 */
	uint32_t cores_per_socket; /* all in one socket */
	/* Where it starts; NULL: an application processor, it waits for INIT and SIPI. */
	const struct vmm_x86_entry *entry;
};

/*
 * All that a vCPU needs before its first instruction: CPUID (what the host's KVM supports, with
 * topology and APIC ids for this vCPU, the hypervisor bit, KVM's signature, the host processor's
 * name, and TSC_DEADLINE where KVM has it), MSRs, FPU, and where it has an entry registers and the
 * local APIC with ExtINT and NMI at LINT0 and LINT1. APIC ids are the vCPU's numbers, so where
 * there are several sockets each is a power of two of threads, and so is each core. -EINVAL for a
 * bad config.
 */
VMM_PUBLIC int vmm_vcpu_setup(struct vmm_vcpu *vcpu, const struct vmm_vcpu_config *config);

struct vmm_msr {
	uint32_t index;
	uint64_t value;
};

/* Sets each in turn. Returns how many KVM refused (0: none), or a negative errno. */
VMM_PUBLIC int vmm_vcpu_set_msrs(struct vmm_vcpu *vcpu, const struct vmm_msr *msrs, size_t n_msrs);

/* -ENOENT where KVM refuses it. */
VMM_PUBLIC int vmm_vcpu_get_msr(struct vmm_vcpu *vcpu, uint32_t index, uint64_t *ret_value);

/* For tests and debugging. In the vCPU's thread, or while it is paused or not attached. */
struct vmm_x86_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

VMM_PUBLIC int vmm_vcpu_get_regs(struct vmm_vcpu *vcpu, struct vmm_x86_regs *ret_regs);
VMM_PUBLIC int vmm_vcpu_set_regs(struct vmm_vcpu *vcpu, const struct vmm_x86_regs *regs);

/*
 * Asks KVM to leave the registers in shared memory at each exit, so that vmm_vcpu_get_regs()
 * makes no system call. -EOPNOTSUPP.
 */
VMM_PUBLIC int vmm_vcpu_sync_regs(struct vmm_vcpu *vcpu, bool on);

/*
 * Kicks need a signal whose handler may run at any time in a vCPU's thread and does nothing.
 * The monitor chooses it (0: SIGRTMIN) and installs that handler once for its process with
 * vmm_kvm_install_kick_handler(), or has one of its own.
 */
VMM_PUBLIC int vmm_kvm_install_kick_handler(int signal_number);

/*
 * Makes the calling thread this vCPU's and unblocks the kick signal in it. -EINVAL where the
 * signal has no handler, -EBUSY where another thread is attached. Detach before the thread ends.
 */
VMM_PUBLIC int vmm_vcpu_attach(struct vmm_vcpu *vcpu, int kick_signal);
VMM_PUBLIC void vmm_vcpu_detach(struct vmm_vcpu *vcpu);

enum vmm_exit {
	VMM_EXIT_KICK = 0, /* vmm_vcpu_kick() was called: look at what is wanted */
	VMM_EXIT_PIO_READ,
	VMM_EXIT_PIO_WRITE,
	VMM_EXIT_MMIO_READ,
	VMM_EXIT_MMIO_WRITE,
	VMM_EXIT_HLT,            /* only without an interrupt controller in the kernel */
	VMM_EXIT_SHUTDOWN,       /* triple fault */
	VMM_EXIT_SYSTEM_EVENT,   /* detail[0] is KVM_SYSTEM_EVENT_... */
	VMM_EXIT_INTERNAL_ERROR, /* KVM cannot go on: detail[0] is KVM_INTERNAL_ERROR_... */
	VMM_EXIT_FAIL_ENTRY,     /* detail[0] is the hardware's reason */
	VMM_EXIT_UNKNOWN,        /* detail[0] is KVM_EXIT_... */
};

/*
 * One access is one exit. data points into memory shared with the kernel: a read is answered by
 * writing length_bytes there before the next vmm_vcpu_run(); it holds all ones before that.
 */
struct vmm_vcpu_exit {
	enum vmm_exit reason;
	uint32_t length_bytes; /* 1, 2, 4 (PIO); 1 to 8 (MMIO) */
	uint64_t address;      /* port or guest-physical address */
	void *data;            /* valid until the next vmm_vcpu_run() */
	uint64_t detail[4];
};

/*
 * Runs the vCPU until something is to be done, in the attached thread. 0: *ret_exit says what.
 * A negative errno is the host's, as -EFAULT where memory behind a slot is gone; the vCPU can
 * not go on after it.
 */
VMM_PUBLIC int vmm_vcpu_run(struct vmm_vcpu *vcpu, struct vmm_vcpu_exit *ret_exit);

/*
 * Makes vmm_vcpu_run(), now or when it is next called, come back with VMM_EXIT_KICK. No kick is
 * lost: what the kicker wrote before it is visible to the vCPU's thread after that exit. Kicks
 * that come before the exit are one.
 */
VMM_PUBLIC void vmm_vcpu_kick(struct vmm_vcpu *vcpu);

/*
 * Holds the vCPU inside vmm_vcpu_run() until as many calls of resume have come as of pause. Pause
 * does not wait; vmm_vcpu_sync() does. A paused guest is told so by KVM's clock, where it uses
 * that, and does not take the gap for a lock-up. While paused, kicks still come out of
 * vmm_vcpu_run(): the thread calls it again and is held again.
 */
VMM_PUBLIC void vmm_vcpu_pause(struct vmm_vcpu *vcpu);
VMM_PUBLIC void vmm_vcpu_resume(struct vmm_vcpu *vcpu);

/*
 * How many kicks the vCPU's thread has answered. To see that a thread is alive without waiting:
 * read it, kick, look later whether it changed.
 */
VMM_PUBLIC uint32_t vmm_vcpu_n_answers(const struct vmm_vcpu *vcpu);

/*
 * Kicks and waits for the answer: afterwards the thread has left whatever access it was handling
 * when this was called, sees what the caller wrote before, and runs no guest code if it was
 * paused. 0, or -ETIMEDOUT. At once 0 where no thread is attached, or in the vCPU's own thread.
 */
VMM_PUBLIC int vmm_vcpu_sync(struct vmm_vcpu *vcpu, uint64_t timeout_nsec);

VMM_END_DECLS

#endif
