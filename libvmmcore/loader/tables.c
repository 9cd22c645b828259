/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: what lies in low memory when the first instruction runs: GDT, page tables, the zero page
 * (Linux' Documentation/arch/x86/zero-page.rst) or PVH's start_info (Xen's
 * public/arch-x86/hvm/start_info.h, version 1).
 */
#include "loader/loader-internal.h"

#include <string.h>

/* As Linux' 64-bit protocol asks for: __BOOT_CS and __BOOT_DS. */
#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18
#define TSS_SELECTOR 0x20

#define CODE_64 UINT64_C(0x00af9b000000ffff)
#define CODE_32 UINT64_C(0x00cf9b000000ffff)
#define DATA_FLAT UINT64_C(0x00cf93000000ffff)
#define TSS_BUSY UINT64_C(0x00008b0000000067)

#define PAGE_PRESENT_WRITABLE UINT64_C(0x3)
#define PAGE_LARGE UINT64_C(0x80)
#define LARGE_PAGE_BYTES UINT64_C(0x200000)
#define N_DIRECTORIES 4
#define TABLE_ENTRIES 512

#define PVH_MAGIC 0x336ec578

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t n_modules;
	uint64_t modules_gpa;
	uint64_t cmdline_gpa;
	uint64_t rsdp_gpa;
	uint64_t map_gpa;
	uint32_t n_map_entries;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t cmdline_gpa;
	uint64_t reserved;
};

struct pvh_map_entry {
	uint64_t gpa;
	uint64_t size_bytes;
	uint32_t type;
	uint32_t reserved;
};

static_assert(sizeof(struct pvh_start_info) == 56, "start_info of version 1");
static_assert(sizeof(struct pvh_module) == 32, "hvm_modlist_entry");
static_assert(sizeof(struct pvh_map_entry) == 24, "hvm_memmap_table_entry");
static_assert(sizeof(struct boot_params) == 4096, "the zero page");
static_assert(MAP_MAX_ENTRIES <= E820_MAX_ENTRIES_ZEROPAGE, "e820 in the zero page");
static_assert(MAP_MAX_ENTRIES * sizeof(struct pvh_map_entry) <= 4096, "PVH's map in one page");

static int write_table(
	struct load *load, const char *what, uint64_t gpa, const void *data, size_t size_bytes)
{
	int r = vmm_mem_write(load->mem, gpa, data, size_bytes);

	if (r < 0)
		return vmm_loader_fail(load, r == -VMM_EGUEST ? -ERANGE : r,
			"%s: 0x%" PRIx64 " is not memory", what, gpa);
	return 0;
}

static int write_gdt(struct load *load, bool long_mode, struct vmm_x86_entry *entry)
{
	/* Two entries for the TSS: in long mode a descriptor has 16 bytes. */
	const uint64_t gdt[] = { 0, 0, long_mode ? CODE_64 : CODE_32, DATA_FLAT, TSS_BUSY, 0 };

	static_assert(VMM_LAYOUT_GDT_GPA + sizeof(gdt) <= VMM_LAYOUT_IDT_GPA, "GDT before IDT");
	entry->code_selector = CODE_SELECTOR;
	entry->data_selector = DATA_SELECTOR;
	entry->tss_selector = TSS_SELECTOR;
	entry->gdt_gpa = VMM_LAYOUT_GDT_GPA;
	entry->gdt_limit = sizeof(gdt) - 1;
	entry->idt_gpa = VMM_LAYOUT_IDT_GPA;
	entry->idt_limit = 0;
	return write_table(load, "GDT", VMM_LAYOUT_GDT_GPA, gdt, sizeof(gdt));
}

static int write_page_tables(struct load *load)
{
	uint64_t table[TABLE_ENTRIES] = { VMM_LAYOUT_PDPT_GPA | PAGE_PRESENT_WRITABLE };
	int r;

	r = write_table(load, "PML4", VMM_LAYOUT_PML4_GPA, table, sizeof(table));
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < N_DIRECTORIES; i++)
		table[i] = (VMM_LAYOUT_PD_GPA + i * PAGE_BYTES) | PAGE_PRESENT_WRITABLE;
	r = write_table(load, "page tables", VMM_LAYOUT_PDPT_GPA, table, sizeof(table));
	for (uint64_t i = 0; r >= 0 && i < N_DIRECTORIES; i++) {
		for (uint64_t j = 0; j < TABLE_ENTRIES; j++)
			table[j] = (i * TABLE_ENTRIES + j) * LARGE_PAGE_BYTES |
				   PAGE_PRESENT_WRITABLE | PAGE_LARGE;
		r = write_table(load, "page tables", VMM_LAYOUT_PD_GPA + i * PAGE_BYTES, table,
			sizeof(table));
	}
	return r;
}

static int write_zero_page(struct load *load)
{
	struct boot_params zero_page = { .hdr = load->header };

	zero_page.acpi_rsdp_addr = load->config->rsdp_gpa;
	zero_page.hdr.type_of_loader = 0xff; /* no number of its own */
	zero_page.hdr.cmd_line_ptr = (uint32_t)VMM_LAYOUT_CMDLINE_GPA;
	zero_page.hdr.ramdisk_image = (uint32_t)load->initrd_gpa;
	zero_page.hdr.ramdisk_size = (uint32_t)load->initrd_bytes;
	zero_page.hdr.setup_data = 0;
	if (load->format == VMM_LOADER_ELF_LINUX)
		zero_page.hdr.cmdline_size = (uint32_t)load->cmdline_bytes;
	zero_page.e820_entries = (uint8_t)load->map.n_entries;
	for (size_t i = 0; i < load->map.n_entries; i++) {
		zero_page.e820_table[i].addr = load->map.entries[i].gpa;
		zero_page.e820_table[i].size = load->map.entries[i].size_bytes;
		zero_page.e820_table[i].type = load->map.entries[i].type;
	}
	return write_table(
		load, "zero page", VMM_LAYOUT_ZERO_PAGE_GPA, &zero_page, sizeof(zero_page));
}

static int write_start_info(struct load *load)
{
	struct pvh_map_entry map[MAP_MAX_ENTRIES] = { 0 };
	struct {
		struct pvh_start_info info;
		uint64_t padding;
		struct pvh_module initrd;
	} block = {
		.info = {
			.magic = PVH_MAGIC,
			.version = 1,
			.cmdline_gpa = VMM_LAYOUT_CMDLINE_GPA,
			.rsdp_gpa = load->config->rsdp_gpa,
			.map_gpa = VMM_LAYOUT_ZERO_PAGE_GPA,
			.n_map_entries = (uint32_t)load->map.n_entries,
		},
	};
	int r;

	if (load->initrd_bytes) {
		block.info.n_modules = 1;
		block.info.modules_gpa =
			VMM_LAYOUT_PVH_INFO_GPA + offsetof(__typeof__(block), initrd);
		block.initrd.gpa = load->initrd_gpa;
		block.initrd.size_bytes = load->initrd_bytes;
	}
	for (size_t i = 0; i < load->map.n_entries; i++)
		map[i] = (struct pvh_map_entry){
			.gpa = load->map.entries[i].gpa,
			.size_bytes = load->map.entries[i].size_bytes,
			.type = load->map.entries[i].type,
		};
	r = write_table(load, "PVH start_info", VMM_LAYOUT_PVH_INFO_GPA, &block, sizeof(block));
	if (r < 0)
		return r;
	return write_table(load, "PVH memory map", VMM_LAYOUT_ZERO_PAGE_GPA, map,
		load->map.n_entries * sizeof(map[0]));
}

int vmm_loader_write_tables(struct load *load, struct vmm_x86_entry *ret_entry)
{
	struct vmm_x86_entry entry = { .rip = load->entry_gpa };
	int r;

	entry.long_mode = load->format != VMM_LOADER_ELF_PVH;
	r = write_gdt(load, entry.long_mode, &entry);
	if (r < 0)
		return r;
	if (entry.long_mode) {
		entry.rsi = VMM_LAYOUT_ZERO_PAGE_GPA;
		entry.rsp = VMM_LAYOUT_STACK_GPA;
		entry.cr3 = VMM_LAYOUT_PML4_GPA;
		r = write_page_tables(load);
		if (r < 0)
			return r;
		r = write_zero_page(load);
	} else {
		entry.rbx = VMM_LAYOUT_PVH_INFO_GPA;
		r = write_start_info(load);
	}
	if (r < 0)
		return r;
	*ret_entry = entry;
	return 0;
}
