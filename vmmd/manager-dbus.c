/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* manager: org.vmmd1.Manager; see dbus/org.vmmd1.Manager.xml. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "error.h"
#include "job.h"
#include "resources.h"
#include "spawn.h"

enum {
	DEFINE_FLAG_REPLACE = 1,
};

/* ---- looking ---- */

static int method_get_machine(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *path = NULL;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	struct machine *machine;
	const char *name;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r < 0)
		return r;
	r = manager_get(bus->manager, name, &machine, &text);
	if (r < 0)
		return bus_error_set(error, r, text);
	r = machine_path(name, &path);
	return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static int method_list_machines(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(ssssuo)");
	for (size_t i = 0; r >= 0 && i < bus->manager->n_machines; i++) {
		const struct machine *machine = bus->manager->machines[i];
		CLEANUP(free_p) char *path = NULL;

		r = machine_path(machine->name, &path);
		if (r >= 0)
			r = sd_bus_message_append(reply, "(ssssuo)", machine->name,
				machine_state_name(machine->state),
				machine_guest_state_name(machine), machine->unit,
				(uint32_t)machine->leader, path);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(usssoo)");
	for (size_t i = 0; r >= 0 && i < bus->manager->n_jobs; i++) {
		const struct job *job = bus->manager->jobs[i];
		CLEANUP(free_p) char *path = NULL, *machine = NULL;

		r = machine_path(job->machine->name, &machine);
		if (r >= 0)
			r = job_path(job->id, &path);
		if (r >= 0)
			r = sd_bus_message_append(reply, "(usssoo)", job->id, job->machine->name,
				job_kind_name(job->kind), job->accepted ? "running" : "waiting",
				path, machine);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_describe(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *json = NULL;
	int r = describe_manager(bus->manager, &json);

	return r < 0 ? r : sd_bus_reply_method_return(message, "s", json);
}

/* ---- files ---- */

/*
 * The text behind a descriptor of the caller's. Only memory: whoever serves another file, over
 * the network or by FUSE, would decide when this thread goes on, even from fstat(). What has
 * seals is a memfd or lies on a tmpfs, and to ask for them waits for nobody.
 */
static int read_file(int fd, char **ret_text, size_t *ret_size, sd_bus_error *error)
{
	int r;

	if (fcntl(fd, F_GET_SEALS) < 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Not a memfd");
	r = config_read_fd(fd, ret_text, ret_size);

	if (r == -EFBIG)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"The file is larger than %d bytes", CONFIG_MAX_FILE_BYTES);
	return r;
}

static int method_define(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *file = NULL, *path = NULL;
	char *text = NULL;
	const char *name;
	uint64_t flags;
	size_t size;
	int fd, r;

	r = sd_bus_message_read(message, "sht", &name, &fd, &flags);
	if (r >= 0)
		r = method_check_flags(flags, DEFINE_FLAG_REPLACE, error);
	if (r < 0)
		return r;
	r = polkit_check(bus, message, ACTION_MANAGE_CONFIG, config_name_valid(name) ? name : "",
		"define", method_define, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = read_file(fd, &file, &size, error);
	if (r < 0)
		return r;
	r = manager_define(
		bus->manager, name, DEFINE_ETC, file, size, flags & DEFINE_FLAG_REPLACE, &text);
	if (r < 0)
		return bus_error_set(error, r, text);
	r = machine_path(name, &path);
	return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static int method_undefine(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	const char *name;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, NULL);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_MANAGE_CONFIG, name, "undefine", method_undefine, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = manager_undefine(bus->manager, name, &text);
	if (r < 0)
		return bus_error_set(error, r, text);
	return sd_bus_reply_method_return(message, NULL);
}

static int method_run_transient(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	CLEANUP(free_p) char *file = NULL;
	struct machine *machine;
	char *text = NULL;
	const char *name;
	uint64_t flags;
	size_t size;
	int fd, r;

	r = sd_bus_message_read(message, "sht", &name, &fd, &flags);
	if (r >= 0)
		r = method_check_flags(flags, 0, error);
	if (r < 0)
		return r;
	r = polkit_check(bus, message, ACTION_MANAGE_CONFIG, config_name_valid(name) ? name : "",
		"run", method_run_transient, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = read_file(fd, &file, &size, error);
	if (r < 0)
		return r;
	if (bus->n_requests >= BUS_MAX_REQUESTS)
		return bus_error_set(error, -VMMD_E_LIMITS_EXCEEDED, NULL);
	r = manager_define(bus->manager, name, DEFINE_TRANSIENT, file, size, false, &text);
	if (r < 0)
		return bus_error_set(error, r, text);
	bus->n_requests++;
	sd_bus_message_ref(message);
	r = manager_start_machine(bus->manager, name, false, message, &text);
	if (r >= 0)
		return 1;
	bus->n_requests--;
	sd_bus_message_unref(message);
	machine = manager_find(bus->manager, name);
	if (machine)
		manager_remove_transient(bus->manager, machine);
	return bus_error_set(error, r, text);
}

static int reply_messages(
	sd_bus_message *message, const struct config_messages *messages, const char *further_error)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(ssuss)");
	for (size_t i = 0; r >= 0 && i < messages->n_items; i++) {
		const struct config_message *m = &messages->items[i];

		r = sd_bus_message_append(reply, "(ssuss)",
			m->severity == CONFIG_ERROR ? "error" : "warning", m->file, m->line, m->key,
			m->text);
	}
	if (r >= 0 && further_error)
		r = sd_bus_message_append(reply, "(ssuss)", "error", "", 0u, "", further_error);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_verify_config(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct config_messages messages = {};
	CLEANUP(free_p) char *file = NULL;
	struct vm_config *config = NULL;
	char path[VMM_NAME_SIZE + 8];
	const char *name;
	size_t size;
	int fd, r;

	r = sd_bus_message_read(message, "sh", &name, &fd);
	if (r < 0)
		return r;
	r = polkit_check(bus, message, ACTION_MANAGE_CONFIG, config_name_valid(name) ? name : "",
		"verify", method_verify_config, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = read_file(fd, &file, &size, error);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%.27s.vm", name);
	r = config_load_text(file, size, path, name, &messages, &config);
	vm_config_free(config);
	if (r >= 0 || r == -EBADMSG || r == -EINVAL)
		r = reply_messages(message, &messages, NULL);
	config_messages_finish(&messages);
	return r;
}

/* What verifying a machine waits for: whether its files and devices can be had. */
struct verification {
	struct bus *bus;                 /* borrowed */
	sd_bus_message *message;         /* owned */
	struct config_messages messages; /* owned */
};

static void verified(void *userdata, struct resources_result *result)
{
	struct verification *verification = userdata;

	reply_messages(verification->message, &verification->messages,
		result->error < 0 ? result->text : NULL);
	verification->bus->n_requests--;
	sd_bus_message_unref(verification->message);
	config_messages_finish(&verification->messages);
	free(verification);
}

/* Takes over messages when it succeeds. */
static int verify_resources(struct bus *bus, sd_bus_message *message, struct machine *machine,
	struct config_messages *messages)
{
	struct verification *verification;
	struct resources_request *request;
	int r;

	if (bus->n_requests >= BUS_MAX_REQUESTS)
		return -VMMD_E_LIMITS_EXCEEDED;
	verification = malloc(sizeof(*verification));
	if (!verification)
		return -ENOMEM;
	*verification = (struct verification){
		.bus = bus,
		.message = message,
		.messages = *messages,
	};
	r = resources_open(machine, RESOURCES_CHECK, verified, verification, &request);
	if (r < 0) {
		free(verification);
		return r;
	}
	bus->n_requests++;
	sd_bus_message_ref(message);
	*messages = (struct config_messages){};
	return 1;
}

static int method_verify_machine(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	struct machine *machine;
	const char *name;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_MANAGE_CONFIG, name, "verify", method_verify_machine, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = manager_get(bus->manager, name, &machine, &text);
	if (r >= 0)
		r = machine_load(machine);
	if (r < 0)
		return bus_error_set(error, r, text);
	r = config_load(bus->manager->root, name, &messages, &config);
	vm_config_free(config);
	if (r == -EBADMSG || (r >= 0 && (machine_is_active(machine) || !machine->config)))
		/* Of one that runs, its disks are in use: by itself. */
		r = reply_messages(message, &messages, NULL);
	else if (r >= 0)
		r = verify_resources(bus, message, machine, &messages);
	config_messages_finish(&messages);
	return r < 0 ? bus_error_set(error, r, NULL) : 1;
}

static int method_reload(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	int r;

	r = polkit_check(bus, message, ACTION_MANAGE_CONFIG, NULL, "reload", method_reload, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = manager_reload(bus->manager);
	return r < 0 ? r : sd_bus_reply_method_return(message, NULL);
}

/* ---- properties ---- */

static int property_get(sd_bus *sdbus, const char *path, const char *interface,
	const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct manager *manager = bus->manager;

	if (strcmp(property, "Version") == 0)
		return sd_bus_message_append(reply, "s", VMM_VERSION);
	if (strcmp(property, "Features") == 0)
		return sd_bus_message_append(reply, "as", 4, "pci", "mmio", "console", "transient");
	if (strcmp(property, "Spawner") == 0)
		return sd_bus_message_append(reply, "s", manager->spawner->name);
	if (strcmp(property, "Root") == 0)
		return sd_bus_message_append(reply, "s", manager->root);
	if (strcmp(property, "NMachines") == 0)
		return sd_bus_message_append(reply, "u", (uint32_t)manager->n_machines);
	if (strcmp(property, "NRunning") == 0)
		return sd_bus_message_append(reply, "u", manager_n_running(manager));
	if (strcmp(property, "MemoryCommitted") == 0)
		return sd_bus_message_append(reply, "t", manager_memory_committed(manager));
	if (strcmp(property, "ConfigTimestamp") == 0)
		return sd_bus_message_append(reply, "t", manager->config_usec);
	return -ENOENT;
}

const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("GetMachine", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", machine),
		method_get_machine, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListMachines", SD_BUS_NO_ARGS,
		SD_BUS_RESULT("a(ssssuo)", machines), method_list_machines,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(usssoo)", jobs),
		method_list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("StartMachine", SD_BUS_ARGS("s", name, "s", mode, "t", flags),
		SD_BUS_RESULT("o", job), method_start, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("StopMachine",
		SD_BUS_ARGS("s", name, "s", how, "t", timeout_usec, "t", flags),
		SD_BUS_RESULT("o", job), method_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("RebootMachine", SD_BUS_ARGS("s", name, "s", how, "t", flags),
		SD_BUS_RESULT("o", job), method_reboot, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("PauseMachine", SD_BUS_ARGS("s", name, "t", flags),
		SD_BUS_NO_RESULT, method_pause, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ResumeMachine", SD_BUS_ARGS("s", name, "t", flags),
		SD_BUS_NO_RESULT, method_resume, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("KillMachine",
		SD_BUS_ARGS("s", name, "s", whom, "i", signal, "t", flags), SD_BUS_NO_RESULT,
		method_kill, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetMachineStats", SD_BUS_ARGS("s", name),
		SD_BUS_RESULT("a{st}", stats), method_get_stats, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("OpenMachineConsole", SD_BUS_ARGS("s", name, "t", flags),
		SD_BUS_RESULT("h", terminal, "s", path), method_open_console,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListMachineDevices", SD_BUS_ARGS("s", name),
		SD_BUS_RESULT("a(ssa{sv})", devices), method_list_devices,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetMachineLimits",
		SD_BUS_ARGS("s", name, "s", device, "a{st}", limits, "t", flags), SD_BUS_NO_RESULT,
		method_set_limits, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ResizeMachineDrive",
		SD_BUS_ARGS("s", name, "s", drive, "t", size, "t", flags), SD_BUS_NO_RESULT,
		method_resize_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("AttachMachineDrive",
		SD_BUS_ARGS("s", name, "s", drive, "a(ss)", settings, "t", flags), SD_BUS_NO_RESULT,
		method_attach_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DetachMachineDrive",
		SD_BUS_ARGS("s", name, "s", drive, "t", timeout_usec, "t", flags), SD_BUS_NO_RESULT,
		method_detach_drive, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("AttachMachineNetwork",
		SD_BUS_ARGS("s", name, "s", network, "a(ss)", settings, "t", flags),
		SD_BUS_NO_RESULT, method_attach_network, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DetachMachineNetwork",
		SD_BUS_ARGS("s", name, "s", network, "t", timeout_usec, "t", flags),
		SD_BUS_NO_RESULT, method_detach_network, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ResizeMachineConsole",
		SD_BUS_ARGS("s", name, "q", rows, "q", columns, "t", flags), SD_BUS_NO_RESULT,
		method_resize_console, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetMachineMemory", SD_BUS_ARGS("s", name),
		SD_BUS_RESULT("a{st}", memory), method_get_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetMachineMemory", SD_BUS_ARGS("s", name, "t", bytes, "t", flags),
		SD_BUS_NO_RESULT, method_set_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ConnectMachineVsock",
		SD_BUS_ARGS("s", name, "u", port, "t", flags), SD_BUS_RESULT("h", socket),
		method_connect_vsock, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("DefineMachine", SD_BUS_ARGS("s", name, "h", file, "t", flags),
		SD_BUS_RESULT("o", machine), method_define, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("UndefineMachine", SD_BUS_ARGS("s", name, "t", flags),
		SD_BUS_NO_RESULT, method_undefine, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("RunTransientMachine",
		SD_BUS_ARGS("s", name, "h", file, "t", flags),
		SD_BUS_RESULT("o", machine, "o", job), method_run_transient,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("VerifyConfig", SD_BUS_ARGS("s", name, "h", file),
		SD_BUS_RESULT("a(ssuss)", messages), method_verify_config,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("VerifyMachine", SD_BUS_ARGS("s", name),
		SD_BUS_RESULT("a(ssuss)", messages), method_verify_machine,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
		method_describe, SD_BUS_VTABLE_UNPRIVILEGED),

	SD_BUS_SIGNAL_WITH_ARGS("MachineNew", SD_BUS_ARGS("s", name, "o", machine), 0),
	SD_BUS_SIGNAL_WITH_ARGS("MachineRemoved", SD_BUS_ARGS("s", name, "o", machine), 0),
	SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("u", id, "o", job, "s", machine), 0),
	SD_BUS_SIGNAL_WITH_ARGS(
		"JobRemoved", SD_BUS_ARGS("u", id, "o", job, "s", machine, "s", result), 0),
	SD_BUS_SIGNAL_WITH_ARGS("Reloading", SD_BUS_ARGS("b", active), 0),

	SD_BUS_PROPERTY("Version", "s", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Features", "as", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Spawner", "s", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Root", "s", property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("NMachines", "u", property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("NRunning", "u", property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("MemoryCommitted", "t", property_get, 0, 0),
	SD_BUS_PROPERTY(
		"ConfigTimestamp", "t", property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
