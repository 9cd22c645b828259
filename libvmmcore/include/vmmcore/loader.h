/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: puts a kernel, its initrd, its command line and its boot tables into guest memory, and
 * says with which registers the first vCPU starts (x86-64).
 *
 *   | file                                         | entry                               |
 *   |----------------------------------------------|-------------------------------------|
 *   | ELF64 or ELF32 with a PVH note               | PVH, 32-bit, ebx = start_info       |
 *   |   (XEN_ELFNOTE_PHYS32_ENTRY)                 |   (Xen's docs/misc/pvh.pandoc)      |
 *   | ELF64 without                                | Linux 64-bit, rsi = zero page       |
 *   | bzImage, protocol 2.12 or later, with        | Linux 64-bit at load address +      |
 *   |   XLF_KERNEL_64                              |   0x200 (Documentation/arch/x86/    |
 *   |                                              |   boot.rst)                         |
 *
 * The kernel stays as it is in its file: nothing is decompressed here.
 *
 * Files and what they claim are hostile. Each failure is a negative errno and a text for people
 * that says where and why; guest memory may have been written in part by then. All sizes are
 * compared in 64 bits, without wrap-around, before anything is read or allocated, and nothing
 * is allocated whose size a file decides.
 *
 *   | input                                               | result                         |
 *   |-----------------------------------------------------|--------------------------------|
 *   | kernel is no regular file, empty, or not readable   | -EINVAL; the errno of pread    |
 *   | neither ELF nor bzImage; wrong class, machine, type | -ENOEXEC                       |
 *   | header, program headers, segment, note or payload   | -ENOEXEC                       |
 *   |   lie beyond the end of the file (also 2^64 - 1)    |                                |
 *   | program header size or count out of bounds          | -ENOEXEC                       |
 *   | file size of a segment larger than its memory size  | -ENOEXEC                       |
 *   | no loadable segment                                 | -ENOEXEC                       |
 *   | segment outside memory, or across a hole            | -ERANGE                        |
 *   | segment over the boot tables, or two overlap        | -ERANGE, -ENOEXEC              |
 *   | entry outside each loaded segment                   | -ENOEXEC                       |
 *   | PVH note: truncated, of a wrong size, above 4 GiB   | -ENOEXEC                       |
 *   | several PVH notes                                   | the first counts               |
 *   | setup_sects beyond the file, protocol before 2.12,  | -ENOEXEC                       |
 *   |   no 64-bit entry, init_size of nonsense            |                                |
 *   | kernel that is not relocatable, where pref_address  | -ERANGE                        |
 *   |   is not free memory                                |                                |
 *   | initrd empty, no regular file                       | -EINVAL                        |
 *   | initrd larger than the memory that is left for it   | -E2BIG                         |
 *   | command line longer than the kernel takes           | -E2BIG                         |
 *   | less memory than boot tables and kernel need        | -ERANGE                        |
 *   | reserved ranges that wrap or are too many           | -EINVAL                        |
 *
 * The memory is fresh: it reads as zero, so that nothing needs to be cleared. The command line may
 * have as many bytes as the header of a bzImage says, and 2047 for an ELF file.
 *
 * Threads: a call touches nothing but its arguments. The memory is not in use by a guest yet. Large
 * files are read by up to four threads, where the caller may run on as many processors; they handle
 * no signal, and have ended when the call returns. Where none is to be had the caller reads alone.
 */
#ifndef VMMCORE_LOADER_H
#define VMMCORE_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>

VMM_BEGIN_DECLS

/*
 * The guest-physical layout of a monitor that uses this block. The loader itself writes below
 * VMM_LAYOUT_EBDA_GPA, and kernel and initrd from VMM_LAYOUT_KERNEL_GPA on; the rest is named
 * here so that a monitor's parts agree.
 */
#define VMM_LAYOUT_GDT_GPA UINT64_C(0x500)
#define VMM_LAYOUT_IDT_GPA UINT64_C(0x540)
#define VMM_LAYOUT_PVH_INFO_GPA UINT64_C(0x6000)
#define VMM_LAYOUT_ZERO_PAGE_GPA UINT64_C(0x7000) /* or the PVH memory map */
#define VMM_LAYOUT_STACK_GPA UINT64_C(0x8ff0)     /* the first stack pointer, growing down */
#define VMM_LAYOUT_PML4_GPA UINT64_C(0x9000)
#define VMM_LAYOUT_PDPT_GPA UINT64_C(0xa000)
#define VMM_LAYOUT_PD_GPA UINT64_C(0xb000) /* four pages: 4 GiB mapped one to one */
#define VMM_LAYOUT_CMDLINE_GPA UINT64_C(0x20000)
#define VMM_LAYOUT_CMDLINE_MAX_BYTES 0x10000  /* with the terminating zero */
#define VMM_LAYOUT_EBDA_GPA UINT64_C(0x9fc00) /* ACPI tables from here */
#define VMM_LAYOUT_RSDP_GPA UINT64_C(0xe0000)
#define VMM_LAYOUT_KERNEL_GPA UINT64_C(0x100000)
#define VMM_LAYOUT_GAP_GPA UINT64_C(0xc0000000) /* low RAM ends here at the latest */
#define VMM_LAYOUT_IOAPIC_GPA UINT64_C(0xfec00000)
#define VMM_LAYOUT_LAPIC_GPA UINT64_C(0xfee00000)
#define VMM_LAYOUT_HIGH_RAM_GPA UINT64_C(0x100000000)

#define VMM_LOADER_MAX_RESERVED 32

struct vmm_loader_error {
	char text[256]; /* one line without its end, as "program header 2: ..." */
};

/* Values as in e820 and in PVH's memory map. */
enum vmm_loader_range_type {
	VMM_LOADER_RESERVED = 2,
	VMM_LOADER_ACPI = 3,
	VMM_LOADER_NVS = 4,
};

struct vmm_loader_range {
	uint64_t gpa;
	uint64_t size_bytes;
	enum vmm_loader_range_type type;
};

/* For ranges of the memory that are no RAM at the start: a device tells the guest of them. */
#define VMM_LOADER_LEFT_OUT ((enum vmm_loader_range_type)0x100)

enum vmm_loader_format {
	VMM_LOADER_AUTO = 0, /* as the table above says */
	VMM_LOADER_ELF_PVH,
	VMM_LOADER_ELF_LINUX,
	VMM_LOADER_BZIMAGE,
};

/* Zero is the default of each member but kernel_fd. */
struct vmm_loader_config {
	int kernel_fd;                 /* borrowed; its file offset is neither used nor moved */
	enum vmm_loader_format format; /* to insist on one: -ENOEXEC where the file is another */
	bool has_initrd;
	int initrd_fd;       /* borrowed */
	const char *cmdline; /* NULL: empty */
	uint64_t rsdp_gpa;   /* 0: none; VMM_LAYOUT_RSDP_GPA for most */
	/*
	 * What the memory map says beside RAM (all of the memory given, less these): ACPI
	 * tables, ECAM, windows. Neither kernel nor initrd is put there. VMM_LAYOUT_EBDA_GPA to
	 * 1 MiB is always reserved where nothing here says otherwise.
	 */
	const struct vmm_loader_range *reserved;
	size_t n_reserved; /* at most VMM_LOADER_MAX_RESERVED */
};

struct vmm_loader_result {
	struct vmm_x86_entry entry;    /* for vmm_vcpu_setup() of the first vCPU */
	enum vmm_loader_format format; /* what it was */
	uint64_t kernel_gpa, kernel_size_bytes;
	uint64_t initrd_gpa, initrd_size_bytes; /* 0 without one */
};

/*
 * Adds RAM as the layout has it: from 0 up to VMM_LAYOUT_GAP_GPA, and what is more from
 * VMM_LAYOUT_HIGH_RAM_GPA on. kind says of which kind (its gpa and size_bytes are not used); NULL:
 * the default. What vmm_mem_add() gives; on failure a part may have been added.
 */
VMM_PUBLIC int vmm_loader_add_ram(
	struct vmm_mem *mem, uint64_t size_bytes, const struct vmm_mem_config *kind);

/* ret_error may be NULL; it is written on failure only. */
VMM_PUBLIC int vmm_loader_load(struct vmm_mem *mem, const struct vmm_loader_config *config,
	struct vmm_loader_result *ret_result, struct vmm_loader_error *ret_error);

VMM_END_DECLS

#endif
