/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * notify-socket: what workers of direct spawn say by sd_notify(3). Who says it, the kernel tells.
 */
#ifndef VMMD_NOTIFY_SOCKET_H
#define VMMD_NOTIFY_SOCKET_H

#include <sys/types.h>
#include <systemd/sd-event.h>

struct notify_socket;

/* One VARIABLE=VALUE from process pid; may hold any bytes but NUL and newline. */
typedef void (*notify_line_t)(void *userdata, pid_t pid, const char *line);

/* Binds path, which must be short enough for a socket. */
int notify_socket_new(sd_event *event, const char *path, notify_line_t line, void *userdata,
	struct notify_socket **ret);
struct notify_socket *notify_socket_free(struct notify_socket *socket);

/* Takes in what has already come. */
void notify_socket_drain(struct notify_socket *socket);

#endif
