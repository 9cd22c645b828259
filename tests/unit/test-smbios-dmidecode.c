/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The tables as dmidecode sees them: no complaint, and what was put in comes out. Skipped where
 * there is no dmidecode.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmmcore/smbios.h>

#include "base/util.h"
#include "unit.h"

static char output[1 << 20];

/* As a dump file: the entry point, and from byte 32 on the structures. */
static void decode(const struct vmm_smbios_config *config)
{
	char path[] = "/tmp/test-smbios-XXXXXX", command[128];
	struct vmm_mem_config memory = { .size_bytes = 1 << 20, .backing = VMM_MEM_ANONYMOUS };
	static uint8_t dump[1 << 20];
	struct vmm_smbios_tables tables;
	struct vmm_mem *mem;
	uint64_t address = 32;
	size_t n;
	FILE *pipe;
	int fd;

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &memory), 0);
	ck_assert_int_eq(vmm_smbios_build(mem, config, &tables), 0);
	ck_assert_int_eq(vmm_mem_read(mem, tables.entry_gpa, dump, VMM_SMBIOS_ENTRY_BYTES), 0);
	ck_assert_int_eq(vmm_mem_read(mem, tables.tables_gpa, dump + 32, tables.size_bytes), 0);
	vmm_mem_free(mem);
	for (size_t i = 0; i < sizeof(address); i++) {
		uint8_t byte = (uint8_t)(address >> (8 * i));

		dump[5] += (uint8_t)(dump[16 + i] - byte);
		dump[16 + i] = byte;
	}
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, dump, 32 + tables.size_bytes), 0);
	close(fd);
	snprintf(command, sizeof(command), "dmidecode --from-dump %s 2>&1", path);
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	n = fread(output, 1, sizeof(output) - 1, pipe);
	output[n] = '\0';
	ck_assert_int_eq(pclose(pipe), 0);
	unlink(path);
}

/* Where text stands in the output. */
static const char *expect(const char *text)
{
	const char *at = strstr(output, text);

	ck_assert_msg(at != NULL, "no \"%s\" in:\n%s", text, output);
	return at;
}

START_TEST(dmidecode_reads_it_all)
{
	static const char *const strings[] = { "io.systemd.credential:a=b", "second" };
	static const char *const bad[] = { "BAD", "WRONG", "TRUNCATED", "broken", "Invalid",
		"OUT OF SPEC", "<OUT" };
	struct vmm_smbios_config config = {
		.uuid = { 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78,
			0x9a, 0xbc, 0xde, 0xf0 },
		.uuid_set = true,
		.n_cpus = 3,
		.memory_bytes = UINT64_C(6) << 30,
		.oem_strings = strings,
		.n_oem_strings = 2,
	};
	const char *tables;

	decode(&config);
	/* Before that stands the file's name, and a random one may have any word in it. */
	tables = expect("SMBIOS 3.3.0 present.");
	expect("System is a virtual machine");
	expect("Manufacturer: vmmd");
	expect("UUID: 12345678-9abc-def0-1234-56789abcdef0");
	expect("Core Count: 3");
	expect("String 1: io.systemd.credential:a=b");
	expect("String 2: second");
	expect("Maximum Capacity: 6 GB");
	expect("Size: 6 GB");
	expect("Starting Address: 0x00100000000");
	expect("Ending Address: 0x001BFFFFFFF");
	expect("System Boot Information\n\tStatus: No errors detected");
	expect("End Of Table");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(strcasestr(tables, bad[i]) == NULL, "%s in:\n%s", bad[i], output);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smbios-dmidecode");
	TCase *tcase = unit_case(suite, "dmidecode");

	if (system("dmidecode --version >/dev/null 2>&1") != 0) {
		printf("skipped: there is no dmidecode (package dmidecode)\n");
		return 77;
	}
	tcase_add_test(tcase, dmidecode_reads_it_all);
	return unit_run(suite);
}
