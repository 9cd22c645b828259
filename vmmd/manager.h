/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * manager: the machines, their jobs, and what may be done to them. Knows neither D-Bus nor
 * how a worker is started: the first watches through struct manager_observer, the second is
 * struct spawner_ops.
 *
 * Failures come back as negative errno values or negative enum vmmd_error, with a line for
 * people in *ret_text (the caller's to free; may be NULL on success or without memory).
 *
 * Threads: one.
 */
#ifndef VMMD_MANAGER_H
#define VMMD_MANAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "config.h"

struct broker;
struct job;
struct machine;
struct manager;
struct spawner_ops;

enum {
	MANAGER_MAX_MACHINES = CONFIG_MAX_MACHINES,
	MANAGER_MAX_JOBS = 1024,
};

/* What the bus tells its clients of. All members are set. May not free anything. */
struct manager_observer {
	void (*machine_added)(void *userdata, struct machine *machine);
	void (*machine_removed)(void *userdata, struct machine *machine);
	/* Bits of enum machine_change. */
	void (*machine_changed)(void *userdata, struct machine *machine, unsigned changes);
	void (*machines_counted)(void *userdata); /* NMachines or NRunning may be others */
	void (*reloading)(void *userdata, bool active);
	/* A drive or network has come or gone while the machine runs. */
	void (*device_changed)(void *userdata, struct machine *machine, uint32_t kind,
		const char *id, bool attached);
	/* A job was taken on; its requester gets the job. */
	void (*job_accepted)(void *userdata, struct job *job);
	/* A job that was taken on has ended. */
	void (*job_removed)(void *userdata, struct job *job, const char *result);
	/* A job that was never taken on: its requester gets the error. */
	void (*job_refused)(void *userdata, struct job *job, int error, const char *text);
};

struct manager {
	sd_event *event; /* owned */
	char *root;      /* owned: before /etc/vmm, /run/vmm and /run/vmmd; "" is the system */
	char *run_dir;   /* owned: ROOT/run/vmmd */
	char *worker;    /* owned: path of vmmd-worker, direct spawn only */

	struct machine **machines; /* owned, sorted by name */
	size_t n_machines;
	uint64_t config_usec; /* CLOCK_REALTIME: when the files were last read */

	struct job **jobs; /* owned, in the order of their ids */
	size_t n_jobs;
	uint32_t last_job_id;

	const struct spawner_ops *spawner;
	void *spawn;           /* owned by the spawner */
	struct broker *broker; /* owned; NULL with direct spawn */

	const struct manager_observer *observer; /* borrowed; NULL: nobody watches */
	void *observer_userdata;

	bool started;                  /* what was there before us is known */
	sd_event_source *flush_source; /* owned: tells the observer of what has changed */
	bool counts_changed;
	sd_event_source *watches[3]; /* owned: of the directories of .vm files */
	sd_event_source **dropins;   /* owned: of the directories of their drop-ins */
	size_t n_dropins;
	sd_event_source *watch_timer;       /* owned */
	unsigned n_children;                /* of resources.c and sweep.c, alive */
	struct resources_request *requests; /* borrowed: those under way */
	bool units_known;                   /* what runs, from whoever spawns it */
	bool is_sweeping;                   /* of machines that have ended */
	bool sweep_again;                   /* more have, since */
};

struct manager_options {
	const char *root;
	const char *worker;
	const struct spawner_ops *spawner;
};

int manager_new(sd_event *event, const struct manager_options *options, struct manager **ret);
struct manager *manager_free(struct manager *manager);

/* Finds machines that run and those that are defined. */
int manager_start(struct manager *manager);

/* The spawner has told of all that runs: what is left over of others goes, once. */
void manager_units_known(struct manager *manager);

/* Reads all .vm files again: adds, updates and removes machines. */
int manager_reload(struct manager *manager);

/* The same where nobody has asked for it: machines that were run and have failed stay listed. */
int manager_files_changed(struct manager *manager);

/* Reloads by itself when .vm files change. manager-watch.c. */
int manager_watch(struct manager *manager);
void manager_unwatch(struct manager *manager);
/* Before files are read again: no later change is missed. */
void manager_watch_dropins(struct manager *manager);

struct machine *manager_find(struct manager *manager, const char *name);
/* NULL with -VMMD_E_NO_SUCH_MACHINE also where the file has appeared since the last reload and
 * cannot be read. */
int manager_get(struct manager *manager, const char *name, struct machine **ret, char **ret_text);
/* Finds or makes the machine that a unit or a worker belongs to. */
int manager_ensure(struct manager *manager, const char *name, struct machine **ret);

uint32_t manager_n_running(const struct manager *manager);
uint64_t manager_memory_committed(const struct manager *manager);

/* Requests. The new job is not yet taken on: see struct manager_observer. userdata becomes
 * job->requester. */
int manager_start_machine(
	struct manager *manager, const char *name, bool replace, void *requester, char **ret_text);

enum stop_how {
	STOP_AUTO,
	STOP_ACPI,
	STOP_CAD,
	STOP_FORCE,
};
int manager_stop_machine(struct manager *manager, const char *name, enum stop_how how,
	uint64_t timeout_usec, void *requester, char **ret_text);
int manager_reboot_machine(
	struct manager *manager, const char *name, bool force, void *requester, char **ret_text);

/* Files. define.c. text is what the .vm file will hold. */
enum define_where {
	DEFINE_ETC,
	DEFINE_TRANSIENT,
};
int manager_define(struct manager *manager, const char *name, enum define_where where,
	const char *text, size_t size, bool replace, char **ret_text);
int manager_undefine(struct manager *manager, const char *name, char **ret_text);
/* Removes the file of a transient machine that has ended. */
void manager_remove_transient(struct manager *manager, struct machine *machine);

/* At the end of this round of the loop: tells the observer what has changed, and frees machines
 * that neither run nor have a file. */
void manager_schedule_flush(struct manager *manager);

/* At once what has changed of one machine, to the observer. */
void manager_tell_changes(struct manager *manager, struct machine *machine);

#endif
