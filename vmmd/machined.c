/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * machined: registers machines that run with systemd-machined, where there is one, so that
 * machinectl lists them, and powers them off and reboots them by signals to the worker. A machine
 * is taken away when its unit has ended, which machined mostly sees by itself; over a reboot the
 * unit stays and the worker is another one, which is registered anew. Nothing depends on it: where
 * it fails, machinectl sees less.
 *
 * Only with a worker in a unit of its own: machined ends a machine by ending its leader's unit.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "error.h"
#include "log.h"
#include "spawn.h"
#include "spec-fill.h"

#define MACHINED_NAME "org.freedesktop.machine1"
#define MACHINED_PATH "/org/freedesktop/machine1"
#define MACHINED_MANAGER "org.freedesktop.machine1.Manager"

struct registration {
	struct bus *bus; /* borrowed: no answer comes after its end */
	char name[VMM_NAME_SIZE];
	pid_t leader;
	bool again; /* the old registration was taken away for this one */
};

static int send_register(
	struct bus *bus, const char *name, pid_t leader, sd_bus_message_handler_t done, bool again);

static void free_registration(void *userdata)
{
	free(userdata);
}

/* done gets the registration; it may be NULL. Takes over message. */
static int send_call(struct bus *bus, sd_bus_message *message, sd_bus_message_handler_t done,
	const struct registration *registration)
{
	struct registration *copy = NULL;
	sd_bus_slot *slot = NULL;
	int r;

	if (!done) {
		r = sd_bus_send(bus->bus, message, NULL);
		sd_bus_message_unref(message);
		return r;
	}
	copy = malloc(sizeof(*copy));
	if (!copy) {
		sd_bus_message_unref(message);
		return -ENOMEM;
	}
	*copy = *registration;
	r = sd_bus_call_async(bus->bus, &slot, message, done, copy, 0);
	sd_bus_message_unref(message);
	if (r < 0) {
		free(copy);
		return r;
	}
	sd_bus_slot_set_destroy_callback(slot, free_registration);
	sd_bus_slot_set_floating(slot, true);
	sd_bus_slot_unref(slot);
	return 0;
}

static int new_call(struct bus *bus, const char *member, sd_bus_message **ret)
{
	return sd_bus_message_new_method_call(
		bus->bus, ret, MACHINED_NAME, MACHINED_PATH, MACHINED_MANAGER, member);
}

/* Nothing is started for it: one that does not run has nothing registered. */
static void send_unregister(struct bus *bus, const char *name)
{
	sd_bus_message *message = NULL;
	int r;

	r = new_call(bus, "UnregisterMachine", &message);
	if (r >= 0)
		r = sd_bus_message_append(message, "s", name);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(message, false);
	if (r >= 0)
		r = sd_bus_message_set_expect_reply(message, false);
	if (r >= 0)
		send_call(bus, message, NULL, NULL);
	else
		sd_bus_message_unref(message);
}

static void forget(const struct registration *registration)
{
	struct machine *machine = manager_find(registration->bus->manager, registration->name);

	if (machine && machine->registered_leader == registration->leader)
		machine->registered_leader = 0;
}

static int on_registered(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* Whose is the machine of that name? Ours, if its unit is: from before vmmd was started. */
static int on_found(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const struct registration *registration = userdata;
	CLEANUP(free_p) char *expected = NULL;
	const char *path = "";

	if (sd_bus_message_is_method_error(message, NULL) ||
		sd_bus_message_read(message, "o", &path) < 0 ||
		sd_bus_path_encode(MACHINED_PATH "/machine", registration->name, &expected) < 0 ||
		strcmp(path, expected) != 0) {
		struct log_about about = { .name = registration->name,
			.pid = registration->leader };

		log_line(LOG_NOTICE, &about,
			"not registered with systemd-machined, which has another machine of this "
			"name");
		forget(registration);
		return 0;
	}
	send_unregister(registration->bus, registration->name);
	send_register(
		registration->bus, registration->name, registration->leader, on_registered, true);
	return 0;
}

static int on_registered(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const struct registration *registration = userdata;
	sd_bus_message *question = NULL;
	int r;

	if (!sd_bus_message_is_method_error(message, NULL))
		return 0;
	if (registration->again || !sd_bus_message_is_method_error(
					   message, "org.freedesktop.machine1.MachineExists")) {
		log_debug("%s: not registered with systemd-machined: %s", registration->name,
			sd_bus_message_get_error(message)->message);
		forget(registration);
		return 0;
	}
	r = new_call(registration->bus, "GetMachineByPID", &question);
	if (r >= 0)
		r = sd_bus_message_append(question, "u", (uint32_t)registration->leader);
	if (r >= 0)
		send_call(registration->bus, question, on_found, registration);
	else
		sd_bus_message_unref(question);
	return 0;
}

static int send_register(
	struct bus *bus, const char *name, pid_t leader, sd_bus_message_handler_t done, bool again)
{
	struct registration registration = { .bus = bus, .leader = leader, .again = again };
	sd_bus_message *message = NULL;
	uint8_t uuid[16] = {};
	int r;

	snprintf(registration.name, sizeof(registration.name), "%s", name);
	spec_fill_uuid(uuid, name);
	r = new_call(bus, "RegisterMachine", &message);
	if (r >= 0)
		r = sd_bus_message_append(message, "s", name);
	if (r >= 0)
		r = sd_bus_message_append_array(message, 'y', uuid, sizeof(uuid));
	if (r >= 0)
		r = sd_bus_message_append(message, "ssus", "vmmd", "vm", (uint32_t)leader, "");
	if (r < 0) {
		sd_bus_message_unref(message);
		return r;
	}
	return send_call(bus, message, done, &registration);
}

void machined_follow(struct bus *bus, struct machine *machine)
{
	bool runs = machine->unit_state == UNIT_ACTIVE && machine->leader > 0;

	if (bus->manager->spawner != &spawner_systemd)
		return;
	/* machined may look before systemd has let go of the unit, and then not again. */
	if ((machine->unit_state == UNIT_INACTIVE || machine->unit_state == UNIT_FAILED) &&
		machine->registered_leader > 0) {
		send_unregister(bus, machine->name);
		machine->registered_leader = 0;
	}
	if (!runs || machine->registered_leader == machine->leader)
		return;
	/* The same unit with another worker. */
	if (machine->registered_leader > 0)
		send_unregister(bus, machine->name);
	machine->registered_leader = machine->leader;
	if (send_register(bus, machine->name, machine->leader, on_registered, false) < 0)
		machine->registered_leader = 0;
}
