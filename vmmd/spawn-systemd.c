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

#define RETRY_USEC (UINT64_C(200) * 1000)
#define KILL_USEC (UINT64_C(10) * 1000 * 1000)
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

	if (!job)
		return 0;
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

/* StartUnit, StopUnit or RestartUnit. job NULL: nobody waits. */
static int unit_verb(struct machine *machine, const char *verb, struct job *job)
{
	struct systemd *systemd = systemd_of(machine);
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	struct call *call;
	int r;

	if (!systemd->bus)
		return -ENOTCONN;
	r = sd_bus_message_new_method_call(
		systemd->bus, &message, SYSTEMD, SYSTEMD_PATH, MANAGER_INTERFACE, verb);
	if (r >= 0)
		r = sd_bus_message_append(message, "ss", machine->unit, "replace");
	if (r < 0)
		return r;
	call = call_new(machine);
	if (!call)
		return -ENOMEM;
	call->job_id = job ? job->id : 0;
	return call_send(systemd, message, got_unit_job, call, NULL);
}

static void begin(struct job *job, const char *verb)
{
	int r = unit_verb(job->machine, verb, job);

	if (r < 0)
		job_fail(job, -VMMD_E_START_FAILED,
			r == -ENOTCONN ? "systemd cannot be reached" : strerror(-r));
}

static void systemd_start(struct job *job)
{
	begin(job, "StartUnit");
}

static void systemd_stop(struct job *job)
{
	begin(job, "StopUnit");
}

static int got_kill(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct call *call = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	spawn_done_t done = call->done;

	if (done)
		done(call->userdata, error ? -sd_bus_error_get_errno(error) : 0,
			error ? error->message : NULL);
	return 0;
}

static void systemd_kill(
	struct machine *machine, bool all, int signal, spawn_done_t done, void *userdata)
{
	struct systemd *systemd = systemd_of(machine);
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	struct call *call = NULL;
	int r = -ENOTCONN;

	if (systemd->bus)
		r = sd_bus_message_new_method_call(systemd->bus, &message, SYSTEMD, SYSTEMD_PATH,
			MANAGER_INTERFACE, "KillUnit");
	if (r >= 0)
		r = sd_bus_message_append(
			message, "ssi", machine->unit, all ? "all" : "main", (int32_t)signal);
	if (r >= 0) {
		call = call_new(machine);
		r = call ? 0 : -ENOMEM;
	}
	if (r >= 0) {
		call->done = done;
		call->userdata = userdata;
		r = call_send(systemd, message, got_kill, call, NULL);
	}
	if (r < 0 && done)
		done(userdata, r, NULL);
}

static int on_kill_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct machine *machine = userdata;

	if (machine_is_active(machine))
		systemd_kill(machine, true, SIGKILL, NULL, NULL);
	return 0;
}

static void systemd_force(struct machine *machine)
{
	struct vmm_control_how hard = { .how = VMM_HOW_HARD };
	struct unit *unit = unit_of(machine);
	int r = -ENOTCONN;

	if (machine->control)
		r = control_request(machine->control, VMM_CONTROL_STOP, &hard, sizeof(hard), -EBADF,
			NULL, NULL);
	if (r < 0 || !unit) {
		systemd_kill(machine, true, SIGKILL, NULL, NULL);
		return;
	}
	/* A worker that does not follow even that. */
	unit->kill_timer = sd_event_source_disable_unref(unit->kill_timer);
	sd_event_add_time_relative(machine->manager->event, &unit->kill_timer, CLOCK_MONOTONIC,
		KILL_USEC, 10000, on_kill_timer, machine);
}

static void systemd_restart(struct job *job)
{
	job->watch_unit = false;
	begin(job, "RestartUnit");
	systemd_kill(job->machine, true, SIGKILL, NULL, NULL);
}

static void systemd_cancel(struct job *job)
{
	if (job->kind == JOB_START)
		unit_verb(job->machine, "StopUnit", NULL);
}

/* ---- who is it? ---- */

static int got_identity(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct call *call = userdata;
	struct machine *machine = manager_find(call->systemd->manager, call->name);
	struct unit_facts facts = {};
	char user[sizeof("vmm-") + VMM_NAME_SIZE], text[128] = "";
	sd_bus_slot *slot = call->slot; /* nobody can cancel any more */

	snprintf(user, sizeof(user), "vmm-%s", call->name);
	if (!machine || !unit_of(machine) || sd_bus_message_is_method_error(reply, NULL) ||
		unit_facts_read(&facts, reply) < 0)
		snprintf(text, sizeof(text), "systemd does not know the unit");
	else if (facts.main_pid == 0 || (pid_t)facts.main_pid != call->peer.pid)
		snprintf(text, sizeof(text), "that is %u", facts.main_pid);
	else if (strcmp(facts.user, user) != 0)
		snprintf(text, sizeof(text), "the unit's user is not %s", user);
	else if (!facts.uid_known || facts.uid != call->peer.uid)
		snprintf(text, sizeof(text), "the unit's uid is %u", (unsigned)facts.uid);
	if (text[0]) {
		call->done(call->userdata, -EPERM, text);
		sd_bus_slot_unref(slot);
		return 0;
	}
	/* Before anything is tied to the new worker, the old one is known to have gone. */
	unit_of(machine)->facts.main_pid = facts.main_pid;
	unit_of(machine)->facts.n_restarts = facts.n_restarts;
	machine_set_restarts(machine, facts.n_restarts);
	machine_set_unit(machine, machine_is_active(machine) ? machine->unit_state : UNIT_STARTING,
		call->peer.pid);
	call->done(call->userdata, 0, NULL);
	sd_bus_slot_unref(slot);
	return 0;
}

static void *systemd_authenticate(
	struct machine *machine, const struct peer *peer, spawn_done_t done, void *userdata)
{
	struct call *call = call_new(machine);
	sd_bus_slot *slot;
	int r;

	if (call) {
		call->peer = *peer;
		call->done = done;
		call->userdata = userdata;
	}
	r = call_get_all(machine, SYSTEMD ".Service", got_identity, call, &slot);
	if (r < 0) {
		done(userdata, r, r == -ENOTCONN ? "systemd cannot be reached" : NULL);
		return NULL;
	}
	call->slot = slot;
	return slot;
}

static void systemd_authenticate_cancel(void *handle)
{
	sd_bus_slot_unref(handle);
}

/* ---- the connection ---- */

static int connect_systemd(struct systemd *systemd);

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct systemd *systemd = userdata;

	systemd->retry = sd_event_source_unref(systemd->retry);
	connect_systemd(systemd);
	return 0;
}

static void retry_later(struct systemd *systemd)
{
	systemd->bus = sd_bus_close_unref(systemd->bus);
	if (!systemd->retry)
		sd_event_add_time_relative(systemd->manager->event, &systemd->retry,
			CLOCK_MONOTONIC, RETRY_USEC, 10000, on_retry, systemd);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct systemd *systemd = userdata;
	struct manager *manager = systemd->manager;

	log_info("the connection to systemd has ended, connecting again");
	/* Their end may be told to nobody: the units' states decide. */
	for (size_t i = 0; i < manager->n_jobs; i++)
		manager->jobs[i]->watch_unit = true;
	retry_later(systemd);
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

	r = sd_bus_match_signal(bus, NULL, NULL, SYSTEMD_PATH, MANAGER_INTERFACE, "JobRemoved",
		on_job_removed, systemd);
	if (r >= 0)
		r = sd_bus_add_match(bus, NULL,
			"type='signal',interface='org.freedesktop.DBus.Properties',"
			"member='PropertiesChanged',path_namespace='" UNIT_PATH "'",
			unit_on_properties, systemd);
	if (r >= 0)
		r = sd_bus_match_signal(bus, NULL, NULL, "/org/freedesktop/DBus/Local",
			"org.freedesktop.DBus.Local", "Disconnected", on_disconnected, systemd);
	return r;
}

static int connect_systemd(struct systemd *systemd)
{
	bool private = true;
	int r;

	r = open_private(&systemd->bus);
	if (r < 0) {
		private = false;
		r = sd_bus_open_system(&systemd->bus);
	}
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(systemd->bus, CALL_USEC);
	if (r >= 0)
		r = add_matches(systemd);
	if (r >= 0 && !private)
		r = sd_bus_call_method(systemd->bus, SYSTEMD, SYSTEMD_PATH, MANAGER_INTERFACE,
			"Subscribe", NULL, NULL, NULL);
	if (r >= 0)
		r = unit_list_all(systemd);
	if (r >= 0)
		r = sd_bus_attach_event(systemd->bus, systemd->manager->event, 0);
	if (r < 0) {
		if (log_limit_ok(&systemd->limit))
			log_error("systemd cannot be reached: %s", strerror(-r));
		retry_later(systemd);
	}
	return r;
}

static int systemd_enumerate(struct manager *manager)
{
	connect_systemd(manager->spawn);
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
	.authenticate = systemd_authenticate,
	.authenticate_cancel = systemd_authenticate_cancel,
};
