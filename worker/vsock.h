/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vsock: the socket device of a machine, with a loop and a thread of its own.
 *
 * To the guest: programs of the host connect to the unix socket that vmmd made and handed over,
 * write "CONNECT PORT\n" and read "OK HOSTPORT\n" when the guest has accepted; what follows is the
 * connection.
 *
 * From the guest: the worker can open nothing, so a connection to port P of the host becomes a
 * VMM_CONTROL_VSOCK_REQUEST to vmmd, which answers with a connected socket or a refusal. At most
 * VMM_CONTROL_MAX_VSOCK_REQUESTS are asked for at a time, VSOCK_MAX_WAITING wait for their turn,
 * and more are refused; each one that has no answer after VSOCK_PATIENCE_NSEC is given up. So
 * neither a guest that asks on end nor a vmmd that says nothing holds anything up.
 *
 * Threads: the device and its sockets belong to the thread; vsock_answer() and what asks are of
 * the machine's loop. Between them go two short lists under a lock.
 */
#ifndef VMMD_WORKER_VSOCK_H
#define VMMD_WORKER_VSOCK_H

#include <pthread.h>
#include <stdint.h>
#include <vmmcore/loop.h>
#include <vmmcore/virtio-vsock.h>

#include "worker/protocol.h"

#define VSOCK_MAX_WAITING 64
#define VSOCK_PATIENCE_NSEC UINT64_C(2000000000)
#define VSOCK_RETRY_NSEC UINT64_C(1000000000)

struct machine;

struct vsock_request {
	struct vmm_vsock_request request;
	uint64_t deadline_nsec;
};

struct vsock_answer {
	uint64_t id;
	int fd; /* owned; or a negative errno */
};

enum vsock_probe {
	VSOCK_PROBE_NONE,
	VSOCK_PROBE_ASKED,
	VSOCK_PROBE_REFUSED,
	VSOCK_PROBE_ANSWERED,
};

struct vsock {
	struct machine *machine;         /* borrowed */
	struct vmm_virtio_vsock *device; /* owned; NULL: the machine has none */
	struct vmm_vsock_mux *mux;       /* owned; may be NULL */

	struct vmm_loop_source *wants;    /* of the machine's loop: something waits */
	struct vmm_loop_source *answered; /* of the device's loop */

	pthread_mutex_t lock;
	struct vsock_request waiting[VSOCK_MAX_WAITING]; /* a ring */
	size_t first_waiting, n_waiting;
	struct vsock_answer answers[VSOCK_MAX_WAITING + VMM_CONTROL_MAX_VSOCK_REQUESTS];
	size_t n_answers;

	/* Only the machine's loop's: what vmmd was asked. deadline 0: free. */
	struct vsock_request asked[VMM_CONTROL_MAX_VSOCK_REQUESTS];

	/* A port of the guest that is tried until it answers. */
	struct vmm_loop_source *retry;                 /* of the machine's loop */
	void (*port_answers)(struct machine *machine); /* NULL: none is awaited */
	uint32_t awaited_port;
	int probe_fd;           /* under the lock: for the device's thread, or -EBADF */
	enum vsock_probe probe; /* under the lock */
};

/* Part of the phase "drives". */
int vsock_add(struct machine *machine);

/* Calls answers, once, when the guest takes a connection to port: tried each VSOCK_RETRY_NSEC. */
int vsock_await_port(
	struct machine *machine, uint32_t port, void (*answers)(struct machine *machine));
/* It is no longer of interest. */
void vsock_forget_port(struct vsock *vsock);

/*
 * vmmd's answer: a socket, which is taken over in any case, or a negative errno. -ENOENT where
 * nobody waits for it, -ENOTSOCK.
 */
int vsock_answer(struct vsock *vsock, uint64_t id, int fd);

#endif
