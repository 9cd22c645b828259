/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* list: machines and jobs, as tables or JSON. */
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "ctl.h"
#include "table.h"

static bool matches(const struct ctl *ctl, const struct value *machine, char **patterns)
{
	const char *state = value_get_string(machine, "State");
	const char *name = value_get_string(machine, "Name");
	bool wanted = ctl->states.n_items == 0;

	for (size_t i = 0; i < ctl->states.n_items; i++)
		wanted = wanted || strcmp(ctl->states.items[i], state) == 0;
	if (!wanted || !patterns[0])
		return wanted;
	for (; *patterns; patterns++) {
		if (fnmatch(*patterns, name, 0) == 0)
			return true;
	}
	return false;
}

static void add_row(struct table *table, const struct value *machine)
{
	const char *state = value_get_string(machine, "State");
	const char *guest = value_get_string(machine, "GuestState");
	uint64_t leader = value_get_unsigned(machine, "Leader");
	uint64_t memory = value_get_unsigned(machine, "Memory");
	uint64_t cpus = value_get_unsigned(machine, "CPUs");
	uint64_t since = value_get_unsigned(machine, "Timestamp"), now = realtime_usec();
	CLEANUP(free_p) char *cpus_text = must_printf("%" PRIu64, cpus);
	CLEANUP(free_p) char *memory_text = format_bytes(memory);
	CLEANUP(free_p) char *uptime = format_duration(now > since ? now - since : 0);

	table_add(table, "", value_get_string(machine, "Name"));
	table_add(table, state_color(state), state);
	table_add(table, "", leader > 0 && strcmp(guest, "unknown") != 0 ? guest : "");
	table_add(table, "", cpus > 0 ? cpus_text : "");
	table_add(table, "", memory > 0 ? memory_text : "");
	table_add(table, "", leader > 0 && since > 0 ? uptime : "");
	table_add(table, "", value_get_string(machine, "Description"));
}

int verb_list(struct ctl *ctl, char **arguments)
{
	static const char *const headings[] = { "NAME", "STATE", "GUEST", "CPUS", "MEMORY", "SINCE",
		"DESCRIPTION" };
	struct table table = {
		.headings = headings, .n_columns = ARRAY_SIZE(headings), .right = 1u << 3 | 1u << 4
	};
	struct value machines = {}, json = value_array();
	size_t n = 0;

	if (ctl_machines(ctl, &machines) < 0)
		return EXIT_FAILURE;
	ctl_open_pager(ctl);
	for (size_t i = 0; i < machines.n_items; i++) {
		if (!matches(ctl, &machines.items[i], arguments))
			continue;
		n++;
		if (ctl->json != JSON_OFF)
			value_append(&json, machine_to_json(&machines.items[i]));
		else
			add_row(&table, &machines.items[i]);
	}
	if (ctl->json != JSON_OFF) {
		ctl_print_json(ctl, &json);
	} else if (n > 0 || !ctl->legend) {
		table_print(&table, ctl, stdout);
		if (ctl->legend && !ctl->quiet)
			printf("\n%zu machine%s listed.\n", n, n == 1 ? "" : "s");
	} else if (!ctl->quiet) {
		puts(machines.n_items > 0 ? "No machine matches."
					  : "No machines. See vmm.vm(5) for how to define one.");
	}
	table_finish(&table);
	value_finish(&json);
	value_finish(&machines);
	return EXIT_SUCCESS;
}

static void add_job(struct table *table, struct value *json, const struct value *job)
{
	static const char *const keys[] = { "id", "machine", "kind", "state" };
	struct value object = value_object();
	CLEANUP(free_p) char *id = NULL;

	/* u id, s machine, s kind, s state, o job, o machine */
	if (job->n_items < 4 || job->items[0].type != VALUE_UNSIGNED)
		return;
	for (size_t i = 1; i < 4; i++) {
		if (job->items[i].type != VALUE_STRING)
			return;
	}
	for (size_t i = 0; i < 4; i++)
		value_set(&object, keys[i], value_copy(&job->items[i]));
	value_append(json, object);
	id = must_printf("%" PRIu64, job->items[0].unsigned_number);
	table_add(table, "", id);
	for (size_t i = 1; i < 4; i++)
		table_add(table, "", job->items[i].string);
}

int verb_list_jobs(struct ctl *ctl, char **arguments)
{
	static const char *const headings[] = { "JOB", "MACHINE", "KIND", "STATE" };
	struct table table = {
		.headings = headings, .n_columns = ARRAY_SIZE(headings), .right = 1u << 0
	};
	struct value jobs = {}, json = value_array();
	sd_bus_message *reply = NULL;
	int r;

	if (ctl_call(ctl, NULL, "ListJobs", &reply, NULL) < 0)
		return EXIT_FAILURE;
	r = value_read(reply, &jobs);
	sd_bus_message_unref(reply);
	if (r < 0) {
		ctl_bus_error(ctl, NULL, NULL, r);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < jobs.n_items; i++)
		add_job(&table, &json, &jobs.items[i]);
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &json);
	else if (jobs.n_items > 0)
		table_print(&table, ctl, stdout);
	else if (!ctl->quiet)
		puts("No jobs.");
	table_finish(&table);
	value_finish(&json);
	value_finish(&jobs);
	return EXIT_SUCCESS;
}
