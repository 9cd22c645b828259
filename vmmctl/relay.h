/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * relay: bytes between two sides, both ways, with the end of each passed on by itself. A side that
 * does not take what it gets is not read for.
 */
#ifndef VMMCTL_RELAY_H
#define VMMCTL_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	RELAY_BYTES = 32 * 1024,
	RELAY_POLLS = 6,
};

/* One way. */
struct relay_way {
	int from_fd, to_fd; /* borrowed, non-blocking */
	bool is_socket;     /* from_fd */
	bool read_ended;    /* nothing more comes */
	bool ended;         /* and all of it has gone */
	size_t begin, end;
	char data[RELAY_BYTES];
};

struct relay {
	struct relay_way ways[2];
};

/* Between what a_in and a_out are the two descriptors of, and b. */
void relay_begin(struct relay *relay, int a_in, int a_out, int b);

/* What it waits for; some have fd -1. */
void relay_poll(const struct relay *relay, struct pollfd polls[RELAY_POLLS]);

/* After poll(). False: both ways have ended, or one side has broken. */
bool relay_step(struct relay *relay);

#endif
