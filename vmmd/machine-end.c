/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* machine: what the end of a worker means, to programs and to people; see machine.h. */
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "machine.h"

/* systemd's own exit statuses, of what it does before it executes a worker: systemd.exec(5). */
#define SYSTEMD_EXIT_FIRST 200
#define SYSTEMD_EXIT_LAST 245

const char *machine_result_of_exit(int exit_status)
{
	switch (exit_status) {
	case VMM_WORKER_EXIT_POWEROFF:
	case VMM_WORKER_EXIT_REBOOT:
		return "success";
	case VMM_WORKER_EXIT_CRASH:
		return "guest-panic";
	case VMM_WORKER_EXIT_CONFIG:
		return "configuration";
	default:
		return "exit-code";
	}
}

static const char *why_killed(const char *result)
{
	if (strcmp(result, "oom-kill") == 0)
		return ": out of memory";
	if (strcmp(result, "timeout") == 0)
		return ": it took too long";
	if (strcmp(result, "watchdog") == 0)
		return ": it no longer answered";
	return "";
}

void machine_explain_end(struct machine *machine)
{
	int status = machine->exit_status;
	const char *name;

	if (machine->status_text[0])
		return;
	if (status < 0) {
		name = sigabbrev_np(-status);
		machine_set_status(machine, "its worker was killed by %s%s%s",
			name ? "SIG" : "a signal", name ? name : "", why_killed(machine->result));
	} else if (status >= SYSTEMD_EXIT_FIRST && status <= SYSTEMD_EXIT_LAST) {
		machine_set_status(
			machine, "systemd could not set up its worker (exit status %d)", status);
	} else if (strcmp(machine->result, "resources") == 0) {
		machine_set_status(machine, "systemd could not start its unit");
	} else if (strcmp(machine->result, "timeout") == 0) {
		machine_set_status(machine, "it took too long");
	} else if (strcmp(machine->result, "protocol") == 0) {
		machine_set_status(machine, "its worker ended before it was ready");
	} else if (status > 0) {
		machine_set_status(machine,
			"its worker ended with exit status %d and did not say why", status);
	} else {
		machine_set_status(machine, "a command of its unit has failed");
	}
}
