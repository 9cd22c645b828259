/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * message: one SOCK_SEQPACKET message with its descriptors, sent or received whole. Internal to
 * the protocol; see protocol.h.
 */
#ifndef VMMD_WORKER_MESSAGE_H
#define VMMD_WORKER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Receives one message of at most data_size bytes and at most n_fds descriptors (O_CLOEXEC). A
 * message that is larger, or has more, is -EBADMSG and its descriptors are closed. -ECONNRESET
 * at the end of the connection, -EAGAIN, or as for recvmsg.
 */
int vmm_message_receive(int socket_fd, int flags, void *data, size_t data_size, size_t *ret_size,
	int *ret_fds, size_t n_fds, size_t *ret_n_fds);

/* Sends data and then more, which may be NULL with size 0, as one message. No SIGPIPE. */
int vmm_message_send(int socket_fd, int flags, const void *data, size_t size, const void *more,
	size_t more_size, const int *fds, size_t n_fds);

/* Waits for events on fd. 0, -ETIMEDOUT. deadline_nsec on CLOCK_MONOTONIC; UINT64_MAX: none. */
int vmm_message_wait(int fd, short events, uint64_t deadline_nsec);
uint64_t vmm_message_deadline(uint64_t timeout_nsec);

/* Ends inside its array with zeroes up to the end of it. */
bool vmm_message_string_ends(const char *string, size_t size);

#endif
