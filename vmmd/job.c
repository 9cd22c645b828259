/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* job: one operation under way on one machine; see job.h. */
#include "job.h"

#include <string.h>
#include <time.h>

#include "base/util.h"
#include "error.h"
#include "log.h"
#include "resources.h"
#include "spawn.h"

const char *job_kind_name(enum job_kind kind)
{
	static const char *const names[] = {
		[JOB_START] = "start",
		[JOB_STOP] = "stop",
		[JOB_REBOOT] = "reboot",
	};

	return names[kind];
}

int job_new(struct machine *machine, enum job_kind kind, void *requester, struct job **ret)
{
	struct manager *manager = machine->manager;
	struct job **jobs, *job;

	assert(!machine->job);
	if (manager->n_jobs >= MANAGER_MAX_JOBS)
		return -VMMD_E_LIMITS_EXCEEDED;
	jobs = reallocarray(manager->jobs, manager->n_jobs + 1, sizeof(*jobs));
	if (!jobs)
		return -ENOMEM;
	manager->jobs = jobs;
	job = malloc(sizeof(*job));
	if (!job)
		return -ENOMEM;
	/* 0 is no id; after 2^32 jobs the numbers begin anew. */
	do {
		manager->last_job_id++;
	} while (manager->last_job_id == 0 || job_find(manager, manager->last_job_id));
	*job = (struct job){
		.manager = manager,
		.machine = machine,
		.id = manager->last_job_id,
		.kind = kind,
		.requester = requester,
	};
	jobs[manager->n_jobs++] = job;
	machine->job = job;
	*ret = job;
	return 0;
}

struct job *job_find(struct manager *manager, uint32_t id)
{
	for (size_t i = 0; i < manager->n_jobs; i++)
		if (manager->jobs[i]->id == id)
			return manager->jobs[i];
	return NULL;
}

static void job_free(struct job *job)
{
	struct manager *manager = job->manager;

	for (size_t i = 0; i < manager->n_jobs; i++) {
		if (manager->jobs[i] != job)
			continue;
		memmove(&manager->jobs[i], &manager->jobs[i + 1],
			(manager->n_jobs - i - 1) * sizeof(*manager->jobs));
		manager->n_jobs--;
		break;
	}
	job->machine->job = NULL;
	machine_changed(job->machine, MACHINE_CHANGED_JOB);
	resources_cancel(job->check);
	sd_event_source_disable_unref(job->timer);
	free(job->unit_job);
	free(job);
}

void job_accept(struct job *job)
{
	struct manager *manager = job->manager;

	if (job->accepted)
		return;
	job->accepted = true;
	machine_changed(job->machine, MACHINE_CHANGED_JOB);
	if (manager->observer)
		manager->observer->job_accepted(manager->observer_userdata, job);
}

void job_finish(struct job *job, const char *result)
{
	struct manager *manager = job->manager;
	struct log_about about = { .name = job->machine->name, .pid = job->machine->leader };

	if (job->removing)
		return;
	job->removing = true;
	/* Whoever asked gets a job even where there was nothing to do. */
	job_accept(job);
	log_line(LOG_DEBUG, &about, "job %u (%s): %s", job->id, job_kind_name(job->kind), result);
	/* State first, then the end of the job, also for those who only listen. */
	manager_tell_changes(manager, job->machine);
	if (manager->observer)
		manager->observer->job_removed(manager->observer_userdata, job, result);
	job_free(job);
}

void job_fail(struct job *job, int error, const char *text)
{
	struct manager *manager = job->manager;
	struct log_about about = { .name = job->machine->name, .pid = job->machine->leader };

	if (job->removing)
		return;
	if (text)
		machine_set_status(job->machine, "%s", text);
	if (job->accepted) {
		log_line(LOG_WARNING, &about, "%s failed: %s", job_kind_name(job->kind),
			text ? text : "no reason known");
		job_finish(job, "failed");
		return;
	}
	job->removing = true;
	if (manager->observer)
		manager->observer->job_refused(manager->observer_userdata, job, error, text);
	job_free(job);
}

void job_cancel(struct job *job)
{
	job->manager->spawner->cancel(job);
	job_finish(job, "canceled");
}

void job_look(struct machine *machine)
{
	struct job *job = machine->job;
	enum unit_state state = machine->unit_state;

	if (!job || !job->watch_unit || job->removing)
		return;
	switch (job->kind) {
	case JOB_START:
		if (state == UNIT_ACTIVE)
			job_finish(job, "done");
		else if (state == UNIT_INACTIVE || state == UNIT_FAILED)
			job_finish(job, "failed");
		break;
	case JOB_STOP:
		if (state == UNIT_INACTIVE || state == UNIT_FAILED)
			job_finish(job, "done");
		break;
	case JOB_REBOOT:
		if (state == UNIT_ACTIVE && machine->leader != job->old_leader)
			job_finish(job, "done");
		else if (state == UNIT_INACTIVE || state == UNIT_FAILED)
			job_finish(job, "failed");
		break;
	}
}
