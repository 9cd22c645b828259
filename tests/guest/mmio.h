/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mmio: what guests need that drive the virtio-mmio devices of a worker (VIRTIO 1.2, 4.2), and tell
 * on ttyS0 how it went.
 */
#ifndef VMM_TESTS_GUEST_MMIO_H
#define VMM_TESTS_GUEST_MMIO_H

#include "guest.h"

#define DEVICES 0xe8000000u
#define STRIDE 0x1000u
#ifndef QUEUE_SIZE
#define QUEUE_SIZE 8
#endif

enum {
	R_MAGIC = 0x00,
	R_DEVICE_ID = 0x08,
	R_DEVICE_FEATURES = 0x10,
	R_DEVICE_FEATURES_SEL = 0x14,
	R_DRIVER_FEATURES = 0x20,
	R_DRIVER_FEATURES_SEL = 0x24,
	R_QUEUE_SEL = 0x30,
	R_QUEUE_SIZE_MAX = 0x34,
	R_QUEUE_SIZE = 0x38,
	R_QUEUE_READY = 0x44,
	R_QUEUE_NOTIFY = 0x50,
	R_STATUS = 0x70,
	R_QUEUE_DESC = 0x80,
	R_QUEUE_DRIVER = 0x90,
	R_QUEUE_DEVICE = 0xa0,
	R_CONFIG = 0x100,
};

enum {
	TYPE_NET = 1,
	TYPE_BLK = 2,
	TYPE_CONSOLE = 3,
	TYPE_RNG = 4,
	TYPE_BALLOON = 5,
	TYPE_VSOCK = 19,
	TYPE_PMEM = 27
};
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };
enum { NEEDS_RESET = 64, ALL_SET = 15 };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct ring {
	struct descriptor descriptors[QUEUE_SIZE];
	volatile struct {
		uint16_t flags, index, ring[QUEUE_SIZE];
	} available;
	volatile struct {
		uint16_t flags, index;
		struct {
			uint32_t id, length;
		} ring[QUEUE_SIZE];
	} used __attribute__((aligned(4)));
} __attribute__((aligned(4096)));

static inline void print(const char *text)
{
	while (*text)
		out8(0x3f8, (uint8_t)*text++);
}

static inline void print_number(unsigned int n)
{
	char digits[12];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = 0;
	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	print(&digits[at]);
}

static inline void expect_at(int condition, unsigned int line)
{
	if (condition)
		return;
	print("FAILED ");
	print_number(line);
	print("\n");
	stop_here();
}

#define EXPECT(condition) expect_at(condition, __LINE__)

/* Up to where the queues are missing; of its features, those of the first 32 bits that are wanted
 * and offered, and VERSION_1. */
static inline uint32_t begin_device(uintptr_t base, uint32_t wanted)
{
	uint32_t features;

	write32(base + R_STATUS, 0);
	while (read32(base + R_STATUS) != 0)
		;
	write32(base + R_STATUS, 3);
	write32(base + R_DEVICE_FEATURES_SEL, 0);
	features = read32(base + R_DEVICE_FEATURES) & wanted;
	write32(base + R_DRIVER_FEATURES_SEL, 0);
	write32(base + R_DRIVER_FEATURES, features);
	write32(base + R_DRIVER_FEATURES_SEL, 1);
	write32(base + R_DRIVER_FEATURES, 1);
	write32(base + R_STATUS, 11);
	EXPECT(read32(base + R_STATUS) == 11);
	return features;
}

static inline void set_up_queue(uintptr_t base, unsigned int queue, struct ring *ring)
{
	write32(base + R_QUEUE_SEL, queue);
	EXPECT(read32(base + R_QUEUE_SIZE_MAX) >= QUEUE_SIZE);
	write32(base + R_QUEUE_SIZE, QUEUE_SIZE);
	write32(base + R_QUEUE_DESC, (uint32_t)(uintptr_t)ring->descriptors);
	write32(base + R_QUEUE_DRIVER, (uint32_t)(uintptr_t)&ring->available);
	write32(base + R_QUEUE_DEVICE, (uint32_t)(uintptr_t)&ring->used);
	write32(base + R_QUEUE_READY, 1);
}

static inline void complete_device(uintptr_t base)
{
	write32(base + R_STATUS, ALL_SET);
	EXPECT(read32(base + R_STATUS) == ALL_SET);
}

/* Starts the first device, with one queue. */
static inline uint32_t start_device(struct ring *ring, uint32_t wanted)
{
	uint32_t features = begin_device(DEVICES, wanted);

	set_up_queue(DEVICES, 0, ring);
	complete_device(DEVICES);
	return features;
}

/* Makes the chain that begins at head available. */
static inline void offer_chain_to(
	uintptr_t base, unsigned int queue, struct ring *ring, uint16_t head)
{
	ring->available.ring[ring->available.index % QUEUE_SIZE] = head;
	__asm__ volatile("" : : : "memory");
	ring->available.index++;
	__asm__ volatile("mfence" : : : "memory");
	write32(base + R_QUEUE_NOTIFY, queue);
}

/* In the first queue of the first device. */
static inline void offer_chain(struct ring *ring, uint16_t head)
{
	offer_chain_to(DEVICES, 0, ring, head);
}

#endif
