/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* manager: start, stop and reboot. Each makes a job, and takes what is in its way. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "control.h"
#include "error.h"
#include "job.h"
#include "log.h"
#include "manager.h"
#include "resources.h"
#include "spawn.h"

/* A guest that was asked to stop or reboot and does not: longer than it may itself wait for
 * its services, as TimeoutStopSec= of the unit. */
#define ASK_USEC (UINT64_C(150) * 1000 * 1000)

static int limit_reached(char **ret_text)
{
	return error_say(
		ret_text, -VMMD_E_LIMITS_EXCEEDED, "more than %d jobs at a time", MANAGER_MAX_JOBS);
}

/* A stop of ours that the requester no longer waits for goes on all the same. */
static void supersede(struct machine *machine)
{
	if (machine->job)
		job_finish(machine->job, "canceled");
}

/* ---- start ---- */

static void start_checked(void *userdata, struct resources_result *result)
{
	struct job *job = userdata;

	job->check = NULL;
	if (result->error < 0) {
		machine_set_result(job->machine,
			result->exit_status == VMM_WORKER_EXIT_CONFIG ? "configuration"
								      : "resources",
			result->exit_status);
		job_fail(job, result->error, result->text);
		return;
	}
	job->manager->spawner->start(job);
}

int manager_start_machine(
	struct manager *manager, const char *name, bool replace, void *requester, char **ret_text)
{
	struct machine *machine;
	struct job *job;
	int r;

	r = manager_get(manager, name, &machine, ret_text);
	if (r < 0)
		return r;
	if (machine->job && !replace)
		return error_say(ret_text, -VMMD_E_MACHINE_BUSY, "a %s of %s is under way",
			job_kind_name(machine->job->kind), name);
	r = machine_load(machine);
	if (r < 0)
		return r;
	if (!machine_is_active(machine)) {
		if (!machine->defined) {
			manager_schedule_flush(manager);
			return error_say(ret_text, -VMMD_E_NO_SUCH_MACHINE,
				"there is no machine \"%s\"", name);
		}
		if (machine->config_error) {
			machine_set_status(machine, "%s", machine->config_error);
			machine_set_result(machine, "configuration", VMM_WORKER_EXIT_CONFIG);
			return error_say(
				ret_text, -VMMD_E_BAD_CONFIGURATION, "%s", machine->config_error);
		}
	}
	supersede(machine);
	r = job_new(machine, JOB_START, requester, &job);
	if (r == -VMMD_E_LIMITS_EXCEEDED)
		return limit_reached(ret_text);
	if (r < 0)
		return r;
	if (machine_is_active(machine)) {
		manager->spawner->start(job);
		return 0;
	}
	/* Nothing is kept from this look: what counts is opened when the worker asks. */
	r = resources_open(machine, RESOURCES_CHECK, start_checked, job, &job->check);
	if (r < 0) {
		job->requester = NULL;
		job_fail(job, r, NULL);
		return r;
	}
	return 0;
}

/* ---- stop ---- */

static int on_stop_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct job *job = userdata;
	struct log_about about = { .name = job->machine->name, .pid = job->machine->leader };

	log_line(LOG_WARNING, &about, "has not stopped in time, forcing it off");
	job->manager->spawner->force(job->machine);
	return 0;
}

static int on_ask_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct job *job = userdata;
	struct log_about about = { .name = job->machine->name, .pid = job->machine->leader };

	log_line(LOG_WARNING, &about, "the guest has not followed the request to %s",
		job->kind == JOB_STOP ? "stop" : "reboot");
	job_finish(job, "timeout");
	return 0;
}

static int set_timer(struct job *job, uint64_t usec, sd_event_time_handler_t handler)
{
	uint64_t due;

	if (__builtin_add_overflow(vmm_base_now_nsec() / 1000, usec, &due))
		return 0;
	return sd_event_add_time(
		job->manager->event, &job->timer, CLOCK_MONOTONIC, due, 10000, handler, job);
}

static void asked(void *userdata, int error, const struct vmm_control_message *message)
{
	struct machine *machine = userdata;
	struct job *job = machine->job;

	/* The job may have gone, and another have come: that one was asked for later. */
	if (!job || job->accepted || job->kind == JOB_START)
		return;
	/* A worker that ends at once may go before it has answered. */
	if (error == 0 || error == -ECONNRESET)
		job_accept(job);
	else
		job_fail(job, -VMMD_E_WORKER, message && message->text[0] ? message->text : NULL);
	job_look(machine);
}

/* Ends by what the unit does. The worker's answer takes the job on. */
static int ask_worker(struct job *job, uint32_t type, const void *payload, size_t size)
{
	job->watch_unit = true;
	job->old_leader = job->machine->leader;
	if (!job->machine->control)
		return -VMMD_E_MACHINE_NOT_RUNNING;
	return control_request(
		job->machine->control, type, payload, size, -EBADF, asked, job->machine);
}

int manager_stop_machine(struct manager *manager, const char *name, enum stop_how how,
	uint64_t timeout_usec, void *requester, char **ret_text)
{
	struct machine *machine;
	struct job *job;
	int r;

	r = manager_get(manager, name, &machine, ret_text);
	if (r < 0)
		return r;
	if (!machine_is_active(machine) && !machine->job)
		return error_say(ret_text, -VMMD_E_MACHINE_NOT_RUNNING, "%s is not running", name);
	if ((how == STOP_ACPI || how == STOP_CAD) && !machine->control)
		return error_say(ret_text, -VMMD_E_MACHINE_NOT_RUNNING,
			"the worker of %s cannot be reached", name);
	supersede(machine);
	r = job_new(machine, JOB_STOP, requester, &job);
	if (r == -VMMD_E_LIMITS_EXCEEDED)
		return limit_reached(ret_text);
	if (r < 0)
		return r;
	job->how = how;
	if (how == STOP_AUTO || how == STOP_FORCE) {
		if (timeout_usec > 0 && how == STOP_AUTO)
			r = set_timer(job, timeout_usec, on_stop_timeout);
		if (r >= 0) {
			manager->spawner->stop(job);
			if (how == STOP_FORCE)
				manager->spawner->force(machine);
			return 0;
		}
	} else {
		r = ask_worker(job,
			how == STOP_ACPI ? VMM_CONTROL_POWER_BUTTON : VMM_CONTROL_CTRL_ALT_DEL,
			NULL, 0);
		if (r >= 0)
			r = timeout_usec > 0 ? set_timer(job, timeout_usec, on_stop_timeout)
					     : set_timer(job, ASK_USEC, on_ask_timeout);
		if (r >= 0)
			return 0;
	}
	job->requester = NULL;
	job_fail(job, r, NULL);
	return r;
}

/* ---- reboot ---- */

int manager_reboot_machine(
	struct manager *manager, const char *name, bool force, void *requester, char **ret_text)
{
	struct vmm_control_how payload = { .how = force ? VMM_HOW_HARD : VMM_HOW_GRACEFUL };
	struct machine *machine;
	struct job *job;
	int r;

	r = manager_get(manager, name, &machine, ret_text);
	if (r < 0)
		return r;
	if (!machine_is_active(machine))
		return error_say(ret_text, -VMMD_E_MACHINE_NOT_RUNNING, "%s is not running", name);
	if (!force && !machine->control)
		return error_say(ret_text, -VMMD_E_MACHINE_NOT_RUNNING,
			"the worker of %s cannot be reached; a forced reboot will do", name);
	supersede(machine);
	r = job_new(machine, JOB_REBOOT, requester, &job);
	if (r == -VMMD_E_LIMITS_EXCEEDED)
		return limit_reached(ret_text);
	if (r < 0)
		return r;
	job->force = force;
	r = ask_worker(job, VMM_CONTROL_REBOOT, &payload, sizeof(payload));
	if (r < 0 && force) {
		manager->spawner->restart(job);
		return 0;
	}
	if (r >= 0)
		r = set_timer(job, ASK_USEC, on_ask_timeout);
	if (r >= 0)
		return 0;
	job->requester = NULL;
	job_fail(job, r, NULL);
	return r;
}
