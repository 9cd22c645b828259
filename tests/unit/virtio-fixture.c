/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-fixture.h"

struct echo echo;
const uint16_t queue_sizes[N_QUEUES] = { QUEUE_SIZE, 8, 256 };
struct vmm_machine machine;
struct vdriver driver;

static int echo_one(unsigned int index, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	struct iovec iov[QUEUE_SIZE];
	uint8_t data[256];
	size_t n;
	int r;

	if (echo.hold && !echo.is_held) {
		r = vmm_virtqueue_pop(queue, echo.held_iov, ARRAY_SIZE(echo.held_iov), &echo.held);
		echo.is_held = r > 0;
		echo.held_queue = (int)index;
		return r;
	}
	r = vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &chain);
	if (r <= 0)
		return r;
	n = vmm_virtqueue_chain_read(&chain, 0, data, sizeof(data));
	n = vmm_virtqueue_chain_write(&chain, 0, data, n);
	vmm_virtqueue_push(queue, &chain, (uint32_t)n);
	echo.n_processed++;
	return 1;
}

static int echo_process(void *userdata, unsigned int index, struct vmm_virtqueue *queue)
{
	int budget = echo.budget ? echo.budget : 1000;
	int r;

	if (echo.fail_process)
		return echo.fail_process;
	do {
		vmm_virtqueue_disable_notifications(queue);
		do {
			if (budget-- == 0)
				return 1;
			r = echo_one(index, queue);
		} while (r > 0);
	} while (r == 0 && vmm_virtqueue_enable_notifications(queue));
	return r;
}

static int echo_activate(void *userdata)
{
	echo.n_activate++;
	echo.features_at_activate = vmm_virtio_features(echo.device);
	return echo.fail_activate;
}

static int echo_reset(void *userdata)
{
	echo.n_reset++;
	echo.reset_pending = echo.is_held;
	return echo.is_held;
}

static int echo_queue_reset(void *userdata, unsigned int index)
{
	echo.n_queue_reset++;
	echo.queue_reset_pending = echo.is_held && echo.held_queue == (int)index;
	return echo.queue_reset_pending;
}

static int echo_queue_enable(void *userdata, unsigned int index)
{
	echo.n_queue_enable++;
	return 0;
}

static int echo_pause(void *userdata)
{
	echo.n_pause++;
	return echo.is_held;
}

static void echo_resume(void *userdata)
{
	echo.n_resume++;
}

void end_held(void)
{
	struct vmm_virtqueue *queue;
	unsigned int index = (unsigned int)echo.held_queue;

	ck_assert(echo.is_held);
	vmm_virtio_lock(echo.device, index);
	queue = vmm_virtio_queue_finishing(echo.device, index);
	if (queue) {
		vmm_virtqueue_push(queue, &echo.held, 0);
		vmm_virtio_notify(echo.device, index);
	}
	echo.is_held = false;
	if (TAKE(echo.reset_pending, false))
		vmm_virtio_reset_done(echo.device);
	if (TAKE(echo.queue_reset_pending, false))
		vmm_virtio_queue_reset_done(echo.device, index);
	vmm_virtio_pause_done(echo.device);
	vmm_virtio_unlock(echo.device, index);
}

static void echo_write_config(void *userdata, uint32_t offset, const void *data, size_t size)
{
	memcpy(echo.config + offset, data, size);
}

const struct vmm_virtio_ops echo_ops = {
	.process = echo_process,
	.activate = echo_activate,
	.reset = echo_reset,
	.queue_reset = echo_queue_reset,
	.queue_enable = echo_queue_enable,
	.pause = echo_pause,
	.resume = echo_resume,
	.write_config = echo_write_config,
};

void make(bool pci, bool lock_per_queue)
{
	struct vmm_virtio_device_config config = {
		.device_type = 42,
		.features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET | 0x5,
		.n_queues = N_QUEUES,
		.queue_sizes = queue_sizes,
		.lock_per_queue = lock_per_queue,
		.config_space = echo.config,
		.config_size_bytes = sizeof(echo.config),
		.ops = &echo_ops,
	};

	memset(&echo, 0, sizeof(echo));
	for (size_t i = 0; i < sizeof(echo.config); i++)
		echo.config[i] = (uint8_t)(0x10 + i);
	vmm_machine_init(&machine, RAM_BYTES);
	config.mem = machine.mem;
	ck_assert_int_eq(vmm_virtio_device_new(&config, &echo.device), 0);
	vmm_machine_attach(&machine, echo.device, pci);
	if (pci)
		ck_assert(vdriver_probe_pci(&driver, &machine.machine, VMM_MACHINE_SLOT));
	else
		ck_assert(vdriver_probe_mmio(&driver, &machine.machine));
}

void teardown(void)
{
	struct vmm_virtio_device *device = echo.device;

	vdriver_finish(&driver);
	if (device) {
		vmm_machine_detach(&machine);
		vmm_virtio_device_free(device);
	}
	echo.device = NULL;
	vmm_machine_finish(&machine);
}

uint64_t ring_features(int i)
{
	return i & 2 ? F_PACKED | F_INDIRECT | F_EVENT_IDX : F_INDIRECT;
}

void expect_echo(uint16_t queue, const char *text)
{
	uint32_t n = (uint32_t)strlen(text) + 1, len;
	struct vring_buffer buffers[] = {
		{ vdriver_alloc(&driver, n), n, false },
		{ vdriver_alloc(&driver, n), n, true },
	};

	memcpy(machine.machine.ram + buffers[0].gpa, text, n);
	ck_assert(vdriver_transfer(&driver, queue, buffers, 2, &len));
	ck_assert_uint_eq(len, n);
	ck_assert_str_eq((const char *)machine.machine.ram + buffers[1].gpa, text);
}

void start(int i)
{
	make(i & 1, i & 4);
	ck_assert(vdriver_start(&driver, ring_features(i) | F_RING_RESET, N_QUEUES, 0));
}
