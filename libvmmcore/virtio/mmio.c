/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-mmio, version 2: VIRTIO 1.2, 4.2. Registers are 32 bits wide and accessed as such; the
 * device's configuration space behind them by bytes, halves, words or double words.
 */
#include "virtio/virtio-internal.h"

#include <string.h>

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_SIZE_MAX = 0x034,
	REG_QUEUE_SIZE = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080,
	REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090,
	REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0,
	REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_LEN_LOW = 0x0b0,
	REG_SHM_LEN_HIGH = 0x0b4,
	REG_SHM_BASE_LOW = 0x0b8,
	REG_SHM_BASE_HIGH = 0x0bc,
	REG_QUEUE_RESET = 0x0c0,
	REG_CONFIG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};

#define MAGIC 0x74726976   /* "virt" */
#define VENDOR_ID 0x4d4d56 /* "VMM" */

struct vmm_virtio_mmio {
	struct vmm_virtio_device *device; /* borrowed */
	struct vmm_bus *bus;              /* borrowed */
	uint64_t gpa;
	const struct vmm_virtio_doorbell_ops *doorbell_ops; /* borrowed, may be NULL */
	void *userdata;

	/* Control lock of the device. */
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
};

static void on_activated(void *transport)
{
	struct vmm_virtio_mmio *mmio = transport;

	for (unsigned int i = 0; i < mmio->device->n_queues; i++) {
		struct virtio_queue *queue = &mmio->device->queues[i];
		struct vmm_virtio_doorbell doorbell = {
			.gpa = mmio->gpa + REG_QUEUE_NOTIFY,
			.length = 4,
			.has_match = true,
			.match = i,
			.fd = queue->kick_fd,
		};

		if (queue->enabled)
			virtio_doorbell_bind(queue, &doorbell, mmio->doorbell_ops, mmio->userdata);
	}
}

static void on_reset(void *transport)
{
	struct vmm_virtio_mmio *mmio = transport;

	/* Doorbells stay bound: binding costs the host milliseconds, and a kick is harmless. */
	mmio->device_features_sel = 0;
	mmio->driver_features_sel = 0;
	mmio->queue_sel = 0;
}

static const struct virtio_transport_ops transport_ops = {
	.activated = on_activated,
	.reset = on_reset,
};

static uint32_t read_queue_register(
	struct vmm_virtio_device *device, struct virtio_queue *queue, uint64_t offset)
{
	if (!queue)
		return 0;
	virtio_queue_reset_poll(device, queue);
	switch (offset) {
	case REG_QUEUE_SIZE_MAX:
		return queue->max_size;
	case REG_QUEUE_READY:
		return queue->enabled && !queue->resetting;
	case REG_QUEUE_RESET:
		return queue->resetting;
	default:
		return 0;
	}
}

static uint32_t read_register(struct vmm_virtio_mmio *mmio, uint64_t offset)
{
	struct vmm_virtio_device *device = mmio->device;

	switch (offset) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return 2;
	case REG_DEVICE_ID:
		return device->device_type;
	case REG_VENDOR_ID:
		return VENDOR_ID;
	case REG_DEVICE_FEATURES:
		return virtio_offered_features(device, mmio->device_features_sel);
	case REG_STATUS:
		return vmm_virtio_status(device);
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no shared memory region (4.2.2) */
	case REG_CONFIG_GENERATION:
		return __atomic_load_n(&device->generation, __ATOMIC_ACQUIRE);
	default:
		return read_queue_register(device, virtio_select(device, mmio->queue_sel), offset);
	}
}

static void write_queue_register(struct vmm_virtio_device *device, struct virtio_queue *queue,
	uint64_t offset, uint32_t value)
{
	if (!queue)
		return;
	virtio_queue_reset_poll(device, queue);
	switch (offset) {
	case REG_QUEUE_SIZE:
		virtio_queue_set_size(device, queue, value);
		break;
	case REG_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(device, queue);
		else if (value == 0 && !(vmm_virtio_status(device) & VMM_VIRTIO_STATUS_DRIVER_OK))
			queue->enabled = false;
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
		virtio_queue_set_address(device, queue, &queue->config.desc_gpa,
			offset == REG_QUEUE_DESC_HIGH, value);
		break;
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
		virtio_queue_set_address(device, queue, &queue->config.driver_gpa,
			offset == REG_QUEUE_DRIVER_HIGH, value);
		break;
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		virtio_queue_set_address(device, queue, &queue->config.device_gpa,
			offset == REG_QUEUE_DEVICE_HIGH, value);
		break;
	case REG_QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(device, queue);
		break;
	default:
		break;
	}
}

/* Returns 1 where a reset has to be waited for. */
static int write_register(struct vmm_virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct vmm_virtio_device *device = mmio->device;

	switch (offset) {
	case REG_STATUS:
		return value > UINT8_MAX ? 0 : virtio_set_status(device, (uint8_t)value);
	case REG_DEVICE_FEATURES_SEL:
		mmio->device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES_SEL:
		mmio->driver_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_set_driver_features(device, mmio->driver_features_sel, value);
		break;
	case REG_QUEUE_SEL:
		mmio->queue_sel = value;
		break;
	default:
		write_queue_register(device, virtio_select(device, mmio->queue_sel), offset, value);
		break;
	}
	return 0;
}

static bool is_aligned_access(uint64_t offset, size_t length)
{
	return (length & (length - 1)) == 0 && IS_ALIGNED(offset, length);
}

static void on_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_virtio_mmio *mmio = userdata;
	struct vmm_virtio_device *device = mmio->device;
	uint32_t value;

	if (!is_aligned_access(offset, length))
		return;
	if (offset >= REG_CONFIG) {
		virtio_control_lock(device);
		virtio_read_config(device, offset - REG_CONFIG, data, length);
		virtio_control_unlock(device);
		return;
	}
	if (length != 4)
		return;
	if (offset == REG_INTERRUPT_STATUS) {
		value = __atomic_load_n(&device->isr, __ATOMIC_SEQ_CST);
	} else {
		virtio_control_lock(device);
		value = read_register(mmio, offset);
		virtio_control_unlock(device);
	}
	memcpy(data, &value, sizeof(value));
}

static void on_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_virtio_mmio *mmio = userdata;
	struct vmm_virtio_device *device = mmio->device;
	uint32_t value;
	int r;

	if (!is_aligned_access(offset, length))
		return;
	if (offset >= REG_CONFIG) {
		virtio_control_lock(device);
		virtio_write_config(device, offset - REG_CONFIG, data, length);
		virtio_control_unlock(device);
		return;
	}
	if (length != 4)
		return;
	memcpy(&value, data, sizeof(value));
	switch (offset) {
	case REG_QUEUE_NOTIFY:
		virtio_kick(device, value);
		return;
	case REG_INTERRUPT_ACK:
		__atomic_fetch_and(&device->isr, ~value, __ATOMIC_SEQ_CST);
		return;
	default:
		break;
	}
	virtio_control_lock(device);
	r = write_register(mmio, offset, value);
	virtio_control_unlock(device);
	/* Drivers do not poll for the end of a reset here: the write itself lasts until then. */
	if (r > 0)
		vmm_virtio_wait_reset(device);
}

static const struct vmm_bus_ops bus_ops = { .read = on_read, .write = on_write };

int vmm_virtio_mmio_new(struct vmm_virtio_device *device,
	const struct vmm_virtio_mmio_config *config, struct vmm_virtio_mmio **ret_mmio)
{
	struct vmm_bus_range range = {
		.base = config->gpa,
		.size = VMM_VIRTIO_MMIO_BYTES,
		.ops = &bus_ops,
	};
	CLEANUP(free_p) struct vmm_virtio_mmio *mmio = malloc(sizeof(*mmio));
	int r;

	if (!mmio)
		return -ENOMEM;
	if (config->irq_fd < 0 || !IS_ALIGNED(config->gpa, 8))
		return -EINVAL;
	*mmio = (struct vmm_virtio_mmio){
		.device = device,
		.bus = config->bus,
		.gpa = config->gpa,
		.doorbell_ops = config->doorbell_ops,
		.userdata = config->userdata,
	};

	virtio_control_lock(device);
	r = virtio_attach(device, &transport_ops, mmio);
	if (r == 0) {
		__atomic_store_n(&device->config_fd, config->irq_fd, __ATOMIC_SEQ_CST);
		for (unsigned int i = 0; i < device->n_queues; i++)
			__atomic_store_n(
				&device->queues[i].interrupt_fd, config->irq_fd, __ATOMIC_SEQ_CST);
	}
	virtio_control_unlock(device);
	if (r < 0)
		return r;

	range.userdata = mmio;
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		virtio_control_lock(device);
		virtio_detach(device);
		virtio_control_unlock(device);
		return r;
	}
	*ret_mmio = TAKE_PTR(mmio);
	return 0;
}

struct vmm_virtio_mmio *vmm_virtio_mmio_free(struct vmm_virtio_mmio *mmio)
{
	if (!mmio)
		return NULL;
	vmm_bus_remove(mmio->bus, mmio->gpa);
	virtio_control_lock(mmio->device);
	for (unsigned int i = 0; i < mmio->device->n_queues; i++)
		virtio_doorbell_unbind(
			&mmio->device->queues[i], mmio->doorbell_ops, mmio->userdata);
	virtio_detach(mmio->device);
	virtio_control_unlock(mmio->device);
	free(mmio);
	return NULL;
}
