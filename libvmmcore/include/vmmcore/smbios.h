/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * smbios: SMBIOS 3.3 tables in guest memory: what the guest's firmware would tell about the
 * machine, its UUID, and OEM strings, by which systemd takes credentials
 * (io.systemd.credential:NAME=VALUE, io.systemd.credential.binary:NAME=BASE64).
 *
 * The entry point (_SM3_) must lie in 0xf0000 to 0xfffff, where guests without EFI look for it.
 * The structures lie behind it, or anywhere in reserved memory below 4 GiB. Linux maps at most
 * VMM_SMBIOS_MAX_BYTES of whole pages, so that is the limit of all of them together.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                          | result                                |
 *   |------------------------------------------------|---------------------------------------|
 *   | structures larger than VMM_SMBIOS_MAX_BYTES    | -E2BIG, nothing is written            |
 *   | structures larger than their room              | -ENOSPC, nothing is written           |
 *   | entry point outside 0xf0000..0xfffff, unaligned| -EINVAL                               |
 *   | structures not wholly below 4 GiB              | -EINVAL                               |
 *   | structures over the entry point, or over the   | -EINVAL                               |
 *   | last 16 bytes below 1 MiB (the reset vector)   |                                       |
 *   | OEM string that is NULL or empty               | -EINVAL (the format cannot hold one)  |
 *   | more than VMM_SMBIOS_MAX_OEM_STRINGS           | -EINVAL                               |
 *   | entry or structures outside memory             | -VMM_EGUEST                           |
 *
 * Threads: any, before the guest runs.
 */
#ifndef VMMCORE_SMBIOS_H
#define VMMCORE_SMBIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>

VMM_BEGIN_DECLS

#define VMM_SMBIOS_ENTRY_GPA UINT64_C(0xf0000)
#define VMM_SMBIOS_ENTRY_BYTES 24
#define VMM_SMBIOS_MAX_BYTES (256 * 1024)
#define VMM_SMBIOS_MAX_OEM_STRINGS 4096

/* Zero is the default of each member but n_cpus. Strings: borrowed for the call; NULL: as noted. */
struct vmm_smbios_config {
	uint64_t entry_gpa;         /* aligned to 16; 0: VMM_SMBIOS_ENTRY_GPA */
	uint64_t tables_gpa;        /* 0: behind the entry point, up to 0xfffef */
	uint64_t tables_room_bytes; /* with tables_gpa */

	const char *manufacturer; /* type 1; NULL: "vmmd" */
	const char *product;      /* NULL: "Virtual Machine" */
	const char *version;      /* NULL: the library's */
	const char *serial;       /* NULL: not specified */
	const char *sku;          /* NULL: not specified */
	const char *family;       /* NULL: not specified */
	uint8_t uuid[16];         /* type 1, in the order in which it is printed (RFC 4122) */
	bool uuid_set;            /* false: "not present" */

	unsigned int n_cpus;
	uint64_t memory_bytes;    /* one memory device of this size; below 1 MiB: none */
	uint64_t memory_hole_gpa; /* memory beyond this lies from 4 GiB on; 0: 0xc0000000 */

	const char *const *oem_strings; /* type 11, as many structures as it takes */
	size_t n_oem_strings;
};

struct vmm_smbios_tables {
	uint64_t entry_gpa;
	uint64_t tables_gpa;
	uint32_t size_bytes; /* of the structures */
};

/*
 * How many bytes the structures take, to reserve room for them. -EINVAL, -E2BIG, -ENOMEM; the
 * addresses of the config are not looked at.
 */
VMM_PUBLIC int vmm_smbios_size(const struct vmm_smbios_config *config, uint32_t *ret_size_bytes);

/*
 * Writes entry point and structures. 0, -EINVAL, -E2BIG, -ENOSPC, -ENOMEM or -VMM_EGUEST, see
 * above.
 */
VMM_PUBLIC int vmm_smbios_build(struct vmm_mem *mem, const struct vmm_smbios_config *config,
	struct vmm_smbios_tables *ret_tables);

VMM_END_DECLS

#endif
