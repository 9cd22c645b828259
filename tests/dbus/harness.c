/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* harness: a private bus, vmmd and a libdbus client; see harness.h. */
#include "harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/util.h"

enum {
	CALL_MSEC = 30000,
	WAIT_MSEC = 10000,
};

char env_root[64];
const char *env_worker = FAKE_WORKER;
static char bus_address[128];
static pid_t dbus_pid, vmmd_pid;

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
}

static void path_of(char *full, size_t size, const char *path)
{
	ck_assert_int_lt(snprintf(full, size, "%s/%s", env_root, path), (int)size);
}

void put_file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	path_of(full, sizeof(full), path);
	for (char *slash = full + strlen(env_root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "w");
	ck_assert_msg(f, "%s: %s", full, strerror(errno));
	fputs(text, f);
	fclose(f);
}

bool file_exists(const char *path)
{
	char full[512];

	path_of(full, sizeof(full), path);
	return access(full, F_OK) == 0;
}

void put_machine(const char *name, const char *command_line, const char *more)
{
	CLEANUP(free_p) char *path = NULL, *text = NULL;

	ck_assert_int_gt(asprintf(&path, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nDescription=the machine %s\nMemory=64M\n"
				 "[Boot]\nKernel=%s/kernel\nCommandLine=%s\n%s",
				 name, env_root, command_line, more),
		0);
	put_file(path, text);
}

int text_fd(const char *text, size_t size)
{
	int fd = memfd_create("vm", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, text, size), 0);
	return fd;
}

/* ---- processes ---- */

static pid_t spawn(char *const argv[], const char *log)
{
	char full[512];
	pid_t pid;
	int fd;

	path_of(full, sizeof(full), log);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	setpgid(0, 0);
	fd = open(full, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close_range(3, ~0u, 0);
	execv(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

static void write_bus_config(void)
{
	char text[2048];

	snprintf(text, sizeof(text),
		"<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\"\n"
		" \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
		"<busconfig><type>system</type><listen>%s</listen><auth>EXTERNAL</auth>\n"
		"<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/>\n"
		"<deny send_type=\"method_call\"/><allow send_type=\"signal\"/>\n"
		"<allow send_requested_reply=\"true\" send_type=\"method_return\"/>\n"
		"<allow send_requested_reply=\"true\" send_type=\"error\"/>\n"
		"<allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\n"
		"<allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\n"
		"<allow send_destination=\"org.freedesktop.DBus\"/></policy>\n"
		"<policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/>\n"
		"<allow send_destination=\"org.freedesktop.PolicyKit1\"/></policy>\n"
		"<include>%s</include></busconfig>\n",
		bus_address, DBUS_POLICY);
	put_file("bus.conf", text);
}

static bool vmmd_answers(void)
{
	DBusConnection *bus = bus_open();
	bool has = dbus_bus_name_has_owner(bus, NAME, NULL);

	bus_close(bus);
	return has;
}

void env_start_vmmd(void)
{
	char root[128], bus[160], worker[512];
	char *argv[] = { (char *)VMMD, (char *)"--spawn=direct", root, bus, worker,
		(char *)"--verbose", NULL };

	snprintf(root, sizeof(root), "--root=%s", env_root);
	snprintf(bus, sizeof(bus), "--bus=%s", bus_address);
	snprintf(worker, sizeof(worker), "--worker=%s", env_worker);
	vmmd_pid = spawn(argv, "vmmd.log");
	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		ck_assert_msg(waitpid(vmmd_pid, NULL, WNOHANG) == 0, "vmmd has ended");
		if (vmmd_answers())
			return;
		nap();
	}
	ck_abort_msg("vmmd does not take its name");
}

pid_t env_vmmd_pid(void)
{
	return vmmd_pid;
}

void env_kill_vmmd(void)
{
	/* Test processes are forked: only the one that started it can wait for it. */
	kill(vmmd_pid, SIGKILL);
	if (waitpid(vmmd_pid, NULL, 0) < 0)
		while (kill(vmmd_pid, 0) == 0 && vmmd_answers())
			nap();
}

char *env_log(void)
{
	char full[512];
	char *text = calloc(1, 1 << 20);
	int fd;

	path_of(full, sizeof(full), "vmmd.log");
	fd = open(full, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, text, (1 << 20) - 1), 0);
	close(fd);
	return text;
}

static void start_bus(void)
{
	char *argv[] = { (char *)DBUS_DAEMON, (char *)"--nofork", (char *)"--nopidfile", NULL,
		NULL };
	char config[128], path[128];

	snprintf(config, sizeof(config), "--config-file=%s/bus.conf", env_root);
	argv[3] = config;
	dbus_pid = spawn(argv, "dbus.log");
	path_of(path, sizeof(path), "bus");
	for (int i = 0; i < WAIT_MSEC / 10 && access(path, F_OK) < 0; i++)
		nap();
}

void env_kill_bus(void)
{
	char path[128];

	kill(dbus_pid, SIGKILL);
	waitpid(dbus_pid, NULL, 0);
	path_of(path, sizeof(path), "bus");
	unlink(path);
	start_bus();
	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		if (vmmd_answers())
			return;
		nap();
	}
	ck_abort_msg("vmmd does not come back to the bus");
}

void env_start(void)
{

	strcpy(env_root, "/tmp/test-dbus-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(env_root));
	/* Clients of other users reach the bus. */
	ck_assert_int_eq(chmod(env_root, 0755), 0);
	snprintf(bus_address, sizeof(bus_address), "unix:path=%s/bus", env_root);
	put_file("kernel", "not a kernel, but a file\n");
	put_file("etc/vmm/keep", "");
	put_file("usr/lib/vmm/keep", "");
	put_file("run/vmm/keep", "");
	write_bus_config();
	start_bus();
	env_start_vmmd();
}

/* Workers that a failed test has left. */
static void kill_workers(void)
{
	CLEANUP(free_p) char *pattern = NULL;
	glob_t found;
	int pid;

	ck_assert_int_gt(asprintf(&pattern, "%s/run/vmmd/machine/*/state", env_root), 0);
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		FILE *f = fopen(found.gl_pathv[i], "r");
		char line[128];

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "PID=%d", &pid) == 1 && pid > 1)
				kill(pid, SIGKILL);
		if (f)
			fclose(f);
	}
	globfree(&found);
}

void expect_nothing_left(void)
{
	char command[256];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s/run/vmmd/machine)\"", env_root);
	ck_assert_int_eq(system(command), 0);
}

void env_stop(void)
{
	char command[256];
	int status;

	kill(vmmd_pid, SIGTERM);
	/* A leak that the sanitizer finds is a failure of the whole. */
	if (waitpid(vmmd_pid, &status, 0) == vmmd_pid &&
		!(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		CLEANUP(free_p) char *log = env_log();

		fprintf(stderr, "vmmd ended with wait status 0x%x:\n%s", status, log);
		exit(1);
	}
	kill(dbus_pid, SIGTERM);
	waitpid(dbus_pid, NULL, 0);
	kill_workers();
	if (getenv("KEEP"))
		return;
	snprintf(command, sizeof(command), "rm -r %s", env_root);
	ck_assert_int_eq(system(command), 0);
}

/* ---- the client ---- */

DBusConnection *bus_open(void)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusConnection *bus = NULL;

	for (int i = 0; i < WAIT_MSEC / 10 && !bus; i++) {
		bus = dbus_connection_open_private(bus_address, &error);
		if (!bus) {
			dbus_error_free(&error);
			nap();
		}
	}
	ck_assert_msg(bus, "no bus");
	dbus_connection_set_exit_on_disconnect(bus, false);
	ck_assert_msg(dbus_bus_register(bus, &error), "%s", error.message);
	return bus;
}

void bus_close(DBusConnection *bus)
{
	dbus_connection_close(bus);
	dbus_connection_unref(bus);
}

static DBusMessage *new_call(
	const char *path, const char *interface, const char *member, int first_type, va_list ap)
{
	DBusMessage *message = dbus_message_new_method_call(NAME, path, interface, member);

	ck_assert_ptr_nonnull(message);
	ck_assert(dbus_message_append_args_valist(message, first_type, ap));
	return message;
}

static DBusMessage *exchange(DBusConnection *bus, DBusMessage *message, DBusError *error)
{
	DBusMessage *reply =
		dbus_connection_send_with_reply_and_block(bus, message, CALL_MSEC, error);

	dbus_message_unref(message);
	return reply;
}

DBusMessage *call(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusMessage *reply;
	va_list ap;

	va_start(ap, first_type);
	reply = exchange(bus, new_call(path, interface, member, first_type, ap), &error);
	va_end(ap);
	ck_assert_msg(reply, "%s.%s: %s: %s", interface, member, error.name, error.message);
	return reply;
}

void call_ok(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusMessage *reply;
	va_list ap;

	va_start(ap, first_type);
	reply = exchange(bus, new_call(path, interface, member, first_type, ap), &error);
	va_end(ap);
	ck_assert_msg(reply, "%s.%s: %s: %s", interface, member, error.name, error.message);
	dbus_message_unref(reply);
}

void call_fails(DBusConnection *bus, const char *error_name, char **ret_text, const char *path,
	const char *interface, const char *member, int first_type, ...)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusMessage *reply;
	va_list ap;

	va_start(ap, first_type);
	reply = exchange(bus, new_call(path, interface, member, first_type, ap), &error);
	va_end(ap);
	ck_assert_msg(!reply, "%s.%s: went well, expected %s", interface, member, error_name);
	ck_assert_msg(strcmp(error.name, error_name) == 0, "%s.%s: %s (%s), expected %s", interface,
		member, error.name, error.message, error_name);
	if (ret_text)
		*ret_text = strdup(error.message);
	dbus_error_free(&error);
}

DBusPendingCall *call_async(DBusConnection *bus, const char *path, const char *interface,
	const char *member, int first_type, ...)
{
	DBusPendingCall *pending = NULL;
	DBusMessage *message;
	va_list ap;

	va_start(ap, first_type);
	message = new_call(path, interface, member, first_type, ap);
	va_end(ap);
	ck_assert(dbus_connection_send_with_reply(bus, message, &pending, CALL_MSEC));
	dbus_message_unref(message);
	dbus_connection_flush(bus);
	return pending;
}

void watch_signals(DBusConnection *bus)
{
	DBusError error = DBUS_ERROR_INIT;

	dbus_bus_add_match(bus, "type='signal',sender='" NAME "'", &error);
	ck_assert_msg(!dbus_error_is_set(&error), "%s", error.message);
}

DBusMessage *wait_signal(DBusConnection *bus, const char *interface, const char *member)
{
	uint64_t end = vmm_base_now_nsec() + UINT64_C(1000000) * WAIT_MSEC;

	while (vmm_base_now_nsec() < end) {
		DBusMessage *message = dbus_connection_pop_message(bus);

		if (!message) {
			dbus_connection_read_write(bus, 100);
			continue;
		}
		if (dbus_message_is_signal(message, interface, member))
			return message;
		dbus_message_unref(message);
	}
	ck_abort_msg("no signal %s.%s", interface, member);
}

/* ---- machines ---- */

char *machine_object(const char *name)
{
	char *path;

	/* Letters and digits stand for themselves; test machines have nothing else but '-'. */
	ck_assert_int_gt(asprintf(&path, MANAGER "/machine/%s", name), 0);
	ck_assert_msg(!strchr(name, '-') && strcspn(name, "0123456789") > 0, "%s", name);
	return path;
}

static void get_property(DBusConnection *bus, const char *path, const char *interface,
	const char *property, int type, void *value)
{
	DBusMessageIter iter, variant;
	DBusMessage *reply = call(bus, path, PROPERTIES_I, "Get", DBUS_TYPE_STRING, &interface,
		DBUS_TYPE_STRING, &property, DBUS_TYPE_INVALID);

	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &variant);
	ck_assert_int_eq(dbus_message_iter_get_arg_type(&variant), type);
	dbus_message_iter_get_basic(&variant, value);
	if (type == DBUS_TYPE_STRING)
		*(char **)value = strdup(*(char **)value);
	dbus_message_unref(reply);
}

static void machine_property(
	DBusConnection *bus, const char *name, const char *property, int type, void *value)
{
	CLEANUP(free_p) char *path = machine_object(name);

	get_property(bus, path, MACHINE_I, property, type, value);
}

char *get_string(DBusConnection *bus, const char *name, const char *property)
{
	char *value;

	machine_property(bus, name, property, DBUS_TYPE_STRING, &value);
	return value;
}

dbus_uint32_t get_uint(DBusConnection *bus, const char *name, const char *property)
{
	dbus_uint32_t value;

	machine_property(bus, name, property, DBUS_TYPE_UINT32, &value);
	return value;
}

dbus_uint64_t get_u64(DBusConnection *bus, const char *name, const char *property)
{
	dbus_uint64_t value;

	machine_property(bus, name, property, DBUS_TYPE_UINT64, &value);
	return value;
}

dbus_int32_t get_int(DBusConnection *bus, const char *name, const char *property)
{
	dbus_int32_t value;

	machine_property(bus, name, property, DBUS_TYPE_INT32, &value);
	return value;
}

bool get_bool(DBusConnection *bus, const char *name, const char *property)
{
	dbus_bool_t value;

	machine_property(bus, name, property, DBUS_TYPE_BOOLEAN, &value);
	return value;
}

dbus_uint32_t get_manager_uint(DBusConnection *bus, const char *property)
{
	dbus_uint32_t value;

	get_property(bus, MANAGER, MANAGER_I, property, DBUS_TYPE_UINT32, &value);
	return value;
}

void expect_string(
	DBusConnection *bus, const char *name, const char *property, const char *expected)
{
	CLEANUP(free_p) char *value = get_string(bus, name, property);

	ck_assert_str_eq(value, expected);
}

void wait_state(DBusConnection *bus, const char *name, const char *state)
{
	CLEANUP(free_p) char *value = NULL;

	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		free(TAKE_PTR(value));
		value = get_string(bus, name, "State");
		if (strcmp(value, state) == 0)
			return;
		nap();
	}
	ck_abort_msg("%s is %s, not %s", name, value, state);
}

void wait_gone(DBusConnection *bus, const char *name)
{
	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		DBusMessage *message =
			dbus_message_new_method_call(NAME, MANAGER, MANAGER_I, "GetMachine");
		DBusError error = DBUS_ERROR_INIT;
		DBusMessage *reply;

		dbus_message_append_args(message, DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID);
		reply = exchange(bus, message, &error);
		if (!reply) {
			ck_assert_str_eq(error.name, "org.vmmd1.NoSuchMachine");
			dbus_error_free(&error);
			return;
		}
		dbus_message_unref(reply);
		nap();
	}
	ck_abort_msg("%s is still there", name);
}

char *job_result(DBusConnection *bus, const char *job)
{
	for (;;) {
		DBusMessage *message = wait_signal(bus, MANAGER_I, "JobRemoved");
		const char *path, *machine, *result;
		char *copy = NULL;
		dbus_uint32_t id;

		ck_assert(dbus_message_get_args(message, NULL, DBUS_TYPE_UINT32, &id,
			DBUS_TYPE_OBJECT_PATH, &path, DBUS_TYPE_STRING, &machine, DBUS_TYPE_STRING,
			&result, DBUS_TYPE_INVALID));
		if (strcmp(path, job) == 0)
			copy = strdup(result);
		dbus_message_unref(message);
		if (copy)
			return copy;
	}
}

static void expect_result(DBusConnection *bus, DBusMessage *reply, const char *name,
	const char *verb, const char *result)
{
	CLEANUP(free_p) char *actual = NULL, *status = NULL;
	const char *job;

	ck_assert(
		dbus_message_get_args(reply, NULL, DBUS_TYPE_OBJECT_PATH, &job, DBUS_TYPE_INVALID));
	actual = job_result(bus, job);
	if (strcmp(actual, result) != 0)
		status = get_string(bus, name, "StatusText");
	ck_assert_msg(strcmp(actual, result) == 0, "%s of %s: %s, not %s: %s", verb, name, actual,
		result, status);
	dbus_message_unref(reply);
}

void start_machine(DBusConnection *bus, const char *name, const char *result)
{
	const char *mode = "fail";
	dbus_uint64_t flags = 0;

	expect_result(bus,
		call(bus, MANAGER, MANAGER_I, "StartMachine", DBUS_TYPE_STRING, &name,
			DBUS_TYPE_STRING, &mode, DBUS_TYPE_UINT64, &flags, DBUS_TYPE_INVALID),
		name, "start", result);
}

void stop_machine(DBusConnection *bus, const char *name, const char *how, const char *result)
{
	dbus_uint64_t flags = 0, timeout = 0;

	expect_result(bus,
		call(bus, MANAGER, MANAGER_I, "StopMachine", DBUS_TYPE_STRING, &name,
			DBUS_TYPE_STRING, &how, DBUS_TYPE_UINT64, &timeout, DBUS_TYPE_UINT64,
			&flags, DBUS_TYPE_INVALID),
		name, "stop", result);
}
