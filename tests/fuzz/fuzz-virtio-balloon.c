/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-balloon: lists of pages, statistics, hints and reports of any shape. */
#include <vmmcore/virtio-balloon.h>

#include "device-script.h"

static struct vmm_virtio_balloon *balloon;

static void process(void)
{
	struct vmm_virtio_device *device = vmm_virtio_balloon_device(balloon);
	struct vmm_virtio_balloon_status status;

	for (unsigned int i = 0; i < 5; i++) {
		int r = vmm_virtio_process(device, i);

		FUZZ_CHECK(r == 0 || r == -VMM_EGUEST);
	}
	vmm_virtio_balloon_get_status(balloon, &status);
	FUZZ_CHECK(status.actual_bytes <= 2 * DRIVER_RAM_BYTES);
	FUZZ_CHECK(status.inflated_bytes <= 2 * DRIVER_RAM_BYTES);
	FUZZ_CHECK(status.n_failed == 0);
}

static void hinted(void *userdata, uint64_t gpa, uint64_t length_bytes)
{
	FUZZ_CHECK(gpa <= 2 * DRIVER_RAM_BYTES);
	FUZZ_CHECK(length_bytes <= 2 * DRIVER_RAM_BYTES - gpa);
}

static void changed(void *userdata, uint64_t actual_bytes)
{
	FUZZ_CHECK(actual_bytes <= 2 * DRIVER_RAM_BYTES);
}

static const struct vmm_balloon_ops ops = { .hinted = hinted, .changed = changed };

static void event(uint8_t code, uint8_t arg)
{
	switch (code % 4) {
	case 0:
		vmm_virtio_balloon_request_stats(balloon);
		break;
	case 1:
		vmm_virtio_balloon_request_hints(balloon);
		break;
	case 2:
		vmm_virtio_balloon_end_hints(balloon);
		break;
	case 3:
		FUZZ_CHECK(vmm_virtio_balloon_set_target(balloon, arg * UINT64_C(4096)) == 0);
		break;
	}
}

static const struct fuzz_device device = {
	.n_queues = 5,
	.queue_size = 16,
	.process = process,
	.event = event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!balloon) {
		struct driver *driver = fuzz_driver();
		struct vmm_virtio_balloon_config config = { .mem = driver->mem, .ops = &ops };

		FUZZ_CHECK(vmm_virtio_balloon_new(&config, &balloon) == 0);
		driver_attach(driver, vmm_virtio_balloon_device(balloon));
	}
	fuzz_device_run(&device, data, size);
	return 0;
}
