/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * serve: how vmmd knows that the server of a drive or share has what vmmd looked at, and nothing
 * that somebody put into its place before systemd mounted it.
 *
 * vmmd connects to the socket of the server's unit. There vmmd-serve, which runs before the server
 * and sees the same mounts, sends one struct serve_offer with two descriptors: what is mounted,
 * opened with O_PATH, and a connection to the server to come. vmmd answers with SERVE_GO, and only
 * then does the server start; without it vmmd-serve ends. That connection is of this very process:
 * when it ends, so does the connection, and another one has to be asked for and looked at again.
 */
#ifndef VMMD_SERVE_H
#define VMMD_SERVE_H

#include <stdint.h>

#define SERVE_MAGIC UINT32_C(0x764d6d53)
#define SERVE_VERSION 1
#define SERVE_GO 'y'

struct serve_offer {
	uint32_t magic;
	uint32_t version;
};

enum {
	SERVE_FD_MOUNTED,
	SERVE_FD_CONNECTION,
	SERVE_N_FDS,
	/* For vmmd-serve, which may have yet to be started. */
	SERVE_PATIENCE_MSEC = 10000,
	SERVE_AGAIN_PATIENCE_MSEC = 5000, /* less than a worker waits for an answer */
};

/*
 * vmmd's side: asks at socket, which is of a unit, for a connection to the server of what judged_fd
 * is. 0; -ESTALE: it has something else, and has not been started; -ECONNRESET: it has ended;
 * -EPROTO; -ETIMEDOUT; or as for backend_connect(), with that patience for the socket to come.
 */
int served_connect(const char *socket, int judged_fd, unsigned int socket_patience_msec,
	unsigned int patience_msec, int *ret_fd);

#endif
