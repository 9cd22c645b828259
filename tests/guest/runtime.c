/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* runtime: what runs in a test guest before and beside its guest_main(). */
#include "guest.h"

#define CODE0 0x10
#define N_VECTORS 64
#define AP_PAGE 0x10000u

struct gate {
	uint16_t offset_low, selector, flags, offset_middle;
	uint32_t offset_high, reserved;
};

static struct gate idt[N_VECTORS];

void guest_begin(const uint8_t *start_info);
void guest_ap_begin(unsigned int number);

static void set_gate(unsigned int vector, uintptr_t entry)
{
	idt[vector].offset_low = (uint16_t)entry;
	idt[vector].selector = CODE0;
	idt[vector].flags = 0x8e00;
	idt[vector].offset_middle = (uint16_t)(entry >> 16);
}

static void begin_cpu(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uintptr_t)idt };

	__asm__ volatile("lidt %0" : : "m"(pointer));
	write32(LAPIC + LAPIC_SVR, 0x1ff);
}

void guest_begin(const uint8_t *start_info)
{
	size_t step = (size_t)(interrupt_entries_end - interrupt_entries) / (N_VECTORS - 32);

	for (unsigned int i = 0; i < 32; i++)
		set_gate(i, (uintptr_t)exception_entries + 16 * i);
	for (unsigned int i = 32; i < N_VECTORS; i++)
		set_gate(i, (uintptr_t)interrupt_entries + step * (i - 32));
	begin_cpu();
	guest_main((const char *)read64((uintptr_t)start_info + 24));
	guest_exit(0);
}

__attribute__((weak)) void guest_ap_main(unsigned int number)
{
}

void guest_ap_begin(unsigned int number)
{
	begin_cpu();
	guest_ap_main(number);
	stop_here();
}

void ioapic_route(unsigned int pin, unsigned int vector, unsigned int level)
{
	/* Physical destination 0, fixed delivery. */
	write32(IOAPIC, 0x10 + 2 * pin + 1);
	write32(IOAPIC + 0x10, 0);
	write32(IOAPIC, 0x10 + 2 * pin);
	write32(IOAPIC + 0x10, vector | (level ? 1u << 15 : 0));
}

void wait_for_interrupts(unsigned int vector, unsigned int n)
{
	while (interrupt_counts[vector] < n)
		sleep_until_interrupt();
}

/* INIT and SIPI to all others, then waits until as many as there should be have come. */
void start_cpus(unsigned int n_all)
{
	for (size_t i = 0; i < (size_t)(ap_trampoline_end - ap_trampoline); i++)
		write8(AP_PAGE + i, ap_trampoline[i]);
	write32(LAPIC + LAPIC_ICR_LOW, 0xc4500);
	write32(LAPIC + LAPIC_ICR_LOW, 0xc4600 | AP_PAGE >> 12);
	while (ap_count < n_all - 1)
		__asm__ volatile("pause");
}
