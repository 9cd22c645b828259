/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * top: what machines use, again and again: on a terminal in place, until q; else one table, or with
 * --json one array, after the other. A rate is the difference of two readings by the time between.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <time.h>

#include "base/util.h"
#include "stats.h"
#include "table.h"

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = number;
}

/* What a row shows, in its order. */
static const struct rate {
	const char *key;    /* of JSON */
	const char *device; /* "": the machine's own counter */
	const char *counter;
} rates[] = {
	{ "readBytesPerSecond", "drive", "ReadBytes" },
	{ "writeBytesPerSecond", "drive", "WriteBytes" },
	{ "receivedBytesPerSecond", "network", "ReceivedBytes" },
	{ "transmittedBytesPerSecond", "network", "TransmittedBytes" },
	{ "exitsPerSecond", "", "Exits" },
};

static uint64_t read_counter(const struct value *machine, const struct rate *rate)
{
	return *rate->device == '\0' ? stats_counter(machine, rate->counter)
				     : stats_devices(machine, rate->device, rate->counter);
}

static const struct value *find_machine(const struct value *list, const char *name)
{
	for (size_t i = 0; i < list->n_items; i++)
		if (strcmp(value_get_string(&list->items[i], "Name"), name) == 0)
			return &list->items[i];
	return NULL;
}

/* Counters begin anew with another worker: then there is no rate yet. */
static double rate_of(uint64_t before, uint64_t now, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* One machine as an object of JSON, with its rates since the last reading of it. */
static struct value make_row(const struct value *machine, const struct value *last)
{
	const struct value *before = find_machine(last, value_get_string(machine, "Name"));
	struct value row = value_object();
	double seconds;

	if (before && value_get_unsigned(before, "Leader") != value_get_unsigned(machine, "Leader"))
		before = NULL;
	seconds = before ? ((double)stats_counter(machine, "TimestampMonotonic") -
				   (double)stats_counter(before, "TimestampMonotonic")) /
				   1e6
			 : 0;
	value_set(&row, "name", value_string(value_get_string(machine, "Name")));
	value_set(&row, "state", value_string(value_get_string(machine, "State")));
	value_set(&row, "cpuPercent",
		(struct value){ .type = VALUE_DOUBLE,
			.real = before ? rate_of(stats_counter(before, "CPUUsageNSec"),
						 stats_counter(machine, "CPUUsageNSec"), seconds) /
						 1e7
				       : 0 });
	value_set(&row, "memory", value_unsigned(value_get_unsigned(machine, "Memory")));
	value_set(&row, "memoryResident", value_unsigned(stats_counter(machine, "MemoryResident")));
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++)
		value_set(&row, rates[i].key,
			value_unsigned(before ? (uint64_t)rate_of(read_counter(before, &rates[i]),
							read_counter(machine, &rates[i]), seconds)
					      : 0));
	return row;
}

static int compare_rows(const void *a, const void *b)
{
	const struct value *one = value_get(a, "cpuPercent"), *other = value_get(b, "cpuPercent");

	if (one->real != other->real)
		return one->real < other->real ? 1 : -1;
	return strcmp(value_get_string(a, "name"), value_get_string(b, "name"));
}

static void add_row(struct table *table, const struct value *row)
{
	CLEANUP(free_p) char *cpu = must_printf("%.1f", value_get(row, "cpuPercent")->real);
	CLEANUP(free_p) char *memory = format_bytes(value_get_unsigned(row, "memory"));
	CLEANUP(free_p) char *resident = format_bytes(value_get_unsigned(row, "memoryResident"));

	table_add(table, "", value_get_string(row, "name"));
	table_add(
		table, state_color(value_get_string(row, "state")), value_get_string(row, "state"));
	table_add(table, "", cpu);
	table_add(table, "", memory);
	table_add(table, "", resident);
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		uint64_t number = value_get_unsigned(row, rates[i].key);
		CLEANUP(free_p)
		char *text = *rates[i].device != '\0' ? format_bytes(number)
						      : must_printf("%" PRIu64, number);

		table_add(table, "", text);
	}
}

static void print_rows(const struct ctl *ctl, const struct value *rows, bool in_place)
{
	static const char *const headings[] = { "NAME", "STATE", "%CPU", "MEMORY", "RESIDENT",
		"READ/s", "WRITE/s", "RX/s", "TX/s", "EXITS/s" };
	struct table table = {
		.headings = headings, .n_columns = ARRAY_SIZE(headings), .right = 0x3fc
	};

	if (ctl->json != JSON_OFF) {
		ctl_print_json(ctl, rows);
		fflush(stdout);
		return;
	}
	if (in_place)
		fputs("\033[H\033[J", stdout);
	for (size_t i = 0; i < rows->n_items; i++)
		add_row(&table, &rows->items[i]);
	table_print(&table, ctl, stdout);
	if (in_place)
		fputs("\nq ends it\n", stdout);
	table_finish(&table);
	fflush(stdout);
}

/* Waits for the next turn. False: it is over, by a signal or the key q. */
static bool wait_turn(const struct ctl *ctl, bool in_place)
{
	uint64_t end_nsec = vmm_base_now_nsec() + ctl->interval_usec * 1000;

	for (;;) {
		uint64_t now = vmm_base_now_nsec();
		uint64_t rest = now < end_nsec ? end_nsec - now : 0;
		struct timespec time = { (time_t)(rest / 1000000000), (long)(rest % 1000000000) };
		struct pollfd key = { .fd = in_place ? STDIN_FILENO : -1, .events = POLLIN };
		char c;
		int r;

		if (ended)
			return false;
		if (rest == 0)
			return true;
		r = ppoll(&key, 1, &time, NULL);
		if (r > 0 && (read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q'))
			return false;
	}
}

static int follow(struct ctl *ctl, char **names, bool in_place)
{
	struct value last = value_array(), now = {};
	int r = stats_read(ctl, names, &last);

	for (uint64_t turn = 0; r >= 0 && (ctl->count == 0 || turn < ctl->count); turn++) {
		struct value rows = value_array();

		if (!wait_turn(ctl, in_place))
			break;
		r = stats_read(ctl, names, &now);
		if (r < 0) {
			value_finish(&rows);
			break;
		}
		for (size_t i = 0; i < now.n_items; i++)
			if (value_get_unsigned(&now.items[i], "Leader") > 0)
				value_append(&rows, make_row(&now.items[i], &last));
		if (rows.n_items > 0)
			qsort(rows.items, rows.n_items, sizeof(*rows.items), compare_rows);
		print_rows(ctl, &rows, in_place);
		value_finish(&rows);
		value_finish(&last);
		last = TAKE(now, (struct value){});
	}
	value_finish(&last);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int verb_top(struct ctl *ctl, char **arguments)
{
	bool in_place = ctl->json == JSON_OFF && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
	struct sigaction action = { .sa_handler = on_signal };
	struct termios before, raw;
	int status;

	for (size_t i = 0; arguments[i]; i++) {
		const char *name = ctl_machine_name(arguments[i]);

		if (!name)
			return EXIT_FAILURE;
		arguments[i] = (char *)name;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (in_place && tcgetattr(STDIN_FILENO, &before) == 0) {
		raw = before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
		status = follow(ctl, arguments, true);
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	} else {
		status = follow(ctl, arguments, false);
	}
	return status;
}
