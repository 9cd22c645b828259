/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * threads: a worker that has a thread of each kind, and how to find them. A thread's kind is the
 * name of its policy: the first word of its name, and "loop" for the main thread.
 */
#ifndef VMM_TESTS_SANDBOX_THREADS_H
#define VMM_TESTS_SANDBOX_THREADS_H

#include <stddef.h>
#include <sys/types.h>

#define THREAD_KIND_SIZE 16

/* Starts the fixture's worker with every device; environment as in worker_exec(). */
void start_full_machine(const char *const *environment);

/* After an injected call that ended it by SIGSYS; tid is the thread that made it. */
void check_killed(pid_t tid);

/* 0: there is none. */
pid_t find_thread(pid_t pid, const char *kind);

/* Writes the kind of a thread. */
int thread_kind(pid_t pid, pid_t tid, char kind[THREAD_KIND_SIZE]);

#endif
