/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mem: the table that mem.c builds and access.c and dirty.c read. */
#ifndef VMM_MEM_INTERNAL_H
#define VMM_MEM_INTERNAL_H

#include <vmmcore/mem.h>

/* Mappings are placed so that host and guest addresses agree modulo this: the host can then back
 * both with one large page. */
#define LARGE_PAGE_BYTES (UINT64_C(2) << 20)

struct region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint8_t *host; /* owned mapping */
	int fd;        /* owned, -EBADF for anonymous memory */
	uint64_t fd_offset;
	uint64_t page_bytes;
	bool read_only;
	uint64_t *dirty; /* owned; NULL while no log runs. A bit a VMM_MEM_PAGE_BYTES, atomic */
};

struct vmm_mem {
	struct region regions[VMM_MEM_MAX_REGIONS]; /* sorted by gpa, not overlapping */
	size_t n_regions;
	bool dirty_log;
};

/* A piece of a range that lies in one region. */
struct piece {
	struct region *region;
	uint64_t offset; /* in the region */
	uint64_t length_bytes;
};

/* What is left of a range while it is walked. */
struct rest {
	uint64_t gpa;
	uint64_t length_bytes;
};

/*
 * Takes the next piece off the rest. False where nothing is left, or where rest->gpa is not
 * memory: then rest->length_bytes is not 0.
 */
bool vmm_mem_next_piece(const struct vmm_mem *mem, struct rest *rest, struct piece *ret_piece);

int vmm_mem_region_dirty_new(struct region *region);
void vmm_mem_region_mark_dirty(struct region *region, uint64_t offset, uint64_t length_bytes);

#endif
