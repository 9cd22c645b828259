/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hammer: a guest that does all it can to its machine, as fast as it can and for ever: exits,
 * serial output, ports, configuration space, the registers of devices, resets and kicks with
 * nonsense in them, interrupts to itself. It leaves out only what ends a machine.
 */
#include "../guest/guest.h"

#define ECAM 0xe0000000u
#define WINDOW 0xc0000000u
#define WINDOW_BYTES 0x20000000u
#define N_SLOTS 32
#define BAR_BYTES 0x4000u

static uint64_t state = 0x9e3779b97f4a7c15;

static uint32_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static volatile uint32_t *at(uint32_t address)
{
	return (volatile uint32_t *)(uintptr_t)(address & ~3u);
}

static uint32_t config(unsigned int slot, unsigned int offset)
{
	return ECAM + (slot << 15) + offset;
}

/* The keyboard controller, pvpanic and the event device could end the machine. */
static int ends_machine(uint16_t port)
{
	return (port >= 0x60 && port <= 0x64) || (port >= 0x500 && port < 0x700) || port == 0x92 ||
	       port == 0xcf9;
}

static void hammer_ports(void)
{
	for (int i = 0; i < 32; i++) {
		uint16_t port = (uint16_t)random_number();

		/* Most ports have nothing behind them: go where something may be more often. */
		if (i & 1)
			port &= 0xfff;
		if (ends_machine(port) || ends_machine((uint16_t)(port + 3)))
			continue;
		if (random_number() & 1)
			out8(port, (uint8_t)random_number());
		else
			in32(port);
	}
}

static void hammer_serial(void)
{
	for (int i = 0; i < 32; i++)
		out8(0x3f8, (uint8_t)random_number());
	out8(0x3f8 + random_number() % 8, (uint8_t)random_number());
	in8(0x3f8 + random_number() % 8);
}

static void hammer_config(void)
{
	for (int i = 0; i < 16; i++) {
		uint32_t address = config(random_number() % N_SLOTS, random_number() % 4096);

		if (random_number() & 1)
			*at(address) = random_number();
		else
			(void)*at(address);
	}
}

/* Each device where its BARs say that it is, after it was told to answer there. */
static void hammer_devices(void)
{
	for (unsigned int slot = 0; slot < N_SLOTS; slot++) {
		if (*at(config(slot, 0)) == 0xffffffff)
			continue;
		*at(config(slot, 4)) = 6;
		for (unsigned int bar = 0; bar < 6; bar++) {
			uint32_t address = *at(config(slot, 0x10 + bar * 4)) & ~15u;

			if (address < WINDOW || address >= WINDOW + WINDOW_BYTES) {
				*at(config(slot, 0x10 + bar * 4)) =
					WINDOW + (slot * 8 + bar) * BAR_BYTES * 4;
				continue;
			}
			for (int i = 0; i < 8; i++)
				*at(address + random_number() % BAR_BYTES) =
					random_number() >> (random_number() % 32);
			/* The status register of virtio: a reset, or any state at all. */
			*at(address + 0x14) = random_number() & 1 ? 0 : random_number();
			(void)*at(address + random_number() % BAR_BYTES);
		}
	}
}

static void hammer_interrupts(void)
{
	/* To itself, on a vector that nobody waits for; and whatever the IOAPIC makes of it. */
	*at(LAPIC + LAPIC_ICR_HIGH) = 0;
	*at(LAPIC + LAPIC_ICR_LOW) = 0x4000 | (0x30 + random_number() % 16);
	*at(IOAPIC) = 0x10 + random_number() % 48;
	*at(IOAPIC + 0x10) = (random_number() & 0x10000) | (0x30 + random_number() % 16);
}

void guest_main(const char *cmdline)
{
	for (;;) {
		hammer_ports();
		hammer_serial();
		hammer_config();
		hammer_devices();
		hammer_interrupts();
	}
}
