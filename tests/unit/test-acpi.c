/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <string.h>

#include <vmmcore/acpi.h>

#include "acpi-configs.h"
#include "acpi/aml.h"
#include "base/util.h"
#include "unit.h"

static struct vmm_mem *mem;

static void setup(void)
{
	acpi_configs_init();
	ck_assert_int_eq(acpi_mem_new(&mem), 0);
}

static void teardown(void)
{
	mem = vmm_mem_free(mem);
}

static uint64_t get(uint64_t gpa, size_t length)
{
	uint64_t value = 0;

	ck_assert_int_eq(vmm_mem_read(mem, gpa, &value, length), 0);
	return value;
}

static uint8_t sum(uint64_t gpa, size_t length)
{
	uint8_t total = 0;

	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + get(gpa + i, 1));
	return total;
}

/* The address of a table, by the way that a guest takes. 0: there is none. */
static uint64_t find_table(uint64_t rsdp, const char *signature)
{
	uint64_t xsdt = get(rsdp + 24, 8), found = 0;
	char name[4];

	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	ck_assert_uint_eq(get(rsdp + 15, 1), 2);
	for (uint64_t at = xsdt + 36; at < xsdt + get(xsdt + 4, 4); at += 8) {
		uint64_t table = get(at, 8);

		ck_assert_int_eq(vmm_mem_read(mem, table, name, 4), 0);
		ck_assert_uint_eq(sum(table, get(table + 4, 4)), 0);
		if (memcmp(name, signature, 4) == 0) {
			ck_assert_uint_eq(found, 0);
			found = table;
		}
	}
	ck_assert_uint_eq(sum(xsdt, get(xsdt + 4, 4)), 0);
	return found;
}

static struct vmm_acpi_tables build(const struct vmm_acpi_config *config)
{
	struct vmm_acpi_tables tables;

	ck_assert_int_eq(vmm_acpi_build(mem, config, &tables), 0);
	ck_assert_uint_le(tables.size_bytes, VMM_ACPI_TABLES_ROOM_BYTES);
	return tables;
}

START_TEST(every_table_is_found_and_sums_to_zero)
{
	struct vmm_acpi_tables tables = build(acpi_configs[_i].config);
	uint64_t fadt = find_table(tables.rsdp_gpa, "FACP"), dsdt;
	bool has_pci = acpi_configs[_i].config->pci;

	ck_assert_uint_eq(tables.rsdp_gpa, 0xe0000);
	ck_assert_uint_ne(fadt, 0);
	ck_assert_uint_ne(find_table(tables.rsdp_gpa, "APIC"), 0);
	ck_assert_int_eq(find_table(tables.rsdp_gpa, "MCFG") != 0, has_pci);
	dsdt = get(fadt + 140, 8);
	ck_assert_uint_eq(dsdt, get(fadt + 40, 4));
	ck_assert_uint_eq(get(dsdt, 4), 0x54445344); /* "DSDT" */
	ck_assert_uint_eq(sum(dsdt, get(dsdt + 4, 4)), 0);
	/* Nothing beyond what was said. */
	ck_assert_uint_eq(get(tables.rsdp_gpa + tables.size_bytes, 8), 0);
}
END_TEST

START_TEST(fadt_is_hardware_reduced_with_reset_and_sleep)
{
	struct vmm_acpi_tables tables = build(&acpi_usual);
	uint64_t fadt = find_table(tables.rsdp_gpa, "FACP");

	ck_assert_uint_eq(get(fadt + 4, 4), 276);
	ck_assert_uint_eq(get(fadt + 112, 4) & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
	ck_assert_uint_eq(get(fadt + 108, 1), 0x32);
	ck_assert_uint_eq(get(fadt + 109, 2), 0x06); /* 8042, no VGA */
	ck_assert_uint_eq(get(fadt + 116, 4), 0x01000801);
	ck_assert_uint_eq(get(fadt + 120, 8), VMM_GED_PORT + 2);
	ck_assert_uint_eq(get(fadt + 128, 1), VMM_GED_RESET_VALUE);
	ck_assert_uint_eq(get(fadt + 248, 8), VMM_GED_PORT);
	ck_assert_uint_eq(get(fadt + 260, 8), VMM_GED_PORT + 1);
	/* No legacy register block. */
	ck_assert_uint_eq(get(fadt + 56, 8), 0);
	ck_assert_uint_eq(get(fadt + 148, 8), 0);

	tables = build(&acpi_least);
	fadt = find_table(tables.rsdp_gpa, "FACP");
	ck_assert_uint_eq(get(fadt + 112, 4) & 1 << 10, 0);
	ck_assert_uint_eq(get(fadt + 109, 2), 0x24); /* no VGA, no CMOS clock */
	ck_assert_uint_eq(get(fadt + 248, 8), 0);
}
END_TEST

START_TEST(madt_lists_each_cpu)
{
	struct vmm_acpi_config config = acpi_usual;
	struct vmm_acpi_tables tables;
	unsigned int n_cpus = 0, n_ioapics = 0, n_nmis = 0;
	uint64_t madt, at;

	config.n_cpus = (unsigned int)_i;
	config.ioapic_id = 9;
	tables = build(&config);
	madt = find_table(tables.rsdp_gpa, "APIC");
	ck_assert_uint_eq(get(madt + 36, 4), 0xfee00000);
	for (at = madt + 44; at < madt + get(madt + 4, 4); at += get(at + 1, 1)) {
		switch (get(at, 1)) {
		case 0:
			ck_assert_uint_eq(get(at + 3, 1), n_cpus);
			ck_assert_uint_eq(get(at + 4, 4), 1);
			n_cpus++;
			break;
		case 1:
			ck_assert_uint_eq(get(at + 2, 1), 9);
			ck_assert_uint_eq(get(at + 4, 4), 0xfec00000);
			ck_assert_uint_eq(get(at + 8, 4), 0);
			n_ioapics++;
			break;
		case 4:
			n_nmis++;
			break;
		default:
			ck_abort_msg("entry of type %u", (unsigned int)get(at, 1));
		}
	}
	ck_assert_uint_eq(at, madt + get(madt + 4, 4));
	ck_assert_uint_eq(n_cpus, (unsigned int)_i);
	ck_assert_uint_eq(n_ioapics, 1);
	ck_assert_uint_eq(n_nmis, 1);
}
END_TEST

START_TEST(mcfg_describes_bus_0)
{
	struct vmm_acpi_tables tables = build(&acpi_usual);
	uint64_t mcfg = find_table(tables.rsdp_gpa, "MCFG");

	ck_assert_uint_eq(get(mcfg + 4, 4), 60);
	ck_assert_uint_eq(get(mcfg + 44, 8), acpi_pci.ecam_gpa);
	ck_assert_uint_eq(get(mcfg + 52, 8), 0);
}
END_TEST

START_TEST(tables_lie_where_they_are_wanted)
{
	struct vmm_acpi_config config = acpi_usual;
	struct vmm_acpi_tables tables;

	config.tables_gpa = 0x9fc00;
	config.tables_room_bytes = build(&acpi_usual).size_bytes;
	tables = build(&config);
	ck_assert_uint_eq(tables.rsdp_gpa, 0x9fc00);
	ck_assert_uint_eq(tables.size_bytes, config.tables_room_bytes);
	ck_assert_uint_ne(find_table(0x9fc00, "FACP"), 0);
}
END_TEST

START_TEST(reset_vector_writes_the_reset_register)
{
	struct vmm_acpi_config config = acpi_usual;

	build(&config);
	ck_assert_uint_eq(get(0xffff0, 8), UINT64_C(0xebf4ee01b00602ba));
	ck_assert_uint_eq(get(0xffff8, 8), 0xfd);
	ck_assert_int_eq(vmm_mem_fill(mem, 0xffff0, 0, 16), 0);
	config.has_firmware = true;
	build(&config);
	ck_assert_uint_eq(get(0xffff0, 8), 0);
	build(&acpi_least); /* nothing to write to */
	ck_assert_uint_eq(get(0xffff0, 8), 0);
}
END_TEST

START_TEST(hostile_configurations)
{
	static const struct vmm_acpi_pci pcis[] = {
		{ .ecam_gpa = 0 },
		{ .ecam_gpa = 0xe0001000 },
		{ .ecam_gpa = UINT64_C(0x100000000) },
		{ .ecam_gpa = 0xe0000000, .mmio32_gpa = 0xfffff000, .mmio32_size_bytes = 0x2000 },
		{ .ecam_gpa = 0xe0000000, .mmio32_gpa = 0, .mmio32_size_bytes = 0x2000 },
		{ .ecam_gpa = 0xe0000000, .mmio32_gpa = 4096, .mmio32_size_bytes = UINT64_MAX },
		{ .ecam_gpa = 0xe0000000, .mmio64_gpa = 0xf0000000, .mmio64_size_bytes = 4096 },
		{ .ecam_gpa = 0xe0000000,
			.mmio64_gpa = UINT64_MAX - 4095,
			.mmio64_size_bytes = 8192 },
		{ .ecam_gpa = 0xe0000000, .hotplug_slots = 1 },
	};
	static const struct vmm_acpi_virtio_mmio virtios[] = {
		{ .base_gpa = 0xd0000000 },
		{ .base_gpa = 0xfffff000, .size_bytes = 0x1001 },
		{ .base_gpa = UINT64_MAX, .size_bytes = 0x1000 },
	};
	static const struct vmm_acpi_serial serial = { .port = 0xfffc };
	struct vmm_acpi_tables tables = { 0 };
	struct vmm_acpi_config config;

	for (size_t i = 0; i < ARRAY_SIZE(pcis); i++) {
		config = acpi_usual;
		config.pci = &pcis[i];
		ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(virtios); i++) {
		config = acpi_mmio;
		config.virtio_mmio = &virtios[i];
		config.n_virtio_mmio = 1;
		ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	}
	config = acpi_mmio;
	config.serials = &serial;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_mmio;
	config.n_serials = VMM_ACPI_MAX_SERIALS + 1;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_mmio;
	config.n_virtio_mmio = VMM_ACPI_MAX_VIRTIO_MMIO + 1;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_mmio;
	config.n_cpus = 0;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config.n_cpus = VMM_ACPI_MAX_CPUS + 1;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_mmio;
	config.ged_port = 0xfff0;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_usual;
	config.ged_port = 0; /* slots for plugging need it */
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config = acpi_mmio;
	config.tables_gpa = 0xe0008;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config.tables_gpa = UINT64_MAX - 15;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config.tables_gpa = 0xf0000;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -EINVAL);
	config.tables_gpa = 0x100000;
	ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -VMM_EGUEST);
	ck_assert_uint_eq(tables.size_bytes, 0);
}
END_TEST

START_TEST(too_little_room_at_any_size)
{
	struct vmm_acpi_config config = acpi_usual;
	struct vmm_acpi_tables tables;
	uint64_t needed = build(&acpi_usual).size_bytes;

	ck_assert_int_eq(vmm_mem_fill(mem, 0x10000, 0xaa, 0x10000), 0);
	config.tables_gpa = 0x10000;
	for (uint64_t room = 1; room < needed; room++) {
		config.tables_room_bytes = room;
		ck_assert_int_eq(vmm_acpi_build(mem, &config, &tables), -ENOSPC);
	}
	for (uint64_t at = 0x10000; at < 0x20000; at += 8)
		ck_assert_uint_eq(get(at, 8), UINT64_C(0xaaaaaaaaaaaaaaaa));
}
END_TEST

/* aml */

START_TEST(aml_package_lengths_at_their_limits)
{
	/* Content, and the bytes of its length. ACPI 6.4 §20.2.4. */
	static const struct {
		size_t content;
		size_t n;
		uint8_t bytes[3];
	} cases[] = {
		{ 62, 1, { 0x3f } },
		{ 63, 2, { 0x41, 0x04 } },
		{ 4093, 2, { 0x4f, 0xff } },
		{ 4094, 3, { 0x81, 0x00, 0x01 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(vmm_aml_finish_p) struct aml aml = { 0 };
		size_t mark = vmm_aml_open_package(&aml, 0);

		for (size_t n = 1; n < cases[i].content; n++)
			vmm_aml_byte(&aml, 0x5a);
		vmm_aml_close(&aml, mark);
		ck_assert(!aml.failed);
		ck_assert_uint_eq(aml.length, 1 + cases[i].n + cases[i].content);
		ck_assert_mem_eq(aml.data + 1, cases[i].bytes, cases[i].n);
	}
}
END_TEST

START_TEST(aml_terms)
{
	static const uint8_t expected[] = { 0x00, 0x01, 0x0a, 0x02, 0x0b, 0x00, 0x01, 0x0c, 0x00,
		0x00, 0x01, 0x00, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0, 0x0d, 'h', 'i', 0, 'A', 'B', 'C',
		'D', '\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0', '^', 0x2f, 3, 'A', 'A',
		'A', 'A', 'B', 'B', 'B', 'B', 'C', 'C', 'C', 'C', 0x08, '_', 'H', 'I', 'D', 0x0c,
		0x41, 0xd0, 0x0c, 0x0c };
	CLEANUP(vmm_aml_finish_p) struct aml aml = { 0 };

	vmm_aml_integer(&aml, 0);
	vmm_aml_integer(&aml, 1);
	vmm_aml_integer(&aml, 2);
	vmm_aml_integer(&aml, 0x100);
	vmm_aml_integer(&aml, 0x10000);
	vmm_aml_integer(&aml, UINT64_C(0x100000000));
	vmm_aml_string(&aml, "hi");
	vmm_aml_path(&aml, "ABCD");
	vmm_aml_path(&aml, "\\_SB_.PCI0");
	vmm_aml_path(&aml, "^AAAA.BBBB.CCCC");
	vmm_aml_name_eisa_id(&aml, "_HID", "PNP0C0C");
	ck_assert_uint_eq(aml.length, sizeof(expected));
	ck_assert_mem_eq(aml.data, expected, sizeof(expected));
}
END_TEST

/* ged */

static struct vmm_bus *bus;
static struct vmm_ged *ged;
static unsigned int n_power_off, n_reset, n_edges;
static uint32_t ejected;
static bool level;

static int set_level(void *userdata, bool high)
{
	n_edges += high && !level;
	level = high;
	return 0;
}

static void on_power_off(void *userdata)
{
	n_power_off++;
}

static void on_reset(void *userdata)
{
	n_reset++;
}

static void on_eject(void *userdata, unsigned int slot)
{
	ck_assert_uint_eq(ejected >> slot & 1, 0);
	ejected |= UINT32_C(1) << slot;
}

static void setup_ged(void)
{
	static const struct vmm_irq_ops irq_ops = { .set_level = set_level };
	static const struct vmm_ged_ops ops = {
		.power_off = on_power_off,
		.reset = on_reset,
		.pci_eject = on_eject,
	};
	struct vmm_ged_config config = {
		.irq = { .ops = &irq_ops },
		.pci_occupied = 1 << 5,
		.ops = &ops,
	};

	ck_assert_int_eq(vmm_bus_new(&bus), 0);
	config.bus = bus;
	ck_assert_int_eq(vmm_ged_new(&config, &ged), 0);
}

static void teardown_ged(void)
{
	ged = vmm_ged_free(ged);
	bus = vmm_bus_free(bus);
}

static uint32_t in32(uint16_t offset)
{
	uint32_t value;

	ck_assert(vmm_bus_read(bus, VMM_GED_PORT + offset, &value, 4));
	return value;
}

static void out(uint16_t offset, uint32_t value, size_t length)
{
	ck_assert(vmm_bus_write(bus, VMM_GED_PORT + offset, &value, length));
}

/* acpi_hw_extended_sleep() and acpi_reset() of Linux 6.1 write these. */
START_TEST(ged_sleep_and_reset)
{
	out(1, 0x80, 1);
	ck_assert_uint_eq(n_power_off, 0);
	out(0, 5 << 2, 1);        /* not enabled */
	out(0, 0x20 | 4 << 2, 1); /* another state */
	ck_assert_uint_eq(n_power_off, 0);
	out(0, 0x20 | 5 << 2, 1);
	ck_assert_uint_eq(n_power_off, 1);
	out(2, 0, 1);
	out(2, 6, 1);
	ck_assert_uint_eq(n_reset, 0);
	out(2, 1, 1);
	ck_assert_uint_eq(n_reset, 1);
	ck_assert_uint_eq(in32(0), 0);
}
END_TEST

START_TEST(ged_power_button)
{
	ck_assert_int_eq(vmm_ged_raise(ged, VMM_GED_POWER_BUTTON), 0);
	ck_assert_int_eq(vmm_ged_raise(ged, VMM_GED_POWER_BUTTON), 0);
	/* Who missed the first must see the second. */
	ck_assert_uint_eq(n_edges, 2);
	ck_assert_uint_eq(in32(4), VMM_GED_POWER_BUTTON);
	ck_assert(!level);
	ck_assert_uint_eq(in32(4), 0);
	ck_assert_int_eq(vmm_ged_raise(ged, VMM_GED_POWER_BUTTON | VMM_GED_VMGENID), 0);
	ck_assert_uint_eq(n_edges, 3);
	ck_assert_uint_eq(in32(4), VMM_GED_POWER_BUTTON | VMM_GED_VMGENID);
}
END_TEST

START_TEST(ged_plugs_and_unplugs)
{
	ck_assert_int_eq(vmm_ged_pci_plug(ged, 5), -EEXIST);
	ck_assert_int_eq(vmm_ged_pci_plug(ged, 0), -EINVAL);
	ck_assert_int_eq(vmm_ged_pci_plug(ged, 32), -EINVAL);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 6), -ENOENT);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 32), -EINVAL);
	ck_assert(!level);

	ck_assert_int_eq(vmm_ged_pci_plug(ged, 31), 0);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 5), 0);
	ck_assert_uint_eq(in32(4), VMM_GED_PCI_HOTPLUG);
	ck_assert_uint_eq(in32(8), UINT32_C(1) << 31);
	ck_assert_uint_eq(in32(8), 0);
	ck_assert_uint_eq(in32(12), 1 << 5);
	ck_assert_uint_eq(in32(12), 0);
	/* The guest did nothing, so it is asked once more. */
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 5), 0);
	ck_assert_uint_eq(in32(4), VMM_GED_PCI_HOTPLUG);
	out(16, 1 << 5, 4);
	ck_assert_uint_eq(ejected, 1 << 5);
	ck_assert_uint_eq(in32(12), 0);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 5), -ENOENT);
	ck_assert_int_eq(vmm_ged_pci_plug(ged, 5), 0);
}
END_TEST

START_TEST(ged_device_from_the_start)
{
	ck_assert_int_eq(vmm_ged_pci_occupy(ged, 5), -EEXIST);
	ck_assert_int_eq(vmm_ged_pci_occupy(ged, 0), -EINVAL);
	ck_assert_int_eq(vmm_ged_pci_occupy(ged, 32), -EINVAL);
	ck_assert_int_eq(vmm_ged_pci_occupy(ged, 7), 0);
	/* The guest finds it by itself. */
	ck_assert(!level);
	ck_assert_uint_eq(in32(8), 0);
	out(16, 1 << 7, 4);
	ck_assert_uint_eq(ejected, 1 << 7);
}
END_TEST

START_TEST(ged_device_that_is_gone)
{
	ck_assert_int_eq(vmm_ged_pci_gone(ged, 0), -EINVAL);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 5), 0);
	ck_assert_int_eq(vmm_ged_pci_gone(ged, 5), 0);
	ck_assert_uint_eq(in32(4), VMM_GED_PCI_HOTPLUG);
	/* It is to look, and need not give up what there is not. */
	ck_assert_uint_eq(in32(8), 1 << 5);
	ck_assert_uint_eq(in32(12), 0);
	out(16, 1 << 5, 4);
	ck_assert_uint_eq(ejected, 0);
	ck_assert_int_eq(vmm_ged_pci_unplug(ged, 5), -ENOENT);
	ck_assert_int_eq(vmm_ged_pci_plug(ged, 5), 0);
}
END_TEST

START_TEST(ged_hostile_accesses)
{
	uint64_t value;

	/* Slots that the guest was not given. */
	out(16, UINT32_MAX & ~(UINT32_C(1) << 5), 4);
	ck_assert_uint_eq(ejected, 0);
	/* A part of a register neither reads nor clears nor ejects. */
	vmm_ged_raise(ged, VMM_GED_POWER_BUTTON);
	for (unsigned int length = 1; length <= 8; length++) {
		for (unsigned int offset = 0; offset + length <= VMM_GED_SIZE_BYTES; offset++) {
			if (length == 4 && offset % 4 == 0)
				continue;
			vmm_bus_read(bus, VMM_GED_PORT + offset, &value, length);
			ck_assert_uint_eq(value & (UINT64_MAX >> (64 - 8 * length)), 0);
			value = UINT64_MAX & ~UINT64_C(0x20);
			vmm_bus_write(bus, VMM_GED_PORT + offset, &value, length);
		}
	}
	ck_assert_uint_eq(ejected, 0);
	ck_assert_uint_eq(n_power_off, 0);
	ck_assert_uint_eq(n_reset, 0);
	ck_assert(level);
	ck_assert_uint_eq(in32(4), VMM_GED_POWER_BUTTON);
	for (uint16_t offset = 0; offset < VMM_GED_SIZE_BYTES; offset += 4)
		out(offset, 0, 4);
	ck_assert_uint_eq(ejected, 0);
}
END_TEST

START_TEST(ged_without_callbacks)
{
	struct vmm_ged_config config = { .bus = bus, .port = 0x700, .pci_occupied = 2 };
	struct vmm_ged *other = NULL;
	uint32_t value = 0x34;

	ck_assert_int_eq(vmm_ged_new(&config, &other), 0);
	vmm_bus_write(bus, 0x700, &value, 1);
	value = 1;
	vmm_bus_write(bus, 0x702, &value, 1);
	value = 2;
	vmm_bus_write(bus, 0x710, &value, 4);
	ck_assert_int_eq(vmm_ged_raise(other, 1), 0);
	ck_assert_ptr_null(vmm_ged_free(other));
	config.pci_occupied = 1;
	ck_assert_int_eq(vmm_ged_new(&config, &other), -EINVAL);
	config.pci_occupied = 0;
	config.port = VMM_GED_PORT;
	ck_assert_int_eq(vmm_ged_new(&config, &other), -EEXIST);
	ck_assert_ptr_null(vmm_ged_free(NULL));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi");
	TCase *tcase = unit_case(suite, "tables");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(
		tcase, every_table_is_found_and_sums_to_zero, 0, (int)ARRAY_SIZE(acpi_configs));
	tcase_add_test(tcase, fadt_is_hardware_reduced_with_reset_and_sleep);
	tcase_add_loop_test(tcase, madt_lists_each_cpu, 1, VMM_ACPI_MAX_CPUS + 1);
	tcase_add_test(tcase, mcfg_describes_bus_0);
	tcase_add_test(tcase, tables_lie_where_they_are_wanted);
	tcase_add_test(tcase, reset_vector_writes_the_reset_register);
	tcase_add_test(tcase, hostile_configurations);
	tcase_add_test(tcase, too_little_room_at_any_size);

	tcase = unit_case(suite, "aml");
	tcase_add_test(tcase, aml_package_lengths_at_their_limits);
	tcase_add_test(tcase, aml_terms);

	tcase = unit_case(suite, "ged");
	tcase_add_checked_fixture(tcase, setup_ged, teardown_ged);
	tcase_add_test(tcase, ged_sleep_and_reset);
	tcase_add_test(tcase, ged_power_button);
	tcase_add_test(tcase, ged_plugs_and_unplugs);
	tcase_add_test(tcase, ged_device_from_the_start);
	tcase_add_test(tcase, ged_device_that_is_gone);
	tcase_add_test(tcase, ged_hostile_accesses);
	tcase_add_test(tcase, ged_without_callbacks);
	return unit_run(suite);
}
