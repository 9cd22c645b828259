/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-mem, with a region of its own. */
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-mem.h>

#include "lib/vmm-machine.h"
#include "target-mem.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_mem *mem;

static struct machine *open_mem(bool pci)
{
	struct vmm_mem_config region = { .gpa = MEM_GPA, .size_bytes = MEM_BLOCKS * MEM_BLOCK };
	struct vmm_virtio_mem_config config = {
		.gpa = MEM_GPA,
		.block_bytes = MEM_BLOCK,
		.requested_bytes = MEM_REQUESTED * MEM_BLOCK,
	};

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_mem_add(machine.mem, &region) < 0 || vmm_virtio_mem_new(&config, &mem) < 0) {
		fprintf(stderr, "virtio-mem cannot be made\n");
		exit(EXIT_FAILURE);
	}
	vmm_machine_attach(&machine, vmm_virtio_mem_device(mem), pci);
	return &machine.machine;
}

/* Plugs the first block, or unplugs it again. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	struct vmm_virtio_mem_status status;
	struct {
		uint16_t type, padding[3];
		uint64_t gpa;
		uint16_t n_blocks, more[3];
	} data = { .gpa = MEM_GPA, .n_blocks = 1 };

	vmm_virtio_mem_get_status(mem, &status);
	data.type = status.plugged_bytes > 0;
	c->gpas[0] = vdriver_alloc(&c->d, sizeof(data));
	c->gpas[1] = vdriver_alloc(&c->d, 10);
	c->gpas[2] = status.plugged_bytes;
	memcpy(c->m->ram + c->gpas[0], &data, sizeof(data));
	memset(c->m->ram + c->gpas[1], 0xee, 10);
	buffers[0] = (struct vring_buffer){ c->gpas[0], sizeof(data), false };
	buffers[1] = (struct vring_buffer){ c->gpas[1], 10, true };
	return 2;
}

static bool verify(struct conf *c, uint32_t len)
{
	struct vmm_virtio_mem_status status;
	uint16_t type;

	vmm_virtio_mem_get_status(mem, &status);
	memcpy(&type, c->m->ram + c->gpas[1], sizeof(type));
	c->n_done++;
	return len == 10 && type == 0 && status.plugged_bytes != c->gpas[2];
}

static bool host(unsigned int event, const void *data, size_t size)
{
	static const uint8_t zeros[4096];
	struct vmm_virtio_mem_status status;
	uint8_t bytes[4096];
	uint64_t number;

	memcpy(&number, data, sizeof(number));
	switch (event) {
	case MEM_HOST_REQUEST:
		return vmm_virtio_mem_request(mem, number * MEM_BLOCK) == 0;
	case MEM_HOST_PLUGGED:
		vmm_virtio_mem_get_status(mem, &status);
		return status.plugged_bytes == number * MEM_BLOCK;
	case MEM_HOST_FILL:
		return vmm_mem_fill(machine.mem, MEM_GPA + number * MEM_BLOCK, 0x77, MEM_BLOCK) ==
		       0;
	case MEM_HOST_ZERO:
		for (uint64_t at = 0; at < MEM_BLOCK; at += sizeof(bytes))
			if (vmm_mem_read(machine.mem, MEM_GPA + number * MEM_BLOCK + at, bytes,
				    sizeof(bytes)) < 0 ||
				memcmp(bytes, zeros, sizeof(bytes)) != 0)
				return false;
		return true;
	default:
		return false;
	}
}

static void change_config(void)
{
	struct vmm_virtio_mem_status status;

	vmm_virtio_mem_get_status(mem, &status);
	vmm_virtio_mem_request(
		mem, status.requested_bytes == 0 ? MEM_BLOCK : status.requested_bytes - MEM_BLOCK);
}

const struct target target_mem = {
	.name = "mem",
	.type = 24,
	.n_queues = 1,
	.config_bytes = 56,
	.features = 0xffffff,
	.open = open_mem,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};
