/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the back end of vhost-user, with an entropy device: the input is all that a front end says
 * and the memory that it shares. Whatever that is, the next front end finds the device as new. Now
 * and then the device goes with the front end.
 */
#include <vmmcore/vhost-user-backend.h>
#include <vmmcore/virtio-rng.h>

#include "base/util.h"
#include "fuzz.h"
#include "vhost-user-script.h"

static struct vmm_mem *mem;
static struct vmm_virtio_rng *rng;
static struct vmm_vhost_user_backend *backend;

static void set_up(void)
{
	struct vmm_virtio_rng_config rng_config = { 0 };
	struct vmm_vhost_user_backend_config config = {
		.serve_queues = true,
		.timeout_nsec = 1000000,
	};

	if (!mem)
		FUZZ_CHECK(vmm_mem_new(&mem) == 0);
	rng_config.mem = config.mem = mem;
	FUZZ_CHECK(vmm_virtio_rng_new(&rng_config, &rng) == 0);
	config.device = vmm_virtio_rng_device(rng);
	FUZZ_CHECK(vmm_vhost_user_backend_new(&config, &backend) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd, r;

	if (!backend)
		set_up();
	fd = script_socket(data, size);
	r = vmm_vhost_user_backend_serve(backend, fd);
	FUZZ_CHECK(r == 0 || r == -EPROTO || r == -ETIMEDOUT);
	FUZZ_CHECK(vmm_mem_n_regions(mem) == 0);
	FUZZ_CHECK(vmm_virtio_status(vmm_virtio_rng_device(rng)) == 0);
	vmm_base_close(fd);
	script_end();
	if (size % 2) {
		backend = vmm_vhost_user_backend_free(backend);
		rng = vmm_virtio_rng_free(rng);
	}
	return 0;
}
