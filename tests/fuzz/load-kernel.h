/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * load-kernel: what the targets elf and bzimage share: the input is a kernel's file, loaded with
 * an initrd, reserved ranges and a hole in memory. The kind of the other inputs follows from the
 * last byte of the file.
 */
#ifndef VMM_TESTS_LOAD_KERNEL_H
#define VMM_TESTS_LOAD_KERNEL_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/loader.h>

#include "fuzz.h"

#define LOW_BYTES UINT64_C(0x2000000)
#define HOLE_BYTES UINT64_C(0x10000)
#define HIGH_BYTES UINT64_C(0x1000000)

static inline void add_memory(struct vmm_mem *mem, uint64_t gpa, uint64_t size_bytes)
{
	struct vmm_mem_config config = {
		.gpa = gpa,
		.size_bytes = size_bytes,
		.backing = VMM_MEM_ANONYMOUS,
	};

	FUZZ_CHECK(vmm_mem_add(mem, &config) == 0);
}

static inline int fuzz_load_kernel(const uint8_t *data, size_t size, enum vmm_loader_format format)
{
	static const struct vmm_loader_range reserved[] = {
		{ 0x9fc00, 0x1000, VMM_LOADER_ACPI },
		{ 0xe0000, 0x1000, VMM_LOADER_ACPI },
		{ 0x800000, 0x1000, VMM_LOADER_RESERVED },
	};
	uint8_t last = size ? data[size - 1] : 0;
	struct vmm_loader_config config = {
		.format = format,
		.kernel_fd = memfd_create("kernel", MFD_CLOEXEC),
		.has_initrd = last & 1,
		.initrd_fd = memfd_create("initrd", MFD_CLOEXEC),
		.cmdline = last & 2 ? "console=ttyS0 root=/dev/vda" : NULL,
		.reserved = reserved,
		.n_reserved = last & 4 ? sizeof(reserved) / sizeof(reserved[0]) : 0,
	};
	struct vmm_loader_error error = { .text = "" };
	struct vmm_loader_result result;
	struct vmm_mem *mem;
	int r;

	FUZZ_CHECK(write(config.kernel_fd, data, size) == (ssize_t)size);
	FUZZ_CHECK(ftruncate(config.initrd_fd, 0x3001) == 0);
	FUZZ_CHECK(vmm_mem_new(&mem) == 0);
	add_memory(mem, 0, LOW_BYTES);
	add_memory(mem, LOW_BYTES + HOLE_BYTES, HIGH_BYTES);

	r = vmm_loader_load(mem, &config, &result, &error);
	if (r < 0) {
		FUZZ_CHECK(r == -ENOEXEC || r == -ERANGE || r == -E2BIG || r == -EINVAL);
		FUZZ_CHECK(error.text[0] != '\0');
		FUZZ_CHECK(memchr(error.text, '\0', sizeof(error.text)));
	} else {
		FUZZ_CHECK(error.text[0] == '\0');
		FUZZ_CHECK(result.entry.rip >= result.kernel_gpa &&
			   result.entry.rip - result.kernel_gpa < result.kernel_size_bytes);
		FUZZ_CHECK(vmm_mem_check(mem, result.entry.rip, 1, false) == 0);
		FUZZ_CHECK(vmm_mem_check(mem, result.initrd_gpa, result.initrd_size_bytes, false) ==
			   0);
		FUZZ_CHECK(result.initrd_size_bytes == (config.has_initrd ? 0x3001 : 0));
	}
	vmm_mem_free(mem);
	close(config.kernel_fd);
	close(config.initrd_fd);
	return 0;
}

#endif
