/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: who may do what: the shipped bus policy, callers without privileges, and a polkit that says
 * yes, no, ask, nothing at all, or is not there. Needs no KVM.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/util.h"
#include "harness.h"
#include "unit.h"

enum {
	DAEMON = 1,
	NOBODY = 65534,
	/* Of one caller, as bus.h has it. */
	QUERIES_A_SENDER = 8,
	QUERIES_A_USER = 32,
	MAX_QUERIES = 128,
};

static const char denied[] = "org.freedesktop.DBus.Error.AccessDenied";
static const char not_running[] = "org.vmmd1.MachineNotRunning";
/* Every test is a process of its own: it may give up what it has. */
static void become_nobody(void)
{
	ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

/* ---- a polkit ---- */

/* "action|machine|unit|verb|interactive\n" of a question, and the machine it is about. */
static void read_question(DBusMessage *question, char *line, size_t size, char machine[64])
{
	char unit[64] = "", verb[64] = "";
	DBusMessageIter iter, details, entry;
	const char *action, *key, *value;
	dbus_uint32_t flags;

	machine[0] = 0;
	dbus_message_iter_init(question, &iter);
	dbus_message_iter_next(&iter);
	dbus_message_iter_get_basic(&iter, &action);
	dbus_message_iter_next(&iter);
	dbus_message_iter_recurse(&iter, &details);
	for (; dbus_message_iter_get_arg_type(&details) == DBUS_TYPE_DICT_ENTRY;
		dbus_message_iter_next(&details)) {
		dbus_message_iter_recurse(&details, &entry);
		dbus_message_iter_get_basic(&entry, &key);
		dbus_message_iter_next(&entry);
		dbus_message_iter_get_basic(&entry, &value);
		if (strcmp(key, "machine") == 0)
			snprintf(machine, 64, "%s", value);
		else if (strcmp(key, "unit") == 0)
			snprintf(unit, sizeof(unit), "%s", value);
		else if (strcmp(key, "verb") == 0)
			snprintf(verb, sizeof(verb), "%s", value);
	}
	dbus_message_iter_next(&iter);
	dbus_message_iter_get_basic(&iter, &flags);
	snprintf(line, size, "%s|%s|%s|%s|%u\n", action, machine, unit, verb, flags);
}

static void answer_question(DBusConnection *bus, DBusMessage *question, const char *machine)
{
	dbus_bool_t yes = strncmp(machine, "yes", 3) == 0, ask = strcmp(machine, "ask") == 0;
	DBusMessage *reply = dbus_message_new_method_return(question);
	DBusMessageIter iter, result, details;

	dbus_message_iter_init_append(reply, &iter);
	dbus_message_iter_open_container(&iter, DBUS_TYPE_STRUCT, NULL, &result);
	dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &yes);
	dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &ask);
	dbus_message_iter_open_container(&result, DBUS_TYPE_ARRAY, "{ss}", &details);
	dbus_message_iter_close_container(&result, &details);
	dbus_message_iter_close_container(&iter, &result);
	dbus_connection_send(bus, reply, NULL);
	dbus_message_unref(reply);
}

/* The one of the test before may be just ending. */
static bool own_name(DBusConnection *bus)
{
	for (int i = 0; i < 500; i++) {
		if (dbus_bus_request_name(bus, "org.freedesktop.PolicyKit1",
			    DBUS_NAME_FLAG_DO_NOT_QUEUE,
			    NULL) == DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return false;
}

/* Answers by the machine's name: yes..., of which yeslate after a second, ask, hang; no to all
 * others. */
_Noreturn static void polkit_main(int log_fd, int ready_fd)
{
	DBusConnection *bus = bus_open();

	if (!own_name(bus))
		_exit(1);
	if (write(ready_fd, "r", 1) != 1)
		_exit(1);
	while (dbus_connection_read_write(bus, -1)) {
		DBusMessage *message;

		while ((message = dbus_connection_pop_message(bus))) {
			char line[512], machine[64];

			if (dbus_message_is_method_call(message,
				    "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization") &&
				dbus_message_has_signature(message, "(sa{sv})sa{ss}us")) {
				read_question(message, line, sizeof(line), machine);
				if (write(log_fd, line, strlen(line)) < 0)
					_exit(1);
				if (strcmp(machine, "yeslate") == 0)
					nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
				if (strcmp(machine, "hang") != 0)
					answer_question(bus, message, machine);
			}
			dbus_message_unref(message);
		}
	}
	_exit(0);
}

static void start_polkit(void)
{
	char path[128], byte;
	int ready[2], log_fd;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/polkit.log", env_root);
	log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* The test will not be allowed to end it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		polkit_main(log_fd, ready[1]);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(log_fd);
}

/* Within ten seconds. */
static void expect_question(const char *line)
{
	char path[128], text[8192] = "";

	snprintf(path, sizeof(path), "%s/polkit.log", env_root);
	for (int i = 0; i < 1000; i++) {
		FILE *f = fopen(path, "r");
		size_t n;

		ck_assert_ptr_nonnull(f);
		n = fread(text, 1, sizeof(text) - 1, f);
		text[n] = 0;
		fclose(f);
		if (strstr(text, line))
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	ck_abort_msg("not asked: %s but:\n%s", line, text);
}

static void set_up(void)
{
	static const char *const names[] = { "yes", "no", "ask", "hang", "yeslate" };

	env_start();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		put_machine(names[i], "", "");
	env_kill_vmmd();
	env_start_vmmd();
}

/* ---- tests ---- */

START_TEST(test_reading_is_open)
{
	const char *name = "yes", *interface = MACHINE_I;
	DBusConnection *bus;

	become_nobody();
	bus = bus_open();
	call_ok(bus, MANAGER, MANAGER_I, "ListMachines", END);
	call_ok(bus, MANAGER, MANAGER_I, "ListJobs", END);
	call_ok(bus, MANAGER, MANAGER_I, "Describe", END);
	call_ok(bus, MANAGER, MANAGER_I, "GetMachine", STRING(name), END);
	call_ok(bus, MANAGER "/machine/yes", PROPERTIES_I, "GetAll", STRING(interface), END);
	call_ok(bus, MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", END);
	bus_close(bus);
}
END_TEST

START_TEST(test_bus_policy)
{
	static const char *const property = "State";
	const char *interface = MACHINE_I;
	DBusConnection *bus;
	DBusError error = DBUS_ERROR_INIT;

	become_nobody();
	bus = bus_open();
	/* Nobody else may be vmmd. */
	ck_assert_int_eq(
		dbus_bus_request_name(bus, NAME, DBUS_NAME_FLAG_REPLACE_EXISTING, &error), -1);
	ck_assert_str_eq(error.name, denied);
	dbus_error_free(&error);
	/* What the policy does not list does not reach vmmd. */
	call_fails(bus, denied, NULL, MANAGER, MANAGER_I, "NoSuchMethod", END);
	call_fails(bus, denied, NULL, MANAGER "/machine/yes", PROPERTIES_I, "Set",
		STRING(interface), STRING(property), END);
	bus_close(bus);
}
END_TEST

/* Each method that changes something, or shows what may be secret. */
static void try_all(DBusConnection *bus, const char *name, const char *error)
{
	const char *whom = "leader";
	dbus_int32_t signal = SIGUSR1;
	int fd = text_fd("[Boot]\nKernel=/k\n", 17);

	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(empty), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "StopMachine", STRING(name), STRING(empty),
		U64(none), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "RebootMachine", STRING(name),
		STRING(empty), U64(none), END);
	call_fails(
		bus, error, NULL, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "ResumeMachine", STRING(name), U64(none),
		END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "ResizeMachineDrive", STRING(name),
		STRING(whom), U64(none), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "KillMachine", STRING(name), STRING(whom),
		I32(signal), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "OpenMachineConsole", STRING(name),
		U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "DefineMachine", STRING(name), FD(fd),
		U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "UndefineMachine", STRING(name), U64(none),
		END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "RunTransientMachine", STRING(name),
		FD(fd), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "VerifyConfig", STRING(name), FD(fd), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "VerifyMachine", STRING(name), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "Reload", END);
	close(fd);
}

static void try_all_of_machine(DBusConnection *bus, const char *name, const char *error)
{
	CLEANUP(free_p) char *path = machine_object(name);
	const char *whom = "leader";
	dbus_int32_t signal = SIGUSR1;

	call_fails(bus, error, NULL, path, MACHINE_I, "Start", STRING(empty), U64(none), END);
	call_fails(bus, error, NULL, path, MACHINE_I, "Stop", STRING(empty), U64(none), U64(none),
		END);
	call_fails(bus, error, NULL, path, MACHINE_I, "Reboot", STRING(empty), U64(none), END);
	call_fails(bus, error, NULL, path, MACHINE_I, "Pause", U64(none), END);
	call_fails(bus, error, NULL, path, MACHINE_I, "Resume", U64(none), END);
	call_fails(bus, error, NULL, path, MACHINE_I, "Kill", STRING(whom), I32(signal), U64(none),
		END);
	call_fails(bus, error, NULL, path, MACHINE_I, "OpenConsole", U64(none), END);
}

START_TEST(test_without_polkit)
{
	DBusConnection *bus;

	become_nobody();
	bus = bus_open();
	try_all(bus, "yes", denied);
	try_all_of_machine(bus, "yes", denied);
	ck_assert(file_exists("etc/vmm/yes.vm"));
	bus_close(bus);
}
END_TEST

START_TEST(test_polkit_says_no)
{
	DBusConnection *bus;

	become_nobody();
	bus = bus_open();
	try_all(bus, "no", denied);
	try_all_of_machine(bus, "no", denied);
	bus_close(bus);
	expect_question("org.vmmd1.manage-machines|no|vmm@no.service|start|0\n");
	expect_question("org.vmmd1.manage-machines|no|vmm@no.service|stop|0\n");
	expect_question("org.vmmd1.manage-machines|no|vmm@no.service|kill|0\n");
	expect_question("org.vmmd1.console|no|vmm@no.service|open-console|0\n");
	expect_question("org.vmmd1.manage-config|no|vmm@no.service|define|0\n");
	expect_question("org.vmmd1.manage-config|no|vmm@no.service|undefine|0\n");
	expect_question("org.vmmd1.manage-config|no|vmm@no.service|run|0\n");
	expect_question("org.vmmd1.manage-config|||reload|0\n");
	ck_assert(file_exists("etc/vmm/no.vm"));
}
END_TEST

START_TEST(test_polkit_says_yes)
{
	const char *name = "yes", *new_name = "yesnew";
	DBusConnection *bus;
	int fd = text_fd("[Boot]\nKernel=/k\n", 17);

	become_nobody();
	bus = bus_open();
	/* Let through, and then told what it would tell root. */
	call_fails(bus, not_running, NULL, MANAGER, MANAGER_I, "StopMachine", STRING(name),
		STRING(empty), U64(none), U64(none), END);
	call_fails(
		bus, not_running, NULL, MANAGER "/machine/yes", MACHINE_I, "Pause", U64(none), END);
	call_ok(bus, MANAGER, MANAGER_I, "DefineMachine", STRING(new_name), FD(fd), U64(none), END);
	call_ok(bus, MANAGER, MANAGER_I, "UndefineMachine", STRING(new_name), U64(none), END);
	close(fd);
	bus_close(bus);
}
END_TEST

START_TEST(test_polkit_asks)
{
	DBusConnection *bus;

	become_nobody();
	bus = bus_open();
	try_all_of_machine(
		bus, "ask", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired");
	bus_close(bus);
}
END_TEST

/* A caller that waits for polkit in many places leaves places for others. */
START_TEST(test_polkit_hangs)
{
	DBusPendingCall *pending[QUERIES_A_SENDER];
	const char *name = "hang", *other = "no";
	DBusConnection *bus, *second;

	become_nobody();
	bus = bus_open();
	second = bus_open();
	for (size_t i = 0; i < QUERIES_A_SENDER; i++)
		pending[i] = call_async(
			bus, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	call_fails(bus, "org.vmmd1.LimitsExceeded", NULL, MANAGER, MANAGER_I, "PauseMachine",
		STRING(name), U64(none), END);
	/* Looking goes on, and so does another caller. */
	call_ok(bus, MANAGER, MANAGER_I, "ListMachines", END);
	call_fails(second, denied, NULL, MANAGER, MANAGER_I, "PauseMachine", STRING(other),
		U64(none), END);
	/* When polkit goes, they are refused. */
	bus_close(second);
	for (size_t i = 0; i < QUERIES_A_SENDER; i++) {
		dbus_pending_call_cancel(pending[i]);
		dbus_pending_call_unref(pending[i]);
	}
	bus_close(bus);
}
END_TEST

/* A user who waits for polkit with many connections leaves places for other users. */
START_TEST(test_user_hangs)
{
	DBusConnection *buses[MAX_QUERIES / QUERIES_A_SENDER];
	DBusPendingCall *pending[MAX_QUERIES];
	const char *name = "hang", *no = "no";
	DBusConnection *other;
	size_t n = 0;

	ck_assert_int_eq(setresuid(-1, DAEMON, 0), 0);
	other = bus_open();
	ck_assert_int_eq(setresuid(-1, 0, 0), 0);
	become_nobody();
	for (size_t i = 0; i < ARRAY_SIZE(buses); i++) {
		buses[i] = bus_open();
		for (size_t j = 0; j < QUERIES_A_SENDER; j++)
			pending[n++] = call_async(buses[i], MANAGER, MANAGER_I, "PauseMachine",
				STRING(name), U64(none), END);
		/* Answered after those before it. */
		call_ok(buses[i], MANAGER, MANAGER_I, "ListMachines", END);
		while (dbus_connection_dispatch(buses[i]) == DBUS_DISPATCH_DATA_REMAINS)
			;
	}
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(!dbus_pending_call_get_completed(pending[i]), i < QUERIES_A_USER);
	call_fails(other, denied, NULL, MANAGER, MANAGER_I, "PauseMachine", STRING(no), U64(none),
		END);
	for (size_t i = 0; i < n; i++) {
		dbus_pending_call_cancel(pending[i]);
		dbus_pending_call_unref(pending[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(buses); i++)
		bus_close(buses[i]);
	bus_close(other);
}
END_TEST

/* Whom polkit lets do it may find the machine gone: no way around, and no crash. */
START_TEST(test_machine_goes_meanwhile)
{
	DBusConnection *root = bus_open(), *bus;
	DBusPendingCall *pending;
	DBusMessage *reply;
	const char *name = "yeslate";

	become_nobody();
	bus = bus_open();
	pending = call_async(bus, MANAGER "/machine/yeslate", MACHINE_I, "Pause", U64(none), END);
	expect_question("org.vmmd1.manage-machines|yeslate|vmm@yeslate.service|pause|0\n");
	call_ok(root, MANAGER, MANAGER_I, "UndefineMachine", STRING(name), U64(none), END);
	wait_gone(root, "yeslate");
	dbus_pending_call_block(pending);
	reply = dbus_pending_call_steal_reply(pending);
	ck_assert_str_eq(dbus_message_get_error_name(reply), "org.vmmd1.NoSuchMachine");
	dbus_message_unref(reply);
	dbus_pending_call_unref(pending);
	bus_close(bus);
	bus_close(root);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-auth");
	TCase *alone = unit_case(suite, "alone"), *polkit = unit_case(suite, "polkit");

	if (geteuid() != 0 || !DBUS_DAEMON[0]) {
		puts("skipped: needs root and dbus-daemon");
		return 77;
	}
	tcase_set_timeout(alone, 60);
	tcase_add_unchecked_fixture(alone, set_up, env_stop);
	tcase_add_test(alone, test_reading_is_open);
	tcase_add_test(alone, test_bus_policy);
	tcase_add_test(alone, test_without_polkit);
	tcase_set_timeout(polkit, 60);
	tcase_add_unchecked_fixture(polkit, set_up, env_stop);
	tcase_add_checked_fixture(polkit, start_polkit, NULL);
	tcase_add_test(polkit, test_polkit_says_no);
	tcase_add_test(polkit, test_polkit_says_yes);
	tcase_add_test(polkit, test_polkit_asks);
	tcase_add_test(polkit, test_polkit_hangs);
	tcase_add_test(polkit, test_user_hangs);
	tcase_add_test(polkit, test_machine_goes_meanwhile);
	return unit_run(suite);
}
