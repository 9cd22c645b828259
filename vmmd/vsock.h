/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vsock: sockets between programs of the host and a guest.
 *
 * To the guest: RUN_DIR/machine/NAME/vsock is a unix stream socket that the worker accepts on. A
 * client writes "CONNECT PORT\n", reads "OK HOSTPORT\n" once the guest has accepted, and has its
 * connection; the socket is closed where the guest refuses. Only root gets there; others ask
 * ConnectVsock() on the bus.
 *
 * From the guest: a worker opens nothing. It asks for a port of the host, and what HostPorts= of
 * the .vm file, as it is now, names for that port is connected to here and handed over. The path
 * lies below /run, is looked up without links and without leaving that file system, and the
 * connection never waits: no guest and no dead server holds vmmd up. Who serves it sees vmmd's
 * uid, not that of a user.
 *
 * A guest that asks on end is answered at most VSOCK_RATE times a second, after a burst.
 */
#ifndef VMMD_VSOCK_H
#define VMMD_VSOCK_H

#include <stdint.h>

#include "log.h"

enum {
	VSOCK_RATE = 200,
	VSOCK_BURST = 1000,
};

struct machine;
struct vmm_control_vsock_request;

/* What a machine may still ask for. Zero is a good start. */
struct vsock_budget {
	uint64_t full_usec; /* CLOCK_MONOTONIC: when the burst is there again */
	struct log_limit limit;
};

/* The same for a name each time; no address that is reserved. */
uint32_t vsock_default_cid(const char *name);

/* True, and taken off the budget, where one more is allowed. */
bool vsock_budget_take(struct vsock_budget *budget, uint64_t now_usec);

/* The guest wants to connect: answers through the machine's control connection. */
void vsock_guest_asks(struct machine *machine, const struct vmm_control_vsock_request *request);

/*
 * A connected SOCK_STREAM or SOCK_SEQPACKET socket for the port of a list as HostPorts= has it.
 * -EACCES: the list does not have it; or what keeps it from being connected to.
 */
int vsock_connect_host(const char *host_ports, uint32_t port, bool seqpacket, int *ret_fd);

#endif
