/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * seccomp: from a policy to a classic BPF program (seccomp(2), kernel Documentation
 * userspace-api/seccomp_filter).
 *
 * The program is made from its end to its beginning. BPF jumps only forward, so the target of
 * each jump is known when the jump is made. A target is a position: the distance of its first
 * instruction from the end of the program, counted from 1. A conditional jump reaches 255
 * instructions; where that is not enough it goes to an unconditional one placed right behind it.
 *
 *     architecture and x32 check
 *     binary search of the call's number
 *     the rules of each call
 *     the denial
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/util.h"
#include "seccomp/policy.h"

static_assert(VMM_SECCOMP_MAX_INSNS == BPF_MAXINSNS, "limit of the kernel");

enum {
	FIRST_X32_CALL = 0x40000000,
	MAX_JUMP = 255,
	POSITION_DENY = 1,
};

struct program {
	struct sock_filter insns[BPF_MAXINSNS]; /* filled from the end */
	size_t n;
	bool is_full;
};

struct call {
	unsigned int nr;
	size_t entry; /* position of its first rule */
};

/* Returns the position of the instruction. */
static size_t emit(struct program *program, struct sock_filter insn)
{
	if (program->n == BPF_MAXINSNS) {
		program->is_full = true;
		return program->n;
	}
	program->n++;
	program->insns[BPF_MAXINSNS - program->n] = insn;
	return program->n;
}

static size_t emit_plain(struct program *program, uint16_t code, uint32_t k)
{
	return emit(program, (struct sock_filter){ .code = code, .k = k });
}

static size_t emit_return(struct program *program, uint32_t action)
{
	return emit_plain(program, BPF_RET | BPF_K, action);
}

static size_t emit_load(struct program *program, size_t offset)
{
	return emit_plain(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* A position from where one of the next two instructions can jump to target. */
static size_t within_reach(struct program *program, size_t target)
{
	/* One more instruction may come between: the other target's. */
	if (program->n - target <= MAX_JUMP - 1)
		return target;
	return emit_plain(program, BPF_JMP | BPF_JA, (uint32_t)(program->n - target));
}

static size_t emit_branch(
	struct program *program, uint16_t comparison, uint32_t k, size_t if_true, size_t if_false)
{
	if_true = within_reach(program, if_true);
	if_false = within_reach(program, if_false);
	return emit(program, (struct sock_filter){
				     .code = BPF_JMP | BPF_K | comparison,
				     .jt = (uint8_t)(program->n - if_true),
				     .jf = (uint8_t)(program->n - if_false),
				     .k = k,
			     });
}

static uint32_t high(uint64_t value)
{
	return (uint32_t)(value >> 32);
}

static size_t emit_masked_load(
	struct program *program, unsigned int argument, uint64_t mask, bool is_high)
{
	size_t offset = offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t);
	uint32_t half = is_high ? high(mask) : (uint32_t)mask;

	if (half != UINT32_MAX)
		emit_plain(program, BPF_ALU | BPF_AND | BPF_K, half);
	return emit_load(program, offset + (is_high ? sizeof(uint32_t) : 0));
}

/* Compares the lower half with values that share their upper half. */
static size_t emit_lower(struct program *program, const struct seccomp_condition *condition,
	const uint64_t *values, size_t n_values, size_t if_in, size_t if_not)
{
	size_t at = if_not;

	/* A lower half of which nothing is compared is 0, as is its only value. */
	if ((uint32_t)condition->mask == 0)
		return if_in;
	for (size_t i = n_values; i-- > 0;)
		at = emit_branch(program, BPF_JEQ, (uint32_t)values[i], if_in, at);
	return emit_masked_load(program, condition->argument, condition->mask, false);
}

/*
 * Arguments have 64 bits, BPF has 32. The values are sorted: those with the same upper half stand
 * together. One comparison of the upper half finds their group, then the lower half is compared
 * within it.
 */
static size_t emit_condition(struct program *program, const struct vmm_seccomp_policy *policy,
	const struct seccomp_condition *condition, size_t if_holds, size_t if_not)
{
	const uint64_t *values = policy->values + condition->first_value;
	bool is_in = condition->comparison == SECCOMP_IN;
	size_t hit = is_in ? if_holds : if_not, miss = is_in ? if_not : if_holds;
	size_t groups[VMM_SECCOMP_MAX_VALUES], firsts[VMM_SECCOMP_MAX_VALUES], n_groups = 0;
	size_t end = condition->n_values, at = miss;

	while (end > 0) {
		size_t first = end - 1;

		while (first > 0 && high(values[first - 1]) == high(values[end - 1]))
			first--;
		firsts[n_groups] = first;
		groups[n_groups++] =
			emit_lower(program, condition, values + first, end - first, hit, miss);
		end = first;
	}
	if (high(condition->mask) == 0)
		return groups[0];
	for (size_t i = 0; i < n_groups; i++)
		at = emit_branch(program, BPF_JEQ, high(values[firsts[i]]), groups[i], at);
	return emit_masked_load(program, condition->argument, condition->mask, true);
}

static size_t emit_rule(struct program *program, const struct vmm_seccomp_policy *policy,
	const struct seccomp_rule *rule, size_t next_rule)
{
	size_t at = rule->is_deny ? POSITION_DENY : emit_return(program, rule->action);

	for (size_t i = rule->n_conditions; i-- > 0;)
		at = emit_condition(program, policy, &rule->conditions[i], at, next_rule);
	return at;
}

/* All rules of one call; behind the last one that fails comes the denial. */
static size_t emit_call(
	struct program *program, const struct vmm_seccomp_policy *policy, unsigned int nr)
{
	size_t at = POSITION_DENY;

	for (size_t i = policy->n_rules; i-- > 0;) {
		if (policy->rules[i].nr == nr)
			at = emit_rule(program, policy, &policy->rules[i], at);
	}
	return at;
}

/* The depth is the logarithm of the number of calls. */
static size_t emit_search(struct program *program, const struct call *calls, size_t n_calls)
{
	size_t middle = n_calls / 2, lower, upper;

	if (n_calls == 1)
		return emit_branch(program, BPF_JEQ, calls[0].nr, calls[0].entry, POSITION_DENY);
	upper = emit_search(program, calls + middle, n_calls - middle);
	lower = emit_search(program, calls, middle);
	return emit_branch(program, BPF_JGE, calls[middle].nr, upper, lower);
}

static void emit_program(
	struct program *program, const struct vmm_seccomp_policy *policy, struct call *calls)
{
	size_t n_calls = 0, search, kill, at;

	emit_return(program, vmm_seccomp_mode_action(VMM_SECCOMP_KILL));
	for (size_t i = 0; i < policy->n_rules; i++) {
		unsigned int nr = policy->rules[i].nr;
		size_t place = n_calls;

		while (place > 0 && calls[place - 1].nr > nr)
			place--;
		if (place > 0 && calls[place - 1].nr == nr)
			continue;
		memmove(&calls[place + 1], &calls[place], (n_calls - place) * sizeof(calls[0]));
		calls[place].nr = nr;
		n_calls++;
	}
	for (size_t i = n_calls; i-- > 0;)
		calls[i].entry = emit_call(program, policy, calls[i].nr);
	search = emit_search(program, calls, n_calls);

	/* What these two refuse is refused in each mode: its numbers mean other calls. */
	kill = emit_return(program, SECCOMP_RET_KILL_PROCESS);
	emit_branch(program, BPF_JGE, FIRST_X32_CALL, kill, search);
	at = emit_load(program, offsetof(struct seccomp_data, nr));
	emit_branch(program, BPF_JEQ, AUDIT_ARCH_X86_64, at, kill);
	emit_load(program, offsetof(struct seccomp_data, arch));
}

int vmm_seccomp_compile(
	const struct vmm_seccomp_policy *policy, struct sock_filter *filter, size_t n_filter)
{
	CLEANUP(free_p) struct program *program = calloc(1, sizeof(*program));
	CLEANUP(free_p)
	struct call *calls = calloc(policy->n_rules, sizeof(*calls));

	if (!program || !calls)
		return -ENOMEM;
	emit_program(program, policy, calls);
	if (program->is_full || program->n > n_filter)
		return -E2BIG;
	memcpy(filter, &program->insns[BPF_MAXINSNS - program->n], program->n * sizeof(filter[0]));
	return (int)program->n;
}

uint32_t vmm_seccomp_mode_action(enum vmm_seccomp_mode mode)
{
	switch (mode) {
	case VMM_SECCOMP_LOG:
		return SECCOMP_RET_LOG;
	case VMM_SECCOMP_ERRNO:
		return SECCOMP_RET_ERRNO | EPERM;
	default:
		return SECCOMP_RET_KILL_PROCESS;
	}
}
