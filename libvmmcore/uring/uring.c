/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * uring: see the public header. Completions signal an eventfd, because a ring of the kind that one
 * thread uses (DEFER_TASKRUN) does not wake up who polls its own descriptor. Around a submission
 * the signal is off: what completes there is found by the pops that follow.
 *
 * All ordering with the kernel goes through ring_load() and ring_store(): the tail of the
 * submission queue is released to the kernel, the tail of the completion queue acquired from it.
 */
#include <linux/io_uring.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <vmmcore/uring.h>

#include "base/util.h"

/* How often a kernel that cannot take an entry now is asked again. */
#define MAX_BUSY 1000

struct vmm_uring {
	int fd;       /* owned */
	int event_fd; /* owned; -EBADF: none */

	/* owned mappings */
	void *rings;
	size_t rings_bytes;
	struct io_uring_sqe *sqes;
	size_t sqes_bytes;

	unsigned int *sq_tail, *sq_flags, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_flags;
	struct io_uring_cqe *cqes;
	unsigned int sq_mask, cq_mask, sq_entries;
	unsigned int tail, n_unsubmitted;
	uint8_t sqe_flags;
};

static inline unsigned int ring_load(const unsigned int *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static inline void ring_store(unsigned int *index, unsigned int value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
}

static int sys_setup(unsigned int n_entries, struct io_uring_params *params)
{
	long r = syscall(SYS_io_uring_setup, n_entries, params);

	return r < 0 ? -errno : (int)r;
}

static int sys_enter(int fd, unsigned int n_submit, unsigned int n_wait, unsigned int flags)
{
	long r = syscall(SYS_io_uring_enter, fd, n_submit, n_wait, flags, NULL, 0);

	return r < 0 ? -errno : (int)r;
}

static int sys_register(int fd, unsigned int opcode, const void *argument, unsigned int n)
{
	long r = syscall(SYS_io_uring_register, fd, opcode, argument, n);

	return r < 0 ? -errno : (int)r;
}

static int setup(struct vmm_uring *ring, const struct vmm_uring_config *config,
	struct io_uring_params *ret_params)
{
	/* The first is of Linux 6.1. */
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};

	for (size_t i = config->one_thread ? 0 : 1; i < ARRAY_SIZE(flags); i++) {
		*ret_params = (struct io_uring_params){
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = config->cq_entries,
		};
		ring->fd = sys_setup(config->sq_entries, ret_params);
		if (ring->fd != -EINVAL)
			break;
	}
	if (ring->fd < 0)
		return ring->fd;
	/* What the code below relies on, all of it since Linux 5.5. */
	if (~ret_params->features &
		(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE))
		return -EOPNOTSUPP;
	return 0;
}

static int map(struct vmm_uring *ring, const struct io_uring_params *params)
{
	size_t sq_bytes = params->sq_off.array + params->sq_entries * sizeof(unsigned int);
	size_t cq_bytes = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	void *mapped;
	char *rings;

	ring->rings_bytes = MAX(sq_bytes, cq_bytes);
	mapped = mmap(NULL, ring->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		IORING_OFF_SQ_RING);
	if (mapped == MAP_FAILED)
		return -errno;
	ring->rings = rings = mapped;
	ring->sqes_bytes = params->sq_entries * sizeof(struct io_uring_sqe);
	mapped = mmap(NULL, ring->sqes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		IORING_OFF_SQES);
	if (mapped == MAP_FAILED)
		return -errno;
	ring->sqes = mapped;

	ring->sq_tail = (void *)(rings + params->sq_off.tail);
	ring->sq_flags = (void *)(rings + params->sq_off.flags);
	ring->sq_array = (void *)(rings + params->sq_off.array);
	ring->cq_head = (void *)(rings + params->cq_off.head);
	ring->cq_tail = (void *)(rings + params->cq_off.tail);
	ring->cq_flags = (void *)(rings + params->cq_off.flags);
	ring->cqes = (void *)(rings + params->cq_off.cqes);
	ring->sq_entries = params->sq_entries;
	ring->sq_mask = params->sq_entries - 1;
	ring->cq_mask = params->cq_entries - 1;
	/* Slot i of the array always names entry i. */
	for (unsigned int i = 0; i < params->sq_entries; i++)
		ring->sq_array[i] = i;
	return 0;
}

static int add_event(struct vmm_uring *ring)
{
	ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->event_fd < 0)
		return -errno;
	return sys_register(ring->fd, IORING_REGISTER_EVENTFD, &ring->event_fd, 1);
}

static int restrict_and_enable(struct vmm_uring *ring, const struct vmm_uring_config *config)
{
	struct io_uring_restriction restrictions[VMM_URING_MAX_OPERATIONS + 1];
	const unsigned int n = (unsigned int)config->n_operations;
	int r;

	memset(restrictions, 0, sizeof(restrictions));
	for (size_t i = 0; i < n; i++) {
		restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
		restrictions[i].sqe_op = config->operations[i];
	}
	/* Those that are required may be set, too; without any none may. */
	restrictions[n].opcode = ring->sqe_flags ? IORING_RESTRICTION_SQE_FLAGS_REQUIRED
						 : IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	restrictions[n].sqe_flags = ring->sqe_flags;
	r = sys_register(ring->fd, IORING_REGISTER_RESTRICTIONS, restrictions, n + 1);
	if (r < 0)
		return r;
	return sys_register(ring->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int make(struct vmm_uring *ring, const struct vmm_uring_config *config)
{
	unsigned int max_workers[2] = { config->max_workers, config->max_workers };
	struct io_uring_params params;
	int r;

	r = setup(ring, config, &params);
	if (r < 0)
		return r;
	r = map(ring, &params);
	if (r < 0)
		return r;
	if (config->fd >= 0) {
		r = sys_register(ring->fd, IORING_REGISTER_FILES, &config->fd, 1);
		if (r < 0)
			return r;
	}
	if (config->with_event) {
		r = add_event(ring);
		if (r < 0)
			return r;
	}
	/* Since Linux 5.15: without it the kernel's own bound holds. */
	if (config->max_workers > 0)
		sys_register(ring->fd, IORING_REGISTER_IOWQ_MAX_WORKERS, max_workers, 2);
	return restrict_and_enable(ring, config);
}

DEFINE_POINTER_CLEANUP(struct vmm_uring, vmm_uring_free);

int vmm_uring_new(const struct vmm_uring_config *config, struct vmm_uring **ret_ring)
{
	CLEANUP(vmm_uring_free_p) struct vmm_uring *ring = NULL;
	int r;

	if (config->n_operations == 0 || config->n_operations > VMM_URING_MAX_OPERATIONS)
		return -EINVAL;
	ring = malloc(sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	*ring = (struct vmm_uring){
		.fd = -EBADF,
		.event_fd = -EBADF,
		.sqe_flags = config->fd >= 0 ? IOSQE_FIXED_FILE : 0,
	};
	r = make(ring, config);
	if (r < 0)
		return r;
	*ret_ring = TAKE_PTR(ring);
	return 0;
}

struct vmm_uring *vmm_uring_free(struct vmm_uring *ring)
{
	if (!ring)
		return NULL;
	if (ring->sqes)
		munmap(ring->sqes, ring->sqes_bytes);
	if (ring->rings)
		munmap(ring->rings, ring->rings_bytes);
	vmm_base_close(ring->event_fd);
	vmm_base_close(ring->fd);
	free(ring);
	return NULL;
}

int vmm_uring_event_fd(const struct vmm_uring *ring)
{
	return ring->event_fd;
}

struct io_uring_sqe *vmm_uring_get(struct vmm_uring *ring)
{
	struct io_uring_sqe *sqe;

	if (ring->n_unsubmitted == ring->sq_entries)
		return NULL;
	sqe = &ring->sqes[ring->tail & ring->sq_mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->flags = ring->sqe_flags;
	return sqe;
}

void vmm_uring_put(struct vmm_uring *ring)
{
	ring_store(ring->sq_tail, ++ring->tail);
	ring->n_unsubmitted++;
}

unsigned int vmm_uring_n_unsubmitted(const struct vmm_uring *ring)
{
	return ring->n_unsubmitted;
}

bool vmm_uring_withdraw(struct vmm_uring *ring, uint64_t *ret_user_data)
{
	if (ring->n_unsubmitted == 0)
		return false;
	ring->n_unsubmitted--;
	*ret_user_data = ring->sqes[--ring->tail & ring->sq_mask].user_data;
	ring_store(ring->sq_tail, ring->tail);
	return true;
}

static int submit(struct vmm_uring *ring)
{
	unsigned int n_busy = 0;

	while (ring->n_unsubmitted > 0) {
		int r = sys_enter(ring->fd, ring->n_unsubmitted, 0, 0);

		if (r > 0) {
			ring->n_unsubmitted -= (unsigned int)r;
			n_busy = 0;
		} else if (r == -EINTR) {
			continue;
		} else if (++n_busy > MAX_BUSY || (r != 0 && r != -EAGAIN && r != -EBUSY)) {
			return r < 0 ? r : -EIO;
		} else {
			/* Completions that nobody took can be what it lacks. */
			sys_enter(ring->fd, 0, 0, IORING_ENTER_GETEVENTS);
			sched_yield();
		}
	}
	return 0;
}

int vmm_uring_submit(struct vmm_uring *ring)
{
	int r;

	if (ring->n_unsubmitted == 0)
		return 0;
	if (ring->event_fd < 0)
		return submit(ring);
	ring_store(ring->cq_flags, IORING_CQ_EVENTFD_DISABLED);
	r = submit(ring);
	/* Pairs with the kernel's own order: a completion is seen by pop, or it signals. */
	__atomic_store_n(ring->cq_flags, 0, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return r;
}

void vmm_uring_collect(struct vmm_uring *ring)
{
	if (ring_load(ring->sq_flags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		sys_enter(ring->fd, 0, 0, IORING_ENTER_GETEVENTS);
}

int vmm_uring_wait(struct vmm_uring *ring)
{
	while (*ring->cq_head == ring_load(ring->cq_tail)) {
		int r = sys_enter(ring->fd, 0, 1, IORING_ENTER_GETEVENTS);

		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

bool vmm_uring_pop(struct vmm_uring *ring, uint64_t *ret_user_data, int32_t *ret_result)
{
	unsigned int head = *ring->cq_head;
	const struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];

	if (head == ring_load(ring->cq_tail))
		return false;
	*ret_user_data = cqe->user_data;
	*ret_result = cqe->res;
	ring_store(ring->cq_head, head + 1);
	return true;
}
