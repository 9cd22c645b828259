/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-systemd: workers are the main processes of vmm@NAME.service. A client of PID 1 over
 * its private socket, or the system bus where that is not to be had: so workers are served
 * and started without a bus. What the units do is known from PropertiesChanged; when PID 1
 * goes away (daemon-reexec), the units are listed again.
 *
 * Interface: org.freedesktop.systemd1(5), as of systemd 252.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "base/util.h"
#include "control.h"
#include "error.h"
#include "log.h"
#include "spawn-systemd.h"
#include "spawn.h"

#define PRIVATE_ADDRESS "unix:path=/run/systemd/private"

#define KILL_USEC (UINT64_C(500) * 1000)
#define KILL_TRIES 20
#define CALL_USEC (UINT64_C(5) * 1000 * 1000)

/* ---- jobs ---- */

static const char *job_result(const char *result)
{
	static const char *const known[] = { "done", "canceled", "timeout", "dependency" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(result, known[i]) == 0)
			return known[i];
	return "failed";
}

/*
 * A unit's new state comes before the end of the job that made it, and was looked at then: where
 * that is all there is to know, nobody waits for systemd to tell it again.
 */
static bool has_started(const struct job *job, const char *result)
{
	struct unit *unit = unit_of(job->machine);

	return job->kind == JOB_START && strcmp(result, "done") == 0 && unit &&
	       unit_facts_state(&unit->facts) == UNIT_ACTIVE &&
	       job->machine->unit_state == UNIT_ACTIVE;
}

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct systemd *systemd = userdata;
	struct manager *manager = systemd->manager;
	const char *path, *unit, *result;
	uint32_t id;

	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	for (size_t i = 0; i < manager->n_jobs; i++) {
		struct job *job = manager->jobs[i];

		if (!job->unit_job || strcmp(job->unit_job, path) != 0)
			continue;
		free(TAKE_PTR(job->unit_job));
		if (has_started(job, result))
			job_finish(job, "done");
		else
			unit_refresh(job->machine, job, job_result(result));
		return 0;
	}
	return 0;
}

static int got_unit_job(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct call *call = userdata;
	struct job *job = call_job(call);
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	const char *path;

	if (request_lost(call, reply) || !job)
		return 0;
	/* It has ended before it could be asked to. */
	if (job->kind == JOB_STOP && sd_bus_error_has_name(error, SYSTEMD ".NoSuchUnit")) {
		unit_forget(job->machine);
		job_finish(job, "done");
		return 0;
	}
	if (error) {
		job_fail(job, -VMMD_E_START_FAILED, error->message);
		return 0;
	}
	if (sd_bus_message_read(reply, "o", &path) < 0)
		return 0;
	free(job->unit_job);
	job->unit_job = strdup(path);
	if (!job->unit_job)
		job->watch_unit = true;
	job_accept(job);
	return 0;
}

static int send_verb(struct call *call)
{
	struct systemd *systemd = call->systemd;
	struct machine *machine = manager_find(systemd->manager, call->name);
	struct job *job = call_job(call);
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r;

	if (!machine || (call->job_id && !job))
		return -ENOENT;
	/* Only the answer was lost: its worker has gone meanwhile. */
	if (job && job->kind == JOB_REBOOT && machine->leader != job->old_leader) {
		job->watch_unit = true;
		job_accept(job);
		free(call);
		return 0;
	}
	r = sd_bus_message_new_method_call(
		systemd->bus, &message, SYSTEMD, SYSTEMD_PATH, MANAGER_INTERFACE, call->verb);
	if (r >= 0)
		r = sd_bus_message_append(message, "ss", machine->unit, "replace");
	return r < 0 ? r : call_send(systemd, message, got_unit_job, call, NULL);
}

static void verb_failed(struct call *call, int error, const char *text)
{
	struct job *job = call_job(call);

	if (job)
		job_fail(job, -VMMD_E_START_FAILED, text ? text : strerror(-error));
}

/* StartUnit, StopUnit or RestartUnit. job NULL: nobody waits. */
static void unit_verb(struct machine *machine, const char *verb, struct job *job)
{
	struct call *call = call_new(machine);

	if (call) {
		call->verb = verb;
		call->job_id = job ? job->id : 0;
		call->send = send_verb;
		call->fail = verb_failed;
		request_send(call);
	} else if (job) {
		job_fail(job, -VMMD_E_START_FAILED, strerror(ENOMEM));
	}
}

static void systemd_start(struct job *job)
{
	unit_verb(job->machine, "StartUnit", job);
}

static void systemd_stop(struct job *job)
{
	unit_verb(job->machine, "StopUnit", job);
}

static int got_kill(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct call *call = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	spawn_done_t done = call->done;

	/* A second SIGKILL is as good as one; not so of others. */
	if (call->signal == SIGKILL && request_lost(call, reply))
		return 0;
	if (done)
		done(call->userdata, error ? -sd_bus_error_get_errno(error) : 0,
			error ? error->message : NULL);
	return 0;
}

static int send_kill(struct call *call)
{
	struct systemd *systemd = call->systemd;
	struct machine *machine = manager_find(systemd->manager, call->name);
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r;

	/* Not another worker, which has come since. */
	if (!machine || machine->leader != call->leader)
		return -ESRCH;
	r = sd_bus_message_new_method_call(
		systemd->bus, &message, SYSTEMD, SYSTEMD_PATH, MANAGER_INTERFACE, "KillUnit");
	if (r >= 0)
		r = sd_bus_message_append(message, "ssi", machine->unit, call->all ? "all" : "main",
			(int32_t)call->signal);
	return r < 0 ? r : call_send(systemd, message, got_kill, call, NULL);
}

static void kill_failed(struct call *call, int error, const char *text)
{
	if (call->done)
		call->done(call->userdata, error, text);
}

static void systemd_kill(
	struct machine *machine, bool all, int signal, spawn_done_t done, void *userdata)
{
	struct call *call = call_new(machine);

	if (call) {
		call->leader = machine->leader;
		call->all = all;
		call->signal = signal;
		call->done = done;
		call->userdata = userdata;
		call->send = send_kill;
		call->fail = kill_failed;
		request_send(call);
	} else if (done) {
		done(userdata, -ENOMEM, NULL);
	}
}

/*
 * A worker that is to end at once. A second SIGTERM does that, also to one that has no control
 * connection, and ends it well: after SIGKILL its unit would count as failed, and OnFailure= would
 * be told of what somebody asked for. One that does not follow is killed.
 */
static void end_hard(struct machine *machine)
{
	struct vmm_control_how hard = { .how = VMM_HOW_HARD };

	if (machine->control && control_request(machine->control, VMM_CONTROL_STOP, &hard,
					sizeof(hard), -EBADF, NULL, NULL) >= 0)
		return;
	systemd_kill(machine, false, SIGTERM, NULL, NULL);
}

static int on_kill_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct machine *machine = userdata;
	struct unit *unit = unit_of(machine);

	/* The next worker is somebody else, unless it is not known which one is to end. */
	if (unit && unit->kill_leader == 0 && machine->job && machine->job->kind == JOB_STOP)
		unit->kill_leader = machine->leader;
	if (!unit || !machine_is_active(machine) || machine->leader != unit->kill_leader)
		return 0;
	if (unit->n_kill_tries++ >= KILL_TRIES) {
		systemd_kill(machine, true, SIGKILL, NULL, NULL);
		return 0;
	}
	/* It may be just learning to listen to signals: two in one go are one to it then. */
	end_hard(machine);
	sd_event_source_set_time_relative(source, KILL_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void systemd_force(struct machine *machine)
{
	struct unit *unit = unit_of(machine);

	if (!unit) {
		systemd_kill(machine, true, SIGKILL, NULL, NULL);
		return;
	}
	end_hard(machine);
	unit->kill_leader = machine->leader;
	unit->n_kill_tries = 0;
	unit->kill_timer = sd_event_source_disable_unref(unit->kill_timer);
	sd_event_add_time_relative(machine->manager->event, &unit->kill_timer, CLOCK_MONOTONIC,
		KILL_USEC, 10000, on_kill_timer, machine);
}

static void systemd_restart(struct job *job)
{
	struct machine *machine = job->machine;

	job->watch_unit = false;
	unit_verb(machine, "RestartUnit", job);
	systemd_force(machine);
}

static void systemd_cancel(struct job *job)
{
	if (job->kind == JOB_START)
		unit_verb(job->machine, "StopUnit", NULL);
}

/* ---- the connection ---- */

void systemd_connect_again(struct systemd *systemd, int error)
{
	struct manager *manager = systemd->manager;

	if (error < 0 && log_limit_ok(&systemd->limit))
		log_error("systemd cannot be reached: %s", strerror(-error));
	/* Their end may be told to nobody: the units' states decide. Others have not begun yet. */
	for (size_t i = 0; i < manager->n_jobs; i++)
		if (manager->jobs[i]->accepted)
			manager->jobs[i]->watch_unit = true;
	systemd->is_known = false;
	systemd->bus = sd_bus_close_unref(systemd->bus);
	systemd_retry_later(systemd);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct systemd *systemd = userdata;

	if (systemd->is_known)
		log_info("the connection to systemd has ended, connecting again");
	systemd_connect_again(systemd, 0);
	return 0;
}

static int open_private(sd_bus **ret)
{
	CLEANUP(sd_bus_unrefp) sd_bus *bus = NULL;
	int r;

	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, PRIVATE_ADDRESS);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		*ret = TAKE_PTR(bus);
	return r;
}

static int add_matches(struct systemd *systemd)
{
	sd_bus *bus = systemd->bus;
	int r;

	r = sd_bus_match_signal_async(bus, NULL, NULL, SYSTEMD_PATH, MANAGER_INTERFACE,
		"JobRemoved", on_job_removed, NULL, systemd);
	if (r >= 0)
		r = sd_bus_add_match_async(bus, NULL,
			"type='signal',interface='org.freedesktop.DBus.Properties',"
			"member='PropertiesChanged',path_namespace='" UNIT_PATH "'",
			unit_on_properties, NULL, systemd);
	if (r >= 0)
		r = sd_bus_match_signal_async(bus, NULL, NULL, "/org/freedesktop/DBus/Local",
			"org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL,
			systemd);
	return r;
}

void systemd_connect(struct systemd *systemd)
{
	bool private = true;
	int r;

	/* Where there is a socket and nobody listens, systemd is about to. */
	r = open_private(&systemd->bus);
	if (r < 0 && r != -ECONNREFUSED) {
		private = false;
		r = sd_bus_open_system(&systemd->bus);
	}
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(systemd->bus, CALL_USEC);
	if (r >= 0)
		r = add_matches(systemd);
	if (r >= 0 && !private)
		r = sd_bus_call_method_async(systemd->bus, NULL, SYSTEMD, SYSTEMD_PATH,
			MANAGER_INTERFACE, "Subscribe", NULL, NULL, NULL);
	if (r >= 0)
		r = units_list(systemd);
	if (r >= 0)
		r = sd_bus_attach_event(systemd->bus, systemd->manager->event, 0);
	if (r < 0)
		systemd_connect_again(systemd, r);
}

/* Before vmmd serves anyone it should know what runs; it does without where systemd does not say.
 */
static int systemd_enumerate(struct manager *manager)
{
	uint64_t deadline_usec = vmm_base_now_nsec() / 1000 + CALL_USEC;
	struct systemd *systemd = manager->spawn;

	systemd_connect(systemd);
	while (systemd->bus && !systemd->is_known) {
		uint64_t now_usec = vmm_base_now_nsec() / 1000;
		int r;

		if (now_usec >= deadline_usec)
			break;
		r = sd_bus_process(systemd->bus, NULL);
		if (r == 0)
			r = sd_bus_wait(systemd->bus, deadline_usec - now_usec);
		if (r < 0 && r != -EINTR)
			break;
	}
	return 0;
}

static int systemd_init(struct manager *manager)
{
	struct systemd *systemd = calloc(1, sizeof(*systemd));

	if (!systemd)
		return -ENOMEM;
	systemd->manager = manager;
	manager->spawn = systemd;
	return 0;
}

static void systemd_finish(struct manager *manager)
{
	struct systemd *systemd = manager->spawn;

	if (!systemd)
		return;
	sd_event_source_disable_unref(systemd->retry);
	requests_forget(systemd);
	sd_bus_flush_close_unref(systemd->bus);
	free(systemd);
}

static void systemd_forget(struct machine *machine)
{
	struct unit *unit = machine->spawn;

	if (unit)
		sd_event_source_disable_unref(unit->kill_timer);
	free(unit);
	machine->spawn = NULL;
}

const struct spawner_ops spawner_systemd = {
	.name = "systemd",
	.keeps_failed = true,
	.init = systemd_init,
	.finish = systemd_finish,
	.enumerate = systemd_enumerate,
	.forget = systemd_forget,
	.start = systemd_start,
	.stop = systemd_stop,
	.restart = systemd_restart,
	.force = systemd_force,
	.cancel = systemd_cancel,
	.kill = systemd_kill,
	.authenticate = identity_ask,
	.authenticate_cancel = identity_cancel,
};
