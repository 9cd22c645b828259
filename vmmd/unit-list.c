/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-systemd: the units of machines that systemd has, asked for over each new connection; see
 * spawn-systemd.h. Nothing waits for the answers, and what happens meanwhile is told by signals.
 */
#include <string.h>

#include "base/util.h"
#include "log.h"
#include "spawn-systemd.h"
#include "sweep.h"

/* What has ended while nobody told of it, and is not loaded any more. */
static void forget_others(struct manager *manager)
{
	for (size_t i = 0; i < manager->n_machines; i++) {
		struct unit *unit = manager->machines[i]->spawn;

		if (unit && !unit->listed)
			unit_forget(manager->machines[i]);
	}
}

static void answered(struct systemd *systemd)
{
	if (--systemd->n_asked > 0)
		return;
	if (systemd->list_error < 0) {
		systemd_connect_again(systemd, systemd->list_error);
		return;
	}
	forget_others(systemd->manager);
	systemd->is_known = true;
	manager_units_known(systemd->manager);
	requests_resume(systemd);
}

/* Whether the answer is one; else what it is about is left out, or the list is given up. */
static bool is_answer(struct systemd *systemd, sd_bus_message *reply, const char *what)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	if (!error)
		return true;
	if (sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
		systemd->list_error = -sd_bus_error_get_errno(error);
	else
		log_warning("%s: %s", what, error->message ? error->message : error->name);
	return false;
}

static void take_up(struct machine *machine)
{
	int r;

	if (unit_of(machine)->facts.main_pid > 0 && !machine->handed.valid)
		machine_load_handed(machine);
	unit_evaluate(machine);
	machine_set_since(machine, unit_of(machine)->facts.change_usec,
		unit_of(machine)->facts.change_monotonic_usec);
	if (machine->leader <= 0 || machine->control)
		return;
	r = machine_connect_control(machine);
	/* One that starts has no socket before the hand-over. */
	if (r < 0 && (r != -ENOENT || machine->handed.valid))
		log_warning("%s: its worker cannot be reached: %s", machine->name, strerror(-r));
	if (r >= 0)
		sweep_machine(machine);
}

static int got_unit(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct call *call = userdata;
	struct systemd *systemd = call->systemd;
	struct machine *machine = manager_find(systemd->manager, call->name);

	if (is_answer(systemd, reply, call->name) && machine && unit_of(machine) &&
		unit_facts_read(&unit_of(machine)->facts, reply) >= 0)
		take_up(machine);
	answered(systemd);
	return 0;
}

static int got_service(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct call *call = userdata;
	struct systemd *systemd = call->systemd;
	struct machine *machine = manager_find(systemd->manager, call->name);

	if (is_answer(systemd, reply, call->name) && machine && unit_of(machine))
		unit_facts_read(&unit_of(machine)->facts, reply);
	answered(systemd);
	return 0;
}

/* Both are asked for at once; the answers come in that order. */
static int ask_for_unit(struct systemd *systemd, const char *unit)
{
	static const struct {
		const char *interface;
		sd_bus_message_handler_t reply;
	} questions[] = {
		{ SYSTEMD ".Service", got_service },
		{ SYSTEMD ".Unit", got_unit },
	};
	struct machine *machine;
	char name[VMM_NAME_SIZE];
	int r;

	if (!machine_name_of_unit(unit, name))
		return 0;
	r = manager_ensure(systemd->manager, name, &machine);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!unit_of(machine))
		return -ENOMEM;
	unit_of(machine)->listed = true;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		CLEANUP(free_p) struct call *call = call_new(machine);

		r = call_get_all(machine, questions[i].interface, questions[i].reply, call, NULL);
		if (r < 0)
			return r;
		TAKE_PTR(call);
		systemd->n_asked++;
	}
	return 0;
}

static int read_list(struct systemd *systemd, sd_bus_message *reply)
{
	const char *unit;
	int r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");

	while (r >= 0) {
		r = sd_bus_message_read(reply, "(ssssssouso)", &unit, NULL, NULL, NULL, NULL, NULL,
			NULL, NULL, NULL, NULL);
		if (r <= 0)
			break;
		r = ask_for_unit(systemd, unit);
	}
	return r;
}

static int got_list(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct systemd *systemd = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	int r = error ? -sd_bus_error_get_errno(error) : read_list(systemd, reply);

	if (r < 0)
		systemd->list_error = r;
	answered(systemd);
	return 0;
}

int units_list(struct systemd *systemd)
{
	struct manager *manager = systemd->manager;
	int r;

	for (size_t i = 0; i < manager->n_machines; i++)
		if (manager->machines[i]->spawn)
			unit_of(manager->machines[i])->listed = false;
	systemd->list_error = 0;
	r = sd_bus_call_method_async(systemd->bus, NULL, SYSTEMD, SYSTEMD_PATH, MANAGER_INTERFACE,
		"ListUnitsByPatterns", got_list, systemd, "asas", 0, 1, "vmm@*.service");
	/* The list itself is one of the answers. */
	systemd->n_asked = 1;
	return r;
}
