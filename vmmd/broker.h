/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * broker: gives workers their spec and descriptors. A worker of systemd connects to the
 * broker's socket, to which anyone may connect: who a peer is, the kernel and PID 1 say
 * (sd_pid_get_unit, MainPID, the unit's uid), never the peer. A worker of direct spawn has its
 * end of a socket pair from birth.
 *
 * Whoever is refused is logged and told; nothing else changes.
 */
#ifndef VMMD_BROKER_H
#define VMMD_BROKER_H

#include "manager.h"

enum {
	BROKER_MAX_CONNECTIONS = 64,
	BROKER_HELLO_SEC = 10, /* to say who it is */
	BROKER_TOTAL_SEC = 60, /* from then on, resources included */
};

struct broker;

/* Takes over *listen_fd; -EBADF: only socket pairs. */
int broker_new(struct manager *manager, int *listen_fd, struct broker **ret);
struct broker *broker_free(struct broker *broker);

/* Whether a worker is being served. */
bool broker_is_busy(const struct broker *broker);

/* Serves a worker that vmmd has made itself. Takes over *fd. */
int broker_adopt(struct broker *broker, struct machine *machine, int *fd);

#endif
