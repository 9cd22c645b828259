/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: the device as the driver and the monitor see it, and what the types of device have
 * of their own. What the driver does is only noted here, for the thread. Contract:
 * virtio-vhost.h.
 */
#include "virtio-vhost/vhost-internal.h"

#include <string.h>
#include <sys/eventfd.h>

#define DEFAULT_QUEUE_SIZE 256
#define NET_F_MAC (UINT64_C(1) << 5)

/* Device-specific feature bits are 0 to 23, and these of the others go through (VIRTIO 1.2, 6). */
#define TYPE_FEATURES UINT64_C(0xffffff)
#define RING_FEATURES (VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_IN_ORDER)

/* Those of a network device that need its control queue (VIRTIO 1.2, 5.1.3). */
#define NET_CONTROL_FEATURES                                                                       \
	((UINT64_C(1) << 2) | (UINT64_C(1) << 17) | (UINT64_C(1) << 18) | (UINT64_C(1) << 19) |    \
		(UINT64_C(1) << 20) | (UINT64_C(1) << 21) | (UINT64_C(1) << 22) |                  \
		(UINT64_C(1) << 23))
/*
 * BLK_F_CONFIG_WCE is hidden: with it a driver takes the cache for what the configuration says, and
 * qemu-storage-daemon 7.2 says "write through" of any. Without it FLUSH alone decides (5.2.5).
 */
#define FS_F_NOTIFICATION (UINT64_C(1) << 0)

struct type {
	uint16_t device_type;
	uint32_t pci_class_code;
	unsigned int n_queues;
	uint64_t hidden_features;
};

static const struct type *find_type(uint16_t device_type)
{
	static const struct type types[] = {
		{ VMM_VHOST_NET, 0x020000, 2, NET_CONTROL_FEATURES },
		{ VMM_VHOST_BLK, 0x010000, 1, BLK_F_CONFIG_WCE },
		{ VMM_VHOST_VSOCK, 0x078000, 3, 0 },
		{ VMM_VHOST_FS, 0x018000, 2, FS_F_NOTIFICATION },
	};
	static const struct type other = { 0, 0, 1, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].device_type == device_type)
			return &types[i];
	return &other;
}

/* VIRTIO 1.2, 5.11.4 and 5.10.4 */
struct fs_config_space {
	char tag[VMM_VHOST_FS_TAG_BYTES];
	struct vmm_le32 num_request_queues;
};
static_assert(sizeof(struct fs_config_space) == 40, "virtio_fs_config");

static int op_process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	/* Called in the thread alone, which has the kicks, and for the control queue alone. */
	return net_control_process(userdata, queue);
}

/* The three below: under all data locks. */
static int op_activate(void *userdata)
{
	struct vmm_virtio_vhost *vhost = userdata;

	pthread_mutex_lock(&vhost->lock);
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		struct vhost_driver_queue *queue = &vhost->queues[i].activated;

		queue->is_enabled = vmm_virtio_queue_config(vhost->device, i, &queue->config) == 0;
		queue->interrupt_fd = vmm_virtio_queue_interrupt_fd(vhost->device, i);
	}
	vhost->want_run = true;
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
	return 0;
}

static int op_reset(void *userdata)
{
	struct vmm_virtio_vhost *vhost = userdata;

	pthread_mutex_lock(&vhost->lock);
	vhost->want_reset = true;
	vhost->want_run = vhost->want_pause = false;
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
	return 1;
}

static int op_pause(void *userdata)
{
	struct vmm_virtio_vhost *vhost = userdata;

	pthread_mutex_lock(&vhost->lock);
	vhost->want_pause = true;
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
	return 1;
}

static void op_resume(void *userdata)
{
	struct vmm_virtio_vhost *vhost = userdata;

	pthread_mutex_lock(&vhost->lock);
	vhost->want_run = true;
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
}

static void op_write_config(void *userdata, uint32_t offset, const void *data, size_t size)
{
	struct vmm_virtio_vhost *vhost = userdata;

	if (!vhost->config_is_theirs)
		return;
	pthread_mutex_lock(&vhost->lock);
	memcpy(vhost->config_space + offset, data, size);
	if (vhost->written_begin >= vhost->written_end)
		vhost->written_begin = vhost->written_end = offset;
	vhost->written_begin = MIN(vhost->written_begin, (size_t)offset);
	vhost->written_end = MAX(vhost->written_end, (size_t)offset + size);
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
	.activate = op_activate,
	.reset = op_reset,
	.pause = op_pause,
	.resume = op_resume,
	.write_config = op_write_config,
};

static int check_config(const struct vmm_virtio_vhost_config *config)
{
	struct vmm_mem_region region;
	unsigned int size = config->queue_size;

	if (!config->mem || config->n_queues > VMM_VHOST_USER_MAX_QUEUES ||
		config->config_size_bytes > VMM_VHOST_USER_CONFIG_BYTES)
		return -EINVAL;
	if (size && (size < 4 || size > VMM_VHOST_MAX_QUEUE_SIZE || (size & (size - 1)) != 0))
		return -EINVAL;
	if (memchr(config->tag, 0, sizeof(config->tag)) == NULL)
		return -EINVAL;
	if (config->reconnect_nsec > INT64_MAX || config->retry_nsec > INT64_MAX ||
		config->timeout_nsec > INT64_MAX)
		return -EINVAL;
	for (size_t i = 0; config->connect && vmm_mem_get_region(config->mem, i, &region) == 0; i++)
		if (region.fd < 0 && !region.read_only)
			return -EINVAL;
	return 0;
}

/* What the configuration space is, where the back end does not say. */
static void make_config_space(struct vmm_virtio_vhost *vhost)
{
	const struct vmm_virtio_vhost_config *config = &vhost->config;

	vhost->config_size_bytes = config->config_size_bytes;
	if (config->config_size_bytes > 0)
		memcpy(vhost->config_space, config->config_space, config->config_size_bytes);
	if (vhost->n_pairs > 1) {
		struct vmm_le16 n_pairs = vmm_le16_make((uint16_t)vhost->n_pairs);

		memcpy(vhost->config_space + NET_CONFIG_MAX_PAIRS, &n_pairs, sizeof(n_pairs));
		vhost->config_size_bytes = MAX(vhost->config_size_bytes, (size_t)NET_CONFIG_BYTES);
	} else if (config->config_size_bytes > 0) {
		return;
	} else if (config->device_type == VMM_VHOST_FS) {
		struct fs_config_space space = {
			/* The first queue is for high priority. */
			.num_request_queues = vmm_le32_make(vhost->n_queues - 1),
		};

		memcpy(space.tag, config->tag, strnlen(config->tag, sizeof(space.tag)));
		memcpy(vhost->config_space, &space, sizeof(space));
		vhost->config_size_bytes = sizeof(space);
	} else if (config->device_type == VMM_VHOST_VSOCK) {
		memcpy(vhost->config_space, &config->cid, sizeof(config->cid));
		vhost->config_size_bytes = sizeof(config->cid);
	}
}

static int read_first_config(struct vmm_virtio_vhost *vhost)
{
	uint64_t protocol = vmm_vhost_user_protocol_features(vhost->user);
	uint16_t n_queues;
	int r;

	if (vhost->config.config_size_bytes > 0 || vhost->config.device_type == VMM_VHOST_FS ||
		!(protocol & VMM_VHOST_USER_PROTOCOL_CONFIG))
		return 0;
	vhost->config_is_theirs = true;
	vhost->config_size_bytes = vhost->config.device_type == VMM_VHOST_BLK
					   ? BLK_CONFIG_BYTES
					   : VMM_VHOST_USER_CONFIG_BYTES;
	if (vhost->config.device_type == VMM_VHOST_BLK && vhost->config.n_queues == 0 &&
		(vmm_vhost_user_features(vhost->user) & BLK_F_MQ)) {
		r = vmm_vhost_user_get_config(
			vhost->user, BLK_CONFIG_NUM_QUEUES, &n_queues, sizeof(n_queues));
		if (r < 0)
			return r;
		vhost->n_queues = MIN(MAX(n_queues, (uint16_t)1),
			(uint16_t)vmm_vhost_user_max_queues(vhost->user));
	}
	return session_read_config(vhost);
}

/* The back end's features that a guest may have, or what is wrong with them. */
static int choose_features(struct vmm_virtio_vhost *vhost, uint64_t *ret_features)
{
	uint64_t features =
		vhost->n_pairs ? kernel_features(vhost) : vmm_vhost_user_features(vhost->user);
	uint64_t protocol = vhost->user ? vmm_vhost_user_protocol_features(vhost->user) : 0;
	const struct type *type = find_type(vhost->config.device_type);
	bool recovers = vhost->user && vhost->config.reconnect_nsec > 0;
	bool has_inflight = protocol & VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD;

	if (!(features & VMM_VIRTIO_F_VERSION_1))
		return -ENOTSUP;
	if (vhost->user && vhost->config.rings == VMM_VHOST_RINGS_AUTO)
		vhost->relayed =
			recovers && !has_inflight && vhost->config.device_type != VMM_VHOST_NET;
	else
		vhost->relayed = vhost->user && vhost->config.rings == VMM_VHOST_RINGS_RELAYED;
	if (vhost->relayed && !(features & VMM_VIRTIO_F_INDIRECT_DESC))
		return -ENOTSUP;

	features &= TYPE_FEATURES | RING_FEATURES;
	if (vhost->relayed)
		features = (features & TYPE_FEATURES) | VMM_VIRTIO_RING_FEATURES;
	else if (recovers)
		/* Where a packed ring stands cannot be seen in it. */
		features &= ~VMM_VIRTIO_F_RING_PACKED;
	features &= ~type->hidden_features;
	if (vhost->n_pairs > 1)
		features |= NET_F_CTRL_VQ | NET_F_MQ;
	if (vhost->config.device_type == VMM_VHOST_BLK && vhost->n_queues == 1)
		features &= ~BLK_F_MQ;
	if (vhost->config.device_type == VMM_VHOST_NET && !vhost->config_is_theirs &&
		vhost->config.config_size_bytes == 0)
		features &= ~NET_F_MAC;
	*ret_features = (features | vhost->config.extra_features) & ~vhost->config.hidden_features;
	return 0;
}

static int new_device(struct vmm_virtio_vhost *vhost, uint64_t features)
{
	const struct type *type = find_type(vhost->config.device_type);
	uint16_t sizes[VMM_VHOST_USER_MAX_QUEUES];
	struct vmm_virtio_device_config config = {
		.device_type = vhost->config.device_type,
		.pci_class_code = vhost->config.pci_class_code ? vhost->config.pci_class_code
							       : type->pci_class_code,
		.features = features,
		.n_queues = (uint16_t)vhost->n_queues,
		.queue_sizes = sizes,
		.config_space = vhost->config_space,
		.config_size_bytes = (uint32_t)vhost->config_size_bytes,
		.mem = vhost->mem,
		.ops = &device_ops,
		.userdata = vhost,
	};

	for (unsigned int i = 0; i < vhost->n_queues; i++)
		sizes[i] = (uint16_t)vhost->queue_size;
	return vmm_virtio_device_new(&config, &vhost->device);
}

static int make_queues(struct vmm_virtio_vhost *vhost)
{
	vhost->queues = calloc(vhost->n_queues, sizeof(vhost->queues[0]));
	if (!vhost->queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		vhost->queues[i].index = i;
		vhost->queues[i].call_fd = vhost->queues[i].relay_kick_fd = -EBADF;
		vhost->queues[i].driver.interrupt_fd = -EBADF;
	}
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		struct vhost_queue *queue = &vhost->queues[i];

		queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		queue->relay_kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->call_fd < 0 || queue->relay_kick_fd < 0)
			return -errno;
	}
	return vhost->relayed ? relay_new(vhost) : 0;
}

static int set_up(struct vmm_virtio_vhost *vhost)
{
	const struct type *type = find_type(vhost->config.device_type);
	uint64_t features;
	int r;

	vhost->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vhost->wake_fd < 0)
		return -errno;
	vhost->n_queues = type->n_queues;
	if (vhost->config.connect && vhost->config.n_queues)
		vhost->n_queues = vhost->config.n_queues;
	r = vhost->config.connect ? session_connect(vhost) : kernel_open(vhost);
	if (r < 0)
		return r;
	make_config_space(vhost);
	if (vhost->user) {
		r = read_first_config(vhost);
		if (r < 0)
			return r;
		if (vhost->n_queues > vmm_vhost_user_max_queues(vhost->user))
			return -EINVAL;
	}
	r = choose_features(vhost, &features);
	if (r < 0)
		return r;
	r = make_queues(vhost);
	if (r < 0)
		return r;
	r = new_device(vhost, features);
	if (r < 0)
		return r;
	vhost->status.connected = true;
	vhost->status.relayed = vhost->relayed;
	vhost->status.n_connected = 1;
	return thread_start(vhost);
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_vhost, vmm_virtio_vhost_free);

int vmm_virtio_vhost_new(
	const struct vmm_virtio_vhost_config *config, struct vmm_virtio_vhost **ret_vhost)
{
	CLEANUP(vmm_virtio_vhost_free_p) struct vmm_virtio_vhost *vhost = NULL;
	int r = check_config(config);

	if (r < 0)
		return r;
	vhost = calloc(1, sizeof(*vhost));
	if (!vhost)
		return -ENOMEM;
	vhost->config = *config;
	vhost->mem = config->mem;
	vhost->queue_size = config->queue_size ? config->queue_size : DEFAULT_QUEUE_SIZE;
	vhost->wake_fd = vhost->inflight.fd = vhost->relay_region.fd = -EBADF;
	for (unsigned int i = 0; i < VMM_VHOST_MAX_PAIRS; i++)
		vhost->tap_fds[i] = -EBADF;
	pthread_mutex_init(&vhost->lock, NULL);
	sem_init(&vhost->started, 0, 0);
	r = set_up(vhost);
	if (r < 0)
		return r;
	*ret_vhost = TAKE_PTR(vhost);
	return 0;
}

struct vmm_virtio_vhost *vmm_virtio_vhost_free(struct vmm_virtio_vhost *vhost)
{
	if (!vhost)
		return NULL;
	thread_stop(vhost);
	vmm_vhost_user_free(vhost->user);
	kernel_close(vhost);
	session_forget_inflight(vhost);
	relay_free(vhost);
	for (unsigned int i = 0; vhost->queues && i < vhost->n_queues; i++) {
		vmm_base_close(vhost->queues[i].call_fd);
		vmm_base_close(vhost->queues[i].relay_kick_fd);
	}
	free(vhost->queues);
	vmm_virtio_device_free(vhost->device);
	vmm_base_close(vhost->wake_fd);
	sem_destroy(&vhost->started);
	pthread_mutex_destroy(&vhost->lock);
	free(vhost);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_vhost_device(struct vmm_virtio_vhost *vhost)
{
	return vhost->device;
}

void vmm_virtio_vhost_get_status(
	struct vmm_virtio_vhost *vhost, struct vmm_virtio_vhost_status *ret_status)
{
	pthread_mutex_lock(&vhost->lock);
	*ret_status = vhost->status;
	pthread_mutex_unlock(&vhost->lock);
}
