/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-script: an input as what one side of vhost-user sends: pieces of
 *
 *	kind        bits 0 to 3: descriptors, bits 4 and 5: what they are (enum script_fd);
 *	            0xff: not sent, but put into the shared memory at offset * 64;
 *	            0xfe: sent on the channel for the back end's own requests, without descriptors
 *	offset      of that, else not used
 *	length      2 bytes, little-endian
 *	bytes
 */
#ifndef VMM_TESTS_VHOST_USER_SCRIPT_H
#define VMM_TESTS_VHOST_USER_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#define SCRIPT_MEMORY_BYTES (2 << 20)

enum script_fd {
	SCRIPT_MEMFD, /* the shared memory */
	SCRIPT_EVENTFD,
	SCRIPT_PIPE,
	SCRIPT_SHORT_MEMFD,
};

/* Sends all of it into a new pair of sockets and closes that direction. The other end. */
int script_socket(const uint8_t *data, size_t size);
/* When the other end has sent a socket first of all descriptors: sends what is for the channel. */
void script_channel(const uint8_t *data, size_t size);
/* The ones that the script sends from: closed by the next call or this. */
void script_end(void);

#endif
