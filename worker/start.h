/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * start: how vmmd --spawn=direct starts a worker: as the first process of a namespace of
 * processes, in a session of its own, with these descriptors and no other, and without any of the
 * caller's environment but VMMD_SECCOMP, for developers.
 *
 * The caller's memory is not copied for the moment up to exec: it waits for that, as in vfork().
 *
 * Threads: the caller is the only one of its process.
 */
#ifndef VMMD_WORKER_START_H
#define VMMD_WORKER_START_H

#include <sys/types.h>

struct worker_start {
	const char *program, *name;
	const char *notify_path; /* NULL: none */
	int broker_fd;
	int netns_fd;            /* -EBADF: the worker makes its own */
	int output_fd, error_fd; /* of both standard ones; -EBADF: our standard error */
};

/* All descriptors stay the caller's. An exec that failed is an early end of the child. */
int worker_start(const struct worker_start *start, pid_t *ret_pid);

#endif
