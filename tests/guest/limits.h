/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * limits: what tests/guest/limits.c and who runs it agree on: the limits of a machine's devices,
 * and that each time a LAPS_A_SECOND-th of a second's worth went by one of them, its letter is
 * written to ttyS0.
 */
#ifndef VMM_TESTS_GUEST_LIMITS_H
#define VMM_TESTS_GUEST_LIMITS_H

#define LAPS_A_SECOND 10
#define FIRST_LETTER 'A'
#define VSOCK_PORT 5000
#define FRAME_BYTES 1000

/* Of two disks and two networks each has the one kind of limit. */
enum limit {
	DISK_BYTES,
	DISK_OPS,
	RECEIVE_BYTES,
	TRANSMIT_BYTES,
	RECEIVE_PACKETS,
	TRANSMIT_PACKETS,
	VSOCK_RECEIVE_BYTES,
	VSOCK_TRANSMIT_BYTES,
	RNG_BYTES,
	CONSOLE_BYTES,
	N_LIMITS
};

/* Each a second, and no two the same: some hundred requests, so that all are far from what the
 * devices can. */
static const unsigned int limit_rates[N_LIMITS] = {
	[DISK_BYTES] = 2000000,
	[DISK_OPS] = 400,
	[RECEIVE_BYTES] = 300000,
	[TRANSMIT_BYTES] = 350000,
	[RECEIVE_PACKETS] = 450,
	[TRANSMIT_PACKETS] = 250,
	[VSOCK_RECEIVE_BYTES] = 1000000,
	[VSOCK_TRANSMIT_BYTES] = 800000,
	[RNG_BYTES] = 20000,
	[CONSOLE_BYTES] = 30000,
};

#endif
