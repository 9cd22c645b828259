/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * irq: counts interrupts: vector 0x21 from IOAPIC pin 5 (edge), 0x22 from pin 6 (level), 0x23 and
 * 0x24 by MSI. Gives a mark with vector and count after each one. Ends when the port says so.
 */
#include "guest.h"

#define PORT_STOP 0x1000

void guest_main(const char *cmdline)
{
	uint32_t seen[4] = { 0 };

	ioapic_route(5, 0x21, 0);
	ioapic_route(6, 0x22, 1);
	mark(0);
	for (;;) {
		int any = 0;

		for (unsigned int i = 0; i < 4; i++) {
			uint32_t count = interrupt_counts[0x21 + i];

			if (count == seen[i])
				continue;
			seen[i] = count;
			mark((0x21 + i) << 16 | count);
			any = 1;
		}
		if (any && in8(PORT_STOP) == 1)
			return;
		if (!any)
			sleep_until_interrupt();
	}
}
