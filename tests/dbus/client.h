/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * client: a client of vmmd made with libdbus, which shares no code with vmmd's sd-bus.
 *
 * Every function fails the test where it cannot do what its name says.
 */
#ifndef VMM_TESTS_DBUS_CLIENT_H
#define VMM_TESTS_DBUS_CLIENT_H

#include <dbus/dbus.h>
#include <stdbool.h>

#define NAME "org.vmmd1"
#define MANAGER "/org/vmmd1"
#define MANAGER_I "org.vmmd1.Manager"
#define MACHINE_I "org.vmmd1.Machine"
#define JOB_I "org.vmmd1.Job"
#define PROPERTIES_I "org.freedesktop.DBus.Properties"

/* Arguments of calls, and of dbus_message_get_args(). */
#define STRING(v) DBUS_TYPE_STRING, &(v)
#define U64(v) DBUS_TYPE_UINT64, &(v)
#define U32(v) DBUS_TYPE_UINT32, &(v)
#define I32(v) DBUS_TYPE_INT32, &(v)
#define FD(v) DBUS_TYPE_UNIX_FD, &(v)
#define END DBUS_TYPE_INVALID

/* For arguments that say nothing: flags and times, modes and ways. */
extern const dbus_uint64_t none;
extern const char *const empty;

DBusConnection *bus_open(void);
void bus_close(DBusConnection *bus);

/* Arguments as for dbus_message_append_args(), ended by END. */
DBusMessage *call(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...);
/* The same, when it must fail with that error; *ret_text (may be NULL) is the caller's. */
void call_fails(DBusConnection *bus, const char *error_name, char **ret_text, const char *path,
	const char *interface, const char *member, int first_type, ...);
void call_ok(DBusConnection *bus, const char *path, const char *interface, const char *member,
	int first_type, ...);
/* Sends without waiting. */
DBusPendingCall *call_async(DBusConnection *bus, const char *path, const char *interface,
	const char *member, int first_type, ...);

/* The next signal of that name; what comes before it is dropped. */
DBusMessage *wait_signal(DBusConnection *bus, const char *interface, const char *member);
void watch_signals(DBusConnection *bus);
DBusConnection *bus_open_watching(void);

/* Properties of a machine; the string is the caller's. */
char *get_string(DBusConnection *bus, const char *name, const char *property);
dbus_uint32_t get_uint(DBusConnection *bus, const char *name, const char *property);
dbus_uint64_t get_u64(DBusConnection *bus, const char *name, const char *property);
dbus_int32_t get_int(DBusConnection *bus, const char *name, const char *property);
bool get_bool(DBusConnection *bus, const char *name, const char *property);
dbus_uint32_t get_manager_uint(DBusConnection *bus, const char *property);
void expect_string(
	DBusConnection *bus, const char *name, const char *property, const char *expected);
/* Within ten seconds. */
void wait_state(DBusConnection *bus, const char *name, const char *state);
void wait_gone(DBusConnection *bus, const char *name);
char *machine_object(const char *name);

/* Waits for the end of a job. The result is the caller's. */
char *job_result(DBusConnection *bus, const char *job);
/* Starts, stops or reboots and expects that result, a reboot "done". */
void start_machine(DBusConnection *bus, const char *name, const char *result);
void stop_machine(DBusConnection *bus, const char *name, const char *how, const char *result);
void reboot_machine(DBusConnection *bus, const char *name, const char *how);

enum console_flag {
	CONSOLE_STEAL = 1,  /* take the place of the writer */
	CONSOLE_REPLAY = 4, /* first what was printed before */
};
int open_console(DBusConnection *bus, const char *name, dbus_uint64_t flags);
/* Reads until text has come, for ten seconds from one piece to the next. */
void expect_text(int fd, const char *text);

#endif
