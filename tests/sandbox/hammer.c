/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hammer: a guest that does all it can to its machine, as fast as it can and for ever: exits,
 * serial output, ports, configuration space, the registers of devices, resets and kicks, rings
 * that are good and rings with nonsense in them, statistics of the balloon, interrupts to itself.
 * It leaves out only what ends a machine. It runs at CPL 3, with the bench guest's entry and
 * driver, so that it is as fast as the host's processor.
 */
#include "../perf/guest/guest.h"

#define ECAM 0xe0000000u
#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u
#define N_SLOTS 32
#define QUEUE_SIZE 64
#define MAX_QUEUES 3
#define BUFFERS 0x1800000u /* and 4 MiB more, behind the arena */

enum { NET = 1, BLK = 2, RNG = 4, BALLOON = 5, VSOCK = 19 };

static uint64_t state = 0x9e3779b97f4a7c15;
static uint64_t stack;
static uint64_t n_rounds;

void guest_main(void);

static uint32_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

/* ---- what virtio.c asks of its program ---- */

static void __attribute__((noreturn, used)) hammer(void);

/* A device that is not as its driver likes it, after what was done to it: on with the next. */
void end_run(const char *why __attribute__((unused)))
{
	__asm__ volatile("mov %0, %%rsp; jmp hammer" : : "r"(stack));
	__builtin_unreachable();
}

const char *command_line(void)
{
	return "";
}

/* ---- the platform ---- */

static volatile uint32_t *at(uint64_t address)
{
	return (volatile uint32_t *)(address & ~UINT64_C(3));
}

static uint32_t config(unsigned int slot, unsigned int offset)
{
	return ECAM + (slot << 15) + offset;
}

/* The keyboard controller, pvpanic and the event device could end the machine. */
static bool ends_machine(uint16_t port)
{
	return (port >= 0x60 && port <= 0x64) || (port >= 0x500 && port < 0x700) || port == 0x92 ||
	       port == 0xcf9;
}

static void hammer_ports(void)
{
	for (int i = 0; i < 32; i++) {
		uint16_t port = (uint16_t)random_number();
		uint32_t value;

		/* Most ports have nothing behind them: go where something may be more often. */
		if (i & 1)
			port &= 0xfff;
		/* At CPL 3 four bytes at the very end are no access but a fault. */
		if (port > 0xfff0 || ends_machine(port) || ends_machine((uint16_t)(port + 3)))
			continue;
		if (random_number() & 1)
			outb(port, (uint8_t)random_number());
		else
			__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	}
}

static void hammer_serial(void)
{
	/* Neither the divisor nor the loop back: what is written goes out. */
	outb(0x3fb, 3);
	outb(0x3fc, 0);
	for (int i = 0; i < 64; i++)
		outb(0x3f8, (uint8_t)random_number());
	outb((uint16_t)(0x3f8 + random_number() % 8), (uint8_t)random_number());
}

/* All but the command and the BARs, so that devices stay where they can be hammered. */
static void hammer_config(void)
{
	for (int i = 0; i < 32; i++) {
		unsigned int offset = random_number() % 4096;
		uint32_t address = config(random_number() % N_SLOTS, offset);

		if ((offset & ~3u) == 4 || (offset >= 0x10 && offset < 0x30) || random_number() & 1)
			(void)*at(address);
		else
			*at(address) = random_number();
	}
}

static void hammer_interrupts(void)
{
	/* To itself, on a vector that nobody waits for; and whatever the IOAPIC makes of it. */
	for (int i = 0; i < 16; i++) {
		*at(LAPIC + 0x310) = 0;
		*at(LAPIC + 0x300) = 0x4000 | (0x30 + random_number() % 16);
		*at(IOAPIC) = 0x10 + random_number() % 48;
		*at(IOAPIC + 0x10) = (random_number() & 0x10000) | (0x30 + random_number() % 16);
	}
}

/* ---- devices ---- */

/* The windows of its registers, at random; the status among them, so it is reset now and then. */
static void hammer_registers(struct device *device)
{
	volatile uint8_t *windows[] = { device->common, device->config, device->notify };

	for (int i = 0; i < 32; i++) {
		volatile uint8_t *window = windows[random_number() % 3];

		if (!window)
			continue;
		if (random_number() & 1)
			*at((uint64_t)window + random_number() % 64) =
				random_number() >> (random_number() % 32);
		else
			(void)*at((uint64_t)window + random_number() % 64);
	}
	if (device->common)
		device->common[20] = random_number() & 1 ? 0 : (uint8_t)random_number();
}

/* Descriptors of any kind: a third of the rings has good addresses and nothing else that is odd. */
static void fill(struct virtqueue *queue, bool is_good)
{
	for (unsigned int i = 0; i < QUEUE_SIZE; i++)
		queue->descs[i] = (struct desc){
			.gpa = is_good ? BUFFERS + random_number() % (4u << 20)
				       : random_number() * UINT64_C(0x10001),
			.length = is_good ? random_number() % 4096 : random_number(),
			.flags = (uint16_t)(random_number() & (is_good ? 3 : 7)),
			.next = (uint16_t)(is_good ? (i + 1) % QUEUE_SIZE : random_number()),
		};
}

static void hammer_rings(unsigned int type, unsigned int n_queues)
{
	struct virtqueue queues[MAX_QUEUES];
	struct device device;
	uint16_t head;

	arena_reset();
	device_find(&device, type, 0);
	hammer_registers(&device);
	device_start(&device, random_number());
	for (unsigned int i = 0; i < n_queues; i++) {
		device_queue(&device, i, QUEUE_SIZE, &queues[i]);
		queues[i].avail->flags = (uint16_t)(random_number() & 1);
		fill(&queues[i], random_number() % 3 > 0);
	}
	device_ok(&device);
	for (unsigned int round = 0; round < 16; round++)
		for (unsigned int i = 0; i < n_queues; i++) {
			for (unsigned int n = random_number() % 8; n > 0; n--)
				queue_add(&queues[i], (uint16_t)(random_number() % QUEUE_SIZE));
			queue_kick(&queues[i]);
			/* A balloon's statistics, for one, are asked for when they were given. */
			while (queue_used(&queues[i], &head))
				queue_add(&queues[i], head);
		}
}

static void hammer(void)
{
	static const struct {
		unsigned int type, n_queues;
	} devices[] = { { BLK, 1 }, { RNG, 1 }, { BALLOON, 3 }, { NET, 2 }, { VSOCK, 3 } };

	for (;;) {
		unsigned int i = n_rounds % 5;

		/* Before the device: after end_run() it is the next one's turn. */
		n_rounds++;
		hammer_ports();
		hammer_serial();
		hammer_config();
		hammer_interrupts();
		hammer_rings(devices[i].type, devices[i].n_queues);
	}
}

void guest_main(void)
{
	__asm__ volatile("mov %%rsp, %0" : "=r"(stack));
	stack = (stack & ~UINT64_C(15)) - 8;
	hammer();
}
