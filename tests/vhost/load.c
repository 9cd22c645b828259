/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "lib/blk-driver.h"

#define SECTORS (LOAD_BLOCK_BYTES / 512)
#define PATIENCE_NSEC UINT64_C(30000000000)

/* Where a slot's buffers are in guest memory. */
static unsigned int slot_number(unsigned int queue, unsigned int slot)
{
	return queue * LOAD_SLOTS + slot;
}

static uint64_t data_gpa(unsigned int queue, unsigned int slot)
{
	return DRIVER_DATA_GPA + (uint64_t)slot_number(queue, slot) * LOAD_BLOCK_BYTES;
}

static uint64_t next_random(struct load *load)
{
	load->random ^= load->random << 13;
	load->random ^= load->random >> 7;
	load->random ^= load->random << 17;
	return load->random;
}

void load_init(struct load *load, struct driver *driver, unsigned int n_queues, uint64_t seed)
{
	memset(load, 0, sizeof(*load));
	load->driver = driver;
	load->n_queues = n_queues;
	load->random = seed;
}

/* What a block holds in its version; version 0 is zeroes. */
static uint32_t word(unsigned int block, uint32_t version, unsigned int at)
{
	return version == 0 ? 0 : version * 2654435761u + block * 40503u + at;
}

static void fill(uint32_t *words, unsigned int block, uint32_t version)
{
	for (unsigned int i = 0; i < LOAD_BLOCK_BYTES / 4; i++)
		words[i] = word(block, version, i);
}

static bool compare(const uint32_t *words, unsigned int block, uint32_t version)
{
	for (unsigned int i = 0; i < LOAD_BLOCK_BYTES / 4; i++) {
		if (words[i] == word(block, version, i))
			continue;
		printf("block %u, version %u, word %u: %08x, not %08x\n", block, version, i,
			words[i], word(block, version, i));
		return false;
	}
	return true;
}

static void send(struct load *load, unsigned int queue, unsigned int index, unsigned int block,
	bool is_write)
{
	struct load_slot *slot = &load->slots[queue][index];
	struct vring *ring = &load->driver->rings[queue];
	struct vring_buffer data = {
		.gpa = data_gpa(queue, index),
		.len = LOAD_BLOCK_BYTES,
		.write = !is_write,
	};

	if (is_write)
		fill(driver_pointer(load->driver, data.gpa, data.len), block,
			++load->versions[block]);
	load->is_busy[block] = true;
	*slot = (struct load_slot){
		.is_busy = true,
		.is_write = is_write,
		.block = block,
		.sent_nsec = vmm_base_now_nsec(),
	};
	/* Each slot has descriptors and a name of its own, so they end in any order. */
	if (ring->packed)
		ring->next_id = (uint16_t)index;
	else
		ring->next_desc = (uint16_t)(4 * index);
	blk_start(load->driver, queue, slot_number(queue, index), is_write ? BLK_OUT : BLK_IN,
		(uint64_t)block * SECTORS, &data, 1, false);
}

static void send_any(struct load *load, unsigned int queue, unsigned int index)
{
	unsigned int block = (unsigned int)(next_random(load) % LOAD_BLOCKS);

	while (load->is_busy[block])
		block = (block + 1) % LOAD_BLOCKS;
	send(load, queue, index, block, next_random(load) % 3 != 0);
}

static bool end(struct load *load, unsigned int queue, uint32_t id)
{
	unsigned int index = load->driver->rings[queue].packed ? id : id / 4;
	struct load_slot *slot = &load->slots[queue][index];
	uint8_t status;

	if (index >= LOAD_SLOTS || !slot->is_busy) {
		printf("queue %u: %u was used and is not in flight\n", queue, id);
		load->n_errors++;
		return false;
	}
	slot->is_busy = false;
	load->is_busy[slot->block] = false;
	load->longest_nsec = MAX(load->longest_nsec, vmm_base_now_nsec() - slot->sent_nsec);
	load->n_done++;
	status = *blk_status(load->driver, slot_number(queue, index));
	if (status != BLK_OK) {
		load->n_errors++;
		return true;
	}
	if (slot->is_write)
		return true;
	load->n_reads++;
	if (!compare(driver_pointer(load->driver, data_gpa(queue, index), LOAD_BLOCK_BYTES),
		    slot->block, load->versions[slot->block]))
		load->n_differences++;
	return true;
}

/* Takes what was used. Returns how much that was. */
static unsigned int take(struct load *load)
{
	unsigned int n = 0;
	uint32_t id, len;

	for (unsigned int queue = 0; queue < load->n_queues; queue++) {
		while (vring_get_used(&load->driver->rings[queue], &id, &len)) {
			if (!end(load, queue, id))
				return n;
			n++;
		}
	}
	return n;
}

/* Asks for an interrupt when the next one is used. */
static void want_interrupts(struct load *load)
{
	for (unsigned int queue = 0; queue < load->n_queues; queue++) {
		struct vring *ring = &load->driver->rings[queue];

		if (ring->packed)
			vring_set_used_event(ring, ring->next_used, ring->used_wrap);
		else
			vring_set_used_event(ring, ring->last_used, false);
	}
	vring_fence();
}

/* Waits for interrupts as a guest does, but not for ever. */
static unsigned int wait_some(struct load *load)
{
	unsigned int n = take(load);

	if (n == 0 && (load->driver->features & VMM_VIRTIO_F_EVENT_IDX)) {
		want_interrupts(load);
		n = take(load);
	}
	if (n == 0) {
		driver_wait_interrupt(load->driver, 100, NULL);
		n = take(load);
	}
	return n;
}

bool load_run(struct load *load, uint64_t nsec)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	uint64_t end_nsec = now_nsec + nsec, heard_nsec = now_nsec;

	while (now_nsec < end_nsec && load->n_errors == 0) {
		for (unsigned int queue = 0; queue < load->n_queues; queue++)
			for (unsigned int i = 0; i < LOAD_SLOTS; i++)
				if (!load->slots[queue][i].is_busy)
					send_any(load, queue, i);
		if (wait_some(load) > 0)
			heard_nsec = vmm_base_now_nsec();
		now_nsec = vmm_base_now_nsec();
		if (now_nsec - heard_nsec > PATIENCE_NSEC)
			return false;
	}
	return true;
}

static bool wait_all(struct load *load)
{
	uint64_t heard_nsec = vmm_base_now_nsec();

	for (;;) {
		bool is_busy = false;

		for (unsigned int queue = 0; queue < load->n_queues; queue++)
			for (unsigned int i = 0; i < LOAD_SLOTS; i++)
				is_busy = is_busy || load->slots[queue][i].is_busy;
		if (!is_busy)
			return true;
		if (wait_some(load) > 0)
			heard_nsec = vmm_base_now_nsec();
		else if (vmm_base_now_nsec() - heard_nsec > PATIENCE_NSEC)
			return false;
	}
}

static void say_stuck(const struct load *load)
{
	for (unsigned int queue = 0; queue < load->n_queues; queue++) {
		const struct vring *ring = &load->driver->rings[queue];

		for (unsigned int i = 0; i < LOAD_SLOTS; i++)
			if (load->slots[queue][i].is_busy)
				printf("queue %u, slot %u is in flight for ever\n", queue, i);
		if (!ring->packed)
			printf("queue %u: %u available, %u used, %u taken\n", queue, ring->avail[1],
				ring->used[1], ring->last_used);
	}
	printf("%llu done, %llu errors, device status %#x\n", (unsigned long long)load->n_done,
		(unsigned long long)load->n_errors, driver_status(load->driver));
}

bool load_finish(struct load *load)
{
	if (!wait_all(load)) {
		say_stuck(load);
		return false;
	}
	for (unsigned int block = 0; block < LOAD_BLOCKS; block += LOAD_SLOTS) {
		for (unsigned int i = 0; i < LOAD_SLOTS; i++)
			send(load, 0, i, block + i, false);
		if (!wait_all(load))
			return false;
	}
	printf("%llu requests, %llu compared, %llu errors, %llu differences, the longest %.3f s\n",
		(unsigned long long)load->n_done, (unsigned long long)load->n_reads,
		(unsigned long long)load->n_errors, (unsigned long long)load->n_differences,
		(double)load->longest_nsec / 1e9);
	return load->n_errors == 0 && load->n_differences == 0;
}
