/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: Linux' bzImage by its 64-bit boot protocol, from version 2.12 on. Linux'
 * Documentation/arch/x86/boot.rst names the fields.
 */
#include "loader/loader-internal.h"

#include <stddef.h>
#include <string.h>

#define SECTOR_BYTES UINT64_C(512)
#define HEADER_OFFSET 0x1f1
#define MAGIC_HDRS 0x53726448
#define ENTRY_64_OFFSET 0x200

/* The header ends at 0x202 plus the distance of the short jump in front of "HdrS". */
#define JUMP_DISTANCE_OFFSET 0x201
#define JUMP_END_OFFSET 0x202

/* The last field that version 2.12 has. */
#define HEADER_2_12_BYTES                                                                          \
	(offsetof(struct setup_header, handover_offset) +                                          \
		sizeof(((struct setup_header *)NULL)->handover_offset))

static int read_setup_header(struct load *load)
{
	struct setup_header *header = &load->header;
	uint8_t distance;
	size_t size_bytes;
	int r;

	/* A file that has no whole header of 2.12 is none. */
	r = vmm_loader_read(load, "setup header", HEADER_OFFSET, header, HEADER_2_12_BYTES);
	if (r < 0)
		return r;
	if (header->boot_flag != 0xaa55 || header->header != MAGIC_HDRS)
		return vmm_loader_fail(load, -ENOEXEC, "neither an ELF file nor a bzImage");
	if (header->version < 0x20c)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: boot protocol %u.%u is older than 2.12", header->version >> 8,
			header->version & 0xff);

	r = vmm_loader_read(load, "setup header", JUMP_DISTANCE_OFFSET, &distance, 1);
	if (r < 0)
		return r;
	size_bytes = JUMP_END_OFFSET + distance - HEADER_OFFSET;
	if (size_bytes < HEADER_2_12_BYTES)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: setup header of %zu bytes is too short for protocol 2.12",
			size_bytes);
	/* Fields that are newer than this code are left out: they are zero to the kernel. */
	size_bytes = MIN(size_bytes, sizeof(*header));
	memset(header, 0, sizeof(*header));
	return vmm_loader_read(load, "setup header", HEADER_OFFSET, header, size_bytes);
}

static int check_flags(struct load *load)
{
	const struct setup_header *header = &load->header;

	/* Both reads came from a file that may change in between. */
	if (header->boot_flag != 0xaa55 || header->header != MAGIC_HDRS || header->version < 0x20c)
		return vmm_loader_fail(load, -ENOEXEC, "bzImage: the file changes");
	if (!(header->loadflags & LOADED_HIGH))
		return vmm_loader_fail(load, -ENOEXEC, "bzImage: the kernel loads below 1 MiB");
	if (!(header->xloadflags & XLF_KERNEL_64))
		return vmm_loader_fail(load, -ENOEXEC, "bzImage: the kernel has no 64-bit entry");
	return 0;
}

/* Where in the file the part is that goes into memory, and how long it is. */
static int find_payload(struct load *load, uint64_t *ret_offset, uint64_t *ret_bytes)
{
	const struct setup_header *header = &load->header;
	uint64_t n_sectors = header->setup_sects ? header->setup_sects : 4;
	uint64_t offset = (n_sectors + 1) * SECTOR_BYTES;
	uint64_t claimed = (uint64_t)header->syssize * 16;
	uint64_t there;

	if (offset >= load->kernel_file_bytes)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: %" PRIu64 " setup sectors, but the file has 0x%" PRIx64 " bytes",
			n_sectors, load->kernel_file_bytes);
	there = load->kernel_file_bytes - offset;
	/* syssize counts units of 16 bytes; the last one may be cut short. */
	if (claimed <= ENTRY_64_OFFSET || claimed > there + 15)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: kernel of 0x%" PRIx64 " bytes, but the file has 0x%" PRIx64
			" after the setup sectors",
			claimed, there);
	claimed = MIN(claimed, there);
	if ((uint64_t)header->payload_offset + header->payload_length > claimed)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: payload at 0x%" PRIx32 ", size 0x%" PRIx32
			" lies beyond the kernel (0x%" PRIx64 " bytes)",
			header->payload_offset, header->payload_length, claimed);
	if (header->init_size < claimed)
		return vmm_loader_fail(load, -ENOEXEC,
			"bzImage: init_size 0x%" PRIx32 " is less than the kernel's 0x%" PRIx64
			" bytes",
			header->init_size, claimed);
	*ret_offset = offset;
	*ret_bytes = claimed;
	return 0;
}

/*
 * A relocatable kernel that is loaded below pref_address moves itself up there first, so any
 * place from there on will do and none below.
 */
static int choose_address(struct load *load, uint64_t *ret_gpa)
{
	const struct setup_header *header = &load->header;
	uint64_t align = header->kernel_alignment;
	uint64_t wanted = MAX((uint64_t)header->pref_address, VMM_LAYOUT_KERNEL_GPA);

	if (vmm_loader_map_is_free(&load->map, wanted, header->init_size)) {
		*ret_gpa = wanted;
		return 0;
	}
	if (header->relocatable_kernel) {
		if (align < PAGE_BYTES || (align & (align - 1)))
			return vmm_loader_fail(load, -ENOEXEC,
				"bzImage: alignment 0x%" PRIx64 " is no power of two of pages",
				align);
		for (size_t i = 0; i < load->map.n_entries; i++) {
			uint64_t gpa = MAX(load->map.entries[i].gpa, wanted);

			if (__builtin_add_overflow(gpa, align - 1, &gpa))
				continue;
			gpa = ALIGN_DOWN(gpa, align);
			if (gpa >= VMM_LAYOUT_GAP_GPA ||
				!vmm_loader_map_is_free(&load->map, gpa, header->init_size))
				continue;
			*ret_gpa = gpa;
			return 0;
		}
	}
	return vmm_loader_fail(load, -ERANGE,
		"bzImage: no free memory for the kernel: it needs 0x%" PRIx32
		" bytes %s 0x%" PRIx64,
		header->init_size, header->relocatable_kernel ? "from" : "at", wanted);
}

int vmm_loader_load_bzimage(struct load *load)
{
	struct segment segment;
	uint64_t offset = 0;
	int r;

	r = read_setup_header(load);
	if (r < 0)
		return r;
	r = check_flags(load);
	if (r < 0)
		return r;
	r = find_payload(load, &offset, &segment.file_bytes);
	if (r < 0)
		return r;
	r = choose_address(load, &segment.gpa);
	if (r < 0)
		return r;
	segment.size_bytes = load->header.init_size;
	r = vmm_loader_add_segment(load, "bzImage", &segment);
	if (r < 0)
		return r;
	r = vmm_loader_fill_segment(load, "bzImage", &segment, offset);
	if (r < 0)
		return r;

	load->format = VMM_LOADER_BZIMAGE;
	load->entry_gpa = segment.gpa + ENTRY_64_OFFSET;
	load->header.code32_start = (uint32_t)segment.gpa;
	load->initrd_max_gpa = load->header.initrd_addr_max;
	load->cmdline_max_bytes =
		MIN(load->header.cmdline_size, (uint32_t)VMM_LAYOUT_CMDLINE_MAX_BYTES - 1);
	return 0;
}
