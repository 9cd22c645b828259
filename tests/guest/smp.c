/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * smp: all CPUs come up by INIT and SIPI, say which APIC id they have, and count together. The
 * command line is the number of CPUs.
 */
#include "guest.h"

#define ROUNDS 50

static volatile uint32_t sum, n_done;
static volatile uint32_t apic_ids[64];

static void count_together(void)
{
	for (int i = 0; i < ROUNDS; i++)
		__asm__ volatile("lock incl %0" : "+m"(sum));
	__asm__ volatile("lock incl %0" : "+m"(n_done));
}

void guest_ap_main(unsigned int number)
{
	apic_ids[number] = read32(LAPIC + LAPIC_ID) >> 24;
	count_together();
}

void guest_main(const char *cmdline)
{
	unsigned int n = 0;
	uint64_t present = 0;

	for (; *cmdline >= '0' && *cmdline <= '9'; cmdline++)
		n = n * 10 + (unsigned int)(*cmdline - '0');
	check(n > 0 && n <= 64, 1);
	check(read32(LAPIC + LAPIC_ID) >> 24 == 0, 2);
	start_cpus(n);
	count_together();
	while (n_done < n)
		__asm__ volatile("pause");
	check(sum == n * ROUNDS, 3);
	for (unsigned int i = 0; i < n; i++) {
		check(apic_ids[i] < n, 4);
		present |= UINT64_C(1) << apic_ids[i];
	}
	check(present == (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1), 5);
}
