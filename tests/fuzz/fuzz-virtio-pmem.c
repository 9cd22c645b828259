/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-pmem: requests of any shape, answered by the device's own thread. */
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/virtio-pmem.h>

#include "device-script.h"

#define PMEM_GPA (UINT64_C(256) << 20)

static struct vmm_virtio_pmem *pmem;

/* The thread is given a moment; what it has not done then, it does during the next operation. */
static void process(void)
{
	usleep(20);
}

static void event(uint8_t code, uint8_t arg)
{
	struct vmm_virtio_device *device = vmm_virtio_pmem_device(pmem);

	vmm_virtio_pause(device, NULL, NULL);
	while (!vmm_virtio_is_paused(device))
		usleep(20);
	vmm_virtio_resume(device);
}

/* Everything ends by itself. */
static void drain(void)
{
	usleep(100);
}

static const struct fuzz_device device = {
	.n_queues = 1,
	.queue_size = 64,
	.process = process,
	.event = event,
	.drain = drain,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!pmem) {
		struct driver *driver = fuzz_driver();
		struct vmm_mem_config region = {
			.gpa = PMEM_GPA,
			.size_bytes = UINT64_C(2) << 20,
			.backing = VMM_MEM_MEMFD,
		};
		struct vmm_virtio_pmem_config config = { .mem = driver->mem, .gpa = PMEM_GPA };

		FUZZ_CHECK(vmm_mem_add(driver->mem, &region) == 0);
		FUZZ_CHECK(vmm_virtio_pmem_new(&config, &pmem) == 0);
		driver_attach(driver, vmm_virtio_pmem_device(pmem));
	}
	fuzz_device_run(&device, data, size);
	return 0;
}
