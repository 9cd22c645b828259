/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the device as the driver and the monitor see it: features, configuration space
 * (VIRTIO 1.2, 5.2.3 to 5.2.5), and its life.
 */
#include <string.h>
#include <sys/mman.h>

#include "virtio-blk/blk-internal.h"

#define DEVICE_TYPE_BLOCK 2
#define PCI_CLASS_SCSI_STORAGE 0x010000

#define DEFAULT_QUEUE_SIZE 256
#define DEFAULT_POLL_NSEC UINT64_C(50000)

static void wake_all(struct vmm_virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->n_threads; i++)
		blk_thread_wake(&blk->threads[i]);
}

/* The core asks for a look at a queue (after resume); the thread that owns it will. */
static int op_process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *virtqueue)
{
	struct vmm_virtio_blk *blk = userdata;
	struct blk_queue *queue = &blk->queues[queue_index];

	__atomic_store_n(&queue->kicked, true, __ATOMIC_RELEASE);
	blk_thread_wake(queue->thread);
	return 0;
}

static int op_activate(void *userdata)
{
	struct vmm_virtio_blk *blk = userdata;

	blk->features = vmm_virtio_features(blk->device);
	return 0;
}

/* With all data locks held: whoever pushes the last request of the last queue says done. */
static int drain(struct vmm_virtio_blk *blk, enum blk_drain what)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < blk->n_queues; i++) {
		blk->queues[i].drain[what] = blk->queues[i].n_in_flight > 0;
		n += blk->queues[i].drain[what];
	}
	__atomic_store_n(&blk->n_draining[what], n, __ATOMIC_RELEASE);
	return n > 0 ? 1 : 0;
}

static void want_cancel(struct blk_thread *thread)
{
	__atomic_store_n(&thread->cancel_wanted, true, __ATOMIC_RELEASE);
	blk_thread_wake(thread);
}

static int op_reset(void *userdata)
{
	struct vmm_virtio_blk *blk = userdata;

	blk->config_space.writeback = __atomic_load_n(&blk->writeback_at_reset, __ATOMIC_RELAXED);
	__atomic_store_n(&blk->writeback, blk->config_space.writeback, __ATOMIC_RELAXED);
	if (drain(blk, BLK_DRAIN_RESET) == 0)
		return 0;
	for (unsigned int i = 0; i < blk->n_threads; i++)
		want_cancel(&blk->threads[i]);
	return 1;
}

static int op_queue_reset(void *userdata, unsigned int queue_index)
{
	struct vmm_virtio_blk *blk = userdata;
	struct blk_queue *queue = &blk->queues[queue_index];

	if (queue->n_in_flight == 0)
		return 0;
	queue->drain_queue = true;
	return 1;
}

static int op_pause(void *userdata)
{
	return drain(userdata, BLK_DRAIN_PAUSE);
}

static void op_resume(void *userdata)
{
	struct vmm_virtio_blk *blk = userdata;

	for (unsigned int i = 0; i < blk->n_queues; i++)
		__atomic_store_n(&blk->queues[i].kicked, true, __ATOMIC_RELEASE);
	wake_all(blk);
}

/* The only byte that a driver may write is writeback, if it negotiated that (5.2.5). */
static void op_write_config(void *userdata, uint32_t offset, const void *data, size_t size)
{
	struct vmm_virtio_blk *blk = userdata;
	const uint32_t at = offsetof(struct blk_config_space, writeback);
	const uint8_t *bytes = data;

	if (!(vmm_virtio_features(blk->device) & BLK_F_CONFIG_WCE))
		return;
	if (offset > at || size <= at - offset)
		return;
	blk->config_space.writeback = bytes[at - offset] ? 1 : 0;
	__atomic_store_n(&blk->writeback, blk->config_space.writeback, __ATOMIC_RELAXED);
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
	.activate = op_activate,
	.reset = op_reset,
	.queue_reset = op_queue_reset,
	.pause = op_pause,
	.resume = op_resume,
	.write_config = op_write_config,
};

static bool is_power_of_two(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static bool config_valid(const struct vmm_virtio_blk_config *config)
{
	if (!config->mem || !config->backend.ops || !config->backend.ops->submit ||
		!config->backend.ops->geometry)
		return false;
	if (config->n_queues > VMM_BLK_MAX_QUEUES || config->n_threads > VMM_BLK_MAX_THREADS ||
		config->n_threads > MAX(config->n_queues, 1u))
		return false;
	if (config->queue_size &&
		(config->queue_size < 4 || config->queue_size > VMM_BLK_MAX_QUEUE_SIZE ||
			!is_power_of_two(config->queue_size)))
		return false;
	if (config->logical_block_bytes != 0 && config->logical_block_bytes != 512 &&
		config->logical_block_bytes != 4096)
		return false;
	return !(config->no_threads && config->n_threads > 1);
}

/* Fills in the defaults, and refuses what the guest could not be told. */
static int ask_geometry(
	const struct vmm_blk_backend *backend, uint32_t block_bytes, struct vmm_blk_geometry *ret)
{
	struct vmm_blk_geometry geometry = { 0 };
	int r;

	r = backend->ops->geometry(backend->userdata, &geometry);
	if (r < 0)
		return r;
	if (!geometry.logical_block_bytes)
		geometry.logical_block_bytes = VMM_BLK_SECTOR_BYTES;
	if (block_bytes) {
		if (block_bytes < geometry.logical_block_bytes)
			return -EINVAL;
		if (!IS_ALIGNED(geometry.capacity_bytes, (uint64_t)block_bytes))
			return -EDOM;
		geometry.logical_block_bytes = block_bytes;
		geometry.physical_block_bytes = MAX(geometry.physical_block_bytes, block_bytes);
	}
	if (!geometry.physical_block_bytes)
		geometry.physical_block_bytes = geometry.logical_block_bytes;
	if (!geometry.discard_granule_bytes)
		geometry.discard_granule_bytes = geometry.physical_block_bytes;
	if (!is_power_of_two(geometry.logical_block_bytes) ||
		geometry.logical_block_bytes < VMM_BLK_SECTOR_BYTES ||
		!is_power_of_two(geometry.physical_block_bytes) ||
		geometry.physical_block_bytes < geometry.logical_block_bytes ||
		!IS_ALIGNED(geometry.capacity_bytes, (uint64_t)VMM_BLK_SECTOR_BYTES))
		return -EINVAL;
	*ret = geometry;
	return 0;
}

static uint64_t set_up_config_space(struct vmm_virtio_blk *blk,
	const struct vmm_virtio_blk_config *config, const struct vmm_blk_geometry *geometry)
{
	struct blk_config_space *space = &blk->config_space;
	uint64_t features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET | BLK_F_SEG_MAX |
			    BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY | BLK_F_CONFIG_WCE;
	uint32_t ratio = geometry->physical_block_bytes / geometry->logical_block_bytes;
	uint32_t granule = geometry->discard_granule_bytes / VMM_BLK_SECTOR_BYTES;

	space->capacity = vmm_le64_make(geometry->capacity_bytes / VMM_BLK_SECTOR_BYTES);
	space->seg_max = vmm_le32_make(blk->queue_size - 2);
	space->blk_size = vmm_le32_make(geometry->logical_block_bytes);
	space->physical_block_exp = (uint8_t)__builtin_ctz(ratio);
	space->min_io_size = vmm_le16_make((uint16_t)MIN(ratio, 0xffffu));
	space->opt_io_size =
		vmm_le32_make(geometry->optimal_io_bytes / geometry->logical_block_bytes);
	space->writeback = config->write_through ? 0 : 1;
	space->num_queues = vmm_le16_make((uint16_t)blk->n_queues);
	if (blk->n_queues > 1)
		features |= BLK_F_MQ;
	if (blk->read_only)
		return features | BLK_F_RO;
	if (config->no_discard)
		return features;

	if (geometry->discard) {
		features |= BLK_F_DISCARD;
		blk->max_discard_sectors = BLK_MAX_ZERO_SECTORS;
		space->max_discard_sectors = vmm_le32_make(blk->max_discard_sectors);
		space->max_discard_seg = vmm_le32_make(BLK_MAX_SEGMENTS);
		space->discard_sector_alignment = vmm_le32_make(granule);
	}
	if (geometry->write_zeroes) {
		features |= BLK_F_WRITE_ZEROES;
		space->max_write_zeroes_sectors = vmm_le32_make(BLK_MAX_ZERO_SECTORS);
		space->max_write_zeroes_seg = vmm_le32_make(BLK_MAX_SEGMENTS);
		space->write_zeroes_may_unmap = geometry->discard ? 1 : 0;
	}
	return features;
}

static int new_device(struct vmm_virtio_blk *blk, struct vmm_mem *mem, uint64_t features)
{
	uint16_t sizes[VMM_BLK_MAX_QUEUES];
	struct vmm_virtio_device_config config = {
		.device_type = DEVICE_TYPE_BLOCK,
		.pci_class_code = PCI_CLASS_SCSI_STORAGE,
		.features = features,
		.n_queues = (uint16_t)blk->n_queues,
		.queue_sizes = sizes,
		.lock_per_queue = true,
		.config_space = &blk->config_space,
		.config_size_bytes = BLK_CONFIG_BYTES,
		.mem = mem,
		.ops = &device_ops,
		.userdata = blk,
	};

	for (unsigned int i = 0; i < blk->n_queues; i++)
		sizes[i] = (uint16_t)blk->queue_size;
	return vmm_virtio_device_new(&config, &blk->device);
}

static int init_queue(struct vmm_virtio_blk *blk, unsigned int index)
{
	struct blk_queue *queue = &blk->queues[index];
	void *requests;

	queue->blk = blk;
	queue->index = index;
	queue->thread = &blk->threads[index % blk->n_threads];
	queue->ended_tail = &queue->ended;
	queue->stride = ALIGN_UP(sizeof(struct blk_request) + (blk->queue_size + BLK_SPARE_IOVECS) *
								      sizeof(struct iovec),
		(size_t)64);
	queue->requests_bytes = queue->stride * blk->queue_size;
	requests = mmap(NULL, queue->requests_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (requests == MAP_FAILED)
		return -errno;
	queue->requests = requests;
	return 0;
}

static void init_thread(struct vmm_virtio_blk *blk, unsigned int index)
{
	struct blk_thread *thread = &blk->threads[index];

	*thread = (struct blk_thread){
		.blk = blk,
		.index = index,
		.epoll_fd = -EBADF,
		.wake_fd = -EBADF,
		.timer_fd = -EBADF,
		.backend_fd = -EBADF,
		.poll_penalty = 1,
		.asleep = blk->no_threads,
	};
	sem_init(&thread->started, 0, 0);
}

static int start(struct vmm_virtio_blk *blk, struct vmm_mem *mem, uint64_t features)
{
	int r;

	blk->threads = aligned_alloc(64, blk->n_threads * sizeof(blk->threads[0]));
	if (!blk->threads)
		return -ENOMEM;
	for (unsigned int i = 0; i < blk->n_threads; i++)
		init_thread(blk, i);
	blk->queues = calloc(blk->n_queues, sizeof(blk->queues[0]));
	if (!blk->queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < blk->n_queues; i++) {
		r = init_queue(blk, i);
		if (r < 0)
			return r;
	}
	r = new_device(blk, mem, features);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < blk->n_threads; i++) {
		r = blk_thread_init(&blk->threads[i]);
		if (r < 0)
			return r;
		r = blk_thread_start(&blk->threads[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_blk, vmm_virtio_blk_free);

int vmm_virtio_blk_new(const struct vmm_virtio_blk_config *config, struct vmm_virtio_blk **ret_blk)
{
	CLEANUP(vmm_virtio_blk_free_p) struct vmm_virtio_blk *blk = NULL;
	struct vmm_blk_geometry geometry;
	uint64_t features;
	int r;

	if (!config_valid(config))
		return -EINVAL;
	r = ask_geometry(&config->backend, config->logical_block_bytes, &geometry);
	if (r < 0)
		return r;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->backend = config->backend;
	blk->hook = config->hook;
	blk->failed = config->failed;
	blk->failed_userdata = config->failed_userdata;
	blk->n_queues = MAX(config->n_queues, 1u);
	blk->n_threads = MAX(config->n_threads, 1u);
	blk->queue_size = config->queue_size ? config->queue_size : DEFAULT_QUEUE_SIZE;
	blk->no_threads = config->no_threads;
	blk->read_only = config->read_only || geometry.read_only;
	blk->capacity_sectors = geometry.capacity_bytes / VMM_BLK_SECTOR_BYTES;
	blk->configured_block_bytes = config->logical_block_bytes;
	blk->logical_block_bytes = geometry.logical_block_bytes;
	blk->writeback = blk->writeback_at_reset = !config->write_through;
	if (!config->no_poll)
		blk->poll_nsec = config->poll_nsec ? config->poll_nsec : DEFAULT_POLL_NSEC;
	memcpy(blk->serial, config->serial, strnlen(config->serial, sizeof(blk->serial)));
	pthread_mutex_init(&blk->limiter_lock, NULL);
	r = vmm_ratelimit_init(&blk->limiter, &config->limits, vmm_base_now_nsec());
	if (r < 0)
		return r;
	blk->limited = vmm_ratelimit_active(&blk->limiter);

	features = set_up_config_space(blk, config, &geometry);
	r = start(blk, config->mem, features);
	if (r < 0)
		return r;
	*ret_blk = TAKE_PTR(blk);
	return 0;
}

struct vmm_virtio_blk *vmm_virtio_blk_free(struct vmm_virtio_blk *blk)
{
	if (!blk)
		return NULL;
	for (unsigned int i = 0; blk->threads && i < blk->n_threads; i++)
		blk_thread_finish(&blk->threads[i]);
	vmm_virtio_device_free(blk->device);
	for (unsigned int i = 0; blk->queues && i < blk->n_queues; i++)
		if (blk->queues[i].requests)
			munmap(blk->queues[i].requests, blk->queues[i].requests_bytes);
	pthread_mutex_destroy(&blk->limiter_lock);
	free(blk->queues);
	free(blk->threads);
	free(blk);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_blk_device(struct vmm_virtio_blk *blk)
{
	return blk->device;
}

int vmm_virtio_blk_set_limits(struct vmm_virtio_blk *blk, const struct vmm_ratelimit_config *limits)
{
	int r;

	pthread_mutex_lock(&blk->limiter_lock);
	r = vmm_ratelimit_update(&blk->limiter, limits, vmm_base_now_nsec());
	__atomic_store_n(&blk->limited, vmm_ratelimit_active(&blk->limiter), __ATOMIC_RELAXED);
	pthread_mutex_unlock(&blk->limiter_lock);
	if (r < 0)
		return r;
	/* Deadlines that were given out are void. */
	for (unsigned int i = 0; i < blk->n_threads; i++) {
		__atomic_store_n(&blk->threads[i].limits_changed, true, __ATOMIC_RELEASE);
		blk_thread_wake(&blk->threads[i]);
	}
	return 0;
}

int vmm_virtio_blk_resize(struct vmm_virtio_blk *blk)
{
	struct vmm_blk_geometry geometry;
	uint64_t n_sectors;
	bool changed;
	int r;

	r = ask_geometry(&blk->backend, blk->configured_block_bytes, &geometry);
	if (r < 0)
		return r;
	n_sectors = geometry.capacity_bytes / VMM_BLK_SECTOR_BYTES;
	vmm_virtio_config_begin(blk->device);
	changed = vmm_le64_get(blk->config_space.capacity) != n_sectors;
	blk->config_space.capacity = vmm_le64_make(n_sectors);
	__atomic_store_n(&blk->capacity_sectors, n_sectors, __ATOMIC_RELAXED);
	vmm_virtio_config_end(blk->device, changed);
	return 0;
}

void vmm_virtio_blk_get_status(struct vmm_virtio_blk *blk, struct vmm_virtio_blk_status *ret_status)
{
	struct vmm_virtio_blk_status status = {
		.engine = "custom",
		.capacity_bytes = __atomic_load_n(&blk->capacity_sectors, __ATOMIC_RELAXED) *
				  VMM_BLK_SECTOR_BYTES,
	};

	if (blk->backend.ops->engine)
		status.engine = blk->backend.ops->engine(blk->backend.userdata);
	for (unsigned int i = 0; i < blk->n_threads; i++) {
		const struct blk_counters *counters = &blk->threads[i].counters;

#define ADD(member) status.member += __atomic_load_n(&counters->member, __ATOMIC_RELAXED)
		ADD(n_reads);
		ADD(n_writes);
		ADD(n_flushes);
		ADD(n_discards);
		ADD(n_write_zeroes);
		ADD(read_bytes);
		ADD(written_bytes);
		ADD(n_failed);
		ADD(n_limited);
		ADD(n_wakeups);
#undef ADD
	}
	*ret_status = status;
}

int vmm_virtio_blk_fd(const struct vmm_virtio_blk *blk)
{
	return blk->no_threads ? blk->threads[0].epoll_fd : -EBADF;
}

int vmm_virtio_blk_process(struct vmm_virtio_blk *blk)
{
	assert(blk->no_threads);
	return blk_thread_process(&blk->threads[0]);
}
