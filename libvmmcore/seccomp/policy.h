/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* seccomp: a parsed policy, and the tables of names. Internal. */
#ifndef VMM_SECCOMP_POLICY_H
#define VMM_SECCOMP_POLICY_H

#include <vmmcore/seccomp.h>

enum seccomp_comparison {
	SECCOMP_IN,     /* (argument & mask) is one of the values */
	SECCOMP_NOT_IN, /* is none of them */
};

struct seccomp_condition {
	unsigned int argument; /* 0 to 5 */
	enum seccomp_comparison comparison;
	uint64_t mask;
	size_t first_value; /* in policy->values */
	size_t n_values;    /* at least 1; ascending, each once, none has a bit outside mask */
};

struct seccomp_rule {
	unsigned int nr;
	unsigned int line;
	bool is_deny;    /* the denial of the mode */
	uint32_t action; /* else: SECCOMP_RET_... with its data */
	size_t n_conditions;
	struct seccomp_condition conditions[VMM_SECCOMP_MAX_CONDITIONS];
};

struct vmm_seccomp_policy {
	struct seccomp_rule *rules; /* owned; in the order of the text */
	size_t n_rules;
	size_t n_rules_room;
	uint64_t *values; /* owned */
	size_t n_values;
	size_t n_values_room;
};

/* 0, or -ENOENT. name need not end in NUL. */
int vmm_seccomp_find_call(const char *name, size_t length, unsigned int *ret_nr);
int vmm_seccomp_find_constant(const char *name, size_t length, uint64_t *ret_value);

/* SECCOMP_RET_... of what a mode does with a denied call. */
uint32_t vmm_seccomp_mode_action(enum vmm_seccomp_mode mode);

#endif
