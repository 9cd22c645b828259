/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader-files: what the loader's tests share: 64 MiB of guest memory, and a good file of each
 * format, in which a case then changes one thing.
 */
#ifndef VMM_TESTS_LOADER_FILES_H
#define VMM_TESTS_LOADER_FILES_H

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/loader.h>

#include "base/util.h"
#include "unit.h"

#define MIB UINT64_C(0x100000)
#define MEMORY_BYTES (64 * MIB)

extern struct vmm_mem *mem;
extern struct vmm_loader_result result;
extern struct vmm_loader_error error;

void setup(void);
void teardown(void);
int file_of(const void *data, size_t size_bytes);

#define ELF_CODE_GPA (16 * MIB)
#define ELF_PVH_ENTRY (ELF_CODE_GPA + 0x40)
#define ELF_BSS_GPA (20 * MIB)

struct elf_file {
	Elf64_Ehdr header;
	Elf64_Phdr programs[3]; /* text, bss, notes */
	struct {
		Elf64_Nhdr other;
		char other_name[8];
		uint32_t other_value;
		Elf64_Nhdr pvh;
		char pvh_name[4];
		uint64_t pvh_entry;
	} __attribute__((packed)) notes;
	uint8_t code[0x1000];
} __attribute__((packed));

#define ELF_NOTES_OFFSET offsetof(struct elf_file, notes)

struct elf_file good_elf(void);

#define BZ_SETUP_SECTS 3
#define BZ_KERNEL_OFFSET ((BZ_SETUP_SECTS + 1) * 512)
#define BZ_KERNEL_BYTES 0x3000
#define BZ_PREF_GPA (16 * MIB)
#define BZ_INIT_BYTES (8 * MIB)

struct bz_file {
	uint8_t bytes[BZ_KERNEL_OFFSET + BZ_KERNEL_BYTES];
};

struct setup_header *bz_header(struct bz_file *file);
struct bz_file good_bz(void);

/* Loads what a file of these bytes holds; checks that there is a text exactly on failure. */
int load(const void *file, size_t size_bytes, struct vmm_loader_config *config);
void check_memory(uint64_t gpa, const void *expected, size_t size_bytes);

/* In loader-hostile.c and loader-read.c. */
void add_hostile_files(Suite *suite);
void add_large_reads(Suite *suite);

#endif
