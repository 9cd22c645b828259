/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtio share: a device that echoes, in a machine, with a driver. */
#ifndef VMM_TESTS_VIRTIO_FIXTURE_H
#define VMM_TESTS_VIRTIO_FIXTURE_H

#include "base/util.h"
#include "lib/vdriver.h"
#include "lib/vmm-machine.h"
#include "unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RAM_BYTES (UINT64_C(1) << 20)
#define N_QUEUES 3
#define QUEUE_SIZE 64

/* A device that copies what it reads to where it may write. */
extern struct echo {
	struct vmm_virtio_device *device;
	struct vmm_mem *mem;
	uint8_t config[10];
	int fail_activate;
	int fail_process;
	bool hold; /* keeps chains in flight */
	int held_queue;
	struct vmm_virtqueue_chain held;
	struct iovec held_iov[4];
	bool is_held;
	bool reset_pending;
	bool queue_reset_pending;
	int n_activate, n_reset, n_pause, n_resume, n_queue_reset, n_queue_enable, n_processed;
	int budget;
	uint64_t features_at_activate;
} echo;

extern const uint16_t queue_sizes[N_QUEUES];
extern const struct vmm_virtio_ops echo_ops;
extern struct vmm_machine machine;
extern struct vdriver driver;

/* The request that was in flight ends, as in an I/O thread. */
void end_held(void);

void make(bool pci, bool lock_per_queue);
void teardown(void);
uint64_t ring_features(int i);
void expect_echo(uint16_t queue, const char *text);
void start(int i);

/* virtio-reset.c */
void add_reset_tests(TCase *tcase);

/* virtio-registers.c */
void add_register_tests(TCase *tcase);

#endif
