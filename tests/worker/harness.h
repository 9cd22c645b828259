/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * harness: starts vmmd-worker as vmmd does, and is its broker, its service manager and its
 * control client. For tests of libcheck that run in a process of their own each.
 */
#ifndef VMM_TESTS_WORKER_HARNESS_H
#define VMM_TESTS_WORKER_HARNESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "guests.h"
#include "worker/protocol.h"

struct worker {
	pid_t pid;
	struct vmm_spec spec;
	int fds[VMM_HANDOVER_MAX_FDS];
	int broker_fd;
	int notify_fd;
	int output_fd; /* what it wrote to standard output and standard error */
	int control_fd;
	char directory[64];
	char notified[4096]; /* all that came so far */
	char output[1 << 20];
	size_t n_output;
	uint64_t next_id;
	int missing_capability; /* KVM_CAP_*, which the worker's KVM is made to lack; 0: none */
};

/* A spec of 32 MiB and one CPU for this guest, with everything that must be there. */
void worker_prepare(struct worker *worker, const struct guest *guest);
/* Hands fd over too (and takes it); returns its index. */
uint32_t worker_add_fd(struct worker *worker, int fd);

/* In place of the guest: the ELF file whose path that environment variable is. */
void worker_take_kernel(struct worker *worker, const char *variable);

/* environment: "NAME=VALUE" or NULL, as many as there are, ended by NULL. */
void worker_exec(struct worker *worker, const char *const *environment);
void worker_hand_over(struct worker *worker);
/* All three of these, and then waits for READY=1. */
void worker_start(struct worker *worker, const struct guest *guest);

/* Waits until text was notified, or was written to the output; fails the test after 40 s. */
void worker_await_notify(struct worker *worker, const char *text);
void worker_await_output(struct worker *worker, const char *text);
/* Waits for the end and returns the exit status, or 1000 and the signal. */
int worker_wait(struct worker *worker);

/* Connects to the control socket. */
int worker_connect(struct worker *worker);
/* Sends a request and waits for its reply; events on the way are skipped. Returns result. */
int worker_request(struct worker *worker, int socket_fd, uint32_t type, const void *payload,
	size_t size, int fd, struct vmm_control_message *ret_reply);
int worker_ask(struct worker *worker, int socket_fd, uint32_t type);
/* Waits for this event. */
void worker_await_event(int socket_fd, uint32_t event, struct vmm_control_message *ret_message);

void worker_finish(struct worker *worker);

/* Reads until text came, or fails the test. */
void await_text(int fd, char *buffer, size_t size, const char *text);

#endif
