/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * launch: what launch.c and creation.c share: the spec of a machine from options, and a worker's
 * exec. The options that both take:
 *
 *	--worker=PATH --kernel=PATH --initrd=PATH --cmdline=TEXT --memory=MIB --mmio
 *	--drive=PATH --queues=N --engine=auto|threads|io_uring --tap=NAME --vsock=PATH
 *
 * Whatever fails ends the process with a text.
 */
#ifndef VMM_PERF_LAUNCH_H
#define VMM_PERF_LAUNCH_H

#include <getopt.h>

#include "worker/protocol.h"

struct launch {
	struct vmm_spec spec;
	int fds[VMM_HANDOVER_MAX_FDS]; /* of the spec; never closed */
	const char *worker;
	int netns_fd; /* the network of all workers; -EBADF: each makes its own */
};

_Noreturn void launch_fail(const char *what, const char *why);

/*
 * Takes argv apart. more, which ends in a zero entry and may be NULL, names further options that
 * need a number; their values go to numbers, in the same order. Returns optind.
 */
int launch_parse(struct launch *launch, int argc, char **argv, const char *const *more,
	unsigned long *numbers);

/* The worker of the hello behind socket_fd gets its spec. */
void launch_hand_over(const struct launch *launch, int socket_fd);

/* This process becomes the worker, as a direct spawner starts it, with broker_fd. */
_Noreturn void launch_exec(const struct launch *launch, int broker_fd);

#endif
