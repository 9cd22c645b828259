/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* full-machine: the fixture's worker with a machine that has a thread of each kind. */
#ifndef VMM_TESTS_SANDBOX_FULL_MACHINE_H
#define VMM_TESTS_SANDBOX_FULL_MACHINE_H

#include <sys/types.h>

/* Starts it with every device; environment as in worker_exec(). */
void start_full_machine(const char *const *environment);

/* After an injected call that ended it by SIGSYS; tid is the thread that made it. */
void check_killed(pid_t tid);

#endif
