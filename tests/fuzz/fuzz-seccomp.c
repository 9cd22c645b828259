/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: seccomp: a policy as text. What is taken is compiled, and the filter's answer is compared
 * with what the parsed rules say, for calls at and around the values that the rules name.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "fuzz.h"
#include "seccomp/policy.h"

static bool holds(const struct vmm_seccomp_policy *policy,
	const struct seccomp_condition *condition, const struct seccomp_data *call)
{
	uint64_t masked = call->args[condition->argument] & condition->mask;
	bool is_in = false;

	for (size_t i = 0; i < condition->n_values; i++)
		is_in |= policy->values[condition->first_value + i] == masked;
	return is_in == (condition->comparison == SECCOMP_IN);
}

static uint32_t expected(const struct vmm_seccomp_policy *policy, const struct seccomp_data *call)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct seccomp_rule *rule = &policy->rules[i];
		bool all = true;

		if (rule->nr != (unsigned int)call->nr)
			continue;
		for (size_t j = 0; j < rule->n_conditions && all; j++)
			all = holds(policy, &rule->conditions[j], call);
		if (all)
			return rule->is_deny ? SECCOMP_RET_LOG : rule->action;
	}
	return SECCOMP_RET_LOG;
}

static void compare(const struct vmm_seccomp_policy *policy, const struct sock_filter *filter,
	size_t n_filter, const struct seccomp_data *call)
{
	uint32_t action;

	FUZZ_CHECK(vmm_seccomp_simulate(filter, n_filter, VMM_SECCOMP_LOG, call, &action) == 0);
	FUZZ_CHECK(action == expected(policy, call));
}

/* Each rule with arguments that satisfy its conditions as well as one value each can. */
static void compare_rule(const struct vmm_seccomp_policy *policy, const struct sock_filter *filter,
	size_t n_filter, const struct seccomp_rule *rule)
{
	struct seccomp_data call = { .nr = (int)rule->nr, .arch = AUDIT_ARCH_X86_64 };

	compare(policy, filter, n_filter, &call);
	for (size_t j = 0; j < rule->n_conditions; j++) {
		const struct seccomp_condition *condition = &rule->conditions[j];

		call.args[condition->argument] =
			policy->values[condition->first_value] | ~condition->mask;
	}
	compare(policy, filter, n_filter, &call);
	for (size_t j = 0; j < rule->n_conditions; j++) {
		const struct seccomp_condition *condition = &rule->conditions[j];
		struct seccomp_data changed = call;
		uint64_t last = policy->values[condition->first_value + condition->n_values - 1];

		changed.args[condition->argument] = last;
		compare(policy, filter, n_filter, &changed);
		changed.args[condition->argument] = last + 1;
		compare(policy, filter, n_filter, &changed);
		changed.args[condition->argument] = last ^ UINT64_C(1) << 32;
		compare(policy, filter, n_filter, &changed);
	}
	call.nr++;
	compare(policy, filter, n_filter, &call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sock_filter filter[VMM_SECCOMP_MAX_INSNS];
	struct vmm_seccomp_policy *policy = NULL;
	struct vmm_seccomp_error error = { 0 };
	int r, n_filter;

	r = vmm_seccomp_parse("fuzz", (const char *)data, size, &policy, &error);
	if (r < 0) {
		FUZZ_CHECK(r == -EINVAL);
		FUZZ_CHECK(strncmp(error.message, "fuzz:", 5) == 0);
		FUZZ_CHECK(memchr(error.message, '\0', sizeof(error.message)));
		for (const char *c = error.message; *c; c++)
			FUZZ_CHECK(*c >= ' ' && *c <= '~');
		return 0;
	}
	n_filter = vmm_seccomp_compile(policy, filter, VMM_SECCOMP_MAX_INSNS);
	FUZZ_CHECK(n_filter > 0 || n_filter == -E2BIG);
	for (size_t i = 0; n_filter > 0 && i < policy->n_rules; i++)
		compare_rule(policy, filter, (size_t)n_filter, &policy->rules[i]);
	vmm_seccomp_policy_free(policy);
	return 0;
}
