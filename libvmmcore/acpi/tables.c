/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * acpi: the tables around the DSDT, and where all of them lie. Sections are those of the ACPI
 * specification 6.4.
 *
 * An image of all tables is made on the heap and copied into the guest at the end, so that an
 * error leaves nothing behind.
 */
#include <assert.h>
#include <string.h>

#include "acpi/acpi-internal.h"
#include "base/util.h"

/* §5.2.6 */
struct header {
	char signature[4];
	struct vmm_le32 length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	struct vmm_le32 oem_revision;
	char creator_id[4];
	struct vmm_le32 creator_revision;
};
static_assert(sizeof(struct header) == 36, "ACPI table header");

/* §5.2.5.3 */
struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	struct vmm_le32 rsdt_gpa;
	struct vmm_le32 length;
	struct vmm_le64 xsdt_gpa;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct rsdp) == 36, "RSDP");

/* §5.2.3.2 */
struct address {
	uint8_t space;
	uint8_t n_bits;
	uint8_t bit_offset;
	uint8_t access; /* 1: byte */
	struct vmm_le64 address;
} __attribute__((packed));
static_assert(sizeof(struct address) == 12, "generic address structure");

/* §5.2.9, with the registers that hardware-reduced ACPI does not have left out. */
struct fadt {
	struct header header;
	struct vmm_le32 facs_gpa;
	struct vmm_le32 dsdt_gpa;
	uint8_t reserved;
	uint8_t profile;
	uint8_t absent1[62];
	uint8_t century;
	struct vmm_le16 boot_flags;
	uint8_t reserved2;
	struct vmm_le32 flags;
	struct address reset;
	uint8_t reset_value;
	struct vmm_le16 arm_boot_flags;
	uint8_t minor_revision;
	struct vmm_le64 x_facs_gpa;
	struct vmm_le64 x_dsdt_gpa;
	struct address absent2[8];
	struct address sleep_control;
	struct address sleep_status;
	char hypervisor[8];
} __attribute__((packed));
static_assert(sizeof(struct fadt) == 276, "FADT");
static_assert(offsetof(struct fadt, century) == 108, "FADT");
static_assert(offsetof(struct fadt, reset) == 116, "FADT");
static_assert(offsetof(struct fadt, x_dsdt_gpa) == 140, "FADT");
static_assert(offsetof(struct fadt, sleep_control) == 244, "FADT");

enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
	FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5,
	FADT_RESET_SUPPORTED = 1 << 10,
	FADT_HEADLESS = 1 << 12,
	FADT_HARDWARE_REDUCED = 1 << 20,

	BOOT_8042 = 1 << 1,
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_CMOS_RTC = 1 << 5,

	SPACE_IO = 1,
	ACCESS_BYTE = 1,
	CENTURY_REGISTER = 0x32,
};

/* §5.2.12 */
struct madt {
	struct header header;
	struct vmm_le32 lapic_gpa;
	struct vmm_le32 flags;
};

struct madt_lapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t processor_uid;
	uint8_t apic_id;
	struct vmm_le32 flags; /* bit 0: enabled */
};

struct madt_ioapic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	struct vmm_le32 gpa;
	struct vmm_le32 gsi_base;
};

struct madt_lapic_nmi {
	uint8_t type; /* 4 */
	uint8_t length;
	uint8_t processor_uid; /* 0xff: all */
	uint8_t flags[2];
	uint8_t lint;
};
static_assert(sizeof(struct madt) == 44, "MADT");
static_assert(sizeof(struct madt_lapic) == 8, "MADT");
static_assert(sizeof(struct madt_ioapic) == 12, "MADT");
static_assert(sizeof(struct madt_lapic_nmi) == 6, "MADT");

/* PCI Firmware Specification 3.2, §4.1.2 */
struct mcfg {
	struct header header;
	uint8_t reserved[8];
	struct vmm_le64 ecam_gpa;
	struct vmm_le16 segment;
	uint8_t first_bus;
	uint8_t last_bus;
	uint8_t reserved2[4];
} __attribute__((packed));
static_assert(sizeof(struct mcfg) == 60, "MCFG");

struct xsdt {
	struct header header;
	struct vmm_le64 tables[3];
} __attribute__((packed));

enum {
	ALIGNMENT = 16,
	MADT_MAX_BYTES = sizeof(struct madt) + VMM_ACPI_MAX_CPUS * sizeof(struct madt_lapic) +
			 sizeof(struct madt_ioapic) + sizeof(struct madt_lapic_nmi),
};

/* The image of all tables; offset 0 goes to base_gpa. */
struct image {
	uint8_t *data; /* owned */
	size_t length;
	size_t room;
	uint64_t base_gpa;
};

static void image_p(struct image *image)
{
	free(image->data);
}

static uint8_t checksum(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}

static struct header header_make(const char *signature, uint8_t revision, size_t length)
{
	struct header header = {
		.length = vmm_le32_make((uint32_t)length),
		.revision = revision,
		.oem_revision = vmm_le32_make(1),
		.creator_revision = vmm_le32_make(1),
	};

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_id, "VMMD  ", sizeof(header.oem_id));
	memcpy(header.oem_table_id, "VMMCORE ", sizeof(header.oem_table_id));
	memcpy(header.creator_id, "VMMC", sizeof(header.creator_id));
	return header;
}

/* Appends a whole table, sums it up and returns its address; 0 where the room is too small. */
static uint64_t append(struct image *image, const void *table, size_t length)
{
	size_t at = ALIGN_UP(image->length, ALIGNMENT);
	struct header header;

	if (at > image->room || length > image->room - at)
		return 0;
	memset(image->data + image->length, 0, at - image->length);
	memcpy(image->data + at, table, length);
	memcpy(&header, table, sizeof(header));
	header.checksum = 0;
	memcpy(image->data + at, &header, sizeof(header));
	image->data[at + offsetof(struct header, checksum)] = checksum(image->data + at, length);
	image->length = at + length;
	return image->base_gpa + at;
}

static uint64_t append_dsdt(
	struct image *image, const struct vmm_acpi_config *config, int *ret_error)
{
	CLEANUP(vmm_aml_finish_p) struct aml aml = { 0 };
	struct header header = { 0 };

	vmm_aml_bytes(&aml, &header, sizeof(header));
	vmm_acpi_dsdt(&aml, config);
	if (aml.failed) {
		*ret_error = -ENOMEM;
		return 0;
	}
	/* Revision 2: integers of 64 bits. */
	header = header_make("DSDT", 2, aml.length);
	memcpy(aml.data, &header, sizeof(header));
	return append(image, aml.data, aml.length);
}

static struct address io_register(uint16_t port)
{
	return (struct address){
		.space = SPACE_IO,
		.n_bits = 8,
		.access = ACCESS_BYTE,
		.address = vmm_le64_make(port),
	};
}

static uint64_t append_fadt(
	struct image *image, const struct vmm_acpi_config *config, uint64_t dsdt_gpa)
{
	uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_POWER_BUTTON |
			 FADT_NO_FIXED_SLEEP_BUTTON | FADT_HEADLESS | FADT_HARDWARE_REDUCED;
	uint16_t boot_flags = BOOT_NO_VGA;
	struct fadt fadt = { 0 };

	fadt.header = header_make("FACP", 6, sizeof(fadt));
	fadt.minor_revision = 4;
	if (dsdt_gpa <= UINT32_MAX)
		fadt.dsdt_gpa = vmm_le32_make((uint32_t)dsdt_gpa);
	fadt.x_dsdt_gpa = vmm_le64_make(dsdt_gpa);
	if (config->i8042)
		boot_flags |= BOOT_8042;
	if (config->rtc)
		fadt.century = CENTURY_REGISTER;
	else
		boot_flags |= BOOT_NO_CMOS_RTC;
	if (config->ged_port) {
		flags |= FADT_RESET_SUPPORTED;
		fadt.reset = io_register(config->ged_port + GED_RESET);
		fadt.reset_value = VMM_GED_RESET_VALUE;
		fadt.sleep_control = io_register(config->ged_port + GED_SLEEP_CONTROL);
		fadt.sleep_status = io_register(config->ged_port + GED_SLEEP_STATUS);
	}
	fadt.flags = vmm_le32_make(flags);
	fadt.boot_flags = vmm_le16_make(boot_flags);
	memcpy(fadt.hypervisor, "VMMD\0\0\0", sizeof(fadt.hypervisor));
	return append(image, &fadt, sizeof(fadt));
}

static uint64_t append_madt(struct image *image, const struct vmm_acpi_config *config)
{
	uint32_t lapic_gpa = config->lapic_gpa ? config->lapic_gpa : UINT32_C(0xfee00000);
	uint32_t ioapic_gpa = config->ioapic_gpa ? config->ioapic_gpa : UINT32_C(0xfec00000);
	struct madt madt = { .lapic_gpa = vmm_le32_make(lapic_gpa) };
	struct madt_ioapic ioapic = {
		.type = 1,
		.length = sizeof(ioapic),
		.id = config->ioapic_id,
		.gpa = vmm_le32_make(ioapic_gpa),
	};
	struct madt_lapic_nmi nmi = {
		.type = 4,
		.length = sizeof(nmi),
		.processor_uid = 0xff,
		.lint = 1,
	};
	uint8_t table[MADT_MAX_BYTES];
	size_t length = sizeof(madt);

	for (unsigned int i = 0; i < config->n_cpus; i++) {
		struct madt_lapic lapic = {
			.length = sizeof(lapic),
			.processor_uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = vmm_le32_make(1),
		};

		memcpy(table + length, &lapic, sizeof(lapic));
		length += sizeof(lapic);
	}
	memcpy(table + length, &ioapic, sizeof(ioapic));
	length += sizeof(ioapic);
	memcpy(table + length, &nmi, sizeof(nmi));
	length += sizeof(nmi);
	madt.header = header_make("APIC", 5, length);
	memcpy(table, &madt, sizeof(madt));
	return append(image, table, length);
}

static uint64_t append_mcfg(struct image *image, const struct vmm_acpi_config *config)
{
	struct mcfg mcfg = { .ecam_gpa = vmm_le64_make(config->pci->ecam_gpa) };

	mcfg.header = header_make("MCFG", 1, sizeof(mcfg));
	return append(image, &mcfg, sizeof(mcfg));
}

static void put_rsdp(struct image *image, uint64_t xsdt_gpa)
{
	struct rsdp rsdp = {
		.revision = 2,
		.length = vmm_le32_make(sizeof(rsdp)),
		.xsdt_gpa = vmm_le64_make(xsdt_gpa),
	};

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, "VMMD  ", sizeof(rsdp.oem_id));
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(image->data, &rsdp, sizeof(rsdp));
}

static int fill_image(struct image *image, const struct vmm_acpi_config *config)
{
	struct xsdt xsdt = { 0 };
	size_t n_tables = 0, length;
	uint64_t dsdt_gpa, gpa;
	int error = -ENOSPC;

	image->length = sizeof(struct rsdp);
	dsdt_gpa = append_dsdt(image, config, &error);
	if (!dsdt_gpa)
		return error;
	gpa = append_fadt(image, config, dsdt_gpa);
	if (!gpa)
		return -ENOSPC;
	xsdt.tables[n_tables++] = vmm_le64_make(gpa);
	gpa = append_madt(image, config);
	if (!gpa)
		return -ENOSPC;
	xsdt.tables[n_tables++] = vmm_le64_make(gpa);
	if (config->pci) {
		gpa = append_mcfg(image, config);
		if (!gpa)
			return -ENOSPC;
		xsdt.tables[n_tables++] = vmm_le64_make(gpa);
	}
	length = sizeof(xsdt.header) + n_tables * sizeof(xsdt.tables[0]);
	xsdt.header = header_make("XSDT", 1, length);
	gpa = append(image, &xsdt, length);
	if (!gpa)
		return -ENOSPC;
	put_rsdp(image, gpa);
	return 0;
}

/* An empty range is right where it may be absent; none may wrap, or leave [low, high). */
static bool range_ok(uint64_t base, uint64_t size, uint64_t low, uint64_t high)
{
	uint64_t end;

	return !__builtin_add_overflow(base, size, &end) && base >= low && end <= high;
}

static bool pci_ok(const struct vmm_acpi_config *config)
{
	const uint64_t four_gib = UINT64_C(1) << 32, ecam_bytes = 1 << 20;
	const struct vmm_acpi_pci *pci = config->pci;

	if (!pci)
		return true;
	if (!IS_ALIGNED(pci->ecam_gpa, ecam_bytes) ||
		!range_ok(pci->ecam_gpa, ecam_bytes, ecam_bytes, four_gib))
		return false;
	if (pci->mmio32_size_bytes &&
		!range_ok(pci->mmio32_gpa, pci->mmio32_size_bytes, 1, four_gib))
		return false;
	if (pci->mmio64_size_bytes &&
		!range_ok(pci->mmio64_gpa, pci->mmio64_size_bytes, four_gib, UINT64_MAX))
		return false;
	return !(pci->hotplug_slots & 1) && (!pci->hotplug_slots || config->ged_port);
}

/* Nothing but a few instructions lies at the end of the first MiB. */
static bool over_reset_vector(uint64_t gpa, uint64_t end)
{
	return gpa < VMM_ACPI_RESET_VECTOR_GPA + 16 && end > VMM_ACPI_RESET_VECTOR_GPA;
}

static bool config_ok(const struct vmm_acpi_config *config)
{
	if (config->n_cpus == 0 || config->n_cpus > VMM_ACPI_MAX_CPUS)
		return false;
	if (config->n_serials > VMM_ACPI_MAX_SERIALS ||
		config->n_virtio_mmio > VMM_ACPI_MAX_VIRTIO_MMIO)
		return false;
	for (size_t i = 0; i < config->n_serials; i++) {
		if (!range_ok(config->serials[i].port, 8, 1, UINT64_C(1) << 16))
			return false;
	}
	for (size_t i = 0; i < config->n_virtio_mmio; i++) {
		const struct vmm_acpi_virtio_mmio *virtio = &config->virtio_mmio[i];

		if (virtio->size_bytes == 0 ||
			!range_ok(virtio->base_gpa, virtio->size_bytes, 1, UINT64_C(1) << 32))
			return false;
	}
	if (!range_ok(config->ged_port, VMM_GED_SIZE_BYTES, 0, UINT64_C(1) << 16))
		return false;
	return pci_ok(config);
}

/* Real-mode code, 16 bytes at most: mov dx, port; mov al, value; out dx, al; hlt; jmp to hlt. */
static int write_reset_vector(struct vmm_mem *mem, const struct vmm_acpi_config *config)
{
	uint16_t port = config->ged_port + GED_RESET;
	const uint8_t code[] = { 0xba, (uint8_t)port, (uint8_t)(port >> 8), 0xb0,
		VMM_GED_RESET_VALUE, 0xee, 0xf4, 0xeb, 0xfd };

	return vmm_mem_write(mem, VMM_ACPI_RESET_VECTOR_GPA, code, sizeof(code));
}

int vmm_acpi_build(struct vmm_mem *mem, const struct vmm_acpi_config *config,
	struct vmm_acpi_tables *ret_tables)
{
	CLEANUP(image_p) struct image image = { 0 };
	uint64_t end;
	int r;

	image.base_gpa = config->tables_gpa ? config->tables_gpa : VMM_ACPI_TABLES_GPA;
	image.room =
		config->tables_room_bytes ? config->tables_room_bytes : VMM_ACPI_TABLES_ROOM_BYTES;
	/* No table needs more than the default, whatever room there is. */
	image.room = MIN(image.room, (size_t)VMM_ACPI_TABLES_ROOM_BYTES);
	if (!config_ok(config) || !IS_ALIGNED(image.base_gpa, ALIGNMENT) ||
		__builtin_add_overflow(image.base_gpa, image.room, &end))
		return -EINVAL;
	if (over_reset_vector(image.base_gpa, end))
		return -EINVAL;
	if (image.room < sizeof(struct rsdp))
		return -ENOSPC;
	/* Not zeroed: of the room for the largest machine most need little. */
	image.data = malloc(image.room);
	if (!image.data)
		return -ENOMEM;
	r = fill_image(&image, config);
	if (r < 0)
		return r;
	r = vmm_mem_check(mem, image.base_gpa, image.length, true);
	if (r < 0)
		return r;
	if (config->ged_port && !config->has_firmware) {
		r = write_reset_vector(mem, config);
		if (r < 0)
			return r;
	}
	r = vmm_mem_write(mem, image.base_gpa, image.data, image.length);
	if (r < 0)
		return r;
	*ret_tables = (struct vmm_acpi_tables){
		.rsdp_gpa = image.base_gpa,
		.size_bytes = image.length,
	};
	return 0;
}
