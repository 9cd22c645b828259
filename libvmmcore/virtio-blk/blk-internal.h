/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: what its files share. device.c: the device as the driver and the monitor see it;
 * request.c: from a chain of descriptors to requests of the back end and back; thread.c and
 * thread-life.c: the I/O threads. The back end for files (file.c and its engines) uses the public
 * header alone.
 *
 * Who owns what: a queue belongs to one I/O thread. What is marked "locked" is touched under the
 * queue's data lock only, all else of a queue or thread by that thread alone, or atomically.
 */
#ifndef VMM_BLK_INTERNAL_H
#define VMM_BLK_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>

#include <vmmcore/virtio-blk.h>

#include "base/util.h"

/* VIRTIO 1.2, 5.2.3 */
#define BLK_F_SEG_MAX (UINT64_C(1) << 2)
#define BLK_F_RO (UINT64_C(1) << 5)
#define BLK_F_BLK_SIZE (UINT64_C(1) << 6)
#define BLK_F_FLUSH (UINT64_C(1) << 9)
#define BLK_F_TOPOLOGY (UINT64_C(1) << 10)
#define BLK_F_CONFIG_WCE (UINT64_C(1) << 11)
#define BLK_F_MQ (UINT64_C(1) << 12)
#define BLK_F_DISCARD (UINT64_C(1) << 13)
#define BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

/* VIRTIO 1.2, 5.2.6 */
#define BLK_T_IN 0
#define BLK_T_OUT 1
#define BLK_T_FLUSH 4
#define BLK_T_GET_ID 8
#define BLK_T_DISCARD 11
#define BLK_T_WRITE_ZEROES 13
#define BLK_S_OK 0
#define BLK_S_IOERR 1
#define BLK_S_UNSUPP 2
#define BLK_SEGMENT_UNMAP 1u

#define BLK_ID_BYTES 20
#define BLK_MAX_SEGMENTS 32
#define BLK_MAX_ZERO_SECTORS (UINT32_C(1) << 21) /* 1 GiB a segment */
#define BLK_SPARE_IOVECS 64

/* VIRTIO 1.2, 5.2.4, up to what write-zeroes needs. */
struct blk_config_space {
	struct vmm_le64 capacity;
	struct vmm_le32 size_max;
	struct vmm_le32 seg_max;
	uint8_t geometry[4];
	struct vmm_le32 blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	struct vmm_le16 min_io_size;
	struct vmm_le32 opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	struct vmm_le16 num_queues;
	struct vmm_le32 max_discard_sectors;
	struct vmm_le32 max_discard_seg;
	struct vmm_le32 discard_sector_alignment;
	struct vmm_le32 max_write_zeroes_sectors;
	struct vmm_le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};
#define BLK_CONFIG_BYTES 60
static_assert(offsetof(struct blk_config_space, unused1) + 3 == BLK_CONFIG_BYTES, "config");
static_assert(offsetof(struct blk_config_space, writeback) == 32, "writeback");

struct blk_request_header {
	struct vmm_le32 type;
	struct vmm_le32 reserved;
	struct vmm_le64 sector;
};
static_assert(sizeof(struct blk_request_header) == 16, "virtio_blk_req");

struct blk_segment {
	struct vmm_le64 sector;
	struct vmm_le32 n_sectors;
	struct vmm_le32 flags;
};
static_assert(sizeof(struct blk_segment) == 16, "virtio_blk_discard_write_zeroes");

struct blk_request {
	struct vmm_blk_io io;
	struct vmm_virtqueue_chain chain;
	struct blk_queue *queue;
	struct blk_request *next; /* in a list: free, ended */
	struct iovec status_iov;  /* one byte */
	uint32_t written_bytes;   /* if it succeeds */
	uint8_t status;
	uint8_t n_segments, next_segment;
	struct blk_segment segments[BLK_MAX_SEGMENTS]; /* checked */
	struct iovec iov[];                            /* queue size + BLK_SPARE_IOVECS */
};

/* What waits until nothing of a queue is in flight. */
enum blk_drain {
	BLK_DRAIN_RESET,
	BLK_DRAIN_PAUSE,
	BLK_N_DRAINS,
};

struct blk_queue {
	struct vmm_virtio_blk *blk;
	struct blk_thread *thread;
	unsigned int index;
	char *requests; /* owned, mapped: untouched pages cost nothing */
	size_t requests_bytes, stride;
	unsigned int n_slots; /* requests that were in use yet */
	struct blk_request *free;
	struct blk_request *ended, **ended_tail; /* to be pushed */
	bool pending;                            /* look for chains before sleeping */
	bool unnotified;                         /* the driver was asked not to kick */

	uint32_t n_in_flight;     /* locked: popped, not pushed */
	bool drain[BLK_N_DRAINS]; /* locked */
	bool drain_queue;         /* locked */
	bool kicked;              /* atomic: somebody else wants the thread to look */
};

struct blk_counters {
	uint64_t n_reads, n_writes, n_flushes, n_discards, n_write_zeroes;
	uint64_t read_bytes, written_bytes;
	uint64_t n_failed, n_limited, n_wakeups;
};

/* Tags of epoll events: the index of a queue, or one of these. */
enum blk_tag {
	BLK_TAG_WAKE = 1 << 16,
	BLK_TAG_TIMER,
	BLK_TAG_BACKEND,
};

struct blk_thread {
	struct vmm_virtio_blk *blk;
	unsigned int index;
	pthread_t thread;
	bool has_thread, has_backend;
	sem_t started;
	int start_result;

	int epoll_fd, wake_fd, timer_fd; /* owned */
	int backend_fd;                  /* borrowed, -EBADF: none */
	uint32_t n_in_flight;            /* of the back end */
	uint64_t limited_until_nsec;     /* 0: not limited */

	/* How looking for work before sleeping has paid. */
	bool polling;
	unsigned int n_poll_failures, poll_penalty, poll_skip;

	struct blk_counters counters; /* written by the thread alone, read by any, atomically */

	struct vmm_blk_io *completed __attribute__((aligned(64))); /* atomic: last in, first out */
	unsigned int n_completing;                                 /* atomic */
	bool asleep;                                               /* atomic */
	bool stopping, cancel_wanted, limits_changed;              /* atomic */
};

struct vmm_virtio_blk {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_blk_backend backend;
	struct vmm_blk_thread_hook hook;
	void (*failed)(void *userdata, enum vmm_blk_op op, int error); /* may be NULL */
	void *failed_userdata;
	struct blk_config_space config_space; /* under the control lock */
	uint64_t features;                    /* negotiated; changes while nothing is in flight */
	uint64_t capacity_sectors;            /* atomic */
	uint32_t logical_block_bytes;
	uint32_t configured_block_bytes; /* 0: the back end's */
	bool writeback;                  /* atomic: of the configuration space */
	bool writeback_at_reset;
	bool read_only, no_threads;
	uint64_t poll_nsec;
	char serial[BLK_ID_BYTES];
	uint32_t max_discard_sectors;

	struct vmm_ratelimit limiter; /* under limiter_lock */
	bool limited;                 /* atomic: the limiter is active */
	pthread_mutex_t limiter_lock; /* innermost */

	unsigned int n_draining[BLK_N_DRAINS]; /* atomic: queues to wait for */

	unsigned int n_queues, n_threads, queue_size;
	struct blk_queue *queues;   /* owned */
	struct blk_thread *threads; /* owned */
};

/* A list of ended requests of a queue, in order. */
static inline void blk_queue_add_ended(struct blk_queue *queue, struct blk_request *request)
{
	request->next = NULL;
	*queue->ended_tail = request;
	queue->ended_tail = &request->next;
}

/* The i-th queue of a thread, or NULL. */
static inline struct blk_queue *blk_thread_queue(struct blk_thread *thread, unsigned int i)
{
	unsigned int index = thread->index + i * thread->blk->n_threads;

	return index < thread->blk->n_queues ? &thread->blk->queues[index] : NULL;
}

static inline void blk_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

enum blk_parsed {
	BLK_PARSED_SUBMIT, /* for the back end */
	BLK_PARSED_ENDED,  /* status is set */
	BLK_PARSED_BROKEN, /* cannot even be answered */
};

/* Under the queue's data lock, for a chain that was just popped. */
enum blk_parsed blk_request_parse(struct blk_request *request);

/* Bytes that the request costs in the limiter. */
uint64_t blk_request_limited_bytes(const struct blk_request *request);

/* Gives the request to the back end; it may have ended when this returns. */
void blk_request_submit(struct blk_request *request);

/* One operation of the back end ended: the request goes on to its next segment, or ends. */
void blk_request_completed(struct blk_request *request, int result);

/* Under the data lock: writes the status and gives the chain back to the driver. */
void blk_request_push(struct blk_request *request, struct vmm_virtqueue *virtqueue);

int blk_thread_init(struct blk_thread *thread);
int blk_thread_start(struct blk_thread *thread);
void blk_thread_finish(struct blk_thread *thread);
void blk_thread_wake(struct blk_thread *thread);

/* Serves until the thread is told to stop and nothing is in flight. 0 or a negative errno. */
int blk_thread_run(struct blk_thread *thread);

/* One round without waiting. 0, or a negative errno of the host. */
int blk_thread_process(struct blk_thread *thread);

/* Under the queue's data lock: whoever waits for the queue to drain is told, if it has. */
void blk_queue_check_drained(struct blk_queue *queue);

#endif
