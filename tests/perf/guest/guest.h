/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bench guest: what its files share. No interrupts, no allocation, one thread, polling. */
#ifndef VMM_PERF_GUEST_H
#define VMM_PERF_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where buffers begin; everything of the image lies below. */
#define ARENA_GPA UINT64_C(0x1000000)

/* runtime.c: text goes to COM1; the arena only grows, until all of it is taken back. */
void print(const char *text);
void *arena(size_t size, size_t alignment);
void arena_reset(void);
/* The compiler may call these. */
void *memset(void *to, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);

/* main.c: numbers come from the command line as "name=value". */
void print_number(const char *name, uint64_t value);
void __attribute__((noreturn)) end_run(const char *why);
uint64_t option(const char *name, uint64_t otherwise);
bool option_is(const char *name, const char *value);
const char *command_line(void);

/* virtio.c: a driver that polls, on virtio-mmio or virtio-pci. */
struct virtqueue {
	uint16_t size;
	uint16_t next_avail, last_used;
	uint16_t avail_idx;
	struct desc *descs;
	struct ring *avail, *used;
	volatile void *doorbell;
	bool doorbell_32;
	uint32_t doorbell_value;
	bool event_idx;
};

struct desc {
	uint64_t gpa;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct ring {
	uint16_t flags;
	uint16_t idx;
	uint16_t entries[]; /* avail: heads; used: pairs of 32-bit words */
};

#define DESC_NEXT 1
#define DESC_WRITE 2

struct device {
	volatile uint8_t *common; /* PCI; NULL for MMIO */
	volatile uint8_t *mmio;
	volatile uint8_t *config;
	volatile uint8_t *notify;
	uint32_t notify_multiplier;
	uint64_t features;
};

/* The index-th device of a virtio type; ends the run where there is none. */
void device_find(struct device *device, unsigned int type, unsigned int index);
/* Negotiates offered & wanted. */
void device_start(struct device *device, uint64_t wanted);
void device_queue(struct device *device, unsigned int index, uint16_t size, struct virtqueue *ret);
void device_ok(struct device *device);

/* Makes count descriptors from head on (linked by the caller) available; kick tells the device. */
void queue_add(struct virtqueue *queue, uint16_t head);
void queue_kick(struct virtqueue *queue);
/* True and the head of a chain that the device has used. */
bool queue_used(struct virtqueue *queue, uint16_t *ret_head);

/* The benches. */
void bench_blk(void);
void bench_net(void);
void __attribute__((noreturn)) bench_vsock(void);

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

#endif
