/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Clients of the bus that mean harm, against vmmd with the shipped bus policy: another uid that
 * calls each method of each interface, calls of random form, and a client that opens consoles by
 * the thousand, reads nothing and vanishes. vmmd stays, its memory and descriptors stay bounded,
 * and an honest client is served meanwhile; what was measured is printed.
 *
 * VMMD_ATTACK_CALLS: how many random calls (3000). VMMD_ATTACK_CONSOLES: how many (2000).
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "../worker/guests.h"
#include "base/util.h"
#include "spinning.h"

#define NOBODY 65534
#ifdef SANITIZED
#define MAX_GROWTH_KIB (1 << 20)
#else
#define MAX_GROWTH_KIB (16 << 10)
#endif
/* Calls are served in turn: who comes behind thousands waits, but less than libraries do. */
#define MAX_ANSWER_MSEC 20000

#define STRING(v) DBUS_TYPE_STRING, &(v)
#define END DBUS_TYPE_INVALID

static unsigned int number_of(const char *variable, unsigned int otherwise)
{
	const char *text = getenv(variable);

	return text ? (unsigned int)atoi(text) : otherwise;
}

/* ---- what vmmd takes ---- */

static long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "vmmd (%d) has gone", pid);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

static unsigned int count_fds(pid_t pid)
{
	struct dirent *entry;
	unsigned int n = 0;
	char path[64];
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

/* How long an honest client waits for an answer that takes vmmd itself. */
static unsigned int answer_msec(DBusConnection *bus)
{
	uint64_t before = vmm_base_now_nsec();

	call_ok(bus, MANAGER, MANAGER_I, "ListMachines", END);
	return (unsigned int)((vmm_base_now_nsec() - before) / 1000000);
}

struct measured {
	pid_t pid;
	long kib;
	unsigned int n_fds;
	unsigned int worst_msec;
};

static struct measured measure(void)
{
	pid_t pid = env_vmmd_pid();

	return (struct measured){ .pid = pid, .kib = resident_kib(pid), .n_fds = count_fds(pid) };
}

/* Serves as the honest client while the attacker lives. */
static void watch(DBusConnection *bus, struct measured *before, pid_t attacker)
{
	int status;

	while (waitpid(attacker, &status, WNOHANG) == 0) {
		before->worst_msec = MAX(before->worst_msec, answer_msec(bus));
		usleep(20000);
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the attacker ended with 0x%x",
		(unsigned int)status);
	/* What it has left in vmmd's queue. */
	for (int i = 0; i < 20; i++)
		before->worst_msec = MAX(before->worst_msec, answer_msec(bus));
}

static void check(const struct measured *before, const char *what)
{
	struct measured after = measure();

	for (int i = 0; i < 200 && after.n_fds > before->n_fds + 4; i++) {
		usleep(50000);
		after = measure();
	}
	printf("%s: vmmd %ld KiB before, %ld KiB after; %u descriptors before, %u after; an honest "
	       "client waited %u ms at most\n",
		what, before->kib, after.kib, before->n_fds, after.n_fds, before->worst_msec);
	ck_assert_msg(kill(before->pid, 0) == 0, "vmmd has ended");
	ck_assert_int_lt(after.kib, before->kib + MAX_GROWTH_KIB);
	ck_assert_uint_le(after.n_fds, before->n_fds + 4);
	ck_assert_uint_lt(before->worst_msec, MAX_ANSWER_MSEC);
}

/* ---- attackers, each in a process of its own ---- */

static void become_nobody(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(2);
}

static void append_basic(DBusMessageIter *iter, int type)
{
	static const char *const strings[] = { "", "target", "../../etc/passwd", "nothing",
		"/org/vmmd1", "a-very-long-name-that-no-machine-can-have-at-all",
		"\xc3\xa4%n%s\n" };
	static const char *const paths[] = { "/", "/org/vmmd1", "/org/vmmd1/machine/target" };
	const char *string = strings[(unsigned int)rand() % ARRAY_SIZE(strings)];
	const char *path = paths[(unsigned int)rand() % ARRAY_SIZE(paths)];
	dbus_uint64_t number = rand() % 2 ? (dbus_uint64_t)rand() % 8 : ~UINT64_C(0) >> rand() % 64;
	dbus_bool_t truth = rand() % 2;

	if (type == DBUS_TYPE_STRING)
		dbus_message_iter_append_basic(iter, type, &string);
	else if (type == DBUS_TYPE_OBJECT_PATH)
		dbus_message_iter_append_basic(iter, type, &path);
	else if (type == DBUS_TYPE_BOOLEAN)
		dbus_message_iter_append_basic(iter, type, &truth);
	else
		dbus_message_iter_append_basic(iter, type, &number);
}

static void append_random(DBusMessageIter *iter)
{
	static const int basic[] = { DBUS_TYPE_STRING, DBUS_TYPE_STRING, DBUS_TYPE_UINT64,
		DBUS_TYPE_UINT32, DBUS_TYPE_INT32, DBUS_TYPE_BYTE, DBUS_TYPE_BOOLEAN,
		DBUS_TYPE_OBJECT_PATH };
	int type = basic[(unsigned int)rand() % ARRAY_SIZE(basic)];
	char signature[] = { (char)type, 0 };
	DBusMessageIter inner;
	int fd;

	switch (rand() % 8) {
	case 0:
		dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, signature, &inner);
		for (int i = rand() % 200; i > 0; i--)
			append_basic(&inner, type);
		dbus_message_iter_close_container(iter, &inner);
		break;
	case 1:
		dbus_message_iter_open_container(iter, DBUS_TYPE_VARIANT, signature, &inner);
		append_basic(&inner, type);
		dbus_message_iter_close_container(iter, &inner);
		break;
	case 2:
		fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		dbus_message_iter_append_basic(iter, DBUS_TYPE_UNIX_FD, &fd);
		close(fd);
		break;
	default:
		append_basic(iter, type);
		break;
	}
}

/* Most calls take the right number of arguments of the right type for something, by chance. */
static DBusMessage *random_call(void)
{
	static const char *const paths[] = { MANAGER, MANAGER "/machine/target",
		MANAGER "/machine/none", MANAGER "/job/1", "/", "/org" };
	static const char *const interfaces[] = { MANAGER_I, MACHINE_I, JOB_I, PROPERTIES_I,
		"org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer",
		"org.freedesktop.DBus.ObjectManager" };
	static const char *const members[] = { "ListMachines", "GetMachine", "GetMachineByLeader",
		"StartMachine", "StopMachine", "RebootMachine", "PauseMachine", "ResumeMachine",
		"KillMachine", "OpenMachineConsole", "DefineMachine", "UndefineMachine",
		"RunTransientMachine", "VerifyConfig", "VerifyMachine", "Reload", "ListJobs",
		"CancelJob", "GetMachineStats", "Start", "Stop", "Kill", "OpenConsole", "Cancel",
		"Get", "GetAll", "Set", "Introspect", "Ping", "NoSuchMember", "Describe" };
	DBusMessage *message =
		dbus_message_new_method_call(NAME, paths[(unsigned int)rand() % ARRAY_SIZE(paths)],
			interfaces[(unsigned int)rand() % ARRAY_SIZE(interfaces)],
			members[(unsigned int)rand() % ARRAY_SIZE(members)]);
	DBusMessageIter iter;

	dbus_message_iter_init_append(message, &iter);
	for (int i = rand() % 5; i > 0; i--)
		append_random(&iter);
	return message;
}

/* Answers are read now and then, so that the bus does not cut the client off for them. */
static void drain(DBusConnection *bus)
{
	DBusMessage *message;

	dbus_connection_read_write(bus, 0);
	while ((message = dbus_connection_pop_message(bus)))
		dbus_message_unref(message);
}

_Noreturn static void attack_with_random_calls(unsigned int n)
{
	DBusConnection *bus;

	become_nobody();
	bus = bus_open();
	srand(20261122);
	for (unsigned int i = 0; i < n; i++) {
		DBusMessage *message = random_call();

		if (!dbus_connection_send(bus, message, NULL))
			_exit(3);
		dbus_message_unref(message);
		if (i % 64 == 0) {
			dbus_connection_flush(bus);
			drain(bus);
		}
	}
	dbus_connection_flush(bus);
	usleep(200000);
	drain(bus);
	_exit(0);
}

/* As root, who may: what bounds it is not permission. Nothing is ever read. */
_Noreturn static void attack_with_consoles(unsigned int n)
{
	DBusConnection *bus = bus_open();
	const char *name = "target";
	dbus_uint64_t flags = 0;

	watch_signals(bus);
	for (unsigned int i = 0; i < n && dbus_connection_get_is_connected(bus); i++) {
		DBusMessage *message = dbus_message_new_method_call(
			NAME, MANAGER, MANAGER_I, "OpenMachineConsole");

		dbus_message_append_args(
			message, STRING(name), DBUS_TYPE_UINT64, &flags, DBUS_TYPE_INVALID);
		dbus_connection_send(bus, message, NULL);
		dbus_message_unref(message);
		if (i % 64 == 0)
			dbus_connection_flush(bus);
	}
	dbus_connection_flush(bus);
	_exit(0);
}

/* ---- tests ---- */

/* The names of all methods in introspection XML, "INTERFACE NAME SIGNATURE\n" each. */
static char *list_methods(DBusConnection *bus, const char *path)
{
	DBusMessage *reply =
		call(bus, path, "org.freedesktop.DBus.Introspectable", "Introspect", END);
	char interface[128] = "", method[128] = "", *all = strdup(""), *copy, *rest, *line;
	const char *xml;

	ck_assert(dbus_message_get_args(reply, NULL, STRING(xml), END));
	copy = rest = strdup(xml);
	while ((line = strsep(&rest, "\n"))) {
		char type[32] = "", *grown;

		if (sscanf(line, " <interface name=\"%127[^\"]\"", interface) == 1)
			continue;
		if (sscanf(line, " <method name=\"%127[^\"]\"", method) == 1)
			ck_assert_int_gt(asprintf(&grown, "%s\n%s %s ", all, interface, method), 0);
		else if (strstr(line, "direction=\"in\"") && strstr(line, "type=\"") &&
			 sscanf(strstr(line, "type=\""), "type=\"%31[^\"]\"", type) == 1)
			ck_assert_int_gt(asprintf(&grown, "%s%s", all, type), 0);
		else
			continue;
		free(all);
		all = grown;
	}
	free(copy);
	dbus_message_unref(reply);
	return all;
}

/* Arguments that are right as far as the signature tells; name is the first one. */
static void append_signature(DBusMessage *message, const char *signature, const char *name)
{
	const char *whom = "leader";
	dbus_uint64_t none = 0;
	dbus_uint32_t job = 1;
	dbus_int32_t signal = SIGTERM;
	bool is_first = true;
	int fd = text_fd("[Boot]\nKernel=/k\n", 17);

	for (; *signature; signature++, is_first = false) {
		const char *string = is_first                                   ? name
				     : *signature == 's' && signature[1] == 'i' ? whom
										: "";

		if (*signature == 's')
			dbus_message_append_args(message, STRING(string), END);
		else if (*signature == 't')
			dbus_message_append_args(message, DBUS_TYPE_UINT64, &none, END);
		else if (*signature == 'u')
			dbus_message_append_args(message, DBUS_TYPE_UINT32, &job, END);
		else if (*signature == 'i')
			dbus_message_append_args(message, DBUS_TYPE_INT32, &signal, END);
		else if (*signature == 'h')
			dbus_message_append_args(message, DBUS_TYPE_UNIX_FD, &fd, END);
	}
	close(fd);
}

/* As nobody, without a polkit: all calls at one object. Returns how many were answered. */
static unsigned int call_all(DBusConnection *bus, const char *path, unsigned int *n_refused)
{
	char *methods = list_methods(bus, path), *rest = methods, *line;
	char interface[128], method[128], signature[64];
	unsigned int n = 0;

	while ((line = strsep(&rest, "\n"))) {
		DBusMessage *message, *reply;
		DBusError error = DBUS_ERROR_INIT;

		signature[0] = '\0';
		if (sscanf(line, "%127s %127s %63s", interface, method, signature) < 2)
			continue;
		message = dbus_message_new_method_call(NAME, path, interface, method);
		append_signature(message, signature, strcmp(path, MANAGER) == 0 ? "target" : "");
		reply = dbus_connection_send_with_reply_and_block(bus, message, 20000, &error);
		/* A reading call is answered, and any other refused: never silence. */
		ck_assert_msg(reply != NULL || !dbus_error_has_name(&error, DBUS_ERROR_NO_REPLY),
			"%s.%s: %s", interface, method, error.message);
		if (dbus_error_has_name(&error, DBUS_ERROR_ACCESS_DENIED))
			++*n_refused;
		else
			printf("%s.%s: %s\n", interface, method, reply ? "answered" : error.name);
		if (reply)
			dbus_message_unref(reply);
		dbus_error_free(&error);
		dbus_message_unref(message);
		n++;
	}
	free(methods);
	return n;
}

START_TEST(test_each_method_as_nobody)
{
	unsigned int n, n_refused = 0;
	DBusConnection *bus;
	char *object;

	start_spinning("target");
	object = machine_object("target");
	/* The test is a process of its own: root's connection remains what it was. */
	become_nobody();
	bus = bus_open();
	n = call_all(bus, MANAGER, &n_refused);
	n += call_all(bus, object, &n_refused);
	printf("%u methods called by another uid, %u refused\n", n, n_refused);
	ck_assert_uint_gt(n, 30);
	/* Those that change something, or show what may be secret. */
	ck_assert_uint_ge(n_refused, 20);
	expect_string(bus, "target", "State", "running");
	ck_assert(file_exists("etc/vmm/target.vm"));
	free(object);
	bus_close(bus);
	stop_machine(spinning_bus, "target", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

START_TEST(test_random_calls)
{
	unsigned int n = number_of("VMMD_ATTACK_CALLS", 3000);
	struct measured before;
	char what[64];
	pid_t attacker;

	start_spinning("target");
	before = measure();
	attacker = fork();
	if (attacker == 0)
		attack_with_random_calls(n);
	watch(spinning_bus, &before, attacker);
	snprintf(what, sizeof(what), "%u random calls", n);
	check(&before, what);
	expect_string(spinning_bus, "target", "State", "running");
	ck_assert(file_exists("etc/vmm/target.vm"));
	stop_machine(spinning_bus, "target", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

START_TEST(test_consoles)
{
	unsigned int n = number_of("VMMD_ATTACK_CONSOLES", 2000);
	struct measured before;
	char what[64];
	pid_t attacker;

	start_spinning("target");
	before = measure();
	attacker = fork();
	if (attacker == 0)
		attack_with_consoles(n);
	watch(spinning_bus, &before, attacker);
	snprintf(what, sizeof(what), "%u consoles", n);
	check(&before, what);
	expect_string(spinning_bus, "target", "State", "running");
	stop_machine(spinning_bus, "target", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-clients");
	TCase *tcase = unit_case(suite, "clients");

	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 900);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_each_method_as_nobody);
	tcase_add_test(tcase, test_random_calls);
	tcase_add_test(tcase, test_consoles);
	return unit_run(suite);
}
