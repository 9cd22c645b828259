/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* idle: see idle.h. */
#include "idle.h"

#include <systemd/sd-daemon.h>

#include "broker.h"
#include "log.h"

/* Between two looks whether the last requests are answered. */
#define LEAVE_USEC (UINT64_C(100) * 1000)

static bool has_machines(const struct manager *manager)
{
	for (size_t i = 0; i < manager->n_machines; i++)
		if (machine_is_active(manager->machines[i]))
			return true;
	return false;
}

/* Of what was asked for. */
static bool is_working(const struct bus *bus)
{
	const struct manager *manager = bus->manager;

	return manager->n_jobs > 0 || manager->n_children > 0 || bus->n_requests > 0 ||
	       bus->n_queries > 0 || (manager->broker && broker_is_busy(manager->broker));
}

/*
 * Systemd learns it first: then it starts vmmd anew for whoever asks for the name from now on. What
 * was on its way to us before the name was given back is still answered.
 */
static void leave(struct idle *idle)
{
	sd_notify(false, "STOPPING=1\nSTATUS=ends, since no machine runs");
	log_info("no machine runs and nobody asks for one: ends until it is needed");
	idle->leaving = true;
	sd_bus_release_name(idle->bus->bus, BUS_NAME);
	while (sd_bus_process(idle->bus->bus, NULL) > 0)
		;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct idle *idle = userdata;
	struct bus *bus = idle->bus;
	bool was_asked = bus->n_calls != idle->seen_calls;

	idle->seen_calls = bus->n_calls;
	if (!idle->leaving && !was_asked && !is_working(bus) && !has_machines(bus->manager) &&
		bus->bus)
		leave(idle);
	if (idle->leaving && !is_working(bus))
		return sd_event_exit(bus->manager->event, 0);
	sd_event_source_set_time_relative(source, idle->leaving ? LEAVE_USEC : idle->usec);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int idle_start(struct idle *idle, struct bus *bus, uint64_t usec)
{
	*idle = (struct idle){ .bus = bus, .usec = usec };
	return sd_event_add_time_relative(bus->manager->event, &idle->timer, CLOCK_MONOTONIC, usec,
		usec / 10, on_timer, idle);
}

void idle_finish(struct idle *idle)
{
	idle->timer = sd_event_source_disable_unref(idle->timer);
}
