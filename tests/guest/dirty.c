/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dirty: writes one byte to each of the pages whose numbers it reads from the port, 0 ends. */
#include "guest.h"

#define PORT 0x1000

void guest_main(const char *cmdline)
{
	uint32_t page;

	while ((page = in32(PORT)) != 0)
		write8((uintptr_t)page << 12 | 0x123, 1);
}
