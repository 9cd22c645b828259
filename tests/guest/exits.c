/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * exits: accesses of each size to a port and an address, to places that nobody claims, and by
 * string instructions. test-exits.c has the other side.
 */
#include "guest.h"

#define PORT 0x1000
#define PORT_NOBODY 0x2000
#define MMIO 0xd0000000u
#define MMIO_NOBODY 0xd1000000u

static uint8_t buffer[16];

static void string_in_out(void)
{
	uint8_t *at = buffer;
	unsigned long n = 8;

	/* Eight bytes in one instruction, which are eight exits to us. */
	__asm__ volatile("cld; rep insb" : "+D"(at), "+c"(n) : "d"(PORT) : "memory");
	for (unsigned int i = 0; i < 8; i++)
		check(buffer[i] == 0xa0 + i, 0x20);
	at = buffer;
	n = 4;
	__asm__ volatile("cld; rep outsw" : "+S"(at), "+c"(n) : "d"(PORT) : "memory");
}

void guest_main(const char *cmdline)
{
	out8(PORT, 0x11);
	out16(PORT + 1, 0x2222);
	out32(PORT + 3, 0x44444444);
	check(in8(PORT) == 0x5a, 1);
	check(in16(PORT) == 0x5a5a, 2);
	check(in32(PORT) == 0x5a5a5a5a, 3);
	string_in_out();

	check(in8(PORT_NOBODY) == 0xff, 4);
	check(in16(PORT_NOBODY) == 0xffff, 5);
	check(in32(PORT_NOBODY) == 0xffffffff, 6);
	/* Across the end of what is claimed. */
	check(in32(PORT + 0xe) == 0xffffffff, 7);
	out32(PORT_NOBODY, 0);

	write8(MMIO, 0x11);
	write16(MMIO + 2, 0x2222);
	write32(MMIO + 4, 0x44444444);
	write64(MMIO + 8, 0x8888888888888888);
	check(read8(MMIO) == 0x5a, 8);
	check(read16(MMIO) == 0x5a5a, 9);
	check(read32(MMIO) == 0x5a5a5a5a, 10);
	check(read64(MMIO) == 0x5a5a5a5a5a5a5a5a, 11);
	check(read8(MMIO_NOBODY) == 0xff, 12);
	check(read32(MMIO_NOBODY) == 0xffffffff, 13);
	check(read64(MMIO_NOBODY) == 0xffffffffffffffff, 14);
	write64(MMIO_NOBODY, 0);
}
