/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <vmmcore/seccomp.h>

#include "base/util.h"
#include "seccomp/policy.h"
#include "unit.h"

static struct sock_filter filter[VMM_SECCOMP_MAX_INSNS];
static int n_filter;

static void compile(const char *text)
{
	struct vmm_seccomp_policy *policy = NULL;
	struct vmm_seccomp_error error = { 0 };

	ck_assert_msg(vmm_seccomp_parse("test", text, strlen(text), &policy, &error) == 0, "%s",
		error.message);
	n_filter = vmm_seccomp_compile(policy, filter, ARRAY_SIZE(filter));
	ck_assert_int_gt(n_filter, 0);
	vmm_seccomp_policy_free(policy);
}

static uint32_t simulate(const struct seccomp_data *call)
{
	uint32_t action = 0;

	ck_assert_int_eq(
		vmm_seccomp_simulate(filter, (size_t)n_filter, VMM_SECCOMP_KILL, call, &action), 0);
	return action;
}

/* What the filter says to a call with argument number index; the others are of no interest. */
static uint32_t ask(long nr, unsigned int index, uint64_t value)
{
	struct seccomp_data call = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64 };

	memset(call.args, 0xa5, sizeof(call.args));
	call.args[index] = value;
	return simulate(&call);
}

#define ALLOW SECCOMP_RET_ALLOW
#define KILL SECCOMP_RET_KILL_PROCESS

START_TEST(only_what_is_named)
{
	compile("read\nwrite # output\n\n  # nothing else\nexit_group");
	for (long nr = 0; nr < 1000; nr++) {
		bool is_named = nr == SYS_read || nr == SYS_write || nr == SYS_exit_group;

		ck_assert_uint_eq(ask(nr, 0, 0), is_named ? ALLOW : KILL);
	}
}
END_TEST

START_TEST(other_architectures_and_x32)
{
	static const enum vmm_seccomp_mode modes[] = { VMM_SECCOMP_KILL, VMM_SECCOMP_LOG,
		VMM_SECCOMP_ERRNO };
	static const uint32_t denied[] = { KILL, SECCOMP_RET_LOG, SECCOMP_RET_ERRNO | EPERM };
	struct seccomp_data call = { .nr = SYS_read, .arch = AUDIT_ARCH_X86_64 };
	uint32_t action;

	compile("read");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		call = (struct seccomp_data){ .nr = SYS_read, .arch = AUDIT_ARCH_X86_64 };
		vmm_seccomp_simulate(filter, (size_t)n_filter, modes[i], &call, &action);
		ck_assert_uint_eq(action, ALLOW);
		call.nr = SYS_write;
		vmm_seccomp_simulate(filter, (size_t)n_filter, modes[i], &call, &action);
		ck_assert_uint_eq(action, denied[i]);
		call.nr = 0x40000000 | SYS_read;
		vmm_seccomp_simulate(filter, (size_t)n_filter, modes[i], &call, &action);
		ck_assert_uint_eq(action, KILL);
		call.nr = -1;
		vmm_seccomp_simulate(filter, (size_t)n_filter, modes[i], &call, &action);
		ck_assert_uint_eq(action, KILL);
		call.nr = SYS_read;
		call.arch = AUDIT_ARCH_I386;
		vmm_seccomp_simulate(filter, (size_t)n_filter, modes[i], &call, &action);
		ck_assert_uint_eq(action, KILL);
	}
}
END_TEST

START_TEST(conditions)
{
	static const struct {
		const char *text;
		unsigned int argument;
		uint64_t allowed[4];
		uint64_t denied[4];
	} cases[] = {
		{ "ioctl: arg1 == 0xae80", 1, { 0xae80, 0xae80, 0xae80, 0xae80 },
			{ 0, 0xae81, 0x10000ae80, UINT64_MAX } },
		{ "ioctl: arg1 == 0x123456789abcdef0", 1,
			{ 0x123456789abcdef0, 0x123456789abcdef0, 0x123456789abcdef0,
				0x123456789abcdef0 },
			{ 0x9abcdef0, 0x1234567800000000, 0x123456799abcdef0, 0 } },
		{ "ioctl: arg1 != 7", 1, { 0, 6, 0x100000007, UINT64_MAX }, { 7, 7, 7, 7 } },
		{ "ioctl: arg2 & 0x4 == 0", 2, { 0, 3, 0xfffffffffffffffb, 8 },
			{ 4, 7, UINT64_MAX, 0x100000004 } },
		{ "ioctl: arg2 & 0xffffffff == 5", 2,
			{ 5, 0x100000005, 0xffffffff00000005, 0x500000005 },
			{ 4, 6, 0, 0x500000000 } },
		{ "ioctl: arg3 & 0xffffffff00000000 == 0x700000000", 3,
			{ 0x700000000, 0x7ffffffff, 0x700000007, 0x712345678 },
			{ 7, 0, 0x800000000, 0x6ffffffff } },
		{ "ioctl: arg3 & 0xffffffff00000000 != 0", 3,
			{ 0x700000000, UINT64_MAX, 0x100000000, 0x8000000000000000 },
			{ 7, 0, 0xffffffff, 1 } },
		{ "ioctl: arg5 in { 3, 1, 0x500000001, 0x500000002 }", 5,
			{ 1, 3, 0x500000001, 0x500000002 },
			{ 2, 0x500000003, 0x100000001, 0x500000000 } },
		{ "ioctl: arg4 & PROT_READ | PROT_WRITE | PROT_EXEC in { PROT_READ,"
		  " PROT_READ|PROT_WRITE , 0}",
			4, { 0, 1, 3, 0xfffffff9 }, { 2, 4, 7, 5 } },
		{ "ioctl: arg0 == 010", 0, { 8, 8, 8, 8 }, { 10, 0, 9, 7 } },
		{ "ioctl: arg0 == 18446744073709551615", 0,
			{ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
			{ 0, UINT32_MAX, UINT64_MAX - 1, INT64_MAX } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		compile(cases[i].text);
		for (size_t j = 0; j < 4; j++) {
			ck_assert_msg(
				ask(SYS_ioctl, cases[i].argument, cases[i].allowed[j]) == ALLOW,
				"%s: %zu", cases[i].text, j);
			ck_assert_msg(ask(SYS_ioctl, cases[i].argument, cases[i].denied[j]) == KILL,
				"%s: %zu", cases[i].text, j);
			ck_assert_uint_eq(ask(SYS_read, 0, cases[i].allowed[j]), KILL);
		}
	}
}
END_TEST

START_TEST(conditions_of_a_rule_all_hold)
{
	struct seccomp_data call = { .nr = SYS_mmap, .arch = AUDIT_ARCH_X86_64 };

	compile("mmap: arg2 & PROT_EXEC == 0 and arg3 == MAP_PRIVATE | MAP_ANONYMOUS and"
		" arg4 & 0xffffffff == 0xffffffff");
	call.args[2] = PROT_READ | PROT_WRITE;
	call.args[3] = MAP_PRIVATE | MAP_ANONYMOUS;
	call.args[4] = UINT64_MAX;
	ck_assert_uint_eq(simulate(&call), ALLOW);
	call.args[4] = 3;
	ck_assert_uint_eq(simulate(&call), KILL);
	call.args[4] = 0xffffffff;
	ck_assert_uint_eq(simulate(&call), ALLOW);
	call.args[3] |= MAP_FIXED;
	ck_assert_uint_eq(simulate(&call), KILL);
	call.args[3] = MAP_PRIVATE | MAP_ANONYMOUS;
	call.args[2] |= PROT_EXEC;
	ck_assert_uint_eq(simulate(&call), KILL);
}
END_TEST

START_TEST(first_rule_that_holds_decides)
{
	compile("ioctl: arg1 == 1 -> errno EINVAL\n"
		"ioctl: arg1 in { 1, 2 }\n"
		"ioctl: arg1 == 3 -> deny\n"
		"ioctl: arg1 == 4 -> kill\n"
		"ioctl: arg1 & 4 == 0 -> log\n"
		"socket -> errno EAFNOSUPPORT\n"
		"ptrace -> errno 4095\n"
		"ioctl: arg1 == 7 -> allow\n"
		"execve -> deny\n");
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 1), SECCOMP_RET_ERRNO | EINVAL);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 2), ALLOW);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 3), KILL);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 4), KILL);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 0), SECCOMP_RET_LOG);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 7), ALLOW);
	ck_assert_uint_eq(ask(SYS_ioctl, 1, 15), KILL);
	ck_assert_uint_eq(ask(SYS_socket, 0, 1), SECCOMP_RET_ERRNO | EAFNOSUPPORT);
	ck_assert_uint_eq(ask(SYS_ptrace, 0, 1), SECCOMP_RET_ERRNO | 4095);
	ck_assert_uint_eq(ask(SYS_execve, 0, 1), KILL);
}
END_TEST

/* "kill" kills in each mode, "deny" does what the mode does. */
START_TEST(deny_follows_the_mode)
{
	struct seccomp_data call = { .arch = AUDIT_ARCH_X86_64 };
	uint32_t action;

	compile("execve -> deny\nptrace -> kill\n");
	call.nr = SYS_execve;
	vmm_seccomp_simulate(filter, (size_t)n_filter, VMM_SECCOMP_LOG, &call, &action);
	ck_assert_uint_eq(action, SECCOMP_RET_LOG);
	call.nr = SYS_ptrace;
	vmm_seccomp_simulate(filter, (size_t)n_filter, VMM_SECCOMP_LOG, &call, &action);
	ck_assert_uint_eq(action, KILL);
}
END_TEST

/* Sizes at which jumps grow longer than BPF's 255. */
START_TEST(sets_and_rules_beyond_the_reach_of_a_jump)
{
	static char text[200000];
	int n_rules = 40;
	size_t at = 0;

	for (int rule = 0; rule < n_rules; rule++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "ioctl: arg1 in {");
		for (int i = 0; i < 60; i++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s0x%x%08x",
				i ? "," : "", rule % 3, (rule * 60 + i) * 16);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "} -> errno %d\n", rule + 1);
	}
	at += (size_t)snprintf(text + at, sizeof(text) - at, "read\nwrite\n");
	compile(text);
	for (int rule = 0; rule < n_rules; rule++) {
		for (int i = 0; i < 60; i++) {
			uint64_t value =
				(uint64_t)(rule % 3) << 32 | (uint64_t)((rule * 60 + i) * 16);

			ck_assert_uint_eq(
				ask(SYS_ioctl, 1, value), SECCOMP_RET_ERRNO | (uint32_t)(rule + 1));
			ck_assert_uint_eq(ask(SYS_ioctl, 1, value + 1), KILL);
			ck_assert_uint_eq(ask(SYS_ioctl, 1, value | UINT64_C(8) << 32), KILL);
		}
	}
	ck_assert_uint_eq(ask(SYS_read, 1, 0), ALLOW);
	ck_assert_uint_eq(ask(SYS_write, 1, 0), ALLOW);
	ck_assert_uint_eq(ask(SYS_open, 1, 0), KILL);
}
END_TEST

/*
 * Bodies of any length, of the call with the highest number or with the lowest, so that each
 * distance around the limit is jumped, also while the other target is far, too.
 */
START_TEST(jumps_of_each_length)
{
	static const struct {
		const char *name;
		long nr;
	} calls[] = { { "ioctl", SYS_ioctl }, { "read", SYS_read } };
	static char text[32768];

	for (int n_values = 1; n_values <= 300; n_values++) {
		size_t at = 0;

		for (int i = 0; i < n_values; i++) {
			if (i % 60 == 0)
				at += (size_t)snprintf(text + at, sizeof(text) - at,
					"%s: arg1 & 0xffff in {", calls[_i].name);
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%d%s", 2 * i,
				i % 60 == 59 || i == n_values - 1 ? "}\n" : ",");
		}
		snprintf(text + at, sizeof(text) - at, "%s\nwrite\nlseek: arg0 == 3\n",
			calls[!_i].name);
		compile(text);
		for (int i = 0; i < 310; i++)
			ck_assert_uint_eq(
				ask(calls[_i].nr, 1, 2 * (uint64_t)i), i < n_values ? ALLOW : KILL);
		ck_assert_uint_eq(ask(calls[_i].nr, 1, 1), KILL);
		ck_assert_uint_eq(ask(calls[!_i].nr, 1, 1), ALLOW);
		ck_assert_uint_eq(ask(SYS_write, 0, 2), ALLOW);
		ck_assert_uint_eq(ask(SYS_lseek, 0, 3), ALLOW);
		ck_assert_uint_eq(ask(SYS_lseek, 0, 2), KILL);
		ck_assert_uint_eq(ask(SYS_open, 0, 2), KILL);
	}
}
END_TEST

START_TEST(every_call_there_is)
{
	static char text[65536];
	size_t at = 0;
	unsigned int n = 0;

	for (unsigned int nr = 0; nr < 1000; nr++) {
		const char *name = vmm_seccomp_call_name(nr);

		if (!name)
			continue;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s: arg0 != 7\n", name);
		n++;
	}
	ck_assert_uint_gt(n, 300);
	ck_assert_str_eq(vmm_seccomp_call_name(SYS_seccomp), "seccomp");
	compile(text);
	for (unsigned int nr = 0; nr < 1000; nr++) {
		bool is_call = vmm_seccomp_call_name(nr);

		ck_assert_uint_eq(ask(nr, 0, 6), is_call ? ALLOW : KILL);
		ck_assert_uint_eq(ask(nr, 0, 7), KILL);
	}
}
END_TEST

START_TEST(too_long_for_the_kernel)
{
	static char text[VMM_SECCOMP_MAX_TEXT_BYTES];
	struct vmm_seccomp_policy *policy = NULL;
	struct sock_filter small[8];
	size_t at = 0;

	for (int rule = 0; rule < 100; rule++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "ioctl: arg1 in {");
		for (int i = 0; i < 64; i++)
			at += (size_t)snprintf(
				text + at, sizeof(text) - at, "%s%d", i ? "," : "", rule * 64 + i);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "}\n");
	}
	ck_assert_int_eq(vmm_seccomp_parse("test", text, at, &policy, NULL), 0);
	ck_assert_int_eq(vmm_seccomp_compile(policy, filter, ARRAY_SIZE(filter)), -E2BIG);
	vmm_seccomp_policy_free(policy);
	ck_assert_int_eq(vmm_seccomp_parse("test", "read\nwrite", 10, &policy, NULL), 0);
	ck_assert_uint_eq(vmm_seccomp_policy_n_calls(policy), 2);
	ck_assert_int_eq(vmm_seccomp_compile(policy, small, ARRAY_SIZE(small)), -E2BIG);
	ck_assert_ptr_null(vmm_seccomp_policy_free(policy));
	ck_assert_ptr_null(vmm_seccomp_policy_free(NULL));
}
END_TEST

START_TEST(errors_name_file_line_and_reason)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{ "", "p: there is no rule: no call would be allowed" },
		{ "# only this\n", "p: there is no rule: no call would be allowed" },
		{ "read\nraed\n", "p:2: unknown system call \"raed\"" },
		{ "read write", "p:1: expected the end of the line, not \"write\"" },
		{ "read:", "p:1: expected arg0 to arg5 at the end of the line" },
		{ "read: fd == 1", "p:1: expected arg0 to arg5, not \"fd\"" },
		{ "read: arg6 == 1", "p:1: expected arg0 to arg5, not \"arg6\"" },
		{ "read: arg0", "p:1: expected \"==\", \"!=\" or \"in\" at the end of the line" },
		{ "read: arg0 = 1", "p:1: unexpected character '='" },
		{ "read: arg0 < 1", "p:1: unexpected character '<'" },
		{ "read: arg0 ==", "p:1: expected a number or constant at the end of the line" },
		{ "\n\nread: arg0 == FOO", "p:3: unknown constant \"FOO\"" },
		{ "read: arg0 == 0x", "p:1: \"0x\" is not a number" },
		{ "read: arg0 == 12a", "p:1: \"12a\" is not a number" },
		{ "read: arg0 == 09", "p:1: \"09\" is not a number" },
		{ "read: arg0 == 18446744073709551616",
			"p:1: \"18446744073709551616\" does not fit into 64 bits" },
		{ "read: arg0 == 0x10000000000000000",
			"p:1: \"0x10000000000000000\" does not fit into 64 bits" },
		{ "read: arg0 & 0 == 0", "p:1: a mask of 0 leaves nothing to compare" },
		{ "read: arg0 & 1 == 2",
			"p:1: 0x2 can never be: the mask 0x1 takes bits of it away" },
		{ "read: arg0 in 1", "p:1: expected \"{\", not \"1\"" },
		{ "read: arg0 in {}", "p:1: expected a number or constant, not \"}\"" },
		{ "read: arg0 in {1", "p:1: expected \",\" or \"}\" at the end of the line" },
		{ "read: arg0 in {1,1}", "p:1: 0x1 stands twice in a set" },
		{ "read: arg0 == 1 |",
			"p:1: expected a number or constant at the end of the line" },
		{ "read: arg0 == 1 and", "p:1: expected arg0 to arg5 at the end of the line" },
		{ "read: arg0 == 1 or", "p:1: expected the end of the line, not \"or\"" },
		{ "read ->", "p:1: expected an action (allow, deny, kill, log, errno) at the end of"
			     " the line" },
		{ "read -> trap",
			"p:1: expected an action (allow, deny, kill, log, errno), not \"trap\"" },
		{ "read -> errno 0", "p:1: 0 is no errno" },
		{ "read -> errno 4096", "p:1: 4096 is no errno" },
		{ "read\nwrite\nread: arg0 == 1",
			"p:3: never reached: line 1 decides each such call" },
		{ ": arg0 == 1", "p:1: expected a system call, not \":\"" },
		{ "r\xc3\xa9"
		  "ad",
			"p:1: unknown system call \"r\"" },
		{ "\xff", "p:1: unexpected byte 0xff" },
		{ "read\r\n", "p:1: unexpected byte 0x0d" },
		{ "read # a\x1b[31m", "p:1: control byte 0x1b in a comment" },
		{ "an_overlong_name_of_a_call_that_goes_on_and_on_and_on",
			"p:1: unknown system call \"an_overlong_name_of_a_call_that_goes_on_\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_seccomp_policy *policy = NULL;
		struct vmm_seccomp_error error = { 0 };

		ck_assert_msg(vmm_seccomp_parse("p", cases[i].text, strlen(cases[i].text), &policy,
				      &error) == -EINVAL,
			"%s", cases[i].text);
		ck_assert_str_eq(error.message, cases[i].message);
		ck_assert_ptr_null(policy);
		ck_assert_int_eq(
			vmm_seccomp_parse("p", cases[i].text, strlen(cases[i].text), &policy, NULL),
			-EINVAL);
	}
}
END_TEST

START_TEST(limits)
{
	static char text[VMM_SECCOMP_MAX_TEXT_BYTES + 2];
	struct vmm_seccomp_policy *policy = NULL;
	struct vmm_seccomp_error error;
	size_t at;

	ck_assert_int_eq(vmm_seccomp_parse("p", "read\0", 5, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p:1: unexpected byte 0x00");
	ck_assert_int_eq(vmm_seccomp_parse("p", "read #\0", 7, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p:1: control byte 0x00 in a comment");

	memset(text, '\n', sizeof(text));
	memcpy(text, "read", 4);
	ck_assert_int_eq(vmm_seccomp_parse("p", text, sizeof(text) - 1, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p: longer than 262144 bytes");
	ck_assert_int_eq(vmm_seccomp_parse("p", text, sizeof(text) - 2, &policy, &error), 0);
	policy = vmm_seccomp_policy_free(policy);

	at = 0;
	for (int i = 0; i <= VMM_SECCOMP_MAX_RULES; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "read: arg0 == %d\n", i);
	ck_assert_int_eq(vmm_seccomp_parse("p", text, at, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p:513: more than 512 rules");

	at = (size_t)snprintf(text, sizeof(text), "read: arg0 == 0");
	for (int i = 0; i < VMM_SECCOMP_MAX_CONDITIONS; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " and arg0 == 0");
	ck_assert_int_eq(vmm_seccomp_parse("p", text, at, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p:1: more than 8 conditions");

	at = (size_t)snprintf(text, sizeof(text), "read: arg0 in { 0");
	for (int i = 1; i <= VMM_SECCOMP_MAX_VALUES; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, ", %d", i);
	ck_assert_int_eq(vmm_seccomp_parse("p", text, at, &policy, &error), -EINVAL);
	ck_assert_str_eq(error.message, "p:1: more than 64 values in a set");

	/* A name of any length. */
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(vmm_seccomp_parse(text, "raed", 4, &policy, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.message, ":1: unknown system call \"raed\""));
}
END_TEST

START_TEST(simulator_refuses_what_is_no_filter)
{
	static const struct {
		struct sock_filter insns[2];
	} cases[] = {
		{ { { BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
			{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 } } },
		{ { { BPF_LD | BPF_W | BPF_ABS, 0, 0, 2 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_LD | BPF_W | BPF_ABS, 0, 0, 64 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_LD | BPF_W | BPF_ABS, 0, 0, UINT32_MAX - 3 },
			{ BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_JMP | BPF_JA, 0, 0, 1 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_JMP | BPF_JA, 0, 0, UINT32_MAX }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_LDX | BPF_IMM, 0, 0, 0 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
		{ { { BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0 }, { BPF_RET | BPF_K, 0, 0, 0 } } },
	};
	struct seccomp_data call = { 0 };
	uint32_t action;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ck_assert_int_eq(
			vmm_seccomp_simulate(cases[i].insns, 2, VMM_SECCOMP_KILL, &call, &action),
			-EINVAL);
	ck_assert_int_eq(vmm_seccomp_simulate(filter, VMM_SECCOMP_MAX_INSNS + 1, VMM_SECCOMP_KILL,
				 &call, &action),
		-EINVAL);
}
END_TEST

/* The kernel's own opinion, in children. */

#define CHILD_CALLS "write\nexit_group\nrt_sigreturn\nsched_yield: arg5 != 7\n"

static void install(enum vmm_seccomp_mode mode, bool all_threads)
{
	if (vmm_seccomp_install(filter, (size_t)n_filter, mode, all_threads) != 0)
		_exit(100);
}

static int child_status(void (*child)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		child();
		syscall(SYS_exit_group, 101);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void call_denied(void)
{
	install(VMM_SECCOMP_KILL, false);
	syscall(SYS_getppid);
}

static void call_denied_argument(void)
{
	install(VMM_SECCOMP_KILL, false);
	if (syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 6) != 0)
		syscall(SYS_exit_group, 1);
	syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 7);
}

static void call_allowed(void)
{
	install(VMM_SECCOMP_KILL, false);
	syscall(SYS_exit_group, syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0) == 0 ? 0 : 1);
}

static void call_logged(void)
{
	pid_t parent = getppid();

	install(VMM_SECCOMP_LOG, false);
	syscall(SYS_exit_group, syscall(SYS_getppid) == parent ? 0 : 1);
}

static void call_with_errno(void)
{
	install(VMM_SECCOMP_ERRNO, false);
	syscall(SYS_exit_group, syscall(SYS_getppid) == -1 && errno == EPERM ? 0 : 1);
}

static void call_from_x86_32(void)
{
	int nr = 20; /* getpid() of i386 */

	install(VMM_SECCOMP_LOG, false);
	__asm__ volatile("int $0x80" : "+a"(nr) : : "memory", "r8", "r9", "r10", "r11");
}

static void *other_thread(void *userdata)
{
	int *fds = userdata;
	char byte;

	if (read(fds[0], &byte, 1) == 1)
		syscall(SYS_getppid);
	syscall(SYS_exit_group, 1);
	return NULL;
}

static void call_in_other_thread(void)
{
	static int fds[2];
	pthread_t thread;

	if (pipe(fds) < 0 || pthread_create(&thread, NULL, other_thread, fds) != 0)
		_exit(100);
	install(VMM_SECCOMP_KILL, true);
	if (write(fds[1], "x", 1) != 1)
		_exit(100);
	for (;;)
		sched_yield();
}

START_TEST(installed_filters)
{
	static const struct {
		void (*child)(void);
		int signal; /* by which it ends; 0: it exits by itself with status 0 */
	} cases[] = {
		{ call_denied, SIGSYS },
		{ call_denied_argument, SIGSYS },
		{ call_allowed, 0 },
		{ call_logged, 0 },
		{ call_with_errno, 0 },
		{ call_from_x86_32, SIGSYS },
		{ call_in_other_thread, SIGSYS },
	};
	int status;

	compile(CHILD_CALLS);
	status = child_status(cases[_i].child);
	if (cases[_i].signal) {
		ck_assert_msg(WIFSIGNALED(status), "status 0x%x", (unsigned int)status);
		ck_assert_int_eq(WTERMSIG(status), cases[_i].signal);
	} else {
		ck_assert_msg(WIFEXITED(status), "status 0x%x", (unsigned int)status);
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
}
END_TEST

START_TEST(not_a_filter_is_not_installed)
{
	compile("read");
	ck_assert_int_eq(vmm_seccomp_install(filter, 0, VMM_SECCOMP_KILL, false), -EINVAL);
	ck_assert_int_eq(
		vmm_seccomp_install(filter, VMM_SECCOMP_MAX_INSNS + 1, VMM_SECCOMP_KILL, false),
		-EINVAL);
	/* Cut off: the last instruction is not the denial. */
	ck_assert_int_eq(vmm_seccomp_install(filter, (size_t)n_filter - 1, VMM_SECCOMP_KILL, false),
		-EINVAL);
	ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("seccomp");
	TCase *tcase = unit_case(suite, "policies");

	tcase_add_test(tcase, only_what_is_named);
	tcase_add_test(tcase, other_architectures_and_x32);
	tcase_add_test(tcase, conditions);
	tcase_add_test(tcase, conditions_of_a_rule_all_hold);
	tcase_add_test(tcase, first_rule_that_holds_decides);
	tcase_add_test(tcase, deny_follows_the_mode);
	tcase_add_test(tcase, sets_and_rules_beyond_the_reach_of_a_jump);
	tcase_add_loop_test(tcase, jumps_of_each_length, 0, 2);
	tcase_add_test(tcase, every_call_there_is);
	tcase_add_test(tcase, too_long_for_the_kernel);

	tcase = unit_case(suite, "errors");
	tcase_add_test(tcase, errors_name_file_line_and_reason);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, simulator_refuses_what_is_no_filter);

	tcase = unit_case(suite, "kernel");
	tcase_add_loop_test(tcase, installed_filters, 0, 7);
	tcase_add_test(tcase, not_a_filter_is_not_installed);
	return unit_run(suite);
}
