/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * wait: follows a machine until it has ended. What signals say is kept as it comes, because the
 * object of a machine that was run from the command line goes with its end and cannot be asked.
 */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

static int on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct watch *watch = userdata;
	struct value changed = {};

	if (sd_bus_message_skip(message, "s") < 0 || value_read(message, &changed) < 0)
		return 0;
	for (size_t i = 0; i < changed.n_items; i++)
		value_set(&watch->machine, changed.keys[i], value_copy(&changed.items[i]));
	value_finish(&changed);
	return 0;
}

static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct watch *watch = userdata;
	const char *name;

	if (sd_bus_message_read(message, "s", &name) >= 0 && strcmp(name, watch->name) == 0)
		watch->removed = true;
	return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct watch *watch = userdata;
	const char *after;

	if (sd_bus_message_read(message, "sss", NULL, NULL, &after) >= 0 && *after != '\0')
		watch->renewed = true;
	return 0;
}

bool watch_has_ended(const struct watch *watch, int *ret_status)
{
	const char *state = value_get_string(&watch->machine, "State");
	int64_t status = value_get_signed(&watch->machine, "ExitStatus");
	bool failed = strcmp(state, "failed") == 0;

	if (!watch->removed && !failed && strcmp(state, "inactive") != 0)
		return false;
	*ret_status = (int)(status < 0 ? 128 - status : status) & 0xff;
	/* A failure has a status of its own even where no worker has left one. */
	if (*ret_status == 0 && failed)
		*ret_status = EXIT_FAILURE;
	return true;
}

int watch_refresh(struct ctl *ctl, struct watch *watch)
{
	watch->renewed = false;
	value_finish(&watch->machine);
	return ctl_machine(ctl, watch->name, &watch->machine, NULL);
}

int watch_wait(struct ctl *ctl, struct watch *watch)
{
	int r, status;

	while (!watch_has_ended(watch, &status)) {
		r = sd_bus_process(ctl->bus, NULL);
		if (r == 0)
			r = sd_bus_wait(ctl->bus, UINT64_MAX);
		if (r < 0 && r != -EINTR)
			return ctl_bus_error(ctl, watch->name, NULL, r);
		if (watch->renewed) {
			r = watch_refresh(ctl, watch);
			if (r < 0)
				return r;
		}
	}
	return status;
}

int watch_begin(struct ctl *ctl, struct watch *watch, const char *name)
{
	CLEANUP(free_p) char *path = NULL;
	int r;

	*watch = (struct watch){ .name = name, .machine = value_object() };
	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	r = sd_bus_path_encode(VMMD_PATH "/machine", name, &path);
	if (r >= 0)
		r = sd_bus_match_signal(ctl->bus, &watch->slots[0], VMMD_NAME, path,
			"org.freedesktop.DBus.Properties", "PropertiesChanged", on_properties,
			watch);
	if (r >= 0)
		r = sd_bus_match_signal(ctl->bus, &watch->slots[1], VMMD_NAME, VMMD_PATH,
			VMMD_MANAGER, "MachineRemoved", on_removed, watch);
	if (r >= 0)
		r = sd_bus_add_match(ctl->bus, &watch->slots[2],
			"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',"
			"arg0='" VMMD_NAME "'",
			on_owner, watch);
	return r < 0 ? ctl_bus_error(ctl, name, NULL, r) : 0;
}

void watch_finish(struct watch *watch)
{
	for (size_t i = 0; i < ARRAY_SIZE(watch->slots); i++)
		sd_bus_slot_unref(watch->slots[i]);
	value_finish(&watch->machine);
	*watch = (struct watch){};
}

int verb_wait(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	struct watch watch = {};
	int r;

	if (!name)
		return EXIT_FAILURE;
	r = watch_begin(ctl, &watch, name);
	if (r >= 0)
		r = watch_refresh(ctl, &watch);
	if (r >= 0)
		r = watch_wait(ctl, &watch);
	watch_finish(&watch);
	return r < 0 ? EXIT_FAILURE : r;
}
