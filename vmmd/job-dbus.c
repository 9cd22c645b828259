/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* job: org.vmmd1.Job; see dbus/org.vmmd1.Job.xml. Only jobs that were taken on are objects. */
#include "job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "error.h"

int job_path(uint32_t id, char **ret)
{
	return asprintf(ret, BUS_JOBS "/%" PRIu32, id) < 0 ? -ENOMEM : 0;
}

static struct job *job_of_path(struct manager *manager, const char *path)
{
	CLEANUP(free_p) char *expected = NULL;
	const char *id = strrchr(path, '/');
	struct job *job;
	uint32_t number;

	if (!id || sscanf(id + 1, "%" SCNu32, &number) != 1)
		return NULL;
	/* One number, one path: no signs, zeroes or blanks before it. */
	if (job_path(number, &expected) < 0 || strcmp(expected, path) != 0)
		return NULL;
	job = job_find(manager, number);
	return job && job->accepted ? job : NULL;
}

int job_object_find(sd_bus *sdbus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	struct bus *bus = userdata;

	if (!job_of_path(bus->manager, path))
		return 0;
	*ret_found = bus;
	return 1;
}

int job_node_enumerator(
	sd_bus *sdbus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct manager *manager = bus->manager;
	char **nodes = calloc(manager->n_jobs + 1, sizeof(*nodes));
	int r = nodes ? 0 : -ENOMEM;
	size_t n = 0;

	for (size_t i = 0; r >= 0 && i < manager->n_jobs; i++)
		if (manager->jobs[i]->accepted) {
			r = job_path(manager->jobs[i]->id, &nodes[n]);
			n += r >= 0;
		}
	if (r < 0) {
		for (size_t i = 0; nodes && i < n; i++)
			free(nodes[i]);
		free(nodes);
		return r;
	}
	*ret_nodes = nodes;
	return 1;
}

static int method_cancel(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct job *job = job_of_path(bus->manager, sd_bus_message_get_path(message));
	int r;

	if (!job)
		return bus_error_set(error, -VMMD_E_NO_SUCH_JOB, NULL);
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, job->machine->name, "cancel",
		method_cancel, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	job_cancel(job);
	return sd_bus_reply_method_return(message, NULL);
}

static int property_get(sd_bus *sdbus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct job *job = job_of_path(bus->manager, path);
	CLEANUP(free_p) char *machine = NULL;
	int r;

	if (!job)
		return -ENOENT;
	if (strcmp(property, "Id") == 0)
		return sd_bus_message_append(reply, "u", job->id);
	if (strcmp(property, "Kind") == 0)
		return sd_bus_message_append(reply, "s", job_kind_name(job->kind));
	if (strcmp(property, "State") == 0)
		return sd_bus_message_append(reply, "s", job->accepted ? "running" : "waiting");
	r = machine_path(job->machine->name, &machine);
	return r < 0 ? r : sd_bus_message_append(reply, "(so)", job->machine->name, machine);
}

void job_emit_added(struct bus *bus, struct job *job)
{
	CLEANUP(free_p) char *path = NULL;

	if (job_path(job->id, &path) < 0)
		return;
	sd_bus_emit_object_added(bus->bus, path);
	sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "JobNew", "uos", job->id,
		path, job->machine->name);
}

void job_emit_removed(struct bus *bus, struct job *job, const char *result)
{
	CLEANUP(free_p) char *path = NULL;

	if (job_path(job->id, &path) < 0)
		return;
	sd_bus_emit_object_removed(bus->bus, path);
	sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "JobRemoved", "uoss", job->id,
		path, job->machine->name, result);
}

const sd_bus_vtable job_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Id", "u", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Machine", "(so)", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Kind", "s", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("State", "s", property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
