/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-rng: buffers of any shape, with and without limits. */
#include <vmmcore/virtio-rng.h>

#include "device-script.h"

static struct vmm_virtio_rng *rng;

static void process(void)
{
	int r = vmm_virtio_process(vmm_virtio_rng_device(rng), 0);

	FUZZ_CHECK(r == 0 || r == -VMM_EGUEST);
}

static void event(uint8_t code, uint8_t arg)
{
	struct vmm_ratelimit_config limits = { .bytes = { .rate = 1 + arg * UINT64_C(10000) } };

	if (code & 1) {
		FUZZ_CHECK(vmm_virtio_rng_set_limits(rng, arg ? &limits : NULL) == 0);
		return;
	}
	vmm_virtio_rng_process(rng);
}

static const struct fuzz_device device = {
	.n_queues = 1,
	.queue_size = 64,
	.process = process,
	.event = event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!rng) {
		struct driver *driver = fuzz_driver();
		struct vmm_virtio_rng_config config = { .mem = driver->mem };

		FUZZ_CHECK(vmm_virtio_rng_new(&config, &rng) == 0);
		driver_attach(driver, vmm_virtio_rng_device(rng));
	}
	vmm_virtio_rng_set_limits(rng, NULL);
	fuzz_device_run(&device, data, size);
	return 0;
}
