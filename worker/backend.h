/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * backend: devices whose queues somebody else serves: drives, networks and shares with a vhost-user
 * back end, networks with vhost-net, a vsock with vhost-vsock. Each has a thread of its own, which
 * virtio-vhost runs and which is sealed by vhost.policy.
 *
 * The worker connects to nothing. A device starts with the connection that it was handed; when
 * its back end goes, its thread finds no other one, the loop asks vmmd for it over the control
 * socket (VMM_CONTROL_BACKEND_REQUEST), one question a device at a time, and the thread takes what
 * has come. Until then, and at most for the device's time to reconnect, the guest sees a pause;
 * then the device fails, and the machine goes on.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                              |
 *   |----------------------------------------------------|-------------------------------------|
 *   | a back end that breaks the protocol                | see virtio-vhost.h: it is cut off   |
 *   | a back end that comes and goes on end              | a question each ASK_AGAIN_NSEC      |
 *   | an answer to no question, or to an old one         | -ENOENT, its descriptor is closed   |
 *   | an answer whose descriptor is no socket            | -ENOTSOCK, it is asked for again    |
 *   | a connection while one waits to be taken           | the older one is closed             |
 *
 * Threads: the loop's, but for what virtio-vhost calls in the device's thread.
 */
#ifndef VMMD_WORKER_BACKEND_H
#define VMMD_WORKER_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmmcore/virtio-vhost.h>

#include "worker/protocol.h"

struct machine;
struct machine_virtio;

/* Of one device; all zero at first. */
struct backend {
	struct vmm_virtio_vhost *vhost; /* owned; NULL: it is served here */
	bool is_user;                   /* by another process, not the kernel */
	bool has_unit;                  /* which is a unit of ours */

	/* Under lock: between the device's thread and the loop. */
	pthread_mutex_t lock;
	int fd;            /* owned: a connection that has come; -EBADF */
	bool wanted;       /* the thread has found none */
	bool is_connected; /* as the thread said last */
	bool said_connected;

	/* The loop's. */
	uint64_t question; /* that is not answered; 0: none */
	uint64_t ask_nsec; /* when it may be asked again */
	bool said_failed;
};

/* The phase: what devices need of the loop. Before the first of them. */
int backend_start(struct machine *machine);

/* The devices of the spec. 0, or an exit status. */
int backend_add_drive(struct machine *machine, const struct vmm_spec_drive *drive,
	const struct vmm_spec_backend *backend);
int backend_add_network(struct machine *machine, const struct vmm_spec_network *network,
	const struct vmm_spec_backend *backend);
int backend_add_share(struct machine *machine, const struct vmm_spec_share *share);
/* The vsock that the kernel serves. */
int backend_add_vsock(struct machine *machine);

/* Nobody uses the device any more. Does nothing where it is served here. */
void backend_free(struct machine_virtio *virtio);

/* What clients see of it. */
void backend_describe(const struct machine_virtio *virtio, struct vmm_control_device *device);

/* An answer to a question: fd is taken over, negative for a refusal. -ENOENT, -ENOTSOCK. */
int backend_answer(struct machine *machine, uint64_t id, int fd);

#endif
