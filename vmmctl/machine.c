/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* machine: start, stop and the other verbs that change what a machine does. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/util.h"
#include "ctl.h"

/* Calls that make a job each, for all names at once, then one wait. */
static int for_jobs(struct ctl *ctl, char **arguments, const char *member, const char *how)
{
	struct jobs jobs = {};
	int status = EXIT_SUCCESS;

	/* A bad name among them is a slip: nothing is done by halves. */
	for (size_t i = 0; arguments[i]; i++) {
		if (!ctl_machine_name(arguments[i]))
			return EXIT_FAILURE;
	}
	ctl_open_agent(ctl);
	if (jobs_begin(ctl, &jobs) < 0)
		return EXIT_FAILURE;
	for (; *arguments; arguments++) {
		const char *name = ctl_machine_name(*arguments);
		sd_bus_message *reply = NULL;
		const char *path;
		int r = -EINVAL;

		if (name && strcmp(member, "StopMachine") == 0)
			r = ctl_call(ctl, name, member, &reply, "sstt", name, how,
				ctl->timeout_usec, UINT64_C(0));
		else if (name)
			r = ctl_call(ctl, name, member, &reply, "sst", name, how, UINT64_C(0));
		if (r >= 0) {
			r = sd_bus_message_read(reply, "o", &path);
			if (r >= 0)
				jobs_add(&jobs, path, name);
			else
				ctl_bus_error(ctl, name, NULL, r);
		}
		if (r < 0 && r != -EALREADY)
			status = EXIT_FAILURE;
		sd_bus_message_unref(reply);
	}
	/* While they run: of a unit without a job systemd would read all files for the answer. */
	for (size_t i = 0; strcmp(member, "StartMachine") == 0 && i < jobs.n_items; i++)
		ctl_warn_stale(ctl, jobs.items[i].machine);
	if (ctl->block && jobs_wait(ctl, &jobs) != EXIT_SUCCESS)
		status = EXIT_FAILURE;
	jobs_finish(&jobs);
	return status;
}

int verb_start(struct ctl *ctl, char **arguments)
{
	return for_jobs(ctl, arguments, "StartMachine", ctl->job_mode ? ctl->job_mode : "replace");
}

int verb_stop(struct ctl *ctl, char **arguments)
{
	/* What is wanted is the case already. */
	ctl->harmless = "org.vmmd1.MachineNotRunning";
	return for_jobs(ctl, arguments, "StopMachine", ctl->force ? "force" : "auto");
}

int verb_terminate(struct ctl *ctl, char **arguments)
{
	ctl->harmless = "org.vmmd1.MachineNotRunning";
	return for_jobs(ctl, arguments, "StopMachine", "force");
}

int verb_reboot(struct ctl *ctl, char **arguments)
{
	return for_jobs(ctl, arguments, "RebootMachine", ctl->force ? "force" : "auto");
}

/* Calls that are done when they return. */
static int for_each(struct ctl *ctl, char **arguments, const char *member)
{
	int status = EXIT_SUCCESS;

	ctl_open_agent(ctl);
	for (; *arguments; arguments++) {
		const char *name = ctl_machine_name(*arguments);

		if (!name || ctl_call(ctl, name, member, NULL, "st", name, UINT64_C(0)) < 0)
			status = EXIT_FAILURE;
	}
	return status;
}

int verb_pause(struct ctl *ctl, char **arguments)
{
	return for_each(ctl, arguments, "PauseMachine");
}

int verb_resume(struct ctl *ctl, char **arguments)
{
	return for_each(ctl, arguments, "ResumeMachine");
}

/* "9", "KILL" or "SIGKILL". Negative: none of them. */
static int parse_signal(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end != text && *end == '\0')
		return number > 0 && number < NSIG ? (int)number : -EINVAL;
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcmp(name, text) == 0)
			return i;
	}
	return -EINVAL;
}

int verb_kill(struct ctl *ctl, char **arguments)
{
	int number = parse_signal(ctl->signal), status = EXIT_SUCCESS;

	if (number < 0) {
		ctl_error("--signal=%s: there is no such signal", ctl->signal);
		return EXIT_FAILURE;
	}
	ctl_open_agent(ctl);
	for (; *arguments; arguments++) {
		const char *name = ctl_machine_name(*arguments);

		if (!name || ctl_call(ctl, name, "KillMachine", NULL, "ssit", name,
				     ctl->whom ? ctl->whom : "leader", number, UINT64_C(0)) < 0)
			status = EXIT_FAILURE;
	}
	return status;
}

int verb_cancel(struct ctl *ctl, char **arguments)
{
	int status = EXIT_SUCCESS;

	ctl_open_agent(ctl);
	for (; *arguments; arguments++) {
		CLEANUP(free_p) char *path = NULL;
		char *end;
		unsigned long id = strtoul(*arguments, &end, 10);

		if (**arguments < '0' || **arguments > '9' || *end != '\0' || id > UINT32_MAX) {
			ctl_error("%s: a job is a number, see vmmctl list-jobs", *arguments);
			status = EXIT_FAILURE;
			continue;
		}
		path = must_printf(VMMD_PATH "/job/%lu", id);
		if (ctl_call_to(ctl, *arguments, VMMD_NAME, path, VMMD_JOB, "Cancel", NULL, NULL) <
			0)
			status = EXIT_FAILURE;
	}
	return status;
}

int verb_reload(struct ctl *ctl, char **arguments)
{
	ctl_open_agent(ctl);
	if (ctl_call(ctl, NULL, "Reload", NULL, NULL) < 0)
		return EXIT_FAILURE;
	ctl_reload_systemd(ctl);
	return EXIT_SUCCESS;
}
