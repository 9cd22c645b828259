/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* acpi: the AML encoder. Sections are those of the ACPI specification 6.4. */
#include "acpi/aml.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"

enum {
	/* §20.2 */
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_EXT_REGION = 0x80,
	OP_EXT_FIELD = 0x81,
	OP_EXT_DEVICE = 0x82,
	OP_STORE = 0x70,
	OP_AND = 0x7b,
	OP_NOTIFY = 0x86,
	OP_IF = 0xa0,

	REGION_SYSTEM_IO = 0x01,
	FIELD_DWORD_WRITE_AS_ZEROS = 0x43,
	METHOD_SERIALIZED = 0x08,

	SEGMENT_BYTES = 4,
	MAX_PACKAGE_BYTES = 1 << 28,
};

void vmm_aml_finish_p(struct aml *aml)
{
	free(aml->data);
	*aml = (struct aml){ 0 };
}

static bool reserve(struct aml *aml, size_t more)
{
	size_t room = aml->room ? aml->room : 1024;
	uint8_t *data;

	if (aml->failed)
		return false;
	if (more <= aml->room - aml->length)
		return true;
	while (room - aml->length < more)
		room *= 2;
	data = realloc(aml->data, room);
	if (!data) {
		aml->failed = true;
		return false;
	}
	aml->data = data;
	aml->room = room;
	return true;
}

void vmm_aml_bytes(struct aml *aml, const void *data, size_t length)
{
	if (!reserve(aml, length))
		return;
	memcpy(aml->data + aml->length, data, length);
	aml->length += length;
}

void vmm_aml_byte(struct aml *aml, uint8_t byte)
{
	vmm_aml_bytes(aml, &byte, 1);
}

/* Hosts are little-endian, see base.h. */
static void word(struct aml *aml, uint16_t value)
{
	vmm_aml_bytes(aml, &value, sizeof(value));
}

static void dword(struct aml *aml, uint32_t value)
{
	vmm_aml_bytes(aml, &value, sizeof(value));
}

static void qword(struct aml *aml, uint64_t value)
{
	vmm_aml_bytes(aml, &value, sizeof(value));
}

/* §20.2.3; 0 and 1 have opcodes that are their values. */
void vmm_aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		vmm_aml_byte(aml, (uint8_t)value);
	} else if (value <= UINT8_MAX) {
		vmm_aml_byte(aml, OP_BYTE);
		vmm_aml_byte(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		vmm_aml_byte(aml, OP_WORD);
		word(aml, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		vmm_aml_byte(aml, OP_DWORD);
		dword(aml, (uint32_t)value);
	} else {
		vmm_aml_byte(aml, OP_QWORD);
		qword(aml, value);
	}
}

void vmm_aml_string(struct aml *aml, const char *string)
{
	vmm_aml_byte(aml, OP_STRING);
	vmm_aml_bytes(aml, string, strlen(string) + 1);
}

/* §20.2.2 */
void vmm_aml_path(struct aml *aml, const char *path)
{
	size_t n_segments;

	while (*path == '\\' || *path == '^')
		vmm_aml_byte(aml, (uint8_t)*path++);
	n_segments = (strlen(path) + 1) / (SEGMENT_BYTES + 1);
	assert(n_segments > 0 && n_segments <= UINT8_MAX);
	assert(strlen(path) == n_segments * (SEGMENT_BYTES + 1) - 1);
	if (n_segments == 2) {
		vmm_aml_byte(aml, OP_DUAL_NAME);
	} else if (n_segments > 2) {
		vmm_aml_byte(aml, OP_MULTI_NAME);
		vmm_aml_byte(aml, (uint8_t)n_segments);
	}
	for (size_t i = 0; i < n_segments; i++)
		vmm_aml_bytes(aml, path + i * (SEGMENT_BYTES + 1), SEGMENT_BYTES);
}

/*
 * §20.2.4: the length counts its own 1 to 4 bytes: 6 bits in one, else 4 bits and the rest in
 * the following. counted is what comes after it. Returns how many bytes it takes.
 */
static size_t encode_length(uint32_t counted, bool with_itself, uint8_t bytes[4])
{
	size_t n = 1;

	if (counted + (with_itself ? 1 : 0) < 1U << 6) {
		bytes[0] = (uint8_t)(counted + (with_itself ? 1 : 0));
		return 1;
	}
	do {
		n++;
	} while (n < 4 && counted + (with_itself ? n : 0) >= 1U << (8 * n - 4));
	counted += (uint32_t)(with_itself ? n : 0);
	bytes[0] = (uint8_t)((n - 1) << 6 | (counted & 0x0f));
	for (size_t i = 1; i < n; i++)
		bytes[i] = (uint8_t)(counted >> (8 * i - 4));
	return n;
}

static void insert(struct aml *aml, size_t at, const uint8_t *bytes, size_t n)
{
	if (!reserve(aml, n))
		return;
	memmove(aml->data + at + n, aml->data + at, aml->length - at);
	memcpy(aml->data + at, bytes, n);
	aml->length += n;
}

/* The length goes in front of what was appended since mark. */
void vmm_aml_close(struct aml *aml, size_t mark)
{
	uint8_t bytes[4];

	if (aml->failed)
		return;
	if (aml->length - mark >= MAX_PACKAGE_BYTES - sizeof(bytes)) {
		aml->failed = true;
		return;
	}
	insert(aml, mark, bytes, encode_length((uint32_t)(aml->length - mark), true, bytes));
}

size_t vmm_aml_open_scope(struct aml *aml, const char *path)
{
	size_t mark;

	vmm_aml_byte(aml, OP_SCOPE);
	mark = aml->length;
	vmm_aml_path(aml, path);
	return mark;
}

size_t vmm_aml_open_device(struct aml *aml, const char *name)
{
	size_t mark;

	vmm_aml_byte(aml, OP_EXT);
	vmm_aml_byte(aml, OP_EXT_DEVICE);
	mark = aml->length;
	vmm_aml_path(aml, name);
	return mark;
}

size_t vmm_aml_open_method(struct aml *aml, const char *name, unsigned int n_arguments)
{
	size_t mark;

	vmm_aml_byte(aml, OP_METHOD);
	mark = aml->length;
	vmm_aml_path(aml, name);
	vmm_aml_byte(aml, (uint8_t)(n_arguments | METHOD_SERIALIZED));
	return mark;
}

size_t vmm_aml_open_package(struct aml *aml, uint8_t n_elements)
{
	size_t mark;

	vmm_aml_byte(aml, OP_PACKAGE);
	mark = aml->length;
	vmm_aml_byte(aml, n_elements);
	return mark;
}

size_t vmm_aml_open_field(struct aml *aml, const char *region)
{
	size_t mark;

	vmm_aml_byte(aml, OP_EXT);
	vmm_aml_byte(aml, OP_EXT_FIELD);
	mark = aml->length;
	vmm_aml_path(aml, region);
	vmm_aml_byte(aml, FIELD_DWORD_WRITE_AS_ZEROS);
	return mark;
}

size_t vmm_aml_open_if_and(struct aml *aml, uint8_t local, uint32_t mask)
{
	size_t mark;

	vmm_aml_byte(aml, OP_IF);
	mark = aml->length;
	vmm_aml_byte(aml, OP_AND);
	vmm_aml_byte(aml, local);
	vmm_aml_integer(aml, mask);
	vmm_aml_byte(aml, AML_ZERO); /* no target */
	return mark;
}

void vmm_aml_name(struct aml *aml, const char *name)
{
	vmm_aml_byte(aml, OP_NAME);
	vmm_aml_path(aml, name);
}

void vmm_aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	vmm_aml_name(aml, name);
	vmm_aml_integer(aml, value);
}

void vmm_aml_name_string(struct aml *aml, const char *name, const char *string)
{
	vmm_aml_name(aml, name);
	vmm_aml_string(aml, string);
}

/* §19.3.4: three letters of 5 bits, four hex digits, most significant byte first. */
void vmm_aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
	uint32_t value = 0;

	assert(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		value = value << 5 | (uint32_t)(id[i] - 0x40);
	for (int i = 3; i < 7; i++)
		value = value << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	vmm_aml_name(aml, name);
	vmm_aml_byte(aml, OP_DWORD);
	dword(aml, __builtin_bswap32(value));
}

void vmm_aml_region_io(struct aml *aml, const char *name, uint16_t port, uint8_t size_bytes)
{
	vmm_aml_byte(aml, OP_EXT);
	vmm_aml_byte(aml, OP_EXT_REGION);
	vmm_aml_path(aml, name);
	vmm_aml_byte(aml, REGION_SYSTEM_IO);
	vmm_aml_integer(aml, port);
	vmm_aml_integer(aml, size_bytes);
}

void vmm_aml_field_bits(struct aml *aml, const char *name, uint32_t n_bits)
{
	uint8_t bytes[4];

	if (name)
		vmm_aml_path(aml, name);
	else
		vmm_aml_byte(aml, 0);
	vmm_aml_bytes(aml, bytes, encode_length(n_bits, false, bytes));
}

void vmm_aml_store_path(struct aml *aml, const char *source, uint8_t local)
{
	vmm_aml_byte(aml, OP_STORE);
	vmm_aml_path(aml, source);
	vmm_aml_byte(aml, local);
}

void vmm_aml_store_integer(struct aml *aml, uint64_t value, const char *target)
{
	vmm_aml_byte(aml, OP_STORE);
	vmm_aml_integer(aml, value);
	vmm_aml_path(aml, target);
}

void vmm_aml_notify(struct aml *aml, const char *path, uint8_t value)
{
	vmm_aml_byte(aml, OP_NOTIFY);
	vmm_aml_path(aml, path);
	vmm_aml_integer(aml, value);
}

void vmm_aml_call(struct aml *aml, const char *path)
{
	vmm_aml_path(aml, path);
}

size_t vmm_aml_open_resources(struct aml *aml)
{
	vmm_aml_name(aml, "_CRS");
	vmm_aml_byte(aml, OP_BUFFER);
	return aml->length;
}

/* §20.2.5.4: in front of the bytes of a buffer stands their number, as an integer. */
void vmm_aml_close_resources(struct aml *aml, size_t mark)
{
	uint8_t bytes[3];
	size_t length;

	vmm_aml_byte(aml, 0x79); /* end tag, §6.4.2.9; checksum 0 counts as right */
	vmm_aml_byte(aml, 0);
	if (aml->failed)
		return;
	length = aml->length - mark;
	assert(length <= UINT16_MAX);
	bytes[0] = length <= UINT8_MAX ? OP_BYTE : OP_WORD;
	bytes[1] = (uint8_t)length;
	bytes[2] = (uint8_t)(length >> 8);
	insert(aml, mark, bytes, length <= UINT8_MAX ? 2 : 3);
	vmm_aml_close(aml, mark);
}

/* §6.4.2.5: I/O port descriptor, decodes 16 bits. */
void vmm_aml_io(struct aml *aml, uint16_t port, uint8_t n_ports)
{
	vmm_aml_byte(aml, 0x47);
	vmm_aml_byte(aml, 0x01);
	word(aml, port);
	word(aml, port);
	vmm_aml_byte(aml, 1);
	vmm_aml_byte(aml, n_ports);
}

/* §6.4.3.6: extended interrupt descriptor: consumer, edge. */
void vmm_aml_interrupt(struct aml *aml, uint32_t gsi)
{
	vmm_aml_byte(aml, 0x89);
	word(aml, 6);
	vmm_aml_byte(aml, 0x03);
	vmm_aml_byte(aml, 1);
	dword(aml, gsi);
}

/* §6.4.3.4: 32-bit fixed memory range, writable. */
void vmm_aml_memory32(struct aml *aml, uint32_t base, uint32_t size_bytes)
{
	vmm_aml_byte(aml, 0x86);
	word(aml, 9);
	vmm_aml_byte(aml, 1);
	dword(aml, base);
	dword(aml, size_bytes);
}

enum {
	/* §6.4.3.5 */
	SPACE_MEMORY = 0,
	SPACE_BUS = 2,
	SPACE_FIXED_PRODUCER = 0x0c, /* both ends fixed, positive decode, producer */
	SPACE_FIXED_CONSUMER = 0x0d,
	MEMORY_WRITABLE = 0x01,  /* not cacheable */
	MEMORY_CACHEABLE = 0x02, /* read-only */
};

/* §6.4.3.5.3 */
void vmm_aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last)
{
	vmm_aml_byte(aml, 0x88);
	word(aml, 13);
	vmm_aml_byte(aml, SPACE_BUS);
	vmm_aml_byte(aml, SPACE_FIXED_PRODUCER);
	vmm_aml_byte(aml, 0);
	word(aml, 0);
	word(aml, first);
	word(aml, last);
	word(aml, 0);
	word(aml, (uint16_t)(last - first + 1));
}

/* §6.4.3.5.2 */
void vmm_aml_window32(struct aml *aml, uint32_t base, uint32_t size_bytes)
{
	vmm_aml_byte(aml, 0x87);
	word(aml, 23);
	vmm_aml_byte(aml, SPACE_MEMORY);
	vmm_aml_byte(aml, SPACE_FIXED_PRODUCER);
	vmm_aml_byte(aml, MEMORY_WRITABLE);
	dword(aml, 0);
	dword(aml, base);
	dword(aml, base + (size_bytes - 1));
	dword(aml, 0);
	dword(aml, size_bytes);
}

/* §6.4.3.5.1 */
static void qword_space(
	struct aml *aml, uint64_t base, uint64_t size_bytes, uint8_t flags, uint8_t type_flags)
{
	vmm_aml_byte(aml, 0x8a);
	word(aml, 43);
	vmm_aml_byte(aml, SPACE_MEMORY);
	vmm_aml_byte(aml, flags);
	vmm_aml_byte(aml, type_flags);
	qword(aml, 0);
	qword(aml, base);
	qword(aml, base + (size_bytes - 1));
	qword(aml, 0);
	qword(aml, size_bytes);
}

void vmm_aml_window64(struct aml *aml, uint64_t base, uint64_t size_bytes)
{
	qword_space(aml, base, size_bytes, SPACE_FIXED_PRODUCER, MEMORY_WRITABLE);
}

void vmm_aml_memory64(struct aml *aml, uint64_t base, uint64_t size_bytes)
{
	qword_space(aml, base, size_bytes, SPACE_FIXED_CONSUMER, MEMORY_CACHEABLE);
}
