/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * threads: those of a worker. A thread's kind is the name of its policy: the first word of its
 * name, and "loop" for the main thread.
 */
#ifndef VMM_TESTS_SANDBOX_THREADS_H
#define VMM_TESTS_SANDBOX_THREADS_H

#include <sys/types.h>

#define THREAD_KIND_SIZE 16

/* Writes the kind of a thread. */
int thread_kind(pid_t pid, pid_t tid, char kind[THREAD_KIND_SIZE]);

/* 0: there is none. */
pid_t find_thread(pid_t pid, const char *kind);

#endif
