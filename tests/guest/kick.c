/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* kick: something endless, by the first letter of the command line. */
#include "guest.h"

#define PORT 0x1000
#define MMIO 0xd0000000u
#define COUNTER 0x1800000u

static void count_for_ever(void)
{
	for (;;)
		write64(COUNTER, read64(COUNTER) + 1);
}

void guest_main(const char *cmdline)
{
	mark(0);
	switch (cmdline[0]) {
	case 'p':
		for (;;)
			out8(PORT, 0);
	case 'm':
		for (;;)
			write32(MMIO, 0);
	case 'h':
		stop_here();
	case 'c':
		enter_user(count_for_ever);
	}
}
