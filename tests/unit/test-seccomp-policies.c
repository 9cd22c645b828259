/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The policies of policy/seccomp, as they are built into the worker: limits, reasons, and each
 * rule once with arguments that it allows and once for each of its conditions with one that it
 * does not. What no thread may ever do is listed apart from the policies.
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "policy/seccomp/io-filter.h"
#include "policy/seccomp/loop-filter.h"
#include "policy/seccomp/net-filter.h"
#include "policy/seccomp/plug-filter.h"
#include "policy/seccomp/vcpu-filter.h"
#include "policy/seccomp/vhost-filter.h"
#include "policy/seccomp/vsock-filter.h"
#include "seccomp/policy.h"
#include "unit.h"

static const struct {
	const char *name;
	const struct sock_filter *filter;
	size_t n_filter;
	size_t max_calls;
} policies[] = {
	{ "loop", seccomp_loop, ARRAY_SIZE(seccomp_loop), 40 },
	{ "vcpu", seccomp_vcpu, ARRAY_SIZE(seccomp_vcpu), 20 },
	{ "io", seccomp_io, ARRAY_SIZE(seccomp_io), 40 },
	{ "net", seccomp_net, ARRAY_SIZE(seccomp_net), 30 },
	{ "plug", seccomp_plug, ARRAY_SIZE(seccomp_plug), 64 },
	{ "vsock", seccomp_vsock, ARRAY_SIZE(seccomp_vsock), 30 },
	{ "vhost", seccomp_vhost, ARRAY_SIZE(seccomp_vhost), 30 },
};

static char text[VMM_SECCOMP_MAX_TEXT_BYTES];
static size_t text_length;
static struct vmm_seccomp_policy *policy;

static void load(int index)
{
	struct vmm_seccomp_error error;
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.policy", getenv("POLICY_DIR"), policies[index].name);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%s", path);
	text_length = fread(text, 1, sizeof(text), file);
	fclose(file);
	ck_assert_msg(
		vmm_seccomp_parse(policies[index].name, text, text_length, &policy, &error) == 0,
		"%s", error.message);
}

static void teardown(void)
{
	policy = vmm_seccomp_policy_free(policy);
}

static uint32_t ask(int index, const struct seccomp_data *call)
{
	uint32_t action;

	ck_assert_int_eq(vmm_seccomp_simulate(policies[index].filter, policies[index].n_filter,
				 VMM_SECCOMP_KILL, call, &action),
		0);
	return action;
}

START_TEST(built_from_this_text_within_its_limits)
{
	static struct sock_filter filter[VMM_SECCOMP_MAX_INSNS];
	int n;

	load(_i);
	n = vmm_seccomp_compile(policy, filter, ARRAY_SIZE(filter));
	ck_assert_int_eq(n, (int)policies[_i].n_filter);
	ck_assert_mem_eq(filter, policies[_i].filter, (size_t)n * sizeof(filter[0]));
	ck_assert_uint_le(vmm_seccomp_policy_n_calls(policy), policies[_i].max_calls);
	printf("%s: %zu calls, %zu rules, %d instructions\n", policies[_i].name,
		vmm_seccomp_policy_n_calls(policy), vmm_seccomp_policy_n_rules(policy), n);
}
END_TEST

START_TEST(no_policy_is_left_out)
{
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*.policy", getenv("POLICY_DIR"));
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	ck_assert_uint_eq(found.gl_pathc, ARRAY_SIZE(policies));
	globfree(&found);
}
END_TEST

START_TEST(each_rule_has_its_reason)
{
	const char *line = text, *end;

	load(_i);
	for (; line < text + text_length; line = end + 1) {
		const char *reason;

		end = memchr(line, '\n', text_length - (size_t)(line - text));
		ck_assert_ptr_nonnull(end);
		if (line == end || *line == '#')
			continue;
		reason = memchr(line, '#', (size_t)(end - line));
		ck_assert_msg(
			reason && end - reason > 6, "no reason: %.*s", (int)(end - line), line);
	}
}
END_TEST

/* A call that satisfies the rule. */
static struct seccomp_data satisfy(const struct seccomp_rule *rule)
{
	struct seccomp_data call = { .nr = (int)rule->nr, .arch = AUDIT_ARCH_X86_64 };

	for (size_t i = 0; i < rule->n_conditions; i++) {
		const struct seccomp_condition *condition = &rule->conditions[i];

		ck_assert_int_eq(condition->comparison, SECCOMP_IN);
		call.args[condition->argument] = policy->values[condition->first_value];
	}
	return call;
}

/* Values that look like the allowed one and are not: bit by bit, as far as the mask goes. */
static void violate(int index, const struct seccomp_rule *rule, size_t number)
{
	const struct seccomp_condition *condition = &rule->conditions[number];
	struct seccomp_data call = satisfy(rule);
	unsigned int n_denied = 0, n_compared = 0;

	for (unsigned int bit = 0; bit < 64; bit++) {
		struct seccomp_data changed = call;

		changed.args[condition->argument] ^= UINT64_C(1) << bit;
		if (!(condition->mask >> bit & 1)) {
			ck_assert_uint_eq(ask(index, &changed), SECCOMP_RET_ALLOW);
			continue;
		}
		n_compared++;
		n_denied += ask(index, &changed) == SECCOMP_RET_KILL_PROCESS;
	}
	/* One bit off may be another value of the set, or what another rule allows. */
	ck_assert_uint_gt(n_denied, 0);
	ck_assert_uint_ge(n_denied + 4, n_compared);
}

START_TEST(each_rule_allows_and_denies)
{
	load(_i);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct seccomp_rule *rule = &policy->rules[i];
		struct seccomp_data call = satisfy(rule);

		/* Only one is refused in a way that its caller can live with. */
		ck_assert_uint_eq(rule->action,
			rule->nr == SYS_clone3 ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_ALLOW);
		ck_assert_msg(ask(_i, &call) == rule->action, "line %u", rule->line);
		for (size_t j = 0; j < rule->n_conditions; j++)
			violate(_i, rule, j);
	}
	for (int nr = 0; nr < 1024; nr++) {
		struct seccomp_data call = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };
		bool is_named = false;

		for (size_t i = 0; i < policy->n_rules; i++)
			is_named |= policy->rules[i].nr == (unsigned int)nr;
		if (!is_named)
			ck_assert_uint_eq(ask(_i, &call), SECCOMP_RET_KILL_PROCESS);
	}
}
END_TEST

START_TEST(never_in_any_thread)
{
	static const int calls[] = { SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_execve,
		SYS_execveat, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3, SYS_socket, SYS_connect,
		SYS_bind, SYS_listen, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
		SYS_io_uring_setup, SYS_io_uring_register, SYS_mprotect, SYS_pkey_mprotect,
		SYS_memfd_create, SYS_shmat, SYS_mount, SYS_unshare, SYS_setns, SYS_bpf,
		SYS_perf_event_open, SYS_keyctl, SYS_kill, SYS_pidfd_open, SYS_pidfd_getfd,
		SYS_pidfd_send_signal, SYS_seccomp, SYS_prctl, SYS_personality, SYS_modify_ldt,
		SYS_userfaultfd, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_chroot,
		SYS_setuid, SYS_capset, SYS_prlimit64, SYS_sendmmsg, SYS_arch_prctl };
	static const struct seccomp_data arguments[] = {
		{ .nr = SYS_mmap, .args = { 0, 4096, PROT_READ | PROT_EXEC, 0x22, -1ULL, 0 } },
		{ .nr = SYS_mmap, .args = { 0, 4096, 7, 0x22, -1ULL, 0 } },
		{ .nr = SYS_mmap, .args = { 0, 4096, 3, MAP_SHARED, 3, 0 } },
		{ .nr = SYS_mmap, .args = { 4096, 4096, 3, 0x22 | MAP_FIXED, -1ULL, 0 } },
		{ .nr = SYS_ioctl, .args = { 3, KVM_CREATE_VM, 0 } },
		{ .nr = SYS_ioctl, .args = { 3, KVM_CREATE_VCPU, 0 } },
		{ .nr = SYS_ioctl, .args = { 3, KVM_SET_USER_MEMORY_REGION, 0 } },
		{ .nr = SYS_ioctl, .args = { 3, KVM_SET_MSRS, 0 } },
		{ .nr = SYS_ioctl, .args = { 0, 0x5412 /* TIOCSTI */, 0 } },
		{ .nr = SYS_ioctl, .args = { 3, 0x400454ca /* TUNSETIFF */, 0 } },
		{ .nr = SYS_fcntl, .args = { 3, F_SETOWN, 1 } },
		{ .nr = SYS_fcntl, .args = { 3, F_SETLKW, 1 } },
		{ .nr = SYS_tgkill, .args = { 1, 1, 9 } },
		{ .nr = SYS_tgkill, .args = { 1, 1, 0x100000009 } },
		{ .nr = SYS_recvmsg, .args = { 3, 0, 0 } },
		{ .nr = SYS_sendto, .args = { 3, 0, 0, 0x4000, 0x1000, 16 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct seccomp_data call = { .nr = calls[i], .arch = AUDIT_ARCH_X86_64 };

		/* With no flags: a thread may be made by one kind of thread, a process by none. */
		ck_assert_msg(ask(_i, &call) != SECCOMP_RET_ALLOW, "call %d", calls[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
		struct seccomp_data call = arguments[i];

		call.arch = AUDIT_ARCH_X86_64;
		ck_assert_msg(ask(_i, &call) == SECCOMP_RET_KILL_PROCESS, "case %zu", i);
	}
}
END_TEST

/* Threads that are made while the guest runs can do what those from the start can. */
START_TEST(what_threads_need_is_in_their_makers)
{
	int plug = -1;

	for (int i = 0; i < (int)ARRAY_SIZE(policies); i++)
		if (strcmp(policies[i].name, "plug") == 0)
			plug = i;
	ck_assert_int_ge(plug, 0);
	if (strcmp(policies[_i].name, "io") != 0 && strcmp(policies[_i].name, "net") != 0)
		return;
	load(_i);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct seccomp_rule *rule = &policy->rules[i];
		struct seccomp_data call = satisfy(rule);

		/* Each value of a set, of the one condition that has several. */
		for (size_t j = 0; j < rule->n_conditions; j++) {
			const struct seccomp_condition *condition = &rule->conditions[j];

			for (size_t k = 0; k < condition->n_values; k++) {
				call.args[condition->argument] =
					policy->values[condition->first_value + k];
				ck_assert_msg(ask(plug, &call) == SECCOMP_RET_ALLOW, "%s: line %u",
					policies[_i].name, rule->line);
			}
		}
		ck_assert_msg(ask(plug, &call) == SECCOMP_RET_ALLOW, "%s: line %u",
			policies[_i].name, rule->line);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("seccomp-policies");
	TCase *tcase = unit_case(suite, "policies");
	int n = (int)ARRAY_SIZE(policies);

	if (!getenv("POLICY_DIR")) {
		fprintf(stderr, "POLICY_DIR is to name the directory of the policies\n");
		return EXIT_FAILURE;
	}
	tcase_add_checked_fixture(tcase, NULL, teardown);
	tcase_add_loop_test(tcase, built_from_this_text_within_its_limits, 0, n);
	tcase_add_test(tcase, no_policy_is_left_out);
	tcase_add_loop_test(tcase, each_rule_has_its_reason, 0, n);
	tcase_add_loop_test(tcase, each_rule_allows_and_denies, 0, n);
	tcase_add_loop_test(tcase, never_in_any_thread, 0, n);
	tcase_add_loop_test(tcase, what_threads_need_is_in_their_makers, 0, n);
	return unit_run(suite);
}
