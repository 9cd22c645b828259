/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loader: what the files of this block share. */
#ifndef VMM_LOADER_INTERNAL_H
#define VMM_LOADER_INTERNAL_H

#include <asm/bootparam.h>
#include <inttypes.h>

#include <vmmcore/loader.h>

#include "base/util.h"

#define PAGE_BYTES UINT64_C(4096)

/* All boot tables lie below this, the command line being the last. */
#define BOOT_TABLES_END_GPA (VMM_LAYOUT_CMDLINE_GPA + VMM_LAYOUT_CMDLINE_MAX_BYTES)

/* What Linux takes on x86 where no header says otherwise (COMMAND_LINE_SIZE less the zero). */
#define LINUX_CMDLINE_MAX_BYTES 2047

#define MAP_MAX_ENTRIES 128 /* of the zero page's e820 table, and of ours for PVH */
#define MAP_RAM 1
#define MAX_SEGMENTS 128

struct map_entry {
	uint64_t gpa;
	uint64_t size_bytes;
	uint32_t type; /* MAP_RAM or enum vmm_loader_range_type */
};

/* Guest memory as it is described to the guest: sorted, without overlaps. */
struct memory_map {
	struct map_entry entries[MAP_MAX_ENTRIES];
	size_t n_entries;
};

struct segment {
	uint64_t gpa;
	uint64_t size_bytes; /* in memory */
	uint64_t file_bytes; /* of which come from the file */
};

/* One call of vmm_loader_load(). */
struct load {
	struct vmm_mem *mem;
	const struct vmm_loader_config *config;
	struct vmm_loader_error *error; /* may be NULL */
	struct memory_map map;
	uint64_t kernel_file_bytes;

	/* What the kernel's format left behind. */
	enum vmm_loader_format format;
	struct segment segments[MAX_SEGMENTS];
	size_t n_segments;
	uint64_t entry_gpa;
	uint64_t initrd_max_gpa; /* the last byte it may occupy */
	uint64_t cmdline_max_bytes;
	struct setup_header header; /* for the zero page */

	uint64_t initrd_gpa, initrd_bytes;
	size_t cmdline_bytes; /* without the terminating zero */
};

/* Writes the text and returns the result, so that "return vmm_loader_fail(...)" is one line. */
int vmm_loader_fail(struct load *load, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Reads from the kernel's file; -ENOEXEC and a text naming what where the file ends early. */
int vmm_loader_read(
	struct load *load, const char *what, uint64_t offset, void *data, size_t size_bytes);

/*
 * Checks a segment against memory, boot tables and the segments before it, and adds it. what is
 * for the text.
 */
int vmm_loader_add_segment(struct load *load, const char *what, const struct segment *segment);

/*
 * vmm_mem_pread_from(), which a large read does with several threads. They have ended when it
 * returns; of several errors it is the one that comes first in the file.
 */
int vmm_loader_read_memory(
	struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, int fd, uint64_t offset);

/* Reads file_bytes of the segment from the kernel's file into guest memory. */
int vmm_loader_fill_segment(
	struct load *load, const char *what, const struct segment *segment, uint64_t offset);

int vmm_loader_load_elf(struct load *load);
int vmm_loader_load_bzimage(struct load *load);

int vmm_loader_map_make(struct load *load);

/* Whether all of it is RAM that nobody reserved. */
bool vmm_loader_map_is_free(const struct memory_map *map, uint64_t gpa, uint64_t size_bytes);

/* Writes the tables that the entry needs, and says how the vCPU starts. */
int vmm_loader_write_tables(struct load *load, struct vmm_x86_entry *ret_entry);

#endif
