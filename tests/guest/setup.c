/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* setup: writes down what CPUID says on each CPU: leaves 1, 0xb, 4, 0x40000000, 0, and the name. */
#include "guest.h"

#define RECORDS 0x1800000u
#define WORDS_PER_CPU 64

static volatile uint32_t n_done;

static void write_down(void)
{
	static const uint32_t leaves[][2] = {
		{ 1, 0 },
		{ 0xb, 0 },
		{ 0xb, 1 },
		{ 0xb, 2 },
		{ 4, 3 },
		{ 0x40000000, 0 },
		{ 0, 0 },
		{ 0x80000002, 0 },
		{ 0x80000003, 0 },
		{ 0x80000004, 0 },
	};
	uint32_t id = read32(LAPIC + LAPIC_ID) >> 24;
	uintptr_t at = RECORDS + id * WORDS_PER_CPU * 4;

	for (unsigned int i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		uint32_t result[4];

		cpuid(leaves[i][0], leaves[i][1], result);
		for (unsigned int j = 0; j < 4; j++, at += 4)
			write32(at, result[j]);
	}
	/* Local vector table: LINT0 and LINT1. */
	write32(at, read32(LAPIC + 0x350));
	write32(at + 4, read32(LAPIC + 0x360));
	__asm__ volatile("lock incl %0" : "+m"(n_done));
}

void guest_ap_main(unsigned int number)
{
	write_down();
}

void guest_main(const char *cmdline)
{
	unsigned int n = (unsigned int)(cmdline[0] - '0');

	write_down();
	if (n > 1)
		start_cpus(n);
	while (n_done < n)
		__asm__ volatile("pause");
}
