/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: what its files share. device.c: the device as driver and monitor see it, and what
 * the types have of their own; thread.c: what happens when; session.c: a vhost-user back end, from
 * its connection to its running queues; kernel.c: the same for the kernel; net-control.c: the
 * control queue of a network that the kernel serves; relay.c: the rings between.
 *
 * What is marked "locked" is under vhost->lock, which is a leaf; what a relay has is under the
 * data lock of the device; all else belongs to the thread, once it runs.
 */
#ifndef VMM_VHOST_INTERNAL_H
#define VMM_VHOST_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>

#include <vmmcore/virtio-vhost.h>

#include "base/util.h"

#define BLK_F_CONFIG_WCE (UINT64_C(1) << 11)
#define BLK_F_MQ (UINT64_C(1) << 12)
#define BLK_CONFIG_NUM_QUEUES 34
#define BLK_CONFIG_BYTES 60

/* VIRTIO 1.2, 5.1.3 and 5.1.4 */
#define NET_F_CTRL_VQ (UINT64_C(1) << 17)
#define NET_F_MQ (UINT64_C(1) << 22)
#define NET_CONFIG_MAX_PAIRS 8
#define NET_CONFIG_BYTES 10

/* One request on its way: what was taken from the guest, and where it stands in our ring. */
struct relay_slot {
	struct vmm_virtqueue_chain chain; /* its iovecs are not kept */
	uint64_t order;                   /* 0: free */
	uint64_t status_gpa;              /* last writable byte, if there is one */
};

struct relay_desc {
	struct vmm_le64 gpa;
	struct vmm_le32 len;
	struct vmm_le16 flags;
	struct vmm_le16 next;
};

struct relay_used {
	struct vmm_le32 id;
	struct vmm_le32 len;
};

/*
 * A split ring in memory that we share with the back end, and with nobody else. Its descriptor i is
 * the table of slot i. What the back end can write there is never read twice.
 */
struct relay {
	uint64_t gpa; /* of its part of the shared memory */
	struct relay_desc *desc;
	uint16_t *avail; /* flags, index, ring */
	uint16_t *used;  /* flags, index, elements behind */
	struct relay_desc *tables;
	struct relay_slot *slots; /* owned */
	struct iovec *iov;        /* owned */
	uint16_t *free_slots;     /* owned, n_free of them */
	unsigned int n_free;
	unsigned int size;
	uint32_t n_table; /* entries of each table */
	uint16_t avail_index, used_index;
	uint64_t next_order;
};

/* What the driver said about a queue. */
struct vhost_driver_queue {
	bool is_enabled;
	struct vmm_virtqueue_config config;
	int interrupt_fd; /* borrowed; -EBADF: by way of the thread */
};

struct vhost_queue {
	unsigned int index;
	struct vhost_driver_queue activated; /* locked: what the thread takes with want_run */
	struct vhost_driver_queue driver;
	bool is_started;                  /* in the back end */
	struct vmm_virtqueue_state state; /* direct: where to go on */
	int call_fd;                      /* owned: what comes from the back end to the thread */
	int relay_kick_fd;                /* owned */
	struct relay relay;
};

struct vmm_virtio_vhost {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_mem *mem;              /* borrowed */
	struct vmm_virtio_vhost_config config;
	uint8_t config_space[VMM_VHOST_USER_CONFIG_BYTES]; /* control lock, as all of the device */
	size_t config_size_bytes;
	bool config_is_theirs; /* the back end's, with MQ of ours */
	bool relayed;
	unsigned int n_queues, queue_size;
	struct vhost_queue *queues; /* owned */
	pthread_t thread;
	bool has_thread;
	sem_t started;
	int start_result;
	int wake_fd; /* owned */

	pthread_mutex_t lock;
	bool want_run, want_reset, want_pause, want_quit; /* locked */
	size_t written_begin, written_end;     /* locked: of the configuration, by the driver */
	struct vmm_virtio_vhost_status status; /* locked */

	/* The thread's. */
	struct vmm_vhost_user *user; /* owned; NULL: not connected */
	/* The kernel: of each pair of queues; of a vsock the first alone. n_pairs 0: vhost-user. */
	struct vmm_vhost *kernels[VMM_VHOST_MAX_PAIRS]; /* owned */
	int tap_fds[VMM_VHOST_MAX_PAIRS];               /* owned; -EBADF */
	unsigned int n_pairs;
	unsigned int n_attached;     /* taps: those of the pairs in use */
	unsigned int n_pairs_wanted; /* by the driver; 1 until it says so */
	bool has_control;            /* the driver uses the control queue, which is */
	unsigned int control_queue;

	bool is_running;   /* the back end has our queues */
	bool is_wanted;    /* the driver uses the device */
	bool is_draining;  /* relayed: paused when nothing is in flight any more */
	bool is_resetting; /* relayed: reset when nothing is in flight any more */
	bool is_failed;
	struct vmm_vhost_user_inflight inflight;
	uint64_t deadline_nsec; /* 0: none */
	uint64_t retry_nsec;    /* 0: none */
	uint64_t channel_nsec;  /* not to be looked at before */

	struct vmm_mem_region relay_region;
};

/* Features that go from the driver through to the back end. */
uint64_t vhost_back_features(const struct vmm_virtio_vhost *vhost);

/* session.c: in vmm_virtio_vhost_new() or the thread. 0 or why there is no back end. */
int session_connect(struct vmm_virtio_vhost *vhost);
int session_start(struct vmm_virtio_vhost *vhost);
/* Stops the queues and notes where they stand; a failure leaves them to a disconnection. */
int session_stop(struct vmm_virtio_vhost *vhost);
/* Direct: notes where the rings of a back end stand that went without a word. */
void session_take_up(struct vmm_virtio_vhost *vhost);
void session_disconnect(struct vmm_virtio_vhost *vhost);
/* Reads the configuration again. Returns 1 where it changed. */
int session_read_config(struct vmm_virtio_vhost *vhost);
int session_write_config(struct vmm_virtio_vhost *vhost);
int session_process_channel(struct vmm_virtio_vhost *vhost);
void session_forget_inflight(struct vmm_virtio_vhost *vhost);

/* kernel.c */
int kernel_open(struct vmm_virtio_vhost *vhost);
uint64_t kernel_features(const struct vmm_virtio_vhost *vhost);
int kernel_start(struct vmm_virtio_vhost *vhost);
int kernel_stop(struct vmm_virtio_vhost *vhost);
/* The driver has reset the device. */
void kernel_forget(struct vmm_virtio_vhost *vhost);
void kernel_close(struct vmm_virtio_vhost *vhost);
/* How many pairs frames are spread over. 0 or a negative errno. */
int kernel_set_pairs(struct vmm_virtio_vhost *vhost, unsigned int n_pairs);

/* net-control.c: as process() of virtio.h */
int net_control_process(struct vmm_virtio_vhost *vhost, struct vmm_virtqueue *queue);

/* thread.c */
int thread_start(struct vmm_virtio_vhost *vhost);
void thread_stop(struct vmm_virtio_vhost *vhost);
void thread_wake(struct vmm_virtio_vhost *vhost);

/* relay.c */
int relay_new(struct vmm_virtio_vhost *vhost);
void relay_free(struct vmm_virtio_vhost *vhost);
/* The ring begins anew, with what is in flight in it; the number of that. Data lock. */
unsigned int relay_restart(struct vhost_queue *queue);
/* Forgets what is in flight. Data lock. */
void relay_forget(struct vhost_queue *queue);
bool relay_is_empty(const struct vhost_queue *queue);
/* What the queue looks like to the back end. */
struct vmm_virtqueue_config relay_config(const struct vhost_queue *queue);
/* From the guest's ring to ours. 0, or as process() of virtio.h. No lock. */
int relay_forward(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue);
/* From ours to the guest's. 0, or -EPROTO: the back end is not to be trusted. No lock. */
int relay_return(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue);
/* Ends all that is in flight or available with an error. A disk's only. No lock. */
void relay_fail(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue);

#endif
