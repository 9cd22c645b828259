/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * seccomp: the parser of policies. The grammar is in vmmcore/seccomp.h.
 *
 * A line is cut into tokens as it is read; a rule never continues on the next line. The text is
 * hostile input: each token points into it with a length, and a token that goes into a message
 * is made of printable characters and cut short.
 */
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "seccomp/policy.h"

enum token_type {
	TOKEN_END, /* of the line */
	TOKEN_WORD,
	TOKEN_SYMBOL, /* one of the symbols below */
};

struct token {
	enum token_type type;
	const char *text;
	size_t length;
};

struct parser {
	const char *name; /* of the file, for messages */
	const char *at;
	const char *end; /* of the text */
	unsigned int line;
	struct token token; /* the one to be looked at */
	struct vmm_seccomp_policy *policy;
	struct vmm_seccomp_error *error; /* may be NULL */
};

static const char *const symbols[] = { "->", "==", "!=", ":", "&", "|", "{", "}", "," };

enum {
	MAX_SHOWN = 40, /* of a token in a message */
	MAX_ERRNO = 4095,
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *p, const char *format, ...)
{
	struct vmm_seccomp_error *error = p->error;
	va_list arguments;
	int n;

	if (!error)
		return -EINVAL;
	error->line = p->line;
	if (p->line > 0)
		n = snprintf(
			error->message, sizeof(error->message), "%.80s:%u: ", p->name, p->line);
	else
		n = snprintf(error->message, sizeof(error->message), "%.80s: ", p->name);
	va_start(arguments, format);
	vsnprintf(error->message + n, sizeof(error->message) - (size_t)n, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static int shown(const struct token *token)
{
	return (int)MIN(token->length, (size_t)MAX_SHOWN);
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* Looks at the next token of the line. The end of the line is one that repeats. */
static int next(struct parser *p)
{
	const char *start;

	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t'))
		p->at++;
	p->token = (struct token){ .type = TOKEN_END, .text = p->at };
	if (p->at == p->end || *p->at == '\n' || *p->at == '#')
		return 0;
	start = p->at;
	if (is_word(*start)) {
		while (p->at < p->end && is_word(*p->at))
			p->at++;
		p->token.type = TOKEN_WORD;
		p->token.length = (size_t)(p->at - start);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		size_t length = strlen(symbols[i]);

		if ((size_t)(p->end - start) >= length && memcmp(start, symbols[i], length) == 0) {
			p->at += length;
			p->token.type = TOKEN_SYMBOL;
			p->token.length = length;
			return 0;
		}
	}
	if (*start > ' ' && *start <= '~')
		return fail(p, "unexpected character '%c'", *start);
	return fail(p, "unexpected byte 0x%02x", (unsigned int)(uint8_t)*start);
}

static bool token_is(const struct parser *p, const char *text)
{
	return p->token.type != TOKEN_END && p->token.length == strlen(text) &&
	       memcmp(p->token.text, text, p->token.length) == 0;
}

static int expected(struct parser *p, const char *what)
{
	if (p->token.type == TOKEN_END)
		return fail(p, "expected %s at the end of the line", what);
	return fail(p, "expected %s, not \"%.*s\"", what, shown(&p->token), p->token.text);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static int parse_number(struct parser *p, uint64_t *ret_value)
{
	const struct token *token = &p->token;
	size_t i = 0;
	uint64_t value = 0;
	int base = 10;

	if (token->length > 2 && token->text[0] == '0' && (token->text[1] | 0x20) == 'x') {
		base = 16;
		i = 2;
	} else if (token->length > 1 && token->text[0] == '0') {
		base = 8;
		i = 1;
	}
	for (; i < token->length; i++) {
		int digit = digit_value(token->text[i]);

		if (digit >= base)
			return fail(p, "\"%.*s\" is not a number", shown(token), token->text);
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
			__builtin_add_overflow(value, (uint64_t)digit, &value))
			return fail(
				p, "\"%.*s\" does not fit into 64 bits", shown(token), token->text);
	}
	*ret_value = value;
	return 0;
}

/* value = item { "|" item } */
static int parse_value(struct parser *p, uint64_t *ret_value)
{
	uint64_t value = 0;
	int r;

	for (;;) {
		uint64_t item;

		if (p->token.type != TOKEN_WORD)
			return expected(p, "a number or constant");
		if (p->token.text[0] >= '0' && p->token.text[0] <= '9') {
			r = parse_number(p, &item);
			if (r < 0)
				return r;
		} else if (vmm_seccomp_find_constant(p->token.text, p->token.length, &item) < 0) {
			return fail(
				p, "unknown constant \"%.*s\"", shown(&p->token), p->token.text);
		}
		value |= item;
		r = next(p);
		if (r < 0)
			return r;
		if (!token_is(p, "|"))
			break;
		r = next(p);
		if (r < 0)
			return r;
	}
	*ret_value = value;
	return 0;
}

/* Keeps the values of a condition in ascending order. */
static int add_value(struct parser *p, struct seccomp_condition *condition, uint64_t value)
{
	struct vmm_seccomp_policy *policy = p->policy;
	size_t at;

	if (value & ~condition->mask)
		return fail(p, "0x%llx can never be: the mask 0x%llx takes bits of it away",
			(unsigned long long)value, (unsigned long long)condition->mask);
	if (condition->n_values == VMM_SECCOMP_MAX_VALUES)
		return fail(p, "more than %d values in a set", VMM_SECCOMP_MAX_VALUES);
	if (policy->n_values == policy->n_values_room) {
		size_t room = policy->n_values_room ? policy->n_values_room * 2 : 64;
		uint64_t *values = reallocarray(policy->values, room, sizeof(values[0]));

		if (!values)
			return -ENOMEM;
		policy->values = values;
		policy->n_values_room = room;
	}
	at = policy->n_values;
	while (at > condition->first_value && policy->values[at - 1] >= value) {
		if (policy->values[at - 1] == value)
			return fail(p, "0x%llx stands twice in a set", (unsigned long long)value);
		at--;
	}
	memmove(&policy->values[at + 1], &policy->values[at],
		(policy->n_values - at) * sizeof(policy->values[0]));
	policy->values[at] = value;
	policy->n_values++;
	condition->n_values++;
	return 0;
}

/* set = "{" value { "," value } "}", the brace being looked at. */
static int parse_set(struct parser *p, struct seccomp_condition *condition)
{
	int r;

	if (!token_is(p, "{"))
		return expected(p, "\"{\"");
	do {
		uint64_t value;

		r = next(p);
		if (r < 0)
			return r;
		r = parse_value(p, &value);
		if (r < 0)
			return r;
		r = add_value(p, condition, value);
		if (r < 0)
			return r;
	} while (token_is(p, ","));
	if (!token_is(p, "}"))
		return expected(p, "\",\" or \"}\"");
	return next(p);
}

static int parse_argument(struct parser *p, struct seccomp_condition *condition)
{
	const struct token *token = &p->token;

	if (token->type != TOKEN_WORD || token->length != 4 || memcmp(token->text, "arg", 3) != 0 ||
		token->text[3] < '0' || token->text[3] > '5')
		return expected(p, "arg0 to arg5");
	condition->argument = (unsigned int)(token->text[3] - '0');
	return next(p);
}

/* condition = argument [ "&" value ] ( "==" value | "!=" value | "in" set ) */
static int parse_condition(struct parser *p, struct seccomp_condition *condition)
{
	uint64_t value;
	int r;

	*condition = (struct seccomp_condition){
		.mask = UINT64_MAX,
		.first_value = p->policy->n_values,
	};
	r = parse_argument(p, condition);
	if (r < 0)
		return r;
	if (token_is(p, "&")) {
		r = next(p);
		if (r < 0)
			return r;
		r = parse_value(p, &condition->mask);
		if (r < 0)
			return r;
		if (condition->mask == 0)
			return fail(p, "a mask of 0 leaves nothing to compare");
	}
	if (token_is(p, "in")) {
		condition->comparison = SECCOMP_IN;
		r = next(p);
		return r < 0 ? r : parse_set(p, condition);
	}
	if (token_is(p, "=="))
		condition->comparison = SECCOMP_IN;
	else if (token_is(p, "!="))
		condition->comparison = SECCOMP_NOT_IN;
	else
		return expected(p, "\"==\", \"!=\" or \"in\"");
	r = next(p);
	if (r < 0)
		return r;
	r = parse_value(p, &value);
	if (r < 0)
		return r;
	return add_value(p, condition, value);
}

/* Behind "->". */
static int parse_action(struct parser *p, struct seccomp_rule *rule)
{
	uint64_t value;
	int r;

	if (token_is(p, "allow")) {
		rule->action = SECCOMP_RET_ALLOW;
	} else if (token_is(p, "deny")) {
		rule->is_deny = true;
	} else if (token_is(p, "kill")) {
		rule->action = SECCOMP_RET_KILL_PROCESS;
	} else if (token_is(p, "log")) {
		rule->action = SECCOMP_RET_LOG;
	} else if (token_is(p, "errno")) {
		r = next(p);
		if (r < 0)
			return r;
		r = parse_value(p, &value);
		if (r < 0)
			return r;
		if (value == 0 || value > MAX_ERRNO)
			return fail(p, "%llu is no errno", (unsigned long long)value);
		rule->action = SECCOMP_RET_ERRNO | (uint32_t)value;
		return 0;
	} else {
		return expected(p, "an action (allow, deny, kill, log, errno)");
	}
	return next(p);
}

static int check_reachable(struct parser *p, const struct seccomp_rule *rule)
{
	const struct vmm_seccomp_policy *policy = p->policy;

	for (size_t i = 0; i < policy->n_rules; i++) {
		if (policy->rules[i].nr == rule->nr && policy->rules[i].n_conditions == 0)
			return fail(p, "never reached: line %u decides each such call",
				policy->rules[i].line);
	}
	return 0;
}

static int add_rule(struct parser *p, const struct seccomp_rule *rule)
{
	struct vmm_seccomp_policy *policy = p->policy;

	if (policy->n_rules == policy->n_rules_room) {
		size_t room = policy->n_rules_room ? policy->n_rules_room * 2 : 32;
		struct seccomp_rule *rules = reallocarray(policy->rules, room, sizeof(rules[0]));

		if (!rules)
			return -ENOMEM;
		policy->rules = rules;
		policy->n_rules_room = room;
	}
	policy->rules[policy->n_rules++] = *rule;
	return 0;
}

static int parse_conditions(struct parser *p, struct seccomp_rule *rule)
{
	int r;

	do {
		if (rule->n_conditions == VMM_SECCOMP_MAX_CONDITIONS)
			return fail(p, "more than %d conditions", VMM_SECCOMP_MAX_CONDITIONS);
		r = next(p);
		if (r < 0)
			return r;
		r = parse_condition(p, &rule->conditions[rule->n_conditions]);
		if (r < 0)
			return r;
		rule->n_conditions++;
	} while (token_is(p, "and"));
	return 0;
}

/* rule = call [ ":" conditions ] [ "->" action ], the call being looked at. */
static int parse_rule(struct parser *p)
{
	struct seccomp_rule rule = { .line = p->line, .action = SECCOMP_RET_ALLOW };
	int r;

	if (p->token.type != TOKEN_WORD)
		return expected(p, "a system call");
	if (vmm_seccomp_find_call(p->token.text, p->token.length, &rule.nr) < 0)
		return fail(p, "unknown system call \"%.*s\"", shown(&p->token), p->token.text);
	if (p->policy->n_rules == VMM_SECCOMP_MAX_RULES)
		return fail(p, "more than %d rules", VMM_SECCOMP_MAX_RULES);
	r = check_reachable(p, &rule);
	if (r < 0)
		return r;
	r = next(p);
	if (r < 0)
		return r;
	if (token_is(p, ":")) {
		r = parse_conditions(p, &rule);
		if (r < 0)
			return r;
	}
	if (token_is(p, "->")) {
		r = next(p);
		if (r < 0)
			return r;
		r = parse_action(p, &rule);
		if (r < 0)
			return r;
	}
	if (p->token.type != TOKEN_END)
		return expected(p, "the end of the line");
	return add_rule(p, &rule);
}

/* Up to and with the newline. What is left of a line is a comment, where any text may stand. */
static int skip_comment(struct parser *p)
{
	while (p->at < p->end && *p->at != '\n') {
		uint8_t byte = (uint8_t)*p->at;

		if ((byte < ' ' && byte != '\t') || byte == 0x7f)
			return fail(p, "control byte 0x%02x in a comment", (unsigned int)byte);
		p->at++;
	}
	if (p->at < p->end)
		p->at++;
	return 0;
}

static int parse_text(struct parser *p, size_t n_bytes)
{
	int r;

	if (n_bytes > VMM_SECCOMP_MAX_TEXT_BYTES)
		return fail(p, "longer than %d bytes", VMM_SECCOMP_MAX_TEXT_BYTES);
	while (p->at < p->end) {
		p->line++;
		r = next(p);
		if (r < 0)
			return r;
		if (p->token.type != TOKEN_END) {
			r = parse_rule(p);
			if (r < 0)
				return r;
		}
		r = skip_comment(p);
		if (r < 0)
			return r;
	}
	if (p->policy->n_rules == 0) {
		p->line = 0;
		return fail(p, "there is no rule: no call would be allowed");
	}
	return 0;
}

int vmm_seccomp_parse(const char *name, const char *text, size_t n_bytes,
	struct vmm_seccomp_policy **ret_policy, struct vmm_seccomp_error *ret_error)
{
	struct parser p = {
		.name = name,
		.at = text,
		.end = text + n_bytes,
		.error = ret_error,
	};
	int r;

	p.policy = calloc(1, sizeof(*p.policy));
	if (!p.policy)
		return -ENOMEM;
	r = parse_text(&p, n_bytes);
	if (r < 0) {
		vmm_seccomp_policy_free(p.policy);
		return r;
	}
	*ret_policy = p.policy;
	return 0;
}

struct vmm_seccomp_policy *vmm_seccomp_policy_free(struct vmm_seccomp_policy *policy)
{
	if (!policy)
		return NULL;
	free(policy->rules);
	free(policy->values);
	free(policy);
	return NULL;
}

size_t vmm_seccomp_policy_n_rules(const struct vmm_seccomp_policy *policy)
{
	return policy->n_rules;
}

size_t vmm_seccomp_policy_n_calls(const struct vmm_seccomp_policy *policy)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_rules; i++) {
		bool is_first = true;

		for (size_t j = 0; j < i && is_first; j++)
			is_first = policy->rules[j].nr != policy->rules[i].nr;
		n += is_first;
	}
	return n;
}
