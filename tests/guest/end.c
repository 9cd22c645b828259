/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* end: the ways in which a guest ends, by the first letter of its command line. */
#include "guest.h"

void guest_main(const char *cmdline)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt = { 0, 0 };

	switch (cmdline[0]) {
	case 'x':
		guest_exit(42);
	case 'i':
		__asm__ volatile("ud2");
		break;
	case 't':
		__asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
		break;
	case 'h':
		stop_here();
	}
}
