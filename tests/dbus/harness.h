/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * harness: a private bus with the shipped policy, and vmmd with --spawn=direct below a root of its
 * own. Who asks it is in client.h.
 *
 * Every function fails the test where it cannot do what its name says.
 */
#ifndef VMM_TESTS_DBUS_HARNESS_H
#define VMM_TESTS_DBUS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "client.h"

extern char env_root[]; /* vmmd's */
extern char env_bus_address[];
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
/* A machine whose kernel does not open, as on a dead file server: this process holds a lease on it
 * until it closes the descriptor that it gets. */
int put_hanging_machine(const char *name);
/* A memfd. */
int text_fd(const char *text, size_t size);

#endif
