/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the block device of VIRTIO 1.2, 5.2, with one or more queues, over any back end.
 *
 * The device has I/O threads of its own, made by vmm_virtio_blk_new(), so that a slow disk
 * delays no vCPU and no other device; or none, and then the caller's loop waits for
 * vmm_virtio_blk_fd() and calls vmm_virtio_blk_process(). An idle device never wakes up. A busy
 * one looks for the next request for a moment before it sleeps, as long as that has paid.
 *
 * The back end is a small table of functions: vmm_blk_ops. One for raw files and block devices
 * is included, with io_uring and with a thread pool; examples/ramdisk.c is another.
 *
 * Nothing is allocated after vmm_virtio_blk_new(): each queue has room for as many requests as
 * it has entries, and the driver can have no more in flight.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                             | result                              |
 *   |---------------------------------------------------|-------------------------------------|
 *   | no writable byte for the status                   | the queue breaks, NEEDS_RESET       |
 *   | header shorter than 16 bytes                      | IOERR                               |
 *   | unknown type, or one that was not negotiated      | UNSUPP                              |
 *   | sector or length beyond the capacity, or wrapping | IOERR                               |
 *   | length that is no multiple of 512                 | IOERR                               |
 *   | write, discard, write-zeroes while read-only      | IOERR, UNSUPP                       |
 *   | discard: reserved flags, unmap                    | UNSUPP                              |
 *   | too many, no or partial segments, too many sectors| IOERR                               |
 *   | more iovecs than the queue size and 64            | the queue breaks, NEEDS_RESET       |
 *   | reset, queue reset, pause with requests in flight | completes when they ended; nothing  |
 *   |                                                   | touches guest memory afterwards     |
 *   | back end fails, file shrinks                      | IOERR for that request              |
 *
 * Threads: vmm_virtio_blk_set_limits(), _resize(), _get_status() may be called from any thread,
 * _new(), _free() and _process() by one thread at a time.
 */
#ifndef VMMCORE_VIRTIO_BLK_H
#define VMMCORE_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/ratelimit.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_BLK_SECTOR_BYTES 512
#define VMM_BLK_MAX_QUEUES 64
#define VMM_BLK_MAX_QUEUE_SIZE 1024
#define VMM_BLK_MAX_THREADS 16

/* Back ends */

enum vmm_blk_op {
	VMM_BLK_READ,
	VMM_BLK_WRITE,
	VMM_BLK_FLUSH,
	VMM_BLK_DISCARD,
	VMM_BLK_WRITE_ZEROES,
};

#define VMM_BLK_DURABLE 1u /* write, write-zeroes, discard: ends when it is on stable storage */
#define VMM_BLK_UNMAP 2u   /* write-zeroes: the space may be given back */

/*
 * One request. Offset and length are whole sectors within the capacity, and for read and write
 * the iovecs hold length_bytes in all. They may only be given to the kernel or to memcpy. Until
 * it completes, the request belongs to the back end, which may change iov, n_iov, what iov points
 * to, offset and length, and use scratch.
 */
struct vmm_blk_io {
	enum vmm_blk_op op;
	uint32_t flags;
	uint32_t thread; /* index of the I/O thread that submits it */
	uint32_t n_iov;
	struct iovec *iov;
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t scratch[3];

	/* private */
	struct vmm_blk_io *next;
	void *owner;
	int result;
};

struct vmm_blk_geometry {
	uint64_t capacity_bytes;        /* a multiple of VMM_BLK_SECTOR_BYTES */
	uint32_t logical_block_bytes;   /* power of two from 512; smaller requests fail; 0: 512 */
	uint32_t physical_block_bytes;  /* power of two from the logical one; 0: the same */
	uint32_t optimal_io_bytes;      /* 0: unknown */
	uint32_t discard_granule_bytes; /* 0: the physical block */
	bool read_only;
	bool discard;      /* offered to the guest */
	bool write_zeroes; /* offered to the guest */
};

/* Returned by submit: vmm_blk_complete() will be called, or was called already. */
#define VMM_BLK_PENDING 1

/*
 * submit, commit, reap and cancel are called in the I/O thread io->thread (or thread); different
 * threads call at once. All but geometry and submit may be NULL.
 */
struct vmm_blk_ops {
	/* In any thread; again for each vmm_virtio_blk_resize(). 0 or a negative errno. */
	int (*geometry)(void *userdata, struct vmm_blk_geometry *ret_geometry);

	/* 0: done. Negative errno: failed. VMM_BLK_PENDING. */
	int (*submit)(void *userdata, struct vmm_blk_io *io);

	/* After a number of submits. */
	void (*commit)(void *userdata, unsigned int thread);

	/*
	 * First and last in each I/O thread. A descriptor in *ret_fd (borrowed, at first -EBADF)
	 * is waited for. reap is called when it becomes readable (an edge: it need not be read),
	 * after commit, and again and again while the thread looks for work: it should take all
	 * there is, and cost nothing where there is nothing.
	 */
	int (*thread_start)(void *userdata, unsigned int thread, int *ret_fd);
	void (*thread_stop)(void *userdata, unsigned int thread);
	void (*reap)(void *userdata, unsigned int thread);

	/* A wish: what has not begun may complete with -ECANCELED. */
	void (*cancel)(void *userdata, unsigned int thread);

	/* Static text for status: what carries out requests. */
	const char *(*engine)(void *userdata);
};

/* result: 0 or a negative errno. Any thread, once for each request that is pending. */
VMM_PUBLIC void vmm_blk_complete(struct vmm_blk_io *io, int result);

struct vmm_blk_backend {
	const struct vmm_blk_ops *ops; /* borrowed */
	void *userdata;                /* borrowed */
};

/*
 * Called in each new thread of a device or back end before it does anything for a guest, so that
 * a monitor can close the thread's sandbox. A negative result ends the thread and makes the
 * function that made it fail with that.
 */
enum vmm_blk_thread_kind {
	VMM_BLK_THREAD_IO,     /* an I/O thread, after the back end's thread_start */
	VMM_BLK_THREAD_WORKER, /* a thread of the file back end's pool */
};

struct vmm_blk_thread_hook {
	int (*start)(void *userdata, enum vmm_blk_thread_kind kind); /* may be NULL */
	void *userdata;                                              /* borrowed */
};

/* The back end for raw files and block devices. The image's format is never guessed. */
struct vmm_blk_file;

enum vmm_blk_engine {
	VMM_BLK_ENGINE_AUTO = 0, /* io_uring where the kernel allows it, else threads */
	VMM_BLK_ENGINE_IO_URING, /* the same: without io_uring, threads do the work */
	VMM_BLK_ENGINE_THREADS,
};

struct vmm_blk_file_config {
	int fd; /* duplicated; open for reading, and for writing unless read_only */
	bool read_only;
	enum vmm_blk_engine engine;
	unsigned int n_workers; /* of the thread pool; 0: 4 */
	/*
	 * Also what is expected not to block goes through the engine. By default, I/O that the
	 * page cache can serve is done in the I/O thread itself, as long as that stays fast.
	 */
	bool no_inline;
	struct vmm_blk_thread_hook hook;
};

/*
 * -EBADF: fd is not open; -EISDIR; -ENOTBLK: neither file nor block device; -EROFS: not open for
 * writing; -EACCES: not open for reading; -ENODATA: empty; -EDOM: the size is no multiple of
 * the sector; -EINVAL: another bad config; -ENOMEM; errno of fstat and ioctl.
 */
VMM_PUBLIC int vmm_blk_file_new(
	const struct vmm_blk_file_config *config, struct vmm_blk_file **ret_file);

/* The devices that use it are gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_blk_file *vmm_blk_file_free(struct vmm_blk_file *file);

/* Valid as long as the file. For one device. */
VMM_PUBLIC struct vmm_blk_backend vmm_blk_file_backend(struct vmm_blk_file *file);

/* The device */

struct vmm_virtio_blk;

/* Zero is the default of each member but mem and backend. */
struct vmm_virtio_blk_config {
	struct vmm_mem *mem;            /* borrowed, outlives the device */
	struct vmm_blk_backend backend; /* outlives the device */
	bool read_only;                 /* also where the back end could write */
	bool no_discard;                /* offer neither discard nor write-zeroes */
	uint32_t
		logical_block_bytes; /* 512 or 4096; 0: the back end's, which it may not be below */
	bool write_through;          /* the guest may switch the cache on */
	unsigned int n_queues;       /* 0: 1 */
	unsigned int queue_size;     /* power of two; 0: 256 */
	unsigned int n_threads;      /* 0: 1; at most n_queues; queue i: thread i % n_threads */
	bool no_threads;             /* the caller waits and processes */
	uint64_t poll_nsec;          /* how long to look before sleeping; 0: 50 us at most */
	bool no_poll;
	char serial[21];                    /* up to 20 bytes, for get-id */
	struct vmm_ratelimit_config limits; /* all zero: none */
	struct vmm_blk_thread_hook hook;
	/*
	 * The back end failed a request of the guest with this negative errno; the guest gets an
	 * error. Not what was canceled or is not supported. In the I/O thread, as often as a guest
	 * makes it happen. May be NULL.
	 */
	void (*failed)(void *userdata, enum vmm_blk_op op, int error);
	void *failed_userdata; /* borrowed */
};

/* -EINVAL, -EDOM where the capacity is not whole blocks, -ENOMEM, what geometry and thread_start
 * give, errno of pthread_create and epoll. */
VMM_PUBLIC int vmm_virtio_blk_new(
	const struct vmm_virtio_blk_config *config, struct vmm_virtio_blk **ret_blk);

/*
 * The transport is gone. Waits for requests in flight and ends the threads. Takes NULL. Returns
 * NULL.
 */
VMM_PUBLIC struct vmm_virtio_blk *vmm_virtio_blk_free(struct vmm_virtio_blk *blk);

/* For a transport, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_blk_device(struct vmm_virtio_blk *blk);

/* NULL: no limits. -EINVAL changes nothing. In effect at once. */
VMM_PUBLIC int vmm_virtio_blk_set_limits(
	struct vmm_virtio_blk *blk, const struct vmm_ratelimit_config *limits);

/* Asks the back end for its capacity and tells the guest where that changed. */
VMM_PUBLIC int vmm_virtio_blk_resize(struct vmm_virtio_blk *blk);

struct vmm_virtio_blk_status {
	const char *engine; /* what really runs, static text: "io_uring", "threads"... */
	uint64_t capacity_bytes;
	uint64_t n_reads, n_writes, n_flushes, n_discards, n_write_zeroes;
	uint64_t read_bytes, written_bytes;
	uint64_t n_failed;  /* requests that ended with IOERR or UNSUPP */
	uint64_t n_limited; /* times that the limits held a queue back */
	uint64_t n_wakeups; /* of all I/O threads */
};

VMM_PUBLIC void vmm_virtio_blk_get_status(
	struct vmm_virtio_blk *blk, struct vmm_virtio_blk_status *ret_status);

/*
 * Only with no_threads: a descriptor that is readable when there is work (-EBADF otherwise), and
 * the function that does it, always called in the thread that called vmm_virtio_blk_new().
 * Returns 0 or a negative errno of the host.
 */
VMM_PUBLIC int vmm_virtio_blk_fd(const struct vmm_virtio_blk *blk);
VMM_PUBLIC int vmm_virtio_blk_process(struct vmm_virtio_blk *blk);

VMM_END_DECLS

#endif
