/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * guest: what bare-metal test guests use: accesses, interrupts, and how to say to the harness
 * how it went. A guest defines guest_main(); when that returns, all was well.
 *
 * On hosts that emulate CPL 0 an instruction there takes most of a microsecond, so guests do
 * little, or do it at CPL 3.
 */
#ifndef VMM_TESTS_GUEST_H
#define VMM_TESTS_GUEST_H

#include <stddef.h>
#include <stdint.h>

/* Ports of the harness: the end of the guest with a status, and a mark for the test to see. */
#define PORT_EXIT 0xf4
#define PORT_MARK 0xf8

#define LAPIC 0xfee00000u
#define LAPIC_ID 0x20
#define LAPIC_SVR 0xf0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_ICR_HIGH 0x310
#define IOAPIC 0xfec00000u

void guest_main(const char *cmdline);

/* On each further CPU, by its number, once start_cpus() was called. May be left out. */
void guest_ap_main(unsigned int number);

/* In start.S. */
extern volatile uint32_t interrupt_counts[64];
extern volatile uint32_t ap_count;
extern const uint8_t ap_trampoline[], ap_trampoline_end[];
extern const uint8_t exception_entries[], interrupt_entries[], interrupt_entries_end[];
void enter_user(void (*function)(void)) __attribute__((noreturn));
void stop_here(void) __attribute__((noreturn));

/* In runtime.c. */
void ioapic_route(unsigned int pin, unsigned int vector, unsigned int level);
void start_cpus(unsigned int n_all);
void wait_for_interrupts(unsigned int vector, unsigned int n);

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

#define DEFINE_ACCESS(bits)                                                                        \
	static inline uint##bits##_t read##bits(uintptr_t address)                                 \
	{                                                                                          \
		return *(volatile uint##bits##_t *)address;                                        \
	}                                                                                          \
	static inline void write##bits(uintptr_t address, uint##bits##_t value)                    \
	{                                                                                          \
		*(volatile uint##bits##_t *)address = value;                                       \
	}

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

static inline void mark(uint32_t value)
{
	out32(PORT_MARK, value);
}

static inline void guest_exit(uint8_t status) __attribute__((noreturn));
static inline void guest_exit(uint8_t status)
{
	for (;;)
		out8(PORT_EXIT, status);
}

/* Ends the guest with a status that names the check. */
static inline void check(int condition, uint8_t status)
{
	if (!condition)
		guest_exit(status);
}

static inline void interrupts_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

/* Until an interrupt comes; none is lost in between. Interrupts are off before and after. */
static inline void sleep_until_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t result[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(result[0]), "=b"(result[1]), "=c"(result[2]), "=d"(result[3])
			 : "a"(leaf), "c"(subleaf));
}

#endif
