/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * inject: makes a thread of another process make system calls, as code that runs there could. By
 * ptrace(2), so for root; the thread is stopped between calls and none of its own code runs.
 */
#ifndef VMM_TESTS_SANDBOX_INJECT_H
#define VMM_TESTS_SANDBOX_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct inject {
	pid_t pid;
	pid_t tid;
	struct user_regs_struct registers; /* as they were */
	uint64_t syscall_address;          /* of such an instruction in the process */
	bool is_stopped;
};

enum inject_result {
	INJECT_RETURNED, /* *ret_value is what the call returned */
	INJECT_BLOCKED,  /* still in it after a second: let in at least */
	INJECT_SIGSYS,   /* the process died of it */
	INJECT_ENDED,    /* the thread ended in another way, as by exit() */
};

/* Stops the thread; a system call that it is in is restarted or fails with EINTR. */
int inject_begin(struct inject *inject, pid_t pid, pid_t tid);

/* One call. After INJECT_RETURNED further ones may follow. */
enum inject_result inject_call(
	struct inject *inject, uint64_t nr, const uint64_t arguments[static 6], int64_t *ret_value);

/* The same by int $0x80: nr is a number of the i386 table then. */
enum inject_result inject_call_i386(
	struct inject *inject, uint64_t nr, const uint64_t arguments[static 6], int64_t *ret_value);

/* The memory of the process, whatever its protection. */
int inject_read(struct inject *inject, uint64_t address, void *data, size_t size);
int inject_write(struct inject *inject, uint64_t address, const void *data, size_t size);

/*
 * The thread goes on as if nothing had been. A thread that ended has been waited for, which is a
 * child's end if it was the main thread.
 */
void inject_end(struct inject *inject);

#endif
