/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The tables as ACPICA's compiler sees them: each is disassembled, and the DSDT compiled again,
 * without an error or a warning, into the same AML. Skipped where there is no iasl.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <vmmcore/acpi.h>

#include "acpi-configs.h"
#include "base/util.h"
#include "unit.h"

static char directory[] = "/tmp/test-acpi-XXXXXX";
static struct vmm_mem *mem;

static void run(const char *format, const char *name)
{
	char command[512];
	int n = snprintf(command, sizeof(command), format, directory, name, name, name);

	ck_assert_int_lt(n, (int)sizeof(command));
	ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static void save(uint64_t gpa, const char *name)
{
	char path[128];
	uint8_t data[VMM_ACPI_TABLES_ROOM_BYTES];
	uint32_t length;
	FILE *file;

	ck_assert_int_eq(vmm_mem_read(mem, gpa + 4, &length, sizeof(length)), 0);
	ck_assert_uint_le(length, sizeof(data));
	ck_assert_int_eq(vmm_mem_read(mem, gpa, data, length), 0);
	snprintf(path, sizeof(path), "%s/%s.aml", directory, name);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, length, file), length);
	ck_assert_int_eq(fclose(file), 0);
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t value;

	ck_assert_int_eq(vmm_mem_read(mem, gpa, &value, sizeof(value)), 0);
	return value;
}

static void setup(void)
{
	acpi_configs_init();
	ck_assert_int_eq(acpi_mem_new(&mem), 0);
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void teardown(void)
{
	run("rm -rf %s", "");
	mem = vmm_mem_free(mem);
}

START_TEST(iasl_accepts_all_tables)
{
	/* Fails where iasl reports a warning, too; remarks are opinions. */
	static const char compile[] = "cd %s && iasl -d %s.aml >log 2>&1 &&"
				      " iasl -we -oa -p again %s.dsl >log 2>&1 &&"
				      " cmp -i 36 %s.aml again.aml || { cat log; false; }";
	static const char disassemble[] = "cd %s && iasl -d %s.aml >log 2>&1 &&"
					  " ! grep -iE 'error|warning|invalid' log %s.dsl"
					  " || { cat log; false; }";
	struct vmm_acpi_tables tables;
	uint64_t xsdt, fadt;

	ck_assert_int_eq(vmm_acpi_build(mem, acpi_configs[_i].config, &tables), 0);
	xsdt = get64(tables.rsdp_gpa + 24);
	fadt = get64(xsdt + 36);
	save(get64(fadt + 140), "dsdt");
	run(compile, "dsdt");
	save(xsdt, "xsdt");
	run(disassemble, "xsdt");
	save(fadt, "facp");
	run(disassemble, "facp");
	save(get64(xsdt + 44), "apic");
	run(disassemble, "apic");
	if (acpi_configs[_i].config->pci) {
		save(get64(xsdt + 52), "mcfg");
		run(disassemble, "mcfg");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi-iasl");
	TCase *tcase = unit_case(suite, "iasl");

	if (system("iasl -v >/dev/null 2>&1") != 0) {
		printf("skipped: there is no iasl (package acpica-tools)\n");
		return 77;
	}
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, iasl_accepts_all_tables, 0, (int)ARRAY_SIZE(acpi_configs));
	return unit_run(suite);
}
