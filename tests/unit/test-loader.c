/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loader: what good files become, and files and memory that will not do. */
#include "loader-files.h"

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

/* ---- files that are none, memory that is none ---- */

START_TEST(what_is_no_kernel_file_is_refused)
{
	struct vmm_loader_config config = { .kernel_fd = -EBADF };
	int pipe_fds[2];

	ck_assert_int_eq(vmm_loader_load(mem, &config, &result, &error), -EBADF);
	ck_assert_str_eq(error.text, "kernel: cannot be examined");
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
	ck_assert_ptr_nonnull(strstr(error.text, "cannot be read"));
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

	tcase_add_checked_fixture(rest, setup, teardown);
	tcase_add_test(rest, what_is_no_kernel_file_is_refused);
	tcase_add_test(rest, write_only_kernel_is_refused);
	tcase_add_test(rest, bad_initrd_is_refused);
	tcase_add_test(rest, command_line_of_an_elf_file_has_linux_limit);
	tcase_add_test(rest, bad_reserved_ranges_are_refused);
	tcase_add_test(rest, memory_too_small_or_elsewhere_is_refused);
	tcase_add_test(rest, ram_lies_around_the_gap);
	tcase_add_test(rest, segment_crosses_adjacent_regions_but_no_hole);
	add_hostile_files(suite);
	add_large_reads(suite);
	return unit_run(suite);
}
