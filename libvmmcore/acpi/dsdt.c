/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* acpi: the body of the DSDT. Sections are those of the ACPI specification 6.4. */
#include <stdio.h>

#include "acpi/acpi-internal.h"
#include "base/util.h"

enum {
	NOTIFY_DEVICE_CHECK = 1,
	NOTIFY_EJECT_REQUEST = 3,
	NOTIFY_PRESSED = 0x80,
	NOTIFY_CHANGED = 0x80,
};

static bool has_pci_hotplug(const struct vmm_acpi_config *config)
{
	return config->ged_port && config->pci && config->pci->hotplug_slots;
}

static void serial(struct aml *aml, const struct vmm_acpi_serial *serial, unsigned int index)
{
	size_t resources;
	char name[] = "COM1";
	size_t device;

	name[3] = (char)('1' + index);
	device = vmm_aml_open_device(aml, name);
	vmm_aml_name_eisa_id(aml, "_HID", "PNP0501");
	vmm_aml_name_integer(aml, "_UID", index + 1);
	resources = vmm_aml_open_resources(aml);
	vmm_aml_io(aml, serial->port, 8);
	vmm_aml_interrupt(aml, serial->gsi);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

static void virtio_mmio(
	struct aml *aml, const struct vmm_acpi_virtio_mmio *virtio, unsigned int index)
{
	size_t resources, device;
	char name[5];

	snprintf(name, sizeof(name), "VR%02X", index & 0xffU);
	device = vmm_aml_open_device(aml, name);
	vmm_aml_name_string(aml, "_HID", "LNRO0005");
	vmm_aml_name_integer(aml, "_UID", index);
	vmm_aml_name_integer(aml, "_CCA", 1);
	resources = vmm_aml_open_resources(aml);
	vmm_aml_memory32(aml, (uint32_t)virtio->base_gpa, (uint32_t)virtio->size_bytes);
	vmm_aml_interrupt(aml, virtio->gsi);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

static void power_button(struct aml *aml)
{
	size_t device = vmm_aml_open_device(aml, "PWRB");

	vmm_aml_name_eisa_id(aml, "_HID", "PNP0C0C");
	vmm_aml_name_integer(aml, "_UID", 0);
	vmm_aml_close(aml, device);
}

static void pvpanic(struct aml *aml, uint16_t port)
{
	size_t resources, device;

	device = vmm_aml_open_device(aml, "PEVT");
	vmm_aml_name_string(aml, "_HID", "QEMU0001");
	resources = vmm_aml_open_resources(aml);
	vmm_aml_io(aml, port, 1);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

static void rtc(struct aml *aml)
{
	size_t resources, device;

	device = vmm_aml_open_device(aml, "RTC_");
	vmm_aml_name_eisa_id(aml, "_HID", "PNP0B00");
	resources = vmm_aml_open_resources(aml);
	vmm_aml_io(aml, 0x70, 2);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

static void keyboard(struct aml *aml)
{
	size_t resources, device;

	device = vmm_aml_open_device(aml, "KBD_");
	vmm_aml_name_eisa_id(aml, "_HID", "PNP0303");
	resources = vmm_aml_open_resources(aml);
	vmm_aml_io(aml, 0x60, 1);
	vmm_aml_io(aml, 0x64, 1);
	vmm_aml_interrupt(aml, 1);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

/* The generation ID's address, as the two halves that its definition asks for. */
static void vmgenid(struct aml *aml, uint64_t gpa)
{
	size_t device, package;

	device = vmm_aml_open_device(aml, "VGEN");
	vmm_aml_name_string(aml, "_HID", "VMMD0001");
	vmm_aml_name_string(aml, "_CID", "VM_Gen_Counter");
	vmm_aml_name_string(aml, "_DDN", "VM_Gen_Counter");
	vmm_aml_name(aml, "ADDR");
	package = vmm_aml_open_package(aml, 2);
	vmm_aml_integer(aml, gpa & UINT32_MAX);
	vmm_aml_integer(aml, gpa >> 32);
	vmm_aml_close(aml, package);
	vmm_aml_close(aml, device);
}

static void vmclock(struct aml *aml, uint64_t gpa)
{
	size_t resources, device;

	device = vmm_aml_open_device(aml, "VCLK");
	vmm_aml_name_string(aml, "_HID", "AMZNC10C");
	vmm_aml_name_string(aml, "_CID", "VMCLOCK");
	vmm_aml_name_string(aml, "_DDN", "VMCLOCK");
	resources = vmm_aml_open_resources(aml);
	vmm_aml_memory64(aml, gpa, VMM_MEM_PAGE_BYTES);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

static void slot_name(char name[5], unsigned int slot)
{
	snprintf(name, 5, "SL%02X", slot & 0xffU);
}

static bool has_slot(const struct vmm_acpi_pci *pci, unsigned int slot)
{
	return pci->hotplug_slots >> slot & 1;
}

/*
 * A slot is known to be one for plugging by its _EJ0 (§6.3.3). There is no _STA: the vendor ID in
 * configuration space tells whether a device is there.
 */
static void pci_slot(struct aml *aml, unsigned int slot)
{
	size_t device, method;
	char name[5];

	slot_name(name, slot);
	device = vmm_aml_open_device(aml, name);
	vmm_aml_name_integer(aml, "_ADR", (uint64_t)slot << 16);
	vmm_aml_name_integer(aml, "_SUN", slot);
	method = vmm_aml_open_method(aml, "_EJ0", 1);
	vmm_aml_store_integer(aml, UINT64_C(1) << slot, "\\_SB_.GED_.PCIE");
	vmm_aml_close(aml, method);
	vmm_aml_close(aml, device);
}

/* Tells the slots what the GED's registers say. */
static void pci_notify_method(struct aml *aml, const struct vmm_acpi_pci *pci)
{
	size_t method = vmm_aml_open_method(aml, "PCNT", 0);
	char name[5];

	vmm_aml_store_path(aml, "\\_SB_.GED_.PCIP", AML_LOCAL0);
	vmm_aml_store_path(aml, "\\_SB_.GED_.PCIL", AML_LOCAL1);
	for (unsigned int slot = 1; slot < VMM_ACPI_MAX_PCI_SLOTS; slot++) {
		size_t branch;

		if (!has_slot(pci, slot))
			continue;
		slot_name(name, slot);
		branch = vmm_aml_open_if_and(aml, AML_LOCAL0, UINT32_C(1) << slot);
		vmm_aml_notify(aml, name, NOTIFY_DEVICE_CHECK);
		vmm_aml_close(aml, branch);
		branch = vmm_aml_open_if_and(aml, AML_LOCAL1, UINT32_C(1) << slot);
		vmm_aml_notify(aml, name, NOTIFY_EJECT_REQUEST);
		vmm_aml_close(aml, branch);
	}
	vmm_aml_close(aml, method);
}

static void pci(struct aml *aml, const struct vmm_acpi_config *config)
{
	const struct vmm_acpi_pci *pci = config->pci;
	size_t resources, device;

	device = vmm_aml_open_device(aml, "PCI0");
	vmm_aml_name_eisa_id(aml, "_HID", "PNP0A08");
	vmm_aml_name_eisa_id(aml, "_CID", "PNP0A03");
	vmm_aml_name_integer(aml, "_UID", 0);
	vmm_aml_name_integer(aml, "_SEG", 0);
	vmm_aml_name_integer(aml, "_BBN", 0);
	vmm_aml_name_integer(aml, "_CCA", 1);
	resources = vmm_aml_open_resources(aml);
	vmm_aml_bus_numbers(aml, 0, 0);
	if (pci->mmio32_size_bytes)
		vmm_aml_window32(aml, (uint32_t)pci->mmio32_gpa, (uint32_t)pci->mmio32_size_bytes);
	if (pci->mmio64_size_bytes)
		vmm_aml_window64(aml, pci->mmio64_gpa, pci->mmio64_size_bytes);
	vmm_aml_close_resources(aml, resources);
	if (has_pci_hotplug(config)) {
		for (unsigned int slot = 1; slot < VMM_ACPI_MAX_PCI_SLOTS; slot++) {
			if (has_slot(pci, slot))
				pci_slot(aml, slot);
		}
		pci_notify_method(aml, pci);
	}
	vmm_aml_close(aml, device);
}

/* What nobody else may claim: the configuration space, which Linux looks for here, the GED. */
static void motherboard(struct aml *aml, const struct vmm_acpi_config *config)
{
	size_t resources, device;

	device = vmm_aml_open_device(aml, "MRES");
	vmm_aml_name_eisa_id(aml, "_HID", "PNP0C02");
	vmm_aml_name_integer(aml, "_UID", 0);
	resources = vmm_aml_open_resources(aml);
	if (config->pci)
		vmm_aml_memory32(aml, (uint32_t)config->pci->ecam_gpa, 1 << 20);
	if (config->ged_port)
		vmm_aml_io(aml, config->ged_port, VMM_GED_SIZE_BYTES);
	vmm_aml_close_resources(aml, resources);
	vmm_aml_close(aml, device);
}

/* §5.6.9: its interrupt runs _EVT, which asks the event register what happened. */
static void ged(struct aml *aml, const struct vmm_acpi_config *config)
{
	size_t resources, device, method, field, branch;

	device = vmm_aml_open_device(aml, "GED_");
	vmm_aml_name_string(aml, "_HID", "ACPI0013");
	vmm_aml_name_integer(aml, "_UID", 0);
	resources = vmm_aml_open_resources(aml);
	vmm_aml_interrupt(aml, config->ged_gsi);
	vmm_aml_close_resources(aml, resources);

	vmm_aml_region_io(aml, "GREG", config->ged_port, VMM_GED_SIZE_BYTES);
	field = vmm_aml_open_field(aml, "GREG");
	vmm_aml_field_bits(aml, NULL, GED_EVENTS * 8);
	vmm_aml_field_bits(aml, "EVNT", 32);
	vmm_aml_field_bits(aml, "PCIP", 32);
	vmm_aml_field_bits(aml, "PCIL", 32);
	vmm_aml_field_bits(aml, "PCIE", 32);
	vmm_aml_close(aml, field);

	method = vmm_aml_open_method(aml, "_EVT", 1);
	vmm_aml_store_path(aml, "EVNT", AML_LOCAL0);
	branch = vmm_aml_open_if_and(aml, AML_LOCAL0, VMM_GED_POWER_BUTTON);
	vmm_aml_notify(aml, "\\_SB_.PWRB", NOTIFY_PRESSED);
	vmm_aml_close(aml, branch);
	if (has_pci_hotplug(config)) {
		branch = vmm_aml_open_if_and(aml, AML_LOCAL0, VMM_GED_PCI_HOTPLUG);
		vmm_aml_call(aml, "\\_SB_.PCI0.PCNT");
		vmm_aml_close(aml, branch);
	}
	if (config->vmgenid_gpa) {
		branch = vmm_aml_open_if_and(aml, AML_LOCAL0, VMM_GED_VMGENID);
		vmm_aml_notify(aml, "\\_SB_.VGEN", NOTIFY_CHANGED);
		vmm_aml_close(aml, branch);
	}
	if (config->vmclock_gpa) {
		branch = vmm_aml_open_if_and(aml, AML_LOCAL0, VMM_GED_VMCLOCK);
		vmm_aml_notify(aml, "\\_SB_.VCLK", NOTIFY_CHANGED);
		vmm_aml_close(aml, branch);
	}
	vmm_aml_close(aml, method);
	vmm_aml_close(aml, device);
}

/* §7.4.2.6: type 5 in the sleep control register is S5. */
static void soft_off(struct aml *aml)
{
	size_t package;

	vmm_aml_name(aml, "_S5_");
	package = vmm_aml_open_package(aml, 4);
	vmm_aml_integer(aml, GED_SLEEP_TYPE_S5);
	for (int i = 0; i < 3; i++)
		vmm_aml_integer(aml, 0);
	vmm_aml_close(aml, package);
}

void vmm_acpi_dsdt(struct aml *aml, const struct vmm_acpi_config *config)
{
	size_t scope;

	if (config->ged_port)
		soft_off(aml);
	scope = vmm_aml_open_scope(aml, "\\_SB_");
	if (config->pci || config->ged_port)
		motherboard(aml, config);
	for (unsigned int i = 0; i < config->n_serials; i++)
		serial(aml, &config->serials[i], i);
	if (config->rtc)
		rtc(aml);
	if (config->i8042)
		keyboard(aml);
	if (config->pvpanic_port)
		pvpanic(aml, config->pvpanic_port);
	for (unsigned int i = 0; i < config->n_virtio_mmio; i++)
		virtio_mmio(aml, &config->virtio_mmio[i], i);
	if (config->vmgenid_gpa)
		vmgenid(aml, config->vmgenid_gpa);
	if (config->vmclock_gpa)
		vmclock(aml, config->vmclock_gpa);
	if (config->ged_port)
		power_button(aml);
	if (config->pci)
		pci(aml, config);
	if (config->ged_port)
		ged(aml, config);
	vmm_aml_close(aml, scope);
}
