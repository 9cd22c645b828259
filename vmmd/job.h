/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * job: one operation under way on one machine, at most one a machine. A job is first wanted
 * (its requester waits for the answer), then taken on, and ends with a result.
 */
#ifndef VMMD_JOB_H
#define VMMD_JOB_H

#include "machine.h"

enum job_kind {
	JOB_START,
	JOB_STOP,
	JOB_REBOOT,
};

struct resources_request;

struct job {
	struct manager *manager; /* borrowed */
	struct machine *machine; /* borrowed: it cannot go while it has a job */
	uint32_t id;
	enum job_kind kind;
	enum stop_how how; /* JOB_STOP */
	bool force;        /* JOB_REBOOT */
	bool accepted;
	bool watch_unit;  /* ends when the unit's state says so, without the spawner */
	bool removing;    /* the observer is being told; no second end */
	pid_t old_leader; /* JOB_REBOOT: the worker that is to go */
	uint64_t timeout_usec;
	void *requester;                 /* the observer's; may be NULL */
	char *unit_job;                  /* owned: of systemd, or NULL */
	struct resources_request *check; /* owned: looking whether it can start at all */
	sd_event_source *timer;          /* owned */
};

/* Fails with -VMMD_E_LIMITS_EXCEEDED. */
int job_new(struct machine *machine, enum job_kind kind, void *requester, struct job **ret);

/* The spawner, or the worker, has begun. */
void job_accept(struct job *job);

/* Ends a job: with done, canceled, timeout, failed or dependency. Frees it. One that was not
 * taken on is accepted first where the result is done. */
void job_finish(struct job *job, const char *result);

/* Ends a job that cannot be carried out. Frees it. */
void job_fail(struct job *job, int error, const char *text);

/* By a client. Frees it. */
void job_cancel(struct job *job);

/* Looks whether the machine's new state ends its job. May free it. */
void job_look(struct machine *machine);

struct job *job_find(struct manager *manager, uint32_t id);
const char *job_kind_name(enum job_kind kind);

#endif
