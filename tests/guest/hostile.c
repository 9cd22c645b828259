/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hostile: plays faults that other monitors fell for against the first virtio-blk device of a
 * machine with two and a virtio-rng, all on virtio-mmio from DEVICES on. After each fault the other
 * two have to serve as before; the device has to say NEEDS_RESET where the fault is in its ring,
 * and to serve again after a reset. Then it does the same, and kicks, thousands of times. It tells
 * on ttyS0: "attack N" before each, "FAILED" and a line where something is not so, at the end
 * "attacks over", "hammered", and from then on leaves the machine in peace.
 */
#include "guest.h"
#include "mmio.h"

#define RAM_BYTES (32u << 20)
#define TABLE_SIZE 1024

struct device {
	uint32_t base;
	uint32_t type;
	uint32_t features; /* the lower 32, as negotiated */
	struct ring *ring;
};

static struct ring rings[3];
static struct device devices[3]; /* the one under attack, the other disk, rng */
static struct descriptor table[TABLE_SIZE] __attribute__((aligned(16)));
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static struct {
	uint64_t sector;
	uint32_t n_sectors, flags;
} range;
static uint8_t data[512];
static volatile uint8_t status;

static uint32_t get(const struct device *device, unsigned int reg)
{
	return read32(device->base + reg);
}

static void set(const struct device *device, unsigned int reg, uint32_t value)
{
	write32(device->base + reg, value);
}

static void set_address(const struct device *device, unsigned int reg, uint64_t address)
{
	set(device, reg, (uint32_t)address);
	set(device, reg + 4, (uint32_t)(address >> 32));
}

/* Up to where DRIVER_OK is missing. desc: where the descriptors are said to be. */
static void set_up(struct device *device, uint64_t desc)
{
	struct ring *ring = device->ring;

	set(device, R_STATUS, 0);
	while (get(device, R_STATUS) != 0)
		;
	set(device, R_STATUS, 3);
	/* Indirect descriptors; write-zeroes, where the disk has that. */
	set(device, R_DEVICE_FEATURES_SEL, 0);
	device->features = get(device, R_DEVICE_FEATURES) & (1u << 28 | 1u << 14);
	set(device, R_DRIVER_FEATURES_SEL, 0);
	set(device, R_DRIVER_FEATURES, device->features);
	set(device, R_DRIVER_FEATURES_SEL, 1);
	set(device, R_DRIVER_FEATURES, 1);
	set(device, R_STATUS, 11);
	EXPECT(get(device, R_STATUS) == 11);
	ring->available.index = 0;
	ring->used.index = 0;
	set(device, R_QUEUE_SEL, 0);
	EXPECT(get(device, R_QUEUE_SIZE_MAX) >= QUEUE_SIZE);
	set(device, R_QUEUE_SIZE, QUEUE_SIZE);
	set_address(device, R_QUEUE_DESC, desc);
	set_address(device, R_QUEUE_DRIVER, (uintptr_t)&ring->available);
	set_address(device, R_QUEUE_DEVICE, (uintptr_t)&ring->used);
	set(device, R_QUEUE_READY, 1);
}

static void start(struct device *device)
{
	set_up(device, (uintptr_t)device->ring->descriptors);
	set(device, R_STATUS, ALL_SET);
	EXPECT(get(device, R_STATUS) == ALL_SET);
}

static void offer(struct device *device, uint16_t head)
{
	struct ring *ring = device->ring;

	ring->available.ring[ring->available.index % QUEUE_SIZE] = head;
	__asm__ volatile("" : : : "memory");
	ring->available.index++;
	__asm__ volatile("mfence" : : : "memory");
	set(device, R_QUEUE_NOTIFY, 0);
}

static void fill(struct device *device, unsigned int at, const volatile void *address,
	uint32_t length, uint16_t flags)
{
	device->ring->descriptors[at] =
		(struct descriptor){ (uintptr_t)address, length, flags, (uint16_t)(at + 1) };
}

static int is_used(const struct device *device, uint16_t before)
{
	for (unsigned int i = 0; i < 4000000; i++)
		if (device->ring->used.index != before)
			return 1;
	return 0;
}

/* One request works. */
static int serves(struct device *device)
{
	uint16_t before = device->ring->used.index;

	if (device->type == TYPE_RNG) {
		fill(device, 0, data, 32, D_WRITE);
		offer(device, 0);
		return is_used(device, before);
	}
	header.type = 0;
	header.sector = 0;
	status = 0xff;
	fill(device, 0, &header, 16, D_NEXT);
	fill(device, 1, data, 512, D_NEXT | D_WRITE);
	fill(device, 2, &status, 1, D_WRITE);
	offer(device, 0);
	return is_used(device, before) && status == 0;
}

static int needs_reset(const struct device *device)
{
	for (unsigned int i = 0; i < 200000; i++)
		if (get(device, R_STATUS) & NEEDS_RESET)
			return 1;
	return 0;
}

/* ---- attacks: each returns whether the device has to say NEEDS_RESET ---- */

static int size_after_activation(struct device *device)
{
	set(device, R_QUEUE_SEL, 0);
	set(device, R_QUEUE_SIZE, 0x8000);
	set_address(device, R_QUEUE_DESC, UINT64_MAX & ~UINT64_C(4095));
	set_address(device, R_QUEUE_DEVICE, 0xfee00000);
	for (unsigned int i = 0; i < 2 * QUEUE_SIZE; i++)
		EXPECT(serves(device));
	return 0;
}

static int available_index_too_far(struct device *device)
{
	device->ring->available.index = (uint16_t)(device->ring->available.index + 1000);
	set(device, R_QUEUE_NOTIFY, 0);
	return 1;
}

static int queue_select_out_of_range(struct device *device)
{
	static const uint32_t selects[] = { 1, 7, 0xffff, 0x10000, 0xffffffff };

	for (unsigned int i = 1; i < sizeof(selects) / sizeof(selects[0]); i++) {
		set(device, R_QUEUE_SEL, selects[i]);
		EXPECT(get(device, R_QUEUE_SIZE_MAX) == 0);
		set(device, R_QUEUE_SIZE, 8);
		set_address(device, R_QUEUE_DESC, 0);
		set(device, R_QUEUE_READY, 1);
		set(device, R_QUEUE_NOTIFY, selects[i]);
	}
	EXPECT(serves(device));
	return 0;
}

static int odd_accesses(struct device *device)
{
	for (unsigned int offset = 0; offset < 0x100; offset += 3) {
		write8(device->base + offset, 0);
		write16(device->base + offset, 0);
		read8(device->base + offset);
		read16(device->base + offset);
		read64(device->base + offset);
	}
	EXPECT(serves(device));
	return 0;
}

static int unregistered_port(struct device *device)
{
	EXPECT(in8(0x5f0) == 0xff && in16(0x5f0) == 0xffff && in32(0x5f0) == 0xffffffff);
	out32(0x5f0, 0);
	return 0;
}

static int write_zeroes_overflow(struct device *device)
{
	static const uint64_t sectors[] = { UINT64_MAX, UINT64_MAX - 3, UINT64_C(1) << 55,
		UINT64_C(1) << 63 };

	for (unsigned int i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		uint16_t before = device->ring->used.index;

		header.type = 13;
		range.sector = sectors[i];
		range.n_sectors = i == 3 ? 0xffffffff : 8;
		status = 0xff;
		fill(device, 0, &header, 16, D_NEXT);
		fill(device, 1, &range, 16, D_NEXT);
		fill(device, 2, &status, 1, D_WRITE);
		offer(device, 0);
		/* An error; unsupported where it was not negotiated. */
		EXPECT(is_used(device, before) && status == (device->features & 1u << 14 ? 1 : 2));
	}
	return 0;
}

static int chain_that_loops(struct device *device)
{
	fill(device, 0, &header, 16, D_NEXT);
	fill(device, 1, data, 16, D_NEXT);
	device->ring->descriptors[1].next = 0;
	offer(device, 0);
	return 1;
}

static int chain_longer_than_the_queue(struct device *device)
{
	for (unsigned int i = 0; i < TABLE_SIZE; i++)
		table[i] = (struct descriptor){ (uintptr_t)data, 1, i + 1 < TABLE_SIZE ? D_NEXT : 0,
			(uint16_t)(i + 1) };
	fill(device, 0, table, sizeof(table), D_INDIRECT);
	offer(device, 0);
	return 1;
}

static int nested_tables(struct device *device)
{
	table[0] = (struct descriptor){ (uintptr_t)table, sizeof(table[0]), D_INDIRECT, 0 };
	fill(device, 0, table, sizeof(table[0]), D_INDIRECT);
	offer(device, 0);
	return 1;
}

static int buffer_at(struct device *device, uint64_t address, uint32_t length)
{
	header.type = 0;
	header.sector = 0;
	fill(device, 0, &header, 16, D_NEXT);
	fill(device, 1, data, length, D_NEXT | D_WRITE);
	fill(device, 2, &status, 1, D_WRITE);
	device->ring->descriptors[1].address = address;
	offer(device, 0);
	return 1;
}

static int buffer_leaves_the_memory(struct device *device)
{
	return buffer_at(device, RAM_BYTES - 256, 512);
}

static int buffer_wraps(struct device *device)
{
	return buffer_at(device, UINT64_MAX - 511, 1024);
}

static int buffer_of_4_gib(struct device *device)
{
	return buffer_at(device, 0, 0xfffffe00);
}

static int buffer_is_a_device(struct device *device)
{
	return buffer_at(device, device->base, 512);
}

static int head_out_of_range(struct device *device)
{
	offer(device, 0xffff);
	return 1;
}

static int no_room_for_the_status(struct device *device)
{
	fill(device, 0, &header, 16, 0);
	offer(device, 0);
	return 1;
}

static int failed_activation(struct device *device)
{
	set_up(device, 0xfee00000);
	set(device, R_STATUS, ALL_SET);
	return 1;
}

static int (*const attacks[])(struct device *) = {
	size_after_activation,
	available_index_too_far,
	queue_select_out_of_range,
	odd_accesses,
	unregistered_port,
	write_zeroes_overflow,
	chain_that_loops,
	chain_longer_than_the_queue,
	nested_tables,
	buffer_leaves_the_memory,
	buffer_wraps,
	buffer_of_4_gib,
	buffer_is_a_device,
	head_out_of_range,
	no_room_for_the_status,
	failed_activation,
};

#define N_ATTACKS (sizeof(attacks) / sizeof(attacks[0]))

static void play(unsigned int i)
{
	if (attacks[i](&devices[0]))
		EXPECT(needs_reset(&devices[0]));
	else
		EXPECT(!(get(&devices[0], R_STATUS) & NEEDS_RESET));
	EXPECT(serves(&devices[1]));
	EXPECT(serves(&devices[2]));
	start(&devices[0]);
	EXPECT(serves(&devices[0]));
}

static void hammer(void)
{
	for (unsigned int round = 0; round < 10; round++) {
		for (unsigned int i = 1; i < N_ATTACKS; i++)
			play(i);
		/* What is broken is kicked all the same. */
		available_index_too_far(&devices[0]);
		for (unsigned int i = 0; i < 500; i++)
			set(&devices[0], R_QUEUE_NOTIFY, i % 3);
		start(&devices[0]);
	}
	EXPECT(serves(&devices[1]) && serves(&devices[2]));
	available_index_too_far(&devices[0]);
}

static void find_devices(void)
{
	unsigned int n_disks = 0;

	for (unsigned int i = 0; i < 8; i++) {
		struct device device = { .base = DEVICES + i * STRIDE };
		unsigned int at;

		if (get(&device, R_MAGIC) != 0x74726976)
			continue;
		device.type = get(&device, R_DEVICE_ID);
		if (device.type == TYPE_RNG)
			at = 2;
		else if (device.type == TYPE_BLK && n_disks < 2)
			at = n_disks++;
		else
			continue;
		device.ring = &rings[at];
		devices[at] = device;
	}
	EXPECT(devices[0].base && devices[1].base && devices[2].base);
}

void guest_main(const char *cmdline)
{
	find_devices();
	for (unsigned int i = 0; i < 3; i++)
		start(&devices[i]);
	for (unsigned int i = 0; i < N_ATTACKS; i++) {
		print("attack ");
		print_number(i);
		print("\n");
		play(i);
	}
	print("attacks over\n");
	hammer();
	print("hammered\n");
	stop_here();
}
