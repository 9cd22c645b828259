/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-vsock know of the host's end of connections. */
#ifndef VMM_TESTS_TARGET_VSOCK_H
#define VMM_TESTS_TARGET_VSOCK_H

#include <stdint.h>

#define VSOCK_GUEST_CID 77
#define VSOCK_HOST_CID 2
#define VSOCK_BUFFER_BYTES 65536
/* The host takes connections to this port, answers none to VSOCK_SLOW_PORT, refuses others. */
#define VSOCK_PORT 1024
#define VSOCK_SLOW_PORT 1025

/* Events for target.host(): about the connection that was made last, or by VSOCK_HOST_CONNECT. */
enum vsock_host {
	VSOCK_HOST_CONNECT,  /* data: 32 bits of guest port, a byte: the type (1 or 2) */
	VSOCK_HOST_SEND,     /* data */
	VSOCK_HOST_GOT,      /* whether the next bytes, or the next message, are data */
	VSOCK_HOST_SHUT_OUT, /* sends no more */
	VSOCK_HOST_CLOSE,
	VSOCK_HOST_AT_END,  /* whether the guest has said that it sends no more */
	VSOCK_HOST_IS_OPEN, /* whether there is a connection */
};

#endif
