/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* machine: what one VM is and how it is doing; see machine.h. The files of a running one are in
 * machine-run.c. */
#include "machine.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "control.h"
#include "job.h"
#include "killed.h"
#include "log.h"
#include "spawn.h"
#include "sweep.h"

bool machine_name_of_unit(const char *unit, char name[VMM_NAME_SIZE])
{
	static const char prefix[] = "vmm@", suffix[] = ".service";
	size_t n = strlen(unit), around = strlen(prefix) + strlen(suffix);

	if (n <= around || strncmp(unit, prefix, strlen(prefix)) != 0 ||
		strcmp(unit + n - strlen(suffix), suffix) != 0)
		return false;
	n -= around;
	if (n >= VMM_NAME_SIZE)
		return false;
	memcpy(name, unit + strlen(prefix), n);
	name[n] = 0;
	return config_name_valid(name);
}

static uint64_t now_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int machine_new(struct manager *manager, const char *name, struct machine **ret)
{
	struct machine *machine = malloc(sizeof(*machine));

	assert(config_name_valid(name));
	if (!machine)
		return -ENOMEM;
	*machine = (struct machine){ .manager = manager, .result = "success" };
	snprintf(machine->name, sizeof(machine->name), "%s", name);
	snprintf(machine->unit, sizeof(machine->unit), "vmm@%s.service", name);
	*ret = machine;
	return 0;
}

struct machine *machine_free(struct machine *machine)
{
	if (!machine)
		return NULL;
	assert(!machine->job);
	control_free(machine->control);
	vm_config_free(machine->config);
	free(machine->config_path);
	free(machine->config_error);
	config_messages_finish(&machine->config_messages);
	free(machine);
	return NULL;
}

void machine_changed(struct machine *machine, unsigned changes)
{
	machine->changes |= changes;
	manager_schedule_flush(machine->manager);
}

int machine_load(struct machine *machine)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	const struct config_message *error;
	char *path = NULL, *text = NULL;
	int r;

	r = config_find(machine->manager->root, machine->name, &path);
	if (r == 0)
		r = config_load(machine->manager->root, machine->name, &messages, &config);
	if (r < 0 && r != -ENOENT) {
		error = config_messages_first_error(&messages);
		if (error)
			config_message_format(error, &text);
		else if (asprintf(&text, "%s: %s", path ? path : machine->name, strerror(-r)) < 0)
			text = NULL;
	}
	if (r == -ENOMEM || (r < 0 && r != -ENOENT && !text)) {
		config_messages_finish(&messages);
		free(path);
		return -ENOMEM;
	}

	vm_config_free(machine->config);
	free(machine->config_path);
	free(machine->config_error);
	config_messages_finish(&machine->config_messages);
	machine->config_messages = messages;
	machine->config = config;
	machine->config_path = path;
	machine->config_error = text;
	machine->defined = path != NULL;
	machine->was_run = machine->was_run && !path;
	machine->transient =
		path && strncmp(path + strlen(machine->manager->root), "/run/", 5) == 0;
	machine_changed(machine, MACHINE_CHANGED_CONFIG);
	return 0;
}

void machine_log_warnings(const struct machine *machine)
{
	struct log_about about = { .name = machine->name, .event = "configuration" };

	for (size_t i = 0; i < machine->config_messages.n_items; i++) {
		char *text;

		if (config_message_format(&machine->config_messages.items[i], &text) < 0)
			continue;
		log_line(LOG_WARNING, &about, "%s", text);
		free(text);
	}
}

bool machine_is_active(const struct machine *machine)
{
	return machine->unit_state == UNIT_STARTING || machine->unit_state == UNIT_ACTIVE ||
	       machine->unit_state == UNIT_STOPPING;
}

bool machine_needs_restart(const struct machine *machine)
{
	if (!machine_is_active(machine) || !machine->handed.valid)
		return false;
	return !machine->config || machine->config->fingerprint != machine->handed.fingerprint;
}

uint32_t machine_n_cpus(const struct machine *machine)
{
	if (machine_is_active(machine) && machine->handed.valid)
		return machine->handed.n_cpus;
	return machine->config ? (uint32_t)machine->config->machine.cpus.value : 0;
}

uint64_t machine_memory_bytes(const struct machine *machine)
{
	if (machine_is_active(machine) && machine->handed.valid)
		return machine->handed.memory_bytes;
	return machine->config ? machine->config->machine.memory_bytes.value : 0;
}

const char *machine_state_name(enum machine_state state)
{
	static const char *const names[] = {
		[MACHINE_INACTIVE] = "inactive",
		[MACHINE_STARTING] = "starting",
		[MACHINE_RUNNING] = "running",
		[MACHINE_PAUSED] = "paused",
		[MACHINE_STOPPING] = "stopping",
		[MACHINE_FAILED] = "failed",
	};

	return names[state];
}

const char *machine_guest_state_name(const struct machine *machine)
{
	if (!machine_is_active(machine) || !machine->control)
		return "unknown";
	switch (machine->worker_state) {
	case VMM_STATE_BUILDING:
		return "booting";
	case VMM_STATE_RUNNING:
	case VMM_STATE_PAUSED:
		return "running";
	case VMM_STATE_STOPPING:
		return "stopping";
	case VMM_STATE_ENDED:
		return machine->worker_end == VMM_END_REBOOT ? "rebooting" : "stopping";
	default:
		return "unknown";
	}
}

static enum machine_state derive_state(const struct machine *machine)
{
	switch (machine->unit_state) {
	case UNIT_INACTIVE:
		return MACHINE_INACTIVE;
	case UNIT_STARTING:
		return MACHINE_STARTING;
	case UNIT_STOPPING:
		return MACHINE_STOPPING;
	case UNIT_FAILED:
		return MACHINE_FAILED;
	case UNIT_ACTIVE:
		if (machine->worker_state == VMM_STATE_PAUSED)
			return MACHINE_PAUSED;
		if (machine->worker_state == VMM_STATE_STOPPING)
			return MACHINE_STOPPING;
		return MACHINE_RUNNING;
	}
	return MACHINE_INACTIVE;
}

static void log_state(struct machine *machine, enum machine_state old)
{
	struct log_about about = { .name = machine->name, .pid = machine->leader };

	if (!machine->manager->started)
		return;
	if (machine->state == MACHINE_RUNNING && old == MACHINE_STARTING) {
		about.id = LOG_ID_STARTED;
		about.event = "started";
		log_line(LOG_INFO, &about, "runs");
	} else if (machine->state == MACHINE_INACTIVE) {
		about.id = LOG_ID_STOPPED;
		about.event = "stopped";
		log_line(LOG_INFO, &about, "has stopped (%s)", machine->result);
	} else if (machine->state == MACHINE_FAILED) {
		about.id = LOG_ID_START_FAILED;
		about.event = "failed";
		log_line(LOG_ERR, &about, "has failed (%s)%s%s", machine->result,
			machine->status_text[0] ? ": " : "", machine->status_text);
	}
}

/* After anything that state is made from. */
static void update_state(struct machine *machine)
{
	enum machine_state old = machine->state;

	machine->state = derive_state(machine);
	if (machine->state != old) {
		machine->state_usec = now_usec(CLOCK_REALTIME);
		machine->state_monotonic_usec = now_usec(CLOCK_MONOTONIC);
		machine->manager->counts_changed = true;
		machine_changed(machine, MACHINE_CHANGED_STATE | MACHINE_CHANGED_GUEST);
		log_state(machine, old);
	}
	job_look(machine);
}

/* The worker has gone: what it had goes too. */
static void worker_gone(struct machine *machine)
{
	machine->control = control_free(machine->control);
	machine->worker_state = VMM_STATE_BUILDING;
	machine->worker_end = VMM_END_NONE;
	machine_changed(machine, MACHINE_CHANGED_GUEST);
}

void machine_set_unit(struct machine *machine, enum unit_state unit_state, pid_t leader)
{
	bool was_active = machine_is_active(machine);

	if (leader != machine->leader) {
		if (machine->leader > 0)
			worker_gone(machine);
		machine->leader = leader;
		if (leader > 0)
			machine->last_leader = leader;
		machine_changed(machine, MACHINE_CHANGED_LEADER);
	}
	if (unit_state == machine->unit_state) {
		job_look(machine);
		return;
	}
	machine->unit_state = unit_state;
	if (was_active && !machine_is_active(machine)) {
		worker_gone(machine);
		machine->handed = (struct machine_handed){};
		machine_remove_run_dir(machine);
	}
	update_state(machine);
	if (was_active && !machine_is_active(machine)) {
		sweep_ended(machine->manager);
		manager_remove_transient(machine->manager, machine);
	}
}

void machine_set_since(struct machine *machine, uint64_t usec, uint64_t monotonic_usec)
{
	if (usec == 0)
		return;
	machine->state_usec = usec;
	machine->state_monotonic_usec = monotonic_usec;
	machine_changed(machine, MACHINE_CHANGED_STATE);
}

void machine_set_result(struct machine *machine, const char *result, int exit_status)
{
	/* One exit status for both; the worker has said which it was. */
	if (strcmp(result, "guest-panic") == 0 && machine->last_end == VMM_END_TRIPLE_FAULT)
		result = "triple-fault";
	if (strcmp(result, "guest-panic") == 0 && machine->last_end == VMM_END_WATCHDOG)
		result = "watchdog";
	if (strcmp(machine->result, result) == 0 && machine->exit_status == exit_status)
		return;
	machine->result = result;
	machine->exit_status = exit_status;
	machine_changed(machine, MACHINE_CHANGED_RESULT);
	if (exit_status == -SIGSYS && machine->last_leader > 0)
		killed_explain(machine);
}

void machine_set_restarts(struct machine *machine, uint32_t n_restarts)
{
	if (machine->n_restarts == n_restarts)
		return;
	machine->n_restarts = n_restarts;
	machine_changed(machine, MACHINE_CHANGED_LEADER);
}

void machine_set_status(struct machine *machine, const char *format, ...)
{
	char text[sizeof(machine->status_text)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* What does not come from us may hold anything; the bus refuses all but UTF-8. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
	if (strcmp(text, machine->status_text) == 0)
		return;
	memcpy(machine->status_text, text, sizeof(text));
	machine_changed(machine, MACHINE_CHANGED_STATUS);
}

/* What a worker calls it, and where it was written. */
static const struct config_where *find_origin(
	const struct vm_config *config, const char *reason, const char **ret_key)
{
	const struct {
		const char *prefix;
		const char *key;
		const struct config_where *where;
	} origins[] = {
		{ "kernel:", "[Boot] Kernel=", &config->boot.kernel.where },
		{ "initrd:", "[Boot] Initrd=", &config->boot.initrd.where },
		{ "command line:", "[Boot] CommandLine=", &config->boot.command_line.where },
		{ "memory:", "[Machine] Memory=", &config->machine.memory_bytes.where },
		{ "CPUs:", "[Machine] CPUs=", &config->machine.cpus.where },
	};
	char prefix[64];

	for (size_t i = 0; i < ARRAY_SIZE(origins); i++)
		if (strncmp(reason, origins[i].prefix, strlen(origins[i].prefix)) == 0) {
			*ret_key = origins[i].key;
			return origins[i].where;
		}
	for (size_t i = 0; i < config->n_drives; i++) {
		snprintf(prefix, sizeof(prefix), "drive %.32s:", config->drives[i].name.value);
		*ret_key = "[Drive]";
		if (strncmp(reason, prefix, strlen(prefix)) == 0)
			return &config->drives[i].where;
	}
	for (size_t i = 0; i < config->n_shares; i++) {
		snprintf(prefix, sizeof(prefix), "share %.32s:", config->shares[i].tag.value);
		*ret_key = "[Share]";
		if (strncmp(reason, prefix, strlen(prefix)) == 0)
			return &config->shares[i].where;
	}
	for (size_t i = 0; i < config->n_networks; i++) {
		snprintf(prefix, sizeof(prefix), "network %.32s:", config->networks[i].name.value);
		*ret_key = "[Network]";
		if (strncmp(reason, prefix, strlen(prefix)) == 0)
			return &config->networks[i].where;
	}
	return NULL;
}

void machine_set_failure(struct machine *machine, const char *reason)
{
	const struct vm_config *config = machine->config;
	const struct config_where *where = NULL;
	const char *key = NULL, *told = strstr(machine->status_text, reason);

	/* The file may have gone since it was told where. */
	if (told && told != machine->status_text && strcmp(told, reason) == 0)
		return;
	/* Only of the files that it was made from. */
	if (config && config->fingerprint == machine->last_fingerprint)
		where = find_origin(config, reason, &key);
	if (where && where->line > 0)
		machine_set_status(machine, "%s:%u: %s: %s", config->files[where->file],
			where->line, key, reason);
	else if (where)
		machine_set_status(machine, "%s: %s: %s", config->files[0], key, reason);
	else
		machine_set_status(machine, "%s", reason);
}

void machine_control_status(struct machine *machine, const struct vmm_control_status *status)
{
	machine->worker_state = status->state;
	machine->worker_end = status->end;
	machine->last_end = status->end;
	if (!machine->handed.valid) {
		/* Its state file has gone; what it was made from is not known. */
		machine->handed = (struct machine_handed){ .valid = true,
			.n_cpus = status->n_cpus,
			.memory_bytes = status->memory_bytes };
	}
	machine_set_status(machine, "%.*s", (int)sizeof(status->text) - 1, status->text);
	machine_changed(machine, MACHINE_CHANGED_GUEST);
	if (status->ready_usec > 0 && machine->manager->spawner->worker_ready)
		machine->manager->spawner->worker_ready(machine);
	update_state(machine);
}

static void device_changed(struct machine *machine, const struct vmm_control_event *event)
{
	const struct manager_observer *observer = machine->manager->observer;
	char id[VMM_DEVICE_ID_SIZE];

	/* Any text may stand there, and not all may go to the bus. */
	snprintf(id, sizeof(id), "%.*s", (int)sizeof(id) - 1, event->text);
	for (const char *c = id; *c; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return;
	if (event->value == VMM_DEVICE_NETWORK && event->event == VMM_EVENT_DEVICE_DETACHED)
		sweep_network(machine->manager, machine->name, id);
	if (observer && (event->value == VMM_DEVICE_DRIVE || event->value == VMM_DEVICE_NETWORK))
		observer->device_changed(machine->manager->observer_userdata, machine,
			(uint32_t)event->value, id, event->event == VMM_EVENT_DEVICE_ATTACHED);
}

void machine_control_event(struct machine *machine, const struct vmm_control_event *event)
{
	struct log_about about = { .name = machine->name, .pid = machine->leader };

	machine->worker_state = event->state;
	machine->worker_end = event->end;
	machine->last_end = event->end;
	switch (event->event) {
	case VMM_EVENT_GUEST_PANICKED:
		about.id = LOG_ID_PANICKED;
		about.event = "panicked";
		machine_set_status(machine, "the guest has %s",
			event->end == VMM_END_TRIPLE_FAULT ? "crashed (triple fault)" : "panicked");
		log_line(LOG_ERR, &about, "%s", machine->status_text);
		break;
	case VMM_EVENT_WATCHDOG:
		about.event = "watchdog";
		log_line(LOG_WARNING, &about, "the guest has hung: its watchdog has expired");
		break;
	case VMM_EVENT_RESET:
		about.id = LOG_ID_REBOOTED;
		about.event = "reboot";
		log_line(LOG_INFO, &about, "the guest reboots");
		break;
	case VMM_EVENT_BLOCK_ERROR:
		about.id = LOG_ID_DRIVE_ERROR;
		about.event = "drive-error";
		about.device = event->text;
		log_line(LOG_WARNING, &about, "drive %.32s: %s", event->text,
			strerror(event->value < 0 ? -event->value : event->value));
		break;
	case VMM_EVENT_DEVICE_ATTACHED:
	case VMM_EVENT_DEVICE_DETACHED:
		device_changed(machine, event);
		break;
	default:
		break;
	}
	machine_changed(machine, MACHINE_CHANGED_GUEST);
	if (event->event == VMM_EVENT_READY && machine->manager->spawner->worker_ready)
		machine->manager->spawner->worker_ready(machine);
	update_state(machine);
}

void machine_control_lost(struct machine *machine)
{
	machine->control = control_free(machine->control);
	machine_changed(machine, MACHINE_CHANGED_GUEST);
}
