/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* ioeventfd: writes of several sizes and values to one address and one port, 7 times each. */
#include "guest.h"

#define MMIO 0xd0000000u
#define PORT 0x1000

void guest_main(const char *cmdline)
{
	for (unsigned int i = 0; i < 7; i++) {
		write32(MMIO, 1);
		write32(MMIO, 2);
		write16(MMIO, 1);
		write32(MMIO + 4, i);
		write8(MMIO + 4, (uint8_t)i);
		out16(PORT, 3);
		out16(PORT, 4);
	}
}
