/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* board: what board.c and threads.c share. */
#ifndef VMM_BOARD_INTERNAL_H
#define VMM_BOARD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmmcore/board.h>

#include "base/util.h"

struct board_vcpu {
	struct vmm_board *board; /* borrowed: it owns us */
	struct vmm_vcpu *vcpu;   /* owned */
	pthread_t thread;
	bool has_thread; /* not joined yet */
};

struct vmm_board {
	struct vmm_board_config config;
	struct vmm_vm *vm;        /* owned */
	struct vmm_bus *pio;      /* owned */
	struct vmm_bus *mmio;     /* owned */
	struct board_vcpu *vcpus; /* owned, n_vcpus */
	uint32_t n_vcpus;
	bool is_started;
	atomic_bool is_stopping;

	pthread_mutex_t lines_lock;
	struct vmm_irq_eventfd lines[VMM_VM_N_IOAPIC_PINS]; /* fd owned; -EBADF: not made yet */
};

#endif
