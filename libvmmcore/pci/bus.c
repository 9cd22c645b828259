/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: the host bridge: the ways into configuration space, the slots, and the windows from
 * which BARs get their addresses.
 */
#include "pci/pci-internal.h"

#include <string.h>

#define PORT_ADDRESS 0xcf8
#define PORT_DATA 0xcfc
#define PORT_ADDRESS_ENABLE 0x80000000u

/* The function at (bus, slot, function), or NULL. With the lock held. */
static struct vmm_pci_function *find(
	struct vmm_pci_bus *bus, unsigned int n_bus, unsigned int slot, unsigned int n_function)
{
	return n_bus == 0 && n_function == 0 ? bus->slots[slot] : NULL;
}

/* Configuration accesses are of 1, 2 or 4 bytes, aligned. Data of a read is all ones before. */
static bool is_config_access(uint64_t offset, size_t length)
{
	return (length == 1 || length == 2 || length == 4) && IS_ALIGNED(offset, length) &&
	       offset < CONFIG_BYTES;
}

static struct vmm_pci_function *find_ecam(struct vmm_pci_bus *bus, uint64_t offset)
{
	return find(bus, (unsigned int)(offset >> 20), offset >> 15 & 31, offset >> 12 & 7);
}

static void ecam_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;
	struct vmm_pci_function *function;
	unsigned int reg = offset & 0xfff;

	if (!is_config_access(reg, length))
		return;
	pthread_mutex_lock(&bus->lock);
	function = find_ecam(bus, offset);
	if (function)
		pci_config_read(function, reg, data, (unsigned int)length);
	pthread_mutex_unlock(&bus->lock);
}

static void ecam_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;
	struct vmm_pci_function *function;
	unsigned int reg = offset & 0xfff;

	if (!is_config_access(reg, length))
		return;
	pthread_mutex_lock(&bus->lock);
	function = find_ecam(bus, offset);
	if (function)
		pci_config_write(function, reg, data, (unsigned int)length);
	pthread_mutex_unlock(&bus->lock);
}

static const struct vmm_bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* 0xcf8 exists as a dword only: 0xcf9 is something else on a PC. */
static void port_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;

	if (offset != 0 || length != 4)
		return;
	pthread_mutex_lock(&bus->lock);
	memcpy(data, &bus->port_address, 4);
	pthread_mutex_unlock(&bus->lock);
}

static void port_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;

	if (offset != 0 || length != 4)
		return;
	pthread_mutex_lock(&bus->lock);
	memcpy(&bus->port_address, data, 4);
	pthread_mutex_unlock(&bus->lock);
}

static const struct vmm_bus_ops port_address_ops = { .read = port_read, .write = port_write };

static struct vmm_pci_function *find_port(struct vmm_pci_bus *bus, unsigned int *ret_reg)
{
	uint32_t address = bus->port_address;

	if (!(address & PORT_ADDRESS_ENABLE))
		return NULL;
	*ret_reg = address & 0xfc;
	return find(bus, address >> 16 & 0xff, address >> 11 & 31, address >> 8 & 7);
}

static void port_data_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;
	struct vmm_pci_function *function;
	unsigned int reg;

	if (!is_config_access(offset, length))
		return;
	pthread_mutex_lock(&bus->lock);
	function = find_port(bus, &reg);
	if (function)
		pci_config_read(function, reg + (unsigned int)offset, data, (unsigned int)length);
	pthread_mutex_unlock(&bus->lock);
}

static void port_data_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_pci_bus *bus = userdata;
	struct vmm_pci_function *function;
	unsigned int reg;

	if (!is_config_access(offset, length))
		return;
	pthread_mutex_lock(&bus->lock);
	function = find_port(bus, &reg);
	if (function)
		pci_config_write(function, reg + (unsigned int)offset, data, (unsigned int)length);
	pthread_mutex_unlock(&bus->lock);
}

static const struct vmm_bus_ops port_data_ops = {
	.read = port_data_read,
	.write = port_data_write,
};

static int add_host_bridge(struct vmm_pci_bus *bus)
{
	/* The identity of a generic PCI Express host bridge, to which no driver binds. */
	static const struct vmm_pci_function_config config = {
		.vendor_id = 0x1b36,
		.device_id = 0x0008,
		.class_code = 0x060000,
	};
	int r;

	r = vmm_pci_function_new(&config, &bus->host_bridge);
	if (r < 0)
		return r;
	bus->host_bridge->bus = bus;
	bus->slots[0] = bus->host_bridge;
	return 0;
}

static int add_ranges(struct vmm_pci_bus *bus)
{
	struct vmm_bus_range ecam = { bus->config.ecam_gpa, VMM_PCI_ECAM_BYTES, &ecam_ops, bus };
	struct vmm_bus_range address = { PORT_ADDRESS, 4, &port_address_ops, bus };
	struct vmm_bus_range data = { PORT_DATA, 4, &port_data_ops, bus };
	int r;

	r = vmm_bus_add(bus->config.mmio, &ecam);
	if (r < 0)
		return r;
	bus->has_ecam = true;
	if (!bus->config.pio)
		return 0;
	r = vmm_bus_add(bus->config.pio, &address);
	if (r < 0)
		return r;
	r = vmm_bus_add(bus->config.pio, &data);
	if (r < 0) {
		vmm_bus_remove(bus->config.pio, PORT_ADDRESS);
		return r;
	}
	bus->has_ports = true;
	return 0;
}

static bool is_window_valid(uint64_t gpa, uint64_t size_bytes, uint64_t limit)
{
	uint64_t end;

	return !__builtin_add_overflow(gpa, size_bytes, &end) && end <= limit;
}

DEFINE_POINTER_CLEANUP(struct vmm_pci_bus, vmm_pci_bus_free);

int vmm_pci_bus_new(const struct vmm_pci_bus_config *config, struct vmm_pci_bus **ret_bus)
{
	CLEANUP(vmm_pci_bus_free_p) struct vmm_pci_bus *bus = NULL;
	int r;

	if (!config->mmio || !IS_ALIGNED(config->ecam_gpa, VMM_PCI_ECAM_BYTES) ||
		!is_window_valid(config->window32_gpa, config->window32_bytes, UINT64_C(1) << 32) ||
		!is_window_valid(config->window64_gpa, config->window64_bytes, UINT64_MAX))
		return -EINVAL;
	bus = malloc(sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	*bus = (struct vmm_pci_bus){ .config = *config };
	pthread_mutex_init(&bus->lock, NULL);
	r = add_host_bridge(bus);
	if (r < 0)
		return r;
	r = add_ranges(bus);
	if (r < 0)
		return r;
	*ret_bus = TAKE_PTR(bus);
	return 0;
}

struct vmm_pci_bus *vmm_pci_bus_free(struct vmm_pci_bus *bus)
{
	if (!bus)
		return NULL;
	if (bus->has_ports) {
		vmm_bus_remove(bus->config.pio, PORT_DATA);
		vmm_bus_remove(bus->config.pio, PORT_ADDRESS);
	}
	if (bus->has_ecam)
		vmm_bus_remove(bus->config.mmio, bus->config.ecam_gpa);
	vmm_pci_function_free(bus->host_bridge);
	for (unsigned int i = 0; i < VMM_PCI_N_SLOTS; i++)
		assert(!bus->slots[i]);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
	return NULL;
}

uint32_t vmm_pci_bus_slots(struct vmm_pci_bus *bus)
{
	uint32_t slots = 0;

	pthread_mutex_lock(&bus->lock);
	for (unsigned int i = 0; i < VMM_PCI_N_SLOTS; i++)
		if (bus->slots[i])
			slots |= UINT32_C(1) << i;
	pthread_mutex_unlock(&bus->lock);
	return slots;
}

static bool is_inside(uint64_t gpa, uint64_t size_bytes, uint64_t window_gpa, uint64_t window_bytes)
{
	return gpa >= window_gpa && size_bytes <= window_bytes &&
	       gpa - window_gpa <= window_bytes - size_bytes;
}

bool pci_in_window(const struct vmm_pci_bus *bus, uint64_t gpa, uint64_t size_bytes)
{
	const struct vmm_pci_bus_config *config = &bus->config;

	return is_inside(gpa, size_bytes, config->window32_gpa, config->window32_bytes) ||
	       is_inside(gpa, size_bytes, config->window64_gpa, config->window64_bytes);
}

void pci_retry_bars(struct vmm_pci_bus *bus)
{
	for (unsigned int i = 0; i < VMM_PCI_N_SLOTS; i++)
		if (bus->slots[i])
			pci_update_bars(bus->slots[i]);
}

/* A BAR whose register overlaps [gpa, gpa + size), mapped or not. Returns its end, or 0. */
static uint64_t find_overlap(const struct vmm_pci_bus *bus, uint64_t gpa, uint64_t size_bytes)
{
	for (unsigned int s = 0; s < VMM_PCI_N_SLOTS; s++) {
		const struct vmm_pci_function *function = bus->slots[s];

		for (unsigned int i = 0; function && i < VMM_PCI_N_BARS; i++) {
			uint64_t other_bytes = function->bars[i].spec.size_bytes;
			uint64_t other = pci_bar_address(function, i);

			/* What the guest put outside the windows is in nobody's way. */
			if (other_bytes == 0 || !pci_in_window(bus, other, other_bytes))
				continue;
			if (gpa < other + other_bytes && other < gpa + size_bytes)
				return other + other_bytes;
		}
	}
	return 0;
}

static bool allocate(const struct vmm_pci_bus *bus, uint64_t window_gpa, uint64_t window_bytes,
	uint64_t size_bytes, uint64_t *ret_gpa)
{
	uint64_t gpa = ALIGN_UP(window_gpa, size_bytes);

	while (gpa >= window_gpa && is_inside(gpa, size_bytes, window_gpa, window_bytes)) {
		uint64_t end = find_overlap(bus, gpa, size_bytes);

		if (end == 0) {
			*ret_gpa = gpa;
			return true;
		}
		/* Strictly upwards, so this ends; a wrap to 0 leaves the window. */
		gpa = ALIGN_UP(end, size_bytes);
	}
	return false;
}

static int allocate_bars(struct vmm_pci_bus *bus, struct vmm_pci_function *function)
{
	const struct vmm_pci_bus_config *config = &bus->config;

	for (unsigned int i = 0; i < VMM_PCI_N_BARS; i++) {
		const struct vmm_pci_bar *spec = &function->bars[i].spec;
		uint64_t gpa;

		if (spec->size_bytes == 0)
			continue;
		if (!(spec->is_64bit && allocate(bus, config->window64_gpa, config->window64_bytes,
						spec->size_bytes, &gpa)) &&
			!allocate(bus, config->window32_gpa, config->window32_bytes,
				spec->size_bytes, &gpa))
			return -ENOSPC;
		pci_bar_set_address(function, i, gpa);
	}
	return 0;
}

int vmm_pci_bus_add(struct vmm_pci_bus *bus, struct vmm_pci_function *function, unsigned int slot)
{
	int r;

	if (function->bus || slot >= VMM_PCI_N_SLOTS)
		return -EINVAL;
	pthread_mutex_lock(&bus->lock);
	if (slot == VMM_PCI_SLOT_ANY)
		for (slot = 1; slot < VMM_PCI_N_SLOTS && bus->slots[slot]; slot++)
			;
	else if (bus->slots[slot])
		slot = UINT32_MAX;
	if (slot >= VMM_PCI_N_SLOTS) {
		pthread_mutex_unlock(&bus->lock);
		return slot == UINT32_MAX ? -EBUSY : -ENOSPC;
	}
	/* In its slot already, so that its BARs are kept apart from each other. */
	bus->slots[slot] = function;
	r = allocate_bars(bus, function);
	if (r < 0) {
		bus->slots[slot] = NULL;
		pthread_mutex_unlock(&bus->lock);
		return r;
	}
	function->bus = bus;
	function->slot = slot;
	pthread_mutex_unlock(&bus->lock);
	return (int)slot;
}

void vmm_pci_bus_remove(struct vmm_pci_function *function)
{
	struct vmm_pci_bus *bus = function->bus;

	if (!bus)
		return;
	pthread_mutex_lock(&bus->lock);
	pci_unmap_bars(function);
	bus->slots[function->slot] = NULL;
	pci_retry_bars(bus);
	pthread_mutex_unlock(&bus->lock);
	function->bus = NULL;
	vmm_pci_function_reset(function);
}
