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
#include <sys/prctl.h>
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
	int status = -1;

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
	/* Else some have reached nobody. */
	_exit(dbus_connection_get_is_connected(bus) ? 0 : 4);
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

/* The next in introspection XML; false: none is left. *in_out: "INTERFACE METHOD", then arguments.
 */
static bool next_method(char **rest, char interface[128], char method[128], char arguments[512])
{
	char *line, *next, name[64], type[32];

	method[0] = arguments[0] = '\0';
	for (; *rest && **rest; *rest = next) {
		line = *rest;
		next = line + strcspn(line, "\n");
		next += *next == '\n';
		if (strstr(line, " <") > next)
			continue;
		if (sscanf(line, " <interface name=\"%127[^\"]\"", interface) == 1)
			continue;
		if (strncmp(line + strspn(line, " "), "<method ", 8) == 0) {
			if (method[0])
				return true;
			sscanf(line, " <method name=\"%127[^\"]\"", method);
		} else if (method[0] && memmem(line, (size_t)(next - line), "\"in\"", 4)) {
			char *at_name = memmem(line, (size_t)(next - line), " name=\"", 7);
			char *at_type = memmem(line, (size_t)(next - line), " type=\"", 7);

			ck_assert(at_type && sscanf(at_type, " type=\"%31[^\"]\"", type) == 1);
			if (!at_name || sscanf(at_name, " name=\"%63[^\"]\"", name) != 1)
				strcpy(name, "-");
			snprintf(arguments + strlen(arguments), 512 - strlen(arguments), "%s %s ",
				type, name);
		} else if (method[0] && strstr(line, "</interface>") &&
			   strstr(line, "</interface>") < next) {
			*rest = next;
			return true;
		}
	}
	return method[0] != '\0';
}

/* (ss) or {st}. */
static void append_setting(DBusMessageIter *iter, const char *type, bool is_network)
{
	const char *path = is_network ? "Bridge" : "Path", *limit = "IOPSLimit";
	const char *value = is_network ? "br0" : "/dev/null";
	dbus_uint64_t number = 1000;
	DBusMessageIter inner;
	bool is_struct = *type == '(';

	dbus_message_iter_open_container(
		iter, is_struct ? DBUS_TYPE_STRUCT : DBUS_TYPE_DICT_ENTRY, NULL, &inner);
	dbus_message_iter_append_basic(&inner, DBUS_TYPE_STRING, is_struct ? &path : &limit);
	if (is_struct)
		dbus_message_iter_append_basic(&inner, DBUS_TYPE_STRING, &value);
	else
		dbus_message_iter_append_basic(&inner, DBUS_TYPE_UINT64, &number);
	dbus_message_iter_close_container(iter, &inner);
}

/* As somebody would say it who may: what is right depends on the argument's name. */
static void append_argument(
	DBusMessageIter *iter, const char *type, const char *name, bool is_network)
{
	static const char *const strings[][2] = { { "name", "target" }, { "drive", "root" },
		{ "network", "lan" }, { "whom", "leader" }, { "device", "root" } };
	const char *string = "";
	dbus_uint64_t number = strcmp(name, "size") == 0           ? 2 << 20
			       : strcmp(name, "bytes") == 0        ? 16 << 20
			       : strcmp(name, "timeout_usec") == 0 ? 1000000
								   : 0;
	dbus_int32_t signal = SIGTERM;
	DBusMessageIter inner;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strcmp(strings[i][0], name) == 0)
			string = strings[i][1];
	if (*type == 's') {
		dbus_message_iter_append_basic(iter, DBUS_TYPE_STRING, &string);
	} else if (*type == 'h') {
		fd = text_fd("[Boot]\nKernel=/k\n", 17);
		dbus_message_iter_append_basic(iter, DBUS_TYPE_UNIX_FD, &fd);
		close(fd);
	} else if (*type == 'i') {
		dbus_message_iter_append_basic(iter, *type, &signal);
	} else if (*type == 'a') {
		dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, type + 1, &inner);
		append_setting(&inner, type + 1, is_network);
		dbus_message_iter_close_container(iter, &inner);
	} else {
		if (*type == 'u')
			number = 1;
		dbus_message_iter_append_basic(iter, *type, &number);
	}
}

static DBusMessage *call_of(
	const char *path, const char *interface, const char *method, char *arguments)
{
	DBusMessage *message = dbus_message_new_method_call(NAME, path, interface, method);
	bool is_network = strstr(arguments, " network ") != NULL;
	char *rest = arguments, *type, *name;
	DBusMessageIter iter;

	dbus_message_iter_init_append(message, &iter);
	while ((type = strtok_r(rest, " ", &rest)) && (name = strtok_r(rest, " ", &rest)))
		append_argument(&iter, type, name, is_network);
	return message;
}

/* What tells and changes nothing, for which nobody is asked. */
static bool is_open(const char *method)
{
	static const char *const open[] = { "Describe", "Get", "List", "Verify" };

	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		if (strncmp(method, open[i], strlen(open[i])) == 0)
			return true;
	return false;
}

/* All calls at one object. error: of those that are not open; NULL: anything but a refusal. */
static unsigned int call_all(DBusConnection *bus, const char *path, const char *error)
{
	DBusMessage *reply =
		call(bus, path, "org.freedesktop.DBus.Introspectable", "Introspect", END);
	char interface[128] = "", method[128], arguments[512], *rest;
	unsigned int n = 0, n_wrong = 0;
	const char *xml;

	ck_assert(dbus_message_get_args(reply, NULL, STRING(xml), END));
	rest = (char *)xml;
	while (next_method(&rest, interface, method, arguments)) {
		DBusMessage *message, *answer;
		DBusError said = DBUS_ERROR_INIT;

		/* The rest is sd-bus's own. */
		if (strncmp(interface, "org.vmmd1.", 10) != 0)
			continue;
		message = call_of(path, interface, method, arguments);
		dbus_message_set_allow_interactive_authorization(message, TRUE);
		answer = dbus_connection_send_with_reply_and_block(bus, message, 20000, &said);
		/* Answered or refused: never silence. */
		ck_assert_msg(answer != NULL || !dbus_error_has_name(&said, DBUS_ERROR_NO_REPLY),
			"%s.%s: %s", interface, method, said.message);
		if (!is_open(method)) {
			bool is_denied = dbus_error_has_name(&said, DBUS_ERROR_ACCESS_DENIED);

			if (error ? !dbus_error_has_name(&said, error) : is_denied) {
				fprintf(stderr, "%s.%s: %s\n", interface, method,
					answer ? "answered" : said.name);
				n_wrong++;
			}
			n++;
		}
		if (answer)
			dbus_message_unref(answer);
		dbus_error_free(&said);
		dbus_message_unref(message);
	}
	dbus_message_unref(reply);
	ck_assert_uint_eq(n_wrong, 0);
	return n;
}

/* ---- polkit with an agent, in a process of its own ---- */

/*
 * Each question goes to somebody who sits before the agent: may_ask says whether the caller let
 * that be, and then yes is what they say.
 */
_Noreturn static void polkit_main(bool yes, int ready_fd)
{
	DBusConnection *bus = bus_open();
	DBusMessage *message;

	if (dbus_bus_request_name(bus, "org.freedesktop.PolicyKit1", 0, NULL) !=
			DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER ||
		write(ready_fd, "r", 1) != 1)
		_exit(1);
	while (dbus_connection_read_write(bus, -1))
		while ((message = dbus_connection_pop_message(bus))) {
			DBusMessageIter in, iter, result, details;
			dbus_bool_t is_authorized = FALSE, is_challenge = FALSE;
			dbus_uint32_t flags = 0;
			DBusMessage *reply;

			if (!dbus_message_is_method_call(message,
				    "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization")) {
				dbus_message_unref(message);
				continue;
			}
			dbus_message_iter_init(message, &in);
			for (int i = 0; i < 3; i++)
				dbus_message_iter_next(&in);
			dbus_message_iter_get_basic(&in, &flags);
			is_authorized = yes && flags & 1;
			is_challenge = !(flags & 1);
			reply = dbus_message_new_method_return(message);
			dbus_message_iter_init_append(reply, &iter);
			dbus_message_iter_open_container(&iter, DBUS_TYPE_STRUCT, NULL, &result);
			dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &is_authorized);
			dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &is_challenge);
			dbus_message_iter_open_container(
				&result, DBUS_TYPE_ARRAY, "{ss}", &details);
			dbus_message_iter_close_container(&result, &details);
			dbus_message_iter_close_container(&iter, &result);
			dbus_connection_send(bus, reply, NULL);
			dbus_message_unref(reply);
			dbus_message_unref(message);
		}
	_exit(0);
}

static void start_polkit(bool yes)
{
	int ready[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* The test will not be allowed to end it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		polkit_main(yes, ready[1]);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

/* Whatever is under way with it: a job that waits for its guest has a second. */
static void end_machine(DBusConnection *bus, const char *name)
{
	const char *how = "force";

	for (int i = 0; i < 300; i++) {
		CLEANUP(free_p) char *state = get_string(bus, name, "State");
		DBusMessage *message, *answer;

		if (strcmp(state, "inactive") == 0 || strcmp(state, "failed") == 0)
			return;
		message = dbus_message_new_method_call(NAME, MANAGER, MANAGER_I, "StopMachine");
		dbus_message_append_args(message, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &how,
			DBUS_TYPE_UINT64, &none, DBUS_TYPE_UINT64, &none, DBUS_TYPE_INVALID);
		answer = dbus_connection_send_with_reply_and_block(bus, message, 20000, NULL);
		if (answer)
			dbus_message_unref(answer);
		dbus_message_unref(message);
		usleep(100000);
	}
	ck_abort_msg("%s does not end", name);
}

/* 0: no polkit; 1: an agent at which somebody says no; 2: and yes. */
START_TEST(test_each_method_as_nobody)
{
	static const char *const kinds[] = { "without polkit", "with an agent that says no",
		"with an agent that says yes" };
	const char *error = _i < 2 ? DBUS_ERROR_ACCESS_DENIED : NULL;
	const char *name = _i < 2 ? "target" : "prey";
	DBusConnection *bus;
	unsigned int n;
	char *object;

	start_spinning(name);
	if (_i > 0)
		start_polkit(_i == 2);
	object = machine_object(name);
	/* The test is a process of its own: root's connection remains what it was. */
	become_nobody();
	bus = bus_open();
	n = call_all(bus, object, error);
	if (_i < 2)
		n += call_all(bus, MANAGER, error);
	printf("%u methods called by another uid %s, each %s\n", n, kinds[_i],
		error ? "refused" : "let pass");
	ck_assert_uint_gt(n, _i < 2 ? 30 : 15);
	if (_i < 2) {
		expect_string(bus, "target", "State", "running");
		ck_assert(file_exists("etc/vmm/target.vm"));
		stop_machine(spinning_bus, "target", "force", "done");
	} else {
		end_machine(spinning_bus, name);
	}
	free(object);
	bus_close(bus);
	bus_close(spinning_bus);
}
END_TEST

/* A process of its own attacks while the machine "target" spins. */
static void attack_beside_target(void (*attack)(unsigned int n), unsigned int n, const char *what)
{
	struct measured before;
	char text[64];
	pid_t attacker;

	start_spinning("target");
	before = measure();
	attacker = fork();
	ck_assert_int_ge(attacker, 0);
	if (attacker == 0)
		attack(n);
	watch(spinning_bus, &before, attacker);
	snprintf(text, sizeof(text), "%u %s", n, what);
	check(&before, text);
	expect_string(spinning_bus, "target", "State", "running");
	ck_assert(file_exists("etc/vmm/target.vm"));
	stop_machine(spinning_bus, "target", "force", "done");
	bus_close(spinning_bus);
}

START_TEST(test_random_calls)
{
	attack_beside_target(
		attack_with_random_calls, number_of("VMMD_ATTACK_CALLS", 3000), "random calls");
}
END_TEST

START_TEST(test_consoles)
{
	attack_beside_target(
		attack_with_consoles, number_of("VMMD_ATTACK_CONSOLES", 2000), "consoles");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-clients");
	TCase *tcase = unit_case(suite, "clients");

	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 900);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_loop_test(tcase, test_each_method_as_nobody, 0, 3);
	tcase_add_test(tcase, test_random_calls);
	tcase_add_test(tcase, test_consoles);
	return unit_run(suite);
}
