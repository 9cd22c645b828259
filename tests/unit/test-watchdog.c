/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include <vmmcore/watchdog.h>

#include "base/util.h"
#include "unit.h"

#define ECAM UINT64_C(0xe0000000)
#define WINDOW UINT64_C(0xc0000000)
#define SLOT 3

static struct vmm_bus *bus;
static struct vmm_pci_bus *pci;
static struct vmm_watchdog *watchdog;
static uint64_t bar;
static int n_expired;

static void on_expired(void *userdata)
{
	n_expired++;
}

static const struct vmm_watchdog_ops ops = { .expired = on_expired };

static uint32_t read_at(uint64_t address, size_t length)
{
	uint32_t value = 0;

	vmm_bus_read(bus, address, &value, length);
	return value;
}

static void write_at(uint64_t address, uint32_t value, size_t length)
{
	vmm_bus_write(bus, address, &value, length);
}

static uint64_t config_at(unsigned int offset)
{
	return ECAM + SLOT * 0x8000 + offset;
}

static void make(bool has_expired)
{
	struct vmm_watchdog_config config = {
		.bus = pci,
		.slot = SLOT,
		.has_expired = has_expired,
		.ops = &ops,
	};

	ck_assert_int_eq(vmm_watchdog_new(&config, &watchdog), 0);
	ck_assert_uint_eq(vmm_watchdog_slot(watchdog), SLOT);
	write_at(config_at(4), 2, 2); /* memory space on */
	bar = read_at(config_at(0x10), 4);
	ck_assert_uint_ge(bar, WINDOW);
}

static void setup(void)
{
	struct vmm_pci_bus_config config = {
		.ecam_gpa = ECAM,
		.window32_gpa = WINDOW,
		.window32_bytes = 0x1000000,
	};

	ck_assert_int_eq(vmm_bus_new(&bus), 0);
	config.mmio = bus;
	ck_assert_int_eq(vmm_pci_bus_new(&config, &pci), 0);
	make(false);
}

static void teardown(void)
{
	watchdog = vmm_watchdog_free(watchdog);
	pci = vmm_pci_bus_free(pci);
	bus = vmm_bus_free(bus);
}

static void unlock(void)
{
	write_at(bar + 0x0c, 0x80, 2);
	write_at(bar + 0x0c, 0x86, 2);
}

static void set(unsigned int offset, uint32_t value, size_t length)
{
	unlock();
	write_at(bar + offset, value, length);
}

static void reload(void)
{
	set(0x0c, 1 << 8, 2);
}

/* As the driver's init function of Linux 6.1 does it, with stages of so many milliseconds. */
static void start(uint32_t msec, uint8_t lock)
{
	write_at(config_at(0x60), 0x0003, 2);
	write_at(config_at(0x68), 0x00, 1);
	set(0x00, msec, 4);
	set(0x04, msec, 4);
	reload();
	write_at(config_at(0x68), lock, 1);
}

/* Runs the loop of a monitor for so long. */
static void run(int msec)
{
	struct pollfd pollfd = { .fd = vmm_watchdog_fd(watchdog), .events = POLLIN };
	uint64_t end = vmm_base_now_nsec() + (uint64_t)msec * 1000000, now;

	while ((now = vmm_base_now_nsec()) < end) {
		if (poll(&pollfd, 1, (int)((end - now) / 1000000) + 1) > 0)
			ck_assert_int_eq(vmm_watchdog_process(watchdog), 0);
	}
}

START_TEST(is_found_by_its_driver)
{
	ck_assert_uint_eq(read_at(config_at(0), 4), 0x25ab8086);
	ck_assert_uint_eq(read_at(config_at(8), 4) >> 8, 0x088000);
	ck_assert_uint_eq(read_at(config_at(0x60), 2), 0);
	ck_assert_uint_eq(read_at(config_at(0x68), 1), 0);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 0);
	write_at(config_at(0x60), 0xffff, 2);
	ck_assert_uint_eq(read_at(config_at(0x60), 2), 0x27);
}
END_TEST

START_TEST(expires_once_after_two_stages)
{
	start(400, 2);
	run(100);
	ck_assert_int_eq(n_expired, 0);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 0);
	run(1000);
	ck_assert_int_eq(n_expired, 1);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 1 << 9);
	set(0x0c, 1 << 9, 2);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 0);
	run(100);
	ck_assert_int_eq(n_expired, 1);
}
END_TEST

START_TEST(reload_keeps_it_quiet)
{
	start(500, 2);
	for (int i = 0; i < 10; i++) {
		run(10);
		reload();
	}
	ck_assert_int_eq(n_expired, 0);
	/* A reload that was not unlocked is none. */
	set(0x00, 5, 4);
	set(0x04, 5, 4);
	write_at(bar + 0x0c, 1 << 8, 2);
	run(50);
	ck_assert_int_eq(n_expired, 0);
	reload();
	run(200);
	ck_assert_int_eq(n_expired, 1);
}
END_TEST

START_TEST(unlock_sequence)
{
	write_at(bar, 7, 4);
	ck_assert_uint_eq(read_at(bar, 4), 0xfffff);
	write_at(bar + 0x0c, 0x86, 2);
	write_at(bar + 0x0c, 0x80, 2);
	write_at(bar, 7, 4);
	ck_assert_uint_eq(read_at(bar, 4), 0xfffff);
	write_at(bar + 0x0c, 0x80, 2);
	write_at(bar + 0x04, 0x86, 2);
	write_at(bar, 7, 4);
	ck_assert_uint_eq(read_at(bar, 4), 0xfffff);
	set(0, 0xfff12345, 4);
	ck_assert_uint_eq(read_at(bar, 4), 0x12345);
	write_at(bar, 7, 4); /* locked again */
	ck_assert_uint_eq(read_at(bar, 4), 0x12345);
}
END_TEST

START_TEST(locked_is_locked)
{
	start(20, 3);
	write_at(config_at(0x68), 0, 1);
	ck_assert_uint_eq(read_at(config_at(0x68), 1), 3);
	write_at(config_at(0x68), 7, 1);
	ck_assert_uint_eq(read_at(config_at(0x68), 1), 3);
	run(200);
	ck_assert_int_eq(n_expired, 1);
}
END_TEST

START_TEST(disabled_stops)
{
	start(10, 2);
	write_at(config_at(0x68), 0, 1);
	reload();
	run(100);
	ck_assert_int_eq(n_expired, 0);
}
END_TEST

START_TEST(no_reboot_when_its_output_is_off)
{
	start(5, 2);
	write_at(config_at(0x60), 0x23, 2);
	run(100);
	ck_assert_int_eq(n_expired, 0);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 0);
}
END_TEST

/* Stages of no length in free running mode: bounded by the shortest stage there is. */
START_TEST(free_running_is_bounded)
{
	start(0, 6);
	write_at(config_at(0x60), 0x07, 2);
	run(100);
	ck_assert_int_ge(n_expired, 2);
	ck_assert_int_le(n_expired, 50);
}
END_TEST

START_TEST(stands_still_while_paused)
{
	start(300, 2);
	ck_assert_int_eq(vmm_watchdog_pause(watchdog), 0);
	ck_assert_int_eq(vmm_watchdog_pause(watchdog), 0);
	run(700);
	ck_assert_int_eq(vmm_watchdog_process(watchdog), 0);
	ck_assert_int_eq(n_expired, 0);
	ck_assert_int_eq(vmm_watchdog_resume(watchdog), 0);
	run(100);
	ck_assert_int_eq(n_expired, 0);
	run(1000);
	ck_assert_int_eq(n_expired, 1);
}
END_TEST

START_TEST(stray_accesses)
{
	ck_assert_uint_eq(read_at(bar + 2, 2), 0xffff);
	ck_assert_uint_eq(read_at(bar + 8, 4), 0);
	write_at(bar + 8, UINT32_MAX, 4);
	write_at(bar + 1, 0x80, 1);
	ck_assert_uint_eq(read_at(bar, 2), 0xffff);
	ck_assert_uint_eq(read_at(bar, 4), 0xfffff);
}
END_TEST

START_TEST(tells_why_the_guest_was_reset)
{
	vmm_watchdog_free(watchdog);
	make(true);
	ck_assert_uint_eq(read_at(bar + 0x0c, 2), 1 << 9);
	ck_assert_ptr_null(vmm_watchdog_free(NULL));
}
END_TEST

START_TEST(a_taken_slot_is_an_error)
{
	struct vmm_watchdog_config config = { .bus = pci, .slot = SLOT };
	struct vmm_watchdog *other = NULL;

	ck_assert_int_eq(vmm_watchdog_new(&config, &other), -EBUSY);
	config.bus = NULL;
	ck_assert_int_eq(vmm_watchdog_new(&config, &other), -EINVAL);
	ck_assert_ptr_null(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watchdog");
	TCase *tcase = unit_case(suite, "watchdog");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, is_found_by_its_driver);
	tcase_add_test(tcase, expires_once_after_two_stages);
	tcase_add_test(tcase, reload_keeps_it_quiet);
	tcase_add_test(tcase, unlock_sequence);
	tcase_add_test(tcase, locked_is_locked);
	tcase_add_test(tcase, disabled_stops);
	tcase_add_test(tcase, no_reboot_when_its_output_is_off);
	tcase_add_test(tcase, free_running_is_bounded);
	tcase_add_test(tcase, stands_still_while_paused);
	tcase_add_test(tcase, stray_accesses);
	tcase_add_test(tcase, tells_why_the_guest_was_reset);
	tcase_add_test(tcase, a_taken_slot_is_an_error);
	return unit_run(suite);
}
