/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-rng. */
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-rng.h>

#include "lib/vmm-machine.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)
#define REQUEST_BYTES 64

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_rng *rng;

static struct machine *open_rng(bool pci)
{
	struct vmm_virtio_rng_config config = { 0 };

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_virtio_rng_new(&config, &rng) < 0) {
		fprintf(stderr, "virtio-rng cannot be made\n");
		exit(EXIT_FAILURE);
	}
	vmm_machine_attach(&machine, vmm_virtio_rng_device(rng), pci);
	return &machine.machine;
}

static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	c->gpas[0] = vdriver_alloc(&c->d, REQUEST_BYTES);
	memset(c->m->ram + c->gpas[0], 0, REQUEST_BYTES);
	buffers[0] = (struct vring_buffer){ c->gpas[0], REQUEST_BYTES, true };
	return 1;
}

static bool verify(struct conf *c, uint32_t len)
{
	unsigned int n_zero = 0;

	if (len == 0 || len > REQUEST_BYTES)
		return false;
	for (uint32_t i = 0; i < len; i++)
		n_zero += c->m->ram[c->gpas[0] + i] == 0;
	/* 64 random bytes hold 8 zeros less often than once in 10^9. */
	return len < REQUEST_BYTES || n_zero < 8;
}

const struct target target_rng = {
	.name = "rng",
	.type = 4,
	.n_queues = 1,
	.features = 0xffffff,
	.open = open_rng,
	.request = request,
	.verify = verify,
};
