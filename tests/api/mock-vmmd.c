/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mock-vmmd: org.vmmd1 with made-up machines, for tests of vmmctl: each thing that a machine can
 * be, and answers to each call that need no systemd, worker or KVM. It prints a line for each call
 * that changes something, which the tests compare too, and "ready" when it has its name.
 *
 * Machines: web runs; db is inactive and starts and stops as it is told; broken refuses to start
 * with a configuration error; odd has control characters and wide letters in what it says; late
 * takes a moment to do what it is told; locked may not be touched by anyone; crash runs and has
 * ended with status 70 a moment after somebody attaches to its console, and reboots before.
 */
#include "mock-vmmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"

static struct machine machines[16] = {
	{ "broken", "", "failed", "unknown", "configuration",
		"/etc/vmm/broken.vm:3: [Boot] Kernel=: /nowhere: No such file or directory", 78, 0,
		1, 0, 128 << 20, 0 },
	{ "crash", "Reboots, then crashes", "running", "running", "success", "", 0, 4713, 1, 1,
		64 << 20, 3661 },
	{ "db", "", "inactive", "unknown", "success", "", 0, 0, 4, 0, UINT64_C(1536) << 20, 0 },
	{ "late", "", "inactive", "unknown", "success", "", 0, 0, 1, 0, 128 << 20, 0 },
	{ "locked", "", "running", "running", "success", "", 0, 4712, 1, 0, 128 << 20, 7322 },
	{ "odd", "\033[31mred\n\xe4\xb8\xad\xe6\x96\x87", "paused", "running", "success",
		"\a\033]0;title\a", 0, 4714, 64, 0, UINT64_C(1) << 40, 86400 * 3 + 7300 },
	{ "web", "Web front end", "running", "running", "success", "", 0, 4711, 2, 3, 512 << 20,
		3661 },
};
static size_t n_machines = 7;
static sd_bus *bus;
sd_event *event;
unsigned last_job;

struct machine *find(const char *name)
{
	for (size_t i = 0; i < n_machines; i++) {
		if (!machines[i].removed && strcmp(machines[i].name, name) == 0)
			return &machines[i];
	}
	return NULL;
}

int get_machine(const char *name, struct machine **ret, sd_bus_error *error)
{
	*ret = find(name);
	if (!*ret)
		return sd_bus_error_setf(
			error, "org.vmmd1.NoSuchMachine", "There is no machine %s.", name);
	return 0;
}

struct machine *add(const char *name, bool transient)
{
	struct machine *machine = find(name);

	if (!machine) {
		assert(n_machines < ARRAY_SIZE(machines));
		machine = &machines[n_machines++];
	}
	*machine = (struct machine){ .name = strdup(name),
		.description = "",
		.state = "inactive",
		.guest = "unknown",
		.result = "success",
		.text = "",
		.cpus = 1,
		.memory = 128 << 20,
		.transient = transient,
		.slave_fd = -EBADF };
	snprintf(machine->path, sizeof(machine->path), MANAGER_PATH "/machine/%s", name);
	snprintf(machine->unit, sizeof(machine->unit), "vmm@%s.service", name);
	return machine;
}

int get_touchable(sd_bus_message *message, struct machine **ret, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(message, "s", &name);

	if (r < 0)
		return r;
	r = get_machine(name, ret, error);
	if (r < 0)
		return r;
	if (strcmp(name, "locked") == 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
			"Interactive authentication required.");
	return 0;
}

void changed(struct machine *machine)
{
	sd_bus_emit_properties_changed(bus, machine->path, MACHINE, "State", "GuestState", "Result",
		"ExitStatus", "Leader", "StatusText", "NRestarts", NULL);
}

void set_state(struct machine *machine, const char *state)
{
	bool active = strcmp(state, "inactive") != 0 && strcmp(state, "failed") != 0;

	machine->state = state;
	machine->guest = active ? "running" : "unknown";
	machine->leader = active ? 5000 : 0;
	if (!active && machine->slave_fd >= 0)
		machine->slave_fd = vmm_base_close(machine->slave_fd);
	changed(machine);
}

void end_job(unsigned id, const char *machine, const char *result)
{
	char path[64];

	snprintf(path, sizeof(path), MANAGER_PATH "/job/%u", id);
	sd_bus_emit_signal(
		bus, MANAGER_PATH, MANAGER, "JobRemoved", "uoss", id, path, machine, result);
}

/* What ends a job: late ones a moment after the call. */
struct later {
	struct machine *machine;
	const char *state, *result;
	unsigned job;
};

static int on_later(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct later *later = userdata;

	if (later->state)
		set_state(later->machine, later->state);
	if (later->job > 0)
		end_job(later->job, later->machine->name, later->result);
	if (!later->machine->removed && later->machine->transient &&
		strcmp(later->machine->state, "inactive") == 0) {
		later->machine->removed = true;
		sd_bus_emit_signal(bus, MANAGER_PATH, MANAGER, "MachineRemoved", "so",
			later->machine->name, later->machine->path);
	}
	free(later);
	sd_event_source_unref(source);
	return 0;
}

void do_later(
	struct machine *machine, uint64_t msec, const char *state, const char *result, unsigned job)
{
	struct later *later = malloc(sizeof(*later));
	sd_event_source *source;

	assert(later);
	*later = (struct later){ machine, state, result, job };
	sd_event_add_time_relative(
		event, &source, CLOCK_MONOTONIC, msec * 1000, 0, on_later, later);
}

static int on_get(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *name;
	int r = sd_bus_message_read(message, "s", &name);

	if (r >= 0)
		r = get_machine(name, &machine, error);
	return r < 0 ? r : sd_bus_reply_method_return(message, "o", machine->path);
}

static int on_list(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	int r;

	sd_bus_message_new_method_return(message, &reply);
	sd_bus_message_open_container(reply, 'a', "(ssssuo)");
	for (size_t i = 0; i < n_machines; i++) {
		struct machine *m = &machines[i];

		if (!m->removed)
			sd_bus_message_append(reply, "(ssssuo)", m->name, m->state, m->guest,
				m->unit, m->leader, m->path);
	}
	sd_bus_message_close_container(reply);
	r = sd_bus_message_send(reply);
	sd_bus_message_unref(reply);
	return r;
}

static int on_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(message, "a(usssoo)", 1, 7, "late", "stop", "running",
		MANAGER_PATH "/job/7", machines[3].path);
}

static int on_reload(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	printf("reload\n");
	return sd_bus_reply_method_return(message, NULL);
}

static int get_number(sd_bus *b, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "MemoryCommitted") == 0 || strcmp(property, "ConfigTimestamp") == 0)
		return sd_bus_message_append(reply, "t", UINT64_C(640) << 20);
	return sd_bus_message_append(reply, "u", strcmp(property, "NMachines") == 0 ? 7u : 3u);
}

static int get_text(sd_bus *b, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	if (strcmp(property, "Features") == 0)
		return sd_bus_message_append(reply, "as", 2, "pci", "mmio");
	if (strcmp(property, "Root") == 0)
		return sd_bus_message_append(reply, "s", "");
	return sd_bus_message_append(
		reply, "s", strcmp(property, "Version") == 0 ? "1.2.3" : "direct");
}

static int get_property(sd_bus *b, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct machine *m = userdata;
	const struct {
		const char *name, *value;
	} strings[] = {
		{ "Name", m->name },
		{ "Unit", m->unit },
		{ "Description", m->description },
		{ "ConfigPath", m->config_path },
		{ "State", m->state },
		{ "GuestState", m->guest },
		{ "Result", m->result },
		{ "StatusText", m->text },
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (strcmp(strings[i].name, property) == 0)
			return sd_bus_message_append(reply, "s", strings[i].value);
	}
	if (strcmp(property, "DropInPaths") == 0)
		return sd_bus_message_append(reply, "as", strcmp(m->name, "web") == 0 ? 1 : 0,
			"/etc/vmm/web.vm.d/10-memory.conf");
	if (strcmp(property, "Job") == 0)
		return sd_bus_message_append(reply, "(uo)", 0, "/");
	if (strcmp(property, "Transient") == 0)
		return sd_bus_message_append(reply, "b", m->transient);
	if (strcmp(property, "NeedsRestart") == 0)
		return sd_bus_message_append(reply, "b", strcmp(m->name, "web") == 0);
	if (strcmp(property, "ExitStatus") == 0)
		return sd_bus_message_append(reply, "i", m->exit_status);
	if (strcmp(property, "Memory") == 0)
		return sd_bus_message_append(reply, "t", m->memory);
	if (strncmp(property, "Timestamp", 9) == 0)
		return sd_bus_message_append(reply, "t", m->timestamp);
	return sd_bus_message_append(reply, "u",
		strcmp(property, "Leader") == 0 ? m->leader
		: strcmp(property, "CPUs") == 0 ? m->cpus
						: m->restarts);
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("GetMachine", "s", "o", on_get, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ListMachines", "", "a(ssssuo)", on_list, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ListJobs", "", "a(usssoo)", on_list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StartMachine", "sst", "o", on_start, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StopMachine", "sstt", "o", on_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RebootMachine", "sst", "o", on_reboot, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("PauseMachine", "st", "", on_simple, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ResumeMachine", "st", "", on_simple, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("UndefineMachine", "st", "", on_simple, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("KillMachine", "ssit", "", on_kill, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD(
		"SetMachineLimits", "ssa{st}t", "", on_set_limits, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ResizeMachineDrive", "sstt", "", on_resize, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("AttachMachineDrive", "ssa(ss)t", "", on_attach, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD(
		"AttachMachineNetwork", "ssa(ss)t", "", on_attach, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DetachMachineDrive", "sstt", "", on_detach, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DetachMachineNetwork", "sstt", "", on_detach, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("DefineMachine", "sht", "o", on_define, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RunTransientMachine", "sht", "oo", on_run, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("OpenMachineConsole", "st", "hs", on_console, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetMachineMemory", "s", "a{st}", on_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("SetMachineMemory", "stt", "", on_set_memory, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetMachineStats", "s", "a{st}", on_stats, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD(
		"ListMachineDevices", "s", "a(ssa{sv})", on_devices, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ConnectMachineVsock", "sut", "h", on_connect, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Reload", "", "", on_reload, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL("JobRemoved", "uoss", 0),
	SD_BUS_SIGNAL("MachineRemoved", "so", 0),
	SD_BUS_PROPERTY("Version", "s", get_text, 0, 0),
	SD_BUS_PROPERTY("Features", "as", get_text, 0, 0),
	SD_BUS_PROPERTY("Spawner", "s", get_text, 0, 0),
	SD_BUS_PROPERTY("Root", "s", get_text, 0, 0),
	SD_BUS_PROPERTY("NMachines", "u", get_number, 0, 0),
	SD_BUS_PROPERTY("NRunning", "u", get_number, 0, 0),
	SD_BUS_PROPERTY("MemoryCommitted", "t", get_number, 0, 0),
	SD_BUS_VTABLE_END,
};

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
static const sd_bus_vtable machine_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_property, 0, 0),
	SD_BUS_PROPERTY("Unit", "s", get_property, 0, 0),
	SD_BUS_PROPERTY("Description", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("ConfigPath", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("DropInPaths", "as", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Transient", "b", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("NeedsRestart", "b", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("State", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("GuestState", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Result", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("ExitStatus", "i", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("StatusText", "s", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Leader", "u", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Timestamp", "t", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("NRestarts", "u", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("CPUs", "u", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Memory", "t", get_property, 0, CHANGES),
	SD_BUS_PROPERTY("Job", "(uo)", get_property, 0, CHANGES),
	SD_BUS_VTABLE_END,
};

static int find_object(sd_bus *b, const char *path, const char *interface, void *userdata,
	void **ret, sd_bus_error *error)
{
	for (size_t i = 0; i < n_machines; i++) {
		if (!machines[i].removed && strcmp(machines[i].path, path) == 0) {
			*ret = &machines[i];
			return 1;
		}
	}
	return 0;
}

static int enumerate(
	sd_bus *b, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
	char **nodes = calloc(n_machines + 1, sizeof(*nodes));
	size_t n = 0;

	for (size_t i = 0; nodes && i < n_machines; i++) {
		if (!machines[i].removed)
			nodes[n++] = strdup(machines[i].path);
	}
	*ret_nodes = nodes;
	return 0;
}

/* systemd's manager, with these units failed: words, each taken to fit the patterns it is asked by.
 */
static int on_failed_units(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	CLEANUP(free_p) char *units = strdup(userdata);
	sd_bus_message *reply = NULL;
	char *rest = units, *unit;
	int r;

	assert(units);
	r = sd_bus_message_new_method_return(message, &reply);
	assert(r >= 0);
	sd_bus_message_open_container(reply, 'a', "(ssssssouso)");
	while ((unit = strtok_r(rest, " ", &rest)))
		sd_bus_message_append(reply, "(ssssssouso)", unit, "", "loaded", "failed", "failed",
			"", "/", 0, "", "/");
	sd_bus_message_close_container(reply);
	r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static const sd_bus_vtable systemd_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("ListUnitsByPatterns", "asas", "a(ssssssouso)", on_failed_units,
		SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int be_systemd(char *failed)
{
	int r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", systemd_vtable, failed);

	return r < 0 ? r : sd_bus_request_name(bus, "org.freedesktop.systemd1", 0);
}

int main(void)
{
	char *failed = getenv("MOCK_FAILED_UNITS");
	struct timespec now;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < n_machines; i++) {
		struct machine *m = &machines[i];

		m->slave_fd = -EBADF;
		snprintf(m->path, sizeof(m->path), MANAGER_PATH "/machine/%s", m->name);
		snprintf(m->unit, sizeof(m->unit), "vmm@%s.service", m->name);
		snprintf(m->config_path, sizeof(m->config_path), "/etc/vmm/%s.vm", m->name);
		if (m->since_sec > 0)
			m->timestamp = ((uint64_t)now.tv_sec - m->since_sec) * 1000000;
	}
	r = sd_event_default(&event);
	if (r >= 0)
		r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_attach_event(bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_object_vtable(
			bus, NULL, MANAGER_PATH, MANAGER, manager_vtable, NULL);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus, NULL, MANAGER_PATH "/machine", MACHINE,
			machine_vtable, find_object, NULL);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(bus, NULL, MANAGER_PATH, enumerate, NULL);
	if (r >= 0)
		r = sd_bus_add_object_manager(bus, NULL, MANAGER_PATH);
	if (r >= 0)
		r = sd_bus_request_name(bus, "org.vmmd1", 0);
	if (r >= 0 && failed)
		r = be_systemd(failed);
	if (r >= 0) {
		printf("ready\n");
		r = sd_event_loop(event);
	}
	if (r < 0)
		fprintf(stderr, "mock-vmmd: %s\n", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
