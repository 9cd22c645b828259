/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * acpi: an encoder of AML (ACPI 6.4 §20) that knows what our DSDT is made of and no more.
 * Internal.
 *
 * Terms are appended to a buffer in the order in which they stand in AML. What has a package
 * length is opened and closed around its content; openings nest:
 *
 *     size_t device = vmm_aml_open_device(aml, "PWRB");
 *     vmm_aml_name_eisa_id(aml, "_HID", "PNP0C0C");
 *     vmm_aml_close(aml, device);
 *
 * Running out of memory is remembered and reported by vmm_aml_finish(); until then all calls are
 * safe.
 */
#ifndef VMM_ACPI_AML_H
#define VMM_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data; /* owned */
	size_t length;
	size_t room;
	bool failed; /* out of memory, or a package of 256 MiB */
};

enum {
	AML_ZERO = 0x00,
	AML_LOCAL0 = 0x60,
	AML_LOCAL1 = 0x61,
};

void vmm_aml_finish_p(struct aml *aml);

void vmm_aml_byte(struct aml *aml, uint8_t byte);
void vmm_aml_bytes(struct aml *aml, const void *data, size_t length);
void vmm_aml_integer(struct aml *aml, uint64_t value);
void vmm_aml_string(struct aml *aml, const char *string);

/* "ABCD", "^ABCD", "\\ABCD", "\\_SB_.ABCD...": segments of exactly four characters. */
void vmm_aml_path(struct aml *aml, const char *path);

/* Each returns the mark that vmm_aml_close() wants. */
size_t vmm_aml_open_scope(struct aml *aml, const char *path);
size_t vmm_aml_open_device(struct aml *aml, const char *name);
size_t vmm_aml_open_method(struct aml *aml, const char *name, unsigned int n_arguments);
size_t vmm_aml_open_package(struct aml *aml, uint8_t n_elements);
size_t vmm_aml_open_field(struct aml *aml, const char *region);
/* If (Local & mask) */
size_t vmm_aml_open_if_and(struct aml *aml, uint8_t local, uint32_t mask);
void vmm_aml_close(struct aml *aml, size_t mark);

void vmm_aml_name(struct aml *aml, const char *name); /* Name (name, what follows) */
void vmm_aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void vmm_aml_name_string(struct aml *aml, const char *name, const char *string);
void vmm_aml_name_eisa_id(struct aml *aml, const char *name, const char *id);

void vmm_aml_region_io(struct aml *aml, const char *name, uint16_t port, uint8_t size_bytes);
/* Inside a field: n_bits with a name, or skipped where name is NULL. */
void vmm_aml_field_bits(struct aml *aml, const char *name, uint32_t n_bits);

void vmm_aml_store_path(struct aml *aml, const char *source, uint8_t local);
void vmm_aml_store_integer(struct aml *aml, uint64_t value, const char *target);
void vmm_aml_notify(struct aml *aml, const char *path, uint8_t value);
void vmm_aml_call(struct aml *aml, const char *path); /* a method without arguments */

/* Name (_CRS, ResourceTemplate () { ... }) around the descriptors below. */
size_t vmm_aml_open_resources(struct aml *aml);
void vmm_aml_close_resources(struct aml *aml, size_t mark);
void vmm_aml_io(struct aml *aml, uint16_t port, uint8_t n_ports);
void vmm_aml_interrupt(struct aml *aml, uint32_t gsi); /* edge-triggered, active high, exclusive */
void vmm_aml_memory32(struct aml *aml, uint32_t base, uint32_t size_bytes);
void vmm_aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last);
void vmm_aml_window32(struct aml *aml, uint32_t base, uint32_t size_bytes);
void vmm_aml_window64(struct aml *aml, uint64_t base, uint64_t size_bytes);
/* Cacheable and read-only: a page of RAM, used by the device itself. */
void vmm_aml_memory64(struct aml *aml, uint64_t base, uint64_t size_bytes);

#endif
