/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-pmem over a file in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/virtio-pmem.h>

#include "lib/vmm-machine.h"
#include "target-pmem.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_pmem *pmem;
static int file_fd;

/* The device has a thread: there is nothing to do but to let it. */
static void process(void *userdata)
{
	usleep(50);
}

static struct machine *open_pmem(bool pci)
{
	struct vmm_mem_config region = {
		.gpa = PMEM_GPA,
		.size_bytes = PMEM_BYTES,
		.backing = VMM_MEM_FILE,
	};
	struct vmm_virtio_pmem_config config = { .gpa = PMEM_GPA };

	file_fd = memfd_create("pmem", MFD_CLOEXEC);
	if (file_fd < 0 || ftruncate(file_fd, (off_t)PMEM_BYTES) < 0) {
		perror("the file");
		exit(EXIT_FAILURE);
	}
	region.fd = file_fd;
	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_mem_add(machine.mem, &region) < 0 || vmm_virtio_pmem_new(&config, &pmem) < 0) {
		fprintf(stderr, "virtio-pmem cannot be made\n");
		exit(EXIT_FAILURE);
	}
	machine.own_threads = true;
	machine.run_more = process;
	vmm_machine_attach(&machine, vmm_virtio_pmem_device(pmem), pci);
	return &machine.machine;
}

static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	c->gpas[0] = vdriver_alloc(&c->d, 4);
	c->gpas[1] = vdriver_alloc(&c->d, 4);
	memset(c->m->ram + c->gpas[0], 0, 4);
	memset(c->m->ram + c->gpas[1], 0xee, 4);
	buffers[0] = (struct vring_buffer){ c->gpas[0], 4, false };
	buffers[1] = (struct vring_buffer){ c->gpas[1], 4, true };
	return 2;
}

static bool verify(struct conf *c, uint32_t len)
{
	uint32_t answer;

	memcpy(&answer, c->m->ram + c->gpas[1], sizeof(answer));
	c->n_done++;
	return len == 4 && answer == 0;
}

static bool host(unsigned int event, const void *data, size_t size)
{
	uint8_t byte;

	switch (event) {
	case PMEM_HOST_WRITE:
		return vmm_mem_write(machine.mem, PMEM_GPA, data, 1) == 0;
	case PMEM_HOST_FILE:
		return pread(file_fd, &byte, 1, 0) == 1 && byte == *(const uint8_t *)data;
	default:
		return false;
	}
}

const struct target target_pmem = {
	.name = "pmem",
	.type = 27,
	.n_queues = 1,
	.config_bytes = 16,
	.features = 0xffffff,
	.open = open_pmem,
	.request = request,
	.verify = verify,
	.host = host,
};
