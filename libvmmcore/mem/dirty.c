/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mem: the log of the pages that the host wrote. */
#include "base/util.h"
#include "mem/mem-internal.h"

static size_t n_words(const struct region *region)
{
	return (size_t)((region->size_bytes / VMM_MEM_PAGE_BYTES + 63) / 64);
}

int vmm_mem_region_dirty_new(struct region *region)
{
	region->dirty = calloc(n_words(region), sizeof(region->dirty[0]));
	return region->dirty ? 0 : -ENOMEM;
}

void vmm_mem_region_mark_dirty(struct region *region, uint64_t offset, uint64_t length_bytes)
{
	uint64_t first, last;

	if (!region->dirty || length_bytes == 0)
		return;
	first = offset / VMM_MEM_PAGE_BYTES;
	last = (offset + length_bytes - 1) / VMM_MEM_PAGE_BYTES;
	for (uint64_t page = first; page <= last; page++)
		__atomic_fetch_or(
			&region->dirty[page / 64], UINT64_C(1) << (page % 64), __ATOMIC_RELAXED);
}

int vmm_mem_dirty_log_start(struct vmm_mem *mem)
{
	if (mem->dirty_log)
		return -EALREADY;
	mem->dirty_log = true;
	for (size_t i = 0; i < mem->n_regions; i++) {
		int r = vmm_mem_region_dirty_new(&mem->regions[i]);

		if (r < 0) {
			vmm_mem_dirty_log_stop(mem);
			return r;
		}
	}
	return 0;
}

void vmm_mem_dirty_log_stop(struct vmm_mem *mem)
{
	for (size_t i = 0; i < mem->n_regions; i++) {
		free(mem->regions[i].dirty);
		mem->regions[i].dirty = NULL;
	}
	mem->dirty_log = false;
}

void vmm_mem_mark_dirty(struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;

	if (!mem->dirty_log)
		return;
	while (vmm_mem_next_piece(mem, &rest, &piece))
		vmm_mem_region_mark_dirty(piece.region, piece.offset, piece.length_bytes);
}

int64_t vmm_mem_dirty_log_take(
	struct vmm_mem *mem, uint64_t gpa, uint64_t *bitmap, size_t n_bitmap_words)
{
	struct region *region = NULL;
	int64_t n_dirty = 0;

	for (size_t i = 0; i < mem->n_regions; i++)
		if (mem->regions[i].gpa == gpa)
			region = &mem->regions[i];
	if (!region)
		return -ENOENT;
	if (!region->dirty)
		return -EINVAL;
	if (n_bitmap_words < n_words(region))
		return -ENOBUFS;
	for (size_t i = 0; i < n_words(region); i++) {
		/* Most words are clean: only read those. */
		if (__atomic_load_n(&region->dirty[i], __ATOMIC_RELAXED) == 0)
			bitmap[i] = 0;
		else
			bitmap[i] = __atomic_exchange_n(&region->dirty[i], 0, __ATOMIC_ACQUIRE);
		n_dirty += __builtin_popcountll(bitmap[i]);
	}
	return n_dirty;
}
