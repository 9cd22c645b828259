/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* policies: see policies.h. */
#include "policies.h"

#include <glob.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define X32_BIT 0x40000000u
/* No descriptor, no address, no size that there is: what is let in fails by itself. */
#define NOTHING UINT64_MAX

struct policy_file policy_files[MAX_POLICIES];
size_t n_policy_files;
struct policy_call policy_calls[MAX_POLICY_CALLS];
size_t n_policy_calls;

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static bool holds(const struct policy_file *file, const struct seccomp_condition *condition,
	const uint64_t arguments[6])
{
	uint64_t value = arguments[condition->argument] & condition->mask;
	bool is_in = false;

	for (size_t i = 0; i < condition->n_values; i++)
		is_in |= file->policy->values[condition->first_value + i] == value;
	return is_in == (condition->comparison == SECCOMP_IN);
}

const struct seccomp_rule *policy_find_rule(
	const struct policy_file *file, uint64_t nr, const uint64_t arguments[6])
{
	for (size_t i = 0; i < file->policy->n_rules; i++) {
		const struct seccomp_rule *rule = &file->policy->rules[i];
		bool applies = rule->nr == nr;

		for (size_t j = 0; applies && j < rule->n_conditions; j++)
			applies = holds(file, &rule->conditions[j], arguments);
		if (applies)
			return rule;
	}
	return NULL;
}

bool policy_allows(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6])
{
	const struct seccomp_rule *rule = policy_find_rule(file, nr, arguments);

	return rule && !rule->is_deny && rule->action == SECCOMP_RET_ALLOW;
}

int policy_error(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6])
{
	const struct seccomp_rule *rule = policy_find_rule(file, nr, arguments);

	if (!rule || rule->is_deny || (rule->action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO)
		return 0;
	return (int)(rule->action & SECCOMP_RET_DATA);
}

static struct policy_call *add(
	const struct policy_file *file, const struct seccomp_rule *rule, const char *kind)
{
	struct policy_call *call = &policy_calls[n_policy_calls];

	if (++n_policy_calls >= MAX_POLICY_CALLS)
		give_up(file->kind, "more calls than this program has room for");
	*call = (struct policy_call){ .file = file, .rule = rule, .nr = rule->nr };
	memset(call->arguments, 0xff, sizeof(call->arguments));
	snprintf(call->text, sizeof(call->text), "%s.policy:%u: %s, %s", file->kind, rule->line,
		vmm_seccomp_call_name(rule->nr), kind);
	return call;
}

/* A value that satisfies the condition. */
static uint64_t satisfy(
	const struct policy_file *file, const struct seccomp_condition *condition, size_t index)
{
	uint64_t value = file->policy->values[condition->first_value + index];

	/* Of "!=": anything else that the mask leaves. */
	if (condition->comparison == SECCOMP_NOT_IN)
		value = ~value & condition->mask;
	return value;
}

static void satisfy_all(struct policy_call *call)
{
	for (size_t i = 0; i < call->rule->n_conditions; i++) {
		const struct seccomp_condition *condition = &call->rule->conditions[i];

		call->arguments[condition->argument] = satisfy(call->file, condition, 0);
	}
}

/* With each value of each set. */
static void add_allowed(const struct policy_file *file, const struct seccomp_rule *rule)
{
	size_t n_values = 1;

	for (size_t i = 0; i < rule->n_conditions; i++)
		n_values = MAX(n_values, rule->conditions[i].n_values);
	for (size_t i = 0; i < n_values; i++) {
		struct policy_call *call = add(file, rule, "allowed");

		call->is_allowed = true;
		satisfy_all(call);
		for (size_t j = 0; j < rule->n_conditions; j++) {
			const struct seccomp_condition *condition = &rule->conditions[j];

			call->arguments[condition->argument] =
				satisfy(file, condition, i % condition->n_values);
		}
		if (!policy_allows(file, call->nr, call->arguments))
			give_up(call->text, "no arguments were found that it allows");
	}
}

/* One bit off, where no other rule allows that. */
static void add_denied(
	const struct policy_file *file, const struct seccomp_rule *rule, size_t number)
{
	const struct seccomp_condition *condition = &rule->conditions[number];
	struct policy_call *call;
	char kind[64];

	snprintf(kind, sizeof(kind), "denied by arg%u", condition->argument);
	call = add(file, rule, kind);
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(condition->mask >> bit & 1))
			continue;
		satisfy_all(call);
		call->arguments[condition->argument] ^= UINT64_C(1) << bit;
		if (!policy_allows(file, call->nr, call->arguments))
			return;
	}
	give_up(call->text, "no argument was found that it denies");
}

/* It comes back with an error, and nothing ends. */
static void add_refused(const struct policy_file *file, const struct seccomp_rule *rule)
{
	struct policy_call *call = add(file, rule, "refused");

	call->is_allowed = true;
	satisfy_all(call);
}

/* What has no condition on its arguments has one on its number: the x32 call of that name. */
static void add_x32(const struct policy_file *file, const struct seccomp_rule *rule)
{
	struct policy_call *call = add(file, rule, "denied as an x32 call");

	call->nr |= X32_BIT;
}

static void load_file(const char *path)
{
	static char text[VMM_SECCOMP_MAX_TEXT_BYTES];
	struct policy_file *file = &policy_files[n_policy_files++];
	const char *name = strrchr(path, '/') + 1;
	struct vmm_seccomp_error error;
	FILE *stream = fopen(path, "re");
	size_t n_bytes;

	if (!stream || n_policy_files == MAX_POLICIES)
		give_up(path, stream ? "too many policies" : strerror(errno));
	n_bytes = fread(text, 1, sizeof(text), stream);
	fclose(stream);
	snprintf(file->kind, sizeof(file->kind), "%.*s", (int)strcspn(name, "."), name);
	if (vmm_seccomp_parse(name, text, n_bytes, &file->policy, &error) < 0)
		give_up(path, error.message);
	for (size_t i = 0; i < file->policy->n_rules; i++) {
		const struct seccomp_rule *rule = &file->policy->rules[i];

		if (rule->is_deny ||
			(rule->action != SECCOMP_RET_ALLOW &&
				(rule->action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO))
			give_up(path, "a rule that neither allows nor refuses has no test here");
		if (rule->action != SECCOMP_RET_ALLOW) {
			add_refused(file, rule);
			continue;
		}
		add_allowed(file, rule);
		for (size_t j = 0; j < rule->n_conditions; j++)
			add_denied(file, rule, j);
		if (rule->n_conditions == 0)
			add_x32(file, rule);
	}
}

void policies_load(const char *directory)
{
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/?*.policy", directory);
	if (glob(pattern, 0, NULL, &found) != 0)
		give_up(pattern, "there is none");
	for (size_t i = 0; i < found.gl_pathc; i++)
		load_file(found.gl_pathv[i]);
	globfree(&found);
}
