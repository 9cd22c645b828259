/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * blk: a driver for one virtio-blk device by virtio-mmio (VIRTIO 1.2, 4.2 and 5.2) with one split
 * ring, by interrupts. Checks get-id, writes, reads back, flushes; then breaks the ring, sees
 * NEEDS_RESET, resets, and goes on.
 */
#include "guest.h"

#define DEVICE 0xd0000000u
#define PIN 5
#define VECTOR 0x21
#define QUEUE_SIZE 8

enum {
	R_MAGIC = 0x00,
	R_VERSION = 0x04,
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
	R_INTERRUPT_STATUS = 0x60,
	R_INTERRUPT_ACK = 0x64,
	R_STATUS = 0x70,
	R_QUEUE_DESC = 0x80,
	R_QUEUE_DRIVER = 0x90,
	R_QUEUE_DEVICE = 0xa0,
};

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
enum { D_NEXT = 1, D_WRITE = 2 };
enum { S_ACKNOWLEDGE = 1, S_DRIVER = 2, S_DRIVER_OK = 4, S_FEATURES_OK = 8, S_NEEDS_RESET = 64 };

static struct {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
} descriptors[QUEUE_SIZE] __attribute__((aligned(16)));

static volatile struct {
	uint16_t flags, index, ring[QUEUE_SIZE];
} available __attribute__((aligned(2)));

static volatile struct {
	uint16_t flags, index;
	struct {
		uint32_t id, length;
	} ring[QUEUE_SIZE];
} used __attribute__((aligned(4)));

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;

static volatile uint8_t status;
static uint8_t data[1024];
static uint32_t n_expected_interrupts;

static uint32_t get(unsigned int reg)
{
	return read32(DEVICE + reg);
}

static void set(unsigned int reg, uint32_t value)
{
	write32(DEVICE + reg, value);
}

static void set_address(unsigned int reg, const volatile void *address)
{
	set(reg, (uint32_t)(uintptr_t)address);
	set(reg + 4, 0);
}

static void initialise(void)
{
	set(R_STATUS, 0);
	while (get(R_STATUS) != 0)
		;
	set(R_STATUS, S_ACKNOWLEDGE);
	set(R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	set(R_DEVICE_FEATURES_SEL, 1);
	check(get(R_DEVICE_FEATURES) & 1, 4); /* VERSION_1 */
	set(R_DRIVER_FEATURES_SEL, 0);
	set(R_DRIVER_FEATURES, 1 << 9); /* flush */
	set(R_DRIVER_FEATURES_SEL, 1);
	set(R_DRIVER_FEATURES, 1);
	set(R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
	check(get(R_STATUS) & S_FEATURES_OK, 5);

	available.index = 0;
	used.index = 0;
	set(R_QUEUE_SEL, 0);
	check(get(R_QUEUE_SIZE_MAX) >= QUEUE_SIZE, 6);
	set(R_QUEUE_SIZE, QUEUE_SIZE);
	set_address(R_QUEUE_DESC, descriptors);
	set_address(R_QUEUE_DRIVER, &available);
	set_address(R_QUEUE_DEVICE, &used);
	set(R_QUEUE_READY, 1);
	set(R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

static void offer(void)
{
	available.ring[available.index % QUEUE_SIZE] = 0;
	__asm__ volatile("" : : : "memory");
	available.index++;
	__asm__ volatile("mfence" : : : "memory");
	set(R_QUEUE_NOTIFY, 0);
}

/* One request, and how it ended. Sleeps until the interrupt comes. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
	uint16_t before = used.index;
	unsigned int last = length ? 2 : 1;

	header.type = type;
	header.sector = sector;
	status = 0xff;
	descriptors[0].address = (uintptr_t)&header;
	descriptors[0].length = sizeof(header);
	descriptors[0].flags = D_NEXT;
	descriptors[0].next = 1;
	descriptors[1].address = (uintptr_t)data;
	descriptors[1].length = length;
	descriptors[1].flags = D_NEXT | (type == T_OUT ? 0 : D_WRITE);
	descriptors[1].next = 2;
	descriptors[last].address = (uintptr_t)&status;
	descriptors[last].length = 1;
	descriptors[last].flags = D_WRITE;
	offer();
	wait_for_interrupts(VECTOR, ++n_expected_interrupts);
	check(get(R_INTERRUPT_STATUS) == 1, 0x20);
	set(R_INTERRUPT_ACK, 1);
	check(get(R_INTERRUPT_STATUS) == 0, 0x21);
	check(used.index == (uint16_t)(before + 1), 0x22);
	check(used.ring[before % QUEUE_SIZE].id == 0, 0x23);
	return status;
}

static void fill(uint8_t seed)
{
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(seed + i * 3);
}

static int is_filled(uint8_t seed)
{
	for (unsigned int i = 0; i < sizeof(data); i++)
		if (data[i] != (uint8_t)(seed + i * 3))
			return 0;
	return 1;
}

static void use_disk(void)
{
	check(request(T_GET_ID, 0, 20) == 0, 7);
	check(data[0] == 't' && data[1] == 'e' && data[4] == 0, 8);
	for (uint8_t i = 0; i < 4; i++) {
		fill(i);
		check(request(T_OUT, 2 * i, sizeof(data)) == 0, 9);
	}
	check(request(T_FLUSH, 0, 0) == 0, 10);
	for (uint8_t i = 0; i < 4; i++) {
		fill(77);
		check(request(T_IN, 2 * i, sizeof(data)) == 0, 11);
		check(is_filled(i), 12);
	}
	/* Beyond the end, and of a type that there is not. */
	check(request(T_IN, 64, 512) == 1, 13);
	check(request(T_IN, ~UINT64_C(0), 512) == 1, 14);
	check(request(99, 0, 512) == 2, 15);
}

/* A chain that loops: the queue stops, the device says so, and we hear of it. */
static void break_ring(void)
{
	descriptors[0].address = (uintptr_t)&header;
	descriptors[0].length = sizeof(header);
	descriptors[0].flags = D_NEXT;
	descriptors[0].next = 0;
	offer();
	wait_for_interrupts(VECTOR, ++n_expected_interrupts);
	check(get(R_STATUS) & S_NEEDS_RESET, 0x30);
	set(R_INTERRUPT_ACK, get(R_INTERRUPT_STATUS));
}

void guest_main(const char *cmdline)
{
	check(get(R_MAGIC) == 0x74726976, 1);
	check(get(R_VERSION) == 2, 2);
	check(get(R_DEVICE_ID) == 2, 3);
	ioapic_route(PIN, VECTOR, 0);
	for (int i = 0; i < 3; i++) {
		initialise();
		use_disk();
		break_ring();
	}
	initialise();
	use_disk();
}
