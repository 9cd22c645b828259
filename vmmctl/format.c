/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* format: sizes, times and states as people and JSON readers want them. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "ctl.h"

char *format_bytes(uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t whole = bytes, rest = 0;
	size_t unit = 0;

	while (whole >= 1024) {
		rest = whole % 1024;
		whole /= 1024;
		unit++;
	}
	if (unit == 0 || rest == 0)
		return must_printf("%" PRIu64 "%c", whole, units[unit]);
	return must_printf("%" PRIu64 ".%" PRIu64 "%c", whole, rest * 10 / 1024, units[unit]);
}

char *format_duration(uint64_t usec)
{
	static const struct {
		const char *name;
		uint64_t usec;
	} units[] = {
		{ "d", 86400000000 },
		{ "h", 3600000000 },
		{ "min", 60000000 },
		{ "s", 1000000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		uint64_t n = usec / units[i].usec, rest = usec % units[i].usec;

		if (n == 0)
			continue;
		if (i + 1 < ARRAY_SIZE(units) && rest / units[i + 1].usec > 0)
			return must_printf("%" PRIu64 "%s %" PRIu64 "%s", n, units[i].name,
				rest / units[i + 1].usec, units[i + 1].name);
		return must_printf("%" PRIu64 "%s", n, units[i].name);
	}
	return must_printf("%" PRIu64 "ms", usec / 1000);
}

char *format_time(uint64_t usec)
{
	time_t seconds = (time_t)(usec / 1000000);
	struct tm tm;
	char text[64];

	if (!localtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%a %F %T %Z", &tm) == 0)
		return must_strdup("?");
	return must_strdup(text);
}

uint64_t realtime_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

const char *state_color(const char *state)
{
	if (strcmp(state, "running") == 0)
		return COLOR_GREEN;
	if (strcmp(state, "failed") == 0)
		return COLOR_RED;
	if (strcmp(state, "inactive") == 0)
		return "";
	return COLOR_YELLOW;
}

const char *state_glyph(const char *state)
{
	if (strcmp(state, "failed") == 0)
		return "×";
	if (strcmp(state, "inactive") == 0)
		return "○";
	if (strcmp(state, "starting") == 0 || strcmp(state, "stopping") == 0)
		return "↻";
	return "●";
}

/* "GuestState" is guestState, "CPUs" cpus, "NRestarts" nRestarts. */
static char *json_name(const char *name)
{
	char *copy = must_strdup(name);
	size_t n = strspn(copy, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	/* In a run of capitals the last begins the next word, unless it is the plural's. */
	if (n > 1 && copy[n] != '\0' && strcmp(copy + n, "s") != 0)
		n--;
	for (size_t i = 0; i < n; i++)
		copy[i] = (char)tolower((unsigned char)copy[i]);
	return copy;
}

struct value machine_to_json(const struct value *machine)
{
	struct value json = value_object();

	for (size_t i = 0; i < machine->n_items; i++) {
		CLEANUP(free_p) char *key = json_name(machine->keys[i]);
		const struct value *item = &machine->items[i];

		/* A job is its number; there is none for null. */
		if (strcmp(key, "job") == 0 && item->type == VALUE_ARRAY && item->n_items == 2)
			value_set(&json, key,
				item->items[0].unsigned_number != 0 ? item->items[0]
								    : (struct value){});
		else
			value_set(&json, key, value_copy(item));
	}
	return json;
}

void ctl_print_json(const struct ctl *ctl, const struct value *value)
{
	value_print_json(stdout, value, ctl->json == JSON_PRETTY);
}
