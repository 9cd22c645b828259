/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loader-hostile: tables of hostile kernels. */
#include "loader-files.h"

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

void add_hostile_files(Suite *suite)
{
	TCase *elf = unit_case(suite, "hostile ELF");
	TCase *bz = unit_case(suite, "hostile bzImage");

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
}
