/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kvm: a vCPU up to its first instruction: registers, MSRs, local APIC. Intel SDM volume 3,
 * chapters 3 (segments), 11 (local APIC), 12 (memory types).
 */
#include "kvm/kvm-internal.h"

#include <string.h>
#include <sys/mman.h>

#define CR0_PE UINT64_C(0x1)
#define CR0_ET UINT64_C(0x10)
#define CR0_PG UINT64_C(0x80000000)
#define CR4_PAE UINT64_C(0x20)
#define EFER_LME UINT64_C(0x100)
#define EFER_LMA UINT64_C(0x400)

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRINGS 1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK (1 << 11 | 6)

#define APIC_LVT0 0x350
#define APIC_LVT1 0x360
#define APIC_MODE_MASK UINT32_C(0x700)
#define APIC_MODE_NMI UINT32_C(0x400)
#define APIC_MODE_EXTINT UINT32_C(0x700)

struct vmm_vcpu *vmm_vcpu_free(struct vmm_vcpu *vcpu)
{
	if (!vcpu)
		return NULL;
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vm->kvm->run_size_bytes);
	vmm_base_close(vcpu->fd);
	free(vcpu);
	return NULL;
}

DEFINE_POINTER_CLEANUP(struct vmm_vcpu, vmm_vcpu_free);

int vmm_vcpu_new(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu **ret_vcpu)
{
	CLEANUP(vmm_vcpu_free_p) struct vmm_vcpu *vcpu = NULL;
	void *run;
	int r;

	if (id >= vm->kvm->max_vcpus)
		return -EINVAL;
	vcpu = malloc(sizeof(*vcpu));
	if (!vcpu)
		return -ENOMEM;
	*vcpu = (struct vmm_vcpu){ .vm = vm, .fd = -EBADF, .id = id };
	r = kvm_ioctl_number(vm->fd, KVM_CREATE_VCPU, id);
	if (r < 0)
		return r;
	vcpu->fd = r;
	run = mmap(NULL, vm->kvm->run_size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vcpu->run = run;
	*ret_vcpu = TAKE_PTR(vcpu);
	return 0;
}

int vmm_vcpu_fd(const struct vmm_vcpu *vcpu)
{
	return vcpu->fd;
}

uint32_t vmm_vcpu_id(const struct vmm_vcpu *vcpu)
{
	return vcpu->id;
}

int vmm_vcpu_set_msrs(struct vmm_vcpu *vcpu, const struct vmm_msr *msrs, size_t n_msrs)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one;
	int n_refused = 0;

	/* One at a time: KVM stops at the first that it refuses. */
	for (size_t i = 0; i < n_msrs; i++) {
		int r;

		memset(&one, 0, sizeof(one));
		one.head.nmsrs = 1;
		one.entry.index = msrs[i].index;
		one.entry.data = msrs[i].value;
		r = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &one);
		if (r < 0)
			return r;
		n_refused += r == 0;
	}
	return n_refused;
}

int vmm_vcpu_get_msr(struct vmm_vcpu *vcpu, uint32_t index, uint64_t *ret_value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one;
	int r;

	memset(&one, 0, sizeof(one));
	one.head.nmsrs = 1;
	one.entry.index = index;
	r = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &one);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret_value = one.entry.data;
	return 0;
}

static int set_boot_msrs(struct vmm_vcpu *vcpu)
{
	static const struct vmm_msr msrs[] = {
		{ MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRINGS },
		{ MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK },
	};
	int r = vmm_vcpu_set_msrs(vcpu, msrs, ARRAY_SIZE(msrs));

	/* A guest does without what the host refuses. */
	return r < 0 ? r : 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool code_64)
{
	bool is_code = type & 8;

	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.l = code_64,
		.db = !(is_code && code_64),
		.g = 1,
	};
}

static int set_sregs(struct vmm_vcpu *vcpu, const struct vmm_x86_entry *entry)
{
	struct kvm_segment data = flat_segment(entry->data_selector, 0x3, false);
	struct kvm_sregs sregs;
	int r;

	r = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (r < 0)
		return r;
	sregs.cs = flat_segment(entry->code_selector, 0xb, entry->long_mode);
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	/* A busy TSS, which is the same type for 32 and for 64 bits. */
	sregs.tr = (struct kvm_segment){
		.limit = 0x67, .selector = entry->tss_selector, .type = 0xb, .present = 1
	};
	sregs.gdt.base = entry->gdt_gpa;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.idt.base = entry->idt_gpa;
	sregs.idt.limit = entry->idt_limit;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (entry->long_mode) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	return kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

static int set_entry(struct vmm_vcpu *vcpu, const struct vmm_x86_entry *entry)
{
	struct vmm_x86_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rbx = entry->rbx,
		.rsi = entry->rsi,
		.rflags = 2, /* the bit that is always one */
	};
	int r;

	r = set_sregs(vcpu, entry);
	if (r < 0)
		return r;
	return vmm_vcpu_set_regs(vcpu, &regs);
}

static int set_fpu(struct vmm_vcpu *vcpu)
{
	/* As after FNINIT, and the reset value of MXCSR. */
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };

	return kvm_ioctl(vcpu->fd, KVM_SET_FPU, &fpu);
}

static void lapic_set_mode(struct kvm_lapic_state *lapic, size_t offset, uint32_t mode)
{
	uint32_t value;

	memcpy(&value, lapic->regs + offset, sizeof(value));
	value = (value & ~APIC_MODE_MASK) | mode;
	memcpy(lapic->regs + offset, &value, sizeof(value));
}

static int set_lapic(struct vmm_vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	int r;

	r = kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);
	if (r < 0)
		return r;
	lapic_set_mode(&lapic, APIC_LVT0, APIC_MODE_EXTINT);
	lapic_set_mode(&lapic, APIC_LVT1, APIC_MODE_NMI);
	return kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
}

int vmm_vcpu_setup(struct vmm_vcpu *vcpu, const struct vmm_vcpu_config *config)
{
	int r;

	/* First of all: what registers and MSRs may hold depends on it. */
	r = vmm_kvm_cpuid_set(vcpu, config);
	if (r < 0)
		return r;
	r = set_boot_msrs(vcpu);
	if (r < 0)
		return r;
	r = set_fpu(vcpu);
	if (r < 0)
		return r;
	/* The rest is for the first vCPU: INIT resets it in all others. */
	if (!config->entry)
		return 0;
	r = set_entry(vcpu, config->entry);
	if (r < 0)
		return r;
	return vcpu->vm->has_irqchip ? set_lapic(vcpu) : 0;
}

int vmm_vcpu_get_regs(struct vmm_vcpu *vcpu, struct vmm_x86_regs *ret_regs)
{
	struct kvm_regs own;
	const struct kvm_regs *regs = &own;
	int r;

	if (vcpu->regs_are_synced) {
		regs = &vcpu->run->s.regs.regs;
	} else {
		r = kvm_ioctl(vcpu->fd, KVM_GET_REGS, &own);
		if (r < 0)
			return r;
	}
	*ret_regs = (struct vmm_x86_regs){
		.rax = regs->rax,
		.rbx = regs->rbx,
		.rcx = regs->rcx,
		.rdx = regs->rdx,
		.rsi = regs->rsi,
		.rdi = regs->rdi,
		.rsp = regs->rsp,
		.rbp = regs->rbp,
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.rip = regs->rip,
		.rflags = regs->rflags,
	};
	return 0;
}

int vmm_vcpu_set_regs(struct vmm_vcpu *vcpu, const struct vmm_x86_regs *regs)
{
	struct kvm_regs own = {
		.rax = regs->rax,
		.rbx = regs->rbx,
		.rcx = regs->rcx,
		.rdx = regs->rdx,
		.rsi = regs->rsi,
		.rdi = regs->rdi,
		.rsp = regs->rsp,
		.rbp = regs->rbp,
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.rip = regs->rip,
		.rflags = regs->rflags,
	};
	int r = kvm_ioctl(vcpu->fd, KVM_SET_REGS, &own);

	if (r < 0)
		return r;
	vcpu->regs_are_synced = false;
	return 0;
}

int vmm_vcpu_sync_regs(struct vmm_vcpu *vcpu, bool on)
{
	if (on && !(vcpu->vm->kvm->sync_regs & KVM_SYNC_X86_REGS))
		return -EOPNOTSUPP;
	vcpu->sync_regs = on;
	vcpu->regs_are_synced = false;
	vcpu->run->kvm_valid_regs = on ? KVM_SYNC_X86_REGS : 0;
	return 0;
}
