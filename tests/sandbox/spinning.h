/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spinning: a machine under vmmd whose guest does nothing, for as long as it takes. */
#ifndef VMM_TESTS_SANDBOX_SPINNING_H
#define VMM_TESTS_SANDBOX_SPINNING_H

#include <dbus/dbus.h>
#include <sys/types.h>

/* Of the last one that was started. The connection is to be closed by who started it. */
extern DBusConnection *spinning_bus;
extern pid_t spinning_pid;

/* The machine NAME with two CPUs, 16 MiB and a drive. */
void start_spinning(const char *name);

#endif
