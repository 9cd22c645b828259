/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kvm: eventfds: those that raise interrupts, those that accesses signal, and the table that says
 * which message an MSI GSI stands for.
 *
 * KVM takes that table only as a whole and waits for its readers each time, so it is given when
 * a message really changes and at no other time: an unbound fd keeps its route.
 */
#include "kvm/kvm-internal.h"

#include <string.h>

/* The routes that KVM itself starts with: 16 pins of the PICs, 24 of the IOAPIC. */
#define N_PIC_PINS 16
#define N_PIN_ROUTES (N_PIC_PINS + VMM_VM_N_IOAPIC_PINS)

static int irqfd(struct vmm_vm *vm, int fd, int resample_fd, uint32_t gsi, uint32_t flags)
{
	struct kvm_irqfd what = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = resample_fd >= 0 ? (uint32_t)resample_fd : 0,
	};
	int r = kvm_ioctl(vm->fd, KVM_IRQFD, &what);

	return r < 0 ? r : 0;
}

int vmm_vm_irqfd_assign(struct vmm_vm *vm, int fd, uint32_t gsi)
{
	return irqfd(vm, fd, -EBADF, gsi, 0);
}

int vmm_vm_irqfd_assign_resample(struct vmm_vm *vm, int fd, int resample_fd, uint32_t gsi)
{
	if (resample_fd < 0)
		return -EBADF;
	return irqfd(vm, fd, resample_fd, gsi, KVM_IRQFD_FLAG_RESAMPLE);
}

int vmm_vm_irqfd_deassign(struct vmm_vm *vm, int fd, uint32_t gsi)
{
	return irqfd(vm, fd, -EBADF, gsi, KVM_IRQFD_FLAG_DEASSIGN);
}

static int ioeventfd(struct vmm_vm *vm, const struct vmm_vm_ioeventfd *what, uint32_t flags)
{
	struct kvm_ioeventfd request = {
		.datamatch = what->has_datamatch ? what->datamatch : 0,
		.addr = what->address,
		.len = what->length_bytes,
		.fd = what->fd,
		.flags = flags | (what->pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (what->has_datamatch ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};
	int r;

	if (what->has_datamatch && what->length_bytes == 0)
		return -EINVAL;
	r = kvm_ioctl(vm->fd, KVM_IOEVENTFD, &request);
	return r < 0 ? r : 0;
}

int vmm_vm_ioeventfd_assign(struct vmm_vm *vm, const struct vmm_vm_ioeventfd *what)
{
	return ioeventfd(vm, what, 0);
}

int vmm_vm_ioeventfd_deassign(struct vmm_vm *vm, const struct vmm_vm_ioeventfd *what)
{
	return ioeventfd(vm, what, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static struct kvm_irq_routing_entry pin_route(uint32_t gsi, uint32_t chip, uint32_t pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static void fill_pin_routes(struct kvm_irq_routing *routing)
{
	uint32_t n = 0;

	for (uint32_t pin = 0; pin < N_PIC_PINS; pin++)
		routing->entries[n++] = pin_route(
			pin, pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	for (uint32_t pin = 0; pin < VMM_VM_N_IOAPIC_PINS; pin++)
		routing->entries[n++] = pin_route(pin, KVM_IRQCHIP_IOAPIC, pin);
	routing->nr = n;
}

/* Room for one more MSI, in both tables, so that setting a route never allocates. */
static int reserve(struct vmm_vm *vm)
{
	uint32_t room = vm->n_msis_room ? vm->n_msis_room * 2 : 16;
	struct kvm_irq_routing *routing;
	struct msi_gsi *msis;

	if (vm->n_msis < vm->n_msis_room)
		return 0;
	if (vm->kvm->max_routes < N_PIN_ROUTES)
		return -ENOSPC;
	room = MIN(room, vm->kvm->max_routes - N_PIN_ROUTES);
	if (vm->n_msis >= room)
		return -ENOSPC;

	msis = reallocarray(vm->msis, room, sizeof(*msis));
	if (!msis)
		return -ENOMEM;
	vm->msis = msis;
	routing = realloc(vm->routing,
		sizeof(*routing) + (N_PIN_ROUTES + room) * sizeof(routing->entries[0]));
	if (!routing)
		return -ENOMEM;
	if (!vm->routing) {
		memset(routing, 0, sizeof(*routing));
		fill_pin_routes(routing);
	}
	vm->routing = routing;
	vm->n_msis_room = room;
	return 0;
}

/* Returns the index of a free MSI, made for fd. */
static int alloc_locked(struct vmm_vm *vm, int fd)
{
	uint32_t i;
	int r;

	for (i = 0; i < vm->n_msis; i++)
		if (!vm->msis[i].used)
			break;
	if (i == vm->n_msis) {
		r = reserve(vm);
		if (r < 0)
			return r;
		vm->n_msis++;
	}
	vm->msis[i] = (struct msi_gsi){ .used = true, .fd = fd };
	return (int)i;
}

static uint32_t gsi_of(uint32_t i)
{
	return VMM_VM_N_IOAPIC_PINS + i;
}

static int route_locked(struct vmm_vm *vm, uint32_t i, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi_of(i),
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {
			.address_lo = (uint32_t)address,
			.address_hi = (uint32_t)(address >> 32),
			.data = data,
		},
	};
	struct kvm_irq_routing_entry before = { 0 };
	uint32_t at = vm->msis[i].i_entry;
	bool is_new = at == 0;
	int r;

	if (is_new) {
		at = vm->routing->nr++;
	} else {
		before = vm->routing->entries[at];
		if (memcmp(&before.u.msi, &entry.u.msi, sizeof(entry.u.msi)) == 0)
			return 0;
	}
	vm->routing->entries[at] = entry;
	r = kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, vm->routing);
	if (r >= 0) {
		vm->msis[i].i_entry = at;
		return 0;
	}
	if (is_new)
		vm->routing->nr--;
	else
		vm->routing->entries[at] = before;
	return r;
}

/*
 * Takes the route out of our table; KVM is told with the next change: nothing signals a freed GSI
 * before that.
 */
static void free_locked(struct vmm_vm *vm, uint32_t i)
{
	uint32_t at = vm->msis[i].i_entry;

	if (at != 0) {
		uint32_t last = --vm->routing->nr;

		vm->routing->entries[at] = vm->routing->entries[last];
		vm->msis[vm->routing->entries[at].gsi - VMM_VM_N_IOAPIC_PINS].i_entry = at;
	}
	vm->msis[i] = (struct msi_gsi){ .fd = -EBADF };
}

int vmm_vm_msi_alloc(struct vmm_vm *vm)
{
	int i;

	pthread_mutex_lock(&vm->routes_lock);
	i = alloc_locked(vm, -EBADF);
	pthread_mutex_unlock(&vm->routes_lock);
	return i < 0 ? i : (int)gsi_of((uint32_t)i);
}

static bool is_allocated_locked(const struct vmm_vm *vm, uint32_t gsi)
{
	return gsi >= VMM_VM_N_IOAPIC_PINS && gsi - VMM_VM_N_IOAPIC_PINS < vm->n_msis &&
	       vm->msis[gsi - VMM_VM_N_IOAPIC_PINS].used;
}

int vmm_vm_msi_route(struct vmm_vm *vm, uint32_t gsi, uint64_t address, uint32_t data)
{
	int r = -EINVAL;

	pthread_mutex_lock(&vm->routes_lock);
	if (is_allocated_locked(vm, gsi))
		r = route_locked(vm, gsi - VMM_VM_N_IOAPIC_PINS, address, data);
	pthread_mutex_unlock(&vm->routes_lock);
	return r;
}

void vmm_vm_msi_free(struct vmm_vm *vm, uint32_t gsi)
{
	pthread_mutex_lock(&vm->routes_lock);
	if (is_allocated_locked(vm, gsi))
		free_locked(vm, gsi - VMM_VM_N_IOAPIC_PINS);
	pthread_mutex_unlock(&vm->routes_lock);
}

static struct msi_gsi *find_locked(struct vmm_vm *vm, int fd)
{
	for (uint32_t i = 0; i < vm->n_msis; i++)
		if (vm->msis[i].used && vm->msis[i].fd == fd)
			return &vm->msis[i];
	return NULL;
}

static int bind_locked(struct vmm_vm *vm, int fd, uint64_t address, uint32_t data)
{
	struct msi_gsi *msi = find_locked(vm, fd);
	bool is_new = !msi;
	uint32_t i;
	int r;

	if (is_new) {
		r = alloc_locked(vm, fd);
		if (r < 0)
			return r;
		msi = &vm->msis[r];
	}
	i = (uint32_t)(msi - vm->msis);
	r = route_locked(vm, i, address, data);
	if (r >= 0 && !msi->bound) {
		r = irqfd(vm, fd, -EBADF, gsi_of(i), 0);
		msi->bound = r >= 0;
	}
	if (r < 0 && is_new)
		free_locked(vm, i);
	return r;
}

static int unbind_locked(struct vmm_vm *vm, struct msi_gsi *msi)
{
	int r;

	if (!msi->bound)
		return 0;
	r = irqfd(vm, msi->fd, -EBADF, gsi_of((uint32_t)(msi - vm->msis)), KVM_IRQFD_FLAG_DEASSIGN);
	if (r < 0)
		return r;
	msi->bound = false;
	return 0;
}

int vmm_vm_msi_bind(struct vmm_vm *vm, int fd, uint64_t address, uint32_t data)
{
	int r;

	if (fd < 0)
		return -EBADF;
	pthread_mutex_lock(&vm->routes_lock);
	r = bind_locked(vm, fd, address, data);
	pthread_mutex_unlock(&vm->routes_lock);
	return r;
}

int vmm_vm_msi_unbind(struct vmm_vm *vm, int fd)
{
	struct msi_gsi *msi;
	int r = 0;

	if (fd < 0)
		return 0;
	pthread_mutex_lock(&vm->routes_lock);
	msi = find_locked(vm, fd);
	if (msi)
		r = unbind_locked(vm, msi);
	pthread_mutex_unlock(&vm->routes_lock);
	return r;
}

void vmm_vm_msi_forget(struct vmm_vm *vm, int fd)
{
	struct msi_gsi *msi;

	if (fd < 0)
		return;
	pthread_mutex_lock(&vm->routes_lock);
	msi = find_locked(vm, fd);
	if (msi) {
		unbind_locked(vm, msi);
		free_locked(vm, (uint32_t)(msi - vm->msis));
	}
	pthread_mutex_unlock(&vm->routes_lock);
}

void vmm_kvm_routes_finish(struct vmm_vm *vm)
{
	free(vm->msis);
	free(vm->routing);
}
