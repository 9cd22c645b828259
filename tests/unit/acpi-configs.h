/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Machines whose tables the tests of acpi build: the least, everything, and the most of all. */
#ifndef VMM_TESTS_ACPI_CONFIGS_H
#define VMM_TESTS_ACPI_CONFIGS_H

#include <vmmcore/acpi.h>

static const struct vmm_acpi_serial acpi_serials[] = {
	{ .port = 0x3f8, .gsi = 4 },
	{ .port = 0x2f8, .gsi = 3 },
	{ .port = 0x3e8, .gsi = 16 },
	{ .port = 0x2e8, .gsi = 17 },
};

static struct vmm_acpi_virtio_mmio acpi_virtio[VMM_ACPI_MAX_VIRTIO_MMIO];

static const struct vmm_acpi_pci acpi_pci = {
	.ecam_gpa = 0xe0000000,
	.mmio32_gpa = 0xc0000000,
	.mmio32_size_bytes = 0x20000000,
	.mmio64_gpa = UINT64_C(0x4000000000),
	.mmio64_size_bytes = UINT64_C(0x4000000000),
	.hotplug_slots = 0x00ff0000,
};

static const struct vmm_acpi_pci acpi_pci_all_slots = {
	.ecam_gpa = 0xfff00000,
	.mmio32_gpa = 0xc0000000,
	.mmio32_size_bytes = 0x1000,
	.hotplug_slots = 0xfffffffe,
};

static const struct vmm_acpi_config acpi_least = { .n_cpus = 1 };

static const struct vmm_acpi_config acpi_mmio = {
	.n_cpus = 1,
	.ged_port = VMM_GED_PORT,
	.ged_gsi = VMM_GED_GSI,
	.serials = acpi_serials,
	.n_serials = 1,
	.virtio_mmio = acpi_virtio,
	.n_virtio_mmio = 3,
};

static const struct vmm_acpi_config acpi_usual = {
	.n_cpus = 4,
	.ged_port = VMM_GED_PORT,
	.ged_gsi = VMM_GED_GSI,
	.serials = acpi_serials,
	.n_serials = 1,
	.pci = &acpi_pci,
	.pvpanic_port = 0x505,
	.rtc = true,
	.i8042 = true,
	.vmgenid_gpa = 0xfff80,
	.vmclock_gpa = UINT64_C(0x8000fe000),
};

static const struct vmm_acpi_config acpi_most = {
	.n_cpus = VMM_ACPI_MAX_CPUS,
	.ged_port = VMM_GED_PORT,
	.ged_gsi = VMM_GED_GSI,
	.serials = acpi_serials,
	.n_serials = VMM_ACPI_MAX_SERIALS,
	.virtio_mmio = acpi_virtio,
	.n_virtio_mmio = VMM_ACPI_MAX_VIRTIO_MMIO,
	.pci = &acpi_pci_all_slots,
	.pvpanic_port = 0x505,
	.rtc = true,
	.i8042 = true,
	.vmgenid_gpa = UINT64_C(0x100000010),
	.vmclock_gpa = 0x9f000,
};

static const struct {
	const char *name;
	const struct vmm_acpi_config *config;
} acpi_configs[] = {
	{ "least", &acpi_least },
	{ "mmio", &acpi_mmio },
	{ "usual", &acpi_usual },
	{ "most", &acpi_most },
};

static inline void acpi_configs_init(void)
{
	for (unsigned int i = 0; i < VMM_ACPI_MAX_VIRTIO_MMIO; i++)
		acpi_virtio[i] = (struct vmm_acpi_virtio_mmio){
			.base_gpa = 0xd0000000 + i * 0x1000,
			.size_bytes = 0x1000,
			.gsi = 5 + i % 18,
		};
}

/* Memory with the first MiB, where the tables are by default. */
static inline int acpi_mem_new(struct vmm_mem **ret_mem)
{
	struct vmm_mem_config config = { .size_bytes = 1 << 20, .backing = VMM_MEM_ANONYMOUS };
	int r = vmm_mem_new(ret_mem);

	return r < 0 ? r : vmm_mem_add(*ret_mem, &config);
}

#endif
