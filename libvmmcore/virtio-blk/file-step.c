/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: a request to a file as a sequence of system calls, the same for all engines. A
 * transfer that is cut short goes on where it stopped; zeroes are made by the cheapest way that
 * the file supports; what has to be durable ends with fdatasync.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/uio.h>

#include "virtio-blk/file-internal.h"

enum stage {
	STAGE_TRANSFER,
	STAGE_PUNCH,
	STAGE_ZERO_RANGE,
	STAGE_WRITE_ZEROES,
	STAGE_SYNC,
};

#define MAX_RETRIES 100

/* io->scratch[0]: the stage; [1]: retries in a row. */

void blk_step_begin(struct vmm_blk_io *io)
{
	static const enum stage first[] = {
		[VMM_BLK_READ] = STAGE_TRANSFER,
		[VMM_BLK_WRITE] = STAGE_TRANSFER,
		[VMM_BLK_FLUSH] = STAGE_SYNC,
		[VMM_BLK_DISCARD] = STAGE_PUNCH,
		[VMM_BLK_WRITE_ZEROES] = STAGE_ZERO_RANGE,
	};

	io->scratch[0] = first[io->op];
	io->scratch[1] = 0;
	if (io->op == VMM_BLK_WRITE_ZEROES && (io->flags & VMM_BLK_UNMAP))
		io->scratch[0] = STAGE_PUNCH;
}

void blk_step_get(const struct vmm_blk_file *file, struct vmm_blk_io *io, struct blk_step *ret_step)
{
	struct blk_step step = { .offset = io->offset_bytes, .length = io->length_bytes };

	switch ((enum stage)io->scratch[0]) {
	case STAGE_TRANSFER:
		step.call = io->op == VMM_BLK_READ ? BLK_STEP_READV : BLK_STEP_WRITEV;
		step.flags = (io->flags & VMM_BLK_DURABLE) ? RWF_DSYNC : 0;
		if (io->n_iov == 1) {
			step.buffer = io->iov[0];
		} else {
			step.iov = io->iov;
			step.n_iov = MIN(io->n_iov, (uint32_t)IOV_MAX);
		}
		break;
	case STAGE_PUNCH:
		step.call = BLK_STEP_FALLOCATE;
		step.flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		break;
	case STAGE_ZERO_RANGE:
		step.call = BLK_STEP_FALLOCATE;
		step.flags = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		break;
	case STAGE_WRITE_ZEROES:
		step.call = BLK_STEP_WRITEV;
		step.buffer.iov_base = file->zeroes;
		step.buffer.iov_len = MIN(io->length_bytes, (uint64_t)FILE_ZEROES_BYTES);
		break;
	case STAGE_SYNC:
		step.call = BLK_STEP_FDATASYNC;
		break;
	}
	*ret_step = step;
}

int64_t blk_step_call(const struct vmm_blk_file *file, const struct blk_step *step)
{
	const struct iovec *iov = step->iov ? step->iov : &step->buffer;
	int n_iov = step->iov ? (int)step->n_iov : 1;
	off_t offset = (off_t)step->offset;
	int64_t n = -1;

	switch (step->call) {
	case BLK_STEP_READV:
		n = preadv2(file->fd, iov, n_iov, offset, step->flags);
		break;
	case BLK_STEP_WRITEV:
		n = pwritev2(file->fd, iov, n_iov, offset, step->flags);
		break;
	case BLK_STEP_FDATASYNC:
		n = fdatasync(file->fd);
		break;
	case BLK_STEP_FALLOCATE:
		n = fallocate(file->fd, step->flags, offset, (off_t)step->length);
		break;
	}
	return n < 0 ? -errno : n;
}

/* Takes off what a short transfer has done. */
static void advance(struct vmm_blk_io *io, uint64_t n)
{
	io->offset_bytes += n;
	io->length_bytes -= n;
	while (io->n_iov > 0 && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->n_iov--;
	}
	if (io->n_iov > 0) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static int transferred(struct vmm_blk_io *io, int64_t result)
{
	/* The file ends before the disk does, or takes nothing. */
	if (result == 0)
		return -EIO;
	if ((uint64_t)result < io->length_bytes) {
		advance(io, (uint64_t)result);
		return VMM_BLK_PENDING;
	}
	return 0;
}

static int go_on_with(struct vmm_blk_io *io, enum stage stage)
{
	io->scratch[0] = stage;
	return VMM_BLK_PENDING;
}

/* What is tried after the file system said that it does not do this. */
static int not_supported(struct vmm_blk_io *io)
{
	switch ((enum stage)io->scratch[0]) {
	case STAGE_PUNCH:
		/* Discard is advice (VIRTIO 1.2, 5.2.6.2); zeroes have to be zero. */
		return io->op == VMM_BLK_DISCARD ? 0 : go_on_with(io, STAGE_ZERO_RANGE);
	case STAGE_ZERO_RANGE:
		return go_on_with(io, STAGE_WRITE_ZEROES);
	case STAGE_TRANSFER:
	case STAGE_WRITE_ZEROES:
	case STAGE_SYNC:
		break;
	}
	return -EIO;
}

int blk_step_result(struct vmm_blk_io *io, int64_t result)
{
	int r = 0;

	if (result == -EINTR || result == -EAGAIN)
		return ++io->scratch[1] <= MAX_RETRIES ? VMM_BLK_PENDING : -EIO;
	io->scratch[1] = 0;
	if (result == -EOPNOTSUPP || result == -ENOSYS)
		return not_supported(io);
	if (result < 0)
		return (int)result;

	switch ((enum stage)io->scratch[0]) {
	case STAGE_TRANSFER:
		return transferred(io, result);
	case STAGE_SYNC:
		return 0;
	case STAGE_WRITE_ZEROES:
		r = transferred(io, result);
		break;
	case STAGE_PUNCH:
	case STAGE_ZERO_RANGE:
		break;
	}
	if (r == 0 && (io->flags & VMM_BLK_DURABLE))
		return go_on_with(io, STAGE_SYNC);
	return r;
}

int blk_step_run(const struct vmm_blk_file *file, struct vmm_blk_io *io)
{
	struct blk_step step;
	int r;

	do {
		blk_step_get(file, io, &step);
		r = blk_step_result(io, blk_step_call(file, &step));
	} while (r == VMM_BLK_PENDING);
	return r;
}
