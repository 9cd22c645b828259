/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * verify: a guest of a worker that writes and reads back on its first virtio-mmio device, a disk,
 * for ever, four requests in flight, each block with its own number and round in it. Says "go" on
 * ttyS0, a '.' every 16 rounds, "WRONG" where it reads something else than it wrote, "IOERR" where
 * a request fails; "RESET" and no more where the device wants to be reset.
 */
#include "mmio.h"

#define N_SLOTS 4
#define BLOCK_BYTES 4096
#define N_BLOCKS 128 /* a slot has its own */
#define FLUSH_FEATURE (1 << 9)
#define INDIRECT_FEATURE (1 << 28)

enum { T_IN = 0, T_OUT = 1 };

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* Two descriptors of the ring would not do for four requests: each has a table of its own. */
static struct slot {
	struct descriptor table[3];
	struct header header;
	volatile uint8_t status;
	uint64_t data[BLOCK_BYTES / 8] __attribute__((aligned(4096)));
	uint32_t round;
	int is_reading;
} slots[N_SLOTS] __attribute__((aligned(4096)));

static struct ring ring;

static uint64_t block_of(unsigned int index, uint32_t round)
{
	return index * N_BLOCKS + round % N_BLOCKS;
}

/* At both ends and in the middle: a host that emulates the kernel's mode is slow. */
static void fill(struct slot *slot, uint64_t value)
{
	slot->data[0] = slot->data[BLOCK_BYTES / 16] = slot->data[BLOCK_BYTES / 8 - 1] = value;
}

static int is_filled(const struct slot *slot, uint64_t value)
{
	return slot->data[0] == value && slot->data[BLOCK_BYTES / 16] == value &&
	       slot->data[BLOCK_BYTES / 8 - 1] == value;
}

static void offer(unsigned int index)
{
	struct slot *slot = &slots[index];
	uint64_t block = block_of(index, slot->round);

	fill(slot, slot->is_reading ? 0 : block << 32 | slot->round);
	slot->status = 0xff;
	slot->header = (struct header){ slot->is_reading ? T_IN : T_OUT, 0, block * 8 };
	slot->table[0] =
		(struct descriptor){ (uintptr_t)&slot->header, sizeof(slot->header), D_NEXT, 1 };
	slot->table[1] = (struct descriptor){ (uintptr_t)slot->data, BLOCK_BYTES,
		(uint16_t)(D_NEXT | (slot->is_reading ? D_WRITE : 0)), 2 };
	slot->table[2] = (struct descriptor){ (uintptr_t)&slot->status, 1, D_WRITE, 0 };
	ring.descriptors[index] =
		(struct descriptor){ (uintptr_t)slot->table, sizeof(slot->table), D_INDIRECT, 0 };
	offer_chain(&ring, (uint16_t)index);
}

static void completed(unsigned int index)
{
	struct slot *slot = &slots[index];

	if (slot->status != 0) {
		print("IOERR\n");
	} else if (slot->is_reading &&
		   !is_filled(slot, block_of(index, slot->round) << 32 | slot->round)) {
		print("WRONG\n");
		stop_here();
	}
	if (slot->is_reading && ++slot->round % 16 == 0)
		print(".");
	slot->is_reading = !slot->is_reading;
	offer(index);
}

void guest_main(const char *cmdline)
{
	uint16_t seen = 0;
	uint32_t n_looks = 0;

	EXPECT(read32(DEVICES + R_DEVICE_ID) == TYPE_BLK);
	EXPECT(start_device(&ring, INDIRECT_FEATURE | FLUSH_FEATURE) & INDIRECT_FEATURE);
	print("go\n");
	for (unsigned int i = 0; i < N_SLOTS; i++)
		offer(i);
	for (;;) {
		while (ring.used.index == seen)
			if ((++n_looks & 0xfff) == 0 &&
				(read32(DEVICES + R_STATUS) & NEEDS_RESET)) {
				print("RESET\n");
				stop_here();
			}
		EXPECT(ring.used.ring[seen % QUEUE_SIZE].id < N_SLOTS);
		completed(ring.used.ring[seen++ % QUEUE_SIZE].id);
	}
}
