/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * policies: the files of policy/seccomp, and calls that each of their rules lets pass or not. All
 * of it is made from the text, so a new rule or file is tested without a word here.
 */
#ifndef VMM_TESTS_SANDBOX_POLICIES_H
#define VMM_TESTS_SANDBOX_POLICIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "seccomp/policy.h"

#define MAX_POLICIES 16
#define MAX_POLICY_CALLS 2048

struct policy_file {
	char kind[32];
	struct vmm_seccomp_policy *policy; /* owned */
};

/* A call, and the rule that it is about. */
struct policy_call {
	const struct policy_file *file;
	const struct seccomp_rule *rule;
	bool is_allowed;
	uint64_t nr;
	uint64_t arguments[6];
	char text[160];
};

extern struct policy_file policy_files[MAX_POLICIES];
extern size_t n_policy_files;
extern struct policy_call policy_calls[MAX_POLICY_CALLS];
extern size_t n_policy_calls;

/* Reads DIRECTORY/?*.policy, in alphabetical order. Ends the program where one is not right. */
void policies_load(const char *directory);

/* The rule that decides about this call; NULL: none applies. */
const struct seccomp_rule *policy_find_rule(
	const struct policy_file *file, uint64_t nr, const uint64_t arguments[6]);

/* Whether the text allows this call, by the rules of vmmcore/seccomp.h; not the filter's answer. */
bool policy_allows(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6]);

/* The error that a rule of the text gives this call instead of death; 0: none does. */
int policy_error(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6]);

#endif
