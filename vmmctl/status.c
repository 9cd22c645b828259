/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * status: what a person wants to know about a machine: what vmmd says of it, what systemd says of
 * its unit where there is systemd, and the end of its log.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "ctl.h"

/* Exit statuses, as LSB has them for init scripts. */
enum {
	STATUS_ACTIVE = 0,
	STATUS_INACTIVE = 3,
	STATUS_UNKNOWN = 4,
};

static void print_field(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void print_field(const char *name, const char *format, ...)
{
	CLEANUP(free_p) char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	must_alloc(n < 0 ? NULL : text);
	printf("%11s: ", name);
	print_escaped(stdout, text);
	putchar('\n');
}

static const char *log_format(const struct ctl *ctl)
{
	if (ctl->output)
		return ctl->output;
	return ctl->json == JSON_PRETTY  ? "json-pretty"
	       : ctl->json == JSON_SHORT ? "json"
					 : "short";
}

/* Runs journalctl for unit; its output is ours. */
static void print_log(const struct ctl *ctl, const char *unit, bool follow)
{
	CLEANUP(free_p) char *lines = must_printf("--lines=%u", ctl->n_lines);
	CLEANUP(free_p)
	char *output = must_printf("--output=%s", log_format(ctl));
	const char *words[12] = { "journalctl", "--no-pager", "--quiet", "--unit", unit, lines,
		output };
	size_t n = 7;
	pid_t pid;

	if (ctl->host) {
		ctl_note(ctl, "The log is on %s: ssh %s journalctl --unit=%s", ctl->host, ctl->host,
			unit);
		return;
	}
	if (follow)
		words[n++] = "--follow";
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execvp(words[0], (char **)words);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int verb_logs(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	CLEANUP(free_p) char *unit = NULL;

	if (!name)
		return EXIT_FAILURE;
	if (ctl->output && ctl->json != JSON_OFF) {
		ctl_error("--json and --output=%s contradict each other", ctl->output);
		return EXIT_FAILURE;
	}
	if (!ctl->host && access("/run/systemd/system", F_OK) < 0) {
		ctl_error("%s: systemd does not run here and keeps no log: what the worker says is "
			  "in the output of vmmd",
			name);
		return EXIT_FAILURE;
	}
	unit = must_printf("vmm@%s.service", name);
	print_log(ctl, unit, ctl->follow);
	return EXIT_SUCCESS;
}

/* The unit's and its service's properties in one object; empty where there is no systemd. */
static struct value unit_properties(struct ctl *ctl, const char *unit)
{
	struct value all = value_object(), part = {};
	CLEANUP(free_p) char *path = NULL;
	static const char *const interfaces[] = { "org.freedesktop.systemd1.Unit",
		"org.freedesktop.systemd1.Service" };

	if (sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path) < 0)
		return all;
	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
		if (ctl_properties(ctl, NULL, SYSTEMD_NAME, path, interfaces[i], true, &part) < 0)
			return all;
		for (size_t j = 0; j < part.n_items; j++)
			value_set(&all, part.keys[j], value_copy(&part.items[j]));
		value_finish(&part);
	}
	return all;
}

static void print_loaded(const struct value *machine, const struct value *unit)
{
	const char *path = value_get_string(machine, "ConfigPath");
	const char *enabled = value_get_string(unit, "UnitFileState");
	const struct value *dropins = value_get(machine, "DropInPaths");

	if (*path == '\0')
		print_field("Loaded", "its file has gone");
	else if (value_get_bool(machine, "Transient"))
		print_field("Loaded", "%s (transient)", path);
	else if (*enabled != '\0')
		print_field("Loaded", "%s (%s)", path, enabled);
	else
		print_field("Loaded", "%s", path);
	for (size_t i = 0; dropins && i < dropins->n_items; i++) {
		if (dropins->items[i].type == VALUE_STRING)
			print_field(i == 0 ? "Drop-Ins" : "", "%s", dropins->items[i].string);
	}
	if (value_get_bool(machine, "NeedsRestart"))
		printf("%11s  It has changed since the machine started: vmmctl reboot %s\n", "",
			value_get_string(machine, "Name"));
}

/* Why it will not start, where the caller may know. */
static void print_faults(struct ctl *ctl, const struct value *machine)
{
	struct value list = {};

	if (value_get_unsigned(machine, "Leader") > 0 ||
		*value_get_string(machine, "StatusText") != '\0' ||
		ctl_verify(ctl, value_get_string(machine, "Name"), &list) < 0)
		return;
	for (size_t i = 0; i < list.n_items; i++) {
		const struct value *item = list.items[i].items;
		CLEANUP(free_p) char *where = NULL;

		/* s severity, s file, u line, s key, s text */
		if (item[2].unsigned_number > 0)
			where = must_printf(
				"%s:%" PRIu64 ": ", item[1].string, item[2].unsigned_number);
		else if (*item[1].string != '\0')
			where = must_printf("%s: ", item[1].string);
		print_field(strcmp(item[0].string, "error") == 0 ? "Error" : "Warning", "%s%s%s%s",
			where ? where : "", item[3].string, *item[3].string != '\0' ? ": " : "",
			item[4].string);
	}
	value_finish(&list);
}

static void print_state(const struct ctl *ctl, const struct value *machine)
{
	const char *state = value_get_string(machine, "State");
	const char *result = value_get_string(machine, "Result");
	uint64_t since = value_get_unsigned(machine, "Timestamp"), now = realtime_usec();
	bool colors = ctl->colors && *state_color(state) != '\0';

	printf("%11s: %s%s", "State", colors ? state_color(state) : "", state);
	if (strcmp(result, "success") != 0 && *result != '\0')
		printf(" (%s)", result);
	fputs(colors ? COLOR_OFF : "", stdout);
	if (since > 0) {
		CLEANUP(free_p) char *time = format_time(since);
		CLEANUP(free_p) char *ago = format_duration(now > since ? now - since : 0);

		printf(" since %s; %s ago", time, ago);
	}
	putchar('\n');
}

/* How much of what the unit uses; systemd says 2^64-1 for what it does not count. */
static void print_usage(const struct value *machine, const struct value *unit)
{
	CLEANUP(free_p) char *memory = format_bytes(value_get_unsigned(machine, "Memory"));
	CLEANUP(free_p) char *used = NULL;
	CLEANUP(free_p) char *cpu = NULL;
	uint64_t used_bytes = value_get_unsigned(unit, "MemoryCurrent");
	uint64_t cpu_nsec = value_get_unsigned(unit, "CPUUsageNSec");

	if (cpu_nsec > 0 && cpu_nsec != UINT64_MAX) {
		cpu = format_duration(cpu_nsec / 1000);
		print_field(
			"CPUs", "%" PRIu64 " (%s used)", value_get_unsigned(machine, "CPUs"), cpu);
	} else {
		print_field("CPUs", "%" PRIu64, value_get_unsigned(machine, "CPUs"));
	}
	if (used_bytes > 0 && used_bytes != UINT64_MAX) {
		used = format_bytes(used_bytes);
		print_field("Memory", "%s (%s in use here)", memory, used);
	} else {
		print_field("Memory", "%s", memory);
	}
}

static int print_status(struct ctl *ctl, const struct value *machine)
{
	const char *name = value_get_string(machine, "Name");
	const char *state = value_get_string(machine, "State");
	const char *description = value_get_string(machine, "Description");
	const char *text = value_get_string(machine, "StatusText");
	const char *color = ctl->colors ? state_color(state) : "";
	const char *unit_name = value_get_string(machine, "Unit");
	uint64_t leader = value_get_unsigned(machine, "Leader");
	uint64_t restarts = value_get_unsigned(machine, "NRestarts");
	struct value unit = unit_properties(ctl, unit_name);
	bool active = strcmp(state, "inactive") != 0 && strcmp(state, "failed") != 0;

	printf("%s%s%s %s", color, state_glyph(state), *color != '\0' ? COLOR_OFF : "", name);
	if (*description != '\0') {
		fputs(" - ", stdout);
		print_escaped(stdout, description);
	}
	putchar('\n');
	print_loaded(machine, &unit);
	print_faults(ctl, machine);
	print_state(ctl, machine);
	if (active)
		print_field("Guest", "%s", value_get_string(machine, "GuestState"));
	/* Of one that has ended well, the last words are of no use. */
	if (*text != '\0' &&
		(active || strcmp(value_get_string(machine, "Result"), "success") != 0))
		print_field("Status", "%s", text);
	print_field("Unit", "%s", unit_name);
	if (leader > 0)
		print_field("Leader", "%" PRIu64, leader);
	if (restarts > 0)
		print_field("Restarts", "%" PRIu64, restarts);
	if (value_get_unsigned(machine, "CPUs") > 0)
		print_usage(machine, &unit);
	if (unit.n_items > 0 && ctl->n_lines > 0) {
		putchar('\n');
		print_log(ctl, unit_name, false);
	}
	value_finish(&unit);
	return active ? STATUS_ACTIVE : STATUS_INACTIVE;
}

/* vmmd itself. */
static int manager_status(struct ctl *ctl)
{
	struct value manager = {};

	if (ctl_properties(ctl, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, false, &manager) < 0)
		return STATUS_INACTIVE;
	if (ctl->json != JSON_OFF) {
		struct value json = machine_to_json(&manager);

		ctl_print_json(ctl, &json);
		value_finish(&json);
	} else {
		CLEANUP(free_p)
		char *memory = format_bytes(value_get_unsigned(&manager, "MemoryCommitted"));

		printf("vmmd %s\n", value_get_string(&manager, "Version"));
		print_field("Machines", "%" PRIu64 " defined, %" PRIu64 " running",
			value_get_unsigned(&manager, "NMachines"),
			value_get_unsigned(&manager, "NRunning"));
		print_field("Memory", "%s given to them", memory);
		print_field("Spawner", "%s", value_get_string(&manager, "Spawner"));
	}
	value_finish(&manager);
	return STATUS_ACTIVE;
}

int verb_status(struct ctl *ctl, char **arguments)
{
	struct value json = value_array();
	int status = STATUS_ACTIVE;

	if (!arguments[0])
		return manager_status(ctl);
	ctl_open_pager(ctl);
	for (size_t i = 0; arguments[i]; i++) {
		const char *name = ctl_machine_name(arguments[i]);
		struct value machine = {};
		int r;

		if (!name || ctl_machine(ctl, name, &machine, NULL) < 0) {
			status = STATUS_UNKNOWN;
			continue;
		}
		if (ctl->json != JSON_OFF) {
			const char *state = value_get_string(&machine, "State");

			value_append(&json, machine_to_json(&machine));
			r = strcmp(state, "inactive") == 0 || strcmp(state, "failed") == 0
				    ? STATUS_INACTIVE
				    : STATUS_ACTIVE;
		} else {
			if (i > 0)
				putchar('\n');
			r = print_status(ctl, &machine);
		}
		status = MAX(status, r);
		value_finish(&machine);
	}
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &json);
	value_finish(&json);
	return status;
}
