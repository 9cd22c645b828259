/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* needs: see needs.h. */
#include "needs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define MAX_NEEDS 512
#define TEXT_SIZE 320

struct need {
	const struct policy_file *file;
	const struct seccomp_rule *rule;
	const struct seccomp_condition *condition; /* of which value is one of several, or NULL */
	uint64_t value;
	uint64_t count;
	bool has_reason;
	char text[TEXT_SIZE]; /* "KIND: RULE" */
};

static struct need needs[MAX_NEEDS];
static size_t n_needs;

static void give_up(const char *where, const char *why)
{
	fprintf(stderr, "%s: %s\n", where, why);
	exit(EXIT_FAILURE);
}

/* Without the comment and with one blank between words. */
static void strip(char *text)
{
	char *to = text;

	text[strcspn(text, "#\n")] = '\0';
	for (const char *from = text; *from; from++)
		if (!isspace((unsigned char)*from))
			*to++ = *from;
		else if (to > text && to[-1] != ' ')
			*to++ = ' ';
	while (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
}

/* The value of "A | B". */
static uint64_t evaluate(const char *text)
{
	uint64_t sum = 0, item;
	size_t length;

	for (; *text; text += length) {
		text += strspn(text, " |");
		length = strcspn(text, " |");
		if (length == 0)
			break;
		if (isdigit((unsigned char)*text))
			item = strtoull(text, NULL, 0);
		else if (vmm_seccomp_find_constant(text, length, &item) < 0)
			give_up(text, "not a constant");
		sum |= item;
	}
	return sum;
}

static struct need *add(const struct policy_file *file, const struct seccomp_rule *rule)
{
	struct need *need = &needs[n_needs++];

	if (n_needs >= MAX_NEEDS)
		give_up(file->kind, "more rules than this program has room for");
	*need = (struct need){ .file = file, .rule = rule };
	return need;
}

/* line: "CALL: ... in { A, B } ..." becomes "CALL: ... == A ..." and another. */
static void add_set(const struct policy_file *file, const struct seccomp_rule *rule, char *line)
{
	const struct seccomp_condition *condition = rule->conditions;
	char *set = strstr(line, " in {"), *end, *rest, *value;
	struct need *need;

	if (!set) {
		snprintf(add(file, rule)->text, TEXT_SIZE, "%.31s: %.200s", file->kind, line);
		return;
	}
	end = strchr(set, '}');
	if (!end || strstr(end, " in {"))
		give_up(line, "a rule with more than one set has no counter here");
	*set = *end = '\0';
	while (condition->n_values == 1)
		condition++;
	for (rest = set + 5; (value = strtok_r(rest, ",", &rest));) {
		strip(value);
		value += *value == ' ';
		need = add(file, rule);
		need->condition = condition;
		need->value = evaluate(value);
		snprintf(need->text, TEXT_SIZE, "%.31s: %.100s == %.100s%.20s", file->kind, line,
			value, end + 1);
	}
}

static void load_policy(const char *directory, const struct policy_file *file)
{
	char path[4096], line[1024];
	unsigned int number = 0;
	FILE *stream;

	snprintf(path, sizeof(path), "%s/%s.policy", directory, file->kind);
	stream = fopen(path, "re");
	if (!stream)
		give_up(path, strerror(errno));
	while (fgets(line, sizeof(line), stream)) {
		number++;
		strip(line);
		for (size_t i = 0; i < file->policy->n_rules; i++)
			if (file->policy->rules[i].line == number)
				add_set(file, &file->policy->rules[i], line);
	}
	fclose(stream);
}

static void load_reasons(const char *path)
{
	char line[1024], *reason;
	struct need *need;
	FILE *stream = fopen(path, "re");

	if (!stream)
		give_up(path, strerror(errno));
	while (fgets(line, sizeof(line), stream)) {
		reason = strchr(line, '#');
		if (line[0] == '\n' || reason == line)
			continue;
		if (!reason || reason[strspn(reason, "# \n")] == '\0')
			give_up(line, "has no reason");
		strip(line);
		need = needs;
		while (need < needs + n_needs && strcmp(need->text, line) != 0)
			need++;
		if (need == needs + n_needs)
			give_up(line, "there is no such rule (any more)");
		need->has_reason = true;
	}
	fclose(stream);
}

void needs_load(const char *directory, const char *reasons_path)
{
	for (size_t i = 0; i < n_policy_files; i++)
		load_policy(directory, &policy_files[i]);
	load_reasons(reasons_path);
}

void needs_count(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6])
{
	const struct seccomp_rule *rule = policy_find_rule(file, nr, arguments);

	for (struct need *need = needs; rule && need < needs + n_needs; need++)
		if (need->rule == rule &&
			(!need->condition || (arguments[need->condition->argument] &
						     need->condition->mask) == need->value))
			need->count++;
}

/* What a thread may do that the plugging thread makes, that one has to be allowed too. */
static bool is_inherited(const struct need *need)
{
	const char *rule = strchr(need->text, ':');

	if (strcmp(need->file->kind, "plug") != 0)
		return false;
	for (const struct need *other = needs; other < needs + n_needs; other++)
		if (other->count > 0 &&
			(strcmp(other->file->kind, "io") == 0 ||
				strcmp(other->file->kind, "net") == 0) &&
			strcmp(strchr(other->text, ':'), rule) == 0)
			return true;
	return false;
}

bool needs_report(void)
{
	size_t n_needed = 0, n_reasons = 0, n_bare = 0;

	for (struct need *need = needs; need < needs + n_needs; need++) {
		if (need->count > 0 || is_inherited(need))
			n_needed++;
		else if (need->has_reason)
			n_reasons++;
		else
			printf("%s%s\n", n_bare++ == 0 ? "rules never needed:\n\t" : "\t",
				need->text);
	}
	printf("%zu rules, %zu needed, %zu with a reason beside them, %zu never needed\n", n_needs,
		n_needed, n_reasons, n_bare);
	return n_bare == 0 && n_needed > 0;
}
