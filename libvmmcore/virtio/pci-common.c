/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-pci: struct virtio_pci_common_cfg, VIRTIO 1.2, 4.1.4.3. Each field is accessed with its
 * own width; 64-bit fields by halves (4.1.3.1), which is how they stand in the table here.
 */
#include "virtio/virtio-pci.h"

#include <string.h>

enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_MSIX_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_MSIX_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC_LOW = 0x20,
	QUEUE_DESC_HIGH = 0x24,
	QUEUE_DRIVER_LOW = 0x28,
	QUEUE_DRIVER_HIGH = 0x2c,
	QUEUE_DEVICE_LOW = 0x30,
	QUEUE_DEVICE_HIGH = 0x34,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
};

/* The width of the field at offset, 0: there is none. */
static size_t field_bytes(unsigned int offset)
{
	switch (offset) {
	case DEVICE_STATUS:
	case CONFIG_GENERATION:
		return 1;
	case CONFIG_MSIX_VECTOR:
	case NUM_QUEUES:
	case QUEUE_SELECT:
	case QUEUE_SIZE:
	case QUEUE_MSIX_VECTOR:
	case QUEUE_ENABLE:
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIFY_DATA:
	case QUEUE_RESET:
		return 2;
	case DEVICE_FEATURE_SELECT:
	case DEVICE_FEATURE:
	case DRIVER_FEATURE_SELECT:
	case DRIVER_FEATURE:
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		return 4;
	default:
		return 0;
	}
}

static uint32_t read_queue_field(
	struct vmm_virtio_pci *pci, struct virtio_queue *queue, unsigned int offset)
{
	/* A queue that is not there reads as unavailable (4.1.4.3.1). */
	if (!queue)
		return offset == QUEUE_MSIX_VECTOR ? NO_VECTOR : 0;
	virtio_queue_reset_poll(pci->device, queue);
	switch (offset) {
	case QUEUE_SIZE:
		return queue->config.size;
	case QUEUE_MSIX_VECTOR:
		return queue->vector;
	case QUEUE_ENABLE:
		return queue->enabled;
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIFY_DATA:
		return virtio_queue_index(pci->device, queue);
	case QUEUE_DESC_LOW:
		return (uint32_t)queue->config.desc_gpa;
	case QUEUE_DESC_HIGH:
		return (uint32_t)(queue->config.desc_gpa >> 32);
	case QUEUE_DRIVER_LOW:
		return (uint32_t)queue->config.driver_gpa;
	case QUEUE_DRIVER_HIGH:
		return (uint32_t)(queue->config.driver_gpa >> 32);
	case QUEUE_DEVICE_LOW:
		return (uint32_t)queue->config.device_gpa;
	case QUEUE_DEVICE_HIGH:
		return (uint32_t)(queue->config.device_gpa >> 32);
	case QUEUE_RESET:
		return queue->resetting;
	default:
		return 0;
	}
}

static uint32_t read_field(struct vmm_virtio_pci *pci, unsigned int offset)
{
	struct vmm_virtio_device *device = pci->device;

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		return pci->device_feature_select;
	case DEVICE_FEATURE:
		return virtio_offered_features(device, pci->device_feature_select);
	case DRIVER_FEATURE_SELECT:
		return pci->driver_feature_select;
	case DRIVER_FEATURE:
		return virtio_driver_features(device, pci->driver_feature_select);
	case CONFIG_MSIX_VECTOR:
		return pci->config_vector;
	case NUM_QUEUES:
		return device->n_queues;
	case DEVICE_STATUS:
		return vmm_virtio_status(device);
	case CONFIG_GENERATION:
		return (uint8_t)__atomic_load_n(&device->generation, __ATOMIC_ACQUIRE);
	case QUEUE_SELECT:
		return pci->queue_select;
	default:
		return read_queue_field(pci, virtio_select(device, pci->queue_select), offset);
	}
}

/* A vector that there is not reads back as NO_VECTOR: that is how a driver learns of it. */
static uint16_t usable_vector(const struct vmm_virtio_pci *pci, uint32_t vector)
{
	return vmm_pci_msix_fd(pci->function, vector) >= 0 ? (uint16_t)vector : NO_VECTOR;
}

static int vector_fd(const struct vmm_virtio_pci *pci, uint16_t vector)
{
	return vector == NO_VECTOR ? -EBADF : vmm_pci_msix_fd(pci->function, vector);
}

static void set_queue_vector(
	struct vmm_virtio_pci *pci, struct virtio_queue *queue, uint32_t vector)
{
	queue->vector = usable_vector(pci, vector);
	__atomic_store_n(&queue->interrupt_fd, vector_fd(pci, queue->vector), __ATOMIC_SEQ_CST);
}

static void set_config_vector(struct vmm_virtio_pci *pci, uint32_t vector)
{
	pci->config_vector = usable_vector(pci, vector);
	__atomic_store_n(
		&pci->device->config_fd, vector_fd(pci, pci->config_vector), __ATOMIC_SEQ_CST);
}

static void write_queue_field(
	struct vmm_virtio_pci *pci, struct virtio_queue *queue, unsigned int offset, uint32_t value)
{
	struct vmm_virtio_device *device = pci->device;

	if (!queue)
		return;
	virtio_queue_reset_poll(device, queue);
	switch (offset) {
	case QUEUE_SIZE:
		virtio_queue_set_size(device, queue, value);
		break;
	case QUEUE_MSIX_VECTOR:
		if (!device->resetting)
			set_queue_vector(pci, queue, value);
		break;
	case QUEUE_ENABLE:
		/* The driver cannot write 0 (4.1.4.3.2). */
		if (value == 1)
			virtio_queue_enable(device, queue);
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		virtio_queue_set_address(
			device, queue, &queue->config.desc_gpa, offset == QUEUE_DESC_HIGH, value);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		virtio_queue_set_address(device, queue, &queue->config.driver_gpa,
			offset == QUEUE_DRIVER_HIGH, value);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		virtio_queue_set_address(device, queue, &queue->config.device_gpa,
			offset == QUEUE_DEVICE_HIGH, value);
		break;
	case QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(device, queue);
		break;
	default:
		break;
	}
}

static void write_field(struct vmm_virtio_pci *pci, unsigned int offset, uint32_t value)
{
	struct vmm_virtio_device *device = pci->device;

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		pci->device_feature_select = value;
		break;
	case DRIVER_FEATURE_SELECT:
		pci->driver_feature_select = value;
		break;
	case DRIVER_FEATURE:
		virtio_set_driver_features(device, pci->driver_feature_select, value);
		break;
	case CONFIG_MSIX_VECTOR:
		if (!device->resetting)
			set_config_vector(pci, value);
		break;
	case DEVICE_STATUS:
		/* Where a reset takes its time, the driver reads until the status is 0. */
		virtio_set_status(device, (uint8_t)value);
		break;
	case QUEUE_SELECT:
		pci->queue_select = (uint16_t)value;
		break;
	default:
		write_queue_field(pci, virtio_select(device, pci->queue_select), offset, value);
		break;
	}
}

void virtio_pci_common_read(
	struct vmm_virtio_pci *pci, unsigned int offset, void *data, size_t length)
{
	uint32_t value;

	/* A double word is two words, as long as both are fields. */
	if (length == 8 && field_bytes(offset) == 4 && field_bytes(offset + 4) == 4) {
		virtio_pci_common_read(pci, offset, data, 4);
		virtio_pci_common_read(pci, offset + 4, (uint8_t *)data + 4, 4);
		return;
	}
	if (offset >= VIRTIO_PCI_COMMON_BYTES) {
		memset(data, 0, length);
		return;
	}
	if (length != field_bytes(offset))
		return;
	value = read_field(pci, offset);
	memcpy(data, &value, length);
}

void virtio_pci_common_write(
	struct vmm_virtio_pci *pci, unsigned int offset, const void *data, size_t length)
{
	uint32_t value = 0;

	if (length == 8 && field_bytes(offset) == 4 && field_bytes(offset + 4) == 4) {
		virtio_pci_common_write(pci, offset, data, 4);
		virtio_pci_common_write(pci, offset + 4, (const uint8_t *)data + 4, 4);
		return;
	}
	if (offset >= VIRTIO_PCI_COMMON_BYTES || length != field_bytes(offset))
		return;
	memcpy(&value, data, length);
	write_field(pci, offset, value);
}

void virtio_pci_common_reset(struct vmm_virtio_pci *pci)
{
	pci->device_feature_select = 0;
	pci->driver_feature_select = 0;
	pci->queue_select = 0;
	set_config_vector(pci, NO_VECTOR);
	for (unsigned int i = 0; i < pci->device->n_queues; i++)
		set_queue_vector(pci, &pci->device->queues[i], NO_VECTOR);
}
