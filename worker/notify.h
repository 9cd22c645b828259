/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * notify: the worker's side of sd_notify(3): datagrams of VARIABLE=VALUE lines to the socket that
 * $NOTIFY_SOCKET names (a path, or abstract with '@'). Without one, everything here does
 * nothing and succeeds.
 */
#ifndef VMMD_WORKER_NOTIFY_H
#define VMMD_WORKER_NOTIFY_H

#include <stdint.h>

struct notify {
	int fd;                 /* owned, connected; -EBADF: none */
	uint64_t watchdog_nsec; /* 0: none wanted of this process */
};

/* Reads the environment and connects. Before the sandbox closes. Negative: of the socket. */
int notify_open(struct notify *notify);
void notify_close(struct notify *notify);

/* Never waits; what the receiver has no room for is lost, as sd_notify says. */
void notify_send(const struct notify *notify, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
