/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the io_uring engine, on the raw system calls. A ring belongs to one I/O thread and
 * is made before that thread's sandbox closes. It is restricted for good before its first use:
 * to seven operations, on registered files only, and the one registered file is the disk.
 *
 * Completions signal an eventfd, because a ring of this kind (DEFER_TASKRUN) does not wake up who
 * polls its own descriptor. Around a submission the signal is off: what completes there is found
 * by the reap that always follows.
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

#include "virtio-blk/file-internal.h"

#define SQ_ENTRIES 64
#define CQ_ENTRIES 512
#define MAX_BUSY 1000
#define MAX_KERNEL_WORKERS 8

struct blk_uring {
	struct vmm_blk_file *file; /* borrowed, outlives us */
	int fd;                    /* owned */
	int event_fd;              /* owned */

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

static int setup(struct blk_uring *uring, struct io_uring_params *ret_params)
{
	/* The second is for kernels before 6.1. */
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		*ret_params = (struct io_uring_params){
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};
		uring->fd = sys_setup(SQ_ENTRIES, ret_params);
		if (uring->fd != -EINVAL)
			break;
	}
	if (uring->fd < 0)
		return uring->fd;
	/* What the code below relies on, all of it since Linux 5.5. */
	if (~ret_params->features &
		(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE))
		return -EOPNOTSUPP;
	return 0;
}

static int map(struct blk_uring *uring, const struct io_uring_params *params)
{
	size_t sq_bytes = params->sq_off.array + params->sq_entries * sizeof(unsigned int);
	size_t cq_bytes = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	void *mapped;
	char *rings;

	uring->rings_bytes = MAX(sq_bytes, cq_bytes);
	mapped = mmap(NULL, uring->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, uring->fd,
		IORING_OFF_SQ_RING);
	if (mapped == MAP_FAILED)
		return -errno;
	uring->rings = rings = mapped;
	uring->sqes_bytes = params->sq_entries * sizeof(struct io_uring_sqe);
	mapped = mmap(NULL, uring->sqes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, uring->fd,
		IORING_OFF_SQES);
	if (mapped == MAP_FAILED)
		return -errno;
	uring->sqes = mapped;

	uring->sq_tail = (void *)(rings + params->sq_off.tail);
	uring->sq_flags = (void *)(rings + params->sq_off.flags);
	uring->sq_array = (void *)(rings + params->sq_off.array);
	uring->cq_head = (void *)(rings + params->cq_off.head);
	uring->cq_tail = (void *)(rings + params->cq_off.tail);
	uring->cq_flags = (void *)(rings + params->cq_off.flags);
	uring->cqes = (void *)(rings + params->cq_off.cqes);
	uring->sq_entries = params->sq_entries;
	uring->sq_mask = params->sq_entries - 1;
	uring->cq_mask = params->cq_entries - 1;
	/* Slot i of the array always names entry i. */
	for (unsigned int i = 0; i < params->sq_entries; i++)
		uring->sq_array[i] = i;
	return 0;
}

static int restrict_and_enable(struct blk_uring *uring)
{
	static const uint8_t operations[] = {
		IORING_OP_READ,
		IORING_OP_READV,
		IORING_OP_WRITE,
		IORING_OP_WRITEV,
		IORING_OP_FSYNC,
		IORING_OP_FALLOCATE,
		IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_restriction restrictions[ARRAY_SIZE(operations) + 1];
	unsigned int max_workers[2] = { MAX_KERNEL_WORKERS, MAX_KERNEL_WORKERS };
	int r;

	r = sys_register(uring->fd, IORING_REGISTER_FILES, &uring->file->fd, 1);
	if (r < 0)
		return r;
	uring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (uring->event_fd < 0)
		return -errno;
	r = sys_register(uring->fd, IORING_REGISTER_EVENTFD, &uring->event_fd, 1);
	if (r < 0)
		return r;
	/* Since Linux 5.15: without it the kernel's own bound holds. */
	sys_register(uring->fd, IORING_REGISTER_IOWQ_MAX_WORKERS, max_workers, 2);

	memset(restrictions, 0, sizeof(restrictions));
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
		restrictions[i].sqe_op = operations[i];
	}
	restrictions[ARRAY_SIZE(operations)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	restrictions[ARRAY_SIZE(operations)].sqe_flags = IOSQE_FIXED_FILE;
	r = sys_register(
		uring->fd, IORING_REGISTER_RESTRICTIONS, restrictions, ARRAY_SIZE(restrictions));
	if (r < 0)
		return r;
	return sys_register(uring->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

DEFINE_POINTER_CLEANUP(struct blk_uring, blk_uring_free);

int blk_uring_new(struct vmm_blk_file *file, struct blk_uring **ret_uring)
{
	CLEANUP(blk_uring_free_p) struct blk_uring *uring = NULL;
	struct io_uring_params params;
	int r;

	uring = malloc(sizeof(*uring));
	if (!uring)
		return -ENOMEM;
	*uring = (struct blk_uring){ .file = file, .fd = -EBADF, .event_fd = -EBADF };
	r = setup(uring, &params);
	if (r < 0)
		return r;
	r = map(uring, &params);
	if (r < 0)
		return r;
	r = restrict_and_enable(uring);
	if (r < 0)
		return r;
	*ret_uring = TAKE_PTR(uring);
	return 0;
}

struct blk_uring *blk_uring_free(struct blk_uring *uring)
{
	if (!uring)
		return NULL;
	if (uring->sqes)
		munmap(uring->sqes, uring->sqes_bytes);
	if (uring->rings)
		munmap(uring->rings, uring->rings_bytes);
	vmm_base_close(uring->event_fd);
	vmm_base_close(uring->fd);
	free(uring);
	return NULL;
}

int blk_uring_fd(const struct blk_uring *uring)
{
	return uring->event_fd;
}

/* The kernel takes nothing more: what it was not given yet ends here. */
static void fail_unsubmitted(struct blk_uring *uring, int error)
{
	while (uring->n_unsubmitted > 0) {
		struct io_uring_sqe *sqe = &uring->sqes[--uring->tail & uring->sq_mask];

		uring->n_unsubmitted--;
		ring_store(uring->sq_tail, uring->tail);
		if (sqe->user_data)
			vmm_blk_complete((struct vmm_blk_io *)(uintptr_t)sqe->user_data, error);
	}
}

void blk_uring_commit(struct blk_uring *uring)
{
	unsigned int n_busy = 0;

	if (uring->n_unsubmitted == 0)
		return;
	ring_store(uring->cq_flags, IORING_CQ_EVENTFD_DISABLED);
	while (uring->n_unsubmitted > 0) {
		int r = sys_enter(uring->fd, uring->n_unsubmitted, 0, 0);

		if (r > 0) {
			uring->n_unsubmitted -= (unsigned int)r;
			n_busy = 0;
		} else if (r == -EINTR) {
			continue;
		} else if (++n_busy > MAX_BUSY || (r != 0 && r != -EAGAIN && r != -EBUSY)) {
			fail_unsubmitted(uring, r < 0 ? r : -EIO);
		} else {
			/* Completions that nobody took can be what it lacks. */
			sys_enter(uring->fd, 0, 0, IORING_ENTER_GETEVENTS);
			sched_yield();
		}
	}
	/* Pairs with the kernel's own order: a completion is seen by reap, or it signals. */
	__atomic_store_n(uring->cq_flags, 0, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A free submission entry, zeroed. Gives the kernel what there is where the queue is full. */
static struct io_uring_sqe *get_sqe(struct blk_uring *uring)
{
	struct io_uring_sqe *sqe;

	if (uring->n_unsubmitted == uring->sq_entries)
		blk_uring_commit(uring);
	sqe = &uring->sqes[uring->tail & uring->sq_mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

static void put_sqe(struct blk_uring *uring)
{
	ring_store(uring->sq_tail, ++uring->tail);
	uring->n_unsubmitted++;
}

static void prepare_transfer(struct io_uring_sqe *sqe, const struct blk_step *step)
{
	bool is_read = step->call == BLK_STEP_READV;

	if (step->iov) {
		sqe->opcode = is_read ? IORING_OP_READV : IORING_OP_WRITEV;
		sqe->addr = (uintptr_t)step->iov;
		sqe->len = step->n_iov;
	} else {
		sqe->opcode = is_read ? IORING_OP_READ : IORING_OP_WRITE;
		sqe->addr = (uintptr_t)step->buffer.iov_base;
		/* A longer one is a short transfer, which goes on. */
		sqe->len = (uint32_t)MIN(step->buffer.iov_len, (size_t)1 << 30);
	}
	sqe->off = step->offset;
	sqe->rw_flags = step->flags;
}

void blk_uring_submit(struct blk_uring *uring, struct vmm_blk_io *io)
{
	struct io_uring_sqe *sqe = get_sqe(uring);
	struct blk_step step;

	blk_step_get(uring->file, io, &step);
	switch (step.call) {
	case BLK_STEP_READV:
	case BLK_STEP_WRITEV:
		prepare_transfer(sqe, &step);
		break;
	case BLK_STEP_FDATASYNC:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case BLK_STEP_FALLOCATE:
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->off = step.offset;
		sqe->addr = step.length;
		sqe->len = (uint32_t)step.flags;
		break;
	}
	sqe->user_data = (uintptr_t)io;
	put_sqe(uring);
}

static void reap_completions(struct blk_uring *uring)
{
	unsigned int head = *uring->cq_head, tail = ring_load(uring->cq_tail);

	while (head != tail) {
		const struct io_uring_cqe *cqe = &uring->cqes[head & uring->cq_mask];
		struct vmm_blk_io *io = (struct vmm_blk_io *)(uintptr_t)cqe->user_data;
		int64_t result = cqe->res;
		int r;

		ring_store(uring->cq_head, ++head);
		if (!io)
			continue;
		r = blk_step_result(io, result);
		if (r == VMM_BLK_PENDING)
			blk_uring_submit(uring, io);
		else
			vmm_blk_complete(io, r);
	}
}

void blk_uring_reap(struct blk_uring *uring)
{
	const unsigned int attention = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	for (;;) {
		if (ring_load(uring->sq_flags) & attention)
			sys_enter(uring->fd, 0, 0, IORING_ENTER_GETEVENTS);
		reap_completions(uring);
		/* Short transfers and requests of several steps went back to the ring. */
		if (uring->n_unsubmitted == 0)
			return;
		blk_uring_commit(uring);
	}
}

void blk_uring_cancel(struct blk_uring *uring)
{
	struct io_uring_sqe *sqe = get_sqe(uring);

	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
	put_sqe(uring);
	blk_uring_commit(uring);
}
