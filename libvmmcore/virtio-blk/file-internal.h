/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: what the parts of the back end for files share. file.c: what the file is, and who
 * carries out which request; file-step.c: a request as a sequence of system calls; uring.c and
 * pool.c: the two engines that carry those out.
 */
#ifndef VMM_BLK_FILE_INTERNAL_H
#define VMM_BLK_FILE_INTERNAL_H

#include <pthread.h>

#include <vmmcore/virtio-blk.h>

#include "base/util.h"

#define FILE_ZEROES_BYTES 65536

struct blk_uring;
struct blk_pool;

/* Of one I/O thread. */
struct blk_file_thread {
	struct blk_uring *uring;             /* owned; NULL: the pool does it */
	void *bounce;                        /* owned; only for direct I/O */
	unsigned int read_misses, read_skip; /* how often the page cache had not what was read */
	uint64_t slow_until_nsec;            /* writes blocked lately: not inline before this */
};

struct vmm_blk_file {
	int fd; /* owned */
	bool read_only, no_inline;
	bool direct, in_memory;
	bool nowait_reads; /* atomic: the kernel has RWF_NOWAIT for this file */
	enum vmm_blk_engine engine;
	unsigned int n_workers;
	struct vmm_blk_thread_hook hook;

	uint32_t logical_block_bytes, physical_block_bytes, memory_alignment;
	bool can_punch;

	void *zeroes; /* owned: FILE_ZEROES_BYTES, never written */

	struct blk_file_thread threads[VMM_BLK_MAX_THREADS];
	pthread_mutex_t pool_lock;
	struct blk_pool *pool; /* owned; under pool_lock, set once */
	bool pool_used;        /* atomic */
};

/* The next system call of a request. */
enum blk_step_call {
	BLK_STEP_READV,
	BLK_STEP_WRITEV,
	BLK_STEP_FDATASYNC,
	BLK_STEP_FALLOCATE,
};

struct blk_step {
	enum blk_step_call call;
	int flags;               /* RWF_... or FALLOC_FL_... */
	const struct iovec *iov; /* valid as long as the request; NULL: buffer */
	unsigned int n_iov;
	struct iovec buffer;
	uint64_t offset, length;
};

/* Before the first step. */
void blk_step_begin(struct vmm_blk_io *io);

void blk_step_get(
	const struct vmm_blk_file *file, struct vmm_blk_io *io, struct blk_step *ret_step);

/* Makes the call and waits for it. As system calls do, but with -errno. */
int64_t blk_step_call(const struct vmm_blk_file *file, const struct blk_step *step);

/*
 * Takes the result of the step. 0: the request is done; VMM_BLK_PENDING: there is another step;
 * a negative errno: it failed.
 */
int blk_step_result(struct vmm_blk_io *io, int64_t result);

/* All steps to the end. 0 or a negative errno. */
int blk_step_run(const struct vmm_blk_file *file, struct vmm_blk_io *io);

/* io_uring: one ring an I/O thread, restricted to what the steps need on this one file. */
int blk_uring_new(struct vmm_blk_file *file, struct blk_uring **ret_uring);
struct blk_uring *blk_uring_free(struct blk_uring *uring);
int blk_uring_fd(const struct blk_uring *uring);
void blk_uring_submit(struct blk_uring *uring, struct vmm_blk_io *io);
void blk_uring_commit(struct blk_uring *uring);
void blk_uring_reap(struct blk_uring *uring);
void blk_uring_cancel(struct blk_uring *uring);

/* The thread pool. */
int blk_pool_new(struct vmm_blk_file *file, struct blk_pool **ret_pool);
struct blk_pool *blk_pool_free(struct blk_pool *pool);
void blk_pool_submit(struct blk_pool *pool, struct vmm_blk_io *io);
void blk_pool_cancel(struct blk_pool *pool);

#endif
