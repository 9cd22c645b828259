/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * harness: runs a bare-metal guest on /dev/kvm: a small monitor made of the library's blocks, for
 * tests. Failures of the host end the test through libcheck.
 */
#ifndef VMM_TESTS_HARNESS_H
#define VMM_TESTS_HARNESS_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <vmmcore/bus.h>
#include <vmmcore/kvm.h>
#include <vmmcore/loader.h>
#include <vmmcore/mem.h>

#include "base/util.h"

#define MAX_VCPUS 64
#define MAX_MARKS 1024
#define MIB UINT64_C(0x100000)
#define GUEST_MEMORY_BYTES (32 * MIB)

/* Beside what a guest gives at its exit port. */
enum {
	GUEST_RUNS = -1,
	GUEST_SHUTDOWN = -2, /* triple fault */
	GUEST_STOPPED = -3,  /* by guest_stop() */
};

struct guest_vcpu {
	struct guest *guest;
	struct vmm_vcpu *vcpu;
	pthread_t thread;
	bool is_started;
	_Atomic uint64_t n_exits; /* other than kicks */
	_Atomic uint64_t n_kicks;
};

/* Zero is the default of each member. */
struct guest_config {
	const char *name; /* of the ELF file, without its directory and end */
	unsigned int n_vcpus;
	const char *cmdline;
	bool without_irqchip;
	bool dirty_log;
	bool manual_dirty_log;
};

struct guest {
	struct vmm_kvm *kvm;
	struct vmm_vm *vm;
	struct vmm_mem *mem;
	struct vmm_bus *pio, *mmio;
	struct guest_vcpu vcpus[MAX_VCPUS];
	unsigned int n_vcpus;
	_Atomic bool is_stopping;
	int run_result;                           /* a negative errno of vmm_vcpu_run() */
	void (*on_kick)(struct guest_vcpu *vcpu); /* may be NULL; in the vCPU's thread */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	int status; /* GUEST_RUNS, or how it ended */
	uint32_t marks[MAX_MARKS];
	unsigned int n_marks;
};

/* Ends the program with status 77 where there is no /dev/kvm to use. */
void guest_need_kvm(void);

/* Makes all up to the first instruction. Devices are added to the buses after it. */
void guest_init(struct guest *guest, const struct guest_config *config);
void guest_start(struct guest *guest);

/* Waits, 20 seconds at most, until the guest ended; how. */
int guest_wait(struct guest *guest);

/* Waits until the guest has given n marks; the last of them. */
uint32_t guest_wait_marks(struct guest *guest, unsigned int n);

/* Ends all vCPU threads. */
void guest_stop(struct guest *guest);
void guest_finish(struct guest *guest);

/* init, start, wait, finish: for guests that need nothing else. */
int guest_run(const struct guest_config *config);

/* How many descriptors this process has. */
int open_descriptors(void);

/* An eventfd, and how often it was signalled since the last call. */
int make_eventfd(void);
uint64_t take_eventfd(int fd);

/* Waits, 10 seconds at most, until the eventfd is signalled. */
void wait_eventfd(int fd);

#endif
