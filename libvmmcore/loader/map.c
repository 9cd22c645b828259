/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: the memory map: RAM less what is reserved, as the guest is told and as the loader
 * itself goes by.
 */
#include "loader/loader-internal.h"

#include <string.h>

/* The caller's, and our own, which may be cut into as many pieces and one more. */
#define MAX_RESERVED (2 * VMM_LOADER_MAX_RESERVED + 1)

struct reserved_list {
	struct map_entry entries[MAX_RESERVED];
	size_t n_entries;
};

static bool overlap(const struct map_entry *a, const struct map_entry *b)
{
	return a->gpa < b->gpa + b->size_bytes && b->gpa < a->gpa + a->size_bytes;
}

static bool map_add(struct memory_map *map, uint64_t gpa, uint64_t end_gpa, uint32_t type)
{
	struct map_entry *last = map->n_entries ? &map->entries[map->n_entries - 1] : NULL;

	if (gpa >= end_gpa)
		return true;
	/* Regions that touch are one piece of RAM to a guest. */
	if (last && type == MAP_RAM && last->type == type && last->gpa + last->size_bytes == gpa) {
		last->size_bytes += end_gpa - gpa;
		return true;
	}
	if (map->n_entries == MAP_MAX_ENTRIES)
		return false;
	map->entries[map->n_entries++] = (struct map_entry){ gpa, end_gpa - gpa, type };
	return true;
}

static void sort_by_gpa(struct map_entry *entries, size_t n_entries)
{
	for (size_t i = 1; i < n_entries; i++) {
		struct map_entry entry = entries[i];
		size_t at = i;

		for (; at > 0 && entries[at - 1].gpa > entry.gpa; at--)
			entries[at] = entries[at - 1];
		entries[at] = entry;
	}
}

/* Calls map_add for what is left of [gpa, end_gpa) without the (sorted) reserved ranges. */
static bool add_without(struct memory_map *map, uint64_t gpa, uint64_t end_gpa, uint32_t type,
	const struct reserved_list *reserved)
{
	for (size_t i = 0; i < reserved->n_entries && gpa < end_gpa; i++) {
		const struct map_entry *entry = &reserved->entries[i];
		uint64_t entry_end = entry->gpa + entry->size_bytes;

		if (entry_end <= gpa || entry->gpa >= end_gpa)
			continue;
		if (!map_add(map, gpa, entry->gpa, type))
			return false;
		gpa = entry_end;
	}
	return map_add(map, gpa, end_gpa, type);
}

static int take_callers(struct load *load, struct reserved_list *list)
{
	const struct vmm_loader_config *config = load->config;

	if (config->n_reserved > VMM_LOADER_MAX_RESERVED)
		return vmm_loader_fail(
			load, -EINVAL, "more than %d reserved ranges", VMM_LOADER_MAX_RESERVED);
	for (size_t i = 0; i < config->n_reserved; i++) {
		const struct vmm_loader_range *range = &config->reserved[i];
		struct map_entry entry = { range->gpa, range->size_bytes, range->type };
		uint64_t end;

		if (entry.size_bytes == 0 ||
			__builtin_add_overflow(entry.gpa, entry.size_bytes, &end) ||
			((entry.type < VMM_LOADER_RESERVED || entry.type > VMM_LOADER_NVS) &&
				entry.type != (uint32_t)VMM_LOADER_LEFT_OUT))
			return vmm_loader_fail(load, -EINVAL,
				"reserved range %zu (0x%" PRIx64 ", size 0x%" PRIx64
				", type %" PRIu32 ") is not valid",
				i, entry.gpa, entry.size_bytes, entry.type);
		for (size_t j = 0; j < list->n_entries; j++)
			if (overlap(&entry, &list->entries[j]))
				return vmm_loader_fail(load, -EINVAL,
					"reserved ranges overlap at 0x%" PRIx64,
					MAX(entry.gpa, list->entries[j].gpa));
		list->entries[list->n_entries++] = entry;
	}
	sort_by_gpa(list->entries, list->n_entries);
	return 0;
}

static void add_bios_area(struct reserved_list *list)
{
	struct memory_map pieces = { 0 };

	add_without(&pieces, VMM_LAYOUT_EBDA_GPA, VMM_LAYOUT_KERNEL_GPA, VMM_LOADER_RESERVED, list);
	for (size_t i = 0; i < pieces.n_entries; i++)
		list->entries[list->n_entries++] = pieces.entries[i];
	sort_by_gpa(list->entries, list->n_entries);
}

int vmm_loader_map_make(struct load *load)
{
	struct reserved_list reserved = { .n_entries = 0 };
	struct memory_map *map = &load->map;
	bool fits = true;
	int r;

	r = take_callers(load, &reserved);
	if (r < 0)
		return r;
	add_bios_area(&reserved);

	for (size_t i = 0; i < vmm_mem_n_regions(load->mem); i++) {
		struct vmm_mem_region region;

		r = vmm_mem_get_region(load->mem, i, &region);
		if (r < 0)
			return vmm_loader_fail(load, r, "memory region %zu is gone", i);
		if (!region.read_only)
			fits = fits && add_without(map, region.gpa, region.gpa + region.size_bytes,
					       MAP_RAM, &reserved);
	}
	for (size_t i = 0; i < reserved.n_entries; i++) {
		if (reserved.entries[i].type == (uint32_t)VMM_LOADER_LEFT_OUT)
			continue;
		fits = fits && map_add(map, reserved.entries[i].gpa,
				       reserved.entries[i].gpa + reserved.entries[i].size_bytes,
				       reserved.entries[i].type);
	}
	if (!fits)
		return vmm_loader_fail(load, -EINVAL,
			"memory and reserved ranges make more than %d entries of a memory map",
			MAP_MAX_ENTRIES);
	sort_by_gpa(map->entries, map->n_entries);
	return 0;
}

bool vmm_loader_map_is_free(const struct memory_map *map, uint64_t gpa, uint64_t size_bytes)
{
	uint64_t end;

	if (__builtin_add_overflow(gpa, size_bytes, &end))
		return false;
	for (size_t i = 0; i < map->n_entries; i++) {
		const struct map_entry *entry = &map->entries[i];

		if (entry->type == MAP_RAM && gpa >= entry->gpa &&
			end <= entry->gpa + entry->size_bytes)
			return true;
	}
	return false;
}
