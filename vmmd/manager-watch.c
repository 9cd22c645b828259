/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * manager: sees .vm files and their drop-ins come, change and go. A change is read half a second
 * later, with all that comes meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/util.h"
#include "log.h"
#include "manager.h"

static const char *const directories[] = { "/etc/vmm", "/run/vmm", "/usr/lib/vmm" };

#define DELAY_USEC (UINT64_C(500) * 1000)
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)

static int on_delay(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	int r;

	r = manager_files_changed(manager);
	if (r < 0)
		log_error("reload: %s", strerror(-r));
	return 0;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct manager *manager = userdata;
	const char *name = event->len > 0 ? event->name : "";
	int enabled;

	/* Of other files nothing is read; an overflow may hide one. */
	if (!(event->mask & IN_Q_OVERFLOW) &&
		(name[0] == '.' || !(ends_in(name, ".vm") || ends_in(name, ".vm.d") ||
					   ends_in(name, ".conf"))))
		return 0;
	if (sd_event_source_get_enabled(manager->watch_timer, &enabled) > 0)
		return 0;
	sd_event_source_set_time_relative(manager->watch_timer, DELAY_USEC);
	sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_ONESHOT);
	return 0;
}

static void forget_dropins(struct manager *manager)
{
	while (manager->n_dropins > 0)
		sd_event_source_disable_unref(manager->dropins[--manager->n_dropins]);
}

static int watch_dropin(struct manager *manager, const char *path)
{
	sd_event_source **dropins =
		reallocarray(manager->dropins, manager->n_dropins + 1, sizeof(*manager->dropins));
	int r;

	if (!dropins)
		return -ENOMEM;
	manager->dropins = dropins;
	r = sd_event_add_inotify(
		manager->event, &dropins[manager->n_dropins], path, EVENTS, on_change, manager);
	/* A file of that name, or one that has just gone. */
	if (r == -ENOTDIR || r == -ENOENT)
		return 0;
	if (r >= 0)
		manager->n_dropins++;
	return r;
}

static int watch_below(struct manager *manager, const char *directory)
{
	CLEANUP(free_p) char *path = NULL;
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (asprintf(&path, "%s%s", manager->root, directory) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	dir = opendir(path);
	while (r >= 0 && dir && (entry = readdir(dir))) {
		CLEANUP(free_p) char *dropin = NULL;

		if (entry->d_name[0] == '.' || !ends_in(entry->d_name, ".vm.d"))
			continue;
		if (manager->n_dropins >= MANAGER_MAX_MACHINES)
			r = -E2BIG;
		else if (asprintf(&dropin, "%s/%s", path, entry->d_name) < 0)
			r = -ENOMEM;
		else
			r = watch_dropin(manager, dropin);
	}
	if (dir)
		closedir(dir);
	return r;
}

void manager_watch_dropins(struct manager *manager)
{
	int r = 0;

	forget_dropins(manager);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(directories); i++)
		r = watch_below(manager, directories[i]);
	if (r < 0)
		log_warning(
			"changes of some drop-ins are not seen until a reload: %s", strerror(-r));
}

int manager_watch(struct manager *manager)
{
	int r;

	static_assert(ARRAY_SIZE(directories) == ARRAY_SIZE(manager->watches), "one each");

	r = sd_event_add_time(manager->event, &manager->watch_timer, CLOCK_MONOTONIC, 0, 10000,
		on_delay, manager);
	if (r >= 0)
		r = sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_OFF);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(directories); i++) {
		CLEANUP(free_p) char *path = NULL;

		if (asprintf(&path, "%s%s", manager->root, directories[i]) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		r = sd_event_add_inotify(
			manager->event, &manager->watches[i], path, EVENTS, on_change, manager);
		/* One that is not there may be missed; Reload finds it. */
		if (r == -ENOENT)
			r = 0;
	}
	manager_watch_dropins(manager);
	return r;
}

void manager_unwatch(struct manager *manager)
{
	forget_dropins(manager);
	free(manager->dropins);
	for (size_t i = 0; i < ARRAY_SIZE(manager->watches); i++)
		sd_event_source_disable_unref(manager->watches[i]);
	sd_event_source_disable_unref(manager->watch_timer);
}
