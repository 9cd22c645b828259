/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * guests: bare-metal guests of a few instructions for tests of the worker, as ELF files with a PVH
 * note in a memfd. They run in 32-bit protected mode without paging, as PVH starts them.
 */
#ifndef VMM_TESTS_WORKER_GUESTS_H
#define VMM_TESTS_WORKER_GUESTS_H

#include <stddef.h>
#include <stdint.h>

struct guest {
	uint8_t code[16384];
	size_t size;
};

/* Appends code. */
void guest_outb(struct guest *guest, uint16_t port, uint8_t value);
void guest_print(struct guest *guest, const char *text); /* ttyS0 */
void guest_triple_fault(struct guest *guest);
void guest_spin(struct guest *guest);
/* Writes n bytes of memory to ttyS0. */
void guest_dump(struct guest *guest, uint32_t gpa, uint32_t n);
/* Echoes ttyS0 until it gets a byte of 0. */
void guest_echo(struct guest *guest);
/* Prints '.' and loops until the power button is pressed n times. */
void guest_wait_button(struct guest *guest, unsigned int n);
/* Turns the keyboard's interrupt on and loops until ctrl, alt and del were pressed. */
void guest_wait_ctrl_alt_del(struct guest *guest);
/* Prints '+' for each device that comes and '-' for each that it gives up, for ever. */
void guest_hotplug(struct guest *guest);
/* Gives up all that may be given up, unasked. */
void guest_eject_all(struct guest *guest);
/* Writes c to ttyS0 n times. */
void guest_flood(struct guest *guest, char c, uint32_t n);
/* All of the rest, for ever. */
void guest_print_for_ever(struct guest *guest, char c);
void guest_poweroff(struct guest *guest);
void guest_reset(struct guest *guest);
void guest_panic(struct guest *guest);

/* A new descriptor. */
int guest_open(const struct guest *guest);

#endif
