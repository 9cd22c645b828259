/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-systemd: what the units of machines are doing, as systemd tells; see spawn-systemd.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "job.h"
#include "log.h"
#include "spawn-systemd.h"

struct systemd *systemd_of(const struct machine *machine)
{
	return machine->manager->spawn;
}

struct unit *unit_of(struct machine *machine)
{
	if (!machine->spawn)
		machine->spawn = calloc(1, sizeof(struct unit));
	return machine->spawn;
}

struct call *call_new(struct machine *machine)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call) {
		call->systemd = systemd_of(machine);
		memcpy(call->name, machine->name, sizeof(call->name));
		call->peer.pidfd = -EBADF;
	}
	return call;
}

struct job *call_job(const struct call *call)
{
	return call->job_id ? job_find(call->systemd->manager, call->job_id) : NULL;
}

static int unit_path(const char *unit, char **ret_path)
{
	return sd_bus_path_encode(UNIT_PATH, unit, ret_path);
}

int call_send(struct systemd *systemd, sd_bus_message *message, sd_bus_message_handler_t reply,
	struct call *call, sd_bus_slot **ret_slot)
{
	sd_bus_slot *slot;
	int r;

	r = sd_bus_call_async(systemd->bus, &slot, message, reply, call, 0);
	/* As it is found out, and after that. */
	if (r < 0)
		return r == -ECONNRESET ? -ENOTCONN : r;
	sd_bus_slot_set_destroy_callback(slot, free);
	if (ret_slot) {
		*ret_slot = slot;
		return 0;
	}
	sd_bus_slot_set_floating(slot, true);
	sd_bus_slot_unref(slot);
	return 0;
}

/* ---- what a unit is doing ---- */

void unit_evaluate(struct machine *machine)
{
	const struct unit_facts *facts = &unit_of(machine)->facts;
	enum unit_state state = unit_facts_state(facts);
	bool has_failed = state == UNIT_FAILED || unit_facts_await_restart(facts);
	bool was_killed = has_failed && unit_facts_exit_status(facts) < 0;

	/* What the one before it has said is not about this one. */
	if ((facts->main_pid > 0 && (pid_t)facts->main_pid != machine->leader) ||
		(!machine_is_active(machine) && state == UNIT_STARTING))
		machine_set_status(machine, "%s", "");
	/* Nor is what one that was killed has said before about that. */
	if (was_killed && machine->exit_status != unit_facts_exit_status(facts))
		machine_set_status(machine, "%s", "");
	machine_set_restarts(machine, facts->n_restarts);
	machine_set_result(machine, unit_facts_result(facts), unit_facts_exit_status(facts));
	/* Its last words; and what it says while nobody is connected to it. */
	if (was_killed)
		machine_explain_end(machine);
	else if (facts->status_text[0] && state == UNIT_FAILED)
		machine_set_failure(machine, facts->status_text);
	else if (facts->status_text[0] && machine_is_active(machine) && !machine->control)
		machine_set_status(machine, "%s", facts->status_text);
	else if (has_failed && !facts->status_text[0])
		machine_explain_end(machine);
	machine_set_unit(machine, state, (pid_t)facts->main_pid);
}

static bool unit_is_active(const struct unit *unit)
{
	enum unit_state state = unit_facts_state(&unit->facts);

	return state != UNIT_INACTIVE && state != UNIT_FAILED;
}

int unit_new_question(struct machine *machine, const char *method, sd_bus_message **ret_message)
{
	struct systemd *systemd = systemd_of(machine);
	CLEANUP(free_p) char *path = NULL;
	int r;

	r = systemd->bus ? unit_path(machine->unit, &path) : -ENOTCONN;
	if (r < 0)
		return r;
	return sd_bus_message_new_method_call(systemd->bus, ret_message, SYSTEMD, path,
		"org.freedesktop.DBus.Properties", method);
}

int call_get_all(struct machine *machine, const char *interface, sd_bus_message_handler_t reply,
	struct call *call, sd_bus_slot **ret_slot)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r;

	if (!call)
		return -ENOMEM;
	r = unit_new_question(machine, "GetAll", &message);
	if (r >= 0)
		r = sd_bus_message_append(message, "s", interface);
	return r < 0 ? r : call_send(systemd_of(machine), message, reply, call, ret_slot);
}

static int got_unit(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct call *call = userdata;
	struct machine *machine = manager_find(call->systemd->manager, call->name);
	const char *result = call->job_result;
	uint32_t job_id = call->job_id;
	struct manager *manager = call->systemd->manager;
	struct job *job;

	if (machine && !sd_bus_message_is_method_error(reply, NULL) &&
		unit_facts_read(&unit_of(machine)->facts, reply) >= 0)
		unit_evaluate(machine);
	/* State first, then the end of the job: who waits for it finds the state as it is. */
	job = job_id ? job_find(manager, job_id) : NULL;
	if (job && result)
		job_finish(job, result);
	return 0;
}

static int got_service(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct call *call = userdata;
	struct machine *machine = manager_find(call->systemd->manager, call->name);
	CLEANUP(free_p) struct call *next = NULL;

	if (!machine)
		return 0;
	if (!sd_bus_message_is_method_error(reply, NULL))
		unit_facts_read(&unit_of(machine)->facts, reply);
	next = call_new(machine);
	if (next) {
		next->job_id = call->job_id;
		next->job_result = call->job_result;
	}
	if (call_get_all(machine, SYSTEMD ".Unit", got_unit, next, NULL) >= 0) {
		TAKE_PTR(next);
	} else {
		struct job *job = call_job(call);

		if (job && call->job_result)
			job_finish(job, call->job_result);
	}
	return 0;
}

void unit_refresh(struct machine *machine, struct job *job, const char *result)
{
	CLEANUP(free_p) struct call *call = call_new(machine);

	if (call && job) {
		call->job_id = job->id;
		call->job_result = result;
	}
	if (call_get_all(machine, SYSTEMD ".Service", got_service, call, NULL) >= 0)
		TAKE_PTR(call);
	else if (job && result)
		job_finish(job, result);
}

int unit_on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct systemd *systemd = userdata;
	CLEANUP(free_p) char *unit = NULL;
	char name[VMM_NAME_SIZE];
	const char *interface;
	struct machine *machine;
	bool is_unit;
	int r;

	r = sd_bus_path_decode(sd_bus_message_get_path(message), UNIT_PATH, &unit);
	if (r <= 0 || !machine_name_of_unit(unit, name))
		return 0;
	r = sd_bus_message_read(message, "s", &interface);
	if (r < 0)
		return 0;
	is_unit = strcmp(interface, SYSTEMD ".Unit") == 0;
	if (!is_unit && strcmp(interface, SYSTEMD ".Service") != 0)
		return 0;
	if (manager_ensure(systemd->manager, name, &machine) < 0 || !unit_of(machine))
		return 0;
	if (unit_facts_read(&unit_of(machine)->facts, message) < 0)
		return 0;
	unit_of(machine)->listed = true;
	/* The service's properties come first, the unit's complete the picture. */
	if (!is_unit)
		return 0;
	/* Between two lives a unit is said to be dead, and right after it to wait for its restart.
	 * PID 1 does both in one go: when it answers, it is past that. */
	if (machine_is_active(machine) && !unit_is_active(unit_of(machine)))
		unit_refresh(machine, NULL, NULL);
	else
		unit_evaluate(machine);
	return 0;
}

void unit_forget(struct machine *machine)
{
	if (!machine_is_active(machine) || !unit_of(machine))
		return;
	unit_of(machine)->facts = (struct unit_facts){};
	unit_evaluate(machine);
}
