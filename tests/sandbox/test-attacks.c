/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Code that runs in a worker tries to get out of it: from a thread of each kind, the calls that
 * an attacker would make. In the mode that is shipped each is the end of the process. Without the
 * filter (VMMD_SECCOMP=log) what is left of the sandbox lets none of them reach anything either.
 * And nothing but what a policy names gets past it: every number, and every ioctl of the kinds
 * of descriptors that a worker has.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "../worker/test-worker.h"
#include "base/util.h"
#include "full-machine.h"
#include "inject.h"
#include "policies.h"
#include "threads.h"

/* Below the stack of the stopped thread: what the attack brings with it. */
struct data {
	char host_file[32];
	char device[32];
	char root[8];
	struct sockaddr_un bus;
	uint64_t vector[4];
	uint8_t room[256];
};

/* Stand for addresses in struct data, and for processes: replaced before the call. */
#define AT(member) (UINT64_C(0x5e11000000000000) + offsetof(struct data, member))
#define AT_MASK UINT64_C(0xffffff0000000000)
#define TESTER UINT64_C(0x5e12000000000002) /* a process outside: this one */

struct attack {
	const char *name;
	uint64_t nr;
	uint64_t arguments[6];
	bool is_harmless; /* beyond the filter nothing stops it, as it reaches nothing */
};

#define CALL(call) #call, SYS_##call
#define ME UINT64_MAX /* as a descriptor: none */

/* The kernel's own, for probes of its tracing: it lets them past every filter. */
#define SYS_URETPROBE 335
#define SYS_UPROBE 336

static const struct attack attacks[] = {
	/* Files. */
	{ CALL(openat), { (uint64_t)AT_FDCWD, AT(host_file), O_RDONLY } },
	{ CALL(open), { AT(device), O_RDWR } },
	{ CALL(openat2), { (uint64_t)AT_FDCWD, AT(host_file), AT(room), 24 } },
	{ CALL(creat), { AT(host_file), 0600 } },
	{ CALL(mkdir), { AT(host_file), 0700 } },
	{ CALL(unlink), { AT(host_file) } },
	{ CALL(name_to_handle_at), { (uint64_t)AT_FDCWD, AT(host_file), AT(room), AT(room), 0 } },
	{ CALL(memfd_create), { AT(root), 0 }, true },
	{ CALL(io_uring_setup), { 4, AT(room) }, true },
	{ CALL(io_uring_register), { ME, 0, AT(room), 1 } },
	{ CALL(chroot), { AT(root) } },
	{ CALL(mount), { AT(root), AT(root), AT(root), 0, 0 } },
	{ CALL(unshare), { CLONE_NEWNS } },
	{ CALL(setns), { 0, 0 } },
	/* Sockets. */
	{ CALL(socket), { AF_UNIX, SOCK_STREAM, 0 }, true },
	{ CALL(socketpair), { AF_INET, SOCK_STREAM, 0, AT(room) }, true },
	{ CALL(connect), { ME, AT(bus), sizeof(struct sockaddr_un) } },
	{ CALL(bind), { ME, AT(bus), sizeof(struct sockaddr_un) } },
	{ CALL(listen), { ME, 1 } },
	/* Other processes. */
	{ CALL(ptrace), { PTRACE_ATTACH, TESTER, 0, 0 } },
	{ CALL(process_vm_readv), { TESTER, AT(vector), 1, AT(vector), 1, 0 } },
	{ CALL(process_vm_writev), { TESTER, AT(vector), 1, AT(vector), 1, 0 } },
	{ CALL(kill), { TESTER, SIGKILL } },
	/* That alone is no more than to know that it exists. */
	{ CALL(pidfd_open), { TESTER, 0 }, true },
	{ CALL(pidfd_getfd), { ME, 0, 0 } },
	{ CALL(rt_sigqueueinfo), { TESTER, SIGTERM, AT(room) } },
	{ CALL(prlimit64), { TESTER, 7, 0, AT(room) } },
	/* Programs. */
	{ CALL(fork), { 0 }, true },
	{ CALL(vfork), { 0 }, true },
	{ CALL(clone), { SIGCHLD, 0, 0, 0, 0 }, true },
	{ CALL(clone3), { AT(room), 88 }, true },
	{ CALL(execve), { AT(host_file), 0, 0 } },
	{ CALL(execveat), { (uint64_t)AT_FDCWD, AT(host_file), 0, 0, 0 } },
	/* Code. */
	{ CALL(mmap), { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ME, 0 },
		true },
	{ CALL(mmap),
		{ 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ME },
		true },
	{ CALL(mprotect), { 0, 4096, PROT_EXEC } },
	{ CALL(pkey_mprotect), { 0, 4096, PROT_EXEC, 0 } },
	{ CALL(modify_ldt), { 1, AT(room), 16 }, true },
	/* Descriptors that it has, and what its policy has no rule for. */
	{ CALL(ioctl), { ME, KVM_CREATE_VM, 0 } },
	{ CALL(ioctl), { ME, KVM_SET_USER_MEMORY_REGION, AT(room) } },
	{ CALL(ioctl), { ME, 0x5412 /* TIOCSTI */, AT(room) } },
	{ CALL(ioctl), { ME, 0x400454ca /* TUNSETIFF */, AT(room) } },
	{ CALL(tgkill), { TESTER, TESTER, SIGKILL } },
	/* Rights. */
	{ CALL(setuid), { 0 } },
	{ CALL(setresuid), { 0, 0, 0 } },
	{ CALL(capset), { AT(room), AT(room) } },
	{ CALL(prctl), { PR_SET_DUMPABLE, 1 }, true },
	{ CALL(prctl), { PR_SET_SECCOMP, 1 }, true },
	{ CALL(bpf), { 0, AT(room), 64 } },
	{ CALL(perf_event_open), { AT(room), 0, 0, ME, 0 } },
	{ CALL(keyctl), { 0 }, true },
	{ CALL(userfaultfd), { 0 } },
	{ CALL(iopl), { 3 } },
	{ CALL(reboot), { 0xfee1dead, 672274793, 0x89abcdef, 0 } },
};

static struct inject inject;
static uint64_t data_address;

static void begin(const char *kind, const char *const *environment)
{
	struct data data = { .host_file = "/etc/passwd", .device = "/dev/kvm", .root = "/" };
	pid_t tid;
	int r;

	start_full_machine(environment);
	tid = find_thread(worker.pid, kind);
	ck_assert_msg(tid > 0, "no thread of kind %s", kind);
	r = inject_begin(&inject, worker.pid, tid);
	ck_assert_msg(r == 0, "%s: %s", kind, strerror(-r));
	data.bus.sun_family = AF_UNIX;
	strcpy(data.bus.sun_path, "/run/dbus/system_bus_socket");
	/* Beyond the 128 bytes that code may use below its stack pointer. */
	data_address = (inject.registers.rsp - 2048) & ~UINT64_C(63);
	data.vector[0] = data_address + offsetof(struct data, room);
	data.vector[1] = sizeof(data.room);
	ck_assert_int_eq(inject_write(&inject, data_address, &data, sizeof(data)), 0);
}

static enum inject_result make(const struct attack *attack, int64_t *ret_value)
{
	uint64_t arguments[6];

	for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
		arguments[i] = attack->arguments[i];
		if ((arguments[i] & AT_MASK) == (AT(host_file) & AT_MASK))
			arguments[i] = data_address + (arguments[i] & ~AT_MASK);
		else if (arguments[i] == TESTER)
			arguments[i] = (uint64_t)getpid();
	}
	return inject_call(&inject, attack->nr, arguments, ret_value);
}

START_TEST(each_attack_kills)
{
	const struct attack *attack = &attacks[(size_t)_i % ARRAY_SIZE(attacks)];
	const struct policy_file *file = &policy_files[(size_t)_i / ARRAY_SIZE(attacks)];
	int error = policy_error(file, attack->nr, attack->arguments);
	const char *kind = file->kind;
	enum inject_result result;
	int64_t value = 0;
	pid_t tid;

	begin(kind, NULL);
	tid = inject.tid;
	result = make(attack, &value);
	if (error != 0) {
		ck_assert_msg(
			result == INJECT_RETURNED && value == -error, "%s, %s", kind, attack->name);
		inject_end(&inject);
		return;
	}
	ck_assert_msg(result == INJECT_SIGSYS, "%s, %s: result %d, value %lld", kind, attack->name,
		(int)result, (long long)value);
	inject_end(&inject);
	check_killed(tid);
}
END_TEST

/* Both doors of the kernel into one table of calls that no policy has. */
START_TEST(i386_calls_kill)
{
	enum inject_result result;
	int64_t value = 0;
	pid_t tid;

	begin(policy_files[_i].kind, NULL);
	tid = inject.tid;
	/* getpid of that table: harmless, and allowed to some as 39. */
	result = inject_call_i386(&inject, 20, (const uint64_t[6]){ 0 }, &value);
	ck_assert_msg(
		result == INJECT_SIGSYS, "result %d, value %lld", (int)result, (long long)value);
	inject_end(&inject);
	check_killed(tid);
}
END_TEST

/* What the rest of the sandbox is worth. */
START_TEST(attacks_fail_without_the_filter)
{
	static const char *const environment[] = { "VMMD_SECCOMP=log", NULL };
	const char *kind = policy_files[_i].kind;
	int64_t value;

	begin(kind, environment);
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
		enum inject_result result;

		if (attacks[i].is_harmless)
			continue;
		value = 0;
		result = make(&attacks[i], &value);
		ck_assert_msg(result == INJECT_RETURNED, "%s, %s: %d", kind, attacks[i].name,
			(int)result);
		ck_assert_msg(value < 0 && value > -4096, "%s, %s returned %lld", kind,
			attacks[i].name, (long long)value);
	}
	inject_end(&inject);
}
END_TEST

static void check_denied(
	const struct policy_file *file, uint64_t nr, const uint64_t arguments[6], unsigned int *n)
{
	int error = policy_error(file, nr, arguments);
	enum inject_result result;
	int64_t value = 0;

	if (policy_allows(file, nr, arguments))
		return;
	result = inject_call(&inject, nr, arguments, &value);
	ck_assert_msg(result == INJECT_RETURNED && value == -(error != 0 ? error : EPERM),
		"%s: call %llu (0x%llx, 0x%llx): result %d, value %lld", file->kind,
		(unsigned long long)nr, (unsigned long long)arguments[0],
		(unsigned long long)arguments[1], (int)result, (long long)value);
	++*n;
}

static const char *const as_errno[] = { "VMMD_SECCOMP=errno", NULL };

START_TEST(no_other_call_passes)
{
	static const uint64_t nothing[6] = { ME, ME, ME, ME, ME, ME };
	const struct policy_file *file = &policy_files[_i];
	unsigned int n = 0;

	begin(file->kind, as_errno);
	for (uint64_t nr = 0; nr < 1024; nr++)
		if (nr != SYS_URETPROBE && nr != SYS_UPROBE)
			check_denied(file, nr, nothing, &n);
	inject_end(&inject);
	printf("%s: %u other calls are denied\n", file->kind, n);
	ck_assert_uint_gt(n, 850);
}
END_TEST

START_TEST(no_other_ioctl_passes)
{
	/* The types of KVM, vhost, tap and terminal, block device, socket, file system, loop. */
	static const uint8_t types[] = { 0xae, 0xaf, 0x54, 0x12, 0x89, 'f', 'L', 0 };
	/* Direction and size of the argument, as <linux/kvm.h> and the like have them. */
	static const uint32_t shapes[] = { 0, 0x40080000, 0x80080000 };
	const struct policy_file *file = &policy_files[_i];
	uint64_t arguments[6] = { ME, 0, ME, ME, ME, ME };
	unsigned int n = 0;

	begin(file->kind, as_errno);
	for (size_t type = 0; type < ARRAY_SIZE(types); type++)
		for (size_t shape = 0; shape < ARRAY_SIZE(shapes); shape++)
			for (unsigned int nr = 0; nr < 256; nr++) {
				arguments[1] = shapes[shape] | (uint32_t)types[type] << 8 | nr;
				check_denied(file, SYS_ioctl, arguments, &n);
			}
	inject_end(&inject);
	printf("%s: %u other ioctls are denied\n", file->kind, n);
	ck_assert_uint_gt(n, 6000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-attacks");
	TCase *tcase = unit_case(suite, "attacks");
	int n;

	if (!getenv("POLICY_DIR")) {
		fprintf(stderr, "POLICY_DIR is to name the directory of the policies\n");
		return EXIT_FAILURE;
	}
	policies_load(getenv("POLICY_DIR"));
	n = (int)n_policy_files;
	printf("%zu attacks from %d kinds of threads\n", ARRAY_SIZE(attacks), n);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, each_attack_kills, 0, n * (int)ARRAY_SIZE(attacks));
	tcase_add_loop_test(tcase, i386_calls_kill, 0, n);
	tcase_add_loop_test(tcase, attacks_fail_without_the_filter, 0, n);
	tcase_add_loop_test(tcase, no_other_call_passes, 0, n);
	tcase_add_loop_test(tcase, no_other_ioctl_passes, 0, n);
	return unit_run(suite);
}
