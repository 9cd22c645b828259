/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guest: connections to a vsock port of a machine's guest, through vmmd. */
#ifndef VMMCTL_GUEST_H
#define VMMCTL_GUEST_H

#include "ctl.h"

/* The port that sshd of a guest listens on: systemd-ssh-generator(8). */
#define GUEST_SSH_PORT 22

/*
 * Asks vmmd for a connection. The socket is non-blocking, and the guest has not accepted yet: see
 * guest_read_answer(). A negative errno; quietly: without telling why.
 */
int guest_ask(struct ctl *ctl, const char *name, uint32_t port, bool quietly, int *ret_fd);

/* What the guest says: 1 it has accepted, 0 not yet, negative: it does not. Never waits. */
int guest_read_answer(int fd);

#endif
