/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * tiny: what tinyvmm gives a guest, without an operating system: says hello on the serial port, how
 * large the disk is and what the command line says, gives back the line that it is sent, and
 * powers off.
 */
#include "guest.h"

#define COM1 0x3f8
#define LINE_STATUS (COM1 + 5)
#define DISK 0xc0000000u
#define DISK_CONFIG (DISK + 0x100)
#define SLEEP_CONTROL 0x600
#define POWER_OFF (5 << 2 | 1 << 5)

static void say(const char *text)
{
	for (; *text; text++) {
		while (!(in8(LINE_STATUS) & 0x20))
			;
		out8(COM1, (uint8_t)*text);
	}
}

static void say_number(uint64_t value)
{
	char digits[21];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	say(digits + at);
}

static char hear(void)
{
	while (!(in8(LINE_STATUS) & 1))
		__asm__ volatile("pause");
	return (char)in8(COM1);
}

void guest_main(const char *cmdline)
{
	char text[2] = { 0 };

	say("tiny: hello\n");
	say("tiny: command line: ");
	say(cmdline);
	say("\ntiny: sectors: ");
	if (read32(DISK) == 0x74726976 && read32(DISK + 8) == 2)
		say_number(read32(DISK_CONFIG) | (uint64_t)read32(DISK_CONFIG + 4) << 32);
	say("\ntiny: you said: ");
	do {
		text[0] = hear();
		say(text);
	} while (text[0] != '\n');
	out8(SLEEP_CONTROL, POWER_OFF);
	stop_here();
}
