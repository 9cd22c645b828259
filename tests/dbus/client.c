/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* client: a client of vmmd made with libdbus; see client.h. */
#include "client.h"

#include <check.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "harness.h"

enum {
	CALL_MSEC = 30000,
	WAIT_MSEC = 10000,
};

const dbus_uint64_t none;
const char *const empty = "";

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
}

DBusConnection *bus_open(void)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusConnection *bus = NULL;

	for (int i = 0; i < WAIT_MSEC / 10 && !bus; i++) {
		bus = dbus_connection_open_private(env_bus_address, &error);
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

static DBusMessage *call_va(DBusConnection *bus, const char *path, const char *interface,
	const char *member, int first_type, va_list ap)
{
	DBusError error = DBUS_ERROR_INIT;
	DBusMessage *reply =
		exchange(bus, new_call(path, interface, member, first_type, ap), &error);

	ck_assert_msg(reply, "%s.%s: %s: %s", interface, member, error.name, error.message);
	return reply;
}

DBusMessage *call(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...)
{
	DBusMessage *reply;
	va_list ap;

	va_start(ap, first_type);
	reply = call_va(bus, path, interface, member, first_type, ap);
	va_end(ap);
	return reply;
}

void call_ok(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...)
{
	va_list ap;

	va_start(ap, first_type);
	dbus_message_unref(call_va(bus, path, interface, member, first_type, ap));
	va_end(ap);
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

DBusConnection *bus_open_watching(void)
{
	DBusConnection *bus = bus_open();

	watch_signals(bus);
	return bus;
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
	DBusMessage *reply =
		call(bus, path, PROPERTIES_I, "Get", STRING(interface), STRING(property), END);

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

	machine_property(bus, name, property, STRING(value));
	return value;
}

dbus_uint32_t get_uint(DBusConnection *bus, const char *name, const char *property)
{
	dbus_uint32_t value;

	machine_property(bus, name, property, U32(value));
	return value;
}

dbus_uint64_t get_u64(DBusConnection *bus, const char *name, const char *property)
{
	dbus_uint64_t value;

	machine_property(bus, name, property, U64(value));
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

	get_property(bus, MANAGER, MANAGER_I, property, U32(value));
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

		dbus_message_append_args(message, STRING(name), END);
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

		ck_assert(dbus_message_get_args(message, NULL, U32(id), DBUS_TYPE_OBJECT_PATH,
			&path, STRING(machine), STRING(result), END));
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

	ck_assert(dbus_message_get_args(reply, NULL, DBUS_TYPE_OBJECT_PATH, &job, END));
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

	expect_result(bus,
		call(bus, MANAGER, MANAGER_I, "StartMachine", STRING(name), STRING(mode), U64(none),
			END),
		name, "start", result);
}

void stop_machine(DBusConnection *bus, const char *name, const char *how, const char *result)
{
	expect_result(bus,
		call(bus, MANAGER, MANAGER_I, "StopMachine", STRING(name), STRING(how), U64(none),
			U64(none), END),
		name, "stop", result);
}

void reboot_machine(DBusConnection *bus, const char *name, const char *how)
{
	expect_result(bus,
		call(bus, MANAGER, MANAGER_I, "RebootMachine", STRING(name), STRING(how), U64(none),
			END),
		name, "reboot", "done");
}

/* ---- consoles ---- */

int open_console(DBusConnection *bus, const char *name, dbus_uint64_t flags)
{
	DBusMessage *reply =
		call(bus, MANAGER, MANAGER_I, "OpenMachineConsole", STRING(name), U64(flags), END);
	const char *path;
	int fd;

	ck_assert(dbus_message_get_args(reply, NULL, FD(fd), STRING(path), END));
	ck_assert_str_ne(path, "");
	dbus_message_unref(reply);
	return fd;
}

void expect_text(int fd, const char *text)
{
	char seen[4096] = "";
	size_t n = 0;

	while (!strstr(seen, text)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		ck_assert_msg(poll(&p, 1, WAIT_MSEC) == 1, "not seen: %s; but: %s", text, seen);
		got = read(fd, seen + n, sizeof(seen) - 1 - n);
		ck_assert_msg(got > 0, "ended before %s: %s", text, seen);
		n += (size_t)got;
		seen[n] = 0;
	}
}
