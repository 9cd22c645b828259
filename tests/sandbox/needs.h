/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * needs: which rules of the policies are needed by what runs. A rule with a set of values counts as
 * one rule for each. Those that only what no test does needs are in a file, with the reason:
 *
 *	loop: tgkill: arg2 & 0xffffffff == SIGABRT      # a failed assertion
 */
#ifndef VMM_TESTS_SANDBOX_NEEDS_H
#define VMM_TESTS_SANDBOX_NEEDS_H

#include "policies.h"

/* After policies_load(directory). Ends the program where a file is not right. */
void needs_load(const char *directory, const char *reasons_path);

/* A call that this file's filter decided about. */
void needs_count(const struct policy_file *file, uint64_t nr, const uint64_t arguments[6]);

/* Prints what was never needed; false where a rule among them has no reason. */
bool needs_report(void);

#endif
