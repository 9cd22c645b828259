/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* bus: the connection, the objects on it, and what the manager's changes become there. */
#include "bus.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "job.h"
#include "log.h"

#define RETRY_USEC (UINT64_C(2) * 1000 * 1000)
#define CALL_USEC (UINT64_C(5) * 1000 * 1000)

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct bus *bus = userdata;
	int r;

	bus->retry = sd_event_source_unref(bus->retry);
	r = bus_connect(bus);
	return r == -EEXIST ? sd_event_exit(bus->manager->event, 1) : 0;
}

static void disconnect(struct bus *bus)
{
	polkit_cancel_all(bus);
	bus->bus = sd_bus_flush_close_unref(bus->bus);
}

static void retry_later(struct bus *bus)
{
	disconnect(bus);
	if (!bus->retry)
		sd_event_add_time_relative(bus->manager->event, &bus->retry, CLOCK_MONOTONIC,
			RETRY_USEC, 10000, on_retry, bus);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;

	log_warning("the bus has gone; machines go on, and vmmd looks for it again");
	bus->told = true;
	retry_later(bus);
	return 0;
}

static int open_bus(const char *address, sd_bus **ret)
{
	CLEANUP(sd_bus_unrefp) sd_bus *bus = NULL;
	int r;

	if (!address || strcmp(address, "system") == 0)
		return sd_bus_open_system(ret);
	if (strcmp(address, "session") == 0)
		return sd_bus_open_user(ret);
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, true);
	/* Callers are told apart by it, whoever's bus it is. */
	if (r >= 0)
		r = sd_bus_negotiate_creds(bus, true, SD_BUS_CREDS_EUID);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		*ret = TAKE_PTR(bus);
	return r;
}

static int count_call(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;

	if (sd_bus_message_is_method_call(message, NULL, NULL) > 0)
		bus->n_calls++;
	return 0;
}

static int add_objects(struct bus *bus)
{
	sd_bus *b = bus->bus;
	int r;

	r = sd_bus_add_filter(b, NULL, count_call, bus);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			b, NULL, BUS_PATH, BUS_MANAGER_INTERFACE, manager_vtable, bus);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(b, NULL, BUS_MACHINES, BUS_MACHINE_INTERFACE,
			machine_vtable, machine_object_find, bus);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(b, NULL, BUS_MACHINES, machine_node_enumerator, bus);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(
			b, NULL, BUS_JOBS, BUS_JOB_INTERFACE, job_vtable, job_object_find, bus);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(b, NULL, BUS_JOBS, job_node_enumerator, bus);
	if (r >= 0)
		r = sd_bus_add_object_manager(b, NULL, BUS_PATH);
	if (r >= 0)
		r = sd_bus_match_signal(b, NULL, NULL, "/org/freedesktop/DBus/Local",
			"org.freedesktop.DBus.Local", "Disconnected", on_disconnected, bus);
	return r;
}

int bus_connect(struct bus *bus)
{
	int r;

	assert(!bus->bus);
	r = open_bus(bus->address, &bus->bus);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus->bus, CALL_USEC);
	if (r >= 0)
		r = add_objects(bus);
	if (r >= 0)
		r = sd_bus_request_name(bus->bus, BUS_NAME, 0);
	if (r >= 0)
		r = sd_bus_attach_event(bus->bus, bus->manager->event, 0);
	if (r >= 0) {
		if (bus->told)
			log_info("connected to the bus");
		bus->told = false;
		return 0;
	}
	if (r == -EEXIST) {
		log_error("another process has the bus name %s", BUS_NAME);
		disconnect(bus);
		return r;
	}
	if (!bus->told)
		log_warning("no bus (%s): workers are served, clients are not; trying again",
			strerror(-r));
	bus->told = true;
	retry_later(bus);
	return 0;
}

int bus_new(struct manager *manager, const char *address, struct bus **ret)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	bus->manager = manager;
	bus->address = address ? strdup(address) : NULL;
	if (address && !bus->address) {
		free(bus);
		return -ENOMEM;
	}
	manager->observer = &bus_observer;
	manager->observer_userdata = bus;
	*ret = bus;
	return 0;
}

struct bus *bus_free(struct bus *bus)
{
	if (!bus)
		return NULL;
	sd_event_source_disable_unref(bus->retry);
	disconnect(bus);
	free(bus->address);
	free(bus);
	return NULL;
}

/* ---- the observer ---- */

static void on_machine_added(void *userdata, struct machine *machine)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *path = NULL;

	if (!bus->bus || machine_path(machine->name, &path) < 0)
		return;
	sd_bus_emit_object_added(bus->bus, path);
	sd_bus_emit_signal(
		bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "MachineNew", "so", machine->name, path);
}

static void on_machine_removed(void *userdata, struct machine *machine)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *path = NULL;

	if (!bus->bus || machine_path(machine->name, &path) < 0)
		return;
	sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "MachineRemoved", "so",
		machine->name, path);
	sd_bus_emit_object_removed(bus->bus, path);
}

static void on_machine_changed(void *userdata, struct machine *machine, unsigned changes)
{
	struct bus *bus = userdata;

	if (!bus->bus)
		return;
	machine_emit_changes(bus, machine, changes);
	machined_follow(bus, machine);
}

static void on_machines_counted(void *userdata)
{
	struct bus *bus = userdata;

	if (bus->bus)
		sd_bus_emit_properties_changed(bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE,
			"NMachines", "NRunning", "ConfigTimestamp", NULL);
}

static void on_device_changed(
	void *userdata, struct machine *machine, uint32_t kind, const char *id, bool attached)
{
	struct bus *bus = userdata;

	if (bus->bus)
		machine_emit_device(bus, machine, kind, id, attached);
}

static void on_reloading(void *userdata, bool active)
{
	struct bus *bus = userdata;

	if (bus->bus)
		sd_bus_emit_signal(
			bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "Reloading", "b", (int)active);
}

/* The message that a job was asked for by; gives it up. */
static sd_bus_message *take_request(struct bus *bus, struct job *job)
{
	if (!job->requester)
		return NULL;
	bus->n_requests--;
	return TAKE_PTR(job->requester);
}

static void on_job_accepted(void *userdata, struct job *job)
{
	struct bus *bus = userdata;
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *request = take_request(bus, job);
	CLEANUP(free_p) char *path = NULL, *machine = NULL;

	if (bus->bus)
		job_emit_added(bus, job);
	if (!request || job_path(job->id, &path) < 0 ||
		machine_path(job->machine->name, &machine) < 0)
		return;
	if (sd_bus_message_is_method_call(request, NULL, "RunTransientMachine") > 0)
		sd_bus_reply_method_return(request, "oo", machine, path);
	else
		sd_bus_reply_method_return(request, "o", path);
}

static void on_job_removed(void *userdata, struct job *job, const char *result)
{
	struct bus *bus = userdata;

	if (bus->bus) {
		/* First how it has left its machine. */
		machine_emit_changes(bus, job->machine, TAKE(job->machine->changes, 0));
		job_emit_removed(bus, job, result);
	}
}

static void on_job_refused(void *userdata, struct job *job, int code, const char *text)
{
	struct bus *bus = userdata;
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *request = take_request(bus, job);
	CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

	if (!request)
		return;
	/* What was made for this run alone goes with it, before its requester knows. */
	if (sd_bus_message_is_method_call(request, NULL, "RunTransientMachine") > 0)
		manager_remove_transient(bus->manager, job->machine);
	bus_error_set(&error, code, text ? strdup(text) : NULL);
	sd_bus_reply_method_error(request, &error);
}

const struct manager_observer bus_observer = {
	.machine_added = on_machine_added,
	.machine_removed = on_machine_removed,
	.machine_changed = on_machine_changed,
	.machines_counted = on_machines_counted,
	.device_changed = on_device_changed,
	.reloading = on_reloading,
	.job_accepted = on_job_accepted,
	.job_removed = on_job_removed,
	.job_refused = on_job_refused,
};
