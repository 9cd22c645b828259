/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * machine: one VM as vmmd knows it: its configuration, its unit, its worker. State is a
 * function of what the spawner says of the unit and what the worker says of the guest.
 */
#ifndef VMMD_MACHINE_H
#define VMMD_MACHINE_H

#include <sys/types.h>

#include "backend.h"
#include "manager.h"
#include "vsock.h"
#include "worker/protocol.h"

struct control;

enum machine_state {
	MACHINE_INACTIVE,
	MACHINE_STARTING,
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_STOPPING,
	MACHINE_FAILED,
};

/* What a spawner sees of a unit. */
enum unit_state {
	UNIT_INACTIVE,
	UNIT_STARTING, /* a restart that is due counts as one */
	UNIT_ACTIVE,
	UNIT_STOPPING,
	UNIT_FAILED,
};

/* Properties of org.vmmd1.Machine that may have changed. */
enum machine_change {
	MACHINE_CHANGED_CONFIG =
		1 << 0, /* Description, ConfigPath, DropInPaths, NeedsRestart, CPUs, Memory */
	MACHINE_CHANGED_STATE =
		1 << 1, /* State, Timestamp, TimestampMonotonic, NeedsRestart, CPUs, Memory */
	MACHINE_CHANGED_GUEST = 1 << 2,  /* GuestState */
	MACHINE_CHANGED_RESULT = 1 << 3, /* Result, ExitStatus */
	MACHINE_CHANGED_STATUS = 1 << 4, /* StatusText */
	MACHINE_CHANGED_LEADER = 1 << 5, /* Leader, NRestarts */
	MACHINE_CHANGED_JOB = 1 << 6,    /* Job */
};

/* What a worker was given, kept in RUN_DIR/machine/NAME/state for the next vmmd. */
struct machine_handed {
	bool valid;
	uint64_t fingerprint;
	uint64_t memory_bytes;
	uint32_t n_cpus;
	uint64_t since_usec; /* CLOCK_REALTIME */
	uint64_t since_monotonic_usec;
	uint32_t n_restarts; /* direct spawn */
	pid_t pid;           /* direct spawn */
	uint64_t pid_start;  /* direct spawn: when it started, in ticks since boot */
	uid_t uid;           /* direct spawn */
};

struct machine {
	struct manager *manager; /* borrowed, outlives us */
	char name[VMM_NAME_SIZE];
	char unit[sizeof("vmm@.service") + VMM_NAME_SIZE];

	bool defined; /* there is a .vm file */
	bool transient;
	bool was_run;             /* it was transient, and its file has been removed */
	struct vm_config *config; /* owned; NULL: no file, or a bad one */
	char *config_path;        /* owned; NULL: no file */
	char *config_error;       /* owned; NULL: it is good */
	struct config_messages config_messages; /* of the last machine_load() */
	struct machine_handed handed;
	uint64_t last_fingerprint; /* of what the last worker was given */

	enum unit_state unit_state;
	enum machine_state state;
	const char *result; /* static */
	int exit_status;
	pid_t leader;
	pid_t last_leader;       /* the same, kept when the worker has gone */
	pid_t registered_leader; /* with systemd-machined; 0: not */
	uint32_t n_restarts;
	uint64_t state_usec; /* of the last change, CLOCK_REALTIME */
	uint64_t state_monotonic_usec;

	char status_text[VMM_TEXT_SIZE];
	uint32_t worker_state;   /* enum vmm_state, as the worker says */
	uint32_t worker_end;     /* enum vmm_end */
	uint32_t last_end;       /* the same, kept when the worker has gone */
	struct control *control; /* owned; NULL: not connected */

	struct vsock_budget vsock;
	struct backend_budget backend;
	struct job *job;  /* borrowed: the one under way, or NULL */
	void *spawn;      /* the spawner's */
	unsigned changes; /* enum machine_change: not told yet */
};

/* "vmm@NAME.service": true and the name. */
bool machine_name_of_unit(const char *unit, char name[VMM_NAME_SIZE]);

int machine_new(struct manager *manager, const char *name, struct machine **ret);
struct machine *machine_free(struct machine *machine);

/* Reads the .vm file again. Failures are kept in config_error. Returns -ENOMEM only. */
int machine_load(struct machine *machine);

/* What the .vm file that is about to count says that is not known, in the log. */
void machine_log_warnings(const struct machine *machine);

/* True while there is a worker or about to be one. */
bool machine_is_active(const struct machine *machine);
bool machine_needs_restart(const struct machine *machine);
uint32_t machine_n_cpus(const struct machine *machine);
uint64_t machine_memory_bytes(const struct machine *machine);

const char *machine_state_name(enum machine_state state);
const char *machine_guest_state_name(const struct machine *machine);

/* From the spawner. result is a static string of org.vmmd1.Machine.Result, or NULL: as it was. */
void machine_set_unit(struct machine *machine, enum unit_state unit_state, pid_t leader);
/* Of one that was in its state before us. 0: not known. */
void machine_set_since(struct machine *machine, uint64_t usec, uint64_t monotonic_usec);
void machine_set_result(struct machine *machine, const char *result, int exit_status);
void machine_set_restarts(struct machine *machine, uint32_t n_restarts);
void machine_set_status(struct machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Why a worker could not start, in its words: becomes status_text behind the file, line and key
 * that it is about.
 */
void machine_set_failure(struct machine *machine, const char *reason);

/* Of one that has failed and whose worker has not said why: what is known becomes status_text. */
void machine_explain_end(struct machine *machine);

/* The Result that an exit status of a worker stands for. */
const char *machine_result_of_exit(int exit_status);

/* From the control client. */
void machine_control_status(struct machine *machine, const struct vmm_control_status *status);
void machine_control_event(struct machine *machine, const struct vmm_control_event *event);
void machine_control_lost(struct machine *machine);

/* RUN_DIR/machine/NAME and its files. */
int machine_make_run_dir(struct machine *machine);
void machine_remove_run_dir(struct machine *machine);
int machine_save_handed(struct machine *machine);
int machine_load_handed(struct machine *machine);
/* A listening control socket at its place, for the worker. */
int machine_listen_control(struct machine *machine, int *ret_fd);
/* The same for clients that want to reach the guest's ports, see vsock.h. */
int machine_listen_vsock(struct machine *machine, int *ret_fd);
/* A socket that is connected to it: -ENOENT where the machine has none, -EAGAIN where too many
 * wait. Neither side blocks. */
int machine_connect_vsock(struct machine *machine, int *ret_fd);
/* Connects to it as a client; no failure where there is none. */
int machine_connect_control(struct machine *machine);

void machine_changed(struct machine *machine, unsigned changes);

#endif
