/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-pci, modern: VIRTIO 1.2, 4.1. BAR 0 holds the common configuration, interrupt status,
 * notifications and the device's configuration space, each in pages of its own; BAR 1 is MSI-X.
 * The register block of the common configuration is in pci-common.c.
 */
#include "virtio/virtio-pci.h"

#include <stdlib.h>
#include <string.h>

#define VENDOR_ID 0x1af4
#define DEVICE_ID_BASE 0x1040
#define CLASS_OTHER 0xff0000
#define CAP_VENDOR 0x09

/* struct virtio_pci_cap, 4.1.4 */
enum cfg_type {
	CFG_COMMON = 1,
	CFG_NOTIFY = 2,
	CFG_ISR = 3,
	CFG_DEVICE = 4,
	CFG_PCI = 5,
};

struct cap {
	uint8_t cap_vndr;
	uint8_t cap_next;
	uint8_t cap_len;
	uint8_t cfg_type;
	uint8_t bar;
	uint8_t id;
	uint8_t padding[2];
	struct vmm_le32 offset;
	struct vmm_le32 length;
};
static_assert(sizeof(struct cap) == 16, "VIRTIO 1.2, 4.1.4");

struct notify_cap {
	struct cap cap;
	struct vmm_le32 notify_off_multiplier;
};
static_assert(sizeof(struct notify_cap) == 20, "VIRTIO 1.2, 4.1.4.4");

struct cfg_cap {
	struct cap cap;
	uint8_t data[4];
};
static_assert(sizeof(struct cfg_cap) == 20, "VIRTIO 1.2, 4.1.4.9");

/* BAR 0 */
#define BAR_COMMON 0x0000
#define BAR_ISR 0x1000
#define BAR_DEVICE 0x2000
#define BAR_NOTIFY 0x3000
#define PAGE_BYTES 0x1000
#define NOTIFY_MULTIPLIER 4

static uint64_t bar_bytes(unsigned int n_queues)
{
	uint64_t used = BAR_NOTIFY + (uint64_t)n_queues * NOTIFY_MULTIPLIER;
	uint64_t bytes = 0x4000;

	while (bytes < used)
		bytes *= 2;
	return bytes;
}

static void bind_doorbells(struct vmm_virtio_pci *pci)
{
	if (!pci->mapped)
		return;
	for (unsigned int i = 0; i < pci->device->n_queues; i++) {
		struct virtio_queue *queue = &pci->device->queues[i];
		struct vmm_virtio_doorbell doorbell = {
			.gpa = pci->gpa + BAR_NOTIFY + (uint64_t)i * NOTIFY_MULTIPLIER,
			.fd = queue->kick_fd,
		};

		if (queue->enabled)
			virtio_doorbell_bind(queue, &doorbell, pci->doorbell_ops, pci->userdata);
	}
}

static void unbind_doorbells(struct vmm_virtio_pci *pci)
{
	for (unsigned int i = 0; i < pci->device->n_queues; i++)
		virtio_doorbell_unbind(&pci->device->queues[i], pci->doorbell_ops, pci->userdata);
}

static void on_activated(void *transport)
{
	bind_doorbells(transport);
}

static void on_reset(void *transport)
{
	struct vmm_virtio_pci *pci = transport;

	/* Doorbells stay bound: binding costs the host milliseconds, and a kick is harmless. */
	virtio_pci_common_reset(pci);
}

static const struct virtio_transport_ops transport_ops = {
	.activated = on_activated,
	.reset = on_reset,
};

static void on_bar_moved(void *userdata, unsigned int bar, bool mapped, uint64_t gpa)
{
	struct vmm_virtio_pci *pci = userdata;

	if (bar != 0)
		return;
	virtio_control_lock(pci->device);
	unbind_doorbells(pci);
	pci->mapped = mapped;
	pci->gpa = gpa;
	if (vmm_virtio_is_active(pci->device))
		bind_doorbells(pci);
	virtio_control_unlock(pci->device);
}

static bool is_aligned_access(uint64_t offset, size_t length)
{
	return (length & (length - 1)) == 0 && IS_ALIGNED(offset, length);
}

static void on_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_virtio_pci *pci = userdata;
	struct vmm_virtio_device *device = pci->device;

	if (!is_aligned_access(offset, length))
		return;
	if (offset >= BAR_NOTIFY) {
		memset(data, 0, length);
	} else if (offset >= BAR_DEVICE) {
		virtio_control_lock(device);
		virtio_read_config(device, offset - BAR_DEVICE, data, length);
		virtio_control_unlock(device);
	} else if (offset >= BAR_ISR) {
		memset(data, 0, length);
		/* Reading takes the bits (4.1.4.5). */
		if (offset == BAR_ISR)
			*(uint8_t *)data =
				(uint8_t)__atomic_exchange_n(&device->isr, 0, __ATOMIC_SEQ_CST);
	} else {
		virtio_control_lock(device);
		virtio_pci_common_read(pci, (unsigned int)offset, data, length);
		virtio_control_unlock(device);
	}
}

static void on_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_virtio_pci *pci = userdata;
	struct vmm_virtio_device *device = pci->device;

	if (!is_aligned_access(offset, length))
		return;
	if (offset >= BAR_NOTIFY) {
		/* The address names the queue; the value repeats it and is not needed. */
		if (offset % NOTIFY_MULTIPLIER == 0)
			virtio_kick(device, (uint32_t)((offset - BAR_NOTIFY) / NOTIFY_MULTIPLIER));
	} else if (offset >= BAR_DEVICE) {
		virtio_control_lock(device);
		virtio_write_config(device, offset - BAR_DEVICE, data, length);
		virtio_control_unlock(device);
	} else if (offset < BAR_ISR) {
		virtio_control_lock(device);
		virtio_pci_common_write(pci, (unsigned int)offset, data, length);
		virtio_control_unlock(device);
	}
}

static const struct vmm_bus_ops bar_ops = { .read = on_read, .write = on_write };

/*
 * The window into BAR 0 that configuration space offers (4.1.4.9): the driver writes bar, offset
 * and length, and an access to the data field is an access there. Nothing was checked before.
 */
static bool window_access(struct vmm_virtio_pci *pci, unsigned int offset, unsigned int length,
	uint64_t *ret_offset, size_t *ret_length, uint8_t **ret_data)
{
	uint8_t *bytes = vmm_pci_config_bytes(pci->function) + pci->window_cap;
	unsigned int data_at = pci->window_cap + offsetof(struct cfg_cap, data);
	struct cap cap;
	uint64_t start, size;

	if (offset >= data_at + 4 || offset + length <= data_at)
		return false;
	memcpy(&cap, bytes, sizeof(cap));
	start = vmm_le32_get(cap.offset);
	size = vmm_le32_get(cap.length);
	if (cap.bar != 0 || (size != 1 && size != 2 && size != 4) || !IS_ALIGNED(start, size) ||
		start + size > bar_bytes(pci->device->n_queues))
		return false;
	*ret_offset = start;
	*ret_length = size;
	*ret_data = bytes + offsetof(struct cfg_cap, data);
	return true;
}

static void on_config_read(void *userdata, unsigned int offset, unsigned int length)
{
	struct vmm_virtio_pci *pci = userdata;
	uint64_t start;
	uint8_t *data;
	size_t size;

	if (window_access(pci, offset, length, &start, &size, &data)) {
		memset(data, 0xff, 4);
		on_read(pci, start, data, size);
	}
}

static void on_config_written(void *userdata, unsigned int offset, unsigned int length)
{
	struct vmm_virtio_pci *pci = userdata;
	uint64_t start;
	uint8_t *data;
	size_t size;

	if (window_access(pci, offset, length, &start, &size, &data))
		on_write(pci, start, data, size);
}

static const struct vmm_pci_ops function_ops = {
	.bar_moved = on_bar_moved,
	.config_read = on_config_read,
	.config_written = on_config_written,
};

static struct cap cap_of(enum cfg_type type, size_t cap_len, uint32_t offset, uint64_t length)
{
	return (struct cap){
		.cap_len = (uint8_t)cap_len,
		.cfg_type = type,
		.offset = vmm_le32_make(offset),
		.length = vmm_le32_make((uint32_t)length),
	};
}

static int add_capabilities(struct vmm_virtio_pci *pci)
{
	const struct vmm_virtio_device *device = pci->device;
	uint64_t notify_bytes = (uint64_t)device->n_queues * NOTIFY_MULTIPLIER;
	const struct cap common =
		cap_of(CFG_COMMON, sizeof(struct cap), BAR_COMMON, VIRTIO_PCI_COMMON_BYTES);
	const struct cap isr = cap_of(CFG_ISR, sizeof(struct cap), BAR_ISR, 1);
	const struct cap config =
		cap_of(CFG_DEVICE, sizeof(struct cap), BAR_DEVICE, device->config_size_bytes);
	const struct notify_cap notify = {
		.cap = cap_of(CFG_NOTIFY, sizeof(notify), BAR_NOTIFY, notify_bytes),
		.notify_off_multiplier = vmm_le32_make(NOTIFY_MULTIPLIER),
	};
	const struct cfg_cap window = { .cap = cap_of(CFG_PCI, sizeof(window), 0, 0) };
	struct cfg_cap writable = { .data = { 0xff, 0xff, 0xff, 0xff } };
	int r;

	writable.cap.bar = 0xff;
	writable.cap.offset = vmm_le32_make(UINT32_MAX);
	writable.cap.length = vmm_le32_make(UINT32_MAX);

	r = vmm_pci_add_capability(pci->function, CAP_VENDOR, &common, NULL, sizeof(common));
	if (r >= 0)
		r = vmm_pci_add_capability(pci->function, CAP_VENDOR, &isr, NULL, sizeof(isr));
	if (r >= 0)
		r = vmm_pci_add_capability(
			pci->function, CAP_VENDOR, &notify, NULL, sizeof(notify));
	if (r >= 0 && device->config_size_bytes > 0)
		r = vmm_pci_add_capability(
			pci->function, CAP_VENDOR, &config, NULL, sizeof(config));
	if (r >= 0)
		r = vmm_pci_add_capability(
			pci->function, CAP_VENDOR, &window, &writable, sizeof(window));
	if (r < 0)
		return r;
	pci->window_cap = (unsigned int)r;
	return 0;
}

static int make_function(struct vmm_virtio_pci *pci, const struct vmm_virtio_pci_config *config)
{
	const struct vmm_virtio_device *device = pci->device;
	unsigned int n_vectors = device->n_queues + 1u;
	struct vmm_pci_function_config function = {
		.vendor_id = VENDOR_ID,
		.device_id = (uint16_t)(DEVICE_ID_BASE + device->device_type),
		.subsystem_vendor_id = VENDOR_ID,
		.subsystem_id = (uint16_t)(DEVICE_ID_BASE + device->device_type),
		.class_code = device->pci_class_code ? device->pci_class_code : CLASS_OTHER,
		.revision = 1,
		.bars[0] = {
			.size_bytes = bar_bytes(device->n_queues),
			.ops = &bar_ops,
			.userdata = pci,
		},
		.msix_bar = 1,
		.msi = config->msi,
		.ops = &function_ops,
		.userdata = pci,
	};
	int r;

	if (config->max_vectors > 0)
		n_vectors = MIN(n_vectors, (unsigned int)config->max_vectors);
	function.n_vectors = (uint16_t)n_vectors;
	r = vmm_pci_function_new(&function, &pci->function);
	if (r < 0)
		return r;
	return add_capabilities(pci);
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_pci, vmm_virtio_pci_free);

int vmm_virtio_pci_new(struct vmm_virtio_device *device, const struct vmm_virtio_pci_config *config,
	struct vmm_virtio_pci **ret_pci)
{
	CLEANUP(vmm_virtio_pci_free_p) struct vmm_virtio_pci *pci = NULL;
	int r;

	if (!config->bus)
		return -EINVAL;
	pci = malloc(sizeof(*pci));
	if (!pci)
		return -ENOMEM;
	*pci = (struct vmm_virtio_pci){
		.device = device,
		.doorbell_ops = config->doorbell_ops,
		.userdata = config->userdata,
		.config_vector = NO_VECTOR,
	};
	r = make_function(pci, config);
	if (r < 0)
		return r;
	virtio_control_lock(device);
	r = virtio_attach(device, &transport_ops, pci);
	virtio_control_unlock(device);
	if (r < 0)
		return r;
	pci->attached = true;
	r = vmm_pci_bus_add(config->bus, pci->function, config->slot);
	if (r < 0)
		return r;
	pci->slot = (unsigned int)r;
	*ret_pci = TAKE_PTR(pci);
	return 0;
}

struct vmm_virtio_pci *vmm_virtio_pci_free(struct vmm_virtio_pci *pci)
{
	if (!pci)
		return NULL;
	if (pci->function)
		vmm_pci_bus_remove(pci->function);
	if (pci->attached) {
		virtio_control_lock(pci->device);
		unbind_doorbells(pci);
		/* From here on nobody knows the vectors' descriptors any more. */
		virtio_detach(pci->device);
		virtio_control_unlock(pci->device);
	}
	vmm_pci_function_free(pci->function);
	free(pci);
	return NULL;
}

unsigned int vmm_virtio_pci_slot(const struct vmm_virtio_pci *pci)
{
	return pci->slot;
}

struct vmm_pci_function *vmm_virtio_pci_function(struct vmm_virtio_pci *pci)
{
	return pci->function;
}
