/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* board: the vCPUs and their threads. */
#include "board/board-internal.h"

#include <signal.h>

/* Returns when the vCPU is not to run any more, with the last exit, or a negative errno. */
static int run(struct board_vcpu *self, struct vmm_vcpu_exit *exit)
{
	struct vmm_board *board = self->board;

	for (;;) {
		int r = vmm_vcpu_run(self->vcpu, exit);

		if (r < 0)
			return r;
		switch (exit->reason) {
		case VMM_EXIT_PIO_READ:
			vmm_bus_read(board->pio, exit->address, exit->data, exit->length_bytes);
			break;
		case VMM_EXIT_PIO_WRITE:
			vmm_bus_write(board->pio, exit->address, exit->data, exit->length_bytes);
			break;
		case VMM_EXIT_MMIO_READ:
			vmm_bus_read(board->mmio, exit->address, exit->data, exit->length_bytes);
			break;
		case VMM_EXIT_MMIO_WRITE:
			vmm_bus_write(board->mmio, exit->address, exit->data, exit->length_bytes);
			break;
		case VMM_EXIT_KICK:
			if (board->is_stopping)
				return 0;
			break;
		default:
			return 0;
		}
	}
}

static void *thread_main(void *userdata)
{
	struct board_vcpu *self = userdata;
	const struct vmm_board_config *config = &self->board->config;
	const struct vmm_board_ops *ops = config->ops;
	uint32_t id = vmm_vcpu_id(self->vcpu);
	struct vmm_vcpu_exit exit;
	int r;

	r = vmm_vcpu_attach(self->vcpu, config->kick_signal);
	if (r >= 0 && ops && ops->thread_start)
		r = ops->thread_start(config->userdata, id);
	if (r >= 0)
		r = run(self, &exit);
	vmm_vcpu_detach(self->vcpu);
	if ((r < 0 || exit.reason != VMM_EXIT_KICK) && ops && ops->stopped)
		ops->stopped(config->userdata, id, MIN(r, 0), r < 0 ? NULL : &exit);
	return NULL;
}

static int set_up_vcpus(struct vmm_board *board, const struct vmm_x86_entry *entry)
{
	struct vmm_vcpu_config config = {
		.n_vcpus = board->n_vcpus,
		.threads_per_core = board->config.threads_per_core,
		.cores_per_socket = board->config.cores_per_socket,
		.entry = entry,
	};

	for (uint32_t i = 0; i < board->n_vcpus; i++) {
		int r = vmm_vcpu_setup(board->vcpus[i].vcpu, &config);

		if (r < 0)
			return r;
		config.entry = NULL;
	}
	return 0;
}

static int start_threads(struct vmm_board *board)
{
	for (uint32_t i = 0; i < board->n_vcpus; i++) {
		int r = pthread_create(
			&board->vcpus[i].thread, NULL, thread_main, &board->vcpus[i]);

		if (r != 0)
			return -r;
		board->vcpus[i].has_thread = true;
	}
	return 0;
}

int vmm_board_start(struct vmm_board *board, const struct vmm_x86_entry *entry)
{
	sigset_t all, before;
	int r;

	if (board->is_started)
		return -EALREADY;
	board->is_started = true;
	r = vmm_kvm_install_kick_handler(board->config.kick_signal);
	if (r < 0)
		return r;
	r = set_up_vcpus(board, entry);
	if (r < 0)
		return r;
	/* Threads are born with the signals of their maker blocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = start_threads(board);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		vmm_board_stop(board);
	return r;
}

void vmm_board_stop(struct vmm_board *board)
{
	board->is_stopping = true;
	for (uint32_t i = 0; i < board->n_vcpus; i++)
		if (board->vcpus[i].has_thread)
			vmm_vcpu_kick(board->vcpus[i].vcpu);
	for (uint32_t i = 0; i < board->n_vcpus; i++) {
		if (board->vcpus[i].has_thread)
			pthread_join(board->vcpus[i].thread, NULL);
		board->vcpus[i].has_thread = false;
	}
}

int vmm_board_sync(struct vmm_board *board, uint64_t timeout_nsec)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	uint64_t deadline_nsec;
	int result = 0;

	if (__builtin_add_overflow(now_nsec, timeout_nsec, &deadline_nsec))
		deadline_nsec = UINT64_MAX;
	for (uint32_t i = 0; i < board->n_vcpus; i++) {
		int r = 0;

		if (!board->vcpus[i].has_thread)
			continue;
		now_nsec = vmm_base_now_nsec();
		r = vmm_vcpu_sync(board->vcpus[i].vcpu,
			now_nsec < deadline_nsec ? deadline_nsec - now_nsec : 0);
		if (result == 0)
			result = r;
	}
	return result;
}

int vmm_board_pause(struct vmm_board *board, uint64_t timeout_nsec)
{
	/* All first, so that they stop at the same time as nearly as can be. */
	for (uint32_t i = 0; i < board->n_vcpus; i++)
		vmm_vcpu_pause(board->vcpus[i].vcpu);
	return vmm_board_sync(board, timeout_nsec);
}

void vmm_board_resume(struct vmm_board *board)
{
	for (uint32_t i = 0; i < board->n_vcpus; i++)
		vmm_vcpu_resume(board->vcpus[i].vcpu);
}
