/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the io_uring engine. A ring belongs to one I/O thread and is made before that
 * thread's sandbox closes, restricted to seven operations on the disk.
 */
#include <linux/io_uring.h>

#include <vmmcore/uring.h>

#include "virtio-blk/file-internal.h"

#define SQ_ENTRIES 64
#define CQ_ENTRIES 512
#define MAX_KERNEL_WORKERS 8

struct blk_uring {
	struct vmm_blk_file *file; /* borrowed, outlives us */
	struct vmm_uring *ring;    /* owned */
};

DEFINE_POINTER_CLEANUP(struct blk_uring, blk_uring_free);

int blk_uring_new(struct vmm_blk_file *file, struct blk_uring **ret_uring)
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
	const struct vmm_uring_config config = {
		.fd = file->fd,
		.operations = operations,
		.n_operations = ARRAY_SIZE(operations),
		.sq_entries = SQ_ENTRIES,
		.cq_entries = CQ_ENTRIES,
		.max_workers = MAX_KERNEL_WORKERS,
		.one_thread = true,
		.with_event = true,
	};
	CLEANUP(blk_uring_free_p) struct blk_uring *uring = NULL;
	int r;

	uring = malloc(sizeof(*uring));
	if (!uring)
		return -ENOMEM;
	*uring = (struct blk_uring){ .file = file };
	r = vmm_uring_new(&config, &uring->ring);
	if (r < 0)
		return r;
	*ret_uring = TAKE_PTR(uring);
	return 0;
}

struct blk_uring *blk_uring_free(struct blk_uring *uring)
{
	if (!uring)
		return NULL;
	vmm_uring_free(uring->ring);
	free(uring);
	return NULL;
}

int blk_uring_fd(const struct blk_uring *uring)
{
	return vmm_uring_event_fd(uring->ring);
}

void blk_uring_commit(struct blk_uring *uring)
{
	uint64_t user_data;
	int r;

	r = vmm_uring_submit(uring->ring);
	/* Where the kernel takes nothing more, what it was not given yet ends here. */
	while (r < 0 && vmm_uring_withdraw(uring->ring, &user_data))
		if (user_data)
			vmm_blk_complete((struct vmm_blk_io *)(uintptr_t)user_data, r);
}

/* A free submission entry. Gives the kernel what there is where the queue is full. */
static struct io_uring_sqe *get_sqe(struct blk_uring *uring)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = vmm_uring_get(uring->ring)))
		blk_uring_commit(uring);
	return sqe;
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
	vmm_uring_put(uring->ring);
}

static void reap_completions(struct blk_uring *uring)
{
	uint64_t user_data;
	int32_t result;

	while (vmm_uring_pop(uring->ring, &user_data, &result)) {
		struct vmm_blk_io *io = (struct vmm_blk_io *)(uintptr_t)user_data;
		int r;

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
	for (;;) {
		vmm_uring_collect(uring->ring);
		reap_completions(uring);
		/* Short transfers and requests of several steps went back to the ring. */
		if (vmm_uring_n_unsubmitted(uring->ring) == 0)
			return;
		blk_uring_commit(uring);
	}
}

void blk_uring_cancel(struct blk_uring *uring)
{
	struct io_uring_sqe *sqe = get_sqe(uring);

	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
	vmm_uring_put(uring->ring);
	blk_uring_commit(uring);
}
