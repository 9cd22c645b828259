/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* inject: see inject.h. */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

#define PATIENCE_USEC 1000000
#define STEP_USEC 500
#define N_YIELDS 100

/* The kernel's own results of a call that a signal interrupted. */
#define RESTART_SYS 512
#define RESTART_NO_INTR 513
#define RESTART_NO_HAND 514
#define RESTART_BLOCK 516

static int move(struct inject *inject, uint64_t address, void *data, size_t size, bool is_write)
{
	CLEANUP(close_p) int fd = -EBADF;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/mem", inject->pid);
	fd = open(path, (is_write ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = is_write ? pwrite(fd, data, size, (off_t)address)
		     : pread(fd, data, size, (off_t)address);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}

int inject_read(struct inject *inject, uint64_t address, void *data, size_t size)
{
	return move(inject, address, data, size, false);
}

int inject_write(struct inject *inject, uint64_t address, const void *data, size_t size)
{
	return move(inject, address, (void *)data, size, true);
}

/* Somewhere in its code is the instruction that does what this is about. */
static int find_instruction(struct inject *inject)
{
	static uint8_t code[64 << 10];
	unsigned long long first, last;
	char path[64], line[512], rights[8];
	FILE *file;
	int r = -ENOENT;

	snprintf(path, sizeof(path), "/proc/%d/maps", inject->pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (r < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx-%llx %7s", &first, &last, rights) != 3 || rights[2] != 'x' ||
			strstr(line, "[vsyscall]"))
			continue;
		for (; r < 0 && first < last; first += sizeof(code)) {
			size_t size = MIN(sizeof(code), (size_t)(last - first));
			const uint8_t *found;

			if (inject_read(inject, first, code, size) < 0)
				break;
			found = memmem(code, size, "\x0f\x05", 2);
			if (found) {
				inject->syscall_address = first + (uint64_t)(found - code);
				r = 0;
			}
		}
	}
	fclose(file);
	return r;
}

/* As the kernel does it on the way out, which is not taken any more once registers are set. */
static void restart_call(struct user_regs_struct *registers)
{
	switch (-(int64_t)registers->rax) {
	case RESTART_SYS:
	case RESTART_NO_INTR:
	case RESTART_NO_HAND:
		registers->rip -= 2;
		registers->rax = registers->orig_rax;
		break;
	case RESTART_BLOCK:
		registers->rax = (uint64_t)-EINTR;
		break;
	default:
		break;
	}
	registers->orig_rax = UINT64_MAX;
}

/* Waits for a change of the thread; 0: none came in time. */
static int await(struct inject *inject, int *ret_status)
{
	for (int i = 0; i < N_YIELDS + PATIENCE_USEC / STEP_USEC; i++) {
		pid_t pid = waitpid(inject->tid, ret_status, __WALL | WNOHANG);

		if (pid != 0)
			return pid < 0 ? -errno : 1;
		/* Most calls take no time. */
		if (i < N_YIELDS)
			sched_yield();
		else
			usleep(STEP_USEC);
	}
	return 0;
}

static int stop(struct inject *inject)
{
	int status, r;

	if (ptrace(PTRACE_INTERRUPT, inject->tid, NULL, NULL) < 0)
		return -errno;
	r = await(inject, &status);
	if (r <= 0)
		return r < 0 ? r : -ETIMEDOUT;
	if (!WIFSTOPPED(status)) {
		inject->tid = 0;
		return -ESRCH;
	}
	inject->is_stopped = true;
	return 0;
}

int inject_begin(struct inject *inject, pid_t pid, pid_t tid)
{
	int r;

	*inject = (struct inject){ .pid = pid, .tid = tid };
	if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)(PTRACE_O_TRACESYSGOOD)) < 0)
		return -errno;
	r = stop(inject);
	if (r < 0)
		return r;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &inject->registers) < 0)
		return -errno;
	if ((int64_t)inject->registers.orig_rax >= 0)
		restart_call(&inject->registers);
	return find_instruction(inject);
}

static enum inject_result result_of_end(struct inject *inject, int status)
{
	inject->is_stopped = false;
	inject->tid = 0;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? INJECT_SIGSYS : INJECT_ENDED;
}

/*
 * The kernel reports the end of a call that a filter denied as it does any other's: the signal
 * that kills is pending then.
 */
static bool is_dying(struct inject *inject)
{
	unsigned long long pending = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", inject->pid, inject->tid);
	file = fopen(path, "re");
	if (!file)
		return true;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "SigPnd: %llx", &pending) == 1)
			break;
	fclose(file);
	return pending >> (SIGSYS - 1) & 1;
}

/* Runs on to the next stop of a system call; false: *ret_result says what came instead. */
static bool step(struct inject *inject, enum inject_result *ret_result)
{
	int status, r;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, inject->tid, NULL, NULL) < 0 && errno != ESRCH)
			break;
		inject->is_stopped = false;
		r = await(inject, &status);
		if (r == 0) {
			*ret_result = INJECT_BLOCKED;
			stop(inject);
			return false;
		}
		if (r < 0)
			break;
		if (!WIFSTOPPED(status)) {
			*ret_result = result_of_end(inject, status);
			return false;
		}
		inject->is_stopped = true;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			return true;
		/* A signal on the way: not passed on. */
	}
	inject->tid = 0;
	*ret_result = INJECT_ENDED;
	return false;
}

static enum inject_result run(
	struct inject *inject, struct user_regs_struct *registers, int64_t *ret_value)
{
	enum inject_result result;
	int status;

	if (ptrace(PTRACE_SETREGS, inject->tid, NULL, registers) < 0)
		return INJECT_ENDED;
	if (!step(inject, &result) || !step(inject, &result))
		return result;
	if (is_dying(inject)) {
		ptrace(PTRACE_CONT, inject->tid, NULL, NULL);
		if (await(inject, &status) <= 0 || WIFSTOPPED(status))
			return INJECT_ENDED;
		return result_of_end(inject, status);
	}
	ptrace(PTRACE_GETREGS, inject->tid, NULL, registers);
	*ret_value = (int64_t)registers->rax;
	return INJECT_RETURNED;
}

enum inject_result inject_call(
	struct inject *inject, uint64_t nr, const uint64_t arguments[static 6], int64_t *ret_value)
{
	struct user_regs_struct registers = inject->registers;

	registers.rip = inject->syscall_address;
	registers.orig_rax = UINT64_MAX;
	registers.rax = nr;
	registers.rdi = arguments[0];
	registers.rsi = arguments[1];
	registers.rdx = arguments[2];
	registers.r10 = arguments[3];
	registers.r8 = arguments[4];
	registers.r9 = arguments[5];
	return run(inject, &registers, ret_value);
}

enum inject_result inject_call_i386(
	struct inject *inject, uint64_t nr, const uint64_t arguments[static 6], int64_t *ret_value)
{
	struct user_regs_struct registers = inject->registers;

	/* The process gets a copy of that page, and dies with it. */
	if (inject_write(inject, inject->syscall_address, "\xcd\x80", 2) < 0)
		return INJECT_ENDED;
	registers.rip = inject->syscall_address;
	registers.orig_rax = UINT64_MAX;
	registers.rax = nr;
	registers.rbx = arguments[0];
	registers.rcx = arguments[1];
	registers.rdx = arguments[2];
	registers.rsi = arguments[3];
	registers.rdi = arguments[4];
	registers.rbp = arguments[5];
	return run(inject, &registers, ret_value);
}

void inject_end(struct inject *inject)
{
	if (inject->tid == 0)
		return;
	if (inject->is_stopped) {
		ptrace(PTRACE_SETREGS, inject->tid, NULL, &inject->registers);
		ptrace(PTRACE_DETACH, inject->tid, NULL, NULL);
	}
	inject->tid = 0;
}
