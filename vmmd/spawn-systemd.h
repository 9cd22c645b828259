/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-systemd: what its files share. spawn-systemd.c starts and stops, spawn-wait.c keeps what
 * systemd cannot hear now, unit-watch.c follows what the units do, unit-facts.c reads their
 * properties.
 */
#ifndef VMMD_SPAWN_SYSTEMD_H
#define VMMD_SPAWN_SYSTEMD_H

#include <systemd/sd-bus.h>

#include "log.h"
#include "machine.h"
#include "spawn.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define UNIT_PATH SYSTEMD_PATH "/unit"
#define MANAGER_INTERFACE SYSTEMD ".Manager"

enum {
	REQUEST_SEC = 5, /* for how long a request waits for systemd; less than BROKER_HELLO_SEC */
	REQUESTS_MAX_WAITING = 2048,
};

struct unit_facts {
	char active_state[24];
	char sub_state[32];
	char result[24];
	char user[40];
	char status_text[VMM_TEXT_SIZE];
	uint32_t main_pid;
	uint32_t job_id; /* of systemd; 0: none */
	uint32_t n_restarts;
	uint32_t uid;
	bool uid_known;
	int32_t exec_code; /* CLD_EXITED, CLD_KILLED, ... */
	int32_t exec_status;
	uint64_t change_usec; /* of the state, CLOCK_REALTIME */
	uint64_t change_monotonic_usec;
};

/* Reads the variant of the property key over what is there. */
int unit_facts_read_one(struct unit_facts *facts, const char *key, sd_bus_message *message);
/* Reads a{sv}, as GetAll and PropertiesChanged have it, over what is there. */
int unit_facts_read(struct unit_facts *facts, sd_bus_message *message);

enum unit_state unit_facts_state(const struct unit_facts *facts);
/* Whether it has failed and is started anew in a moment. */
bool unit_facts_await_restart(const struct unit_facts *facts);
const char *unit_facts_result(const struct unit_facts *facts);
int unit_facts_exit_status(const struct unit_facts *facts);

/* manager->spawn */
struct systemd {
	struct manager *manager; /* borrowed */
	sd_bus *bus;             /* owned; NULL while PID 1 cannot be reached */
	bool is_known;           /* what its units do; before that no request is sent */
	size_t n_asked;          /* answers that the list of them waits for */
	int list_error;          /* negative: one of them has not come */
	sd_event_source *retry;  /* owned */
	struct call *waiting;    /* owned: requests, in their order */
	size_t n_waiting;
	struct log_limit limit;
};

/* machine->spawn: what systemd said last of the unit. */
struct unit {
	struct unit_facts facts;
	bool listed;       /* it was told of over this connection */
	pid_t kill_leader; /* who is to end; others are not meant */
	unsigned n_kill_tries;
	sd_event_source *kill_timer; /* owned */
};

/* A call under way, found again by names and numbers: what it is about may have gone. */
struct call {
	struct systemd *systemd;  /* borrowed; calls end with the bus */
	char name[VMM_NAME_SIZE]; /* of the machine */
	uint32_t job_id;          /* 0: none */
	const char *job_result;   /* static: the job ends with it; NULL: the job begins */
	spawn_done_t done;        /* may be NULL */
	void *userdata;
	struct peer peer;          /* pidfd is not ours */
	struct identity *identity; /* owned: of a question who peer is, while it is under way */
	sd_bus_slot *slot;         /* owned, where someone may cancel */

	/* Of a request, which may wait. */
	struct call *next;
	uint64_t deadline_usec; /* CLOCK_MONOTONIC; 0: not sent yet */
	/* Takes over call, or fails with a negative errno: -ENOTCONN waits. */
	int (*send)(struct call *call);
	/* It was never answered, or not sent. text may be NULL. */
	void (*fail)(struct call *call, int error, const char *text);
	const char *verb; /* static: StartUnit, StopUnit, ... */
	pid_t leader;     /* KillUnit: of the worker that is meant */
	bool all;
	int signal;
};

struct systemd *systemd_of(const struct machine *machine);
/* NULL without memory. */
struct unit *unit_of(struct machine *machine);

/* About machine; NULL without memory. */
struct call *call_new(struct machine *machine);
/* The job it is about, where that is still there. */
struct job *call_job(const struct call *call);
/*
 * Sends message; reply is called with call, which goes when the answer has come, or the bus. Does
 * not take over call when it fails.
 */
int call_send(struct systemd *systemd, sd_bus_message *message, sd_bus_message_handler_t reply,
	struct call *call, sd_bus_slot **ret_slot);
/* A call of that method of the machine's unit's properties; -ENOTCONN without systemd. */
int unit_new_question(struct machine *machine, const char *method, sd_bus_message **ret_message);
/* Properties.GetAll of the machine's unit. As call_send(); call may be NULL: -ENOMEM. */
int call_get_all(struct machine *machine, const char *interface, sd_bus_message_handler_t reply,
	struct call *call, sd_bus_slot **ret_slot);

/* Of spawner_ops: authenticate and authenticate_cancel. */
void *identity_ask(
	struct machine *machine, const struct peer *peer, spawn_done_t done, void *userdata);
void identity_cancel(void *handle);

/* A call that has send and fail: sent now, or when systemd can be reached. Takes over call. False:
 * fail was called. */
bool request_send(struct call *call);
/* In its reply: true when the connection has ended before the answer, and it waits to be sent
 * again. */
bool request_lost(struct call *call, sd_bus_message *reply);
/* One that has a slot, or waits. Frees it. */
void request_cancel(struct call *call);
/* All that wait: systemd may be there again, or their time is over. */
void requests_resume(struct systemd *systemd);
/* Frees them. */
void requests_forget(struct systemd *systemd);

/*
 * Begins to connect: the event loop does the rest, and waits for nobody. What cannot be reached is
 * tried again.
 */
void systemd_connect(struct systemd *systemd);
/* Ends the connection for that error, and begins anew after a moment. */
void systemd_connect_again(struct systemd *systemd, int error);
/* Connects again after a moment, where that is needed, and resumes what waits. */
void systemd_retry_later(struct systemd *systemd);

/* Asks for all of the unit again; then ends job with result, where there is one. */
void unit_refresh(struct machine *machine, struct job *job, const char *result);
/* A handler of PropertiesChanged; userdata is the struct systemd. */
int unit_on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error);
/* systemd has no such unit any more: it is inactive. May end the machine's job. */
void unit_forget(struct machine *machine);
/* What facts has, to the machine. */
void unit_evaluate(struct machine *machine);
/* unit-list.c: asks for all units of machines that are there; then the requests go on. */
int units_list(struct systemd *systemd);

#endif
