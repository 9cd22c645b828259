/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* devices: the drives and networks of a machine that runs. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/util.h"
#include "config.h"
#include "table.h"

/* ---- the list ---- */

/* Adds "KEY=VALUE" for each limit that is set. */
static void print_limits(FILE *stream, const struct value *properties)
{
	const char *separator = "";

	for (size_t i = 0; i < properties->n_items; i++) {
		const char *key = properties->keys[i];
		CLEANUP(free_p) char *bytes = NULL;
		uint64_t value;

		if (!strstr(key, "Limit") && !strstr(key, "Burst"))
			continue;
		if (strcmp(key, "Limited") == 0)
			continue;
		value = properties->items[i].unsigned_number;
		bytes = strstr(key, "Bandwidth") ? format_bytes(value) : NULL;
		if (bytes)
			fprintf(stream, "%s%s=%s", separator, key, bytes);
		else
			fprintf(stream, "%s%s=%" PRIu64, separator, key, value);
		separator = " ";
	}
}

/* Persistent memory counts nothing, as the guest reads and writes it by itself; a back end keeps
 * its counters. */
static char *format_counter(const struct value *properties, const char *key)
{
	return value_get(properties, key) ? format_bytes(value_get_unsigned(properties, key))
					  : must_strdup("-");
}

static void add_device(struct table *table, const struct value *device)
{
	const struct value *properties = &device->items[2];
	CLEANUP(free_p) char *size = NULL, *in = NULL, *out = NULL, *limits = NULL;
	bool is_drive = strcmp(device->items[0].string, "drive") == 0;
	const char *state = value_get_string(properties, "State");
	const char *backend = value_get_string(properties, "Backend");
	FILE *stream;
	size_t n;

	size = format_counter(properties, "Size");
	in = format_counter(properties, is_drive ? "ReadBytes" : "ReceivedBytes");
	out = format_counter(properties, is_drive ? "WriteBytes" : "TransmittedBytes");
	stream = must_alloc(open_memstream(&limits, &n));
	print_limits(stream, properties);
	if (fclose(stream) != 0)
		must_alloc(NULL);
	table_add(table, "", device->items[1].string);
	table_add(table, "",
		strcmp(value_get_string(properties, "Device"), "pmem") == 0
			? "pmem"
			: device->items[0].string);
	table_add(table, "", backend[0] ? backend : "-");
	if (value_get_bool(properties, "Failed"))
		table_add(table, COLOR_RED, "failed");
	else if (value_get_bool(properties, "Broken"))
		table_add(table, COLOR_RED, "broken");
	else if (value_get(properties, "Connected") && !value_get_bool(properties, "Connected"))
		table_add(table, COLOR_YELLOW, "waiting");
	else if (strcmp(state, "present") == 0)
		table_add(
			table, "", value_get_bool(properties, "Attached") ? "attached" : "present");
	else
		table_add(table, COLOR_YELLOW, state);
	table_add(table, "", size);
	table_add(table, "", in);
	table_add(table, "", out);
	table_add(table, "", limits[0] ? limits : "-");
}

static bool is_device(const struct value *device)
{
	return device->n_items == 3 && device->items[0].type == VALUE_STRING &&
	       device->items[1].type == VALUE_STRING && device->items[2].type == VALUE_OBJECT;
}

/* Keys begin with a small letter, or several: IOPSLimit is iopsLimit. */
static char *json_key(const char *key)
{
	char *name = must_strdup(key);

	for (char *c = name; *c >= 'A' && *c <= 'Z'; c++) {
		if (c > name && c[1] >= 'a' && c[1] <= 'z')
			break;
		*c = (char)(*c - 'A' + 'a');
	}
	return name;
}

static struct value device_to_json(const struct value *device)
{
	const struct value *properties = &device->items[2];
	struct value json = value_object();

	value_set(&json, "name", value_copy(&device->items[1]));
	value_set(&json, "kind", value_copy(&device->items[0]));
	for (size_t i = 0; i < properties->n_items; i++) {
		CLEANUP(free_p) char *key = json_key(properties->keys[i]);

		value_set(&json, key, value_copy(&properties->items[i]));
	}
	return json;
}

static void print_devices(struct ctl *ctl, const struct value *devices)
{
	static const char *const headings[] = { "DEVICE", "KIND", "BACKEND", "STATE", "SIZE", "IN",
		"OUT", "LIMITS" };
	struct table table = {
		.headings = headings,
		.n_columns = ARRAY_SIZE(headings),
		.right = 1u << 4 | 1u << 5 | 1u << 6,
	};
	struct value json = value_array();

	for (size_t i = 0; i < devices->n_items; i++) {
		if (!is_device(&devices->items[i]))
			continue;
		value_append(&json, device_to_json(&devices->items[i]));
		add_device(&table, &devices->items[i]);
	}
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &json);
	else if (json.n_items > 0)
		table_print(&table, ctl, stdout);
	else if (!ctl->quiet)
		puts("It has no drive, no network and no share.");
	table_finish(&table);
	value_finish(&json);
}

int verb_list_devices(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	sd_bus_message *reply = NULL;
	struct value devices = {};
	int r;

	if (!name || ctl_call(ctl, name, "ListMachineDevices", &reply, "s", name) < 0)
		return EXIT_FAILURE;
	r = value_read(reply, &devices);
	sd_bus_message_unref(reply);
	if (r < 0) {
		ctl_bus_error(ctl, name, NULL, r);
		return EXIT_FAILURE;
	}
	print_devices(ctl, &devices);
	value_finish(&devices);
	return EXIT_SUCCESS;
}

/* ---- changes ---- */

/* "10M" or "500"; "", "infinity" and "none" are 0: no limit. */
static int parse_limit(const char *text, uint64_t *ret)
{
	if (text[0] == '\0' || strcmp(text, "infinity") == 0 || strcmp(text, "none") == 0) {
		*ret = 0;
		return 0;
	}
	return config_parse_size(text, ret);
}

static int append_limit(sd_bus_message *message, const char *argument)
{
	size_t n = strcspn(argument, "=");
	CLEANUP(free_p) char *key = must_alloc(strndup(argument, n));
	uint64_t value;

	if (n == 0 || argument[n] != '=') {
		ctl_error("%s: a limit is KEY=VALUE, such as IOPSLimit=500", argument);
		return -EINVAL;
	}
	if (parse_limit(argument + n + 1, &value) < 0) {
		ctl_error("%s: it is a number, such as 500, 64K or 10M, or none", argument);
		return -EINVAL;
	}
	return sd_bus_message_append(message, "{st}", key, value);
}

int verb_set_limits(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	sd_bus_message *message = NULL;
	int r;

	if (!name || ctl_connect(ctl) < 0)
		return EXIT_FAILURE;
	ctl_open_agent(ctl);
	r = sd_bus_message_new_method_call(
		ctl->bus, &message, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "SetMachineLimits");
	if (r >= 0)
		r = sd_bus_message_append(message, "ss", name, arguments[1]);
	if (r >= 0)
		r = sd_bus_message_open_container(message, 'a', "{st}");
	for (size_t i = 2; r >= 0 && arguments[i]; i++) {
		r = append_limit(message, arguments[i]);
		if (r == -EINVAL) {
			sd_bus_message_unref(message);
			return EXIT_FAILURE;
		}
	}
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	if (r >= 0)
		r = sd_bus_message_append(message, "t", UINT64_C(0));
	return ctl_send(ctl, name, message, r) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int verb_resize_drive(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	uint64_t size = 0;

	if (!name)
		return EXIT_FAILURE;
	if (arguments[2] && (config_parse_size(arguments[2], &size) < 0 || size == 0)) {
		ctl_error("%s: it is a size, such as 20G", arguments[2]);
		return EXIT_FAILURE;
	}
	ctl_open_agent(ctl);
	if (ctl_call(ctl, name, "ResizeMachineDrive", NULL, "sstt", name, arguments[1], size,
		    UINT64_C(0)) < 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}

/* ---- attach and detach ---- */

#define DETACH_USEC (UINT64_C(30) * 1000 * 1000)
/* What vmmd may wait longer than that for disks. */
#define DETACH_MORE_USEC (UINT64_C(90) * 1000 * 1000)

static int append_setting(sd_bus_message *message, const char *argument)
{
	size_t n = strcspn(argument, "=");
	CLEANUP(free_p) char *key = must_alloc(strndup(argument, n));

	if (n == 0 || argument[n] != '=') {
		ctl_error("%s: a setting is KEY=VALUE, as in vmm.vm(5)", argument);
		return -EINVAL;
	}
	return sd_bus_message_append(message, "(ss)", key, argument + n + 1);
}

/* path may be NULL; settings end in NULL. */
static int attach(
	struct ctl *ctl, const char *member, char **arguments, const char *path, char **settings)
{
	const char *name = ctl_machine_name(arguments[0]);
	sd_bus_message *message = NULL;
	int r;

	if (!name || ctl_connect(ctl) < 0)
		return EXIT_FAILURE;
	ctl_open_agent(ctl);
	r = sd_bus_message_new_method_call(
		ctl->bus, &message, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, member);
	if (r >= 0)
		r = sd_bus_message_append(message, "ss", name, arguments[1]);
	if (r >= 0)
		r = sd_bus_message_open_container(message, 'a', "(ss)");
	if (r >= 0 && path)
		r = sd_bus_message_append(message, "(ss)", "Path", path);
	for (; r >= 0 && *settings; settings++) {
		r = append_setting(message, *settings);
		if (r == -EINVAL) {
			sd_bus_message_unref(message);
			return EXIT_FAILURE;
		}
	}
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	if (r >= 0)
		r = sd_bus_message_append(message, "t", UINT64_C(0));
	return ctl_send(ctl, name, message, r) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int verb_attach_drive(struct ctl *ctl, char **arguments)
{
	char absolute[PATH_MAX];
	const char *path = arguments[2];

	/* A path of this host, absolute and with what it names there. */
	if (!ctl->host) {
		path = realpath(arguments[2], absolute);
		if (!path) {
			ctl_error("%s: %m", arguments[2]);
			return EXIT_FAILURE;
		}
	}
	return attach(ctl, "AttachMachineDrive", arguments, path, arguments + 3);
}

int verb_attach_network(struct ctl *ctl, char **arguments)
{
	return attach(ctl, "AttachMachineNetwork", arguments, NULL, arguments + 2);
}

static int detach(struct ctl *ctl, const char *member, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	uint64_t timeout_usec = ctl->timeout_usec;

	if (!name || ctl_connect(ctl) < 0)
		return EXIT_FAILURE;
	if (timeout_usec == 0 && !ctl->force)
		timeout_usec = DETACH_USEC;
	if (sd_bus_set_method_call_timeout(ctl->bus, timeout_usec + DETACH_MORE_USEC) < 0)
		return EXIT_FAILURE;
	ctl_open_agent(ctl);
	if (ctl_call(ctl, name, member, NULL, "sstt", name, arguments[1], timeout_usec,
		    ctl->force ? UINT64_C(1) : UINT64_C(0)) < 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}

int verb_detach_drive(struct ctl *ctl, char **arguments)
{
	return detach(ctl, "DetachMachineDrive", arguments);
}

int verb_detach_network(struct ctl *ctl, char **arguments)
{
	return detach(ctl, "DetachMachineNetwork", arguments);
}
