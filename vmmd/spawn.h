/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn: how workers come to life and end: as units of systemd (spawn-systemd.c), or as
 * children of vmmd (spawn-direct.c). Both report through machine_set_unit() and its sisters.
 */
#ifndef VMMD_SPAWN_H
#define VMMD_SPAWN_H

#include <sys/types.h>

#include "job.h"

/* What the kernel says of a peer on the broker's socket. */
struct peer {
	pid_t pid;
	uid_t uid;
	int pidfd; /* -EBADF before Linux 6.5 */
};

/* error 0: done. text may be NULL. Called once, perhaps before the request has returned. */
typedef void (*spawn_done_t)(void *userdata, int error, const char *text);

struct spawner_ops {
	const char *name;
	/* A unit that has failed stays so until systemctl reset-failed, whether or not its machine
	 * has a file. */
	bool keeps_failed;
	int (*init)(struct manager *manager);
	void (*finish)(struct manager *manager);
	/* Finds the units that are there, and calls manager_units_known(), now or later. */
	int (*enumerate)(struct manager *manager);
	/* The machine is about to be freed. */
	void (*forget)(struct machine *machine);

	/* Each accepts the job, or fails it, now or later; when it has been accepted, it ends it.
	 */
	void (*start)(struct job *job);
	void (*stop)(struct job *job);
	void (*restart)(struct job *job); /* without asking the guest */
	/* Beside a stop job that is under way: no more waiting. */
	void (*force)(struct machine *machine);
	void (*cancel)(struct job *job);

	/* May be NULL. The worker says that it is ready. */
	void (*worker_ready)(struct machine *machine);

	void (*kill)(
		struct machine *machine, bool all, int signal, spawn_done_t done, void *userdata);

	/* Is peer the main process of the machine's unit, with that unit's uid? Returns a handle
	 * for authenticate_cancel, or NULL when done was called already. */
	void *(*authenticate)(struct machine *machine, const struct peer *peer, spawn_done_t done,
		void *userdata);
	void (*authenticate_cancel)(void *handle);
};

extern const struct spawner_ops spawner_systemd;
extern const struct spawner_ops spawner_direct;

#endif
