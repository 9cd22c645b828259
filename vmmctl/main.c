/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmmctl: the command line of vmmd. This file parses options and calls the verb. Options may stand
 * anywhere; one that a verb does not know is an error and is not ignored.
 */
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl.h"

/* getopt's number for the option in that row of the table. */
enum { OPTION_BASE = 1000 };

static void print_message(const char *prefix, const char *format, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		must_alloc(NULL);
	/* In the order in which they come, where both go to one place. */
	fflush(stdout);
	fputs(prefix, stderr);
	/* A message may quote what others wrote. Its own lines stay lines. */
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		print_escaped(stderr, line);
		fputc('\n', stderr);
	}
	free(text);
}

void ctl_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_message("vmmctl: ", format, args);
	va_end(args);
}

void ctl_note(const struct ctl *ctl, const char *format, ...)
{
	va_list args;

	if (ctl->quiet)
		return;
	va_start(args, format);
	print_message("", format, args);
	va_end(args);
}

static void add_word(struct words *words, const char *word)
{
	words->items =
		must_alloc(reallocarray(words->items, words->n_items + 1, sizeof(*words->items)));
	words->items[words->n_items++] = must_strdup(word);
}

static void add_list(struct words *words, const char *list)
{
	for (;;) {
		size_t n = strcspn(list, ",");
		char *word = must_alloc(strndup(list, n));

		if (n > 0)
			add_word(words, word);
		free(word);
		if (list[n] == '\0')
			return;
		list += n + 1;
	}
}

static void words_finish(struct words *words)
{
	for (size_t i = 0; i < words->n_items; i++)
		free(words->items[i]);
	free(words->items);
}

static int set_json(struct ctl *ctl, const char *mode)
{
	if (strcmp(mode, "pretty") == 0)
		ctl->json = JSON_PRETTY;
	else if (strcmp(mode, "short") == 0)
		ctl->json = JSON_SHORT;
	else if (strcmp(mode, "off") == 0)
		ctl->json = JSON_OFF;
	else {
		ctl_error("--json=%s: it is pretty, short or off", mode);
		return -EINVAL;
	}
	return 0;
}

static int set_number(const char *option, const char *text, double maximum, double *ret)
{
	char *end;

	errno = 0;
	*ret = strtod(text, &end);
	if (end == text || *end != '\0' || !(*ret >= 0 && *ret <= maximum)) {
		ctl_error("--%s=%s: it is a number from 0 to %.0f", option, text, maximum);
		return -EINVAL;
	}
	return 0;
}

static int add_states(struct ctl *ctl, const char *list)
{
	static const char *const states[] = { "inactive", "starting", "running", "paused",
		"stopping", "failed" };

	add_list(&ctl->states, list);
	for (size_t i = 0; i < ctl->states.n_items; i++) {
		bool is_known = false;

		for (size_t j = 0; j < ARRAY_SIZE(states); j++)
			is_known = is_known || strcmp(ctl->states.items[i], states[j]) == 0;
		if (!is_known) {
			ctl_error("--state=%s: it is inactive, starting, running, paused, "
				  "stopping or failed",
				ctl->states.items[i]);
			return -EINVAL;
		}
	}
	return 0;
}

/* Options that set one flag or one string. */
static bool set_simple(struct ctl *ctl, const char *name, const char *value)
{
	const struct {
		const char *name;
		bool *flag;
		bool to;
	} flags[] = {
		{ "no-legend", &ctl->legend, false },
		{ "no-pager", &ctl->pager, false },
		{ "no-ask-password", &ctl->ask_password, false },
		{ "quiet", &ctl->quiet, true },
		{ "full", &ctl->full, true },
		{ "value", &ctl->value_only, true },
		{ "follow", &ctl->follow, true },
		{ "no-block", &ctl->block, false },
		{ "force", &ctl->force, true },
		{ "now", &ctl->now, true },
		{ "runtime", &ctl->runtime, true },
		{ "replace", &ctl->replace, true },
		{ "keys", &ctl->keys, true },
		{ "steal", &ctl->steal, true },
		{ "read-only", &ctl->read_only, true },
		{ "no-replay", &ctl->no_replay, true },
		{ "detach", &ctl->detach, true },
		{ "dry-run", &ctl->dry_run, true },
		{ "http", &ctl->http, true },
		{ "fdpass", &ctl->fdpass, true },
	};
	const struct {
		const char *name;
		const char **value;
	} strings[] = {
		{ "host", &ctl->host },
		{ "output", &ctl->output },
		{ "job-mode", &ctl->job_mode },
		{ "signal", &ctl->signal },
		{ "kill-whom", &ctl->whom },
		{ "root", &ctl->root },
		{ "name", &ctl->name },
		{ "kernel", &ctl->kernel },
		{ "initrd", &ctl->initrd },
		{ "append", &ctl->append },
		{ "cpus", &ctl->cpus },
		{ "memory", &ctl->memory },
		{ "format", &ctl->format },
		{ "on-idle", &ctl->on_idle },
		{ "size", &ctl->size },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(flags[i].name, name) == 0) {
			*flags[i].flag = flags[i].to;
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (strcmp(strings[i].name, name) == 0) {
			*strings[i].value = value;
			return true;
		}
	}
	return false;
}

static int set_option(struct ctl *ctl, const char *name, const char *value)
{
	double number;
	int r;

	if (set_simple(ctl, name, value))
		return 0;
	if (strcmp(name, "json") == 0)
		return set_json(ctl, value);
	if (strcmp(name, "json-auto") == 0) {
		ctl->json = isatty(STDOUT_FILENO) ? JSON_PRETTY : JSON_SHORT;
	} else if (strcmp(name, "property") == 0) {
		add_list(&ctl->properties, value);
	} else if (strcmp(name, "property-value") == 0) {
		add_list(&ctl->properties, value);
		ctl->value_only = true;
	} else if (strcmp(name, "state") == 0) {
		return add_states(ctl, value);
	} else if (strcmp(name, "drive") == 0) {
		add_word(&ctl->drives, value);
	} else if (strcmp(name, "network") == 0) {
		add_word(&ctl->networks, value);
	} else if (strcmp(name, "set") == 0) {
		add_word(&ctl->settings, value);
	} else if (strcmp(name, "lines") == 0) {
		r = set_number(name, value, 1000000, &number);
		if (r < 0)
			return r;
		ctl->n_lines = (unsigned)number;
	} else if (strcmp(name, "count") == 0) {
		r = set_number(name, value, 1000000, &number);
		if (r < 0)
			return r;
		ctl->count = (uint64_t)number;
	} else if (strcmp(name, "idle") == 0) {
		r = set_number(name, value, 1000000, &number);
		if (r < 0)
			return r;
		ctl->idle_usec = (uint64_t)(number * 1e6);
	} else if (strcmp(name, "interval") == 0) {
		r = set_number(name, value, 86400, &number);
		if (r < 0)
			return r;
		ctl->interval_usec = MAX((uint64_t)(number * 1e6), UINT64_C(100000));
	} else if (strcmp(name, "timeout") == 0) {
		r = set_number(name, value, 1000000, &number);
		if (r < 0)
			return r;
		ctl->timeout_usec = (uint64_t)(number * 1e6);
	} else {
		assert(!"an option of the table that nothing sets");
	}
	return 0;
}

static void start_options(struct ctl *ctl)
{
	const char *colors = getenv("SYSTEMD_COLORS");
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (colors)
		ctl->colors = strcmp(colors, "0") != 0 && strcmp(colors, "false") != 0 &&
			      strcmp(colors, "no") != 0;
	else
		ctl->colors = !getenv("NO_COLOR") && isatty(STDOUT_FILENO) &&
			      strcmp(getenv("TERM") ? getenv("TERM") : "dumb", "dumb") != 0;
	if (columns)
		ctl->columns = strtoul(columns, NULL, 10);
	else if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		ctl->columns = size.ws_col;
}

static int unknown_verb(const char *word)
{
	char *names = NULL, *nearest;
	size_t size;
	FILE *stream = must_alloc(open_memstream(&names, &size));

	for (size_t i = 0; i < ctl_n_verbs; i++)
		fprintf(stream, "%s %s ", ctl_verbs[i].name,
			ctl_verbs[i].aliases ? ctl_verbs[i].aliases : "");
	if (fclose(stream) != 0)
		must_alloc(NULL);
	nearest = nearest_word(word, names);
	if (nearest)
		ctl_error("there is no verb %s. Did you mean %s?", word, nearest);
	else
		ctl_error("there is no verb %s; vmmctl --help lists them", word);
	free(nearest);
	free(names);
	return EXIT_FAILURE;
}

static int check_arguments(const struct verb *verb, int n)
{
	if (n >= verb->min && (verb->max < 0 || n <= verb->max))
		return 0;
	ctl_error("%s\nUsage: vmmctl %s %s",
		n < verb->min ? "an argument is missing" : "there are too many arguments",
		verb->name, verb->arguments);
	return -EINVAL;
}

/* Runs what the words say. given: the options that were given, by row. */
static int dispatch(struct ctl *ctl, char **words, int n_words, const bool *given, bool help)
{
	const struct verb *verb = verb_find(n_words > 0 ? words[0] : "list");

	if (!verb)
		return unknown_verb(words[0]);
	if (help)
		return verb_help(ctl, n_words > 0 ? (char *[]){ words[0], NULL } : &words[n_words]);
	if (ctl->json != JSON_OFF && !verb_has_option(verb, "json")) {
		ctl_error("%s prints no data and has no --json", verb->name);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < ctl_n_options; i++) {
		/* --json=off is what all of them do. */
		if (given[i] && !verb_has_option(verb, ctl_options[i].name) &&
			strcmp(ctl_options[i].name, "json") != 0) {
			ctl_error("%s has no option --%s", verb->name, ctl_options[i].name);
			return EXIT_FAILURE;
		}
	}
	ctl->verb = verb->name;
	n_words = n_words > 0 ? n_words - 1 : 0;
	if (check_arguments(verb, n_words) < 0)
		return EXIT_FAILURE;
	return verb->run(ctl, n_words > 0 ? words + 1 : (char *[]){ NULL });
}

static int print_version(const struct ctl *ctl)
{
	struct value json = value_object();

	if (ctl->json != JSON_OFF) {
		value_set(&json, "version", value_string(VMM_VERSION));
		ctl_print_json(ctl, &json);
	} else {
		printf("vmmctl %s\n", VMM_VERSION);
	}
	value_finish(&json);
	return EXIT_SUCCESS;
}

/* Builds getopt's tables, reads the options. Negative: stop with failure; 1: --version. */
static int parse(struct ctl *ctl, int argc, char **argv, bool *given, bool *ret_help)
{
	struct option options[64] = {};
	char letters[130] = "";
	bool is_version = false;
	size_t n_letters = 0;
	int c;

	assert(ctl_n_options < ARRAY_SIZE(options));
	for (size_t i = 0; i < ctl_n_options; i++) {
		const struct option_info *info = &ctl_options[i];

		options[i] = (struct option){ info->name,
			info->argument ? required_argument : no_argument, NULL,
			OPTION_BASE + (int)i };
		if (!info->letter)
			continue;
		letters[n_letters++] = info->letter;
		if (info->argument)
			letters[n_letters++] = ':';
	}
	while ((c = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
		size_t row = 0;

		if (c == '?') {
			fputs("vmmctl --help lists the options.\n", stderr);
			return -EINVAL;
		}
		if (c >= OPTION_BASE)
			row = (size_t)(c - OPTION_BASE);
		else
			while (ctl_options[row].letter != c)
				row++;
		given[row] = true;
		if (strcmp(ctl_options[row].name, "help") == 0)
			*ret_help = true;
		else if (strcmp(ctl_options[row].name, "version") == 0)
			is_version = true;
		else if (set_option(ctl, ctl_options[row].name, optarg) < 0)
			return -EINVAL;
	}
	return is_version;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.legend = true,
		.block = true,
		.ask_password = true,
		.pager = true,
		.n_lines = 10,
		.interval_usec = 2000000,
		.idle_usec = 300000000,
		.on_idle = "pause",
		.root = "",
		.signal = "TERM",
	};
	bool given[64] = {}, help = false;
	int status;

	setlocale(LC_ALL, "");
	/* Numbers that others read have a point in any language. */
	setlocale(LC_NUMERIC, "C");
	start_options(&ctl);
	status = parse(&ctl, argc, argv, given, &help);
	if (status > 0) {
		status = print_version(&ctl);
	} else if (status < 0) {
		status = EXIT_FAILURE;
	} else {
		status = dispatch(&ctl, argv + optind, argc - optind, given, help);
	}
	ctl_finish(&ctl);
	words_finish(&ctl.properties);
	words_finish(&ctl.states);
	words_finish(&ctl.drives);
	words_finish(&ctl.networks);
	words_finish(&ctl.settings);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_SUCCESS &&
		ctl.pager_pid == 0) {
		ctl_error("the output cannot be written: %m");
		status = EXIT_FAILURE;
	}
	ctl_close_pager(&ctl);
	return status;
}
