/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-pmem: flushes. The thread pops what there is under the data lock, calls fdatasync
 * without it, and pushes under it. So a reset waits for nothing but the call that runs, and what
 * was asked for before it is then dropped.
 */
#include <vmmcore/virtio-pmem.h>

#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "base/util.h"

#define DEVICE_TYPE_PMEM 27
#define PCI_CLASS_OTHER_MEMORY 0x058000
#define QUEUE_SIZE 64

#define REQUEST_FLUSH 0
#define ANSWER_OK 0
#define ANSWER_FAILED 1

struct config_space {
	struct vmm_le64 start;
	struct vmm_le64 size;
};

struct request {
	struct vmm_virtqueue_chain chain;
	struct iovec iov[VMM_PMEM_MAX_PIECES];
	bool is_flush;
};

enum drain {
	DRAIN_RESET,
	DRAIN_PAUSE,
	DRAIN_QUEUE,
	N_DRAINS,
};

struct vmm_virtio_pmem {
	struct vmm_virtio_device *device; /* owned */
	int fd;                           /* borrowed, of the region */
	struct config_space space;
	int (*thread_start)(void *userdata);
	void *userdata;

	pthread_t thread;
	bool has_thread;
	sem_t started;
	int start_result;
	int epoll_fd, wake_fd; /* owned */
	bool stopping;         /* atomic */

	/* under the data lock */
	struct request requests[QUEUE_SIZE];
	unsigned int n_requests; /* in flight */
	bool drains[N_DRAINS];   /* who waits until there are none */
};

static int op_process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_pmem *pmem = userdata;

	/* The core asks for a look, after resume: the thread will. */
	vmm_base_eventfd_signal(pmem->wake_fd);
	return 0;
}

static int drain(struct vmm_virtio_pmem *pmem, enum drain what)
{
	pmem->drains[what] = pmem->n_requests > 0;
	return pmem->drains[what];
}

static int op_reset(void *userdata)
{
	return drain(userdata, DRAIN_RESET);
}

static int op_queue_reset(void *userdata, unsigned int queue_index)
{
	return drain(userdata, DRAIN_QUEUE);
}

static int op_pause(void *userdata)
{
	return drain(userdata, DRAIN_PAUSE);
}

static void op_resume(void *userdata)
{
	struct vmm_virtio_pmem *pmem = userdata;

	vmm_base_eventfd_signal(pmem->wake_fd);
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
	.reset = op_reset,
	.queue_reset = op_queue_reset,
	.pause = op_pause,
	.resume = op_resume,
};

/* -VMM_EGUEST where the request cannot be answered. */
static int parse(struct request *request)
{
	struct vmm_le32 type;

	if (vmm_virtqueue_chain_read(&request->chain, 0, &type, sizeof(type)) < sizeof(type) ||
		request->chain.writable_bytes < sizeof(struct vmm_le32))
		return -VMM_EGUEST;
	request->is_flush = vmm_le32_get(type) == REQUEST_FLUSH;
	return 0;
}

/* Under the data lock: takes all there is. Whether that is anything. */
static bool take_requests(struct vmm_virtio_pmem *pmem)
{
	struct vmm_virtqueue *queue = vmm_virtio_queue(pmem->device, 0);
	int r;

	if (!queue || vmm_virtqueue_fault(queue))
		return false;
	do {
		vmm_virtqueue_disable_notifications(queue);
		r = 0;
		while (pmem->n_requests < QUEUE_SIZE) {
			struct request *request = &pmem->requests[pmem->n_requests];

			r = vmm_virtqueue_pop(
				queue, request->iov, ARRAY_SIZE(request->iov), &request->chain);
			if (r > 0)
				r = parse(request) < 0 ? -VMM_EGUEST : 1;
			if (r <= 0)
				break;
			pmem->n_requests++;
		}
		if (r < 0) {
			vmm_virtqueue_break(queue, "a pmem request is too short, or in pieces");
			vmm_virtio_fail(pmem->device);
		}
	} while (r == 0 && pmem->n_requests == 0 && vmm_virtqueue_enable_notifications(queue));
	return pmem->n_requests > 0;
}

static void tell_drained(struct vmm_virtio_pmem *pmem)
{
	if (TAKE(pmem->drains[DRAIN_RESET], false))
		vmm_virtio_reset_done(pmem->device);
	if (TAKE(pmem->drains[DRAIN_PAUSE], false))
		vmm_virtio_pause_done(pmem->device);
	if (TAKE(pmem->drains[DRAIN_QUEUE], false))
		vmm_virtio_queue_reset_done(pmem->device, 0);
}

/* Under the data lock: answers all that was taken; result: of fdatasync. */
static void answer_requests(struct vmm_virtio_pmem *pmem, int result)
{
	struct vmm_virtqueue *queue = vmm_virtio_queue_finishing(pmem->device, 0);

	for (unsigned int i = 0; queue && i < pmem->n_requests; i++) {
		struct request *request = &pmem->requests[i];
		bool ok = result == 0 && request->is_flush;
		struct vmm_le32 answer = vmm_le32_make(ok ? ANSWER_OK : ANSWER_FAILED);

		vmm_virtqueue_chain_write(&request->chain, 0, &answer, sizeof(answer));
		vmm_virtqueue_fill(queue, &request->chain, sizeof(answer));
	}
	pmem->n_requests = 0;
	if (queue) {
		vmm_virtqueue_flush(queue);
		vmm_virtio_notify(pmem->device, 0);
	}
	tell_drained(pmem);
}

static void serve(struct vmm_virtio_pmem *pmem)
{
	bool more;

	do {
		vmm_virtio_lock(pmem->device, 0);
		more = take_requests(pmem);
		vmm_virtio_unlock(pmem->device, 0);
		if (more) {
			int r;

			do {
				r = fdatasync(pmem->fd);
			} while (r < 0 && errno == EINTR);
			vmm_virtio_lock(pmem->device, 0);
			answer_requests(pmem, r);
			vmm_virtio_unlock(pmem->device, 0);
		}
	} while (more && !__atomic_load_n(&pmem->stopping, __ATOMIC_RELAXED));
}

static void *thread_main(void *userdata)
{
	struct vmm_virtio_pmem *pmem = userdata;
	struct epoll_event events[2];
	int r = 0;

	prctl(PR_SET_NAME, "virtio-pmem");
	if (pmem->thread_start)
		r = pmem->thread_start(pmem->userdata);
	pmem->start_result = r;
	sem_post(&pmem->started);
	/* Both descriptors are edge-triggered and never read. */
	while (r >= 0 && !__atomic_load_n(&pmem->stopping, __ATOMIC_ACQUIRE)) {
		serve(pmem);
		if (__atomic_load_n(&pmem->stopping, __ATOMIC_ACQUIRE))
			break;
		r = epoll_wait(pmem->epoll_fd, events, ARRAY_SIZE(events), -1);
		if (r < 0 && errno == EINTR)
			r = 0;
	}
	return NULL;
}

static int watch(struct vmm_virtio_pmem *pmem, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	return epoll_ctl(pmem->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int start_thread(struct vmm_virtio_pmem *pmem)
{
	int r;

	pmem->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (pmem->epoll_fd < 0)
		return -errno;
	r = watch(pmem, vmm_virtio_kick_fd(pmem->device, 0));
	if (r == 0)
		r = watch(pmem, pmem->wake_fd);
	if (r < 0)
		return r;
	r = vmm_base_thread_start(&pmem->thread, thread_main, pmem);
	if (r < 0)
		return r;
	pmem->has_thread = true;
	while (sem_wait(&pmem->started) < 0)
		;
	return pmem->start_result;
}

/* The region that starts at gpa and has a file. */
static int find_region(const struct vmm_mem *mem, uint64_t gpa, struct vmm_mem_region *ret_region)
{
	if (vmm_mem_find_region(mem, gpa, ret_region) < 0 || ret_region->fd < 0 ||
		!IS_ALIGNED(gpa, VMM_PMEM_ALIGNMENT) ||
		!IS_ALIGNED(ret_region->size_bytes, VMM_PMEM_ALIGNMENT))
		return -EINVAL;
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_pmem, vmm_virtio_pmem_free);

int vmm_virtio_pmem_new(
	const struct vmm_virtio_pmem_config *config, struct vmm_virtio_pmem **ret_pmem)
{
	static const uint16_t queue_sizes[] = { QUEUE_SIZE };
	CLEANUP(vmm_virtio_pmem_free_p) struct vmm_virtio_pmem *pmem = NULL;
	struct vmm_virtio_device_config device = {
		.device_type = DEVICE_TYPE_PMEM,
		.pci_class_code = PCI_CLASS_OTHER_MEMORY,
		.features = VMM_VIRTIO_IN_ORDER_FEATURES,
		.n_queues = 1,
		.queue_sizes = queue_sizes,
		.config_size_bytes = sizeof(struct config_space),
		.mem = config->mem,
		.ops = &device_ops,
	};
	struct vmm_mem_region region;
	int r;

	if (!config->mem)
		return -EINVAL;
	r = find_region(config->mem, config->gpa, &region);
	if (r < 0)
		return r;
	pmem = calloc(1, sizeof(*pmem));
	if (!pmem)
		return -ENOMEM;
	pmem->fd = region.fd;
	pmem->epoll_fd = -EBADF;
	pmem->thread_start = config->thread_start;
	pmem->userdata = config->userdata;
	pmem->space.start = vmm_le64_make(region.gpa);
	pmem->space.size = vmm_le64_make(region.size_bytes);
	sem_init(&pmem->started, 0, 0);
	pmem->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pmem->wake_fd < 0)
		return -errno;
	device.config_space = &pmem->space;
	device.userdata = pmem;
	r = vmm_virtio_device_new(&device, &pmem->device);
	if (r < 0)
		return r;
	r = start_thread(pmem);
	if (r < 0)
		return r;
	*ret_pmem = TAKE_PTR(pmem);
	return 0;
}

struct vmm_virtio_pmem *vmm_virtio_pmem_free(struct vmm_virtio_pmem *pmem)
{
	if (!pmem)
		return NULL;
	__atomic_store_n(&pmem->stopping, true, __ATOMIC_RELEASE);
	if (pmem->has_thread) {
		vmm_base_eventfd_signal(pmem->wake_fd);
		pthread_join(pmem->thread, NULL);
	}
	vmm_virtio_device_free(pmem->device);
	sem_destroy(&pmem->started);
	vmm_base_close(pmem->epoll_fd);
	vmm_base_close(pmem->wake_fd);
	free(pmem);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_pmem_device(struct vmm_virtio_pmem *pmem)
{
	return pmem->device;
}
