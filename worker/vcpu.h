/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vcpu: the threads that run the guest. Each sets its vCPU up, closes its sandbox and waits at a
 * gate; when all are there, the gate opens and the first instruction runs.
 */
#ifndef VMMD_WORKER_VCPU_H
#define VMMD_WORKER_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmmcore/kvm.h>

#include "worker/protocol.h"

struct machine;

struct vcpu {
	struct machine *machine;
	struct vmm_vcpu *vcpu; /* owned */
	pthread_t thread;
	bool has_thread;
	bool at_gate; /* under vcpus.lock */
	int result;   /* set-up, or why it stopped; read after at_gate or a join */
	const char *failed_step;
	_Atomic uint64_t n_exits;       /* to us; written by its thread alone */
	struct vmm_vcpu_exit last_exit; /* of MACHINE_VCPU_FAILED */
};

struct vcpus {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct vcpu vcpus[VMM_SPEC_MAX_CPUS];
	uint32_t n_vcpus;
};

/* The phase: starts all threads and waits until each is at the gate. */
int vcpus_start(struct machine *machine);
void vcpus_open_gate(struct machine *machine);

/* Hold all; afterwards none runs guest code or is inside a device. -ETIMEDOUT. */
int vcpus_pause(struct machine *machine);
void vcpus_resume(struct machine *machine);

/* machine->over is set: wakes the threads and waits for their end. */
void vcpus_join(struct machine *machine);

#endif
