/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* kvm: the VM itself: memory slots, the dirty log, the interrupt controllers. */
#include "kvm/kvm-internal.h"

#include <string.h>

#define PAGE_BYTES UINT64_C(4096)

struct vmm_vm *vmm_vm_free(struct vmm_vm *vm)
{
	if (!vm)
		return NULL;
	vmm_kvm_routes_finish(vm);
	vmm_base_close(vm->fd);
	pthread_mutex_destroy(&vm->slots_lock);
	pthread_mutex_destroy(&vm->routes_lock);
	free(vm);
	return NULL;
}

DEFINE_POINTER_CLEANUP(struct vmm_vm, vmm_vm_free);

static int set_own_pages(struct vmm_vm *vm, const struct vmm_vm_config *config)
{
	uint64_t tss_gpa = config->tss_gpa ? config->tss_gpa : VMM_VM_TSS_GPA;
	uint64_t identity_map_gpa =
		config->identity_map_gpa ? config->identity_map_gpa : VMM_VM_IDENTITY_MAP_GPA;
	int r;

	r = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map_gpa);
	if (r < 0)
		return r;
	return kvm_ioctl_number(vm->fd, KVM_SET_TSS_ADDR, tss_gpa);
}

static int enable_manual_dirty_log(struct vmm_vm *vm)
{
	struct kvm_enable_cap enable = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	int modes = vmm_kvm_capability(vm->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);

	if (!(modes & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		return -EOPNOTSUPP;
	/* Not KVM_DIRTY_LOG_INITIALLY_SET: the log starts out clean, as the other kind does. */
	enable.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	return kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &enable);
}

int vmm_vm_new(struct vmm_kvm *kvm, const struct vmm_vm_config *config, struct vmm_vm **ret_vm)
{
	static const struct vmm_vm_config default_config;
	CLEANUP(vmm_vm_free_p) struct vmm_vm *vm = NULL;
	int r;

	if (!config)
		config = &default_config;
	vm = malloc(sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	*vm = (struct vmm_vm){
		.kvm = kvm,
		.fd = -EBADF,
		.slots_lock = PTHREAD_MUTEX_INITIALIZER,
		.routes_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	/* KVM makes descriptors O_CLOEXEC itself. */
	r = kvm_ioctl_number(kvm->fd, KVM_CREATE_VM, 0);
	if (r < 0)
		return r;
	vm->fd = r;
	r = set_own_pages(vm, config);
	if (r < 0)
		return r;
	if (config->manual_dirty_log) {
		r = enable_manual_dirty_log(vm);
		if (r < 0)
			return r;
		vm->manual_dirty_log = true;
	}
	*ret_vm = TAKE_PTR(vm);
	return 0;
}

int vmm_vm_fd(const struct vmm_vm *vm)
{
	return vm->fd;
}

int vmm_vm_set_memory(struct vmm_vm *vm, const struct vmm_vm_memory *memory)
{
	struct kvm_userspace_memory_region region = {
		.slot = memory->slot,
		.guest_phys_addr = memory->gpa,
		.memory_size = memory->size_bytes,
		.userspace_addr = (uintptr_t)memory->host,
		.flags = (memory->read_only ? KVM_MEM_READONLY : 0) |
			 (memory->dirty_log ? KVM_MEM_LOG_DIRTY_PAGES : 0),
	};
	uint64_t end;
	int r;

	if (memory->slot >= VMM_VM_MAX_SLOTS)
		return -EINVAL;
	if (!IS_ALIGNED(memory->gpa | memory->size_bytes | (uintptr_t)memory->host, PAGE_BYTES))
		return -EINVAL;
	if (__builtin_add_overflow(memory->gpa, memory->size_bytes, &end))
		return -EINVAL;

	/* Held over the ioctl, so that the size kept here is the size that KVM has. */
	pthread_mutex_lock(&vm->slots_lock);
	r = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (r >= 0)
		vm->slots[memory->slot] = (struct memory_slot){
			.size_bytes = memory->size_bytes,
			.dirty_log = memory->dirty_log && memory->size_bytes > 0,
		};
	pthread_mutex_unlock(&vm->slots_lock);
	return r < 0 ? r : 0;
}

int vmm_vm_dirty_log_get(struct vmm_vm *vm, uint32_t slot, uint64_t *bitmap, size_t n_words)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };
	uint64_t n_pages;
	int r;

	if (slot >= VMM_VM_MAX_SLOTS)
		return -EINVAL;
	pthread_mutex_lock(&vm->slots_lock);
	n_pages = vm->slots[slot].size_bytes / PAGE_BYTES;
	if (!vm->slots[slot].dirty_log)
		r = -ENOENT;
	else if (n_words < (n_pages + 63) / 64)
		r = -ENOBUFS;
	else
		r = kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	pthread_mutex_unlock(&vm->slots_lock);
	return r < 0 ? r : 0;
}

int vmm_vm_dirty_log_clear(struct vmm_vm *vm, uint32_t slot, uint64_t first_page, uint32_t n_pages,
	const uint64_t *bitmap)
{
	struct kvm_clear_dirty_log log = {
		.slot = slot,
		.first_page = first_page,
		.num_pages = n_pages,
		.dirty_bitmap = (void *)bitmap,
	};
	int r;

	if (slot >= VMM_VM_MAX_SLOTS || !vm->manual_dirty_log)
		return -EINVAL;
	r = kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log);
	return r < 0 ? r : 0;
}

/*
 * As firmware leaves them. KVM's PICs come out of reset with all pins open and vectors from 0 on,
 * and a guest of hardware-reduced ACPI never looks at them: its first interrupt on a GSI below 16
 * would reach it as an exception, too.
 */
static int mask_pics(struct vmm_vm *vm)
{
	static const uint32_t chips[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE };

	for (size_t i = 0; i < ARRAY_SIZE(chips); i++) {
		struct kvm_irqchip state = { .chip_id = chips[i] };
		int r;

		r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &state);
		if (r < 0)
			return r;
		state.chip.pic.imr = 0xff;
		r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &state);
		if (r < 0)
			return r;
	}
	return 0;
}

int vmm_vm_create_irqchip(struct vmm_vm *vm, bool with_pit)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r;

	r = kvm_ioctl_number(vm->fd, KVM_CREATE_IRQCHIP, 0);
	if (r < 0)
		return r;
	vm->has_irqchip = true;
	r = mask_pics(vm);
	if (r < 0)
		return r;
	if (with_pit)
		r = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
	return r < 0 ? r : 0;
}

int vmm_vm_set_irq(struct vmm_vm *vm, uint32_t gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };
	int r;

	if (gsi >= VMM_VM_N_IOAPIC_PINS)
		return -EINVAL;
	r = kvm_ioctl(vm->fd, KVM_IRQ_LINE, &irq);
	return r < 0 ? r : 0;
}

int vmm_vm_signal_msi(struct vmm_vm *vm, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	int r;

	r = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	/* KVM counts the local APICs that took it, and says -1 (EPERM) where none did. */
	if (r == -EPERM)
		return 0;
	return r < 0 ? r : r > 0;
}
