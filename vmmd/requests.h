/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* requests: method calls that are answered when the worker has answered. */
#ifndef VMMD_REQUESTS_H
#define VMMD_REQUESTS_H

#include "bus.h"

struct control_call;
struct request;

/* Puts into the reply what the worker's answer says. */
typedef int (*method_replier)(sd_bus_message *reply, const struct request *request,
	const struct vmm_control_message *answer);

struct request {
	struct bus *bus;          /* borrowed */
	sd_bus_message *message;  /* owned */
	sd_bus_message *reply;    /* owned: what is there of it so far, or NULL */
	char name[VMM_NAME_SIZE]; /* of the machine, and its worker */
	pid_t leader;
	bool is_query;          /* everybody may ask */
	unsigned int count;     /* of what is in it */
	int master_fd;          /* owned: a console's, or -EBADF */
	char path[64];          /* of its other side */
	method_replier replier; /* may be NULL */
};

/* Keeps a call that is answered later, and lets it go. Where everybody may ask, places are left for
 * others. */
int request_keep(struct bus *bus, sd_bus_message *message, bool is_query, sd_bus_error *error);
void request_drop(struct bus *bus, sd_bus_message *message);

/* -VMMD_E_MACHINE_NOT_RUNNING with the error set, where its worker cannot be asked. */
int method_running_machine(
	struct bus *bus, const char *name, struct machine **ret, sd_bus_error *error);

/* Counts against BUS_MAX_REQUESTS. */
int request_new(struct bus *bus, sd_bus_message *message, const struct machine *machine,
	struct request **ret, sd_bus_error *error);
/* The two together: what is asked of a worker in more than one message. */
int request_to_worker(struct bus *bus, sd_bus_message *message, const char *name,
	struct machine **ret_machine, struct request **ret, sd_bus_error *error);
/* As that, of the machine that message names, for what everybody may ask: against
 * BUS_MAX_OPEN_REQUESTS. */
int request_query_worker(struct bus *bus, sd_bus_message *message, struct machine **ret_machine,
	struct request **ret, sd_bus_error *error);
void request_free(struct request *request);

/* text may be NULL. */
void request_fail(struct request *request, int code, const char *text);

/* Asks the worker; replier NULL: then message is answered without arguments. Returns what a
 * method handler returns. */
int method_ask_worker(struct bus *bus, sd_bus_message *message, const char *name, uint32_t type,
	const void *payload, size_t size, method_replier replier, sd_bus_error *error);

/* The same for a method whose only argument is the machine, and for which nobody is asked. */
int method_query_worker(sd_bus_message *message, struct bus *bus, uint32_t type,
	method_replier replier, sd_bus_error *error);

/* As method_ask_worker(), with a request made already, which it takes over, and for which it fills
 * in the call's done, userdata and is_query. */
int request_ask_worker(struct request *request, struct machine *machine,
	const struct control_call *what, method_replier replier, sd_bus_error *error);

/* A control_done_t: an answer, or the worker's refusal. Frees the request. */
void request_done(void *userdata, int error, const struct vmm_control_message *answer);

/* Only the refusal, with the name that the worker's error has on the bus. Frees nothing. */
void request_refused(struct request *request, int error, const struct vmm_control_message *reply);

/* Whether id may be the name of a drive or a network. */
int device_check_id(const char *id, sd_bus_error *error);

#endif
