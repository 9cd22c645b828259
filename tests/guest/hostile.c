/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hostile: plays faults that other monitors fell for against a virtio-blk, a virtio-net and a
 * virtio-vsock device of a machine that also has a second disk and a virtio-rng, on virtio-mmio or
 * on PCI. After each fault the others have to serve as before; the device has to say NEEDS_RESET
 * where the fault is in its ring, and to serve again after a reset. Then it does the same, and
 * kicks, thousands of times. It tells on ttyS0: "attack N of TYPE" before each, "FAILED" and a line
 * where something is not so, at the end "attacks over", "hammered", and from then on leaves the
 * machine in peace.
 */
#include "guest.h"
#include "mmio.h"
#include "pci.h"

#define RAM_BYTES (32u << 20)
#define TABLE_SIZE 1024
#define PACKET_BYTES 44

struct device {
	uintptr_t base;   /* of the registers; on PCI, of the common configuration */
	uintptr_t notify; /* PCI: of the queue */
	uint32_t type;
	uint32_t features; /* the lower 32, as negotiated */
	uint16_t queue;    /* that is used: the one to the device */
	struct ring *ring;
};

/* Those under attack, and two that only serve. */
enum { ROOT, NET, VSOCK, N_TARGETS, DATA = N_TARGETS, RNG, N_DEVICES };

static struct ring rings[N_DEVICES];
static struct device devices[N_DEVICES];
static int on_pci;
static struct descriptor table[TABLE_SIZE] __attribute__((aligned(16)));
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static struct {
	uint64_t sector;
	uint32_t n_sectors, flags;
} range;
static struct {
	uint8_t flags, gso_type;
	uint16_t header_length, gso_size, checksum_start, checksum_offset, n_buffers;
	uint8_t bytes[60];
} frame;
static struct {
	uint64_t source_cid, destination_cid;
	uint32_t source_port, destination_port, length;
	uint16_t type, op;
	uint32_t flags, buffer, forwarded;
} packet;
static uint8_t data[512];
static volatile uint8_t status;

static uint32_t get(const struct device *device, unsigned int reg)
{
	return on_pci ? pci_get(device->base, reg) : read32(device->base + reg);
}

static void set(const struct device *device, unsigned int reg, uint32_t value)
{
	if (on_pci)
		pci_set(device->base, device->notify, reg, value);
	else
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
	set(device, R_QUEUE_SEL, device->queue);
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
	set(device, R_QUEUE_NOTIFY, device->queue);
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

/* One request is answered. */
static int serves(struct device *device)
{
	uint16_t before = device->ring->used.index;

	switch (device->type) {
	case TYPE_RNG:
		fill(device, 0, data, 32, D_WRITE);
		break;
	case TYPE_NET:
		fill(device, 0, &frame, sizeof(frame), 0);
		break;
	case TYPE_VSOCK:
		/* A reset of a connection that there is not: nobody answers that. */
		packet.source_cid = 3;
		packet.destination_cid = 2;
		packet.type = 1;
		packet.op = 3;
		fill(device, 0, &packet, PACKET_BYTES, 0);
		break;
	default:
		header.type = 0;
		header.sector = 0;
		status = 0xff;
		fill(device, 0, &header, 16, D_NEXT);
		fill(device, 1, data, 512, D_NEXT | D_WRITE);
		fill(device, 2, &status, 1, D_WRITE);
		offer(device, 0);
		return is_used(device, before) && status == 0;
	}
	offer(device, 0);
	return is_used(device, before);
}

static int needs_reset(const struct device *device)
{
	for (unsigned int i = 0; i < 200000; i++)
		if (get(device, R_STATUS) & NEEDS_RESET)
			return 1;
	return 0;
}

/* ---- attacks ---- */

static int size_after_activation(struct device *device)
{
	set(device, R_QUEUE_SEL, device->queue);
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
	set(device, R_QUEUE_NOTIFY, device->queue);
	return 1;
}

static int queue_select_out_of_range(struct device *device)
{
	static const uint32_t selects[] = { 1, 7, 0xffff, 0x10000, 0xffffffff };

	for (unsigned int i = 1; i < sizeof(selects) / sizeof(selects[0]); i++) {
		/* The register has 16 bits there. */
		if (on_pci && (uint16_t)selects[i] == 0)
			continue;
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
		/* PCI has registers of these sizes: all but those of a queue that is live may
		 * count. */
		if (!on_pci || (offset >= 0x20 && offset < 0x36)) {
			write8(device->base + offset, 0);
			write16(device->base + offset, 0);
		}
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
	if (device->type == TYPE_NET) {
		fill(device, 0, &frame, sizeof(frame), D_NEXT);
		fill(device, 1, data, length, 0);
	} else if (device->type == TYPE_VSOCK) {
		fill(device, 0, &packet, PACKET_BYTES, D_NEXT);
		fill(device, 1, data, length, 0);
	} else {
		header.type = 0;
		header.sector = 0;
		fill(device, 0, &header, 16, D_NEXT);
		fill(device, 1, data, length, D_NEXT | D_WRITE);
		fill(device, 2, &status, 1, D_WRITE);
	}
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

static int frames_that_lie(struct device *device)
{
	for (unsigned int i = 0; i < 8; i++) {
		uint16_t before = device->ring->used.index;

		frame.flags = i & 1 ? 0xff : 0;
		frame.gso_type = i & 2 ? 0x7f : 0;
		frame.header_length = frame.checksum_start = frame.checksum_offset = 0xffff;
		frame.gso_size = i & 4 ? 0xffff : 0;
		fill(device, 0, &frame, i == 0 ? 5 : sizeof(frame), 0);
		offer(device, 0);
		EXPECT(is_used(device, before));
	}
	frame.flags = frame.gso_type = 0;
	frame.header_length = frame.checksum_start = frame.checksum_offset = frame.gso_size = 0;
	return 0;
}

static int packets_for_others(struct device *device)
{
	static const uint64_t cids[] = { 0, 1, 3, 4, UINT64_MAX };

	for (unsigned int i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
		uint16_t before = device->ring->used.index;

		packet.source_cid = i & 1 ? 3 : cids[i];
		packet.destination_cid = i & 1 ? cids[i] : 2;
		packet.op = (uint16_t)i;
		fill(device, 0, &packet, PACKET_BYTES, 0);
		/* From itself, with an operation, it would be answered. */
		if (packet.source_cid != 3 || packet.destination_cid != 2) {
			offer(device, 0);
			EXPECT(is_used(device, before));
		}
	}
	return 0;
}

static int packet_shorter_than_it_says(struct device *device)
{
	packet.length = 60000;
	packet.op = 5;
	fill(device, 0, &packet, PACKET_BYTES, 0);
	offer(device, 0);
	EXPECT(needs_reset(device));
	packet.length = 0;
	return 1;
}

static int packet_shorter_than_its_header(struct device *device)
{
	fill(device, 0, &packet, PACKET_BYTES - 1, 0);
	offer(device, 0);
	return 1;
}

static int failed_activation(struct device *device)
{
	set_up(device, 0xfee00000);
	set(device, R_STATUS, ALL_SET);
	return 1;
}

enum { ON_BLK = 1 << ROOT, ON_NET = 1 << NET, ON_VSOCK = 1 << VSOCK, ON_ALL = 7 };

/* Each returns whether the device has to say NEEDS_RESET. */
static const struct {
	int (*play)(struct device *);
	int on;
} attacks[] = {
	{ size_after_activation, ON_ALL },
	{ available_index_too_far, ON_ALL },
	{ queue_select_out_of_range, ON_ALL },
	{ odd_accesses, ON_ALL },
	{ unregistered_port, ON_ALL },
	{ write_zeroes_overflow, ON_BLK },
	{ chain_that_loops, ON_ALL },
	{ chain_longer_than_the_queue, ON_ALL },
	{ nested_tables, ON_ALL },
	{ buffer_leaves_the_memory, ON_ALL },
	{ buffer_wraps, ON_ALL },
	{ buffer_of_4_gib, ON_ALL },
	{ buffer_is_a_device, ON_ALL },
	{ head_out_of_range, ON_ALL },
	{ no_room_for_the_status, ON_BLK },
	{ frames_that_lie, ON_NET },
	{ packets_for_others, ON_VSOCK },
	{ packet_shorter_than_it_says, ON_VSOCK },
	{ packet_shorter_than_its_header, ON_VSOCK },
	{ failed_activation, ON_ALL },
};

#define N_ATTACKS (sizeof(attacks) / sizeof(attacks[0]))

static void play(struct device *device, unsigned int i)
{
	if (attacks[i].play(device))
		EXPECT(needs_reset(device));
	else
		EXPECT(!(get(device, R_STATUS) & NEEDS_RESET));
	for (unsigned int other = 0; other < N_DEVICES; other++)
		EXPECT(&devices[other] == device || serves(&devices[other]));
	start(device);
	EXPECT(serves(device));
}

static void hammer(struct device *device, int target)
{
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 1; i < N_ATTACKS; i++)
			if (attacks[i].on & 1 << target)
				play(device, i);
		/* What is broken is kicked all the same. */
		available_index_too_far(device);
		for (unsigned int i = 0; i < 500; i++)
			set(device, R_QUEUE_NOTIFY, i % 3);
		start(device);
	}
	for (unsigned int i = 0; i < N_DEVICES; i++)
		EXPECT(serves(&devices[i]));
}

static void add_device(struct device device)
{
	int at = device.type == TYPE_NET     ? NET
		 : device.type == TYPE_VSOCK ? VSOCK
		 : device.type == TYPE_RNG   ? RNG
					     : -1;

	if (device.type == TYPE_BLK)
		at = devices[ROOT].base ? DATA : ROOT;
	if (at < 0)
		return;
	device.queue = at == NET || at == VSOCK;
	device.ring = &rings[at];
	devices[at] = device;
}

static void find_devices(void)
{
	on_pci = read32(DEVICES) != 0x74726976;
	for (unsigned int i = 1; on_pci && i < 32; i++) {
		struct device device = { .type = pci_virtio_type(i) };

		if (device.type == 0)
			continue;
		device.base = pci_enable(i, &device.notify);
		/* Of the queue to the device, which a network and a vsock have as their second. */
		if (device.type == TYPE_NET || device.type == TYPE_VSOCK)
			device.notify += pci_notify_stride(i);
		add_device(device);
	}
	for (unsigned int i = 0; !on_pci && i < 16; i++) {
		struct device device = { .base = DEVICES + i * STRIDE };

		device.type = read32(device.base + R_DEVICE_ID);
		if (read32(device.base + R_MAGIC) == 0x74726976)
			add_device(device);
	}
	for (unsigned int i = 0; i < N_DEVICES; i++)
		EXPECT(devices[i].base);
}

void guest_main(const char *cmdline)
{
	find_devices();
	for (unsigned int i = 0; i < N_DEVICES; i++)
		start(&devices[i]);
	for (int target = 0; target < N_TARGETS; target++) {
		for (unsigned int i = 0; i < N_ATTACKS; i++) {
			if (!(attacks[i].on & 1 << target))
				continue;
			print("attack ");
			print_number(i);
			print(" of ");
			print_number(devices[target].type);
			print("\n");
			play(&devices[target], i);
		}
	}
	print("attacks over\n");
	for (int target = 0; target < N_TARGETS; target++)
		hammer(&devices[target], target);
	available_index_too_far(&devices[ROOT]);
	EXPECT(needs_reset(&devices[ROOT]));
	print("hammered\n");
	stop_here();
}
