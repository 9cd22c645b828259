/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * monitor: events of machines as vmmd tells of them: a line each, or with --json an object a line:
 * timestamp, event, machine and what belongs to the event.
 */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

struct monitor {
	struct ctl *ctl;
	char **names; /* borrowed; none: all */
};

static bool wanted(const struct monitor *monitor, const char *machine)
{
	if (!monitor->names[0] || !machine)
		return true;
	for (char **name = monitor->names; *name; name++)
		if (strcmp(*name, machine) == 0)
			return true;
	return false;
}

/* Takes more, an object, over. machine may be NULL. text is for people. */
static void print_event(const struct monitor *monitor, const char *event, const char *machine,
	struct value *more, const char *text)
{
	struct value object = value_object();
	CLEANUP(free_p) char *time = format_time(realtime_usec());

	if (monitor->ctl->json != JSON_OFF) {
		value_set(&object, "timestamp", value_unsigned(realtime_usec()));
		value_set(&object, "event", value_string(event));
		if (machine)
			value_set(&object, "machine", value_string(machine));
		for (size_t i = 0; i < more->n_items; i++)
			value_set(&object, more->keys[i], value_copy(&more->items[i]));
		/* One object is one line, whatever is on the other side. */
		value_print_json(stdout, &object, false);
	} else {
		printf("%s  %s%s", time, machine ? machine : "vmmd", *text != '\0' ? " " : "");
		print_escaped(stdout, text);
		putchar('\n');
	}
	fflush(stdout);
	value_finish(&object);
	value_finish(more);
}

static int on_machine(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	bool is_new = strcmp(sd_bus_message_get_member(message), "MachineNew") == 0;
	struct value more = value_object();
	const char *name;

	if (sd_bus_message_read(message, "s", &name) >= 0 && wanted(userdata, name))
		print_event(userdata, is_new ? "machine-new" : "machine-removed", name, &more,
			is_new ? "is defined" : "is no longer defined");
	return 0;
}

static int on_job(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	bool is_new = strcmp(sd_bus_message_get_member(message), "JobNew") == 0;
	struct value more = value_object();
	const char *machine, *result = "";
	CLEANUP(free_p) char *text = NULL;
	uint32_t id;
	int r;

	if (is_new)
		r = sd_bus_message_read(message, "uos", &id, NULL, &machine);
	else
		r = sd_bus_message_read(message, "uoss", &id, NULL, &machine, &result);
	if (r < 0 || !wanted(userdata, machine))
		return 0;
	value_set(&more, "job", value_unsigned(id));
	if (!is_new)
		value_set(&more, "result", value_string(result));
	text = is_new ? must_printf("job %u", id) : must_printf("job %u: %s", id, result);
	print_event(userdata, is_new ? "job-new" : "job-removed", machine, &more, text);
	return 0;
}

static int on_reloading(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct value more = value_object();
	int active;

	if (sd_bus_message_read(message, "b", &active) >= 0 && !active)
		print_event(userdata, "reloaded", NULL, &more, "has read the .vm files again");
	return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct value more = value_object();
	const char *after;

	if (sd_bus_message_read(message, "sss", NULL, NULL, &after) >= 0)
		print_event(userdata, *after != '\0' ? "vmmd-started" : "vmmd-ended", NULL, &more,
			*after != '\0' ? "has started" : "has ended; machines go on");
	return 0;
}

/* "State running, GuestState running": what has changed. */
static int on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct value changed = {}, renamed;
	CLEANUP(free_p) char *name = NULL;
	CLEANUP(free_p) char *text = NULL;
	const char *interface, *separator = "";
	size_t size;
	FILE *stream;

	if (sd_bus_message_read(message, "s", &interface) < 0 ||
		strcmp(interface, VMMD_MACHINE) != 0 ||
		sd_bus_path_decode(sd_bus_message_get_path(message), VMMD_PATH "/machine", &name) <=
			0 ||
		!wanted(userdata, name) || value_read(message, &changed) < 0)
		return 0;
	stream = must_alloc(open_memstream(&text, &size));
	for (size_t i = 0; i < changed.n_items; i++) {
		/* Times and jobs are told of otherwise. */
		if (strncmp(changed.keys[i], "Timestamp", 9) == 0 ||
			strcmp(changed.keys[i], "Job") == 0)
			continue;
		fprintf(stream, "%s%s=", separator, changed.keys[i]);
		value_print_plain(stream, &changed.items[i]);
		separator = " ";
	}
	if (fclose(stream) != 0)
		must_alloc(NULL);
	renamed = machine_to_json(&changed);
	value_finish(&changed);
	if (*text != '\0')
		print_event(userdata, "changed", name, &renamed, text);
	else
		value_finish(&renamed);
	return 0;
}

static int add_matches(struct monitor *monitor)
{
	static const struct {
		const char *member;
		sd_bus_message_handler_t handler;
	} signals[] = {
		{ "MachineNew", on_machine },
		{ "MachineRemoved", on_machine },
		{ "JobNew", on_job },
		{ "JobRemoved", on_job },
		{ "Reloading", on_reloading },
	};
	sd_bus *bus = monitor->ctl->bus;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(signals); i++)
		r = sd_bus_match_signal(bus, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER,
			signals[i].member, signals[i].handler, monitor);
	if (r >= 0)
		r = sd_bus_match_signal(bus, NULL, VMMD_NAME, NULL,
			"org.freedesktop.DBus.Properties", "PropertiesChanged", on_properties,
			monitor);
	if (r >= 0)
		r = sd_bus_add_match(bus, NULL,
			"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',"
			"arg0='" VMMD_NAME "'",
			on_owner, monitor);
	return r;
}

int verb_monitor(struct ctl *ctl, char **arguments)
{
	struct monitor monitor = { .ctl = ctl, .names = arguments };
	int r;

	for (size_t i = 0; arguments[i]; i++) {
		const char *name = ctl_machine_name(arguments[i]);

		if (!name)
			return EXIT_FAILURE;
		arguments[i] = (char *)name;
	}
	if (ctl_connect(ctl) < 0)
		return EXIT_FAILURE;
	r = add_matches(&monitor);
	if (r >= 0)
		ctl_note(ctl, "Watching; ^C ends it.");
	while (r >= 0 && !ferror(stdout)) {
		r = sd_bus_process(ctl->bus, NULL);
		if (r == 0)
			r = sd_bus_wait(ctl->bus, UINT64_MAX);
		if (r == -EINTR)
			r = 0;
	}
	if (r < 0)
		ctl_bus_error(ctl, NULL, NULL, r);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
