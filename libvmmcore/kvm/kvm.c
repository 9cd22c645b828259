/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* kvm: the system: an open /dev/kvm, and whether it has what this block needs. */
#include "kvm/kvm-internal.h"

#include <fcntl.h>
#include <string.h>

static const struct {
	int number;
	const char *name;
} needed_capabilities[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
};

int vmm_kvm_capability(const struct vmm_kvm *kvm, int capability)
{
	int r = kvm_ioctl_number(kvm->fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

	return r < 0 ? 0 : r;
}

uint32_t vmm_kvm_max_vcpus(const struct vmm_kvm *kvm)
{
	return kvm->max_vcpus;
}

static int check_needed(const struct vmm_kvm *kvm, const char **ret_missing)
{
	int version = kvm_ioctl_number(kvm->fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return version;
	if (version != KVM_API_VERSION)
		return -ENODEV;
	for (size_t i = 0; i < ARRAY_SIZE(needed_capabilities); i++) {
		if (vmm_kvm_capability(kvm, needed_capabilities[i].number) == 0) {
			*ret_missing = needed_capabilities[i].name;
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

static int read_limits(struct vmm_kvm *kvm)
{
	int n_vcpus = vmm_kvm_capability(kvm, KVM_CAP_MAX_VCPUS);
	int n_ids = vmm_kvm_capability(kvm, KVM_CAP_MAX_VCPU_ID);
	int run_size = kvm_ioctl_number(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (run_size < 0)
		return run_size;
	if ((size_t)run_size < sizeof(struct kvm_run))
		return -EPROTO;
	kvm->run_size_bytes = (size_t)run_size;
	/* A KVM that does not say is of the time when 4 was the limit. */
	if (n_vcpus == 0)
		n_vcpus = 4;
	if (n_ids > 0)
		n_vcpus = MIN(n_vcpus, n_ids);
	kvm->max_vcpus = (uint32_t)MIN(n_vcpus, VMM_VM_MAX_VCPUS);
	kvm->max_routes = (uint32_t)MIN(vmm_kvm_capability(kvm, KVM_CAP_IRQ_ROUTING), 4096);
	kvm->tsc_deadline = vmm_kvm_capability(kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	kvm->sync_regs = (uint64_t)vmm_kvm_capability(kvm, KVM_CAP_SYNC_REGS);
	return 0;
}

static int read_supported_cpuid(struct vmm_kvm *kvm)
{
	int r;

	kvm->cpuid = calloc(
		1, sizeof(*kvm->cpuid) + CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
	if (!kvm->cpuid)
		return -ENOMEM;
	kvm->cpuid->nent = CPUID_MAX_ENTRIES;
	r = kvm_ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, kvm->cpuid);
	if (r < 0)
		return r;
	vmm_kvm_cpuid_complete(kvm->cpuid);
	return 0;
}

struct vmm_kvm *vmm_kvm_free(struct vmm_kvm *kvm)
{
	if (!kvm)
		return NULL;
	vmm_base_close(kvm->fd);
	free(kvm->cpuid);
	free(kvm);
	return NULL;
}

DEFINE_POINTER_CLEANUP(struct vmm_kvm, vmm_kvm_free);

/* Takes fd over, also on failure. */
static int new_take_fd(int fd, struct vmm_kvm **ret_kvm, const char **ret_missing)
{
	CLEANUP(vmm_kvm_free_p) struct vmm_kvm *kvm = NULL;
	int r;

	kvm = malloc(sizeof(*kvm));
	if (!kvm) {
		vmm_base_close(fd);
		return -ENOMEM;
	}
	*kvm = (struct vmm_kvm){ .fd = fd };
	r = check_needed(kvm, ret_missing);
	if (r < 0)
		return r;
	r = read_limits(kvm);
	if (r < 0)
		return r;
	r = read_supported_cpuid(kvm);
	if (r < 0)
		return r;
	*ret_kvm = TAKE_PTR(kvm);
	return 0;
}

int vmm_kvm_new(int kvm_fd, struct vmm_kvm **ret_kvm, const char **ret_missing)
{
	const char *ignored;
	int fd;

	if (!ret_missing)
		ret_missing = &ignored;
	*ret_missing = NULL;
	fd = fcntl(kvm_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	return new_take_fd(fd, ret_kvm, ret_missing);
}

int vmm_kvm_open(const char *path, struct vmm_kvm **ret_kvm, const char **ret_missing)
{
	const char *ignored;
	int fd;

	if (!ret_missing)
		ret_missing = &ignored;
	*ret_missing = NULL;
	fd = open(path ? path : "/dev/kvm", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return new_take_fd(fd, ret_kvm, ret_missing);
}
