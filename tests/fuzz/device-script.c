/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "device-script.h"

#include <string.h>

#include "base/util.h"

#define MAX_OPERATIONS 64
#define MAX_DESCRIPTORS 16
#define MAX_PAYLOAD 512
#define DATA_BYTES (UINT64_C(4) << 20)
#define TABLE_GPA (DRIVER_DATA_GPA - 4096)

enum operation {
	OP_CHAIN,        /* queue, n and 0x80 for indirect, then descriptors */
	OP_RING_WRITE,   /* queue, offset (2), n, n bytes */
	OP_KICK,         /* queue */
	OP_EVENT,        /* code, argument */
	OP_CONFIG_WRITE, /* offset, value; reads it, too */
	OP_RESTART,
	OP_QUEUE_RESET, /* queue */
	OP_OFFER,       /* queue, head (2) */
	N_OPERATIONS,
};

struct script {
	const uint8_t *data;
	size_t size;
	uint64_t next_gpa; /* where the next buffer goes */
};

static struct driver driver;

struct driver *fuzz_driver(void)
{
	driver_init(&driver);
	return &driver;
}

static uint8_t take(struct script *script)
{
	if (script->size == 0)
		return 0;
	script->size--;
	return *script->data++;
}

static uint16_t take16(struct script *script)
{
	uint16_t low = take(script);

	return (uint16_t)(low | take(script) << 8);
}

static uint64_t place(struct script *script, uint8_t where, uint32_t len)
{
	uint64_t gpa;

	switch (where & 7) {
	case 5:
		return DRIVER_RAM_BYTES - len / 2;
	case 6:
		return driver.rings[0].desc_gpa;
	case 7:
		return UINT64_MAX - len / 2;
	default:
		if (script->next_gpa + len > DRIVER_DATA_GPA + DATA_BYTES)
			script->next_gpa = DRIVER_DATA_GPA;
		gpa = script->next_gpa;
		script->next_gpa += len + 1;
		return gpa;
	}
}

/* A descriptor: flags (1: writable; 0x0e: where), length (2); readable ones with their bytes. */
static struct vring_buffer take_buffer(struct script *script)
{
	uint8_t flags = take(script);
	struct vring_buffer buffer = { .write = flags & 1, .len = take16(script) };

	buffer.gpa = place(script, flags >> 1, buffer.len);
	if (!buffer.write && vmm_mem_check(driver.mem, buffer.gpa, buffer.len, true) == 0) {
		size_t n = MIN((size_t)buffer.len, (size_t)MAX_PAYLOAD);

		n = MIN(n, script->size);
		vmm_mem_write(driver.mem, buffer.gpa, script->data, n);
		script->data += n;
		script->size -= n;
	}
	return buffer;
}

static void do_chain(const struct fuzz_device *device, struct script *script)
{
	unsigned int queue = take(script) % device->n_queues;
	uint8_t shape = take(script);
	struct vring_buffer buffers[MAX_DESCRIPTORS];
	unsigned int n = shape % MAX_DESCRIPTORS + 1;

	if (n > device->queue_size)
		n = device->queue_size;
	for (unsigned int i = 0; i < n; i++)
		buffers[i] = take_buffer(script);
	driver_add(&driver, queue, buffers, n, shape & 0x80 ? TABLE_GPA : 0);
	driver_kick(&driver, queue);
}

static void do_ring_write(const struct fuzz_device *device, struct script *script)
{
	struct vring *ring = &driver.rings[take(script) % device->n_queues];
	uint16_t offset = take16(script);
	size_t n = MIN((size_t)take(script) % 32, script->size);
	uint64_t gpa = ring->desc_gpa + offset % (ring->end_gpa - ring->desc_gpa);

	vmm_mem_write(driver.mem, gpa, script->data, n);
	script->data += n;
	script->size -= n;
}

static void reset(const struct fuzz_device *device)
{
	if (vmm_virtio_reset(driver.device) == 0)
		return;
	FUZZ_CHECK(device->drain != NULL);
	device->drain();
	vmm_virtio_wait_reset(driver.device);
	FUZZ_CHECK(vmm_virtio_status(driver.device) == 0);
}

static void start(const struct fuzz_device *device, uint64_t features)
{
	reset(device);
	FUZZ_CHECK(driver_start(&driver, features, device->n_queues, device->queue_size));
}

static void do_queue_reset(const struct fuzz_device *device, struct script *script)
{
	unsigned int queue = take(script) % device->n_queues;

	if (!(driver.features & VMM_VIRTIO_F_RING_RESET))
		return;
	driver_write(&driver, 0x030, queue);
	driver_write(&driver, 0x0c0, 1);
	/* A device with threads may need a while. */
	for (int i = 0; i < 10000 && driver_read(&driver, 0x0c0) != 0; i++) {
		FUZZ_CHECK(device->drain != NULL);
		device->drain();
	}
	FUZZ_CHECK(driver_read(&driver, 0x0c0) == 0);
	driver_set_up_queue(&driver, queue, device->queue_size);
}

static uint64_t take_features(struct script *script)
{
	uint8_t rings = take(script);
	uint64_t features = VMM_VIRTIO_F_RING_RESET;

	if (rings & 1)
		features |= VMM_VIRTIO_F_RING_PACKED;
	if (rings & 2)
		features |= VMM_VIRTIO_F_EVENT_IDX;
	if (rings & 4)
		features |= VMM_VIRTIO_F_INDIRECT_DESC;
	if (rings & 8)
		features |= VMM_VIRTIO_F_IN_ORDER;
	/* The device's own: bits 0 to 23, some of them taken away. */
	return features | (UINT64_C(0xffffff) & ~((uint64_t)take(script) << (rings >> 4)));
}

static void do_operation(const struct fuzz_device *device, struct script *script, uint64_t features)
{
	struct vring *ring;
	uint8_t code, config[4];

	switch ((enum operation)(take(script) % N_OPERATIONS)) {
	case OP_CHAIN:
		do_chain(device, script);
		break;
	case OP_RING_WRITE:
		do_ring_write(device, script);
		break;
	case OP_KICK:
		driver_kick(&driver, take(script) % device->n_queues);
		break;
	case OP_EVENT:
		code = take(script);
		if (device->event)
			device->event(code, take(script));
		break;
	case OP_CONFIG_WRITE:
		code = take(script);
		driver_config_read(&driver, code, config, sizeof(config));
		driver_config_write(&driver, code, take(script));
		break;
	case OP_RESTART:
		start(device, features);
		break;
	case OP_QUEUE_RESET:
		do_queue_reset(device, script);
		break;
	case OP_OFFER:
		ring = &driver.rings[take(script) % device->n_queues];
		if (!ring->packed)
			vring_offer(ring, take16(script));
		break;
	case N_OPERATIONS:
		break;
	}
}

void fuzz_device_run(const struct fuzz_device *device, const uint8_t *data, size_t size)
{
	struct script script = { .data = data, .size = size, .next_gpa = DRIVER_DATA_GPA };
	uint64_t features = take_features(&script);
	uint32_t id, len;

	start(device, features);
	for (int i = 0; i < MAX_OPERATIONS && script.size > 0; i++) {
		do_operation(device, &script, features);
		device->process();
		for (unsigned int queue = 0; queue < device->n_queues; queue++)
			for (int n = 0; n < device->queue_size; n++)
				if (!vring_get_used(&driver.rings[queue], &id, &len))
					break;
	}
	reset(device);
	device->process();
}
