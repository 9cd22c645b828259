/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include <vmmcore/smbios.h>

#include "base/util.h"
#include "unit.h"

static struct vmm_mem *mem;
static const struct vmm_smbios_config plain = { .n_cpus = 4, .memory_bytes = 512 << 20 };

static void setup(void)
{
	struct vmm_mem_config config = { .size_bytes = 4 << 20, .backing = VMM_MEM_ANONYMOUS };

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

static void teardown(void)
{
	mem = vmm_mem_free(mem);
}

/* What a guest reads. */
static uint8_t table[VMM_SMBIOS_MAX_BYTES];
static uint32_t table_length;

static void read_tables(uint64_t entry_gpa)
{
	uint8_t entry[24], sum = 0;
	uint64_t gpa;

	ck_assert_int_eq(vmm_mem_read(mem, entry_gpa, entry, sizeof(entry)), 0);
	for (size_t i = 0; i < sizeof(entry); i++)
		sum += entry[i];
	ck_assert_uint_eq(sum, 0);
	ck_assert_mem_eq(entry, "_SM3_", 5);
	ck_assert_uint_eq(entry[6], 24);
	memcpy(&table_length, entry + 12, 4);
	memcpy(&gpa, entry + 16, 8);
	ck_assert_uint_le(table_length, sizeof(table));
	ck_assert_int_eq(vmm_mem_read(mem, gpa, table, table_length), 0);
}

static void build(const struct vmm_smbios_config *config)
{
	struct vmm_smbios_tables tables;
	uint32_t size;

	ck_assert_int_eq(vmm_smbios_build(mem, config, &tables), 0);
	ck_assert_int_eq(vmm_smbios_size(config, &size), 0);
	ck_assert_uint_eq(size, tables.size_bytes);
	read_tables(tables.entry_gpa);
	ck_assert_uint_eq(table_length, tables.size_bytes);
}

/* The structure behind at. Checks that strings end where they have to. */
static const uint8_t *after(const uint8_t *at)
{
	at += at[1];
	while (at[0] || at[1])
		at++;
	ck_assert(at + 2 <= table + table_length);
	return at + 2;
}

/* The index-th structure of a type. */
static const uint8_t *find(uint8_t type, int index)
{
	for (const uint8_t *at = table; at < table + table_length; at = after(at)) {
		if (at[0] == type && index-- == 0)
			return at;
	}
	return NULL;
}

static const char *string(const uint8_t *structure, unsigned int number)
{
	const char *at = (const char *)structure + structure[1];

	if (number == 0)
		return NULL;
	while (--number > 0)
		at += strlen(at) + 1;
	return at;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}

START_TEST(each_structure_that_is_required)
{
	static const uint8_t types[] = { 0, 1, 3, 4, 16, 17, 19, 32, 127 };
	uint16_t handle = 0;

	build(&plain);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		ck_assert_ptr_nonnull(find(types[i], 0));
	for (const uint8_t *at = table; at < table + table_length; at = after(at))
		ck_assert_uint_eq(get16(at + 2), handle++);
	ck_assert_ptr_eq(after(find(127, 0)), table + table_length);
	ck_assert_ptr_null(find(11, 0));
	/* It says that it is a virtual machine. */
	ck_assert_uint_eq(find(0, 0)[19] & 0x10, 0x10);
}
END_TEST

START_TEST(system_strings_and_uuid)
{
	struct vmm_smbios_config config = {
		.manufacturer = "ACME",
		.product = "Anvil",
		.version = "7",
		.serial = "S1",
		.family = "Tools",
		.uuid = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
			0xcc, 0xdd, 0xee, 0xff },
		.uuid_set = true,
		.n_cpus = 1,
	};
	static const uint8_t encoded[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88,
		0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	static const uint8_t zeros[16];
	const uint8_t *system;

	build(&config);
	system = find(1, 0);
	ck_assert_str_eq(string(system, system[4]), "ACME");
	ck_assert_str_eq(string(system, system[5]), "Anvil");
	ck_assert_str_eq(string(system, system[6]), "7");
	ck_assert_str_eq(string(system, system[7]), "S1");
	ck_assert_ptr_null(string(system, system[25]));
	ck_assert_str_eq(string(system, system[26]), "Tools");
	ck_assert_mem_eq(system + 8, encoded, 16);
	/* No memory, no description of it. */
	ck_assert_ptr_null(find(16, 0));

	build(&plain);
	system = find(1, 0);
	ck_assert_str_eq(string(system, system[4]), "vmmd");
	ck_assert_str_eq(string(system, system[6]), vmm_version());
	ck_assert_ptr_null(string(system, system[7]));
	ck_assert_mem_eq(system + 8, zeros, 16);
}
END_TEST

START_TEST(processors_and_memory)
{
	struct vmm_smbios_config config = plain;
	const uint8_t *at;

	config.n_cpus = 64;
	build(&config);
	at = find(4, 0);
	ck_assert_uint_eq(at[0x23], 64);
	ck_assert_uint_eq(get16(at + 0x2a), 64);
	at = find(17, 0);
	ck_assert_uint_eq(get16(at + 0x0c), 512);
	ck_assert_uint_eq(get16(at + 4), get16(find(16, 0) + 2));
	at = find(19, 0);
	ck_assert_uint_eq(get32(at + 4), 0);
	ck_assert_uint_eq(get32(at + 8), (512 << 10) - 1);
	ck_assert_ptr_null(find(19, 1));

	config.memory_bytes = UINT64_C(64) << 30;
	build(&config);
	at = find(17, 0);
	ck_assert_uint_eq(get16(at + 0x0c), 0x7fff);
	ck_assert_uint_eq(get32(at + 0x1c), 65536);
	ck_assert_uint_eq(get32(find(19, 0) + 8), (3 << 20) - 1);
	at = find(19, 1);
	ck_assert_uint_eq(get32(at + 4), 4 << 20);
	ck_assert_uint_eq(get32(at + 8), (65 << 20) - 1);

	config.memory_bytes = UINT64_C(8) << 40;
	build(&config);
	at = find(19, 1);
	ck_assert_uint_eq(get32(at + 4), UINT32_MAX);
	ck_assert_uint_eq(get32(at + 0x0f + 4), 1); /* 4 GiB, in bytes */
}
END_TEST

/* More strings than one structure holds. systemd reads all structures of the type. */
START_TEST(oem_strings_go_on_in_further_structures)
{
	static char texts[600][64];
	static const char *pointers[600];
	struct vmm_smbios_config config = plain;
	size_t n = 0;

	for (int i = 0; i < 600; i++) {
		snprintf(texts[i], sizeof(texts[i]), "io.systemd.credential:name%d=value", i);
		pointers[i] = texts[i];
	}
	config.oem_strings = pointers;
	config.n_oem_strings = 600;
	build(&config);
	for (int i = 0; find(11, i); i++) {
		const uint8_t *at = find(11, i);

		ck_assert_uint_eq(at[1], 5);
		for (unsigned int j = 1; j <= at[4]; j++)
			ck_assert_str_eq(string(at, j), texts[n++]);
	}
	ck_assert_uint_eq(n, 600);
}
END_TEST

START_TEST(size_limits)
{
	static char large[VMM_SMBIOS_MAX_BYTES];
	const char *strings[] = { large };
	struct vmm_smbios_config config = plain;
	struct vmm_smbios_tables tables = { 0 };
	uint32_t base, size;

	ck_assert_int_eq(vmm_smbios_size(&config, &base), 0);
	config.oem_strings = strings;
	config.n_oem_strings = 1;
	/* A structure of type 11 with one string: 5 bytes, the string, two zeros. */
	memset(large, 'x', sizeof(large) - 1);
	large[VMM_SMBIOS_MAX_BYTES - base - 7] = '\0';
	ck_assert_int_eq(vmm_smbios_size(&config, &size), 0);
	ck_assert_uint_eq(size, VMM_SMBIOS_MAX_BYTES);
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -ENOSPC);
	config.tables_gpa = 0x200000;
	config.tables_room_bytes = size - 1;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -ENOSPC);
	config.tables_room_bytes = size;
	build(&config);
	/* Linux maps whole pages. */
	config.tables_gpa = 0x200010;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -E2BIG);
	large[VMM_SMBIOS_MAX_BYTES - base - 7] = 'x';
	large[VMM_SMBIOS_MAX_BYTES - base - 6] = '\0';
	config.tables_gpa = 0x200000;
	config.tables_room_bytes = 0x100000;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -E2BIG);
	ck_assert_int_eq(vmm_smbios_size(&config, &size), -E2BIG);
	ck_assert_uint_eq(tables.size_bytes, 0);
}
END_TEST

START_TEST(hostile_configurations)
{
	static const struct {
		uint64_t entry_gpa, tables_gpa, room;
		int error;
	} places[] = {
		{ 0xf0008, 0, 0, -EINVAL },
		{ 0xefff0, 0, 0, -EINVAL },
		{ 0xffff0, 0, 0, -EINVAL },
		{ 0x100000, 0, 0, -EINVAL },
		{ UINT64_MAX & ~UINT64_C(15), 0, 0, -EINVAL },
		{ 0xfffe0, 0, 0, -EINVAL }, /* into the reset vector */
		{ 0xfffc0, 0, 0, -ENOSPC }, /* nothing fits behind it */
		{ 0, UINT64_MAX, 4096, -EINVAL },
		{ 0, 0xfffff000, 8192, -EINVAL },
		{ 0, 0xf0000, 4096, -EINVAL },
		{ 0, 0xeff00, 0x101, -EINVAL },
		{ 0, 0xff000, 0xff1, -EINVAL },
		{ 0, 0x3fff00, 4096, -VMM_EGUEST },
	};
	const char *empty[] = { "a", "" }, *null[] = { NULL };
	struct vmm_smbios_tables tables = { 0 };
	struct vmm_smbios_config config;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		config = plain;
		config.entry_gpa = places[i].entry_gpa;
		config.tables_gpa = places[i].tables_gpa;
		config.tables_room_bytes = places[i].room;
		ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), places[i].error);
	}
	config = plain;
	config.n_cpus = 0;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	config.n_cpus = 70000;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	config = plain;
	config.memory_bytes = UINT64_MAX;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	config = plain;
	config.oem_strings = empty;
	config.n_oem_strings = 2;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	config.oem_strings = null;
	config.n_oem_strings = 1;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	config.n_oem_strings = VMM_SMBIOS_MAX_OEM_STRINGS + 1;
	ck_assert_int_eq(vmm_smbios_build(mem, &config, &tables), -EINVAL);
	ck_assert_uint_eq(tables.size_bytes, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smbios");
	TCase *tcase = unit_case(suite, "smbios");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, each_structure_that_is_required);
	tcase_add_test(tcase, system_strings_and_uuid);
	tcase_add_test(tcase, processors_and_memory);
	tcase_add_test(tcase, oem_strings_go_on_in_further_structures);
	tcase_add_test(tcase, size_limits);
	tcase_add_test(tcase, hostile_configurations);
	return unit_run(suite);
}
