/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: ELF executables (System V gABI, chapters 4 and 5), with or without a PVH note (Xen's
 * docs/misc/pvh.pandoc: XEN_ELFNOTE_PHYS32_ENTRY). Segments go to their physical addresses.
 */
#include "loader/loader-internal.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#define NOTE_MAX 256 /* notes in all segments; a kernel has less than ten */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* The headers of both classes, in the shape of the larger one. */
struct elf {
	Elf64_Ehdr header;
	Elf64_Phdr programs[MAX_SEGMENTS];
	unsigned int n_programs;
	bool is_64;
	unsigned int n_notes;
	bool has_pvh_entry;
	uint32_t pvh_entry_gpa;
};

static int read_header(struct load *load, struct elf *elf)
{
	unsigned char ident[EI_NIDENT];
	Elf32_Ehdr small;
	int r;

	r = vmm_loader_read(load, "ELF header", 0, ident, sizeof(ident));
	if (r < 0)
		return r;
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT)
		return vmm_loader_fail(load, -ENOEXEC,
			"ELF header: neither little-endian nor version 1 (data %u, version %u)",
			ident[EI_DATA], ident[EI_VERSION]);
	switch (ident[EI_CLASS]) {
	case ELFCLASS64:
		elf->is_64 = true;
		return vmm_loader_read(load, "ELF header", 0, &elf->header, sizeof(elf->header));
	case ELFCLASS32:
		r = vmm_loader_read(load, "ELF header", 0, &small, sizeof(small));
		if (r < 0)
			return r;
		elf->header = (Elf64_Ehdr){
			.e_type = small.e_type,
			.e_machine = small.e_machine,
			.e_entry = small.e_entry,
			.e_phoff = small.e_phoff,
			.e_phentsize = small.e_phentsize,
			.e_phnum = small.e_phnum,
		};
		return 0;
	default:
		return vmm_loader_fail(load, -ENOEXEC, "ELF header: class %u is neither 32 nor 64",
			ident[EI_CLASS]);
	}
}

static int check_header(struct load *load, const struct elf *elf)
{
	const Elf64_Ehdr *header = &elf->header;
	size_t entry_bytes = elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (header->e_machine != EM_X86_64 && (elf->is_64 || header->e_machine != EM_386))
		return vmm_loader_fail(
			load, -ENOEXEC, "ELF header: machine %u is not x86-64", header->e_machine);
	if (header->e_type != ET_EXEC)
		return vmm_loader_fail(load, -ENOEXEC,
			"ELF header: type %u is not an executable of fixed address (2)",
			header->e_type);
	if (header->e_phentsize != entry_bytes)
		return vmm_loader_fail(load, -ENOEXEC,
			"ELF header: program headers of %u bytes instead of %zu",
			header->e_phentsize, entry_bytes);
	if (header->e_phnum == 0 || header->e_phnum > MAX_SEGMENTS)
		return vmm_loader_fail(load, -ENOEXEC,
			"ELF header: %u program headers instead of 1 to %d", header->e_phnum,
			MAX_SEGMENTS);
	return 0;
}

static int read_programs(struct load *load, struct elf *elf)
{
	Elf32_Phdr small[MAX_SEGMENTS];
	unsigned int n = elf->header.e_phnum;
	int r;

	elf->n_programs = n;
	if (elf->is_64)
		return vmm_loader_read(load, "program headers", elf->header.e_phoff, elf->programs,
			n * sizeof(elf->programs[0]));
	r = vmm_loader_read(
		load, "program headers", elf->header.e_phoff, small, n * sizeof(small[0]));
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < n; i++)
		elf->programs[i] = (Elf64_Phdr){
			.p_type = small[i].p_type,
			.p_offset = small[i].p_offset,
			.p_paddr = small[i].p_paddr,
			.p_filesz = small[i].p_filesz,
			.p_memsz = small[i].p_memsz,
			.p_align = small[i].p_align,
		};
	return 0;
}

/* A piece of the file that a program header claims. */
static int check_file_range(struct load *load, unsigned int i, const Elf64_Phdr *program)
{
	uint64_t end;

	if (__builtin_add_overflow(program->p_offset, program->p_filesz, &end) ||
		end > load->kernel_file_bytes)
		return vmm_loader_fail(load, -ENOEXEC,
			"program header %u: offset 0x%" PRIx64 ", size 0x%" PRIx64
			" lies beyond the end of the file (0x%" PRIx64 " bytes)",
			i, program->p_offset, program->p_filesz, load->kernel_file_bytes);
	return 0;
}

static int load_program(struct load *load, unsigned int i, const Elf64_Phdr *program)
{
	struct segment segment = { program->p_paddr, program->p_memsz, program->p_filesz };
	char what[32];
	int r;

	if (program->p_filesz > program->p_memsz)
		return vmm_loader_fail(load, -ENOEXEC,
			"program header %u: 0x%" PRIx64 " bytes in the file, but only 0x%" PRIx64
			" in memory",
			i, program->p_filesz, program->p_memsz);
	r = check_file_range(load, i, program);
	if (r < 0)
		return r;
	if (segment.size_bytes == 0)
		return 0;
	snprintf(what, sizeof(what), "program header %u", i);
	r = vmm_loader_add_segment(load, what, &segment);
	if (r < 0)
		return r;
	return vmm_loader_fill_segment(load, what, &segment, program->p_offset);
}

static int take_pvh_note(
	struct load *load, struct elf *elf, unsigned int i, uint64_t offset, uint32_t size_bytes)
{
	uint64_t entry = 0;
	int r;

	if (size_bytes != 4 && size_bytes != 8)
		return vmm_loader_fail(load, -ENOEXEC,
			"program header %u: PVH note of %" PRIu32 " bytes instead of 4 or 8", i,
			size_bytes);
	r = vmm_loader_read(load, "PVH note", offset, &entry, size_bytes);
	if (r < 0)
		return r;
	if (entry > UINT32_MAX)
		return vmm_loader_fail(load, -ENOEXEC,
			"program header %u: PVH entry 0x%" PRIx64 " lies above 4 GiB", i, entry);
	elf->has_pvh_entry = true;
	elf->pvh_entry_gpa = (uint32_t)entry;
	return 0;
}

/* Walks the notes of one segment until a PVH note is found. */
static int read_notes(struct load *load, struct elf *elf, unsigned int i, const Elf64_Phdr *program)
{
	uint64_t align = program->p_align == 8 ? 8 : 4;
	uint64_t at = program->p_offset, end = at + program->p_filesz;
	int r;

	r = check_file_range(load, i, program);
	if (r < 0)
		return r;
	while (!elf->has_pvh_entry && end - at >= sizeof(Elf64_Nhdr)) {
		uint64_t name_at, descriptor_at, descriptor_end;
		Elf64_Nhdr note;
		char name[4];

		if (++elf->n_notes > NOTE_MAX)
			return vmm_loader_fail(load, -ENOEXEC,
				"program header %u: more than %d notes", i, NOTE_MAX);
		r = vmm_loader_read(load, "note", at, &note, sizeof(note));
		if (r < 0)
			return r;
		/* Both sizes have 32 bits and the file's end 63: no sum here can wrap around. */
		name_at = at + sizeof(note);
		descriptor_at = at + ALIGN_UP(sizeof(note) + (uint64_t)note.n_namesz, align);
		descriptor_end = descriptor_at + note.n_descsz;
		if (name_at + note.n_namesz > end || descriptor_end > end)
			return vmm_loader_fail(load, -ENOEXEC,
				"program header %u: note at 0x%" PRIx64 " lies beyond its end", i,
				at);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(name)) {
			r = vmm_loader_read(load, "note", name_at, name, sizeof(name));
			if (r < 0)
				return r;
			if (memcmp(name, "Xen", sizeof(name)) == 0)
				return take_pvh_note(load, elf, i, descriptor_at, note.n_descsz);
		}
		at = MIN(program->p_offset + ALIGN_UP(descriptor_end - program->p_offset, align),
			end);
	}
	return 0;
}

static bool is_loaded_from_file(const struct load *load, uint64_t gpa)
{
	for (size_t i = 0; i < load->n_segments; i++)
		if (gpa >= load->segments[i].gpa &&
			gpa - load->segments[i].gpa < load->segments[i].file_bytes)
			return true;
	return false;
}

static int choose_entry(struct load *load, const struct elf *elf)
{
	enum vmm_loader_format wanted = load->config->format;

	if (elf->has_pvh_entry && wanted != VMM_LOADER_ELF_LINUX) {
		load->format = VMM_LOADER_ELF_PVH;
		load->entry_gpa = elf->pvh_entry_gpa;
	} else if (wanted == VMM_LOADER_ELF_PVH) {
		return vmm_loader_fail(load, -ENOEXEC, "ELF file without a PVH note");
	} else if (!elf->is_64) {
		return vmm_loader_fail(load, -ENOEXEC, "32-bit ELF file without a PVH note");
	} else {
		load->format = VMM_LOADER_ELF_LINUX;
		load->entry_gpa = elf->header.e_entry;
	}
	if (!is_loaded_from_file(load, load->entry_gpa))
		return vmm_loader_fail(load, -ENOEXEC,
			"%s 0x%" PRIx64 " lies outside what the file loads",
			load->format == VMM_LOADER_ELF_PVH ? "PVH entry" : "entry",
			load->entry_gpa);
	return 0;
}

int vmm_loader_load_elf(struct load *load)
{
	struct elf elf = { .n_programs = 0 };
	int r;

	r = read_header(load, &elf);
	if (r < 0)
		return r;
	r = check_header(load, &elf);
	if (r < 0)
		return r;
	r = read_programs(load, &elf);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < elf.n_programs; i++) {
		const Elf64_Phdr *program = &elf.programs[i];

		if (program->p_type == PT_LOAD)
			r = load_program(load, i, program);
		else if (program->p_type == PT_NOTE)
			r = read_notes(load, &elf, i, program);
		if (r < 0)
			return r;
	}
	if (load->n_segments == 0)
		return vmm_loader_fail(load, -ENOEXEC, "ELF file without a loadable segment");

	load->initrd_max_gpa = UINT32_MAX;
	load->cmdline_max_bytes = LINUX_CMDLINE_MAX_BYTES;
	load->header = (struct setup_header){
		.boot_flag = 0xaa55,
		.header = 0x53726448, /* "HdrS" */
		.version = 0x20c,
		.kernel_alignment = 0x1000000,
	};
	return choose_entry(load, &elf);
}
