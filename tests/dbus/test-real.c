/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: the shipped worker with bare-metal guests under vmmd, on this host's /dev/kvm: what a guest
 * does is what clients see.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "guests.h"
#include "harness.h"
#include "unit.h"

#define STRING(v) DBUS_TYPE_STRING, &(v)
#define U64(v) DBUS_TYPE_UINT64, &(v)
#define FD(v) DBUS_TYPE_UNIX_FD, &(v)
#define END DBUS_TYPE_INVALID

static const dbus_uint64_t none;
static const char *const empty = "";

/* A machine NAME whose kernel is guest. */
static void put_guest(const char *name, const struct guest *guest, const char *more)
{
	CLEANUP(free_p) char *path = NULL, *file = NULL, *text = NULL;
	char buffer[65536];
	int in = guest_open(guest), out;
	ssize_t n;

	ck_assert_int_gt(asprintf(&path, "%s/%s.elf", env_root, name), 0);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(out, 0);
	n = pread(in, buffer, sizeof(buffer), 0);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(vmm_base_write_full(out, buffer, (size_t)n), 0);
	close(in);
	close(out);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(
		asprintf(&text, "[Machine]\nMemory=16M\n[Boot]\nKernel=%s\n%s", path, more), 0);
	put_file(file, text);
}

static DBusConnection *open_watching(void)
{
	DBusConnection *bus = bus_open();

	watch_signals(bus);
	return bus;
}

/* What was printed before is replayed. */
static int open_console(DBusConnection *bus, const char *name)
{
	dbus_uint64_t flags = 4;
	DBusMessage *reply =
		call(bus, MANAGER, MANAGER_I, "OpenMachineConsole", STRING(name), U64(flags), END);
	const char *path;
	int fd;

	ck_assert(dbus_message_get_args(reply, NULL, FD(fd), STRING(path), END));
	dbus_message_unref(reply);
	return fd;
}

static void expect_text(int fd, const char *text)
{
	char seen[4096] = "";
	size_t n = 0;

	while (!strstr(seen, text)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		ck_assert_msg(poll(&p, 1, 10000) == 1, "not seen: %s; but: %s", text, seen);
		got = read(fd, seen + n, sizeof(seen) - 1 - n);
		ck_assert_msg(got > 0, "ended before %s: %s", text, seen);
		n += (size_t)got;
		seen[n] = 0;
	}
}

START_TEST(test_console_and_poweroff)
{
	DBusConnection *bus = open_watching();
	struct guest guest = {};
	char path[64];
	struct stat st;
	int fd;

	guest_print(&guest, "hello\n");
	guest_echo(&guest);
	guest_poweroff(&guest);
	put_guest("echo", &guest, "");
	start_machine(bus, "echo", "done");
	expect_string(bus, "echo", "GuestState", "running");
	/* Not root, and not another machine's user. */
	snprintf(path, sizeof(path), "/proc/%u", get_uint(bus, "echo", "Leader"));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_ge(st.st_uid, 61184);
	ck_assert_uint_le(st.st_uid, 65519);
	fd = open_console(bus, "echo");
	expect_text(fd, "hello");
	ck_assert_int_eq(write(fd, "ping", 4), 4);
	expect_text(fd, "ping");
	/* A byte of 0, and it powers off. */
	ck_assert_int_eq(write(fd, "", 1), 1);
	wait_state(bus, "echo", "inactive");
	expect_string(bus, "echo", "Result", "success");
	close(fd);
	bus_close(bus);
}
END_TEST

/* What GetMachineStats says of key; 0 where it says nothing. */
static dbus_uint64_t get_stat(DBusConnection *bus, const char *name, const char *key)
{
	DBusMessage *reply = call(bus, MANAGER, MANAGER_I, "GetMachineStats", STRING(name), END);
	DBusMessageIter iter, array, entry;
	dbus_uint64_t number = 0;

	ck_assert_str_eq(dbus_message_get_signature(reply), "a{st}");
	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &array);
	for (; dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_DICT_ENTRY;
		dbus_message_iter_next(&array)) {
		const char *found;

		dbus_message_iter_recurse(&array, &entry);
		dbus_message_iter_get_basic(&entry, &found);
		dbus_message_iter_next(&entry);
		if (strcmp(found, key) == 0)
			dbus_message_iter_get_basic(&entry, &number);
	}
	dbus_message_unref(reply);
	return number;
}

START_TEST(test_stats)
{
	DBusConnection *bus = open_watching();
	dbus_uint64_t exits, cpu;
	struct guest guest = {};
	const char *name = "count", *nobody = "nobody";

	guest_print_for_ever(&guest, 'x');
	put_guest("count", &guest, "");
	call_fails(bus, "org.vmmd1.MachineNotRunning", NULL, MANAGER, MANAGER_I, "GetMachineStats",
		STRING(name), END);
	call_fails(bus, "org.vmmd1.NoSuchMachine", NULL, MANAGER, MANAGER_I, "GetMachineStats",
		STRING(nobody), END);
	start_machine(bus, "count", "done");
	exits = get_stat(bus, "count", "Exits");
	cpu = get_stat(bus, "count", "CPUUsageNSec");
	/* Each letter is an exit; a busy host may take its time. */
	for (int i = 0; i < 200 && get_stat(bus, "count", "VCPU0Exits") <= exits; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
	ck_assert_uint_gt(get_stat(bus, "count", "VCPU0Exits"), exits);
	ck_assert_uint_gt(get_stat(bus, "count", "CPUUsageNSec"), cpu);
	ck_assert_uint_gt(get_stat(bus, "count", "MemoryResident"), 64 << 10);
	ck_assert_uint_eq(get_stat(bus, "count", "VCPU1Exits"), 0);
	stop_machine(bus, "count", "force", "done");
	bus_close(bus);
}
END_TEST

START_TEST(test_stop_and_pause)
{
	DBusConnection *bus = open_watching();
	struct guest guest = {};
	const char *name = "button";

	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	put_guest("button", &guest, "");
	start_machine(bus, "button", "done");
	call_ok(bus, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	wait_state(bus, "button", "paused");
	call_ok(bus, MANAGER, MANAGER_I, "ResumeMachine", STRING(name), U64(none), END);
	wait_state(bus, "button", "running");
	stop_machine(bus, "button", "auto", "done");
	start_machine(bus, "button", "done");
	stop_machine(bus, "button", "acpi", "done");
	start_machine(bus, "button", "done");
	stop_machine(bus, "button", "force", "done");
	expect_string(bus, "button", "State", "inactive");
	expect_string(bus, "button", "Result", "success");
	bus_close(bus);
}
END_TEST

START_TEST(test_guest_reboots)
{
	DBusConnection *bus = open_watching();
	dbus_uint32_t leader;
	struct guest guest = {};
	int fd;

	guest_print(&guest, "up\n");
	guest_echo(&guest);
	guest_reset(&guest);
	put_guest("reset", &guest, "");
	start_machine(bus, "reset", "done");
	leader = get_uint(bus, "reset", "Leader");
	fd = open_console(bus, "reset");
	expect_text(fd, "up");
	ck_assert_int_eq(write(fd, "", 1), 1);
	for (int i = 0; i < 500 && get_uint(bus, "reset", "NRestarts") == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	ck_assert_uint_eq(get_uint(bus, "reset", "NRestarts"), 1);
	wait_state(bus, "reset", "running");
	ck_assert_uint_ne(get_uint(bus, "reset", "Leader"), leader);
	stop_machine(bus, "reset", "force", "done");
	close(fd);
	bus_close(bus);
}
END_TEST

START_TEST(test_crashes)
{
	DBusConnection *bus = open_watching();
	struct guest panic = {}, triple = {};
	const char *names[] = { "panic", "triple" };
	const char *results[] = { "guest-panic", "triple-fault" };

	guest_panic(&panic);
	guest_triple_fault(&triple);
	put_guest("panic", &panic, "");
	put_guest("triple", &triple, "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		call_ok(bus, MANAGER, MANAGER_I, "StartMachine", STRING(names[i]), STRING(empty),
			U64(none), END);
		wait_state(bus, names[i], "failed");
		ck_assert_int_eq(get_int(bus, names[i], "ExitStatus"), 70);
		expect_string(bus, names[i], "Result", results[i]);
	}
	bus_close(bus);
}
END_TEST

/* What only the worker can find wrong comes back with the place where it was written. */
START_TEST(test_bad_kernel)
{
	DBusConnection *bus = open_watching();
	CLEANUP(free_p) char *status = NULL;

	put_machine("nokernel", "", "");
	start_machine(bus, "nokernel", "failed");
	wait_state(bus, "nokernel", "failed");
	expect_string(bus, "nokernel", "Result", "configuration");
	ck_assert_int_eq(get_int(bus, "nokernel", "ExitStatus"), 78);
	status = get_string(bus, "nokernel", "StatusText");
	ck_assert_msg(
		strstr(status, "/etc/vmm/nokernel.vm:5: [Boot] Kernel=: kernel: "), "%s", status);
	bus_close(bus);
}
END_TEST

START_TEST(test_nothing_left)
{
	expect_nothing_left();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-real");
	TCase *tcase = unit_case(suite, "real");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon and /dev/kvm");
		return 77;
	}
	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_console_and_poweroff);
	tcase_add_test(tcase, test_stats);
	tcase_add_test(tcase, test_stop_and_pause);
	tcase_add_test(tcase, test_guest_reboots);
	tcase_add_test(tcase, test_crashes);
	tcase_add_test(tcase, test_bad_kernel);
	tcase_add_test(tcase, test_nothing_left);
	return unit_run(suite);
}
