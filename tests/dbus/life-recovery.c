/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dbus: kill -9 of vmmd under machines. */
#include "life.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "harness.h"

/* How it ended, nobody has seen. */
static void wait_ended(DBusConnection *bus, const char *name)
{
	for (int i = 0; i < 1000; i++) {
		CLEANUP(free_p) char *state = get_string(bus, name, "State");

		if (strcmp(state, "inactive") == 0 || strcmp(state, "failed") == 0)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	ck_abort_msg("%s has not ended", name);
}

static void check_recovery(void)
{
	DBusConnection *bus = bus_open_watching();
	dbus_uint32_t leader;
	uint64_t began, since;
	int console;

	put_machine("survivor", "", "[Machine]\nCPUs=2\n");
	put_machine("mortal", "", "");
	start_machine(bus, "survivor", "done");
	start_machine(bus, "mortal", "done");
	leader = get_uint(bus, "survivor", "Leader");
	since = get_u64(bus, "survivor", "Timestamp");
	console = open_console(bus, "survivor", 0);
	expect_text(console, "console of survivor\n");

	env_kill_vmmd();
	bus_close(bus);
	ck_assert_int_eq(write(console, "still here", 10), 10);
	expect_text(console, "still here");
	/* One ends while nobody looks. */
	put_machine("survivor", "changed", "[Machine]\nCPUs=2\n");
	env_start_vmmd();
	began = vmm_base_now_nsec();
	bus = bus_open_watching();
	wait_state(bus, "survivor", "running");
	ck_assert_uint_eq(get_uint(bus, "survivor", "Leader"), leader);
	ck_assert_uint_eq(get_u64(bus, "survivor", "Timestamp"), since);
	ck_assert_uint_eq(get_uint(bus, "survivor", "CPUs"), 2);
	ck_assert(get_bool(bus, "survivor", "NeedsRestart"));
	wait_state(bus, "mortal", "running");
	ck_assert_uint_lt(vmm_base_now_nsec() - began, UINT64_C(1000000000));
	ck_assert_int_eq(write(console, "and on", 6), 6);
	expect_text(console, "and on");

	/* It is steered as before: pause, a reboot though it is no child, the end. */
	call_ok(bus, MANAGER "/machine/survivor", MACHINE_I, "Pause", U64(none), END);
	wait_state(bus, "survivor", "paused");
	call_ok(bus, MANAGER "/machine/survivor", MACHINE_I, "Resume", U64(none), END);
	reboot_machine(bus, "survivor", "auto");
	ck_assert_uint_ne(get_uint(bus, "survivor", "Leader"), leader);
	ck_assert_uint_eq(get_uint(bus, "survivor", "NRestarts"), 1);
	stop_machine(bus, "survivor", "", "done");
	expect_string(bus, "survivor", "Result", "success");

	leader = get_uint(bus, "mortal", "Leader");
	env_kill_vmmd();
	bus_close(bus);
	kill((pid_t)leader, SIGKILL);
	env_start_vmmd();
	bus = bus_open_watching();
	wait_ended(bus, "mortal");
	ck_assert(!file_exists("run/vmmd/machine/mortal"));
	close(console);
	bus_close(bus);
}

START_TEST(test_recovery)
{
	/* An environment of its own, which this process is the parent of. */
	env_start();
	check_recovery();
	expect_nothing_left();
	env_stop();
}
END_TEST

/* Files that are just being opened keep vmmd from nothing; with the sanitizer, nothing leaks. */
START_TEST(test_end_while_opening)
{
	const char *name = "hangs";
	DBusPendingCall *pending;
	DBusConnection *bus;
	DBusMessage *reply;
	int fd;

	env_start();
	bus = bus_open_watching();
	fd = put_hanging_machine(name);
	pending = call_async(bus, MANAGER, MANAGER_I, "VerifyMachine", STRING(name), END);
	expect_string(bus, "hangs", "State", "inactive");
	kill(env_vmmd_pid(), SIGTERM);
	dbus_pending_call_block(pending);
	reply = dbus_pending_call_steal_reply(pending);
	ck_assert(dbus_message_is_error(reply, DBUS_ERROR_NO_REPLY));
	dbus_message_unref(reply);
	dbus_pending_call_unref(pending);
	close(fd);
	bus_close(bus);
	env_stop();
}
END_TEST

void add_recovery_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_recovery);
	tcase_add_test(tcase, test_end_while_opening);
}
