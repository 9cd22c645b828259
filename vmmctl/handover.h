/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * handover: a connection that this process has made, for the vmmctl that ssh runs to get one. ssh
 * closes all descriptors that it is started with, so it waits behind an abstract socket, for this
 * user only.
 */
#ifndef VMMCTL_HANDOVER_H
#define VMMCTL_HANDOVER_H

/*
 * Before exec: a child of this process has the connection then, until it is taken or this process
 * ends. Where that cannot be done there is nothing to take.
 */
void handover_offer(const char *name, int fd);

/* The connection to that machine's guest, which the caller owns; negative: none is offered. */
int handover_take(const char *name);

/* A descriptor to the other end of a socket. A negative errno. */
int handover_send(int socket_fd, int fd);

#endif
