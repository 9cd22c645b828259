/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * control: the socket through which a running VM is asked and steered, see protocol.h. It was
 * made by vmmd, in a directory that only root enters; the worker accepts and nothing else.
 *
 * A request that is not known here is refused. A client that breaks the protocol, or does not read
 * while the worker has something for it, is dropped. None can make the worker wait, or keep
 * anything for it beyond its slot.
 *
 * Threads: the loop's.
 */
#ifndef VMMD_WORKER_CONTROL_H
#define VMMD_WORKER_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <vmmcore/loop.h>

#include "worker/protocol.h"

struct machine;

struct control_client {
	struct machine *machine;
	int fd; /* owned; -EBADF: free slot */
	struct vmm_loop_source *source;
	uint64_t serial;                   /* no two have the same */
	struct vmm_control_header waiting; /* a PAUSE to be answered later; id 0: none */
};

struct control {
	int listen_fd; /* borrowed; -EBADF: no control */
	struct vmm_loop_source *listener;
	uint64_t last_serial;
	struct control_client clients[VMM_CONTROL_MAX_CLIENTS];
};

/* The phase. Does nothing where the spec has no control socket. */
int control_start(struct machine *machine);

/* To all clients. text may be NULL. */
void control_event(struct machine *machine, enum vmm_event event, int32_t value, const char *text);

/* Answers a request that was taken on, if its client is still there. result as below. */
struct control_waiter;
void control_answer_waiter(const struct control_waiter *waiter, int result, const char *text);
/* 0 where fd is a socket of that type that listens. */
int control_check_listener(int fd, int expected_type);

/* Asks all clients. False where there is none. */
bool control_ask_vsock(struct machine *machine, const struct vmm_control_vsock_request *request);
bool control_ask_backend(
	struct machine *machine, const struct vmm_control_backend_request *request);

/* Answers who waits for a pause. result 0 or a negative errno. */
void control_paused(struct machine *machine, int result);

/* Sends what is to be sent and closes. */
void control_stop(struct machine *machine);

#endif
