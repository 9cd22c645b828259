/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the control queue of a network that vhost-net serves, with commands and rings of any shape,
 * over a kernel that only takes notes. Checked: the queue is served whatever came before, and the
 * tap's queues that are attached are the first ones, and one at least.
 */
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>

#include <vmmcore/virtio-vhost.h>

#include "base/util.h"
#include "device-script.h"
#include "fake-kernel.h"

#define CONTROL (2 * FAKE_PAIRS)
#define NET_F_CTRL_VQ (UINT64_C(1) << 17)
#define NET_F_MQ (UINT64_C(1) << 22)
#define PATIENCE_NSEC UINT64_C(20000000000)

static struct vmm_virtio_vhost *vhost;

static bool is_kicked(unsigned int queue)
{
	struct pollfd kick = {
		.fd = vmm_virtio_kick_fd(vmm_virtio_vhost_device(vhost), queue),
		.events = POLLIN,
	};

	return poll(&kick, 1, 0) > 0;
}

/* The device's thread takes the kick first. */
static void wait_served(void)
{
	struct vmm_virtio_device *device = vmm_virtio_vhost_device(vhost);
	uint64_t features = vmm_virtio_features(device);
	uint64_t end_nsec = vmm_base_now_nsec() + PATIENCE_NSEC;
	unsigned int queue = features & NET_F_MQ ? CONTROL : 2;

	if (!vmm_virtio_is_active(device) || !(features & NET_F_CTRL_VQ))
		return;
	while (is_kicked(queue)) {
		FUZZ_CHECK(vmm_base_now_nsec() < end_nsec);
		sched_yield();
	}
	vmm_virtio_lock(device, queue);
	vmm_virtio_unlock(device, queue);
}

static void process(void)
{
	unsigned int n = 0;

	wait_served();
	fake_kernel_lock();
	while (n < FAKE_PAIRS && fake_taps[n].is_attached)
		n++;
	FUZZ_CHECK(n >= 1);
	while (n < FAKE_PAIRS)
		FUZZ_CHECK(!fake_taps[n++].is_attached);
	fake_kernel_unlock();
}

/* A tap that does not attach, or does again. (With one pair a device starts: the script counts on
 * it.) */
static void event(uint8_t code, uint8_t arg)
{
	fake_kernel_fail(code & 1 ? "IFF_ATTACH_QUEUE" : NULL, 1 + arg % (FAKE_PAIRS - 1));
}

/* What is in flight is nobody's: the thread stops the queues, and that is all. */
static void drain(void)
{
}

static const struct fuzz_device device = {
	.n_queues = CONTROL + 1,
	.queue_size = 16,
	.process = process,
	.event = event,
	.drain = drain,
};

static void set_up(void)
{
	struct driver *driver = fuzz_driver();
	struct vmm_virtio_vhost_config config = {
		.mem = driver->mem,
		.device_type = VMM_VHOST_NET,
		.n_pairs = FAKE_PAIRS,
	};

	for (unsigned int i = 0; i < FAKE_PAIRS; i++) {
		config.vhost_fds[i] = memfd_create("vhost", MFD_CLOEXEC);
		config.tap_fds[i] = memfd_create("tap", MFD_CLOEXEC);
		fake_kernel_add(i, config.vhost_fds[i], config.tap_fds[i]);
	}
	FUZZ_CHECK(vmm_virtio_vhost_new(&config, &vhost) == 0);
	driver_attach(driver, vmm_virtio_vhost_device(vhost));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!vhost)
		set_up();
	fake_kernel_fail(NULL, 0);
	fuzz_device_run(&device, data, size);
	return 0;
}
