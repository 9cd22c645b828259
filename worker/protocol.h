/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * protocol: what vmmd and vmmd-worker say to each other. Linked into both. Here is the broker's
 * part, what a machine is to be is in spec.h, and what is said on the control socket in
 * control-wire.h.
 *
 * Broker, AF_UNIX SOCK_SEQPACKET, one connection a start. The worker connects and speaks first:
 *
 *   worker -> vmmd   HELLO {name}
 *   vmmd -> worker   HANDOVER {number of descriptors}, with the spec and the first descriptors
 *                    MORE_FDS {first index}, as often as it takes, up to 253 a message
 *             or     REFUSED {exit status, text}: the worker prints the text and exits
 *
 * The spec is one struct vmm_spec in a memfd sealed with F_SEAL_SEAL, SHRINK, GROW and WRITE:
 * nobody can change what was checked. It is descriptor 0 of the hand-over; the spec names the
 * others by their index, so that index 0 means "none". Each one is named exactly once.
 *
 * Control, AF_UNIX SOCK_SEQPACKET, any number of connections in the life of a VM (see
 * VMM_CONTROL_MAX_CLIENTS): requests with an id, one reply each with the same id, and events.
 *
 * Both sides take the other for hostile. Each decoder copies what it got into the caller's
 * structure, checks sizes, numbers, enumerations, flags, string ends and the number of
 * descriptors, and returns -EBADMSG for anything else; no decoder looks at memory that the
 * sender can still change. Integers are in host order: both ends are one machine. A member
 * named reserved is zero, and so is what follows the end of a string.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                              |
 *   |----------------------------------------------------|-------------------------------------|
 *   | wrong magic, version, type, size, reserved bytes   | -EBADMSG (version: -EPROTONOSUPPORT)|
 *   | control: a type or a payload that is not known     | -EOPNOTSUPP, descriptors closed     |
 *   | string without its NUL, or with bytes after it     | -EBADMSG, spec: text names the field|
 *   | more or fewer descriptors than said                | -EBADMSG, all of them closed        |
 *   | truncated message or control data (MSG_TRUNC)      | -EBADMSG, all of them closed        |
 *   | a peer that says nothing                           | -ETIMEDOUT                          |
 *   | a peer that goes away                              | -ECONNRESET                         |
 *   | a spec that is not sealed, too small, or grows     | -EBADMSG with text                  |
 *   | index out of range, named twice, or never          | -EBADMSG with text                  |
 *
 * Threads: no state; any thread, one at a time a socket.
 */
#ifndef VMMD_WORKER_PROTOCOL_H
#define VMMD_WORKER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/control-wire.h"
#include "worker/spec.h"

#define VMM_BROKER_PATH "/run/vmmd/broker.sock"

/* Exit statuses of a worker: what its unit does then is in vmm@.service(8). */
enum vmm_worker_exit {
	VMM_WORKER_EXIT_POWEROFF = 0, /* the guest powered off, or a stop that ended well */
	VMM_WORKER_EXIT_FAILURE = 1,  /* the host failed */
	VMM_WORKER_EXIT_CRASH = 70,   /* guest panic or triple fault */
	VMM_WORKER_EXIT_CONFIG = 78,  /* what was asked for cannot work */
	VMM_WORKER_EXIT_REBOOT = 133, /* the guest reboots: start again */
};

/* That of a worker whose machine ended so (enum vmm_end). */
enum vmm_worker_exit vmm_worker_exit_status(uint32_t end);

/* Descriptors in one message: the kernel's limit. */
#define VMM_MESSAGE_MAX_FDS 253

enum vmm_broker_type {
	VMM_BROKER_HELLO = 1,
	VMM_BROKER_HANDOVER,
	VMM_BROKER_MORE_FDS,
	VMM_BROKER_REFUSED,
};

struct vmm_broker_hello {
	uint32_t magic;
	uint32_t version;
	uint32_t type;
	uint32_t size; /* of this message */
	char name[VMM_NAME_SIZE];
	uint32_t reserved;
};

struct vmm_broker_answer {
	uint32_t magic;
	uint32_t version;
	uint32_t type;
	uint32_t size;
	uint32_t n_fds;       /* HANDOVER: in all its messages; MORE_FDS: in this one */
	uint32_t first_fd;    /* MORE_FDS: index of its first */
	uint32_t exit_status; /* REFUSED: 1 to 255 */
	uint32_t reserved;
	char text[VMM_TEXT_SIZE]; /* REFUSED: one line, printable */
};

/* What a worker got. */
struct vmm_handover {
	bool refused;
	int exit_status;               /* refused */
	char text[VMM_TEXT_SIZE];      /* refused, or why the answer was bad (may be empty) */
	struct vmm_spec *spec;         /* owned */
	int fds[VMM_HANDOVER_MAX_FDS]; /* owned; 0 was the spec's and is -EBADF */
	size_t n_fds;
};

/* Decoders: data is private to the caller. 0, -EBADMSG or -EPROTONOSUPPORT. */
int vmm_broker_decode_hello(const void *data, size_t size, struct vmm_broker_hello *ret_hello);
int vmm_broker_decode_answer(const void *data, size_t size, struct vmm_broker_answer *ret_answer);

/*
 * vmmd's side. The socket may be non-blocking: then -EAGAIN means "not yet" and nothing was lost.
 * Descriptors that come with a HELLO are closed, and it is -EBADMSG. -ECONNRESET at the end.
 */
int vmm_broker_receive_hello(int socket_fd, struct vmm_broker_hello *ret_hello);

/*
 * Sends the whole hand-over: writes spec (with n_fds set) into a sealed memfd, sends it as
 * descriptor 0 and fds[1 .. n_fds - 1] after it; fds[0] is ignored, all stay the caller's.
 * Waits at most timeout_nsec for the socket. -ETIMEDOUT, -EPIPE, or as for sendmsg.
 */
int vmm_broker_send_handover(int socket_fd, const struct vmm_spec *spec, const int *fds,
	size_t n_fds, uint64_t timeout_nsec);

/* text is cut to VMM_TEXT_SIZE; bytes that are not printable become '?'. Never waits: -EAGAIN. */
int vmm_broker_send_refused(int socket_fd, int exit_status, const char *text);

/* The worker's side. */
int vmm_broker_send_hello(int socket_fd, const char *name);

/*
 * Waits at most timeout_nsec in all. 0 also where ret_handover->refused; else what is in
 * *ret_handover is to be freed with vmm_handover_finish(). The spec is checked by
 * vmm_spec_check() and is the one for name. A failure leaves nothing but text.
 */
int vmm_broker_receive_handover(
	int socket_fd, const char *name, uint64_t timeout_nsec, struct vmm_handover *ret_handover);
void vmm_handover_finish(struct vmm_handover *handover);

#endif
