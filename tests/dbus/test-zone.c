/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: machines in a zone, on this host's /dev/kvm and in a network namespace of the test's own:
 * what one guest sends the other gets (tests/perf/guest/net.c), and the bridge goes with the last.
 */
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "harness.h"
#include "unit.h"

static DBusConnection *bus;

static void setup(void)
{
	/* Each test is a process of its own; the bus and vmmd are its children. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	env_start();
	bus = bus_open();
	watch_signals(bus);
}

static void teardown(void)
{
	bus_close(bus);
	expect_nothing_left();
	env_stop();
}

static void put_guest(const char *name, const char *zone, const char *options)
{
	CLEANUP(free_p) char *file = NULL, *text = NULL;

	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nMemory=64M\n[Boot]\nKernel=%s\n"
				 "CommandLine=bench=net %s\n[Network]\nName=lan\nZone=%s\n",
				 getenv("BENCH_ELF"), options, zone),
		0);
	put_file(file, text);
}

/* Within five seconds, which a child takes it away in. */
static bool ends(const char *link)
{
	for (int i = 0; i < 100; i++) {
		if (if_nametoindex(link) == 0)
			return true;
		usleep(50000);
	}
	return false;
}

START_TEST(test_see_each_other)
{
	int heard, alone;

	/* More than a host says by itself on a new bridge. */
	put_guest("hears", "lab", "op=receive n=2000");
	put_guest("talks", "lab", "op=send to=all n=1000000000");
	put_guest("alone", "other", "op=receive n=2000");
	start_machine(bus, "hears", "done");
	start_machine(bus, "alone", "done");
	heard = open_console(bus, "hears", CONSOLE_REPLAY);
	alone = open_console(bus, "alone", CONSOLE_REPLAY);
	expect_text(heard, "BEGIN");
	expect_text(alone, "BEGIN");
	start_machine(bus, "talks", "done");
	expect_text(heard, "END n=");
	ck_assert_uint_ne(if_nametoindex("vz-lab"), 0);

	stop_machine(bus, "hears", "force", "done");
	close(heard);
	/* It stays for the other, and lets the first back in. */
	start_machine(bus, "hears", "done");
	heard = open_console(bus, "hears", CONSOLE_REPLAY);
	expect_text(heard, "END n=");
	close(heard);
	stop_machine(bus, "talks", "force", "done");
	stop_machine(bus, "hears", "force", "done");
	ck_assert(ends("vz-lab"));
	ck_assert_uint_ne(if_nametoindex("vz-other"), 0);
	stop_machine(bus, "alone", "force", "done");
	close(alone);
	ck_assert(ends("vz-other"));
}
END_TEST

/* Nobody is there to see the last machine end; the next vmmd does. */
START_TEST(test_killed)
{
	dbus_uint32_t leader;

	put_guest("mortal", "lab", "op=receive n=2000");
	start_machine(bus, "mortal", "done");
	leader = get_uint(bus, "mortal", "Leader");
	ck_assert_uint_ne(if_nametoindex("vz-lab"), 0);
	env_kill_vmmd();
	kill((pid_t)leader, SIGKILL);
	usleep(300000);
	ck_assert_uint_ne(if_nametoindex("vz-lab"), 0);
	env_start_vmmd();
	ck_assert(ends("vz-lab"));
	/* Its bridge may go first: it is empty. */
	for (int i = 0; i < 100 && file_exists("run/vmmd/machine/mortal"); i++)
		usleep(50000);
	ck_assert(!file_exists("run/vmmd/machine/mortal"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-zone");
	TCase *tcase = unit_case(suite, "zone");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0 ||
		access("/dev/net/tun", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon, /dev/kvm and /dev/net/tun");
		return 77;
	}
	env_worker = getenv("VMMD_WORKER") ? getenv("VMMD_WORKER") : REAL_WORKER;
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_see_each_other);
	tcase_add_test(tcase, test_killed);
	return unit_run(suite);
}
