/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loader: one call from files to a guest that can start: kernel, initrd, command line, tables. */
#include "loader/loader-internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int vmm_loader_fail(struct load *load, int result, const char *format, ...)
{
	va_list arguments;

	if (load->error) {
		va_start(arguments, format);
		vsnprintf(load->error->text, sizeof(load->error->text), format, arguments);
		va_end(arguments);
	}
	return result;
}

int vmm_loader_read(
	struct load *load, const char *what, uint64_t offset, void *data, size_t size_bytes)
{
	uint64_t end;
	int r;

	if (__builtin_add_overflow(offset, size_bytes, &end) || end > load->kernel_file_bytes)
		return vmm_loader_fail(load, -ENOEXEC,
			"%s at 0x%" PRIx64
			", size 0x%zx lies beyond the end of the file (0x%" PRIx64 " bytes)",
			what, offset, size_bytes, load->kernel_file_bytes);
	r = vmm_base_pread_full(load->config->kernel_fd, data, size_bytes, offset);
	if (r == -ENODATA)
		return vmm_loader_fail(load, -ENOEXEC, "%s: the file became shorter", what);
	if (r < 0)
		return vmm_loader_fail(load, r, "%s: the file cannot be read", what);
	return 0;
}

int vmm_loader_add_segment(struct load *load, const char *what, const struct segment *segment)
{
	uint64_t end;

	if (__builtin_add_overflow(segment->gpa, segment->size_bytes, &end))
		return vmm_loader_fail(load, -ERANGE,
			"%s: 0x%" PRIx64 ", size 0x%" PRIx64 " wraps around", what, segment->gpa,
			segment->size_bytes);
	if (segment->gpa < BOOT_TABLES_END_GPA)
		return vmm_loader_fail(load, -ERANGE,
			"%s: 0x%" PRIx64 "-0x%" PRIx64 " lies over the boot tables (0x0-0x%" PRIx64
			")",
			what, segment->gpa, end, (uint64_t)BOOT_TABLES_END_GPA);
	if (!vmm_loader_map_is_free(&load->map, segment->gpa, segment->size_bytes))
		return vmm_loader_fail(load, -ERANGE,
			"%s: 0x%" PRIx64 "-0x%" PRIx64 " lies outside free memory", what,
			segment->gpa, end);
	for (size_t i = 0; i < load->n_segments; i++) {
		const struct segment *other = &load->segments[i];

		if (segment->gpa < other->gpa + other->size_bytes && other->gpa < end)
			return vmm_loader_fail(load, -ENOEXEC,
				"%s: 0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64,
				what, segment->gpa, end, other->gpa,
				other->gpa + other->size_bytes);
	}
	assert(load->n_segments < MAX_SEGMENTS);
	load->segments[load->n_segments++] = *segment;
	return 0;
}

int vmm_loader_fill_segment(
	struct load *load, const char *what, const struct segment *segment, uint64_t offset)
{
	int r = vmm_loader_read_memory(
		load->mem, segment->gpa, segment->file_bytes, load->config->kernel_fd, offset);

	if (r == -ENODATA)
		return vmm_loader_fail(load, -ENOEXEC, "%s: the file became shorter", what);
	if (r < 0)
		return vmm_loader_fail(load, r == -VMM_EGUEST ? -ERANGE : r,
			"%s: the file cannot be read into memory", what);
	return 0;
}

static int file_size(struct load *load, const char *what, int fd, uint64_t *ret_bytes)
{
	struct stat status;

	if (fstat(fd, &status) < 0) {
		int r = -errno;

		return vmm_loader_fail(load, r, "%s: cannot be examined", what);
	}
	if (!S_ISREG(status.st_mode))
		return vmm_loader_fail(load, -EINVAL, "%s: not a regular file", what);
	if (status.st_size <= 0)
		return vmm_loader_fail(load, -EINVAL, "%s: empty", what);
	*ret_bytes = (uint64_t)status.st_size;
	return 0;
}

static int load_kernel(struct load *load)
{
	enum vmm_loader_format wanted = load->config->format;
	unsigned char magic[4];
	bool is_elf;
	int r;

	r = file_size(load, "kernel", load->config->kernel_fd, &load->kernel_file_bytes);
	if (r < 0)
		return r;
	r = vmm_loader_read(load, "kernel", 0, magic, sizeof(magic));
	if (r < 0)
		return r;
	is_elf = memcmp(magic, "\177ELF", sizeof(magic)) == 0;
	if (wanted != VMM_LOADER_AUTO && is_elf != (wanted != VMM_LOADER_BZIMAGE))
		return vmm_loader_fail(
			load, -ENOEXEC, is_elf ? "not a bzImage" : "not an ELF file");
	return is_elf ? vmm_loader_load_elf(load) : vmm_loader_load_bzimage(load);
}

static int write_cmdline(struct load *load)
{
	const char *cmdline = load->config->cmdline ? load->config->cmdline : "";
	uint64_t max_bytes =
		MIN(load->cmdline_max_bytes, (uint64_t)VMM_LAYOUT_CMDLINE_MAX_BYTES - 1);
	int r;

	load->cmdline_bytes = strlen(cmdline);
	if (load->cmdline_bytes > max_bytes)
		return vmm_loader_fail(load, -E2BIG,
			"command line of %zu bytes is longer than the %" PRIu64
			" that this kernel takes",
			load->cmdline_bytes, max_bytes);
	r = vmm_mem_write(load->mem, VMM_LAYOUT_CMDLINE_GPA, cmdline, load->cmdline_bytes + 1);
	if (r < 0)
		return vmm_loader_fail(load, r == -VMM_EGUEST ? -ERANGE : r,
			"command line: 0x%" PRIx64 " is not memory", VMM_LAYOUT_CMDLINE_GPA);
	return 0;
}

/* The highest page-aligned place in [floor, ceiling) that no segment touches; 0: none. */
static uint64_t highest_free(
	const struct load *load, uint64_t floor, uint64_t ceiling, uint64_t size_bytes)
{
	uint64_t top = ALIGN_DOWN(ceiling, PAGE_BYTES);
	bool moved = true;

	while (moved) {
		uint64_t gpa;

		if (top < floor || top - floor < size_bytes)
			return 0;
		gpa = top - size_bytes;
		moved = false;
		/* Each move goes below one more segment, so this ends. */
		for (size_t i = 0; i < load->n_segments && !moved; i++) {
			const struct segment *segment = &load->segments[i];

			if (segment->gpa < top && gpa < segment->gpa + segment->size_bytes) {
				top = ALIGN_DOWN(segment->gpa, PAGE_BYTES);
				moved = true;
			}
		}
		if (!moved)
			return gpa;
	}
	return 0;
}

static int place_initrd(struct load *load)
{
	uint64_t ceiling = MIN(load->initrd_max_gpa, VMM_LAYOUT_GAP_GPA - 1) + 1;
	uint64_t size_bytes;

	if (__builtin_add_overflow(load->initrd_bytes, PAGE_BYTES - 1, &size_bytes))
		size_bytes = UINT64_MAX;
	size_bytes = ALIGN_DOWN(size_bytes, PAGE_BYTES);
	for (size_t i = load->map.n_entries; i-- > 0;) {
		const struct map_entry *entry = &load->map.entries[i];
		uint64_t floor = MAX(entry->gpa, VMM_LAYOUT_KERNEL_GPA);
		uint64_t end = MIN(entry->gpa + entry->size_bytes, ceiling);

		if (entry->type != MAP_RAM)
			continue;
		load->initrd_gpa = highest_free(load, floor, end, size_bytes);
		if (load->initrd_gpa)
			return 0;
	}
	return vmm_loader_fail(load, -E2BIG,
		"initrd: its 0x%" PRIx64 " bytes do not fit into the free memory below 0x%" PRIx64,
		load->initrd_bytes, ceiling);
}

static int load_initrd(struct load *load)
{
	int fd = load->config->initrd_fd;
	int r;

	if (!load->config->has_initrd)
		return 0;
	r = file_size(load, "initrd", fd, &load->initrd_bytes);
	if (r < 0)
		return r;
	r = place_initrd(load);
	if (r < 0)
		return r;
	r = vmm_loader_read_memory(load->mem, load->initrd_gpa, load->initrd_bytes, fd, 0);
	if (r == -ENODATA)
		return vmm_loader_fail(load, -EINVAL, "initrd: the file became shorter");
	if (r < 0)
		return vmm_loader_fail(load, r == -VMM_EGUEST ? -ERANGE : r,
			"initrd: the file cannot be read into memory");
	return 0;
}

static struct vmm_loader_result result_of(const struct load *load)
{
	struct vmm_loader_result result = {
		.format = load->format,
		.kernel_gpa = UINT64_MAX,
		.initrd_gpa = load->initrd_gpa,
		.initrd_size_bytes = load->initrd_bytes,
	};
	uint64_t end = 0;

	for (size_t i = 0; i < load->n_segments; i++) {
		result.kernel_gpa = MIN(result.kernel_gpa, load->segments[i].gpa);
		end = MAX(end, load->segments[i].gpa + load->segments[i].size_bytes);
	}
	result.kernel_size_bytes = end - result.kernel_gpa;
	return result;
}

int vmm_loader_add_ram(struct vmm_mem *mem, uint64_t size_bytes, const struct vmm_mem_config *kind)
{
	struct vmm_mem_config low = kind ? *kind : (struct vmm_mem_config){ .gpa = 0 };
	struct vmm_mem_config high = low;
	int r;

	low.gpa = 0;
	low.size_bytes = MIN(size_bytes, VMM_LAYOUT_GAP_GPA);
	r = vmm_mem_add(mem, &low);
	if (r < 0 || size_bytes == low.size_bytes)
		return r;
	high.gpa = VMM_LAYOUT_HIGH_RAM_GPA;
	high.size_bytes = size_bytes - low.size_bytes;
	if (high.backing == VMM_MEM_FILE &&
		__builtin_add_overflow(high.fd_offset, low.size_bytes, &high.fd_offset))
		return -EINVAL;
	return vmm_mem_add(mem, &high);
}

int vmm_loader_load(struct vmm_mem *mem, const struct vmm_loader_config *config,
	struct vmm_loader_result *ret_result, struct vmm_loader_error *ret_error)
{
	struct load load = { .mem = mem, .config = config, .error = ret_error };
	struct vmm_loader_result result;
	int r;

	r = vmm_loader_map_make(&load);
	if (r < 0)
		return r;
	if (!vmm_loader_map_is_free(&load.map, 0, BOOT_TABLES_END_GPA))
		return vmm_loader_fail(&load, -ERANGE,
			"no free memory for the boot tables (0x0-0x%" PRIx64 ")",
			(uint64_t)BOOT_TABLES_END_GPA);
	r = load_kernel(&load);
	if (r < 0)
		return r;
	r = write_cmdline(&load);
	if (r < 0)
		return r;
	r = load_initrd(&load);
	if (r < 0)
		return r;
	result = result_of(&load);
	r = vmm_loader_write_tables(&load, &result.entry);
	if (r < 0)
		return r;
	*ret_result = result;
	return 0;
}
