/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * acpi: the registers behind the tables: sleep, reset, events, PCI hotplug. The layout is in
 * vmmcore/acpi.h, the methods that use it are made in dsdt.c.
 *
 * The interrupt line is high while events are pending, and falls and rises with each further one:
 * a guest whose interrupt controller was not set up yet has missed the edge of the first, and would
 * never read what keeps the line high. Reading the event register clears it.
 */
#include <pthread.h>
#include <string.h>

#include "acpi/acpi-internal.h"
#include "base/util.h"

enum {
	/* ACPI 6.4 §4.8.3.7 */
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7,
	SLEEP_ENABLE = 1 << 5,
};

struct vmm_ged {
	struct vmm_ged_config config;

	pthread_mutex_t lock; /* of all below */
	uint32_t events;
	uint32_t pci_occupied;
	uint32_t pci_plugged;
	uint32_t pci_leaving;
};

static int raise_locked(struct vmm_ged *ged, uint32_t events)
{
	bool is_high = ged->events != 0;
	int r = 0;

	ged->events |= events;
	if (ged->events == 0)
		return 0;
	if (is_high)
		r = vmm_irq_set_level(&ged->config.irq, false);
	return r < 0 ? r : vmm_irq_set_level(&ged->config.irq, true);
}

static uint32_t take(uint32_t *value)
{
	uint32_t taken = *value;

	*value = 0;
	return taken;
}

static uint32_t read_locked(struct vmm_ged *ged, uint64_t offset)
{
	uint32_t value;

	switch (offset) {
	case GED_EVENTS:
		value = take(&ged->events);
		(void)vmm_irq_set_level(&ged->config.irq, false);
		return value;
	case GED_PCI_PLUGGED:
		return take(&ged->pci_plugged);
	case GED_PCI_LEAVING:
		return take(&ged->pci_leaving);
	default:
		return 0;
	}
}

/* Reading clears, so no part of a 32-bit register is read alone: such a read gives 0. */
static void ged_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_ged *ged = userdata;
	uint32_t value = 0;

	memset(data, 0, length);
	if (offset < GED_EVENTS || length != sizeof(value))
		return;
	pthread_mutex_lock(&ged->lock);
	value = read_locked(ged, offset);
	pthread_mutex_unlock(&ged->lock);
	memcpy(data, &value, sizeof(value));
}

static void eject(struct vmm_ged *ged, uint32_t slots)
{
	pthread_mutex_lock(&ged->lock);
	slots &= ged->pci_occupied;
	ged->pci_occupied &= ~slots;
	ged->pci_plugged &= ~slots;
	ged->pci_leaving &= ~slots;
	pthread_mutex_unlock(&ged->lock);
	for (unsigned int slot = 0; slot < VMM_ACPI_MAX_PCI_SLOTS; slot++) {
		if ((slots >> slot & 1) && ged->config.ops && ged->config.ops->pci_eject)
			ged->config.ops->pci_eject(ged->config.userdata, slot);
	}
}

static void sleep_write(struct vmm_ged *ged, uint8_t value)
{
	if ((value & SLEEP_ENABLE) &&
		(value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == GED_SLEEP_TYPE_S5 &&
		ged->config.ops && ged->config.ops->power_off)
		ged->config.ops->power_off(ged->config.userdata);
}

static void ged_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_ged *ged = userdata;
	uint32_t value = 0;

	memcpy(&value, data, MIN(length, sizeof(value)));
	switch (offset) {
	case GED_SLEEP_CONTROL:
		sleep_write(ged, (uint8_t)value);
		break;
	case GED_RESET:
		if ((uint8_t)value == VMM_GED_RESET_VALUE && ged->config.ops &&
			ged->config.ops->reset)
			ged->config.ops->reset(ged->config.userdata);
		break;
	case GED_PCI_EJECT:
		if (length == sizeof(value))
			eject(ged, value);
		break;
	default:
		break;
	}
}

static const struct vmm_bus_ops bus_ops = {
	.read = ged_read,
	.write = ged_write,
};

int vmm_ged_new(const struct vmm_ged_config *config, struct vmm_ged **ret_ged)
{
	struct vmm_bus_range range;
	struct vmm_ged *ged;
	int r;

	/* Slot 0 is the host bridge. */
	if (!config->bus || (config->pci_occupied & 1))
		return -EINVAL;
	ged = malloc(sizeof(*ged));
	if (!ged)
		return -ENOMEM;
	*ged = (struct vmm_ged){ .config = *config, .pci_occupied = config->pci_occupied };
	if (ged->config.port == 0)
		ged->config.port = VMM_GED_PORT;
	pthread_mutex_init(&ged->lock, NULL);
	range = (struct vmm_bus_range){
		.base = ged->config.port,
		.size = VMM_GED_SIZE_BYTES,
		.ops = &bus_ops,
		.userdata = ged,
	};
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		pthread_mutex_destroy(&ged->lock);
		free(ged);
		return r;
	}
	*ret_ged = ged;
	return 0;
}

struct vmm_ged *vmm_ged_free(struct vmm_ged *ged)
{
	if (!ged)
		return NULL;
	vmm_bus_remove(ged->config.bus, ged->config.port);
	pthread_mutex_destroy(&ged->lock);
	free(ged);
	return NULL;
}

int vmm_ged_raise(struct vmm_ged *ged, uint32_t events)
{
	int r;

	pthread_mutex_lock(&ged->lock);
	r = raise_locked(ged, events);
	pthread_mutex_unlock(&ged->lock);
	return r;
}

static bool slot_ok(unsigned int slot)
{
	return slot > 0 && slot < VMM_ACPI_MAX_PCI_SLOTS;
}

int vmm_ged_pci_plug(struct vmm_ged *ged, unsigned int slot)
{
	uint32_t bit;
	int r = -EEXIST;

	if (!slot_ok(slot))
		return -EINVAL;
	bit = UINT32_C(1) << slot;
	pthread_mutex_lock(&ged->lock);
	if (!(ged->pci_occupied & bit)) {
		ged->pci_occupied |= bit;
		ged->pci_plugged |= bit;
		r = raise_locked(ged, VMM_GED_PCI_HOTPLUG);
	}
	pthread_mutex_unlock(&ged->lock);
	return r;
}

int vmm_ged_pci_unplug(struct vmm_ged *ged, unsigned int slot)
{
	uint32_t bit;
	int r = -ENOENT;

	if (!slot_ok(slot))
		return -EINVAL;
	bit = UINT32_C(1) << slot;
	pthread_mutex_lock(&ged->lock);
	if (ged->pci_occupied & bit) {
		ged->pci_leaving |= bit;
		r = raise_locked(ged, VMM_GED_PCI_HOTPLUG);
	}
	pthread_mutex_unlock(&ged->lock);
	return r;
}

int vmm_ged_pci_occupy(struct vmm_ged *ged, unsigned int slot)
{
	uint32_t bit;
	int r = -EEXIST;

	if (!slot_ok(slot))
		return -EINVAL;
	bit = UINT32_C(1) << slot;
	pthread_mutex_lock(&ged->lock);
	if (!(ged->pci_occupied & bit)) {
		ged->pci_occupied |= bit;
		r = 0;
	}
	pthread_mutex_unlock(&ged->lock);
	return r;
}

int vmm_ged_pci_gone(struct vmm_ged *ged, unsigned int slot)
{
	uint32_t bit;
	int r;

	if (!slot_ok(slot))
		return -EINVAL;
	bit = UINT32_C(1) << slot;
	pthread_mutex_lock(&ged->lock);
	ged->pci_occupied &= ~bit;
	ged->pci_leaving &= ~bit;
	/* A device check, as for one that came: what answers in the slot is nothing. */
	ged->pci_plugged |= bit;
	r = raise_locked(ged, VMM_GED_PCI_HOTPLUG);
	pthread_mutex_unlock(&ged->lock);
	return r;
}
