/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Each rule of each policy, in the shipped worker with a machine that runs: a thread of that kind
 * makes the call with arguments that the rule allows, and for each of its conditions with one
 * that it denies. The first comes back with whatever the kernel says to it; the second is the
 * end of the process, by SIGSYS.
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "../worker/test-worker.h"
#include "base/util.h"
#include "full-machine.h"
#include "inject.h"
#include "policies.h"
#include "threads.h"

static size_t allowed[MAX_POLICY_CALLS], ends[MAX_POLICY_CALLS], denied[MAX_POLICY_CALLS];
static size_t n_allowed, n_ends, n_denied;

/* The machine, with a thread of that kind stopped. */
static pid_t begin(struct inject *inject, const struct policy_file *file)
{
	pid_t tid;
	int r;

	start_full_machine(NULL);
	tid = find_thread(worker.pid, file->kind);
	ck_assert_msg(tid > 0,
		"%s.policy: start_full_machine() makes no thread whose name starts with \"%s\"",
		file->kind, file->kind);
	r = inject_begin(inject, worker.pid, tid);
	ck_assert_msg(r == 0, "%s: %s", file->kind, strerror(-r));
	return tid;
}

static void check_returned(enum inject_result result, const struct policy_call *call)
{
	ck_assert_msg(result == INJECT_RETURNED || result == INJECT_BLOCKED, "%s: %s", call->text,
		result == INJECT_SIGSYS ? "denied" : "ended");
}

/* All that a thread may do, one after the other: nothing of it ends the worker. */
START_TEST(each_rule_allows)
{
	const struct policy_file *file = &policy_files[_i];
	struct inject inject;
	unsigned int n = 0;
	int64_t value;

	begin(&inject, file);
	for (size_t i = 0; i < n_allowed; i++) {
		const struct policy_call *call = &policy_calls[allowed[i]];

		if (call->file != file)
			continue;
		check_returned(inject_call(&inject, call->nr, call->arguments, &value), call);
		n++;
	}
	inject_end(&inject);
	ck_assert_uint_gt(n, 0);
}
END_TEST

START_TEST(each_rule_allows_ends)
{
	const struct policy_call *call = &policy_calls[ends[_i]];
	enum inject_result result;
	struct inject inject;
	int64_t value;
	pid_t tid;

	tid = begin(&inject, call->file);
	result = inject_call(&inject, call->nr, call->arguments, &value);
	ck_assert_msg(result == INJECT_ENDED, "%s: %d", call->text, (int)result);
	inject_end(&inject);
	if (tid == worker.pid)
		worker.pid = -1;
}
END_TEST

START_TEST(each_rule_denies)
{
	const struct policy_call *call = &policy_calls[denied[_i]];
	enum inject_result result;
	struct inject inject;
	int64_t value = 0;
	pid_t tid;

	tid = begin(&inject, call->file);
	result = inject_call(&inject, call->nr, call->arguments, &value);
	ck_assert_msg(result == INJECT_SIGSYS, "%s: result %d, value %lld", call->text, (int)result,
		(long long)value);
	inject_end(&inject);
	check_killed(tid);
}
END_TEST

static void sort_calls(void)
{
	for (size_t i = 0; i < n_policy_calls; i++) {
		const struct policy_call *call = &policy_calls[i];

		if (!call->is_allowed)
			denied[n_denied++] = i;
		else if (call->nr == SYS_exit || call->nr == SYS_exit_group)
			ends[n_ends++] = i;
		else
			allowed[n_allowed++] = i;
	}
}

int main(void)
{
	Suite *suite = suite_create("sandbox-rules");
	TCase *tcase = unit_case(suite, "rules");

	if (!getenv("POLICY_DIR")) {
		fprintf(stderr, "POLICY_DIR is to name the directory of the policies\n");
		return EXIT_FAILURE;
	}
	policies_load(getenv("POLICY_DIR"));
	sort_calls();
	printf("%zu policies: %zu allowed calls, %zu denied ones\n", n_policy_files,
		n_allowed + n_ends, n_denied);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, each_rule_allows, 0, (int)n_policy_files);
	tcase_add_loop_test(tcase, each_rule_allows_ends, 0, (int)n_ends);
	tcase_add_loop_test(tcase, each_rule_denies, 0, (int)n_denied);
	return unit_run(suite);
}
