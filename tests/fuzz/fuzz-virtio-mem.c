/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-mem: requests of any kind about a region of 256 small blocks. */
#include <vmmcore/virtio-mem.h>

#include "device-script.h"

#define REGION_GPA (UINT64_C(256) << 20)
#define REGION_BYTES (UINT64_C(1) << 20)

static struct vmm_virtio_mem *virtio_mem;
static uint64_t plugged;

static void changed(void *userdata, uint64_t plugged_bytes)
{
	plugged = plugged_bytes;
}

static void process(void)
{
	struct vmm_virtio_mem_status status;
	int r = vmm_virtio_process(vmm_virtio_mem_device(virtio_mem), 0);

	FUZZ_CHECK(r == 0 || r == -VMM_EGUEST);
	vmm_virtio_mem_get_status(virtio_mem, &status);
	FUZZ_CHECK(status.plugged_bytes == plugged && plugged <= REGION_BYTES);
}

static void event(uint8_t code, uint8_t arg)
{
	FUZZ_CHECK(vmm_virtio_mem_request(virtio_mem, arg * UINT64_C(4096)) == 0);
}

static const struct fuzz_device device = {
	.n_queues = 1,
	.queue_size = 16,
	.process = process,
	.event = event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!virtio_mem) {
		struct driver *driver = fuzz_driver();
		struct vmm_mem_config region = {
			.gpa = REGION_GPA,
			.size_bytes = REGION_BYTES,
		};
		struct vmm_virtio_mem_config config = {
			.mem = driver->mem,
			.gpa = REGION_GPA,
			.block_bytes = 4096,
			.changed = changed,
		};

		FUZZ_CHECK(vmm_mem_add(driver->mem, &region) == 0);
		FUZZ_CHECK(vmm_virtio_mem_new(&config, &virtio_mem) == 0);
		driver_attach(driver, vmm_virtio_mem_device(virtio_mem));
	}
	vmm_virtio_mem_request(virtio_mem, REGION_BYTES / 2);
	fuzz_device_run(&device, data, size);
	return 0;
}
