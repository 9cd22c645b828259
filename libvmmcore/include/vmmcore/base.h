/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * base: what every block's header stands on: the export mark, little-endian wire types and
 * the one result that is not an errno.
 *
 * Results of type int, in all blocks: zero or positive is success (a positive value is
 * explained where it is returned), a negative errno is a failure of the host, forwarded
 * unchanged, and -VMM_EGUEST is a fault of the guest: it used an address, a length or a
 * structure that it may not use. A guest fault stops a queue or a device of that guest and
 * nothing else, so it never shares a path with a host failure.
 *
 * Threads: everything here may be called from any thread.
 */
#ifndef VMMCORE_BASE_H
#define VMMCORE_BASE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
#define VMM_BEGIN_DECLS extern "C" {
#define VMM_END_DECLS }
#else
#define VMM_BEGIN_DECLS
#define VMM_END_DECLS
#endif

/* Marks what libvmmcore.so exports. Hidden is the default when the library is built. */
#if defined(__GNUC__)
#define VMM_PUBLIC __attribute__((visibility("default")))
#else
#define VMM_PUBLIC
#endif

/* Returned as -VMM_EGUEST. Lies outside the range of errno values (1 to 4095). */
#define VMM_EGUEST 4096

VMM_BEGIN_DECLS

/*
 * Fields of rings, tables and messages whose byte order is fixed to little-endian. They are
 * structures so that arithmetic on a raw field does not compile.
 */
struct vmm_le16 {
	uint16_t v;
};
struct vmm_le32 {
	uint32_t v;
};
struct vmm_le64 {
	uint64_t v;
};

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libvmmcore supports little-endian hosts only"
#endif

static inline uint16_t vmm_le16_get(struct vmm_le16 x)
{
	return x.v;
}

static inline uint32_t vmm_le32_get(struct vmm_le32 x)
{
	return x.v;
}

static inline uint64_t vmm_le64_get(struct vmm_le64 x)
{
	return x.v;
}

static inline struct vmm_le16 vmm_le16_make(uint16_t v)
{
	struct vmm_le16 x = { v };
	return x;
}

static inline struct vmm_le32 vmm_le32_make(uint32_t v)
{
	struct vmm_le32 x = { v };
	return x;
}

static inline struct vmm_le64 vmm_le64_make(uint64_t v)
{
	struct vmm_le64 x = { v };
	return x;
}

/*
 * How an x86 CPU stands at its first instruction: made by who puts a program into memory, used by
 * who sets up the CPU. Segments are flat. 64-bit: long mode with paging by cr3; otherwise
 * 32-bit protected mode without paging. Registers that are not named are 0.
 */
struct vmm_x86_entry {
	bool long_mode;
	uint16_t code_selector, data_selector, tss_selector;
	uint64_t rip, rsp, rbx, rsi;
	uint64_t cr3; /* long mode only */
	uint64_t gdt_gpa, idt_gpa;
	uint16_t gdt_limit, idt_limit;
};

/* The library's version as "MAJOR.MINOR.PATCH", static storage. */
VMM_PUBLIC const char *vmm_version(void);

VMM_END_DECLS

#endif
