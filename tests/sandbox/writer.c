/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * writer: a guest that writes numbers to its disk, each to the next sector, flushes, and only then
 * writes to the first sector which was the last. When it starts again it looks whether that one is
 * there, and goes on. It says "lost" where something is not as it was flushed.
 */
#include "../perf/guest/guest.h"

#define QUEUE_SIZE 16
#define BLK 2
#define N_SECTORS 1024 /* behind the first */
#define SECTOR 512

struct record {
	uint64_t number, check;
};

static struct virtqueue queue;
static uint8_t *buffer;

void guest_main(void);

void end_run(const char *why)
{
	print(why);
	print("\n");
	for (;;)
		__asm__ volatile("pause");
}

const char *command_line(void)
{
	return "";
}

enum { READ, WRITE, FLUSH = 4 };

/* A header, a sector and a status; the sector lies behind the header's 16 bytes. */
static struct record *request(uint32_t type, uint64_t sector)
{
	struct record *record = (struct record *)(buffer + 16);
	volatile uint8_t *status = buffer + 16 + SECTOR;
	bool has_data = type != FLUSH;
	uint16_t head;

	((uint32_t *)buffer)[0] = type;
	((uint32_t *)buffer)[1] = 0;
	((uint64_t *)buffer)[1] = sector;
	*status = 0xff;
	queue.descs[0] =
		(struct desc){ (uint64_t)buffer, 16, DESC_NEXT, (uint16_t)(has_data ? 1 : 2) };
	queue.descs[1] = (struct desc){ (uint64_t)record, SECTOR,
		(uint16_t)(DESC_NEXT | (type == READ ? DESC_WRITE : 0)), 2 };
	queue.descs[2] = (struct desc){ (uint64_t)status, 1, DESC_WRITE, 0 };
	queue_add(&queue, 0);
	queue_kick(&queue);
	while (!queue_used(&queue, &head))
		__asm__ volatile("pause");
	if (*status != 0)
		end_run("lost: a request failed");
	return record;
}

static void write_number(uint64_t sector, uint64_t number)
{
	*(struct record *)(buffer + 16) = (struct record){ number, ~number };
	request(WRITE, sector);
}

void guest_main(void)
{
	struct device device;
	struct record *record;
	uint64_t number;

	buffer = arena(4096, 4096);
	device_find(&device, BLK, 0);
	device_start(&device, 1 << 9);
	device_queue(&device, 0, QUEUE_SIZE, &queue);
	device_ok(&device);
	number = request(READ, 0)->number;
	if (number > 0) {
		record = request(READ, 1 + number % N_SECTORS);
		/* The next one may have been written, and not yet be said to be. */
		if (record->number != number || record->check != ~number)
			end_run("lost: what was flushed");
	}
	print(number > 0 ? "goes on\n" : "begins\n");
	for (;;) {
		number++;
		write_number(1 + number % N_SECTORS, number);
		request(FLUSH, 0);
		write_number(0, number);
		/* Not all of the host's time. */
		for (unsigned int i = 0; i < 200000; i++)
			__asm__ volatile("pause");
	}
}
