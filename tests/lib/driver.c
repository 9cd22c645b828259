/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "lib/driver.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/util.h"

#define MMIO_GPA UINT64_C(0xd0000000)

enum {
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080,
	REG_QUEUE_DRIVER = 0x090,
	REG_QUEUE_DEVICE = 0x0a0,
	REG_CONFIG = 0x100,
};

/* A test that cannot even be set up ends here. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static void init(struct driver *driver, enum vmm_mem_backing backing)
{
	memset(driver, 0, sizeof(*driver));
	must(vmm_mem_new(&driver->mem) == 0);
	for (unsigned int i = 0; i < 2; i++) {
		struct vmm_mem_config config = {
			.gpa = i * DRIVER_RAM_BYTES,
			.size_bytes = DRIVER_RAM_BYTES,
			.backing = backing,
		};

		must(vmm_mem_add(driver->mem, &config) == 0);
	}
	driver->ram = vmm_mem_pointer(driver->mem, 0, DRIVER_RAM_BYTES, 1, true);
	must(vmm_bus_new(&driver->bus) == 0);
	driver->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(driver->irq_fd >= 0);
}

void driver_init(struct driver *driver)
{
	init(driver, VMM_MEM_ANONYMOUS);
}

void driver_init_shared(struct driver *driver)
{
	init(driver, VMM_MEM_MEMFD);
}

void driver_attach(struct driver *driver, struct vmm_virtio_device *device)
{
	struct vmm_virtio_mmio_config config = {
		.bus = driver->bus,
		.gpa = MMIO_GPA,
		.irq_fd = driver->irq_fd,
	};

	must(vmm_virtio_mmio_new(device, &config, &driver->mmio) == 0);
	driver->device = device;
}

void driver_detach(struct driver *driver)
{
	if (driver->device) {
		vmm_virtio_reset(driver->device);
		vmm_virtio_wait_reset(driver->device);
	}
	driver->mmio = vmm_virtio_mmio_free(driver->mmio);
	driver->device = NULL;
}

void driver_finish(struct driver *driver)
{
	driver_detach(driver);
	vmm_bus_free(driver->bus);
	vmm_mem_free(driver->mem);
	vmm_base_close(driver->irq_fd);
}

uint32_t driver_read(struct driver *driver, uint32_t reg)
{
	uint32_t value;

	vmm_bus_read(driver->bus, MMIO_GPA + reg, &value, sizeof(value));
	return value;
}

void driver_write(struct driver *driver, uint32_t reg, uint32_t value)
{
	vmm_bus_write(driver->bus, MMIO_GPA + reg, &value, sizeof(value));
}

uint8_t driver_status(struct driver *driver)
{
	return (uint8_t)driver_read(driver, REG_STATUS);
}

void driver_config_read(struct driver *driver, uint32_t offset, void *data, size_t size)
{
	vmm_bus_read(driver->bus, MMIO_GPA + REG_CONFIG + offset, data, size);
}

void driver_config_write(struct driver *driver, uint32_t offset, uint8_t value)
{
	vmm_bus_write(driver->bus, MMIO_GPA + REG_CONFIG + offset, &value, 1);
}

uint64_t driver_offered(struct driver *driver)
{
	uint64_t features;

	driver_write(driver, REG_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)driver_read(driver, REG_DEVICE_FEATURES) << 32;
	driver_write(driver, REG_DEVICE_FEATURES_SEL, 0);
	return features | driver_read(driver, REG_DEVICE_FEATURES);
}

static void write_gpa(struct driver *driver, uint32_t reg, uint64_t gpa)
{
	driver_write(driver, reg, (uint32_t)gpa);
	driver_write(driver, reg + 4, (uint32_t)(gpa >> 32));
}

void driver_set_up_queue(struct driver *driver, unsigned int index, uint16_t size)
{
	struct vring *ring = &driver->rings[index];
	uint64_t gpa = DRIVER_DATA_GPA / DRIVER_MAX_QUEUES * index;

	vring_init(
		ring, driver->ram, gpa, size, (driver->features & VMM_VIRTIO_F_RING_PACKED) != 0);
	driver_write(driver, REG_QUEUE_SEL, index);
	driver_write(driver, REG_QUEUE_NUM, size);
	write_gpa(driver, REG_QUEUE_DESC, ring->desc_gpa);
	write_gpa(driver, REG_QUEUE_DRIVER, ring->driver_gpa);
	write_gpa(driver, REG_QUEUE_DEVICE, ring->device_gpa);
	driver_write(driver, REG_QUEUE_READY, 1);
}

void driver_reset(struct driver *driver)
{
	driver_write(driver, REG_STATUS, 0);
	while (driver_status(driver) != 0)
		sched_yield();
}

bool driver_start(
	struct driver *driver, uint64_t wanted, unsigned int n_queues, uint16_t queue_size)
{
	uint8_t status = VMM_VIRTIO_STATUS_ACKNOWLEDGE | VMM_VIRTIO_STATUS_DRIVER;

	driver_reset(driver);
	driver_write(driver, REG_STATUS, status);
	driver->features = driver_offered(driver) & (wanted | VMM_VIRTIO_F_VERSION_1);
	driver_write(driver, REG_DRIVER_FEATURES_SEL, 0);
	driver_write(driver, REG_DRIVER_FEATURES, (uint32_t)driver->features);
	driver_write(driver, REG_DRIVER_FEATURES_SEL, 1);
	driver_write(driver, REG_DRIVER_FEATURES, (uint32_t)(driver->features >> 32));
	status |= VMM_VIRTIO_STATUS_FEATURES_OK;
	driver_write(driver, REG_STATUS, status);
	if (!(driver_status(driver) & VMM_VIRTIO_STATUS_FEATURES_OK))
		return false;
	for (unsigned int i = 0; i < n_queues; i++)
		driver_set_up_queue(driver, i, queue_size);
	status |= VMM_VIRTIO_STATUS_DRIVER_OK;
	driver_write(driver, REG_STATUS, status);
	return driver_status(driver) == status;
}

void driver_kick(struct driver *driver, unsigned int queue)
{
	driver_write(driver, REG_QUEUE_NOTIFY, queue);
}

uint16_t driver_add(struct driver *driver, unsigned int queue, const struct vring_buffer *buffers,
	size_t n, uint64_t indirect_gpa)
{
	struct vring *ring = &driver->rings[queue];
	bool event_idx = (driver->features & VMM_VIRTIO_F_EVENT_IDX) != 0;
	uint16_t id;

	if (indirect_gpa)
		id = vring_add_indirect(ring, buffers, n, indirect_gpa);
	else
		id = vring_add(ring, buffers, n);
	if (vring_kick_wanted(ring, event_idx, indirect_gpa || !ring->packed ? 1 : (uint16_t)n))
		driver_kick(driver, queue);
	return id;
}

bool driver_wait_used(
	struct driver *driver, unsigned int queue, uint32_t *ret_id, uint32_t *ret_len)
{
	/* Long: on a busy machine the device's thread may have to wait for its turn. */
	uint64_t end_nsec = vmm_base_now_nsec() + UINT64_C(60000000000);
	uint32_t id, len;

	while (!vring_get_used(&driver->rings[queue], &id, &len)) {
		if (vmm_base_now_nsec() > end_nsec)
			return false;
		sched_yield();
	}
	if (ret_id)
		*ret_id = id;
	if (ret_len)
		*ret_len = len;
	return true;
}

unsigned int driver_hammer(
	struct driver *driver, unsigned int queue, const struct vring_buffer *buffer)
{
	uint64_t end_nsec = vmm_base_now_nsec() + UINT64_C(1000000000);
	enum { DELAYS = 1024 };
	unsigned int n = 0;

	while (vmm_base_now_nsec() < end_nsec) {
		driver_add(driver, queue, buffer, 1, 0);
		for (unsigned int i = 0; i < n * 37 % DELAYS * 32; i++)
			__asm__ volatile("" ::: "memory");
		driver_add(driver, queue, buffer, 1, 0);
		if (!driver_wait_used(driver, queue, NULL, NULL) ||
			!driver_wait_used(driver, queue, NULL, NULL))
			return 0;
		n += 2;
	}
	return n;
}

bool driver_wait_interrupt(struct driver *driver, int timeout_msec, uint32_t *ret_status)
{
	struct pollfd poll_fd = { .fd = driver->irq_fd, .events = POLLIN };
	uint32_t status;

	if (poll(&poll_fd, 1, timeout_msec) <= 0)
		return false;
	vmm_base_eventfd_clear(driver->irq_fd, NULL);
	status = driver_read(driver, REG_INTERRUPT_STATUS);
	driver_write(driver, REG_INTERRUPT_ACK, status);
	if (ret_status)
		*ret_status = status;
	return true;
}

void *driver_pointer(struct driver *driver, uint64_t gpa, uint64_t size)
{
	void *pointer = vmm_mem_pointer(driver->mem, gpa, size, 1, true);

	must(pointer != NULL);
	return pointer;
}
