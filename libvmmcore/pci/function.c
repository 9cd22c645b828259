/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: one function: its configuration space with a mask of what may be written, its BARs. PCI
 * Local Bus 3.0, 6.1, 6.2.5, 6.7.
 */
#include "pci/pci-internal.h"

#include <string.h>

static const struct vmm_pci_ops no_ops;

static bool is_bar_valid(const struct vmm_pci_function_config *config, unsigned int index)
{
	const struct vmm_pci_bar *bar = &config->bars[index];

	if (bar->size_bytes == 0)
		return true;
	if (bar->size_bytes < 16 || (bar->size_bytes & (bar->size_bytes - 1)) != 0 || !bar->ops)
		return false;
	if (!bar->is_64bit)
		return bar->size_bytes <= UINT32_C(1) << 31;
	/* The second half is the next BAR's place. */
	return bar->size_bytes <= UINT64_C(1) << 62 && index + 1 < VMM_PCI_N_BARS &&
	       config->bars[index + 1].size_bytes == 0 &&
	       (config->n_vectors == 0 || config->msix_bar != index + 1);
}

static int check_config(const struct vmm_pci_function_config *config)
{
	if (config->n_vectors > VMM_PCI_MAX_VECTORS)
		return -EINVAL;
	if (config->n_vectors > 0 && (config->msix_bar >= VMM_PCI_N_BARS ||
					     config->bars[config->msix_bar].size_bytes != 0))
		return -EINVAL;
	for (unsigned int i = 0; i < VMM_PCI_N_BARS; i++)
		if (!is_bar_valid(config, i))
			return -EINVAL;
	return 0;
}

static void init_bar(
	struct vmm_pci_function *function, unsigned int index, const struct vmm_pci_bar *spec)
{
	unsigned int offset = PCI_BAR0 + 4 * index;
	uint64_t mask = ~(spec->size_bytes - 1);

	if (spec->size_bytes == 0)
		return;
	function->bars[index].spec = *spec;
	config_set32(function->config, offset,
		(spec->is_64bit ? PCI_BAR_64 : 0) | (spec->prefetchable ? PCI_BAR_PREFETCH : 0));
	config_set32(function->writable, offset, (uint32_t)mask & ~(uint32_t)PCI_BAR_FLAGS);
	if (spec->is_64bit)
		config_set32(function->writable, offset + 4, (uint32_t)(mask >> 32));
}

DEFINE_POINTER_CLEANUP(struct vmm_pci_function, vmm_pci_function_free);

int vmm_pci_function_new(
	const struct vmm_pci_function_config *config, struct vmm_pci_function **ret_function)
{
	CLEANUP(vmm_pci_function_free_p) struct vmm_pci_function *function = NULL;
	int r;

	r = check_config(config);
	if (r < 0)
		return r;
	function = malloc(sizeof(*function));
	if (!function)
		return -ENOMEM;
	*function = (struct vmm_pci_function){
		.next_capability = PCI_FIRST_CAPABILITY,
		.last_capability = PCI_CAPABILITIES,
		.ops = config->ops ? config->ops : &no_ops,
		.userdata = config->userdata,
	};
	pthread_mutex_init(&function->msix.lock, NULL);

	config_set16(function->config, PCI_VENDOR_ID, config->vendor_id);
	config_set16(function->config, PCI_DEVICE_ID, config->device_id);
	config_set32(function->config, PCI_REVISION, config->class_code << 8 | config->revision);
	config_set16(function->config, PCI_SUBSYSTEM_VENDOR, config->subsystem_vendor_id);
	config_set16(function->config, PCI_SUBSYSTEM, config->subsystem_id);
	config_set16(function->writable, PCI_COMMAND,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
	function->writable[PCI_CACHE_LINE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
	for (unsigned int i = 0; i < VMM_PCI_N_BARS; i++)
		init_bar(function, i, &config->bars[i]);
	if (config->n_vectors > 0) {
		const struct vmm_pci_bar spec = {
			.size_bytes = pci_msix_bar_bytes(config->n_vectors),
			.ops = &pci_msix_bus_ops,
			.userdata = function,
		};

		init_bar(function, config->msix_bar, &spec);
		r = pci_msix_init(function, config);
		if (r < 0)
			return r;
	}
	*ret_function = TAKE_PTR(function);
	return 0;
}

struct vmm_pci_function *vmm_pci_function_free(struct vmm_pci_function *function)
{
	if (!function)
		return NULL;
	vmm_pci_bus_remove(function);
	pci_msix_finish(function);
	pthread_mutex_destroy(&function->msix.lock);
	free(function);
	return NULL;
}

int vmm_pci_add_capability(struct vmm_pci_function *function, uint8_t id, const void *data,
	const void *writable, size_t size)
{
	unsigned int offset = function->next_capability;

	if (size < 2 || size > CONFIG_BYTES - offset)
		return -ENOSPC;
	memcpy(function->config + offset, data, size);
	if (writable)
		memcpy(function->writable + offset, writable, size);
	function->config[offset] = id;
	function->config[offset + 1] = 0;
	config_set16(function->writable, offset, 0);
	function->config[function->last_capability] = (uint8_t)offset;
	function->last_capability = offset + 1;
	function->next_capability = ALIGN_UP(offset + (unsigned int)size, 4u);
	config_set16(function->config, PCI_STATUS, PCI_STATUS_CAPABILITIES);
	return (int)offset;
}

int vmm_pci_add_registers(struct vmm_pci_function *function, unsigned int offset, const void *data,
	const void *writable, size_t size)
{
	if (offset < function->next_capability || offset >= CONFIG_BYTES)
		return -EINVAL;
	if (size == 0 || size > CONFIG_BYTES - offset)
		return -ENOSPC;
	memcpy(function->config + offset, data, size);
	if (writable)
		memcpy(function->writable + offset, writable, size);
	function->next_capability = ALIGN_UP(offset + (unsigned int)size, 4u);
	return 0;
}

uint8_t *vmm_pci_config_bytes(struct vmm_pci_function *function)
{
	return function->config;
}

uint64_t pci_bar_address(const struct vmm_pci_function *function, unsigned int bar)
{
	unsigned int offset = PCI_BAR0 + 4 * bar;
	uint64_t address = config_get32(function, offset) & ~(uint32_t)PCI_BAR_FLAGS;

	if (function->bars[bar].spec.is_64bit)
		address |= (uint64_t)config_get32(function, offset + 4) << 32;
	return address;
}

void pci_bar_set_address(struct vmm_pci_function *function, unsigned int bar, uint64_t gpa)
{
	unsigned int offset = PCI_BAR0 + 4 * bar;
	uint32_t flags = config_get32(function, offset) & PCI_BAR_FLAGS;

	config_set32(function->config, offset, (uint32_t)gpa | flags);
	if (function->bars[bar].spec.is_64bit)
		config_set32(function->config, offset + 4, (uint32_t)(gpa >> 32));
}

static void tell_bar(struct vmm_pci_function *function, unsigned int index)
{
	const struct bar *bar = &function->bars[index];

	if (function->ops->bar_moved)
		function->ops->bar_moved(function->userdata, index, bar->mapped, bar->gpa);
}

static void unmap_bar(struct vmm_pci_function *function, unsigned int index)
{
	struct bar *bar = &function->bars[index];

	vmm_bus_remove(function->bus->config.mmio, bar->gpa);
	bar->mapped = false;
	tell_bar(function, index);
}

static void map_bar(struct vmm_pci_function *function, unsigned int index, uint64_t gpa)
{
	struct bar *bar = &function->bars[index];
	struct vmm_bus_range range = {
		.base = gpa,
		.size = bar->spec.size_bytes,
		.ops = bar->spec.ops,
		.userdata = bar->spec.userdata,
	};

	/* Whatever is there already keeps its place: the guest put two things on one address. */
	if (vmm_bus_add(function->bus->config.mmio, &range) < 0)
		return;
	bar->mapped = true;
	bar->gpa = gpa;
	tell_bar(function, index);
}

bool pci_update_bars(struct vmm_pci_function *function)
{
	bool decode = config_get16(function, PCI_COMMAND) & PCI_COMMAND_MEMORY;
	bool any_unmapped = false;

	for (unsigned int i = 0; i < VMM_PCI_N_BARS; i++) {
		struct bar *bar = &function->bars[i];
		uint64_t gpa;
		bool wanted;

		if (bar->spec.size_bytes == 0)
			continue;
		gpa = pci_bar_address(function, i);
		wanted = decode && pci_in_window(function->bus, gpa, bar->spec.size_bytes);
		if (bar->mapped && (!wanted || bar->gpa != gpa)) {
			unmap_bar(function, i);
			any_unmapped = true;
		}
		if (wanted && !bar->mapped)
			map_bar(function, i, gpa);
	}
	return any_unmapped;
}

void pci_unmap_bars(struct vmm_pci_function *function)
{
	for (unsigned int i = 0; i < VMM_PCI_N_BARS; i++)
		if (function->bars[i].mapped)
			unmap_bar(function, i);
}

static bool overlaps(
	unsigned int offset, unsigned int length, unsigned int start, unsigned int size)
{
	return offset < start + size && start < offset + length;
}

void pci_config_read(
	struct vmm_pci_function *function, unsigned int offset, void *data, unsigned int length)
{
	if (offset >= PCI_FIRST_CAPABILITY && function->ops->config_read)
		function->ops->config_read(function->userdata, offset, length);
	memcpy(data, function->config + offset, length);
}

void pci_config_write(struct vmm_pci_function *function, unsigned int offset, const void *data,
	unsigned int length)
{
	const struct msix *msix = &function->msix;
	const uint8_t *bytes = data;

	for (unsigned int i = 0; i < length; i++) {
		uint8_t mask = function->writable[offset + i];
		uint8_t *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (bytes[i] & mask));
	}
	if (overlaps(offset, length, PCI_COMMAND, 2) ||
		overlaps(offset, length, PCI_BAR0, 4 * VMM_PCI_N_BARS)) {
		if (pci_update_bars(function))
			pci_retry_bars(function->bus);
	}
	if (msix->n_vectors > 0 && overlaps(offset, length, msix->capability + MSIX_CONTROL, 2))
		pci_msix_control_changed(function);
	if (offset >= PCI_FIRST_CAPABILITY && function->ops->config_written)
		function->ops->config_written(function->userdata, offset, length);
}

void vmm_pci_function_reset(struct vmm_pci_function *function)
{
	struct vmm_pci_bus *bus = function->bus;

	if (bus)
		pthread_mutex_lock(&bus->lock);
	config_set16(function->config, PCI_COMMAND, 0);
	if (bus && pci_update_bars(function))
		pci_retry_bars(bus);
	pci_msix_reset(function);
	if (bus)
		pthread_mutex_unlock(&bus->lock);
}
