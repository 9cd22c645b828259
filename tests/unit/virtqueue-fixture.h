/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtqueue share: memory, a queue and the ring of its driver. */
#ifndef VMM_TESTS_VIRTQUEUE_FIXTURE_H
#define VMM_TESTS_VIRTQUEUE_FIXTURE_H

#include "base/util.h"
#include "lib/vring.h"
#include "unit.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <vmmcore/virtqueue.h>

/* Two adjacent regions, the first of which ends in the middle of what tests use; then a hole, and
 * a read-only region. */
#define RAM_A_BYTES UINT64_C(0x40000)

#define RAM_B_GPA RAM_A_BYTES
#define RAM_B_BYTES UINT64_C(0x40000)
#define HOLE_GPA (RAM_B_GPA + RAM_B_BYTES)
#define ROM_GPA UINT64_C(0x100000)
#define ROM_BYTES UINT64_C(0x1000)
#define RING_GPA UINT64_C(0x1000)
#define DATA_GPA UINT64_C(0x20000)
#define SIZE 16
extern struct vmm_mem *mem;
extern struct vmm_virtqueue *queue;
extern struct vring ring;
extern struct iovec iov[64];
extern struct vmm_virtqueue_chain chain;
uint8_t *ram(void);
void setup(void);
void teardown(void);
struct vmm_virtqueue_config config_of(uint64_t features);
void start(uint16_t size, bool packed, uint64_t features);
int pop(void);
void expect_used(uint32_t id, uint32_t len);
void expect_nothing_used(void);

/* virtqueue-hostile.c */
void add_hostile_tests(TCase *tcase);

#endif
