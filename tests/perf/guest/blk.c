/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The bench guest: virtio-blk. Keeps depth requests in flight on each of queues queues until n
 * have completed:
 *
 *	bench=blk op=read|write size=BYTES depth=N queues=N n=N seq=0|1 check=0|1
 *
 * check=1: each 4 KiB block of the disk begins with its own number, and reads must see that.
 */
#include "guest.h"

#define MAX_QUEUES 8
#define MAX_DEPTH 64
#define SECTOR_SIZE 512

#define F_MQ (UINT64_C(1) << 12)

struct request {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct slot {
	struct request *header;
	uint8_t *data;
	uint8_t *status;
	uint64_t block;
};

struct run {
	struct virtqueue queue;
	struct slot slots[MAX_DEPTH];
};

static struct run runs[MAX_QUEUES];
static uint64_t size, n_blocks, next_block, random_state = 88172645463325252u;
static bool writing, sequential, checking;

static uint64_t choose_block(void)
{
	if (sequential)
		return next_block++ % n_blocks;
	/* xorshift64 */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n_blocks;
}

static void submit(struct run *run, unsigned int index)
{
	struct slot *slot = &run->slots[index];

	slot->block = choose_block();
	slot->header->sector = slot->block * (size / SECTOR_SIZE);
	*slot->status = 0xff;
	if (writing && checking)
		*(uint64_t *)slot->data = slot->block * (size / 4096);
	queue_add(&run->queue, (uint16_t)(index * 3));
}

static void slot_init(struct run *run, unsigned int index)
{
	struct slot *slot = &run->slots[index];
	struct desc *descs = &run->queue.descs[index * 3];

	slot->header = arena(sizeof(*slot->header), 16);
	slot->status = arena(1, 16);
	slot->data = arena(size, 4096);
	slot->header->type = writing ? 1 : 0;
	descs[0] = (struct desc){ (uint64_t)slot->header, sizeof(*slot->header), DESC_NEXT,
		(uint16_t)(index * 3 + 1) };
	descs[1] = (struct desc){ (uint64_t)slot->data, (uint32_t)size,
		(uint16_t)(DESC_NEXT | (writing ? 0 : DESC_WRITE)), (uint16_t)(index * 3 + 2) };
	descs[2] = (struct desc){ (uint64_t)slot->status, 1, DESC_WRITE, 0 };
}

static void complete(struct run *run, uint16_t head)
{
	struct slot *slot = &run->slots[head / 3];

	if (*(volatile uint8_t *)slot->status != 0)
		end_run("request failed");
	if (checking && !writing && *(volatile uint64_t *)slot->data != slot->block * (size / 4096))
		end_run("wrong data");
}

void bench_blk(void)
{
	unsigned int n_queues = (unsigned int)option("queues", 1);
	unsigned int depth = (unsigned int)option("depth", 1);
	uint64_t n = option("n", 1000), submitted = 0, completed = 0, start;
	struct device device;

	size = option("size", 4096);
	writing = option_is("op", "write");
	sequential = option("seq", 0);
	checking = option("check", 0);
	device_find(&device, 2, 0);
	device_start(&device, UINT64_C(1) << 29 | (n_queues > 1 ? F_MQ : 0));
	n_blocks = *(volatile uint64_t *)device.config / (size / SECTOR_SIZE);
	if (n_queues > MAX_QUEUES || depth > MAX_DEPTH || n_blocks == 0)
		end_run("bad options");
	for (unsigned int i = 0; i < n_queues; i++) {
		device_queue(&device, i, 256, &runs[i].queue);
		for (unsigned int j = 0; j < depth; j++)
			slot_init(&runs[i], j);
	}
	device_ok(&device);

	print("BEGIN\n");
	start = rdtsc();
	for (unsigned int i = 0; i < n_queues; i++) {
		for (unsigned int j = 0; j < depth && submitted < n; j++, submitted++)
			submit(&runs[i], j);
		queue_kick(&runs[i].queue);
	}
	while (completed < n) {
		for (unsigned int i = 0; i < n_queues; i++) {
			uint16_t head;
			bool added = false;

			while (queue_used(&runs[i].queue, &head)) {
				complete(&runs[i], head);
				completed++;
				if (submitted < n) {
					submit(&runs[i], head / 3);
					submitted++;
					added = true;
				}
			}
			if (added)
				queue_kick(&runs[i].queue);
		}
		__builtin_ia32_pause();
	}
	start = rdtsc() - start;
	print("END");
	print_number("n", n);
	print_number("tsc", start);
	end_run("");
}
