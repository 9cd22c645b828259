/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-rng: fills guest buffers with bytes from getrandom() (VIRTIO 1.2, 5.4). The kernel
 * writes straight into guest memory; nothing here ever sees the bytes.
 */
#include <vmmcore/virtio-rng.h>

#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/util.h"

#define DEVICE_TYPE_ENTROPY 4
#define PCI_CLASS_OTHER_ENCRYPTION 0x108000
#define QUEUE_SIZE 64
#define N_IOVECS (QUEUE_SIZE + 16)

/* Chains of one call. */
#define BUDGET 16

struct vmm_virtio_rng {
	struct vmm_virtio_device *device; /* owned */
	int timer_fd;                     /* owned */

	/* under the data lock */
	struct vmm_ratelimit limiter;
	struct iovec iov[N_IOVECS];
};

/* Returns the number of bytes written: all that were asked for, unless the host fails. */
static int fill(const struct vmm_virtqueue_chain *chain, size_t size)
{
	size_t done = 0;

	for (uint32_t i = 0; i < chain->n_writable && done < size; i++) {
		const struct iovec *iov = &chain->writable[i];
		size_t end = MIN(iov->iov_len, size - done), at = 0;

		while (at < end) {
			ssize_t n = getrandom((char *)iov->iov_base + at, end - at, 0);

			if (n < 0 && errno != EINTR)
				return -errno;
			if (n > 0)
				at += (size_t)n;
		}
		done += end;
	}
	return (int)done;
}

static int set_timer(struct vmm_virtio_rng *rng, uint64_t deadline_nsec)
{
	struct itimerspec spec = { 0 };

	deadline_nsec = MIN(deadline_nsec, (uint64_t)INT64_MAX);
	spec.it_value.tv_sec = (time_t)(deadline_nsec / 1000000000);
	spec.it_value.tv_nsec = (long)(deadline_nsec % 1000000000);
	if (timerfd_settime(rng->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return -errno;
	return 0;
}

/* When the request may be served: 0 for now. */
static uint64_t admit(struct vmm_virtio_rng *rng, size_t size)
{
	if (!vmm_ratelimit_active(&rng->limiter))
		return 0;
	return vmm_ratelimit_take(&rng->limiter, 1, size, vmm_base_now_nsec());
}

/* Takes and fills up to BUDGET chains. 0: no more; 1: there may be more; or as process(). */
static int serve(struct vmm_virtio_rng *rng, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	int n, r;

	for (unsigned int i = 0; i < BUDGET; i++) {
		uint64_t due_nsec;
		size_t size;

		r = vmm_virtqueue_pop(queue, rng->iov, N_IOVECS, &chain);
		if (r == -ENOBUFS) {
			vmm_virtqueue_break(queue, "an entropy request lies in too many pieces");
			return -VMM_EGUEST;
		}
		if (r <= 0)
			return r;
		if (chain.writable_bytes == 0) {
			vmm_virtqueue_break(queue, "an entropy request has no room for a byte");
			return -VMM_EGUEST;
		}
		size = MIN(chain.writable_bytes, (uint64_t)VMM_RNG_MAX_REQUEST_BYTES);
		due_nsec = admit(rng, size);
		if (due_nsec) {
			vmm_virtqueue_undo_pop(queue, &chain);
			r = set_timer(rng, due_nsec);
			return r < 0 ? r : 2;
		}
		n = fill(&chain, size);
		if (n < 0)
			return n;
		vmm_virtqueue_push(queue, &chain, (uint32_t)n);
	}
	return 1;
}

static int op_process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_rng *rng = userdata;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		r = serve(rng, queue);
		if (r != 0)
			/* While the timer runs kicks tell nothing new. */
			return r == 2 ? 0 : r;
	} while (vmm_virtqueue_enable_notifications(queue));
	return 0;
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
};

DEFINE_POINTER_CLEANUP(struct vmm_virtio_rng, vmm_virtio_rng_free);

int vmm_virtio_rng_new(const struct vmm_virtio_rng_config *config, struct vmm_virtio_rng **ret_rng)
{
	static const uint16_t queue_sizes[] = { QUEUE_SIZE };
	CLEANUP(vmm_virtio_rng_free_p) struct vmm_virtio_rng *rng = NULL;
	struct vmm_virtio_device_config device = {
		.device_type = DEVICE_TYPE_ENTROPY,
		.pci_class_code = PCI_CLASS_OTHER_ENCRYPTION,
		.features = VMM_VIRTIO_IN_ORDER_FEATURES,
		.n_queues = 1,
		.queue_sizes = queue_sizes,
		.mem = config->mem,
		.ops = &device_ops,
	};
	int r;

	if (!config->mem)
		return -EINVAL;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return -ENOMEM;
	rng->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rng->timer_fd < 0)
		return -errno;
	r = vmm_ratelimit_init(&rng->limiter, &config->limits, vmm_base_now_nsec());
	if (r < 0)
		return r;
	device.userdata = rng;
	r = vmm_virtio_device_new(&device, &rng->device);
	if (r < 0)
		return r;
	*ret_rng = TAKE_PTR(rng);
	return 0;
}

struct vmm_virtio_rng *vmm_virtio_rng_free(struct vmm_virtio_rng *rng)
{
	if (!rng)
		return NULL;
	vmm_virtio_device_free(rng->device);
	vmm_base_close(rng->timer_fd);
	free(rng);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_rng_device(struct vmm_virtio_rng *rng)
{
	return rng->device;
}

int vmm_virtio_rng_fd(const struct vmm_virtio_rng *rng)
{
	return rng->timer_fd;
}

int vmm_virtio_rng_process(struct vmm_virtio_rng *rng)
{
	vmm_base_eventfd_clear(rng->timer_fd, NULL);
	return vmm_virtio_process(rng->device, 0);
}

int vmm_virtio_rng_set_limits(struct vmm_virtio_rng *rng, const struct vmm_ratelimit_config *limits)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	int r;

	vmm_virtio_lock(rng->device, 0);
	r = vmm_ratelimit_update(&rng->limiter, limits, now_nsec);
	/* The deadline that a request waits for is void: ask again at once. */
	if (r >= 0)
		r = set_timer(rng, now_nsec);
	vmm_virtio_unlock(rng->device, 0);
	return r;
}
