/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* machine: org.vmmd1.Machine; see dbus/org.vmmd1.Machine.xml. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "job.h"

int machine_path(const char *name, char **ret)
{
	return sd_bus_path_encode(BUS_MACHINES, name, ret);
}

struct machine *machine_of_path(struct manager *manager, const char *path)
{
	CLEANUP(free_p) char *name = NULL;

	if (sd_bus_path_decode(path, BUS_MACHINES, &name) <= 0)
		return NULL;
	return manager_find(manager, name);
}

int machine_object_find(sd_bus *sdbus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	struct bus *bus = userdata;

	if (!machine_of_path(bus->manager, path))
		return 0;
	*ret_found = bus;
	return 1;
}

int machine_node_enumerator(
	sd_bus *sdbus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct manager *manager = bus->manager;
	char **nodes = calloc(manager->n_machines + 1, sizeof(*nodes));
	int r = nodes ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < manager->n_machines; i++)
		r = machine_path(manager->machines[i]->name, &nodes[i]);
	if (r < 0) {
		for (size_t i = 0; nodes && nodes[i]; i++)
			free(nodes[i]);
		free(nodes);
		return r;
	}
	*ret_nodes = nodes;
	return 1;
}

static int method_describe(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct machine *machine = machine_of_path(bus->manager, sd_bus_message_get_path(message));
	CLEANUP(free_p) char *json = NULL;
	int r;

	if (!machine)
		return -ENOENT;
	r = describe_machine(machine, &json);
	return r < 0 ? r : sd_bus_reply_method_return(message, "s", json);
}

static int append_dropins(sd_bus_message *reply, const struct machine *machine)
{
	const struct vm_config *config = machine->config;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "s");
	for (size_t i = 1; r >= 0 && config && i < config->n_files; i++)
		r = sd_bus_message_append(reply, "s", config->files[i]);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_job(sd_bus_message *reply, const struct machine *machine)
{
	CLEANUP(free_p) char *path = NULL;
	int r;

	/* One that was not yet taken on has no object. */
	if (!machine->job || !machine->job->accepted || machine->job->removing)
		return sd_bus_message_append(reply, "(uo)", 0u, "/");
	r = job_path(machine->job->id, &path);
	return r < 0 ? r : sd_bus_message_append(reply, "(uo)", machine->job->id, path);
}

static int append_string(sd_bus_message *reply, const char *text)
{
	return sd_bus_message_append(reply, "s", text ? text : "");
}

static int get_string(const struct machine *machine, const char *property, sd_bus_message *reply)
{
	const struct vm_config *config = machine->config;

	if (strcmp(property, "Name") == 0)
		return append_string(reply, machine->name);
	if (strcmp(property, "Unit") == 0)
		return append_string(reply, machine->unit);
	if (strcmp(property, "Description") == 0)
		return append_string(reply, config ? config->machine.description.value : NULL);
	if (strcmp(property, "ConfigPath") == 0)
		return append_string(reply, machine->config_path);
	if (strcmp(property, "State") == 0)
		return append_string(reply, machine_state_name(machine->state));
	if (strcmp(property, "GuestState") == 0)
		return append_string(reply, machine_guest_state_name(machine));
	if (strcmp(property, "Result") == 0)
		return append_string(reply, machine->result);
	if (strcmp(property, "StatusText") == 0)
		return append_string(reply, machine->status_text);
	return -ENOENT;
}

static int property_get(sd_bus *sdbus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct machine *machine = machine_of_path(bus->manager, path);

	if (!machine)
		return -ENOENT;
	if (strcmp(property, "DropInPaths") == 0)
		return append_dropins(reply, machine);
	if (strcmp(property, "Transient") == 0)
		return sd_bus_message_append(reply, "b", (int)machine->transient);
	if (strcmp(property, "NeedsRestart") == 0)
		return sd_bus_message_append(reply, "b", (int)machine_needs_restart(machine));
	if (strcmp(property, "ExitStatus") == 0)
		return sd_bus_message_append(reply, "i", (int32_t)machine->exit_status);
	if (strcmp(property, "Leader") == 0)
		return sd_bus_message_append(reply, "u", (uint32_t)machine->leader);
	if (strcmp(property, "Timestamp") == 0)
		return sd_bus_message_append(reply, "t", machine->state_usec);
	if (strcmp(property, "TimestampMonotonic") == 0)
		return sd_bus_message_append(reply, "t", machine->state_monotonic_usec);
	if (strcmp(property, "NRestarts") == 0)
		return sd_bus_message_append(reply, "u", machine->n_restarts);
	if (strcmp(property, "CPUs") == 0)
		return sd_bus_message_append(reply, "u", machine_n_cpus(machine));
	if (strcmp(property, "Memory") == 0)
		return sd_bus_message_append(reply, "t", machine_memory_bytes(machine));
	if (strcmp(property, "Job") == 0)
		return append_job(reply, machine);
	return get_string(machine, property, reply);
}

void machine_emit_changes(struct bus *bus, struct machine *machine, unsigned changes)
{
	static const struct {
		enum machine_change change;
		const char *names[8];
	} table[] = {
		{ MACHINE_CHANGED_CONFIG, { "Description", "ConfigPath", "DropInPaths", "Transient",
						  "NeedsRestart", "CPUs", "Memory" } },
		{ MACHINE_CHANGED_STATE, { "State", "Timestamp", "TimestampMonotonic",
						 "NeedsRestart", "CPUs", "Memory" } },
		{ MACHINE_CHANGED_GUEST, { "GuestState" } },
		{ MACHINE_CHANGED_RESULT, { "Result", "ExitStatus" } },
		{ MACHINE_CHANGED_STATUS, { "StatusText" } },
		{ MACHINE_CHANGED_LEADER, { "Leader", "NRestarts" } },
		{ MACHINE_CHANGED_JOB, { "Job" } },
	};
	CLEANUP(free_p) char *path = NULL;
	const char *names[32];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (!(changes & table[i].change))
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(table[i].names) && table[i].names[j]; j++) {
			bool known = false;

			for (size_t k = 0; k < n; k++)
				known = known || strcmp(names[k], table[i].names[j]) == 0;
			if (!known)
				names[n++] = table[i].names[j];
		}
	}
	if (n == 0 || machine_path(machine->name, &path) < 0)
		return;
	names[n] = NULL;
	sd_bus_emit_properties_changed_strv(
		bus->bus, path, BUS_MACHINE_INTERFACE, (char **)(uintptr_t)names);
}

void machine_emit_device(struct bus *bus, struct machine *machine, enum vmm_device_kind kind,
	const char *id, bool attached)
{
	CLEANUP(free_p) char *path = NULL;

	if (machine_path(machine->name, &path) >= 0)
		sd_bus_emit_signal(bus->bus, path, BUS_MACHINE_INTERFACE,
			attached ? "DeviceAttached" : "DeviceDetached", "ss",
			kind == VMM_DEVICE_DRIVE ? "drive" : "network", id);
}

#define CONST_PROPERTY(name, type)                                                                 \
	SD_BUS_PROPERTY(name, type, property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST)
#define PROPERTY(name, type)                                                                       \
	SD_BUS_PROPERTY(name, type, property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

const sd_bus_vtable machine_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_ARGS("s", mode, "t", flags),
		SD_BUS_RESULT("o", job), method_start, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("s", how, "t", timeout_usec, "t", flags),
		SD_BUS_RESULT("o", job), method_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Reboot", SD_BUS_ARGS("s", how, "t", flags),
		SD_BUS_RESULT("o", job), method_reboot, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Pause", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, method_pause,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, method_resume,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_ARGS("s", whom, "i", signal, "t", flags),
		SD_BUS_NO_RESULT, method_kill, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenConsole", SD_BUS_ARGS("t", flags),
		SD_BUS_RESULT("h", terminal, "s", path), method_open_console,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetStats", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{st}", stats),
		method_get_stats, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListDevices", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ssa{sv})", devices),
		method_list_devices, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetLimits", SD_BUS_ARGS("s", device, "a{st}", limits, "t", flags),
		SD_BUS_NO_RESULT, method_set_limits, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ResizeDrive", SD_BUS_ARGS("s", drive, "t", size, "t", flags),
		SD_BUS_NO_RESULT, method_resize_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("AttachDrive",
		SD_BUS_ARGS("s", drive, "a(ss)", settings, "t", flags), SD_BUS_NO_RESULT,
		method_attach_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DetachDrive",
		SD_BUS_ARGS("s", drive, "t", timeout_usec, "t", flags), SD_BUS_NO_RESULT,
		method_detach_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("AttachNetwork",
		SD_BUS_ARGS("s", network, "a(ss)", settings, "t", flags), SD_BUS_NO_RESULT,
		method_attach_network, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DetachNetwork",
		SD_BUS_ARGS("s", network, "t", timeout_usec, "t", flags), SD_BUS_NO_RESULT,
		method_detach_network, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ResizeConsole", SD_BUS_ARGS("q", rows, "q", columns, "t", flags),
		SD_BUS_NO_RESULT, method_resize_console, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetMemory", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{st}", memory),
		method_get_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetMemory", SD_BUS_ARGS("t", bytes, "t", flags), SD_BUS_NO_RESULT,
		method_set_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ConnectVsock", SD_BUS_ARGS("u", port, "t", flags),
		SD_BUS_RESULT("h", socket), method_connect_vsock, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
		method_describe, SD_BUS_VTABLE_UNPRIVILEGED),

	SD_BUS_SIGNAL_WITH_ARGS("DeviceAttached", SD_BUS_ARGS("s", kind, "s", device), 0),
	SD_BUS_SIGNAL_WITH_ARGS("DeviceDetached", SD_BUS_ARGS("s", kind, "s", device), 0),

	CONST_PROPERTY("Name", "s"),
	CONST_PROPERTY("Unit", "s"),
	PROPERTY("Description", "s"),
	PROPERTY("ConfigPath", "s"),
	PROPERTY("DropInPaths", "as"),
	PROPERTY("Transient", "b"),
	PROPERTY("NeedsRestart", "b"),
	PROPERTY("State", "s"),
	PROPERTY("GuestState", "s"),
	PROPERTY("Result", "s"),
	PROPERTY("ExitStatus", "i"),
	PROPERTY("StatusText", "s"),
	PROPERTY("Leader", "u"),
	PROPERTY("Timestamp", "t"),
	PROPERTY("TimestampMonotonic", "t"),
	PROPERTY("NRestarts", "u"),
	PROPERTY("CPUs", "u"),
	PROPERTY("Memory", "t"),
	PROPERTY("Job", "(uo)"),
	SD_BUS_VTABLE_END,
};
