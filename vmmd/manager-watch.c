/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * manager: sees .vm files come, change and go. A change is read half a second later, with all that
 * comes meanwhile; what happens in drop-in directories is read at the next start or Reload.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/util.h"
#include "log.h"
#include "manager.h"

#define DELAY_USEC (UINT64_C(500) * 1000)
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)

static int on_delay(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	int r;

	r = manager_reload(manager);
	if (r < 0)
		log_error("reload: %s", strerror(-r));
	return 0;
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct manager *manager = userdata;
	size_t n = event->len > 0 ? strlen(event->name) : 0;
	int enabled;

	/* Of other files than .vm nothing is read; an overflow may hide one. */
	if (!(event->mask & IN_Q_OVERFLOW) &&
		(n < 3 || event->name[0] == '.' || strcmp(event->name + n - 3, ".vm") != 0))
		return 0;
	if (sd_event_source_get_enabled(manager->watch_timer, &enabled) > 0)
		return 0;
	sd_event_source_set_time_relative(manager->watch_timer, DELAY_USEC);
	sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_ONESHOT);
	return 0;
}

int manager_watch(struct manager *manager)
{
	static const char *const directories[] = { "/etc/vmm", "/run/vmm", "/usr/lib/vmm" };
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
	return r;
}

void manager_unwatch(struct manager *manager)
{
	for (size_t i = 0; i < ARRAY_SIZE(manager->watches); i++)
		sd_event_source_disable_unref(manager->watches[i]);
	sd_event_source_disable_unref(manager->watch_timer);
}
