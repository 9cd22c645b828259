/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* show: properties for programs, and is-active. */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

static void show(const struct ctl *ctl, const struct value *properties)
{
	for (size_t i = 0; i < properties->n_items; i++) {
		const char *key = properties->keys[i];
		const struct value *value = &properties->items[i];
		bool wanted = ctl->properties.n_items == 0;

		for (size_t j = 0; j < ctl->properties.n_items; j++)
			wanted = wanted || strcmp(ctl->properties.items[j], key) == 0;
		if (!wanted)
			continue;
		if (!ctl->value_only)
			printf("%s=", key);
		if (strcmp(key, "Job") == 0 && value->n_items == 2) {
			/* Its number; there is none when it is 0. */
			if (value->items[0].unsigned_number != 0)
				value_print_plain(stdout, &value->items[0]);
		} else {
			value_print_plain(stdout, value);
		}
		putchar('\n');
	}
}

int verb_show(struct ctl *ctl, char **arguments)
{
	struct value json = value_array();
	int status = EXIT_SUCCESS;

	if (!arguments[0]) {
		struct value properties = {};

		if (ctl_properties(
			    ctl, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, false, &properties) < 0)
			return EXIT_FAILURE;
		if (ctl->json != JSON_OFF) {
			json = machine_to_json(&properties);
			ctl_print_json(ctl, &json);
		} else {
			show(ctl, &properties);
		}
		value_finish(&properties);
		value_finish(&json);
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; arguments[i]; i++) {
		const char *name = ctl_machine_name(arguments[i]);
		struct value machine = {};

		if (!name || ctl_machine(ctl, name, &machine, NULL) < 0) {
			status = EXIT_FAILURE;
			continue;
		}
		if (ctl->json != JSON_OFF) {
			value_append(&json, machine_to_json(&machine));
		} else {
			if (i > 0 && !ctl->value_only)
				putchar('\n');
			show(ctl, &machine);
		}
		value_finish(&machine);
	}
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &json);
	value_finish(&json);
	return status;
}

int verb_is_active(struct ctl *ctl, char **arguments)
{
	struct value json = value_array();
	int status = 3;

	for (; *arguments; arguments++) {
		const char *name = ctl_machine_name(*arguments);
		struct value machine = {}, object;
		const char *state;
		bool active;

		if (!name || ctl_machine(ctl, name, &machine, NULL) < 0)
			continue;
		state = value_get_string(&machine, "State");
		active = strcmp(state, "inactive") != 0 && strcmp(state, "failed") != 0;
		if (active)
			status = EXIT_SUCCESS;
		object = value_object();
		value_set(&object, "name", value_string(name));
		value_set(&object, "state", value_string(state));
		value_set(&object, "active", value_bool(active));
		value_append(&json, object);
		if (!ctl->quiet && ctl->json == JSON_OFF)
			puts(state);
		value_finish(&machine);
	}
	if (!ctl->quiet && ctl->json != JSON_OFF)
		ctl_print_json(ctl, &json);
	value_finish(&json);
	return status;
}
