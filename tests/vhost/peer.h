/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * peer: another program that serves on a Unix socket, for tests: started, killed, started again.
 * It does not outlive the test.
 */
#ifndef VMM_TESTS_VHOST_PEER_H
#define VMM_TESTS_VHOST_PEER_H

#include <stdbool.h>
#include <sys/types.h>

struct peer {
	char folder[64]; /* its own, removed at the end */
	char socket[96]; /* in it */
	pid_t pid;       /* 0: none */
};

/* Makes the folder. */
void peer_init(struct peer *peer);
/* argv ends with NULL. */
void peer_start(struct peer *peer, const char *const *argv);
/* Kills it at once and waits for its end. */
void peer_kill(struct peer *peer);
void peer_finish(struct peer *peer);

/* For connect() of virtio-vhost.h; userdata is the peer. */
int peer_connect(void *userdata);
/* Waits, 20 s at most, until somebody listens, and connects. */
int peer_wait_connect(struct peer *peer);

/* Whether the program is there; says so where it is not. */
bool peer_exists(const char *program);

#endif
