/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <string.h>
#include <time.h>

#include <vmmcore/platform.h>

#include "base/util.h"
#include "unit.h"

/* test-platform-generation.c */
void add_generation_tests(Suite *suite);

static struct vmm_bus *bus;
static unsigned int n_calls;
static unsigned int last_call;

/* An edge-triggered interrupt input. */
static bool level;
static unsigned int n_edges;

static int set_level(void *userdata, bool high)
{
	n_edges += high && !level;
	level = high;
	return 0;
}

static const struct vmm_irq_ops irq_ops = { .set_level = set_level };

static uint8_t in(uint16_t port)
{
	uint8_t value;

	vmm_bus_read(bus, port, &value, 1);
	return value;
}

static void out(uint16_t port, uint8_t value)
{
	vmm_bus_write(bus, port, &value, 1);
}

static void setup(void)
{
	ck_assert_int_eq(vmm_bus_new(&bus), 0);
}

static void teardown(void)
{
	bus = vmm_bus_free(bus);
}

/* pvpanic and the debug port */

static void on_event(void *userdata, unsigned int events)
{
	n_calls++;
	last_call = events;
}

START_TEST(pvpanic_reports_what_it_knows)
{
	static const struct vmm_pvpanic_ops ops = { .event = on_event };
	struct vmm_pvpanic_config config = { .bus = bus, .ops = &ops };
	struct vmm_pvpanic *pvpanic;

	ck_assert_int_eq(vmm_pvpanic_new(&config, &pvpanic), 0);
	ck_assert_uint_eq(in(0x505), 3);
	out(0x505, 0);
	out(0x505, 0xfc);
	ck_assert_uint_eq(n_calls, 0);
	out(0x505, 1);
	ck_assert_uint_eq(last_call, VMM_PVPANIC_PANICKED);
	out(0x505, 0xfe);
	ck_assert_uint_eq(last_call, VMM_PVPANIC_CRASH_LOADED);
	ck_assert_uint_eq(n_calls, 2);
	ck_assert_ptr_null(vmm_pvpanic_free(pvpanic));
	ck_assert_uint_eq(in(0x505), 0xff);
}
END_TEST

static void on_byte(void *userdata, uint8_t byte)
{
	n_calls++;
	last_call = byte;
}

START_TEST(debug_port_passes_bytes_on)
{
	static const struct vmm_debug_port_ops ops = { .write = on_byte };
	struct vmm_debug_port_config config = { .bus = bus, .ops = &ops };
	struct vmm_debug_port_config sink = { .bus = bus, .port = 0xe9 };
	struct vmm_debug_port *port, *other;

	ck_assert_int_eq(vmm_debug_port_new(&config, &port), 0);
	ck_assert_int_eq(vmm_debug_port_new(&sink, &other), 0);
	ck_assert_uint_eq(in(0x80), 0xff);
	out(0x80, 0x5a);
	ck_assert_uint_eq(last_call, 0x5a);
	ck_assert_uint_eq(in(0x80), 0x5a);
	out(0xe9, 1);
	ck_assert_uint_eq(in(0xe9), 1);
	ck_assert_uint_eq(n_calls, 1);
	vmm_debug_port_free(other);
	vmm_debug_port_free(port);
}
END_TEST

START_TEST(a_taken_port_is_an_error)
{
	struct vmm_pvpanic_config config = { .bus = bus, .port = 0x64 };
	struct vmm_i8042_config keyboard = { .bus = bus };
	struct vmm_pvpanic *pvpanic, *second = NULL;
	struct vmm_i8042 *i8042 = NULL;

	ck_assert_int_eq(vmm_pvpanic_new(&config, &pvpanic), 0);
	ck_assert_int_eq(vmm_pvpanic_new(&config, &second), -EEXIST);
	ck_assert_int_eq(vmm_i8042_new(&keyboard, &i8042), -EEXIST);
	ck_assert_ptr_null(second);
	ck_assert_ptr_null(i8042);
	ck_assert_uint_eq(in(0x60), 0xff); /* the first of its two ports is free again */
	vmm_pvpanic_free(pvpanic);
	ck_assert_int_eq(vmm_i8042_new(&keyboard, &i8042), 0);
	vmm_i8042_free(i8042);
	ck_assert_ptr_null(vmm_pvpanic_free(NULL));
	ck_assert_ptr_null(vmm_i8042_free(NULL));
	ck_assert_ptr_null(vmm_rtc_free(NULL));
	ck_assert_ptr_null(vmm_debug_port_free(NULL));
}
END_TEST

/* rtc */

static struct vmm_rtc *rtc;
static int64_t clock_nsec;

static int64_t now(void *userdata)
{
	return clock_nsec;
}

static uint8_t cmos(uint8_t reg)
{
	out(0x70, reg);
	return in(0x71);
}

static void cmos_set(uint8_t reg, uint8_t value)
{
	out(0x70, reg);
	out(0x71, value);
}

static void setup_rtc(void)
{
	static const struct vmm_rtc_ops ops = { .now_nsec = now };
	struct vmm_rtc_config config = { .ops = &ops };

	setup();
	config.bus = bus;
	ck_assert_int_eq(vmm_rtc_new(&config, &rtc), 0);
}

static void teardown_rtc(void)
{
	rtc = vmm_rtc_free(rtc);
	teardown();
}

static int bcd(uint8_t value)
{
	ck_assert_uint_lt(value & 0x0f, 10);
	return (value >> 4) * 10 + (value & 0x0f);
}

/* Compares the registers with the C library's calendar. */
static void expect_time(int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	ck_assert_int_eq(bcd(cmos(0)), tm.tm_sec);
	ck_assert_int_eq(bcd(cmos(2)), tm.tm_min);
	ck_assert_int_eq(bcd(cmos(4)), tm.tm_hour);
	ck_assert_int_eq(bcd(cmos(6)), tm.tm_wday + 1);
	ck_assert_int_eq(bcd(cmos(7)), tm.tm_mday);
	ck_assert_int_eq(bcd(cmos(8)), tm.tm_mon + 1);
	ck_assert_int_eq(bcd(cmos(9)), (tm.tm_year + 1900) % 100);
	ck_assert_int_eq(bcd(cmos(0x32)), (tm.tm_year + 1900) / 100);
}

START_TEST(rtc_shows_each_date)
{
	/* From 1699 to 2262: what fits into nanoseconds. */
	for (int64_t day = -98900; day < 106700; day++) {
		int64_t seconds = day * 86400 + (day * 7919 & 0xffff);

		clock_nsec = seconds * 1000000000 + 999;
		expect_time(seconds);
	}
}
END_TEST

/* time() may be a tick behind it. */
static time_t host_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

START_TEST(rtc_follows_the_host_by_default)
{
	struct vmm_rtc_config config = { 0 };
	time_t before, after;
	struct tm tm = { 0 };

	rtc = vmm_rtc_free(rtc);
	config.bus = bus;
	ck_assert_int_eq(vmm_rtc_new(&config, &rtc), 0);
	do {
		before = host_seconds();
		tm.tm_sec = bcd(cmos(0));
		tm.tm_min = bcd(cmos(2));
		tm.tm_hour = bcd(cmos(4));
		tm.tm_mday = bcd(cmos(7));
		tm.tm_mon = bcd(cmos(8)) - 1;
		tm.tm_year = bcd(cmos(9)) + bcd(cmos(0x32)) * 100 - 1900;
		after = host_seconds();
	} while (before != after);
	ck_assert_int_eq(timegm(&tm), before);
}
END_TEST

START_TEST(rtc_formats)
{
	clock_nsec = INT64_C(1700000000) * 1000000000; /* 2023-11-14 22:13:20 */
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	ck_assert_uint_eq(cmos(0x0b), 0x02);
	ck_assert_uint_eq(cmos(0x0d), 0x80);
	ck_assert_uint_eq(cmos(4), 0x22);
	cmos_set(0x0b, 0x06);
	ck_assert_uint_eq(cmos(4), 22);
	ck_assert_uint_eq(cmos(9), 23);
	cmos_set(0x0b, 0x00);
	ck_assert_uint_eq(cmos(4), 0x90); /* 10 in the afternoon */
	clock_nsec += INT64_C(2) * 3600 * 1000000000;
	ck_assert_uint_eq(cmos(4), 0x12); /* midnight */
	clock_nsec += INT64_C(12) * 3600 * 1000000000;
	ck_assert_uint_eq(cmos(4), 0x92);
	cmos_set(0x0b, 0x04);
	ck_assert_uint_eq(cmos(4), 0x8c);
}
END_TEST

START_TEST(rtc_update_in_progress)
{
	int64_t second = INT64_C(1700000000) * 1000000000;

	clock_nsec = second;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	clock_nsec = second + 999755000;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	clock_nsec = second + 999757000;
	ck_assert_uint_eq(cmos(0x0a), 0xa6);
	ck_assert_uint_eq(cmos(0), 0x20); /* not updated yet */
	clock_nsec = second + 1000000000;
	ck_assert_uint_eq(cmos(0x0a), 0x26);
	ck_assert_uint_eq(cmos(0), 0x21);
	cmos_set(0x0a, 0xff); /* UIP is read-only */
	ck_assert_uint_eq(cmos(0x0a), 0x7f);
}
END_TEST

/* mc146818_set_time() of Linux 6.1: SET, divider reset, registers, and both back. */
static void set_as_linux_does(const uint8_t values[8])
{
	static const uint8_t regs[8] = { 0x32, 9, 8, 7, 6, 4, 2, 0 };

	cmos_set(0x0b, cmos(0x0b) | 0x80);
	cmos_set(0x0a, 0x76);
	for (int i = 0; i < 8; i++)
		cmos_set(regs[i], values[i]);
	cmos_set(0x0b, cmos(0x0b) & 0x7f);
	cmos_set(0x0a, 0x26);
}

START_TEST(rtc_set_by_the_guest)
{
	static const uint8_t values[8] = { 0x20, 0x38, 0x01, 0x19, 0x03, 0x03, 0x14, 0x07 };
	int64_t at_set = INT64_C(1700000000) * 1000000000 + 123456000;

	clock_nsec = at_set;
	set_as_linux_does(values); /* 2038-01-19 03:14:07 */
	expect_time(INT64_C(0x7fffffff));
	/* The first update comes half a second after the divider runs again. */
	clock_nsec = at_set + 499000000;
	expect_time(INT64_C(0x7fffffff));
	clock_nsec = at_set + 500000000;
	expect_time(INT64_C(0x80000000));
	clock_nsec = at_set + INT64_C(86400) * 1000000000;
	expect_time(INT64_C(0x7fffffff) + 86400);
}
END_TEST

START_TEST(rtc_stands_still_while_set)
{
	clock_nsec = INT64_C(1700000000) * 1000000000;
	cmos_set(0x0b, 0x82);
	clock_nsec += INT64_C(5) * 1000000000;
	expect_time(1700000000);
	cmos_set(2, 0x59);
	ck_assert_uint_eq(cmos(2), 0x59);
	cmos_set(0x0b, 0x02);
	expect_time(1700000000 + 46 * 60);
	clock_nsec += INT64_C(5) * 1000000000;
	expect_time(1700000000 + 46 * 60 + 5);
}
END_TEST

START_TEST(rtc_set_while_running)
{
	clock_nsec = INT64_C(1700000000) * 1000000000 + 700000000;
	cmos_set(0, 0x30);
	expect_time(1700000010);
	clock_nsec += 300000000; /* the phase within the second stays */
	expect_time(1700000011);
}
END_TEST

/* Whatever the guest writes, the clock goes on and shows a date that exists. */
START_TEST(rtc_impossible_dates)
{
	unsigned int random = 1;

	clock_nsec = INT64_C(1700000000) * 1000000000;
	for (int i = 0; i < 20000; i++) {
		uint8_t reg, value;

		random = random * 1103515245 + 12345;
		reg = (uint8_t)(random >> 16);
		value = (uint8_t)(random >> 8);
		cmos_set(i % 3 ? reg % 16 : reg, value);
		clock_nsec += 12345678;
		cmos(reg);
	}
	cmos_set(0x0a, 0x26);
	cmos_set(0x0b, 0x02);
	ck_assert_int_lt(bcd(cmos(0)), 60);
	ck_assert_int_lt(bcd(cmos(2)), 60);
	ck_assert_int_lt(bcd(cmos(4)), 24);
	ck_assert_int_le(bcd(cmos(7)), 31);
	ck_assert_int_ge(bcd(cmos(8)), 1);
	ck_assert_int_le(bcd(cmos(8)), 12);
}
END_TEST

START_TEST(rtc_other_registers)
{
	cmos_set(0x0c, 0xff);
	cmos_set(0x0d, 0);
	ck_assert_uint_eq(cmos(0x0c), 0);
	ck_assert_uint_eq(cmos(0x0d), 0x80);
	cmos_set(0x7f, 0xab);
	ck_assert_uint_eq(cmos(0xff), 0xab); /* the NMI mask is no part of the index */
	ck_assert_uint_eq(in(0x70), 0xff);
	ck_assert_uint_eq(cmos(0x10), 0); /* no floppy disks */
}
END_TEST

/* i8042 */

static struct vmm_i8042 *i8042;

static void on_reset(void *userdata)
{
	n_calls++;
}

static void setup_i8042(void)
{
	static const struct vmm_i8042_ops ops = { .reset = on_reset };
	struct vmm_i8042_config config = { .irq = { .ops = &irq_ops }, .ops = &ops };

	setup();
	config.bus = bus;
	ck_assert_int_eq(vmm_i8042_new(&config, &i8042), 0);
}

static void teardown_i8042(void)
{
	i8042 = vmm_i8042_free(i8042);
	teardown();
}

/* As a driver does it: waits for the output buffer, here without patience. */
static uint8_t kbd_read(void)
{
	ck_assert_uint_eq(in(0x64) & 0x01, 1);
	return in(0x60);
}

static void kbd_expect_none(void)
{
	ck_assert_uint_eq(in(0x64) & 0x01, 0);
}

START_TEST(i8042_reset_pulse)
{
	ck_assert_uint_eq(in(0x64) & 0x02, 0); /* kb_wait() of Linux returns at once */
	out(0x64, 0xfe);
	ck_assert_uint_eq(n_calls, 1);
	out(0x64, 0xff); /* pulses nothing */
	out(0x64, 0xd1);
	out(0x60, 0x03); /* A20 on, no reset */
	ck_assert_uint_eq(n_calls, 1);
	out(0x64, 0xd1);
	out(0x60, 0x02);
	ck_assert_uint_eq(n_calls, 2);
}
END_TEST

/* The controller part of i8042_probe() in Linux 6.1. */
START_TEST(i8042_probe_of_linux)
{
	uint8_t ctr;

	kbd_expect_none();
	out(0x64, 0xaa);
	ck_assert_uint_eq(kbd_read(), 0x55);
	out(0x64, 0x20);
	ctr = kbd_read();
	ck_assert_uint_eq(ctr & 0x40, 0x40);
	ck_assert_uint_eq(in(0x64) & 0x10, 0x10); /* not locked */
	out(0x64, 0x60);
	out(0x60, (uint8_t)((ctr | 0x10) & ~0x01));
	kbd_expect_none();
	/* No second port: the loop test is answered from the wrong one, the line test fails. */
	out(0x64, 0xd3);
	out(0x60, 0x5a);
	ck_assert_uint_eq(in(0x64) & 0x21, 0x01);
	ck_assert_uint_ne(in(0x60), 0x5a);
	out(0x64, 0xa9);
	ck_assert_uint_eq(kbd_read(), 0x01);
	out(0x64, 0xab);
	ck_assert_uint_eq(kbd_read(), 0x00);
	out(0x64, 0xd0);
	ck_assert_uint_eq(kbd_read() & 0x03, 0x03);
	ck_assert_uint_eq(n_calls, 0);
}
END_TEST

static void kbd_command(uint8_t command)
{
	out(0x60, command);
	ck_assert_uint_eq(kbd_read(), 0xfa);
}

/* What the driver of the keyboard asks, each with its answer. */
START_TEST(i8042_keyboard_answers)
{
	out(0x64, 0xae);
	kbd_command(0xf2);
	ck_assert_uint_eq(kbd_read(), 0xab);
	ck_assert_uint_eq(kbd_read(), 0x41);
	kbd_command(0xff);
	ck_assert_uint_eq(kbd_read(), 0xaa);
	kbd_command(0xed);
	kbd_command(0x07);
	kbd_command(0xf3);
	kbd_command(0x00);
	kbd_command(0xf0);
	kbd_command(0x02);
	kbd_command(0xf0);
	kbd_command(0x00);
	ck_assert_uint_eq(kbd_read(), 0x41);
	kbd_command(0xf5);
	kbd_command(0xf6);
	kbd_command(0xf4);
	out(0x60, 0xee);
	ck_assert_uint_eq(kbd_read(), 0xee);
	out(0x60, 0x13);
	ck_assert_uint_eq(kbd_read(), 0xfe);
	kbd_expect_none();
	out(0x64, 0x60);
	out(0x60, 0x05); /* no translation */
	kbd_command(0xf2);
	ck_assert_uint_eq(kbd_read(), 0xab);
	ck_assert_uint_eq(kbd_read(), 0x83);
}
END_TEST

START_TEST(i8042_ctrl_alt_del_by_interrupt)
{
	static const uint8_t codes[] = { 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d };

	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), -ENOTCONN);
	kbd_command(0xf4);
	out(0x64, 0x60);
	out(0x60, 0x45);
	ck_assert_uint_eq(n_edges, 0);
	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), 0);
	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), -EAGAIN);
	/* One edge, one byte. */
	for (unsigned int i = 0; i < sizeof(codes); i++) {
		ck_assert_uint_eq(n_edges, i + 1);
		ck_assert_uint_eq(kbd_read(), codes[i]);
	}
	ck_assert_uint_eq(n_edges, sizeof(codes));
	ck_assert(!level);
	kbd_expect_none();
	out(0x64, 0xad); /* keyboard off */
	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), -ENOTCONN);
	out(0x64, 0xae);
	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), 0);
	out(0x64, 0xad); /* holds back what is in the queue */
	ck_assert(!level);
	kbd_expect_none();
	out(0x64, 0xae);
	ck_assert_uint_eq(kbd_read(), 0x1d);
}
END_TEST

START_TEST(i8042_ctrl_alt_del_in_set_2)
{
	static const uint8_t codes[] = { 0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0,
		0x14 };

	out(0x64, 0x60);
	out(0x60, 0x05);
	kbd_command(0xf4);
	ck_assert_int_eq(vmm_i8042_ctrl_alt_del(i8042), 0);
	for (unsigned int i = 0; i < sizeof(codes); i++)
		ck_assert_uint_eq(kbd_read(), codes[i]);
}
END_TEST

START_TEST(i8042_queue_is_bounded)
{
	int n = 0;

	for (int i = 0; i < 1000; i++)
		out(0x60, 0xee);
	while (in(0x64) & 1) {
		ck_assert_uint_eq(in(0x60), 0xee);
		n++;
	}
	ck_assert_int_eq(n, 32);
	ck_assert_uint_eq(in(0x60), 0xee); /* empty: the last byte again */
}
END_TEST

START_TEST(i8042_any_bytes)
{
	unsigned int random = 1;

	for (int i = 0; i < 100000; i++) {
		random = random * 1103515245 + 12345;
		if (random & 0x10000)
			out(random & 0x20000 ? 0x60 : 0x64, (uint8_t)(random >> 20));
		else
			in(random & 0x20000 ? 0x60 : 0x64);
		if ((random & 0xc0000) == 0)
			vmm_i8042_ctrl_alt_del(i8042);
	}
	/* It still works. */
	out(0x64, 0xad);
	out(0x64, 0xaa);
	ck_assert_uint_eq(kbd_read(), 0x55);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("platform");
	TCase *tcase = unit_case(suite, "ports");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, pvpanic_reports_what_it_knows);
	tcase_add_test(tcase, debug_port_passes_bytes_on);
	tcase_add_test(tcase, a_taken_port_is_an_error);

	tcase = unit_case(suite, "rtc");
	tcase_add_checked_fixture(tcase, setup_rtc, teardown_rtc);
	tcase_add_test(tcase, rtc_shows_each_date);
	tcase_add_test(tcase, rtc_follows_the_host_by_default);
	tcase_add_test(tcase, rtc_formats);
	tcase_add_test(tcase, rtc_update_in_progress);
	tcase_add_test(tcase, rtc_set_by_the_guest);
	tcase_add_test(tcase, rtc_stands_still_while_set);
	tcase_add_test(tcase, rtc_set_while_running);
	tcase_add_test(tcase, rtc_impossible_dates);
	tcase_add_test(tcase, rtc_other_registers);

	tcase = unit_case(suite, "i8042");
	tcase_add_checked_fixture(tcase, setup_i8042, teardown_i8042);
	tcase_add_test(tcase, i8042_reset_pulse);
	tcase_add_test(tcase, i8042_probe_of_linux);
	tcase_add_test(tcase, i8042_keyboard_answers);
	tcase_add_test(tcase, i8042_ctrl_alt_del_by_interrupt);
	tcase_add_test(tcase, i8042_ctrl_alt_del_in_set_2);
	tcase_add_test(tcase, i8042_queue_is_bounded);
	tcase_add_test(tcase, i8042_any_bytes);

	add_generation_tests(suite);
	return unit_run(suite);
}
