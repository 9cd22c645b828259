/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the back end for raw files and block devices: what the file is, and who carries
 * out a request.
 *
 * What the page cache can serve at once is done in the I/O thread itself: a system call that only
 * copies costs less than any hand-over. Reads ask for that (RWF_NOWAIT); buffered writes cannot
 * ask, so they are timed, and after one that blocked the engine gets them for a while. All else
 * goes to the engine: a ring a thread, or one pool for all of them.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "virtio-blk/file-internal.h"

#define DEFAULT_WORKERS 4
#define MAX_WORKERS 64
#define BOUNCE_BYTES 65536
#define BOUNCE_ALIGNMENT 4096

#define INLINE_WRITE_BYTES (256 * 1024)
#define SLOW_WRITE_NSEC UINT64_C(500000)
#define SLOW_PAUSE_NSEC UINT64_C(100000000)
#define MAX_READ_SKIP 64

static int do_statx(int fd, unsigned int mask, struct statx *ret)
{
	return syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, mask, ret) < 0 ? -errno : 0;
}

static int check_access(int fd, bool read_only)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_PATH)
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if (!read_only && (flags & O_ACCMODE) != O_RDWR)
		return -EROFS;
	return flags;
}

static int file_size(const struct vmm_blk_file *file, uint64_t *ret_bytes)
{
	/* Works for files and block devices, and needs no ioctl in a sandbox. */
	off_t size = lseek(file->fd, 0, SEEK_END);

	if (size < 0)
		return -errno;
	if (size == 0)
		return -ENODATA;
	if (!IS_ALIGNED(size, VMM_BLK_SECTOR_BYTES))
		return -EDOM;
	*ret_bytes = (uint64_t)size;
	return 0;
}

static int examine_block_device(struct vmm_blk_file *file)
{
	int logical = 0;
	unsigned int physical = 0;

	if (ioctl(file->fd, BLKSSZGET, &logical) < 0)
		return -errno;
	if (ioctl(file->fd, BLKPBSZGET, &physical) < 0)
		return -errno;
	file->physical_block_bytes = physical;
	file->can_punch = true;
	if (file->direct) {
		file->logical_block_bytes = (uint32_t)logical;
		file->memory_alignment = (uint32_t)logical;
	}
	return 0;
}

static int examine_regular_file(struct vmm_blk_file *file, const struct statx *stx)
{
	struct statfs fs;
	off_t end;

	if (fstatfs(file->fd, &fs) < 0)
		return -errno;
	file->in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
	file->physical_block_bytes = 4096;
	if (file->direct) {
		bool known = (stx->stx_mask & STATX_DIOALIGN) && stx->stx_dio_offset_align;

		/* What is not known is assumed to be the strictest that is common. */
		file->memory_alignment = known ? stx->stx_dio_mem_align : 4096;
		file->logical_block_bytes = known ? stx->stx_dio_offset_align : 512;
	}
	end = lseek(file->fd, 0, SEEK_END);
	/* Behind the end there is nothing to lose: only whether it is supported. */
	if (!file->read_only && end >= 0)
		file->can_punch = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  end, 4096) == 0;
	return 0;
}

static int examine(struct vmm_blk_file *file)
{
	struct statx stx = { 0 };
	int r;

	r = do_statx(file->fd, STATX_BASIC_STATS | STATX_DIOALIGN, &stx);
	if (r < 0)
		return r;
	file->logical_block_bytes = VMM_BLK_SECTOR_BYTES;
	file->memory_alignment = 1;
	switch (stx.stx_mode & S_IFMT) {
	case S_IFDIR:
		return -EISDIR;
	case S_IFREG:
		return examine_regular_file(file, &stx);
	case S_IFBLK:
		return examine_block_device(file);
	default:
		return -ENOTBLK;
	}
}

DEFINE_POINTER_CLEANUP(struct vmm_blk_file, vmm_blk_file_free);

int vmm_blk_file_new(const struct vmm_blk_file_config *config, struct vmm_blk_file **ret_file)
{
	CLEANUP(vmm_blk_file_free_p) struct vmm_blk_file *file = NULL;
	uint64_t size;
	void *zeroes;
	int flags, r;

	if (config->n_workers > MAX_WORKERS || config->engine > VMM_BLK_ENGINE_THREADS)
		return -EINVAL;
	flags = check_access(config->fd, config->read_only);
	if (flags < 0)
		return flags;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	*file = (struct vmm_blk_file){
		.fd = -EBADF,
		.read_only = config->read_only,
		.no_inline = config->no_inline,
		.direct = flags & O_DIRECT,
		.nowait_reads = true,
		.engine = config->engine,
		.n_workers = config->n_workers ? config->n_workers : DEFAULT_WORKERS,
		.hook = config->hook,
	};
	pthread_mutex_init(&file->pool_lock, NULL);
	file->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0)
		return -errno;
	r = examine(file);
	if (r < 0)
		return r;
	r = file_size(file, &size);
	if (r < 0)
		return r;
	zeroes = mmap(NULL, FILE_ZEROES_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zeroes == MAP_FAILED)
		return -errno;
	file->zeroes = zeroes;
	*ret_file = TAKE_PTR(file);
	return 0;
}

struct vmm_blk_file *vmm_blk_file_free(struct vmm_blk_file *file)
{
	if (!file)
		return NULL;
	blk_pool_free(file->pool);
	if (file->zeroes)
		munmap(file->zeroes, FILE_ZEROES_BYTES);
	vmm_base_close(file->fd);
	pthread_mutex_destroy(&file->pool_lock);
	free(file);
	return NULL;
}

static int op_geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	struct vmm_blk_file *file = userdata;
	uint64_t size = 0;
	int r;

	r = file_size(file, &size);
	if (r < 0)
		return r;
	*ret_geometry = (struct vmm_blk_geometry){
		.capacity_bytes = size,
		.logical_block_bytes = file->logical_block_bytes,
		.physical_block_bytes = MAX(file->physical_block_bytes, file->logical_block_bytes),
		.read_only = file->read_only,
		.discard = file->can_punch,
		.write_zeroes = true,
	};
	return 0;
}

static int make_pool(struct vmm_blk_file *file)
{
	int r = 0;

	pthread_mutex_lock(&file->pool_lock);
	if (!file->pool)
		r = blk_pool_new(file, &file->pool);
	pthread_mutex_unlock(&file->pool_lock);
	if (r >= 0)
		__atomic_store_n(&file->pool_used, true, __ATOMIC_RELAXED);
	return r;
}

static int op_thread_start(void *userdata, unsigned int index, int *ret_fd)
{
	struct vmm_blk_file *file = userdata;
	struct blk_file_thread *thread = &file->threads[index];

	*thread = (struct blk_file_thread){ 0 };
	if (file->direct) {
		thread->bounce = aligned_alloc(BOUNCE_ALIGNMENT, BOUNCE_BYTES);
		if (!thread->bounce)
			return -ENOMEM;
	}
	if (file->engine != VMM_BLK_ENGINE_THREADS && blk_uring_new(file, &thread->uring) >= 0) {
		*ret_fd = blk_uring_fd(thread->uring);
		return 0;
	}
	return make_pool(file);
}

static void op_thread_stop(void *userdata, unsigned int index)
{
	struct vmm_blk_file *file = userdata;
	struct blk_file_thread *thread = &file->threads[index];

	thread->uring = blk_uring_free(thread->uring);
	free(TAKE_PTR(thread->bounce));
}

/* The first step of a read, if the page cache has what it needs. */
static int64_t try_inline_read(
	struct vmm_blk_file *file, struct blk_file_thread *thread, struct blk_step *step)
{
	int64_t n;

	if (file->in_memory)
		return blk_step_call(file, step);
	if (!__atomic_load_n(&file->nowait_reads, __ATOMIC_RELAXED))
		return -EAGAIN;
	if (thread->read_skip > 0) {
		thread->read_skip--;
		return -EAGAIN;
	}
	step->flags |= RWF_NOWAIT;
	n = blk_step_call(file, step);
	if (n == -EOPNOTSUPP)
		__atomic_store_n(&file->nowait_reads, false, __ATOMIC_RELAXED);
	if (n >= 0) {
		thread->read_misses = 0;
		return n;
	}
	/* The more often it is not there, the less often is it asked for. */
	thread->read_misses = MIN(thread->read_misses * 2 + 1, (unsigned int)MAX_READ_SKIP);
	thread->read_skip = thread->read_misses / 2;
	return -EAGAIN;
}

static int64_t try_inline_write(
	struct vmm_blk_file *file, struct blk_file_thread *thread, struct blk_step *step)
{
	uint64_t start_nsec, end_nsec;
	int64_t n;

	if (file->in_memory)
		return blk_step_call(file, step);
	if (step->flags != 0 || step->length > INLINE_WRITE_BYTES)
		return -EAGAIN;
	start_nsec = vmm_base_now_nsec();
	if (start_nsec < thread->slow_until_nsec)
		return -EAGAIN;
	n = blk_step_call(file, step);
	end_nsec = vmm_base_now_nsec();
	if (end_nsec - start_nsec > SLOW_WRITE_NSEC)
		thread->slow_until_nsec = end_nsec + SLOW_PAUSE_NSEC;
	return n;
}

/* As far as it can be done at once: what blk_step_result() says of it. */
static int try_inline(
	struct vmm_blk_file *file, struct blk_file_thread *thread, struct vmm_blk_io *io)
{
	struct blk_step step;
	int64_t n;

	if (file->no_inline)
		return VMM_BLK_PENDING;
	if (file->in_memory && io->op == VMM_BLK_FLUSH)
		return 0;
	if (file->direct || (io->op != VMM_BLK_READ && io->op != VMM_BLK_WRITE))
		return VMM_BLK_PENDING;
	blk_step_get(file, io, &step);
	if (io->op == VMM_BLK_READ)
		n = try_inline_read(file, thread, &step);
	else
		n = try_inline_write(file, thread, &step);
	/* End of file is for the engine to find again: the cache may not know better. */
	if (n == -EAGAIN || n == -EINTR || n == 0)
		return VMM_BLK_PENDING;
	return blk_step_result(io, n);
}

static bool needs_bounce(const struct vmm_blk_file *file, const struct vmm_blk_io *io)
{
	if (io->op != VMM_BLK_READ && io->op != VMM_BLK_WRITE)
		return false;
	for (uint32_t i = 0; i < io->n_iov; i++) {
		uintptr_t base = (uintptr_t)io->iov[i].iov_base;

		if (!IS_ALIGNED(base, (uintptr_t)file->memory_alignment) ||
			!IS_ALIGNED(io->iov[i].iov_len, (size_t)file->logical_block_bytes))
			return true;
	}
	return false;
}

/*
 * Direct I/O that the guest's buffers are not aligned for: piece by piece through one buffer, in
 * this thread. No common driver does that, so it is only right, not fast.
 */
static int bounce(struct vmm_blk_file *file, struct blk_file_thread *thread, struct vmm_blk_io *io)
{
	struct iovec piece = { .iov_base = thread->bounce };
	struct vmm_virtqueue_chain chain = {
		.readable = io->iov,
		.writable = io->iov,
		.n_readable = io->n_iov,
		.n_writable = io->n_iov,
		.readable_bytes = io->length_bytes,
		.writable_bytes = io->length_bytes,
	};

	for (uint64_t done = 0; done < io->length_bytes;) {
		struct vmm_blk_io part = {
			.op = io->op,
			.flags = io->flags,
			.iov = &piece,
			.n_iov = 1,
			.offset_bytes = io->offset_bytes + done,
			.length_bytes = MIN(io->length_bytes - done, (uint64_t)BOUNCE_BYTES),
		};
		uint64_t size = part.length_bytes;
		int r;

		piece.iov_base = thread->bounce;
		piece.iov_len = size;
		if (io->op == VMM_BLK_WRITE)
			vmm_virtqueue_chain_read(&chain, done, thread->bounce, size);
		blk_step_begin(&part);
		r = blk_step_run(file, &part);
		if (r < 0)
			return r;
		if (io->op == VMM_BLK_READ)
			vmm_virtqueue_chain_write(&chain, done, thread->bounce, size);
		done += size;
	}
	return 0;
}

static int op_submit(void *userdata, struct vmm_blk_io *io)
{
	struct vmm_blk_file *file = userdata;
	struct blk_file_thread *thread = &file->threads[io->thread];
	int r;

	blk_step_begin(io);
	if (file->direct && needs_bounce(file, io))
		return bounce(file, thread, io);
	r = try_inline(file, thread, io);
	if (r != VMM_BLK_PENDING)
		return r;
	if (thread->uring)
		blk_uring_submit(thread->uring, io);
	else
		blk_pool_submit(file->pool, io);
	return VMM_BLK_PENDING;
}

static void op_commit(void *userdata, unsigned int index)
{
	struct vmm_blk_file *file = userdata;

	if (file->threads[index].uring)
		blk_uring_commit(file->threads[index].uring);
}

static void op_reap(void *userdata, unsigned int index)
{
	struct vmm_blk_file *file = userdata;

	if (file->threads[index].uring)
		blk_uring_reap(file->threads[index].uring);
}

static void op_cancel(void *userdata, unsigned int index)
{
	struct vmm_blk_file *file = userdata;

	if (file->threads[index].uring)
		blk_uring_cancel(file->threads[index].uring);
	else if (file->pool)
		blk_pool_cancel(file->pool);
}

static const char *op_engine(void *userdata)
{
	struct vmm_blk_file *file = userdata;

	return __atomic_load_n(&file->pool_used, __ATOMIC_RELAXED) ? "threads" : "io_uring";
}

static const struct vmm_blk_ops file_ops = {
	.geometry = op_geometry,
	.submit = op_submit,
	.commit = op_commit,
	.thread_start = op_thread_start,
	.thread_stop = op_thread_stop,
	.reap = op_reap,
	.cancel = op_cancel,
	.engine = op_engine,
};

struct vmm_blk_backend vmm_blk_file_backend(struct vmm_blk_file *file)
{
	struct vmm_blk_backend backend = { .ops = &file_ops, .userdata = file };

	return backend;
}
