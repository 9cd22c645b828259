/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * control: vmmd's end of a worker's control socket. Requests get their answer by callback;
 * events go to the machine. A worker that answers with nonsense, or not in time, is
 * cut off: its requests fail, the machine goes on without control.
 */
#ifndef VMMD_CONTROL_H
#define VMMD_CONTROL_H

#include "machine.h"

enum {
	CONTROL_MAX_REQUESTS = 32,
	CONTROL_MAX_QUERIES = 24, /* of these, by those whom nobody has let do anything */
};

struct control;

/*
 * Takes over *fd. Asks for the status at once, which arrives in machine_control_status(). Ends
 * of the connection arrive in machine_control_lost(), which frees the control.
 */
int control_new(struct machine *machine, int *fd, struct control **ret);
struct control *control_free(struct control *control);

/* Takes in what has already arrived: the last words of a worker that has gone. */
void control_drain(struct control *control);

/*
 * error 0: message is the worker's reply. Else message is NULL, or a failure with its text;
 * error is the reply's result or what became of the connection. May not free the control.
 */
typedef void (*control_done_t)(
	void *userdata, int error, const struct vmm_control_message *message);

/* A request with all that there is to say of it. */
struct control_call {
	uint32_t type;
	const void *payload;
	size_t size;
	const int *fds; /* stay the caller's */
	size_t n_fds;
	uint64_t timeout_usec; /* 0: ten seconds */
	bool is_query;         /* everybody may ask: counts against CONTROL_MAX_QUERIES */
	control_done_t done;   /* may be NULL */
	void *userdata;
};

/* As control_request(). */
int control_call(struct control *control, const struct control_call *call);

/* done may be NULL. fd stays the caller's. -VMMD_E_LIMITS_EXCEEDED, -EAGAIN where it does not
 * read. done is called once when 0 was returned, never else. */
int control_request(struct control *control, uint32_t type, const void *payload, size_t size,
	int fd, control_done_t done, void *userdata);

#endif
