/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * quota: a control group with a limit on CPU time, as CPUQuota= of a unit makes one: of version 2,
 * or of version 1 where the host has that.
 */
#ifndef VMM_TESTS_SANDBOX_QUOTA_H
#define VMM_TESTS_SANDBOX_QUOTA_H

#include <stdbool.h>
#include <sys/types.h>

struct quota {
	char path[128]; /* empty: none */
};

/* False: this host lets nobody make one. */
bool quota_new(struct quota *quota, const char *name, unsigned int percent);

/* The process with all of its threads. */
void quota_add(const struct quota *quota, pid_t pid);

/* How often it was held up by the limit. */
unsigned long quota_throttled(const struct quota *quota);

/* When all of its processes have ended. */
void quota_free(struct quota *quota);

#endif
