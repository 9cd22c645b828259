/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* requests: method calls that are answered when the worker has answered. */
#ifndef VMMD_REQUESTS_H
#define VMMD_REQUESTS_H

#include "bus.h"

struct request {
	struct bus *bus;         /* borrowed */
	sd_bus_message *message; /* owned */
	sd_bus_message *reply;   /* owned: what is there of it so far, or NULL */
	char name[VMM_NAME_SIZE];
	unsigned int count;     /* of what is in it */
	int master_fd;          /* owned: a console's, or -EBADF */
	char path[64];          /* of its other side */
	method_replier replier; /* may be NULL */
	pid_t leader;           /* whose counters these will be */
};

/* Counts against BUS_MAX_REQUESTS. */
int request_new(
	struct bus *bus, sd_bus_message *message, struct request **ret, sd_bus_error *error);
void request_free(struct request *request);

/* text may be NULL. */
void request_fail(struct request *request, int code, const char *text);

/* A control_done_t: an empty answer, or the worker's refusal. Frees the request. */
void request_done(void *userdata, int error, const struct vmm_control_message *reply);

/* Only the refusal. Frees nothing. */
void request_refused(struct request *request, int error, const struct vmm_control_message *reply);

/* Of devices: how the worker's errors are called here; whether id may be one's name. */
int device_error(int error);
int device_check_id(const char *id, sd_bus_error *error);

#endif
