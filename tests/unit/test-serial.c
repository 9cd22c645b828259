/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include <vmmcore/serial.h>

#include "base/util.h"
#include "unit.h"

#define BASE 0x3f8

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

static struct vmm_bus *bus;
static struct vmm_serial *serial;
static char output[1 << 16];
static size_t n_output;
static int n_ready;
static bool echo;

/* The line, as an edge-triggered input sees it. */
static bool level;
static unsigned int n_edges;
static sem_t edges;

static int set_level(void *userdata, bool high)
{
	if (high && !level) {
		__atomic_add_fetch(&n_edges, 1, __ATOMIC_RELAXED);
		sem_post(&edges);
	}
	level = high;
	return 0;
}

static const struct vmm_irq_ops irq_ops = { .set_level = set_level };

static void on_write(void *userdata, const uint8_t *data, size_t n_bytes)
{
	ck_assert_uint_le(n_bytes, sizeof(output) - n_output);
	memcpy(output + n_output, data, n_bytes);
	n_output += n_bytes;
	if (echo)
		vmm_serial_receive(serial, data, n_bytes);
}

static sem_t ready;

static void on_ready(void *userdata)
{
	n_ready++;
	sem_post(&ready);
}

static const struct vmm_serial_ops ops = {
	.write = on_write,
	.receive_ready = on_ready,
};

static uint8_t in(unsigned int reg)
{
	uint8_t value;

	ck_assert(vmm_bus_read(bus, BASE + reg, &value, 1));
	return value;
}

static void out(unsigned int reg, uint8_t value)
{
	ck_assert(vmm_bus_write(bus, BASE + reg, &value, 1));
}

static void setup(void)
{
	struct vmm_serial_config config = {
		.base = BASE,
		.irq = { .ops = &irq_ops },
		.ops = &ops,
	};

	n_output = 0;
	n_ready = 0;
	n_edges = 0;
	level = false;
	echo = false;
	ck_assert_int_eq(vmm_bus_new(&bus), 0);
	config.bus = bus;
	sem_init(&edges, 0, 0);
	sem_init(&ready, 0, 0);
	ck_assert_int_eq(vmm_serial_new(&config, &serial), 0);
}

static void teardown(void)
{
	serial = vmm_serial_free(serial);
	bus = vmm_bus_free(bus);
}

START_TEST(registers_after_reset)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xb0);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert(!level);
}
END_TEST

START_TEST(registers_hold_what_is_writable)
{
	out(SCR, 0xa5);
	ck_assert_uint_eq(in(SCR), 0xa5);
	out(IER, 0xff);
	ck_assert_uint_eq(in(IER), 0x0f);
	out(MCR, 0xff);
	ck_assert_uint_eq(in(MCR), 0x1f);
	out(MCR, 0);
	out(LSR, 0x1f);
	ck_assert_uint_eq(in(LSR), 0x60);
	out(LCR, 0x83);
	out(DATA, 0x34);
	out(IER, 0x12);
	ck_assert_uint_eq(in(DATA), 0x34);
	ck_assert_uint_eq(in(IER), 0x12);
	out(LCR, 0x03);
	ck_assert_uint_eq(in(IER), 0x0f);
	ck_assert_uint_eq(n_output, 0);
}
END_TEST

START_TEST(output_goes_out_in_order)
{
	for (const char *c = "hello\r\n"; *c; c++)
		out(DATA, (uint8_t)*c);
	ck_assert_uint_eq(n_output, 7);
	ck_assert_mem_eq(output, "hello\r\n", 7);
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

/* The probe of Linux 6.1's 8250_port.c: what it reads decides about type and quirks. */
START_TEST(autoconfig_of_linux_finds_a_16550a)
{
	/* Is there a UART? */
	out(IER, 0);
	ck_assert_uint_eq(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	ck_assert_uint_eq(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	/* The loopback test. */
	out(MCR, 0x1a);
	ck_assert_uint_eq(in(MSR)&0xf0, 0x90);
	out(MCR, 0);
	/* The type: no enhanced features at 0xbf, both FIFO bits. */
	out(LCR, 0xbf);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 0x01);
	ck_assert_uint_eq(in(IIR) >> 6, 3);
	/* Not a 16650: register 2 is no EFR. */
	out(LCR, 0x80);
	ck_assert_uint_ne(in(IIR), 0);
	out(LCR, 0xbf);
	ck_assert_uint_ne(in(IIR), 0);
	/* Not a National with a baud rate switch. */
	out(LCR, 0xe0);
	ck_assert_uint_eq(in(IIR)&0x10, 0);
	out(LCR, 0);
	/* Not an XScale: the UART unit enable bit does not stick. */
	out(IER, 0x40);
	ck_assert_uint_eq(in(IER)&0x40, 0);
	out(IER, 0);
}
END_TEST

/* size_fifo() of the same driver: a U6 16550A would hold 64. */
START_TEST(loopback_fifo_holds_16_and_overruns)
{
	int n = 0;

	out(FCR, 0x07);
	out(MCR, 0x10);
	for (int i = 0; i < 256; i++)
		out(DATA, (uint8_t)i);
	ck_assert_uint_eq(in(LSR)&0x02, 0x02);
	ck_assert_uint_eq(in(LSR)&0x02, 0);
	for (; (in(LSR)&0x01) && n < 256; n++)
		ck_assert_uint_eq(in(DATA), n);
	ck_assert_int_eq(n, 16);
	ck_assert_uint_eq(n_output, 0);
}
END_TEST

START_TEST(loopback_without_fifo_overwrites)
{
	out(MCR, 0x10);
	out(DATA, 'a');
	out(DATA, 'b');
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(DATA), 'b');
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(loopback_is_deaf_to_the_line)
{
	out(FCR, 0x01);
	out(MCR, 0x12);
	ck_assert_uint_eq(vmm_serial_receive(serial, (const uint8_t *)"x", 1), 1);
	ck_assert_uint_eq(in(LSR)&0x01, 0);
	out(MCR, 0x02);
	ck_assert_uint_eq(in(LSR)&0x01, 1);
	ck_assert_uint_eq(in(DATA), 'x');
}
END_TEST

START_TEST(modem_status_deltas)
{
	in(MSR);
	out(IER, 0x08);
	ck_assert(!level);
	out(MCR, 0x14); /* loopback: all lines off but RI */
	ck_assert(level);
	ck_assert_uint_eq(in(IIR), 0x00);
	ck_assert_uint_eq(in(MSR), 0x4b);
	ck_assert(!level);
	ck_assert_uint_eq(in(MSR), 0x40);
	out(MCR, 0x10); /* RI goes away: its trailing edge */
	ck_assert_uint_eq(in(MSR), 0x04);
}
END_TEST

/* The tests for quirks in serial8250_do_startup(): a UART that fails them gets a timer. */
START_TEST(thre_is_asserted_again_when_enabled_again)
{
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR)&0x0f, 0x02);
	ck_assert_uint_eq(in(IIR)&0x0f, 0x01);
	out(IER, 0x00);
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR)&0x0f, 0x02);
	out(IER, 0x00);
	ck_assert_uint_eq(in(IIR)&0x0f, 0x01);
	ck_assert_uint_eq(n_edges, 2);
	ck_assert(!level);
}
END_TEST

START_TEST(thre_again_after_each_burst)
{
	out(FCR, 0x01);
	out(IER, 0x02);
	for (unsigned int burst = 1; burst <= 100; burst++) {
		ck_assert(level);
		ck_assert_uint_eq(n_edges, burst);
		ck_assert_uint_eq(in(IIR), 0xc2);
		ck_assert(!level);
		ck_assert_uint_eq(in(IIR), 0xc1);
		for (int i = 0; i < 16; i++)
			out(DATA, 'x');
	}
	out(IER, 0);
	ck_assert(!level);
	ck_assert_uint_eq(n_output, 1600);
}
END_TEST

START_TEST(interrupt_priorities)
{
	out(FCR, 0x81); /* trigger level 8 */
	in(MSR);
	out(MCR, 0x12);
	out(MCR, 0x02); /* deltas */
	out(IER, 0x0f);
	ck_assert_int_eq(vmm_serial_receive_break(serial), 0);
	ck_assert_uint_eq(vmm_serial_receive(serial, (const uint8_t *)"12345678", 8), 8);
	ck_assert_uint_eq(in(IIR), 0xc6);
	ck_assert_uint_eq(in(LSR), 0xf1);
	ck_assert_uint_eq(in(IIR), 0xc4);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(IIR), 0xc4);
	ck_assert_uint_eq(in(DATA), '1');
	ck_assert_uint_eq(in(IIR), 0xcc); /* below the trigger: time-out */
	for (int i = 2; i <= 8; i++)
		ck_assert_uint_eq(in(DATA), '0' + i);
	ck_assert_uint_eq(in(IIR), 0xc2);
	ck_assert_uint_eq(in(IIR), 0xc0);
	ck_assert_uint_ne(in(MSR)&0x0f, 0);
	ck_assert_uint_eq(in(IIR), 0xc1);
	ck_assert_uint_eq(n_edges, 1);
}
END_TEST

START_TEST(break_shows_with_its_byte)
{
	out(FCR, 0x01);
	vmm_serial_receive(serial, (const uint8_t *)"a", 1);
	vmm_serial_receive_break(serial);
	vmm_serial_receive(serial, (const uint8_t *)"b", 1);
	ck_assert_uint_eq(in(LSR), 0xe1);
	ck_assert_uint_eq(in(DATA), 'a');
	ck_assert_uint_eq(in(LSR), 0xf1);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(DATA), 'b');
}
END_TEST

START_TEST(clearing_the_fifo_spares_what_is_behind)
{
	uint8_t data[40];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	out(FCR, 0x01);
	out(MCR, 0x02);
	ck_assert_uint_eq(vmm_serial_receive(serial, data, sizeof(data)), sizeof(data));
	/* The port is shut down and started again, as Linux does it. */
	out(MCR, 0);
	out(FCR, 0x07);
	out(FCR, 0);
	in(LSR);
	in(DATA);
	out(FCR, 0x07);
	in(DATA);
	ck_assert_uint_eq(in(LSR)&1, 0);
	out(MCR, 0x0b);
	for (int i = 16; i < 40; i++) {
		ck_assert_uint_eq(in(LSR)&1, 1);
		ck_assert_uint_eq(in(DATA), i);
	}
	ck_assert_uint_eq(in(LSR)&1, 0);
}
END_TEST

START_TEST(a_guest_without_rts_receives_by_interrupt)
{
	out(MCR, 0);
	vmm_serial_receive(serial, (const uint8_t *)"k", 1);
	ck_assert_uint_eq(in(LSR)&1, 0);
	out(IER, 0x01);
	ck_assert(level);
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert_uint_eq(in(DATA), 'k');
	ck_assert(!level);
}
END_TEST

START_TEST(queue_is_bounded_and_says_when_there_is_room)
{
	static uint8_t data[2 * VMM_SERIAL_QUEUE_BYTES];
	size_t room;

	out(FCR, 0x01);
	ck_assert_uint_eq(vmm_serial_receive_room(serial), VMM_SERIAL_QUEUE_BYTES);
	ck_assert_uint_eq(vmm_serial_receive(serial, data, sizeof(data)), VMM_SERIAL_QUEUE_BYTES);
	room = vmm_serial_receive_room(serial);
	ck_assert_uint_eq(room, 16);
	ck_assert_uint_eq(vmm_serial_receive(serial, data, sizeof(data)), 16);
	ck_assert_uint_eq(vmm_serial_receive(serial, data, 1), 0);
	ck_assert_int_eq(vmm_serial_receive_break(serial), -EAGAIN);
	for (int i = 0; i < VMM_SERIAL_QUEUE_BYTES / 2 - 1; i++)
		in(DATA);
	ck_assert_int_eq(n_ready, 0);
	in(DATA);
	ck_assert_int_eq(n_ready, 1);
	in(DATA);
	ck_assert_int_eq(n_ready, 1);
}
END_TEST

START_TEST(callbacks_may_call_back)
{
	out(FCR, 0x01);
	echo = true;
	out(DATA, 'e');
	ck_assert_uint_eq(in(DATA), 'e');
}
END_TEST

#define PASTE_BYTES (200 * 1000)

static void *paste(void *userdata)
{
	uint8_t block[777];
	size_t n_sent = 0;

	while (n_sent < PASTE_BYTES) {
		size_t n = MIN(sizeof(block), (size_t)(PASTE_BYTES - n_sent)), done = 0;

		for (size_t i = 0; i < n; i++)
			block[i] = (uint8_t)((n_sent + i) * 31 >> 3);
		for (;;) {
			done += vmm_serial_receive(serial, block + done, n - done);
			if (done == n)
				break;
			sem_wait(&ready);
		}
		n_sent += n;
	}
	return NULL;
}

/* An interrupt handler that, as on an edge-triggered line it must, looks until none is left. */
START_TEST(pasted_input_arrives_whole_on_an_edge_triggered_line)
{
	size_t n_received = 0;
	pthread_t thread;

	out(FCR, 0x81);
	out(MCR, 0x0b);
	out(IER, 0x05);
	ck_assert_int_eq(pthread_create(&thread, NULL, paste, NULL), 0);
	while (n_received < PASTE_BYTES) {
		sem_wait(&edges); /* stuck here, the time limit ends the test */
		while (!(in(IIR)&1)) {
			while (in(LSR)&1) {
				ck_assert_uint_eq(in(DATA), (uint8_t)(n_received * 31 >> 3));
				n_received++;
			}
		}
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(in(LSR)&1, 0);
}
END_TEST

START_TEST(wide_and_stray_accesses)
{
	uint32_t value = 0x41424344;

	out(SCR, 7);
	vmm_bus_write(bus, BASE + DATA, &value, 4);
	ck_assert_uint_eq(n_output, 1);
	ck_assert_int_eq(output[0], 0x44);
	value = 0;
	vmm_bus_read(bus, BASE + LSR, &value, 2);
	ck_assert_uint_eq(value, 0xff60);
	/* Beyond the last register: nobody. */
	value = 0;
	ck_assert(!vmm_bus_read(bus, BASE + SCR, &value, 2));
	ck_assert_uint_eq(value, 0xffff);
}
END_TEST

START_TEST(registers_apart_in_mmio)
{
	struct vmm_serial_config config = { .bus = bus, .base = 0x10000, .register_shift = 2 };
	struct vmm_serial *mmio;
	uint32_t value;

	ck_assert_int_eq(vmm_serial_new(&config, &mmio), 0);
	value = 0x5a;
	ck_assert(vmm_bus_write(bus, 0x10000 + SCR * 4, &value, 4));
	ck_assert(vmm_bus_read(bus, 0x10000 + SCR * 4, &value, 4));
	ck_assert_uint_eq(value, 0xffffff5a);
	ck_assert(vmm_bus_read(bus, 0x10000 + SCR * 4 - 1, &value, 1));
	ck_assert_uint_eq(value & 0xff, 0xff);
	value = 'x'; /* to nobody: there are no ops */
	ck_assert(vmm_bus_write(bus, 0x10000, &value, 1));
	vmm_serial_free(mmio);
	ck_assert(!vmm_bus_read(bus, 0x10000, &value, 1));
}
END_TEST

START_TEST(bad_configurations)
{
	struct vmm_serial_config config = { .bus = bus, .base = BASE };
	struct vmm_serial *other = NULL;

	ck_assert_int_eq(vmm_serial_new(&config, &other), -EEXIST);
	config.base = 0x2f8;
	config.register_shift = 4;
	ck_assert_int_eq(vmm_serial_new(&config, &other), -EINVAL);
	config.register_shift = 0;
	config.base = UINT64_MAX - 3;
	ck_assert_int_eq(vmm_serial_new(&config, &other), -EINVAL);
	ck_assert_ptr_null(other);
	ck_assert_ptr_null(vmm_serial_free(NULL));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serial");
	TCase *tcase = unit_case(suite, "serial");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, registers_after_reset);
	tcase_add_test(tcase, registers_hold_what_is_writable);
	tcase_add_test(tcase, output_goes_out_in_order);
	tcase_add_test(tcase, autoconfig_of_linux_finds_a_16550a);
	tcase_add_test(tcase, loopback_fifo_holds_16_and_overruns);
	tcase_add_test(tcase, loopback_without_fifo_overwrites);
	tcase_add_test(tcase, loopback_is_deaf_to_the_line);
	tcase_add_test(tcase, modem_status_deltas);
	tcase_add_test(tcase, thre_is_asserted_again_when_enabled_again);
	tcase_add_test(tcase, thre_again_after_each_burst);
	tcase_add_test(tcase, interrupt_priorities);
	tcase_add_test(tcase, break_shows_with_its_byte);
	tcase_add_test(tcase, clearing_the_fifo_spares_what_is_behind);
	tcase_add_test(tcase, a_guest_without_rts_receives_by_interrupt);
	tcase_add_test(tcase, queue_is_bounded_and_says_when_there_is_room);
	tcase_add_test(tcase, callbacks_may_call_back);
	tcase_add_test(tcase, pasted_input_arrives_whole_on_an_edge_triggered_line);
	tcase_add_test(tcase, wide_and_stray_accesses);
	tcase_add_test(tcase, registers_apart_in_mmio);
	tcase_add_test(tcase, bad_configurations);
	return unit_run(suite);
}
