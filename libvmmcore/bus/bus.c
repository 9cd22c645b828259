/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * bus: the table of ranges.
 *
 * vCPUs look ranges up at each exit, a guest moves a BAR now and then. So readers take no lock:
 * they read the table under a sequence count and read again where it changed meanwhile. Writers
 * are serialized by a mutex and make the count odd while they change the table.
 *
 * Ordering: the fields of an entry are stored with release and loaded with acquire. A reader
 * that sees a field of a new entry therefore sees the odd count that was stored before it, and
 * its second look at the count differs from the first.
 */
#include <pthread.h>
#include <string.h>

#include <vmmcore/bus.h>

#include "base/util.h"

struct vmm_bus {
	pthread_mutex_t lock;                            /* of writers */
	uint32_t sequence;                               /* atomic; odd while the table changes */
	size_t n_ranges;                                 /* atomic */
	struct vmm_bus_range ranges[VMM_BUS_MAX_RANGES]; /* fields atomic; sorted by base */
};

int vmm_bus_new(struct vmm_bus **ret_bus)
{
	struct vmm_bus *bus = malloc(sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	/* The entries are written before they are counted. */
	bus->sequence = 0;
	bus->n_ranges = 0;
	pthread_mutex_init(&bus->lock, NULL);
	*ret_bus = bus;
	return 0;
}

struct vmm_bus *vmm_bus_free(struct vmm_bus *bus)
{
	if (!bus)
		return NULL;
	pthread_mutex_destroy(&bus->lock);
	free(bus);
	return NULL;
}

static void range_load(const struct vmm_bus_range *from, struct vmm_bus_range *to)
{
	to->base = __atomic_load_n(&from->base, __ATOMIC_ACQUIRE);
	to->size = __atomic_load_n(&from->size, __ATOMIC_ACQUIRE);
	to->ops = __atomic_load_n(&from->ops, __ATOMIC_ACQUIRE);
	to->userdata = __atomic_load_n(&from->userdata, __ATOMIC_ACQUIRE);
}

static void range_store(struct vmm_bus_range *to, const struct vmm_bus_range *from)
{
	__atomic_store_n(&to->base, from->base, __ATOMIC_RELEASE);
	__atomic_store_n(&to->size, from->size, __ATOMIC_RELEASE);
	__atomic_store_n(&to->ops, from->ops, __ATOMIC_RELEASE);
	__atomic_store_n(&to->userdata, from->userdata, __ATOMIC_RELEASE);
}

static void change_begin(struct vmm_bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	__atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELEASE);
}

static void change_end(struct vmm_bus *bus)
{
	/* Pairs with the first acquire of find(). */
	__atomic_store_n(&bus->sequence, bus->sequence + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&bus->lock);
}

/* The index of the first range whose base is above address. Readers may see a changing table. */
static size_t upper_bound(const struct vmm_bus *bus, uint64_t address, size_t n)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (__atomic_load_n(&bus->ranges[middle].base, __ATOMIC_ACQUIRE) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool find(
	const struct vmm_bus *bus, uint64_t address, size_t length, struct vmm_bus_range *ret_range)
{
	struct vmm_bus_range range;
	uint32_t before;
	bool found;

	if (length == 0 || length > VMM_BUS_MAX_ACCESS_BYTES)
		return false;
	do {
		size_t index;

		while ((before = __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE)) & 1)
			__builtin_ia32_pause();
		index = upper_bound(
			bus, address, __atomic_load_n(&bus->n_ranges, __ATOMIC_ACQUIRE));
		found = index > 0;
		if (found)
			range_load(&bus->ranges[index - 1], &range);
	} while (__atomic_load_n(&bus->sequence, __ATOMIC_RELAXED) != before);

	/* No sum here can wrap: length <= size is known before size - length is taken. */
	if (!found || length > range.size || address - range.base > range.size - length)
		return false;
	*ret_range = range;
	return true;
}

int vmm_bus_add(struct vmm_bus *bus, const struct vmm_bus_range *range)
{
	uint64_t end;
	size_t index;
	int r = 0;

	if (range->size == 0 || !range->ops ||
		__builtin_add_overflow(range->base, range->size, &end))
		return -EINVAL;
	change_begin(bus);
	index = upper_bound(bus, range->base, bus->n_ranges);
	if (index > 0 && range->base - bus->ranges[index - 1].base < bus->ranges[index - 1].size)
		r = -EEXIST;
	else if (index < bus->n_ranges && bus->ranges[index].base < end)
		r = -EEXIST;
	else if (bus->n_ranges == VMM_BUS_MAX_RANGES)
		r = -ENOSPC;
	if (r == 0) {
		for (size_t i = bus->n_ranges; i > index; i--)
			range_store(&bus->ranges[i], &bus->ranges[i - 1]);
		range_store(&bus->ranges[index], range);
		__atomic_store_n(&bus->n_ranges, bus->n_ranges + 1, __ATOMIC_RELEASE);
	}
	change_end(bus);
	return r;
}

int vmm_bus_remove(struct vmm_bus *bus, uint64_t base)
{
	size_t index;
	int r = -ENOENT;

	change_begin(bus);
	index = upper_bound(bus, base, bus->n_ranges);
	if (index > 0 && bus->ranges[index - 1].base == base) {
		for (size_t i = index; i < bus->n_ranges; i++)
			range_store(&bus->ranges[i - 1], &bus->ranges[i]);
		__atomic_store_n(&bus->n_ranges, bus->n_ranges - 1, __ATOMIC_RELEASE);
		r = 0;
	}
	change_end(bus);
	return r;
}

bool vmm_bus_read(struct vmm_bus *bus, uint64_t address, void *data, size_t length)
{
	struct vmm_bus_range range;

	memset(data, 0xff, length);
	if (!find(bus, address, length, &range))
		return false;
	if (range.ops->read)
		range.ops->read(range.userdata, address - range.base, data, length);
	return true;
}

bool vmm_bus_write(struct vmm_bus *bus, uint64_t address, const void *data, size_t length)
{
	struct vmm_bus_range range;

	if (!find(bus, address, length, &range))
		return false;
	if (range.ops->write)
		range.ops->write(range.userdata, address - range.base, data, length);
	return true;
}
