/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* stats: see stats.h. */
#include "stats.h"

#include <string.h>

#include "base/util.h"

/* Quietly: a machine may end meanwhile, and an older vmmd may not know the method. */
static struct value ask(struct ctl *ctl, const char *member, const char *name, struct value none)
{
	sd_bus_message *reply = NULL;
	struct value value;

	if (sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, member, NULL, &reply,
		    "s", name) >= 0 &&
		value_read(reply, &value) >= 0) {
		value_finish(&none);
		none = value;
	}
	sd_bus_message_unref(reply);
	return none;
}

/* a(ssa{sv}) as objects. */
static struct value device_objects(struct value *list)
{
	struct value devices = value_array();

	for (size_t i = 0; i < list->n_items; i++) {
		const struct value *item = &list->items[i];
		struct value device;

		if (item->n_items != 3 || item->items[0].type != VALUE_STRING ||
			item->items[1].type != VALUE_STRING || item->items[2].type != VALUE_OBJECT)
			continue;
		device = value_copy(&item->items[2]);
		value_set(&device, "Type", value_copy(&item->items[0]));
		value_set(&device, "Name", value_copy(&item->items[1]));
		value_append(&devices, device);
	}
	value_finish(list);
	return devices;
}

static bool wanted(const struct value *machine, char **names)
{
	if (!names || !names[0])
		return true;
	for (; *names; names++)
		if (strcmp(*names, value_get_string(machine, "Name")) == 0)
			return true;
	return false;
}

int stats_read(struct ctl *ctl, char **names, struct value *ret)
{
	struct value all = {};
	int r = ctl_machines(ctl, &all);

	if (r < 0)
		return r;
	*ret = value_array();
	for (size_t i = 0; i < all.n_items; i++) {
		struct value machine = value_copy(&all.items[i]);
		const char *name = value_get_string(&machine, "Name");
		struct value stats = value_object(), devices = value_array();

		if (!wanted(&machine, names)) {
			value_finish(&machine);
			continue;
		}
		if (value_get_unsigned(&machine, "Leader") > 0) {
			stats = ask(ctl, "GetMachineStats", name, stats);
			devices = ask(ctl, "ListMachineDevices", name, devices);
			devices = device_objects(&devices);
		}
		value_set(&machine, "Stats", stats);
		value_set(&machine, "Devices", devices);
		value_append(ret, machine);
	}
	value_finish(&all);
	return 0;
}

uint64_t stats_counter(const struct value *machine, const char *key)
{
	const struct value *stats = value_get(machine, "Stats");

	return stats ? value_get_unsigned(stats, key) : 0;
}

uint64_t stats_devices(const struct value *machine, const char *type, const char *key)
{
	const struct value *devices = value_get(machine, "Devices");
	uint64_t sum = 0;

	for (size_t i = 0; devices && i < devices->n_items; i++)
		if (strcmp(value_get_string(&devices->items[i], "Type"), type) == 0)
			sum += value_get_unsigned(&devices->items[i], key);
	return sum;
}
