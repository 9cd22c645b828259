/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: good files of each format, what lies in memory afterwards, and tables of hostile ones.
 * A case starts from a good file and changes one thing in it.
 */
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

static struct vmm_mem *mem;
static struct vmm_loader_result result;
static struct vmm_loader_error error;

static void setup(void)
{
	struct vmm_mem_config config = {
		.size_bytes = MEMORY_BYTES,
		.backing = VMM_MEM_ANONYMOUS,
	};

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

static void teardown(void)
{
	mem = vmm_mem_free(mem);
}

static int file_of(const void *data, size_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, data, size_bytes), 0);
	return fd;
}

/* ---- the good files ---- */

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

static struct elf_file good_elf(void)
{
	struct elf_file file = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = ELF_CODE_GPA,
			.e_phoff = offsetof(struct elf_file, programs),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3,
		},
		.programs = {
			{
				.p_type = PT_LOAD,
				.p_offset = offsetof(struct elf_file, code),
				.p_paddr = ELF_CODE_GPA,
				.p_filesz = sizeof(file.code),
				.p_memsz = 0x2000,
			},
			{
				.p_type = PT_LOAD,
				.p_paddr = ELF_BSS_GPA,
				.p_memsz = 0x10000,
			},
			{
				.p_type = PT_NOTE,
				.p_offset = ELF_NOTES_OFFSET,
				.p_filesz = sizeof(file.notes),
				.p_align = 4,
			},
		},
		.notes = {
			.other = { .n_namesz = 6, .n_descsz = 4, .n_type = 257 },
			.other_name = "Linux",
			.pvh = { .n_namesz = 4, .n_descsz = 8, .n_type = 18 },
			.pvh_name = "Xen",
			.pvh_entry = ELF_PVH_ENTRY,
		},
	};

	for (size_t i = 0; i < sizeof(file.code); i++)
		file.code[i] = (uint8_t)(i * 7 + 1);
	return file;
}

#define BZ_SETUP_SECTS 3
#define BZ_KERNEL_OFFSET ((BZ_SETUP_SECTS + 1) * 512)
#define BZ_KERNEL_BYTES 0x3000
#define BZ_PREF_GPA (16 * MIB)
#define BZ_INIT_BYTES (8 * MIB)

struct bz_file {
	uint8_t bytes[BZ_KERNEL_OFFSET + BZ_KERNEL_BYTES];
};

static struct setup_header *bz_header(struct bz_file *file)
{
	return (struct setup_header *)(file->bytes + 0x1f1);
}

static struct bz_file good_bz(void)
{
	struct bz_file file = { .bytes = { 'M', 'Z' } };
	struct setup_header header = {
		.setup_sects = BZ_SETUP_SECTS,
		.syssize = BZ_KERNEL_BYTES / 16,
		.boot_flag = 0xaa55,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 255,
		.payload_offset = 0x2d0,
		.payload_length = 0x2000,
		.pref_address = BZ_PREF_GPA,
		.init_size = BZ_INIT_BYTES,
		.setup_data = 0x1234, /* the file has no say in it */
	};

	memcpy(file.bytes + 0x1f1, &header, 0x268 - 0x1f1);
	for (size_t i = BZ_KERNEL_OFFSET; i < sizeof(file.bytes); i++)
		file.bytes[i] = (uint8_t)(i * 5 + 3);
	return file;
}

static int load(const void *file, size_t size_bytes, struct vmm_loader_config *config)
{
	struct vmm_loader_config own = { .cmdline = "console=ttyS0" };
	int r;

	if (!config)
		config = &own;
	memset(&result, 0, sizeof(result));
	memset(&error, 0, sizeof(error));
	config->kernel_fd = file_of(file, size_bytes);
	r = vmm_loader_load(mem, config, &result, &error);
	close(config->kernel_fd);
	if (r < 0)
		ck_assert_msg(error.text[0] != '\0', "no text for error %d", r);
	else
		ck_assert_msg(error.text[0] == '\0', "text without an error: %s", error.text);
	return r;
}

static void check_memory(uint64_t gpa, const void *expected, size_t size_bytes)
{
	void *found = malloc(size_bytes);

	ck_assert_int_eq(vmm_mem_read(mem, gpa, found, size_bytes), 0);
	ck_assert_msg(memcmp(found, expected, size_bytes) == 0, "memory differs at 0x%llx",
		(unsigned long long)gpa);
	free(found);
}

/* ---- what good files become ---- */

START_TEST(elf_with_note_starts_by_pvh)
{
	struct elf_file file = good_elf();
	struct {
		uint32_t magic, version, flags, n_modules;
		uint64_t modules, cmdline, rsdp, map;
		uint32_t n_map, reserved;
	} info;
	struct {
		uint64_t gpa, size_bytes;
		uint32_t type, reserved;
	} map[3];
	static const uint8_t zeros[0x1000];

	ck_assert_msg(load(&file, sizeof(file), NULL) == 0, "%s", error.text);
	ck_assert_int_eq(result.format, VMM_LOADER_ELF_PVH);
	ck_assert(!result.entry.long_mode);
	ck_assert_uint_eq(result.entry.rip, ELF_PVH_ENTRY);
	ck_assert_uint_eq(result.entry.rbx, VMM_LAYOUT_PVH_INFO_GPA);
	ck_assert_uint_eq(result.kernel_gpa, ELF_CODE_GPA);
	ck_assert_uint_eq(result.kernel_size_bytes, ELF_BSS_GPA + 0x10000 - ELF_CODE_GPA);
	check_memory(ELF_CODE_GPA, file.code, sizeof(file.code));
	check_memory(ELF_CODE_GPA + 0x1000, zeros, sizeof(zeros));
	check_memory(VMM_LAYOUT_CMDLINE_GPA, "console=ttyS0", 14);

	ck_assert_int_eq(vmm_mem_read(mem, result.entry.rbx, &info, sizeof(info)), 0);
	ck_assert_uint_eq(info.magic, 0x336ec578);
	ck_assert_uint_eq(info.version, 1);
	ck_assert_uint_eq(info.n_modules, 0);
	ck_assert_uint_eq(info.cmdline, VMM_LAYOUT_CMDLINE_GPA);
	ck_assert_uint_eq(info.n_map, 3);
	ck_assert_int_eq(vmm_mem_read(mem, info.map, map, sizeof(map)), 0);
	ck_assert(map[0].gpa == 0 && map[0].size_bytes == 0x9fc00 && map[0].type == 1);
	ck_assert(map[1].gpa == 0x9fc00 && map[1].size_bytes == 0x60400 && map[1].type == 2);
	ck_assert(map[2].gpa == MIB && map[2].size_bytes == MEMORY_BYTES - MIB && map[2].type == 1);
}
END_TEST

START_TEST(elf32_with_note_starts_by_pvh)
{
	struct elf_file big = good_elf();
	struct {
		Elf32_Ehdr header;
		Elf32_Phdr programs[2];
		uint8_t notes[sizeof(big.notes)];
		uint8_t code[64];
	} __attribute__((packed)) file = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_386,
			.e_phoff = sizeof(Elf32_Ehdr),
			.e_phentsize = sizeof(Elf32_Phdr),
			.e_phnum = 2,
		},
		.programs = {
			{ .p_type = PT_NOTE, .p_offset = sizeof(Elf32_Ehdr) + 2 * sizeof(Elf32_Phdr),
				.p_filesz = sizeof(big.notes) },
			{ .p_type = PT_LOAD,
				.p_offset = sizeof(Elf32_Ehdr) + 2 * sizeof(Elf32_Phdr) +
					sizeof(big.notes),
				.p_paddr = MIB, .p_filesz = 64, .p_memsz = 64 },
		},
	};

	big.notes.pvh_entry = MIB;
	memcpy(file.notes, &big.notes, sizeof(file.notes));
	memset(file.code, 0x90, sizeof(file.code));
	ck_assert_msg(load(&file, sizeof(file), NULL) == 0, "%s", error.text);
	ck_assert_int_eq(result.format, VMM_LOADER_ELF_PVH);
	ck_assert_uint_eq(result.entry.rip, MIB);
	check_memory(MIB, file.code, sizeof(file.code));
}
END_TEST

static void check_long_mode(void)
{
	uint64_t table[4];
	uint64_t gdt[6];
	uint64_t page;

	ck_assert(result.entry.long_mode);
	ck_assert_uint_eq(result.entry.rsi, VMM_LAYOUT_ZERO_PAGE_GPA);
	ck_assert_int_eq(vmm_mem_read(mem, result.entry.cr3, table, 8), 0);
	ck_assert_uint_eq(table[0], VMM_LAYOUT_PDPT_GPA | 3);
	ck_assert_int_eq(vmm_mem_read(mem, VMM_LAYOUT_PDPT_GPA, table, sizeof(table)), 0);
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t directory = table[i] & ~UINT64_C(0xfff);

		ck_assert_uint_eq(table[i], (VMM_LAYOUT_PD_GPA + i * 0x1000) | 3);
		ck_assert_int_eq(vmm_mem_read(mem, directory + 8 * 511, &page, 8), 0);
		ck_assert_uint_eq(page, (i * 512 + 511) * 0x200000 + 0x83);
	}
	ck_assert_uint_eq(result.entry.gdt_limit, sizeof(gdt) - 1);
	ck_assert_int_eq(vmm_mem_read(mem, result.entry.gdt_gpa, gdt, sizeof(gdt)), 0);
	ck_assert_uint_eq(gdt[result.entry.code_selector / 8], 0x00af9b000000ffff);
	ck_assert_uint_eq(gdt[result.entry.data_selector / 8], 0x00cf93000000ffff);
}

START_TEST(elf_without_note_starts_at_its_entry)
{
	struct elf_file file = good_elf();
	struct boot_params zero_page;

	file.header.e_phnum = 2;
	ck_assert_msg(load(&file, sizeof(file), NULL) == 0, "%s", error.text);
	ck_assert_int_eq(result.format, VMM_LOADER_ELF_LINUX);
	ck_assert_uint_eq(result.entry.rip, ELF_CODE_GPA);
	check_long_mode();
	ck_assert_int_eq(vmm_mem_read(mem, result.entry.rsi, &zero_page, sizeof(zero_page)), 0);
	ck_assert_uint_eq(zero_page.hdr.boot_flag, 0xaa55);
	ck_assert_uint_eq(zero_page.hdr.header, 0x53726448);
	ck_assert_uint_eq(zero_page.hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(zero_page.hdr.cmd_line_ptr, VMM_LAYOUT_CMDLINE_GPA);
	ck_assert_uint_eq(zero_page.hdr.cmdline_size, strlen("console=ttyS0"));
}
END_TEST

START_TEST(bzimage_starts_at_its_64_bit_entry)
{
	struct bz_file file = good_bz();
	struct vmm_loader_range reserved[] = {
		{ 0x9fc00, 0x1000, VMM_LOADER_ACPI },
		{ 0xe0000, 0x100, VMM_LOADER_ACPI },
		{ 0xb0000000, MIB, VMM_LOADER_RESERVED },
	};
	static const struct {
		uint64_t gpa, end, type;
	} expected[] = {
		{ 0, 0x9fc00, 1 },
		{ 0x9fc00, 0xa0c00, 3 },
		{ 0xa0c00, 0xe0000, 2 },
		{ 0xe0000, 0xe0100, 3 },
		{ 0xe0100, 0x100000, 2 },
		{ 0x100000, MEMORY_BYTES, 1 },
		{ 0xb0000000, 0xb0100000, 2 },
	};
	uint8_t initrd[5000];
	struct vmm_loader_config config = {
		.cmdline = "root=/dev/vda",
		.rsdp_gpa = VMM_LAYOUT_RSDP_GPA,
		.reserved = reserved,
		.n_reserved = ARRAY_SIZE(reserved),
		.has_initrd = true,
	};
	struct boot_params zero_page;

	memset(initrd, 0x5a, sizeof(initrd));
	config.initrd_fd = file_of(initrd, sizeof(initrd));
	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	close(config.initrd_fd);
	ck_assert_int_eq(result.format, VMM_LOADER_BZIMAGE);
	ck_assert_uint_eq(result.entry.rip, BZ_PREF_GPA + 0x200);
	ck_assert_uint_eq(result.kernel_gpa, BZ_PREF_GPA);
	ck_assert_uint_eq(result.kernel_size_bytes, BZ_INIT_BYTES);
	check_memory(BZ_PREF_GPA, file.bytes + BZ_KERNEL_OFFSET, BZ_KERNEL_BYTES);
	check_long_mode();

	ck_assert_uint_eq(result.initrd_gpa, MEMORY_BYTES - 0x2000);
	ck_assert_uint_eq(result.initrd_size_bytes, sizeof(initrd));
	check_memory(result.initrd_gpa, initrd, sizeof(initrd));

	ck_assert_int_eq(vmm_mem_read(mem, result.entry.rsi, &zero_page, sizeof(zero_page)), 0);
	ck_assert_uint_eq(zero_page.acpi_rsdp_addr, VMM_LAYOUT_RSDP_GPA);
	ck_assert_uint_eq(zero_page.hdr.version, 0x20f);
	ck_assert_uint_eq(zero_page.hdr.ramdisk_image, result.initrd_gpa);
	ck_assert_uint_eq(zero_page.hdr.ramdisk_size, sizeof(initrd));
	ck_assert_uint_eq(zero_page.hdr.setup_data, 0);
	ck_assert_uint_eq(zero_page.hdr.code32_start, BZ_PREF_GPA);
	ck_assert_uint_eq(zero_page.e820_entries, ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		ck_assert_uint_eq(zero_page.e820_table[i].addr, expected[i].gpa);
		ck_assert_uint_eq(zero_page.e820_table[i].size, expected[i].end - expected[i].gpa);
		ck_assert_uint_eq(zero_page.e820_table[i].type, expected[i].type);
	}
}
END_TEST

START_TEST(relocatable_bzimage_moves_up_from_what_is_reserved)
{
	struct bz_file file = good_bz();
	struct vmm_loader_range reserved = { BZ_PREF_GPA + MIB, 0x1000, VMM_LOADER_RESERVED };
	struct vmm_loader_config config = { .reserved = &reserved, .n_reserved = 1 };

	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	ck_assert_uint_eq(result.kernel_gpa, BZ_PREF_GPA + 2 * MIB);

	bz_header(&file)->relocatable_kernel = 0;
	ck_assert_int_eq(load(&file, sizeof(file), &config), -ERANGE);
}
END_TEST

START_TEST(initrd_lies_below_the_gap_and_what_the_kernel_allows)
{
	struct bz_file file = good_bz();
	struct vmm_loader_config config = { .has_initrd = true };
	struct vmm_mem_config high = {
		.gpa = VMM_LAYOUT_HIGH_RAM_GPA, .size_bytes = MIB, .backing = VMM_MEM_ANONYMOUS
	};

	ck_assert_int_eq(vmm_mem_add(mem, &high), 0);
	config.initrd_fd = file_of("initrd", 6);
	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	ck_assert_uint_eq(result.initrd_gpa, MEMORY_BYTES - 0x1000);

	bz_header(&file)->initrd_addr_max = 40 * MIB - 1;
	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	ck_assert_uint_eq(result.initrd_gpa, 40 * MIB - 0x1000);

	/* The kernel is in the way: below it. */
	bz_header(&file)->initrd_addr_max = BZ_PREF_GPA + MIB;
	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	ck_assert_uint_eq(result.initrd_gpa, BZ_PREF_GPA - 0x1000);
	close(config.initrd_fd);
}
END_TEST

START_TEST(pvh_initrd_is_a_module)
{
	struct elf_file file = good_elf();
	struct vmm_loader_config config = { .has_initrd = true };
	uint32_t n_modules;
	uint64_t modules_gpa, module[2];

	config.initrd_fd = file_of("initrd", 6);
	ck_assert_msg(load(&file, sizeof(file), &config) == 0, "%s", error.text);
	close(config.initrd_fd);
	ck_assert_int_eq(vmm_mem_read(mem, result.entry.rbx + 12, &n_modules, 4), 0);
	ck_assert_uint_eq(n_modules, 1);
	ck_assert_int_eq(vmm_mem_read(mem, result.entry.rbx + 16, &modules_gpa, 8), 0);
	ck_assert_int_eq(vmm_mem_read(mem, modules_gpa, module, sizeof(module)), 0);
	ck_assert_uint_eq(module[0], result.initrd_gpa);
	ck_assert_uint_eq(module[1], 6);
}
END_TEST

START_TEST(wanted_format_is_insisted_on)
{
	static const struct {
		bool is_elf, has_note;
		enum vmm_loader_format format;
		int expected;
	} cases[] = {
		{ true, true, VMM_LOADER_ELF_PVH, 0 },
		{ true, true, VMM_LOADER_ELF_LINUX, 0 },
		{ true, true, VMM_LOADER_BZIMAGE, -ENOEXEC },
		{ true, false, VMM_LOADER_ELF_PVH, -ENOEXEC },
		{ false, false, VMM_LOADER_ELF_PVH, -ENOEXEC },
		{ false, false, VMM_LOADER_ELF_LINUX, -ENOEXEC },
		{ false, false, VMM_LOADER_BZIMAGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_loader_config config = { .format = cases[i].format };
		struct elf_file elf = good_elf();
		struct bz_file bz = good_bz();
		int r;

		if (!cases[i].has_note)
			elf.header.e_phnum = 2;
		r = cases[i].is_elf ? load(&elf, sizeof(elf), &config)
				    : load(&bz, sizeof(bz), &config);
		ck_assert_msg(r == cases[i].expected, "case %zu: %d %s", i, r, error.text);
		if (r == 0)
			ck_assert_int_eq(result.format, cases[i].format);
	}
}
END_TEST

/* ---- hostile ELF files ---- */

#define ELF_FIELD(member) offsetof(struct elf_file, member), sizeof(((struct elf_file *)0)->member)

static const struct hostile {
	const char *name;
	size_t offset, size_bytes;
	uint64_t value;
	int expected;
	const char *text; /* is part of the error's text */
} hostile_elf[] = {
	{ "class 0", offsetof(struct elf_file, header) + EI_CLASS, 1, 0, -ENOEXEC, "class" },
	{ "class 3", offsetof(struct elf_file, header) + EI_CLASS, 1, 3, -ENOEXEC, "class" },
	{ "big-endian", offsetof(struct elf_file, header) + EI_DATA, 1, 2, -ENOEXEC, "endian" },
	{ "version 0", offsetof(struct elf_file, header) + EI_VERSION, 1, 0, -ENOEXEC, "version" },
	{ "aarch64", ELF_FIELD(header.e_machine), EM_AARCH64, -ENOEXEC, "machine 183" },
	{ "64-bit i386", ELF_FIELD(header.e_machine), EM_386, -ENOEXEC, "machine 3" },
	{ "relocatable", ELF_FIELD(header.e_type), ET_REL, -ENOEXEC, "type 1" },
	{ "shared", ELF_FIELD(header.e_type), ET_DYN, -ENOEXEC, "type 3" },
	{ "core", ELF_FIELD(header.e_type), ET_CORE, -ENOEXEC, "type 4" },
	{ "phentsize 0", ELF_FIELD(header.e_phentsize), 0, -ENOEXEC, "of 0 bytes" },
	{ "phentsize 65535", ELF_FIELD(header.e_phentsize), 0xffff, -ENOEXEC, "of 65535 bytes" },
	{ "phnum 0", ELF_FIELD(header.e_phnum), 0, -ENOEXEC, "0 program headers" },
	{ "phnum 129", ELF_FIELD(header.e_phnum), 129, -ENOEXEC, "129 program headers" },
	{ "phnum PN_XNUM", ELF_FIELD(header.e_phnum), 0xffff, -ENOEXEC, "program headers" },
	{ "phnum beyond the file", ELF_FIELD(header.e_phnum), 120, -ENOEXEC, "beyond the end" },
	{ "phoff beyond the file", ELF_FIELD(header.e_phoff), MIB, -ENOEXEC, "beyond the end" },
	{ "phoff 2^64 - 1", ELF_FIELD(header.e_phoff), UINT64_MAX, -ENOEXEC, "beyond the end" },
	{ "phoff wraps", ELF_FIELD(header.e_phoff), UINT64_MAX - 16, -ENOEXEC, "beyond the end" },
	{ "filesz > memsz", ELF_FIELD(programs[0].p_memsz), 0xfff, -ENOEXEC,
		"program header 0: 0x1000 bytes in the file, but only 0xfff" },
	{ "filesz 2^64 - 1", ELF_FIELD(programs[0].p_filesz), UINT64_MAX, -ENOEXEC, "header 0" },
	{ "offset beyond the file", ELF_FIELD(programs[0].p_offset), 16 * MIB, -ENOEXEC,
		"program header 0: offset 0x1000000" },
	{ "offset 2^64 - 1", ELF_FIELD(programs[0].p_offset), UINT64_MAX, -ENOEXEC, "beyond" },
	{ "offset wraps", ELF_FIELD(programs[0].p_offset), UINT64_MAX - 0xfff, -ENOEXEC, "beyond" },
	{ "memsz 2^64 - 1", ELF_FIELD(programs[0].p_memsz), UINT64_MAX, -ERANGE, "wraps around" },
	{ "memsz beyond memory", ELF_FIELD(programs[1].p_memsz), MEMORY_BYTES, -ERANGE,
		"program header 1: 0x1400000-0x5400000 lies outside free memory" },
	{ "memsz ends with memory", ELF_FIELD(programs[1].p_memsz), MEMORY_BYTES - ELF_BSS_GPA, 0,
		"" },
	{ "memsz one more", ELF_FIELD(programs[1].p_memsz), MEMORY_BYTES - ELF_BSS_GPA + 1, -ERANGE,
		"outside free memory" },
	{ "outside memory", ELF_FIELD(programs[0].p_paddr), MEMORY_BYTES, -ERANGE, "outside" },
	{ "paddr 2^64 - 1", ELF_FIELD(programs[0].p_paddr), UINT64_MAX, -ERANGE, "wraps" },
	{ "over the boot tables", ELF_FIELD(programs[0].p_paddr), 0, -ERANGE, "boot tables" },
	{ "over the command line", ELF_FIELD(programs[0].p_paddr), 0x2ffff, -ERANGE,
		"boot tables" },
	{ "into the BIOS area", ELF_FIELD(programs[0].p_paddr), 0x9f000, -ERANGE, "outside" },
	{ "segments overlap", ELF_FIELD(programs[1].p_paddr), ELF_CODE_GPA + 0x1fff, -ENOEXEC,
		"program header 1: 0x1001fff-0x1011fff overlaps" },
	{ "segments touch", ELF_FIELD(programs[1].p_paddr), ELF_CODE_GPA + 0x2000, 0, "" },
	{ "PVH entry outside", ELF_FIELD(notes.pvh_entry), ELF_CODE_GPA - 1, -ENOEXEC,
		"PVH entry 0xffffff lies outside" },
	{ "PVH entry in bss", ELF_FIELD(notes.pvh_entry), ELF_CODE_GPA + 0x1000, -ENOEXEC,
		"PVH entry" },
	{ "PVH entry 0", ELF_FIELD(notes.pvh_entry), 0, -ENOEXEC, "PVH entry 0x0" },
	{ "PVH entry above 4 GiB", ELF_FIELD(notes.pvh_entry), UINT64_C(0x100000000), -ENOEXEC,
		"above 4 GiB" },
	{ "PVH note of 4 bytes", ELF_FIELD(notes.pvh.n_descsz), 4, 0, "" },
	{ "PVH note of 0 bytes", ELF_FIELD(notes.pvh.n_descsz), 0, -ENOEXEC, "of 0 bytes" },
	{ "PVH note of 2 bytes", ELF_FIELD(notes.pvh.n_descsz), 2, -ENOEXEC, "of 2 bytes" },
	{ "PVH note cut", ELF_FIELD(programs[2].p_filesz),
		sizeof(((struct elf_file *)0)->notes) - 1, -ENOEXEC, "program header 2: note" },
	{ "descsz 2^32 - 1", ELF_FIELD(notes.other.n_descsz), UINT32_MAX, -ENOEXEC, "note at" },
	{ "namesz 2^32 - 1", ELF_FIELD(notes.other.n_namesz), UINT32_MAX, -ENOEXEC, "note at" },
	{ "notes beyond the file", ELF_FIELD(programs[2].p_filesz), UINT64_MAX, -ENOEXEC,
		"program header 2" },
	{ "notes offset 2^64 - 1", ELF_FIELD(programs[2].p_offset), UINT64_MAX, -ENOEXEC,
		"program header 2" },
	{ "another name: the ELF entry", ELF_FIELD(notes.pvh_name), 0x006e6559, 0, "" },
};

START_TEST(hostile_elf_is_refused)
{
	const struct hostile *hostile = &hostile_elf[_i];
	struct elf_file file = good_elf();
	int r;

	memcpy((char *)&file + hostile->offset, &hostile->value, hostile->size_bytes);
	r = load(&file, sizeof(file), NULL);
	ck_assert_msg(r == hostile->expected && strstr(error.text, hostile->text), "%s: %d, \"%s\"",
		hostile->name, r, error.text);
}
END_TEST

START_TEST(elf_entry_outside_is_refused)
{
	struct elf_file file = good_elf();

	file.header.e_phnum = 2;
	file.header.e_entry = ELF_CODE_GPA + 0x1000;
	ck_assert_int_eq(load(&file, sizeof(file), NULL), -ENOEXEC);
	ck_assert_str_eq(error.text, "entry 0x1001000 lies outside what the file loads");
	/* As of a kernel linked at a virtual address. */
	file.header.e_entry = UINT64_C(0xffffffff81000000);
	ck_assert_int_eq(load(&file, sizeof(file), NULL), -ENOEXEC);
}
END_TEST

START_TEST(elf_without_segments_is_refused)
{
	struct elf_file file = good_elf();

	file.programs[0].p_type = PT_NULL;
	file.programs[1].p_memsz = 0;
	ck_assert_int_eq(load(&file, sizeof(file), NULL), -ENOEXEC);
	ck_assert_str_eq(error.text, "ELF file without a loadable segment");
}
END_TEST

START_TEST(first_of_several_notes_counts)
{
	struct elf_file file = good_elf();

	file.notes.other = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
	memcpy(file.notes.other_name, "Xen\0\x80\0\0\1", 8);
	file.notes.other_value = 0;
	ck_assert_msg(load(&file, sizeof(file), NULL) == 0, "%s", error.text);
	ck_assert_uint_eq(result.entry.rip, ELF_CODE_GPA + 0x80);
}
END_TEST

START_TEST(notes_without_end_are_refused)
{
	struct elf_file *file = calloc(1, sizeof(*file) + 12 * 1000);
	struct elf_file good = good_elf();

	memcpy(file, &good, sizeof(good));
	/* A thousand notes of nothing. */
	file->programs[2].p_offset = sizeof(*file);
	file->programs[2].p_filesz = 12 * 1000;
	ck_assert_int_eq(load(file, sizeof(*file) + 12 * 1000, NULL), -ENOEXEC);
	ck_assert_ptr_nonnull(strstr(error.text, "more than 256 notes"));
	free(file);
}
END_TEST

START_TEST(elf_cut_anywhere_is_refused)
{
	struct elf_file file = good_elf();

	for (size_t size = 1; size < sizeof(file); size += size < 400 ? 1 : 97) {
		int r = load(&file, size, NULL);

		ck_assert_msg(r == -ENOEXEC, "%zu bytes: %d", size, r);
	}
}
END_TEST

/* ---- hostile bzImages ---- */

#define BZ_FIELD(member)                                                                           \
	0x1f1 + offsetof(struct setup_header, member), sizeof(((struct setup_header *)0)->member)

static const struct hostile hostile_bz[] = {
	{ "boot flag", BZ_FIELD(boot_flag), 0, -ENOEXEC, "neither an ELF file nor a bzImage" },
	{ "magic", BZ_FIELD(header), 0, -ENOEXEC, "neither an ELF file nor a bzImage" },
	{ "protocol 2.11", BZ_FIELD(version), 0x20b, -ENOEXEC, "protocol 2.11 is older" },
	{ "protocol 0", BZ_FIELD(version), 0, -ENOEXEC, "protocol 0.0 is older" },
	{ "protocol 2.12", BZ_FIELD(version), 0x20c, 0, "" },
	{ "jump too short", 0x201, 1, 0x10, -ENOEXEC, "setup header of 33 bytes" },
	{ "jump 0", 0x201, 1, 0, -ENOEXEC, "too short" },
	{ "jump 255", 0x201, 1, 0xff, 0, "" },
	{ "loads low", BZ_FIELD(loadflags), 0, -ENOEXEC, "below 1 MiB" },
	{ "no 64-bit entry", BZ_FIELD(xloadflags), 0, -ENOEXEC, "no 64-bit entry" },
	{ "setup_sects 255", BZ_FIELD(setup_sects), 255, -ENOEXEC, "255 setup sectors" },
	{ "setup_sects one more", BZ_FIELD(setup_sects), BZ_SETUP_SECTS + 1, -ENOEXEC,
		"kernel of 0x3000 bytes, but the file has 0x2e00" },
	{ "setup_sects 0 is 4", BZ_FIELD(setup_sects), 0, -ENOEXEC, "but the file has 0x2e00" },
	{ "syssize 0", BZ_FIELD(syssize), 0, -ENOEXEC, "kernel of 0x0 bytes" },
	{ "syssize no entry", BZ_FIELD(syssize), 0x200 / 16, -ENOEXEC, "kernel of 0x200 bytes" },
	{ "syssize one more", BZ_FIELD(syssize), BZ_KERNEL_BYTES / 16 + 1, -ENOEXEC, "0x3010" },
	{ "syssize 2^32 - 1", BZ_FIELD(syssize), UINT32_MAX, -ENOEXEC, "0xffffffff0" },
	{ "payload offset", BZ_FIELD(payload_offset), BZ_KERNEL_BYTES, -ENOEXEC, "payload at" },
	{ "payload offset 2^32 - 1", BZ_FIELD(payload_offset), UINT32_MAX, -ENOEXEC, "payload at" },
	{ "payload length", BZ_FIELD(payload_length), UINT32_MAX, -ENOEXEC, "payload at" },
	{ "init_size 0", BZ_FIELD(init_size), 0, -ENOEXEC, "init_size 0x0" },
	{ "init_size too small", BZ_FIELD(init_size), BZ_KERNEL_BYTES - 1, -ENOEXEC, "init_size" },
	{ "init_size beyond memory", BZ_FIELD(init_size), 49 * MIB, -ERANGE,
		"it needs 0x3100000 bytes from 0x1000000" },
	{ "init_size 2^32 - 1", BZ_FIELD(init_size), UINT32_MAX, -ERANGE, "no free memory" },
	{ "pref_address 2^64 - 1", BZ_FIELD(pref_address), UINT64_MAX, -ERANGE, "no free memory" },
	{ "pref_address wraps", BZ_FIELD(pref_address), UINT64_MAX - BZ_INIT_BYTES + 1, -ERANGE,
		"no free memory" },
	{ "pref_address beyond", BZ_FIELD(pref_address), MEMORY_BYTES, -ERANGE, "no free memory" },
	{ "pref_address 0: from 1 MiB", BZ_FIELD(pref_address), 0, 0, "" },
	{ "initrd_addr_max 0", BZ_FIELD(initrd_addr_max), 0, 0, "" },
	{ "cmdline_size 0", BZ_FIELD(cmdline_size), 0, -E2BIG, "than the 0 that" },
	{ "cmdline_size 12", BZ_FIELD(cmdline_size), 12, -E2BIG,
		"command line of 13 bytes is longer than the 12" },
	{ "cmdline_size 13", BZ_FIELD(cmdline_size), 13, 0, "" },
	{ "cmdline_size 2^32 - 1", BZ_FIELD(cmdline_size), UINT32_MAX, 0, "" },
};

START_TEST(hostile_bzimage_is_refused)
{
	const struct hostile *hostile = &hostile_bz[_i];
	struct bz_file file = good_bz();
	int r;

	memcpy(file.bytes + hostile->offset, &hostile->value, hostile->size_bytes);
	r = load(&file, sizeof(file), NULL);
	ck_assert_msg(r == hostile->expected && strstr(error.text, hostile->text), "%s: %d, \"%s\"",
		hostile->name, r, error.text);
}
END_TEST

START_TEST(bzimage_alignment_is_checked_before_it_is_used)
{
	static const uint32_t alignments[] = { 0, 1, 0x800, 0x3000, UINT32_MAX };
	struct vmm_loader_range reserved = { BZ_PREF_GPA, 0x1000, VMM_LOADER_RESERVED };

	for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
		struct vmm_loader_config config = { .reserved = &reserved, .n_reserved = 1 };
		struct bz_file file = good_bz();

		bz_header(&file)->kernel_alignment = alignments[i];
		ck_assert_int_eq(load(&file, sizeof(file), &config), -ENOEXEC);
		ck_assert_ptr_nonnull(strstr(error.text, "alignment"));
	}
}
END_TEST

START_TEST(bzimage_cut_anywhere_is_refused)
{
	struct bz_file file = good_bz();

	for (size_t size = 1; size < sizeof(file) - 16; size += 61) {
		int r = load(&file, size, NULL);

		ck_assert_msg(r == -ENOEXEC, "%zu bytes: %d", size, r);
	}
}
END_TEST

/* ---- files that are none, memory that is none ---- */

START_TEST(what_is_no_kernel_file_is_refused)
{
	struct vmm_loader_config config = { .kernel_fd = -EBADF };
	int pipe_fds[2];

	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, &error), -EBADF);
	ck_assert_str_eq(error.text, "kernel: can not be examined");
	config.kernel_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, &error), -EINVAL);
	ck_assert_str_eq(error.text, "kernel: not a regular file");
	close(config.kernel_fd);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	config.kernel_fd = pipe_fds[0];
	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, &error), -EINVAL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	ck_assert_int_eq(load("", 0, NULL), -EINVAL);
	ck_assert_str_eq(error.text, "kernel: empty");
	ck_assert_int_eq(load("#!/bin/sh\n", 10, NULL), -ENOEXEC);
	ck_assert_int_eq(load("\177ELF", 4, NULL), -ENOEXEC);

	/* The text is not needed. */
	config.kernel_fd = -EBADF;
	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, NULL), -EBADF);
}
END_TEST

START_TEST(write_only_kernel_is_refused)
{
	struct elf_file file = good_elf();
	struct vmm_loader_config config = { 0 };
	char path[64];
	int fd = file_of(&file, sizeof(file));

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config.kernel_fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(config.kernel_fd, 0);
	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, &error), -EBADF);
	ck_assert_ptr_nonnull(strstr(error.text, "can not be read"));
	close(config.kernel_fd);
	close(fd);
}
END_TEST

START_TEST(bad_initrd_is_refused)
{
	struct elf_file file = good_elf();
	struct vmm_loader_config config = { .has_initrd = true };
	static const struct {
		uint64_t size_bytes;
		int expected;
		const char *text;
	} cases[] = {
		{ 0, -EINVAL, "initrd: empty" },
		{ 1, 0, "" },
		{ MEMORY_BYTES, -E2BIG, "initrd: its 0x4000000 bytes do not fit" },
		{ MEMORY_BYTES - ELF_BSS_GPA - 0x10000, 0, "" },
		{ MEMORY_BYTES - ELF_BSS_GPA - 0x10000 + 1, -E2BIG, "do not fit" },
		{ INT64_MAX, -E2BIG, "do not fit" },
	};

	config.initrd_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(load(&file, sizeof(file), &config), -EINVAL);
	ck_assert_str_eq(error.text, "initrd: not a regular file");
	close(config.initrd_fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;

		config.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(config.initrd_fd, (off_t)cases[i].size_bytes), 0);
		r = load(&file, sizeof(file), &config);
		ck_assert_msg(r == cases[i].expected && strstr(error.text, cases[i].text),
			"case %zu: %d, \"%s\"", i, r, error.text);
		close(config.initrd_fd);
	}
}
END_TEST

START_TEST(command_line_of_an_elf_file_has_linux_limit)
{
	struct elf_file file = good_elf();
	char cmdline[2049];
	struct vmm_loader_config config = { .cmdline = cmdline };

	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[2047] = '\0';
	ck_assert_int_eq(load(&file, sizeof(file), &config), 0);
	check_memory(VMM_LAYOUT_CMDLINE_GPA, cmdline, 2048);
	cmdline[2047] = 'x';
	cmdline[2048] = '\0';
	ck_assert_int_eq(load(&file, sizeof(file), &config), -E2BIG);
}
END_TEST

START_TEST(bad_reserved_ranges_are_refused)
{
	static const struct {
		struct vmm_loader_range ranges[2];
		int expected;
	} cases[] = {
		{ { { 0x1000000, 0, 2 }, { 0xf0000000, 1, 2 } }, -EINVAL },
		{ { { UINT64_MAX, 2, 2 }, { 0xf0000000, 1, 2 } }, -EINVAL },
		{ { { 0xf0000000, 0x1000, 2 }, { 0xf0000fff, 1, 2 } }, -EINVAL },
		{ { { 0xf0000000, 0x1000, 2 }, { 0xf0001000, 1, 3 } }, 0 },
		{ { { 0xf0000000, 0x1000, 1 }, { 0xf0001000, 1, 3 } }, -EINVAL },
		{ { { 0xf0000000, 0x1000, 5 }, { 0xf0001000, 1, 3 } }, -EINVAL },
		{ { { 0x1000, 0x1000, 2 }, { 0xf0001000, 1, 3 } }, -ERANGE },
		{ { { ELF_CODE_GPA, 0x1000, 2 }, { 0xf0001000, 1, 3 } }, -ERANGE },
	};
	struct vmm_loader_range many[VMM_LOADER_MAX_RESERVED + 1];
	struct elf_file file = good_elf();
	struct vmm_loader_config config = { .reserved = many };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		config.reserved = cases[i].ranges;
		config.n_reserved = 2;
		ck_assert_msg(load(&file, sizeof(file), &config) == cases[i].expected,
			"case %zu: %s", i, error.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct vmm_loader_range){ 30 * MIB + i * 0x2000, 0x1000, 3 };
	config.reserved = many;
	config.n_reserved = VMM_LOADER_MAX_RESERVED;
	ck_assert_int_eq(load(&file, sizeof(file), &config), 0);
	config.n_reserved++;
	ck_assert_int_eq(load(&file, sizeof(file), &config), -EINVAL);
}
END_TEST

START_TEST(memory_too_small_or_elsewhere_is_refused)
{
	static const struct {
		uint64_t gpa, size_bytes;
	} cases[] = {
		{ 0, 0x1000 },
		{ 0, 0x2f000 },
		{ 0x1000, 32 * MIB },
		{ VMM_LAYOUT_HIGH_RAM_GPA, 32 * MIB },
		{ 0, MIB },
	};
	struct elf_file file = good_elf();

	teardown();
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(load(&file, sizeof(file), NULL), -ERANGE);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_mem_config config = {
			.gpa = cases[i].gpa,
			.size_bytes = cases[i].size_bytes,
			.backing = VMM_MEM_ANONYMOUS,
		};

		ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
		ck_assert_int_eq(load(&file, sizeof(file), NULL), -ERANGE);
		ck_assert_int_eq(vmm_mem_remove(mem, cases[i].gpa), 0);
	}
}
END_TEST

START_TEST(segment_crosses_adjacent_regions_but_no_hole)
{
	static const struct {
		uint64_t second_gpa;
		int expected;
	} cases[] = { { ELF_BSS_GPA + 0x8000, 0 }, { ELF_BSS_GPA + 0x9000, -ERANGE } };
	struct elf_file file = good_elf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_mem_config config = { .size_bytes = ELF_BSS_GPA + 0x8000,
			.backing = VMM_MEM_ANONYMOUS };

		teardown();
		ck_assert_int_eq(vmm_mem_new(&mem), 0);
		ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
		config.gpa = cases[i].second_gpa;
		ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
		ck_assert_int_eq(load(&file, sizeof(file), NULL), cases[i].expected);
	}
}
END_TEST

START_TEST(ram_lies_around_the_gap)
{
	static const struct {
		uint64_t size_bytes, low_bytes, high_bytes;
		int expected;
	} cases[] = {
		{ 0, 0, 0, -EINVAL },
		{ 0x1000, 0x1000, 0, 0 },
		{ 0x1001, 0, 0, -EINVAL },
		{ 0xc0000000, 0xc0000000, 0, 0 },
		{ 0xc0001000, 0xc0000000, 0x1000, 0 },
		{ 0x140000000, 0xc0000000, 0x80000000, 0 },
		{ UINT64_MAX - 0xfff, 0, 0, -EINVAL },
	};
	struct vmm_mem_config kind = { .gpa = 0x5000, .backing = VMM_MEM_ANONYMOUS };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_mem_region region;
		int r;

		teardown();
		ck_assert_int_eq(vmm_mem_new(&mem), 0);
		r = vmm_loader_add_ram(mem, cases[i].size_bytes, i % 2 ? &kind : NULL);
		ck_assert_msg(r == cases[i].expected, "case %zu: %d", i, r);
		if (r < 0)
			continue;
		ck_assert_uint_eq(vmm_mem_n_regions(mem), cases[i].high_bytes ? 2 : 1);
		ck_assert_int_eq(vmm_mem_get_region(mem, 0, &region), 0);
		ck_assert(region.gpa == 0 && region.size_bytes == cases[i].low_bytes);
		if (cases[i].high_bytes == 0)
			continue;
		ck_assert_int_eq(vmm_mem_get_region(mem, 1, &region), 0);
		ck_assert(region.gpa == VMM_LAYOUT_HIGH_RAM_GPA &&
			  region.size_bytes == cases[i].high_bytes);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loader");
	TCase *good = unit_case(suite, "good files");
	TCase *elf = unit_case(suite, "hostile ELF");
	TCase *bz = unit_case(suite, "hostile bzImage");
	TCase *rest = unit_case(suite, "files and memory");

	tcase_add_checked_fixture(good, setup, teardown);
	tcase_add_test(good, elf_with_note_starts_by_pvh);
	tcase_add_test(good, elf32_with_note_starts_by_pvh);
	tcase_add_test(good, elf_without_note_starts_at_its_entry);
	tcase_add_test(good, bzimage_starts_at_its_64_bit_entry);
	tcase_add_test(good, relocatable_bzimage_moves_up_from_what_is_reserved);
	tcase_add_test(good, initrd_lies_below_the_gap_and_what_the_kernel_allows);
	tcase_add_test(good, pvh_initrd_is_a_module);
	tcase_add_test(good, wanted_format_is_insisted_on);

	tcase_add_checked_fixture(elf, setup, teardown);
	tcase_add_loop_test(elf, hostile_elf_is_refused, 0, ARRAY_SIZE(hostile_elf));
	tcase_add_test(elf, elf_entry_outside_is_refused);
	tcase_add_test(elf, elf_without_segments_is_refused);
	tcase_add_test(elf, first_of_several_notes_counts);
	tcase_add_test(elf, notes_without_end_are_refused);
	tcase_add_test(elf, elf_cut_anywhere_is_refused);

	tcase_add_checked_fixture(bz, setup, teardown);
	tcase_add_loop_test(bz, hostile_bzimage_is_refused, 0, ARRAY_SIZE(hostile_bz));
	tcase_add_test(bz, bzimage_alignment_is_checked_before_it_is_used);
	tcase_add_test(bz, bzimage_cut_anywhere_is_refused);

	tcase_add_checked_fixture(rest, setup, teardown);
	tcase_add_test(rest, what_is_no_kernel_file_is_refused);
	tcase_add_test(rest, write_only_kernel_is_refused);
	tcase_add_test(rest, bad_initrd_is_refused);
	tcase_add_test(rest, command_line_of_an_elf_file_has_linux_limit);
	tcase_add_test(rest, bad_reserved_ranges_are_refused);
	tcase_add_test(rest, memory_too_small_or_elsewhere_is_refused);
	tcase_add_test(rest, ram_lies_around_the_gap);
	tcase_add_test(rest, segment_crosses_adjacent_regions_but_no_hole);
	return unit_run(suite);
}
