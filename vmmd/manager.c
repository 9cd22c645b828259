/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* manager: the machines that there are; see manager.h. What is done to them is in
 * manager-verbs.c. */
#include "manager.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "broker.h"
#include "error.h"
#include "job.h"
#include "log.h"
#include "resources.h"
#include "spawn.h"
#include "sweep.h"

/* First index whose name is not before name. */
static size_t position(const struct manager *manager, const char *name)
{
	size_t low = 0, high = manager->n_machines;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(manager->machines[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct machine *manager_find(struct manager *manager, const char *name)
{
	size_t i = position(manager, name);

	if (i < manager->n_machines && strcmp(manager->machines[i]->name, name) == 0)
		return manager->machines[i];
	return NULL;
}

static void remove_machine(struct manager *manager, size_t at)
{
	struct machine *machine = manager->machines[at];

	if (manager->observer)
		manager->observer->machine_removed(manager->observer_userdata, machine);
	memmove(&manager->machines[at], &manager->machines[at + 1],
		(manager->n_machines - at - 1) * sizeof(*manager->machines));
	manager->n_machines--;
	manager->counts_changed = true;
	manager_schedule_flush(manager);
	manager->spawner->forget(machine);
	machine_free(machine);
}

void manager_tell_changes(struct manager *manager, struct machine *machine)
{
	const struct manager_observer *observer = manager->observer;
	unsigned changes = TAKE(machine->changes, 0);

	if (changes && observer)
		observer->machine_changed(manager->observer_userdata, machine, changes);
}

static void flush(struct manager *manager)
{
	const struct manager_observer *observer = manager->observer;

	for (size_t i = 0; i < manager->n_machines; i++)
		manager_tell_changes(manager, manager->machines[i]);
	/* What neither runs nor has a file is no machine any more. One that has failed stays, for
	 * its reason to be read, until a reload is asked for. */
	for (size_t i = manager->n_machines; i-- > 0;) {
		struct machine *machine = manager->machines[i];

		if (!machine->defined && !machine->job && machine->unit_state == UNIT_INACTIVE)
			remove_machine(manager, i);
	}
	if (TAKE(manager->counts_changed, false) && observer)
		observer->machines_counted(manager->observer_userdata);
}

static int on_flush(sd_event_source *source, void *userdata)
{
	flush(userdata);
	return 0;
}

void manager_schedule_flush(struct manager *manager)
{
	sd_event_source_set_enabled(manager->flush_source, SD_EVENT_ONESHOT);
}

int manager_ensure(struct manager *manager, const char *name, struct machine **ret)
{
	struct machine *machine = manager_find(manager, name), **machines;
	size_t at = position(manager, name);
	int r;

	if (machine) {
		*ret = machine;
		return 0;
	}
	if (manager->n_machines >= MANAGER_MAX_MACHINES)
		return -VMMD_E_LIMITS_EXCEEDED;
	machines = reallocarray(manager->machines, manager->n_machines + 1, sizeof(*machines));
	if (!machines)
		return -ENOMEM;
	manager->machines = machines;
	r = machine_new(manager, name, &machine);
	if (r < 0)
		return r;
	r = machine_load(machine);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	memmove(&machines[at + 1], &machines[at], (manager->n_machines - at) * sizeof(*machines));
	machines[at] = machine;
	manager->n_machines++;
	/* The announcement carries all properties. */
	machine->changes = 0;
	manager->counts_changed = true;
	manager_schedule_flush(manager);
	if (manager->observer)
		manager->observer->machine_added(manager->observer_userdata, machine);
	*ret = machine;
	return 0;
}

int manager_get(struct manager *manager, const char *name, struct machine **ret, char **ret_text)
{
	struct machine *machine = manager_find(manager, name);
	char *path = NULL;
	int r;

	if (!machine && config_find(manager->root, name, &path) == 0) {
		/* Put there since the files were last read. */
		free(path);
		r = manager_ensure(manager, name, &machine);
		if (r < 0)
			return r;
	}
	if (!machine)
		return error_say(
			ret_text, -VMMD_E_NO_SUCH_MACHINE, "there is no machine \"%.64s\"", name);
	*ret = machine;
	return 0;
}

static uint64_t realtime_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int read_files(struct manager *manager)
{
	struct config_messages messages = {};
	struct machine *machine;
	char **names;
	size_t n;
	int r;

	r = config_list(manager->root, &messages, &names, &n);
	for (size_t i = 0; i < messages.n_items; i++)
		log_warning("%s: %s", messages.items[i].file, messages.items[i].text);
	config_messages_finish(&messages);
	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = manager_ensure(manager, names[i], &machine);
		if (r >= 0 && machine->config_error) {
			struct log_about about = { .name = machine->name, .pid = machine->leader };

			log_line(LOG_WARNING, &about, "%s", machine->config_error);
		}
		if (r == -VMMD_E_LIMITS_EXCEEDED) {
			log_error(
				"more than %d machines: the rest is ignored", MANAGER_MAX_MACHINES);
			r = 0;
			break;
		}
	}
	config_names_free(names, n);
	manager->config_usec = realtime_usec();
	return r;
}

/* One that was run from the command line is gone, file and all, when it has failed. */
static bool is_to_be_read(const struct machine *machine)
{
	return machine->was_run && machine->unit_state == UNIT_FAILED &&
	       machine->manager->spawner->keeps_failed;
}

static int reread(struct manager *manager, bool by_request)
{
	int r = 0;

	if (manager->observer)
		manager->observer->reloading(manager->observer_userdata, true);
	manager_watch_dropins(manager);
	for (size_t i = manager->n_machines; r >= 0 && i-- > 0;) {
		struct machine *machine = manager->machines[i];

		r = machine_load(machine);
		if (r >= 0 && !machine->defined && !machine->job && !machine_is_active(machine) &&
			(by_request || !is_to_be_read(machine)))
			remove_machine(manager, i);
	}
	if (r >= 0)
		r = read_files(manager);
	manager->counts_changed = true;
	manager_schedule_flush(manager);
	if (manager->observer)
		manager->observer->reloading(manager->observer_userdata, false);
	return r;
}

int manager_reload(struct manager *manager)
{
	return reread(manager, true);
}

int manager_files_changed(struct manager *manager)
{
	return reread(manager, false);
}

uint32_t manager_n_running(const struct manager *manager)
{
	uint32_t n = 0;

	for (size_t i = 0; i < manager->n_machines; i++)
		if (manager->machines[i]->unit_state == UNIT_ACTIVE)
			n++;
	return n;
}

uint64_t manager_memory_committed(const struct manager *manager)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < manager->n_machines; i++)
		if (machine_is_active(manager->machines[i]))
			bytes += machine_memory_bytes(manager->machines[i]);
	return bytes;
}

/* Directories of machines whose worker has gone while no vmmd ran. */
static void remove_stale(struct manager *manager)
{
	CLEANUP(free_p) char *path = NULL;
	struct dirent *entry;
	DIR *dir;

	if (asprintf(&path, "%s/machine", manager->run_dir) < 0) {
		path = NULL;
		return;
	}
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		struct machine *machine, stale = { .manager = manager };

		if (!config_name_valid(entry->d_name))
			continue;
		machine = manager_find(manager, entry->d_name);
		if (machine && machine_is_active(machine))
			continue;
		snprintf(stale.name, sizeof(stale.name), "%.27s", entry->d_name);
		machine_remove_run_dir(&stale);
	}
	closedir(dir);
	/* The files of transient machines that ended meanwhile. */
	for (size_t i = manager->n_machines; i-- > 0;) {
		struct machine *machine = manager->machines[i];

		if (machine->transient && !machine_is_active(machine))
			manager_remove_transient(manager, machine);
	}
}

static int make_dirs(struct manager *manager)
{
	CLEANUP(free_p) char *machines = NULL;

	if (asprintf(&machines, "%s/machine", manager->run_dir) < 0) {
		machines = NULL;
		return -ENOMEM;
	}
	/* tmpfiles.d makes them on a system; with a root of its own nobody else does. */
	for (char *slash = manager->run_dir; (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		mkdir(manager->run_dir, 0755);
		*slash = '/';
	}
	mkdir(manager->run_dir, 0755);
	if (mkdir(machines, 0700) < 0 && errno != EEXIST) {
		int r = -errno;

		log_error("%s: %s", machines, strerror(errno));
		return r;
	}
	return 0;
}

int manager_start(struct manager *manager)
{
	int r;

	r = make_dirs(manager);
	if (r < 0)
		return r;
	r = manager_watch(manager);
	if (r < 0)
		log_warning("changes of .vm files are not seen until a reload: %s", strerror(-r));
	r = read_files(manager);
	if (r < 0)
		return r;
	r = manager->spawner->enumerate(manager);
	if (r < 0)
		return r;
	manager->started = true;
	return 0;
}

void manager_units_known(struct manager *manager)
{
	if (manager->units_known)
		return;
	manager->units_known = true;
	remove_stale(manager);
	sweep_ended(manager);
}

int manager_new(sd_event *event, const struct manager_options *options, struct manager **ret)
{
	struct manager *manager = malloc(sizeof(*manager));
	int r;

	if (!manager)
		return -ENOMEM;
	*manager = (struct manager){
		.event = sd_event_ref(event),
		.spawner = options->spawner,
		.root = strdup(options->root ? options->root : ""),
		.worker = options->worker ? strdup(options->worker) : NULL,
	};
	if (!manager->root || asprintf(&manager->run_dir, "%s/run/vmmd", manager->root) < 0) {
		manager->run_dir = NULL;
		manager_free(manager);
		return -ENOMEM;
	}
	r = sd_event_add_defer(event, &manager->flush_source, on_flush, manager);
	if (r >= 0)
		r = sd_event_source_set_enabled(manager->flush_source, SD_EVENT_OFF);
	/* After all that the same turn of the loop may change. */
	if (r >= 0)
		r = sd_event_source_set_priority(manager->flush_source, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = manager->spawner->init(manager);
	if (r < 0) {
		manager_free(manager);
		return r;
	}
	*ret = manager;
	return 0;
}

struct manager *manager_free(struct manager *manager)
{
	if (!manager)
		return NULL;
	broker_free(manager->broker);
	while (manager->n_jobs > 0)
		job_finish(manager->jobs[manager->n_jobs - 1], "canceled");
	resources_end(manager);
	/* Machines do not go with us: nobody is told that they have. */
	manager->observer = NULL;
	while (manager->n_machines > 0)
		remove_machine(manager, manager->n_machines - 1);
	if (manager->spawner && manager->run_dir)
		manager->spawner->finish(manager);
	free(manager->machines);
	free(manager->jobs);
	sd_event_source_disable_unref(manager->flush_source);
	manager_unwatch(manager);
	free(manager->root);
	free(manager->run_dir);
	free(manager->worker);
	sd_event_unref(manager->event);
	free(manager);
	return NULL;
}
