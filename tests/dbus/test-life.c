/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: the life of machines as clients see it, with workers that behave in every way: jobs,
 * states, signals, ends. What they are made from is in life-resources.c, workers that lie in
 * life-hostile.c, and a vmmd that is killed under them in life-recovery.c.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/util.h"
#include "harness.h"
#include "introspect.h"
#include "life.h"
#include "unit.h"

static const char *job_of(DBusMessage *reply)
{
	const char *job;

	ck_assert(dbus_message_get_args(reply, NULL, DBUS_TYPE_OBJECT_PATH, &job, END));
	return job;
}

START_TEST(test_start_pause_stop)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "life";
	DBusMessage *signal;

	put_machine("life", "", "");
	start_machine(bus, "life", "done");
	expect_string(bus, "life", "State", "running");
	expect_string(bus, "life", "GuestState", "running");
	expect_string(bus, "life", "Result", "success");
	ck_assert_uint_gt(get_uint(bus, "life", "Leader"), 1);
	ck_assert_uint_ge(get_manager_uint(bus, "NRunning"), 1);
	/* Once more is no mistake. */
	start_machine(bus, "life", "done");
	call_ok(bus, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	wait_state(bus, "life", "paused");
	call_ok(bus, MANAGER "/machine/life", MACHINE_I, "Resume", U64(none), END);
	wait_state(bus, "life", "running");
	stop_machine(bus, "life", "", "done");
	expect_string(bus, "life", "State", "inactive");
	expect_string(bus, "life", "Result", "success");
	ck_assert_uint_eq(get_uint(bus, "life", "Leader"), 0);
	ck_assert(!file_exists("run/vmmd/machine/life"));
	signal = wait_signal(bus, PROPERTIES_I, "PropertiesChanged");
	dbus_message_unref(signal);
	bus_close(bus);
}
END_TEST

START_TEST(test_ways_to_stop)
{
	static const char *const ways[] = { "auto", "acpi", "cad", "force" };
	DBusConnection *bus = bus_open_watching();

	put_machine("ways", "", "");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		start_machine(bus, "ways", "done");
		stop_machine(bus, "ways", ways[i], "done");
		expect_string(bus, "ways", "State", "inactive");
		expect_string(bus, "ways", "Result", "success");
	}
	bus_close(bus);
}
END_TEST

/* A guest that does not listen: the time that the client gives is the end of it. */
START_TEST(test_stop_timeout)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *result = NULL;
	dbus_uint64_t timeout = 300 * 1000;
	const char *name = "deaf", *how = "auto";
	DBusMessage *reply;

	put_machine("deaf", "deaf", "");
	start_machine(bus, "deaf", "done");
	reply = call(bus, MANAGER, MANAGER_I, "StopMachine", STRING(name), STRING(how),
		U64(timeout), U64(none), END);
	expect_string(bus, "deaf", "State", "stopping");
	result = job_result(bus, job_of(reply));
	ck_assert_str_eq(result, "done");
	expect_string(bus, "deaf", "State", "inactive");
	dbus_message_unref(reply);
	bus_close(bus);
}
END_TEST

START_TEST(test_reboot)
{
	DBusConnection *bus = bus_open_watching();
	dbus_uint32_t first, second;

	put_machine("again", "", "");
	start_machine(bus, "again", "done");
	first = get_uint(bus, "again", "Leader");
	reboot_machine(bus, "again", "auto");
	second = get_uint(bus, "again", "Leader");
	ck_assert_uint_ne(first, second);
	ck_assert_uint_eq(get_uint(bus, "again", "NRestarts"), 1);
	expect_string(bus, "again", "State", "running");
	reboot_machine(bus, "again", "force");
	ck_assert_uint_eq(get_uint(bus, "again", "NRestarts"), 2);
	stop_machine(bus, "again", "force", "done");
	bus_close(bus);
}
END_TEST

/* A reboot reads the file as it is now. */
START_TEST(test_needs_restart)
{
	DBusConnection *bus = bus_open_watching();

	put_machine("changed", "", "[Machine]\nCPUs=1\n");
	start_machine(bus, "changed", "done");
	ck_assert(!get_bool(bus, "changed", "NeedsRestart"));
	put_machine("changed", "", "[Machine]\nCPUs=3\n");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	ck_assert(get_bool(bus, "changed", "NeedsRestart"));
	ck_assert_uint_eq(get_uint(bus, "changed", "CPUs"), 1);
	reboot_machine(bus, "changed", "auto");
	ck_assert(!get_bool(bus, "changed", "NeedsRestart"));
	ck_assert_uint_eq(get_uint(bus, "changed", "CPUs"), 3);
	stop_machine(bus, "changed", "", "done");
	bus_close(bus);
}
END_TEST

static void await_needs_restart(DBusConnection *bus, const char *name, bool expected)
{
	for (int i = 0; i < 100 && get_bool(bus, name, "NeedsRestart") != expected; i++)
		usleep(100 * 1000);
	ck_assert_int_eq(get_bool(bus, name, "NeedsRestart"), expected);
}

/* Drop-ins too, and without a Reload: in directories that come, and that were there. */
START_TEST(test_needs_restart_for_dropins)
{
	DBusConnection *bus = bus_open_watching();

	put_machine("dropped", "", "[Machine]\nCPUs=1\n");
	start_machine(bus, "dropped", "done");
	ck_assert(!get_bool(bus, "dropped", "NeedsRestart"));
	put_file("run/vmm/dropped.vm.d/a.conf", "[Machine]\nCPUs=2\n");
	await_needs_restart(bus, "dropped", true);
	put_file("run/vmm/dropped.vm.d/a.conf", "[Machine]\nCPUs=1\n");
	usleep(700 * 1000);
	reboot_machine(bus, "dropped", "auto");
	await_needs_restart(bus, "dropped", false);
	/* Into the directory that is there already. */
	put_file("run/vmm/dropped.vm.d/b.conf", "[Machine]\nMemory=64M\n");
	await_needs_restart(bus, "dropped", true);
	stop_machine(bus, "dropped", "", "done");
	bus_close(bus);
}
END_TEST

static const struct {
	const char *words;
	const char *state;
	const char *result;
	int status;
} ends[] = {
	{ "exit=0", "inactive", "success", 0 },
	{ "exit=1", "failed", "exit-code", 1 },
	{ "exit=70", "failed", "guest-panic", 70 },
	{ "exit=78", "failed", "configuration", 78 },
	/* Each start is a reboot: the limit ends it. */
	{ "exit=133", "failed", "resources", 133 },
};

START_TEST(test_ends)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "ends";

	put_machine("ends", ends[_i].words, "");
	/* It may have ended before its start is seen to be done. */
	call_ok(bus, MANAGER, MANAGER_I, "StartMachine", STRING(name), STRING(empty), U64(none),
		END);
	wait_state(bus, "ends", ends[_i].state);
	expect_string(bus, "ends", "Result", ends[_i].result);
	ck_assert_int_eq(get_int(bus, "ends", "ExitStatus"), ends[_i].status);
	if (ends[_i].status != 133)
		ck_assert_uint_eq(get_uint(bus, "ends", "NRestarts"), 0);
	else
		ck_assert_uint_lt(get_uint(bus, "ends", "NRestarts"), 20);
	ck_assert(!file_exists("run/vmmd/machine/ends"));
	bus_close(bus);
}
END_TEST

START_TEST(test_kill)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "killed", *whom = "all";
	dbus_int32_t signal = SIGKILL;

	put_machine("killed", "", "");
	start_machine(bus, "killed", "done");
	call_ok(bus, MANAGER, MANAGER_I, "KillMachine", STRING(name), STRING(whom), I32(signal),
		U64(none), END);
	wait_state(bus, "killed", "failed");
	expect_string(bus, "killed", "Result", "signal");
	ck_assert_int_eq(get_int(bus, "killed", "ExitStatus"), -SIGKILL);
	/* It can be started again. */
	start_machine(bus, "killed", "done");
	stop_machine(bus, "killed", "", "done");
	bus_close(bus);
}
END_TEST

START_TEST(test_job)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *path = NULL, *expected = NULL, *actual = NULL;
	CLEANUP(free_p) char *result = NULL, *job = NULL;
	const char *name = "slow", *fail = "fail", *xml;
	char text[8192] = "";
	DBusMessage *reply;
	FILE *f;

	put_machine("slow", "slow", "");
	reply = call(bus, MANAGER, MANAGER_I, "StartMachine", STRING(name), STRING(fail), U64(none),
		END);
	job = strdup(job_of(reply));
	dbus_message_unref(reply);
	expect_string(bus, "slow", "State", "starting");
	call_fails(bus, "org.vmmd1.MachineBusy", NULL, MANAGER, MANAGER_I, "StartMachine",
		STRING(name), STRING(fail), U64(none), END);
	reply = call(bus, MANAGER, MANAGER_I, "ListJobs", END);
	ck_assert_str_eq(dbus_message_get_signature(reply), "a(usssoo)");
	dbus_message_unref(reply);

	ck_assert_int_gt(asprintf(&path, "%s/org.vmmd1.Job.xml", DBUS_INTERFACES), 0);
	f = fopen(path, "r");
	ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, f), 0);
	fclose(f);
	reply = call(bus, job, "org.freedesktop.DBus.Introspectable", "Introspect", END);
	ck_assert(dbus_message_get_args(reply, NULL, STRING(xml), END));
	expected = introspect_interface(text, JOB_I);
	actual = introspect_interface(xml, JOB_I);
	ck_assert_str_eq(actual, expected);
	dbus_message_unref(reply);

	call_ok(bus, job, JOB_I, "Cancel", END);
	result = job_result(bus, job);
	ck_assert_str_eq(result, "canceled");
	wait_state(bus, "slow", "inactive");
	call_fails(
		bus, "org.freedesktop.DBus.Error.UnknownObject", NULL, job, JOB_I, "Cancel", END);
	bus_close(bus);
}
END_TEST

/* ---- console ---- */

START_TEST(test_console)
{
	struct winsize size = { .ws_row = 50, .ws_col = 132 };
	DBusConnection *bus = bus_open_watching();
	dbus_uint64_t unknown = 8;
	const char *name = "console";
	int fd, second;
	char rest[64];

	put_machine("console", "", "");
	start_machine(bus, "console", "done");
	fd = open_console(bus, "console", 0);
	expect_text(fd, "console of console\n");
	/* All bytes as they are: nothing is echoed by the terminal, nothing is a signal. */
	ck_assert_int_eq(write(fd, "a\003\004\r\x7f z", 7), 7);
	expect_text(fd, "a\003\004\r\x7f z");
	ck_assert_int_eq(ioctl(fd, TIOCSWINSZ, &size), 0);
	call_fails(bus, "org.vmmd1.ConsoleBusy", NULL, MANAGER, MANAGER_I, "OpenMachineConsole",
		STRING(name), U64(none), END);
	call_fails(bus, "org.freedesktop.DBus.Error.InvalidArgs", NULL, MANAGER, MANAGER_I,
		"OpenMachineConsole", STRING(name), U64(unknown), END);
	second = open_console(bus, "console", CONSOLE_STEAL);
	expect_text(second, "console of console\n");
	/* The one it was taken from has reached its end. */
	while (read(fd, rest, sizeof(rest)) > 0)
		;
	stop_machine(bus, "console", "", "done");
	close(fd);
	close(second);
	bus_close(bus);
}
END_TEST

/* ---- transient ---- */

START_TEST(test_transient)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *text = NULL, *result = NULL, *again = NULL;
	const char *name = "fleeting", *machine, *job;
	DBusMessage *reply;
	int fd;

	ck_assert_int_gt(asprintf(&text, "[Boot]\nKernel=%s/kernel\n", env_root), 0);
	fd = text_fd(text, strlen(text));
	reply = call(bus, MANAGER, MANAGER_I, "RunTransientMachine", STRING(name), FD(fd),
		U64(none), END);
	ck_assert(dbus_message_get_args(
		reply, NULL, DBUS_TYPE_OBJECT_PATH, &machine, DBUS_TYPE_OBJECT_PATH, &job, END));
	ck_assert_str_eq(machine, MANAGER "/machine/fleeting");
	result = job_result(bus, job);
	ck_assert_str_eq(result, "done");
	dbus_message_unref(reply);
	ck_assert(file_exists("run/vmm/fleeting.vm"));
	ck_assert(get_bool(bus, "fleeting", "Transient"));
	call_fails(bus, "org.vmmd1.MachineExists", NULL, MANAGER, MANAGER_I, "RunTransientMachine",
		STRING(name), FD(fd), U64(none), END);
	/* Its file stays while it reboots. */
	reboot_machine(bus, "fleeting", "auto");
	ck_assert(file_exists("run/vmm/fleeting.vm"));
	call_ok(bus, MANAGER, MANAGER_I, "StopMachine", STRING(name), STRING(empty), U64(none),
		U64(none), END);
	wait_gone(bus, "fleeting");
	ck_assert(!file_exists("run/vmm/fleeting.vm"));
	close(fd);

	/* One that cannot start leaves nothing. */
	fd = text_fd("[Boot]\nKernel=/nonexistent/k\n", 29);
	call_fails(bus, "org.vmmd1.BadConfiguration", &again, MANAGER, MANAGER_I,
		"RunTransientMachine", STRING(name), FD(fd), U64(none), END);
	ck_assert_msg(strstr(again, "run/vmm/fleeting.vm:2: [Boot] Kernel="), "%s", again);
	ck_assert(!file_exists("run/vmm/fleeting.vm"));
	wait_gone(bus, "fleeting");
	close(fd);
	bus_close(bus);
}
END_TEST

static pid_t start_run(const char *command_line, const char *more)
{
	char kernel[128], append[64];
	pid_t pid;

	snprintf(kernel, sizeof(kernel), "--kernel=%s/kernel", env_root);
	snprintf(append, sizeof(append), "--append=%s", command_line);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("DBUS_SYSTEM_BUS_ADDRESS", env_bus_address, 1);
		close(STDIN_FILENO);
		open("/dev/null", O_RDONLY);
		execl(VMMCTL, VMMCTL, "run", "--name=brief", kernel, append, more, NULL);
		_exit(127);
	}
	return pid;
}

/* What vmmctl run ends with is how the machine has ended, however soon. */
START_TEST(test_run_ends_at_once)
{
	DBusConnection *bus = bus_open_watching();
	int status;

	ck_assert_int_gt(waitpid(start_run("shy", NULL), &status, 0), 0);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 70, "0x%x", status);
	wait_gone(bus, "brief");
	bus_close(bus);
}
END_TEST

/* A signal while the machine starts does not leave it behind. */
START_TEST(test_run_interrupted)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	DBusConnection *bus = bus_open_watching();
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start_run("slow", i == 1 ? "--detach" : NULL);

		dbus_message_unref(wait_signal(bus, MANAGER_I, "MachineNew"));
		wait_state(bus, "brief", "starting");
		kill(pid, signals[i]);
		wait_gone(bus, "brief");
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "0x%x", status);
		ck_assert(!file_exists("run/vmm/brief.vm"));
	}
	bus_close(bus);
}
END_TEST

START_TEST(test_undefine_running)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "kept";

	put_machine("kept", "", "");
	start_machine(bus, "kept", "done");
	call_fails(bus, "org.vmmd1.MachineBusy", NULL, MANAGER, MANAGER_I, "UndefineMachine",
		STRING(name), U64(none), END);
	ck_assert(file_exists("etc/vmm/kept.vm"));
	stop_machine(bus, "kept", "", "done");
	call_ok(bus, MANAGER, MANAGER_I, "UndefineMachine", STRING(name), U64(none), END);
	wait_gone(bus, "kept");
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
	Suite *suite = suite_create("dbus-life");
	TCase *life = unit_case(suite, "life"), *recovery = unit_case(suite, "recovery");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon and /dev/kvm");
		return 77;
	}
	tcase_set_timeout(life, 60);
	tcase_add_unchecked_fixture(life, env_start, env_stop);
	tcase_add_test(life, test_start_pause_stop);
	tcase_add_test(life, test_ways_to_stop);
	tcase_add_test(life, test_stop_timeout);
	tcase_add_test(life, test_reboot);
	tcase_add_test(life, test_needs_restart);
	tcase_add_test(life, test_needs_restart_for_dropins);
	tcase_add_loop_test(life, test_ends, 0, ARRAY_SIZE(ends));
	tcase_add_test(life, test_kill);
	tcase_add_test(life, test_job);
	add_resource_tests(life);
	tcase_add_test(life, test_console);
	tcase_add_test(life, test_transient);
	tcase_add_test(life, test_run_ends_at_once);
	tcase_add_test(life, test_run_interrupted);
	tcase_add_test(life, test_undefine_running);
	add_hostile_tests(life);
	tcase_add_test(life, test_nothing_left);
	tcase_set_timeout(recovery, 60);
	add_recovery_tests(recovery);
	return unit_run(suite);
}
