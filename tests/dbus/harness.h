/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * harness: a private bus with the shipped policy, vmmd with --spawn=direct below a root of its
 * own, and a client made with libdbus, which shares no code with vmmd's sd-bus.
 *
 * Every function fails the test where it cannot do what its name says.
 */
#ifndef VMM_TESTS_DBUS_HARNESS_H
#define VMM_TESTS_DBUS_HARNESS_H

#include <dbus/dbus.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define NAME "org.vmmd1"
#define MANAGER "/org/vmmd1"
#define MANAGER_I "org.vmmd1.Manager"
#define MACHINE_I "org.vmmd1.Machine"
#define JOB_I "org.vmmd1.Job"
#define PROPERTIES_I "org.freedesktop.DBus.Properties"

extern char env_root[];        /* vmmd's */
extern const char *env_worker; /* the fake one; another before env_start() */

/* Once for a group of tests; env_stop() ends the program where vmmd does not end well. */
void env_start(void);
void env_stop(void);
/* Of machines, when none runs. */
void expect_nothing_left(void);

pid_t env_vmmd_pid(void);
/* vmmd alone: kill -9 and another one. */
void env_kill_vmmd(void);
void env_start_vmmd(void);
/* The bus alone: kill -9 and another one, to which vmmd has come back. Only where env_start() ran
 * in the test's own process. */
void env_kill_bus(void);
/* What vmmd has written to standard error so far; the caller's. */
char *env_log(void);

/* A file below env_root; directories are made. */
void put_file(const char *path, const char *text);
bool file_exists(const char *path);
/* etc/vmm/NAME.vm with a kernel that can be opened, and more. */
void put_machine(const char *name, const char *command_line, const char *more);
/* A memfd. */
int text_fd(const char *text, size_t size);

DBusConnection *bus_open(void);
void bus_close(DBusConnection *bus);

/* Arguments as for dbus_message_append_args, ended by DBUS_TYPE_INVALID. */
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
/* Starts or stops and expects that result. */
void start_machine(DBusConnection *bus, const char *name, const char *result);
void stop_machine(DBusConnection *bus, const char *name, const char *how, const char *result);

#endif
