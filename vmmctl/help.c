/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* help: help texts out of the tables in verbs.c. */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

static const char *const group_titles[N_GROUPS] = {
	[GROUP_LOOK] = "Looking",
	[GROUP_RUN] = "Running",
	[GROUP_DEVICES] = "Changing devices",
	[GROUP_CONFIG] = "Configuring",
	[GROUP_REACH] = "Reaching",
	[GROUP_IMAGES] = "Images",
};

static void print_item(FILE *stream, const char *item, const char *text)
{
	fprintf(stream, "  %-28s %s\n", item, text);
}

static void print_option(FILE *stream, const struct option_info *option)
{
	char item[64];
	char letter[4] = "  ";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c", option->letter);
	/* The short forms of what has no long form of its own. */
	if (strcmp(option->name, "json-auto") == 0)
		snprintf(item, sizeof(item), "-j");
	else if (strcmp(option->name, "property-value") == 0)
		snprintf(item, sizeof(item), "-P %s", option->argument);
	else
		snprintf(item, sizeof(item), "%s --%s%s%s", letter, option->name,
			option->argument ? "=" : "", option->argument ? option->argument : "");
	print_item(stream, item, option->help);
}

static int help_all(FILE *stream)
{
	fputs("vmmctl [OPTION...] VERB [ARGUMENT...]\n"
	      "\n"
	      "See and steer virtual machines. Without a verb: list.\n",
		stream);
	for (int group = 0; group < N_GROUPS; group++) {
		fprintf(stream, "\n%s:\n", group_titles[group]);
		for (size_t i = 0; i < ctl_n_verbs; i++) {
			char item[64];

			if (ctl_verbs[i].group != (enum verb_group)group)
				continue;
			snprintf(item, sizeof(item), "%s %s", ctl_verbs[i].name,
				ctl_verbs[i].arguments);
			print_item(stream, item, ctl_verbs[i].summary);
		}
	}
	fputs("\nOptions of all verbs:\n", stream);
	for (size_t i = 0; i < ctl_n_options; i++) {
		if (verb_has_option(&(const struct verb){}, ctl_options[i].name))
			print_option(stream, &ctl_options[i]);
	}
	fputs("\nVerbs that print data have --json=pretty, --json=short and -j, too.\n"
	      "vmmctl help VERB says more about a verb. See vmmctl(1).\n",
		stream);
	return EXIT_SUCCESS;
}

static int help_verb(const struct verb *verb, FILE *stream)
{
	fprintf(stream, "vmmctl %s%s%s%s\n\n%s.\n", verb->name, verb->options ? " [OPTION...]" : "",
		*verb->arguments != '\0' ? " " : "", verb->arguments, verb->summary);
	if (verb->details)
		fprintf(stream, "%s\n", verb->details);
	if (verb->aliases)
		fprintf(stream, "Also: %s.\n", verb->aliases);
	if (verb->options) {
		fputc('\n', stream);
		for (size_t i = 0; i < ctl_n_options; i++) {
			if (verb_has_option(verb, ctl_options[i].name) &&
				!verb_has_option(&(const struct verb){}, ctl_options[i].name))
				print_option(stream, &ctl_options[i]);
		}
	}
	fputs("\nvmmctl --help lists the options of all verbs.\n", stream);
	return EXIT_SUCCESS;
}

static struct value words_to_json(const char *words)
{
	struct value array = value_array();

	while (words && *words != '\0') {
		size_t n = strcspn(words, " ");
		CLEANUP(free_p) char *word = must_alloc(strndup(words, n));

		value_append(&array, value_string(word));
		words += n + strspn(words + n, " ");
	}
	return array;
}

static struct value text_to_json(const char *text)
{
	return text ? value_string(text) : (struct value){};
}

static struct value verb_to_json(const struct verb *verb)
{
	struct value json = value_object();

	value_set(&json, "name", value_string(verb->name));
	value_set(&json, "aliases", words_to_json(verb->aliases));
	value_set(&json, "group", value_string(group_titles[verb->group]));
	value_set(&json, "arguments", value_string(verb->arguments));
	value_set(&json, "summary", value_string(verb->summary));
	value_set(&json, "details", text_to_json(verb->details));
	value_set(&json, "options", words_to_json(verb->options));
	return json;
}

/* The tables as they are: the manual page and the completions are made of it. */
static void print_tables(const struct ctl *ctl)
{
	struct value json = value_object(), verbs = value_array(), options = value_array();

	for (size_t i = 0; i < ctl_n_verbs; i++)
		value_append(&verbs, verb_to_json(&ctl_verbs[i]));
	for (size_t i = 0; i < ctl_n_options; i++) {
		struct value option = value_object();
		char letter[2] = { ctl_options[i].letter, '\0' };

		value_set(&option, "name", value_string(ctl_options[i].name));
		value_set(&option, "letter", text_to_json(*letter != '\0' ? letter : NULL));
		value_set(&option, "argument", text_to_json(ctl_options[i].argument));
		value_set(&option, "help", value_string(ctl_options[i].help));
		value_append(&options, option);
	}
	value_set(&json, "verbs", verbs);
	value_set(&json, "options", options);
	value_set(&json, "commonOptions", words_to_json(ctl_common_options));
	ctl_print_json(ctl, &json);
	value_finish(&json);
}

int verb_help(struct ctl *ctl, char **arguments)
{
	const struct verb *verb = arguments[0] ? verb_find(arguments[0]) : NULL;

	if (arguments[0] && !verb) {
		ctl_error("there is no verb %s; vmmctl --help lists them", arguments[0]);
		return EXIT_FAILURE;
	}
	if (ctl->json != JSON_OFF && verb) {
		struct value json = verb_to_json(verb);

		ctl_print_json(ctl, &json);
		value_finish(&json);
	} else if (ctl->json != JSON_OFF) {
		print_tables(ctl);
	} else {
		ctl_open_pager(ctl);
		return verb ? help_verb(verb, stdout) : help_all(stdout);
	}
	return EXIT_SUCCESS;
}
