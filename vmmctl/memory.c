/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* memory: how much memory a running machine has, and how much it should have. */
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"

/* Names of GetMachineMemory; counts are no bytes. */
static bool is_count(const char *name)
{
	return strcmp(name, "MajorFaults") == 0 || strcmp(name, "MinorFaults") == 0;
}

static void print_row(const char *name, uint64_t value)
{
	CLEANUP(free_p) char *bytes = NULL;

	/* When they were read is of use to programs only. */
	if (strcmp(name, "StatsTimestampMonotonic") == 0)
		return;
	if (is_count(name)) {
		printf("%11s: %" PRIu64 "\n", name, value);
		return;
	}
	bytes = format_bytes(value);
	printf("%11s: %s\n", name, bytes);
}

static int show(struct ctl *ctl, const char *name)
{
	sd_bus_message *reply = NULL;
	struct value memory = {};
	int r;

	if (ctl_call(ctl, name, "GetMachineMemory", &reply, "s", name) < 0)
		return EXIT_FAILURE;
	r = value_read(reply, &memory);
	sd_bus_message_unref(reply);
	if (r < 0) {
		ctl_bus_error(ctl, name, NULL, r);
		return EXIT_FAILURE;
	}
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &memory);
	else
		for (size_t i = 0; i < memory.n_items; i++)
			print_row(memory.keys[i], memory.items[i].unsigned_number);
	value_finish(&memory);
	return EXIT_SUCCESS;
}

int verb_memory(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	uint64_t bytes;

	if (!name)
		return EXIT_FAILURE;
	if (!arguments[1])
		return show(ctl, name);
	if (config_parse_size(arguments[1], &bytes) < 0) {
		ctl_error("%s: not a size: a number, then K, M, G, T or nothing", arguments[1]);
		return EXIT_FAILURE;
	}
	ctl_open_agent(ctl);
	if (ctl_call(ctl, name, "SetMachineMemory", NULL, "stt", name, bytes, UINT64_C(0)) < 0)
		return EXIT_FAILURE;
	/* What it has so far: the guest follows as it can. */
	return ctl->json != JSON_OFF ? show(ctl, name) : EXIT_SUCCESS;
}
