/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * smbios: the structures and their entry point. Sections are those of DSP0134 3.3.0.
 *
 * All structures are made on the heap and written at the end, so that an error leaves nothing
 * behind. A structure is its formatted area, then its strings, which the area names by number.
 */
#include <assert.h>
#include <string.h>

#include <vmmcore/smbios.h>

#include "base/util.h"

/* §6.1.2 */
struct header {
	uint8_t type;
	uint8_t length;
	struct vmm_le16 handle;
} __attribute__((packed));

/* §5.2.2 */
struct entry_point {
	char anchor[5];
	uint8_t checksum;
	uint8_t length;
	uint8_t major;
	uint8_t minor;
	uint8_t docrev;
	uint8_t revision;
	uint8_t reserved;
	struct vmm_le32 max_bytes;
	struct vmm_le64 gpa;
} __attribute__((packed));
static_assert(sizeof(struct entry_point) == VMM_SMBIOS_ENTRY_BYTES, "entry point");

/* §7.1 */
struct bios {
	struct header header;
	uint8_t vendor;
	uint8_t version;
	struct vmm_le16 segment;
	uint8_t date;
	uint8_t rom_size;
	struct vmm_le64 characteristics;
	uint8_t extension[2];
	uint8_t major;
	uint8_t minor;
	uint8_t controller_major;
	uint8_t controller_minor;
	struct vmm_le16 extended_rom_size;
} __attribute__((packed));
static_assert(sizeof(struct bios) == 0x1a, "type 0");

/* §7.2 */
struct system_information {
	struct header header;
	uint8_t manufacturer;
	uint8_t product;
	uint8_t version;
	uint8_t serial;
	uint8_t uuid[16];
	uint8_t wake_up;
	uint8_t sku;
	uint8_t family;
} __attribute__((packed));
static_assert(sizeof(struct system_information) == 0x1b, "type 1");

/* §7.4 */
struct chassis {
	struct header header;
	uint8_t manufacturer;
	uint8_t type;
	uint8_t version;
	uint8_t serial;
	uint8_t asset_tag;
	uint8_t boot_up_state;
	uint8_t power_supply_state;
	uint8_t thermal_state;
	uint8_t security_status;
	struct vmm_le32 oem;
	uint8_t height;
	uint8_t n_power_cords;
	uint8_t n_elements;
	uint8_t element_length;
	uint8_t sku;
} __attribute__((packed));
static_assert(sizeof(struct chassis) == 0x16, "type 3");

/* §7.5 */
struct processor {
	struct header header;
	uint8_t socket;
	uint8_t type;
	uint8_t family;
	uint8_t manufacturer;
	struct vmm_le64 id;
	uint8_t version;
	uint8_t voltage;
	struct vmm_le16 external_clock;
	struct vmm_le16 max_speed;
	struct vmm_le16 current_speed;
	uint8_t status;
	uint8_t upgrade;
	struct vmm_le16 caches[3];
	uint8_t serial;
	uint8_t asset_tag;
	uint8_t part_number;
	uint8_t n_cores;
	uint8_t n_cores_enabled;
	uint8_t n_threads;
	struct vmm_le16 characteristics;
	struct vmm_le16 family2;
	struct vmm_le16 n_cores2;
	struct vmm_le16 n_cores_enabled2;
	struct vmm_le16 n_threads2;
} __attribute__((packed));
static_assert(sizeof(struct processor) == 0x30, "type 4");

/* §7.12 */
struct oem_strings {
	struct header header;
	uint8_t n_strings;
} __attribute__((packed));

/* §7.17 */
struct memory_array {
	struct header header;
	uint8_t location;
	uint8_t use;
	uint8_t error_correction;
	struct vmm_le32 max_kib;
	struct vmm_le16 error_handle;
	struct vmm_le16 n_devices;
	struct vmm_le64 max_bytes;
} __attribute__((packed));
static_assert(sizeof(struct memory_array) == 0x17, "type 16");

/* §7.18 */
struct memory_device {
	struct header header;
	struct vmm_le16 array_handle;
	struct vmm_le16 error_handle;
	struct vmm_le16 total_width;
	struct vmm_le16 data_width;
	struct vmm_le16 size_mib;
	uint8_t form_factor;
	uint8_t set;
	uint8_t locator;
	uint8_t bank;
	uint8_t type;
	struct vmm_le16 detail;
	struct vmm_le16 speed;
	uint8_t manufacturer;
	uint8_t serial;
	uint8_t asset_tag;
	uint8_t part_number;
	uint8_t attributes;
	struct vmm_le32 extended_size_mib;
	struct vmm_le16 configured_speed;
	struct vmm_le16 voltages[3];
} __attribute__((packed));
static_assert(sizeof(struct memory_device) == 0x28, "type 17");

/* §7.20 */
struct memory_mapping {
	struct header header;
	struct vmm_le32 first_kib;
	struct vmm_le32 last_kib;
	struct vmm_le16 array_handle;
	uint8_t partition_width;
	struct vmm_le64 first_byte;
	struct vmm_le64 last_byte;
} __attribute__((packed));
static_assert(sizeof(struct memory_mapping) == 0x1f, "type 19");

/* §7.33 */
struct boot_information {
	struct header header;
	uint8_t reserved[6];
	uint8_t status;
} __attribute__((packed));
static_assert(sizeof(struct boot_information) == 0x0b, "type 32");

enum {
	MAX_STRINGS = 255, /* of a structure */
	NO_HANDLE = 0xffff,
	NO_ERROR_HANDLE = 0xfffe,

	BIOS_NO_CHARACTERISTICS = 1 << 3,
	BIOS_EXTENSION2_VIRTUAL_MACHINE = 1 << 4,
	WAKE_UP_POWER_SWITCH = 6,
	CHASSIS_OTHER = 1,
	STATE_SAFE = 3,
	PROCESSOR_CENTRAL = 3,
	PROCESSOR_OTHER = 1,
	PROCESSOR_POPULATED_ENABLED = 0x41,
	PROCESSOR_64_BIT = 1 << 2,
	MEMORY_LOCATION_OTHER = 1,
	MEMORY_USE_SYSTEM = 3,
	MEMORY_NO_ERROR_CORRECTION = 3,
	MEMORY_KIB_EXTENDED = INT32_MIN,
	MEMORY_DIMM = 9,
	MEMORY_RAM = 7,
	MEMORY_DETAIL_OTHER = 1 << 1,
	MEMORY_SIZE_EXTENDED = 0x7fff,
	WIDTH_UNKNOWN = 0xffff,

	SEGMENT_F = 0xf0000,
	SEGMENT_F_BYTES = 0xfff0, /* the last 16 are the reset vector's */
	SEGMENT_F_END = 0x100000,
	LINUX_PAGE_BYTES = 4096,
};

#define FOUR_GIB (UINT64_C(1) << 32)
#define MIB (UINT64_C(1) << 20)

struct table {
	uint8_t *data; /* owned */
	size_t length;
	size_t room;
	size_t structure; /* offset of the one that is being made */
	unsigned int n_strings;
	uint16_t n_structures; /* also the next handle */
	int error;             /* 0, -ENOMEM or -E2BIG */
};

static void table_p(struct table *table)
{
	free(table->data);
}

static void append(struct table *table, const void *data, size_t length)
{
	if (table->error < 0)
		return;
	if (length > VMM_SMBIOS_MAX_BYTES - table->length) {
		table->error = -E2BIG;
		return;
	}
	while (table->length + length > table->room) {
		size_t room = table->room ? table->room * 2 : 1024;
		uint8_t *grown = realloc(table->data, room);

		if (!grown) {
			table->error = -ENOMEM;
			return;
		}
		table->data = grown;
		table->room = room;
	}
	memcpy(table->data + table->length, data, length);
	table->length += length;
}

/* Begins a structure with its formatted area, whose header this fills. Returns the handle. */
static uint16_t begin(struct table *table, uint8_t type, const void *area, uint8_t length)
{
	struct header header = {
		.type = type,
		.length = length,
		.handle = vmm_le16_make(table->n_structures),
	};

	table->structure = table->length;
	table->n_strings = 0;
	append(table, &header, sizeof(header));
	append(table, (const uint8_t *)area + sizeof(header), length - sizeof(header));
	return table->n_structures++;
}

/*
 * Appends a string to the structure that was begun and puts its number into the formatted area at
 * offset. NULL and "" leave the 0 there that says "not specified".
 */
static void add_string(struct table *table, size_t offset, const char *string)
{
	if (!string || !*string)
		return;
	append(table, string, strlen(string) + 1);
	if (table->error < 0)
		return;
	table->n_strings++;
	if (offset > 0)
		table->data[table->structure + offset] = (uint8_t)table->n_strings;
}

/* §6.1.3: a zero byte ends the strings, two zero bytes stand where there are none. */
static void end(struct table *table)
{
	static const uint8_t zeros[2];

	append(table, zeros, table->n_strings > 0 ? 1 : 2);
}

static void add_bios(struct table *table)
{
	struct bios area = {
		.characteristics = vmm_le64_make(BIOS_NO_CHARACTERISTICS),
		.extension = { 0, BIOS_EXTENSION2_VIRTUAL_MACHINE },
		.controller_major = 0xff,
		.controller_minor = 0xff,
	};

	begin(table, 0, &area, sizeof(area));
	add_string(table, offsetof(struct bios, vendor), "vmmd");
	add_string(table, offsetof(struct bios, version), vmm_version());
	/* Guests take a date for the age of the firmware; one that is absent for "old". */
	add_string(table, offsetof(struct bios, date), "01/01/2026");
	end(table);
}

/* §7.2.1: the first three fields are little-endian. */
static void encode_uuid(const uint8_t uuid[16], uint8_t encoded[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (int i = 0; i < 16; i++)
		encoded[i] = uuid[order[i]];
}

static void add_system(struct table *table, const struct vmm_smbios_config *config)
{
	struct system_information area = { .wake_up = WAKE_UP_POWER_SWITCH };

	/* All zeros: not present. */
	if (config->uuid_set)
		encode_uuid(config->uuid, area.uuid);
	begin(table, 1, &area, sizeof(area));
	add_string(table, offsetof(struct system_information, manufacturer),
		config->manufacturer ? config->manufacturer : "vmmd");
	add_string(table, offsetof(struct system_information, product),
		config->product ? config->product : "Virtual Machine");
	add_string(table, offsetof(struct system_information, version),
		config->version ? config->version : vmm_version());
	add_string(table, offsetof(struct system_information, serial), config->serial);
	add_string(table, offsetof(struct system_information, sku), config->sku);
	add_string(table, offsetof(struct system_information, family), config->family);
	end(table);
}

static void add_chassis(struct table *table, const struct vmm_smbios_config *config)
{
	struct chassis area = {
		.type = CHASSIS_OTHER,
		.boot_up_state = STATE_SAFE,
		.power_supply_state = STATE_SAFE,
		.thermal_state = STATE_SAFE,
		.security_status = STATE_SAFE, /* none */
	};

	begin(table, 3, &area, sizeof(area));
	add_string(table, offsetof(struct chassis, manufacturer),
		config->manufacturer ? config->manufacturer : "vmmd");
	end(table);
}

/* All CPUs in one socket. */
static void add_processor(struct table *table, const struct vmm_smbios_config *config)
{
	uint8_t n8 = (uint8_t)MIN(config->n_cpus, 0xffU);
	struct vmm_le16 n16 = vmm_le16_make((uint16_t)config->n_cpus);
	struct processor area = {
		.type = PROCESSOR_CENTRAL,
		.family = PROCESSOR_OTHER,
		.status = PROCESSOR_POPULATED_ENABLED,
		.upgrade = PROCESSOR_OTHER,
		.n_cores = n8,
		.n_cores_enabled = n8,
		.n_threads = n8,
		.characteristics = vmm_le16_make(PROCESSOR_64_BIT),
		.family2 = vmm_le16_make(PROCESSOR_OTHER),
		.n_cores2 = n16,
		.n_cores_enabled2 = n16,
		.n_threads2 = n16,
	};

	for (int i = 0; i < 3; i++)
		area.caches[i] = vmm_le16_make(NO_HANDLE);
	begin(table, 4, &area, sizeof(area));
	add_string(table, offsetof(struct processor, socket), "CPU 0");
	end(table);
}

static void add_oem_strings(struct table *table, const struct vmm_smbios_config *config)
{
	for (size_t at = 0; at < config->n_oem_strings; at += MAX_STRINGS) {
		size_t n = MIN(config->n_oem_strings - at, (size_t)MAX_STRINGS);
		struct oem_strings area = { .n_strings = (uint8_t)n };

		begin(table, 11, &area, sizeof(area));
		for (size_t i = 0; i < n; i++)
			add_string(table, 0, config->oem_strings[at + i]);
		end(table);
	}
}

static void add_mapping(
	struct table *table, uint16_t array_handle, uint64_t first, uint64_t size_bytes)
{
	uint64_t last = first + size_bytes - 1;
	struct memory_mapping area = {
		.first_kib = vmm_le32_make(UINT32_MAX),
		.last_kib = vmm_le32_make(UINT32_MAX),
		.array_handle = vmm_le16_make(array_handle),
		.partition_width = 1,
	};

	/* §7.20: beyond 32 bits of KiB, in bytes. */
	if (last >> 10 < UINT32_MAX) {
		area.first_kib = vmm_le32_make((uint32_t)(first >> 10));
		area.last_kib = vmm_le32_make((uint32_t)(last >> 10));
	} else {
		area.first_byte = vmm_le64_make(first);
		area.last_byte = vmm_le64_make(last);
	}
	begin(table, 19, &area, sizeof(area));
	end(table);
}

static void add_memory(struct table *table, const struct vmm_smbios_config *config)
{
	uint64_t hole_gpa =
		config->memory_hole_gpa ? config->memory_hole_gpa : UINT64_C(0xc0000000);
	uint64_t mib = config->memory_bytes / MIB;
	struct memory_array array = {
		.location = MEMORY_LOCATION_OTHER,
		.use = MEMORY_USE_SYSTEM,
		.error_correction = MEMORY_NO_ERROR_CORRECTION,
		.max_kib = vmm_le32_make((uint32_t)MEMORY_KIB_EXTENDED),
		.error_handle = vmm_le16_make(NO_ERROR_HANDLE),
		.n_devices = vmm_le16_make(1),
		.max_bytes = vmm_le64_make(config->memory_bytes),
	};
	struct memory_device device = {
		.error_handle = vmm_le16_make(NO_ERROR_HANDLE),
		.total_width = vmm_le16_make(WIDTH_UNKNOWN),
		.data_width = vmm_le16_make(WIDTH_UNKNOWN),
		.size_mib = vmm_le16_make(MEMORY_SIZE_EXTENDED),
		.form_factor = MEMORY_DIMM,
		.type = MEMORY_RAM,
		.detail = vmm_le16_make(MEMORY_DETAIL_OTHER),
	};
	uint16_t handle;

	if (mib == 0)
		return;
	handle = begin(table, 16, &array, sizeof(array));
	end(table);
	device.array_handle = vmm_le16_make(handle);
	if (mib < MEMORY_SIZE_EXTENDED)
		device.size_mib = vmm_le16_make((uint16_t)mib);
	else
		device.extended_size_mib = vmm_le32_make((uint32_t)MIN(mib, (uint64_t)INT32_MAX));
	begin(table, 17, &device, sizeof(device));
	add_string(table, offsetof(struct memory_device, locator), "DIMM 0");
	end(table);
	if (config->memory_bytes <= hole_gpa) {
		add_mapping(table, handle, 0, config->memory_bytes);
		return;
	}
	add_mapping(table, handle, 0, hole_gpa);
	add_mapping(table, handle, FOUR_GIB, config->memory_bytes - hole_gpa);
}

static int fill(struct table *table, const struct vmm_smbios_config *config)
{
	struct boot_information boot = { 0 };
	struct header last;

	if (config->n_cpus == 0 || config->n_cpus > UINT16_MAX - 1 ||
		config->memory_bytes > INT64_MAX || config->memory_hole_gpa >= FOUR_GIB ||
		config->n_oem_strings > VMM_SMBIOS_MAX_OEM_STRINGS)
		return -EINVAL;
	for (size_t i = 0; i < config->n_oem_strings; i++) {
		if (!config->oem_strings[i] || !*config->oem_strings[i])
			return -EINVAL;
	}
	add_bios(table);
	add_system(table, config);
	add_chassis(table, config);
	add_processor(table, config);
	add_oem_strings(table, config);
	add_memory(table, config);
	begin(table, 32, &boot, sizeof(boot));
	end(table);
	begin(table, 127, &last, sizeof(last));
	end(table);
	return table->error;
}

static struct entry_point make_entry(uint64_t tables_gpa, size_t size_bytes)
{
	struct entry_point entry = {
		.length = sizeof(entry),
		.major = 3,
		.minor = 3,
		.revision = 1,
		.max_bytes = vmm_le32_make((uint32_t)size_bytes),
		.gpa = vmm_le64_make(tables_gpa),
	};
	const uint8_t *bytes = (const uint8_t *)&entry;
	uint8_t sum = 0;

	memcpy(entry.anchor, "_SM3_", sizeof(entry.anchor));
	for (size_t i = 0; i < sizeof(entry); i++)
		sum += bytes[i];
	entry.checksum = (uint8_t)-sum;
	return entry;
}

/* Where entry point and structures go, and how much room there is for these. */
static int place(const struct vmm_smbios_config *config, struct vmm_smbios_tables *tables,
	uint64_t *ret_room_bytes)
{
	uint64_t table_end;

	tables->entry_gpa = config->entry_gpa ? config->entry_gpa : VMM_SMBIOS_ENTRY_GPA;
	/* §5.2: on a boundary of 16 bytes in segment F. */
	if (!IS_ALIGNED(tables->entry_gpa, 16) || tables->entry_gpa < SEGMENT_F ||
		tables->entry_gpa > SEGMENT_F + SEGMENT_F_BYTES - sizeof(struct entry_point))
		return -EINVAL;
	if (!config->tables_gpa) {
		tables->tables_gpa = ALIGN_UP(tables->entry_gpa + sizeof(struct entry_point), 16);
		*ret_room_bytes = SEGMENT_F + SEGMENT_F_BYTES - tables->tables_gpa;
		return 0;
	}
	tables->tables_gpa = config->tables_gpa;
	*ret_room_bytes = config->tables_room_bytes;
	if (__builtin_add_overflow(config->tables_gpa, config->tables_room_bytes, &table_end) ||
		table_end > FOUR_GIB)
		return -EINVAL;
	/* Neither over the other, nor over what lies at the end of the segment. */
	if (config->tables_gpa < tables->entry_gpa + sizeof(struct entry_point) &&
		tables->entry_gpa < table_end)
		return -EINVAL;
	if (config->tables_gpa < SEGMENT_F_END && table_end > SEGMENT_F + SEGMENT_F_BYTES)
		return -EINVAL;
	return 0;
}

int vmm_smbios_size(const struct vmm_smbios_config *config, uint32_t *ret_size_bytes)
{
	CLEANUP(table_p) struct table table = { 0 };
	int r;

	r = fill(&table, config);
	if (r < 0)
		return r;
	*ret_size_bytes = (uint32_t)table.length;
	return 0;
}

int vmm_smbios_build(struct vmm_mem *mem, const struct vmm_smbios_config *config,
	struct vmm_smbios_tables *ret_tables)
{
	CLEANUP(table_p) struct table table = { 0 };
	struct vmm_smbios_tables tables = { 0 };
	struct entry_point entry;
	uint64_t room_bytes;
	int r;

	r = place(config, &tables, &room_bytes);
	if (r < 0)
		return r;
	r = fill(&table, config);
	if (r < 0)
		return r;
	if (table.length > room_bytes)
		return -ENOSPC;
	/* Linux maps whole pages, at most so many. */
	if (tables.tables_gpa % LINUX_PAGE_BYTES + table.length > VMM_SMBIOS_MAX_BYTES)
		return -E2BIG;
	r = vmm_mem_check(mem, tables.entry_gpa, sizeof(entry), true);
	if (r < 0)
		return r;
	r = vmm_mem_write(mem, tables.tables_gpa, table.data, table.length);
	if (r < 0)
		return r;
	entry = make_entry(tables.tables_gpa, table.length);
	tables.size_bytes = (uint32_t)table.length;
	r = vmm_mem_write(mem, tables.entry_gpa, &entry, sizeof(entry));
	if (r < 0)
		return r;
	*ret_tables = tables;
	return 0;
}
