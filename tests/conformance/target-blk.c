/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-blk over a disk in memory, which the target fills with a pattern. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-blk.h>

#include "lib/vmm-machine.h"
#include "target-blk.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_blk *blk;
static uint8_t disk[BLK_MAX_SECTORS * 512];
static uint64_t n_sectors;
static bool failing;
static unsigned int n_flushes;

uint8_t blk_pattern(uint64_t sector, unsigned int at)
{
	return (uint8_t)(sector * 7 + at);
}

static int geometry(void *userdata, struct vmm_blk_geometry *ret)
{
	*ret = (struct vmm_blk_geometry){
		.capacity_bytes = n_sectors * 512,
		.discard = true,
		.write_zeroes = true,
	};
	return 0;
}

static int submit(void *userdata, struct vmm_blk_io *io)
{
	uint8_t *at = disk + io->offset_bytes;

	if (failing)
		return -EIO;
	if (io->op == VMM_BLK_FLUSH) {
		n_flushes++;
		return 0;
	}
	if (io->op == VMM_BLK_WRITE_ZEROES) {
		memset(at, 0, io->length_bytes);
		return 0;
	}
	for (uint32_t i = 0; i < io->n_iov && io->op != VMM_BLK_DISCARD; i++) {
		if (io->op == VMM_BLK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return 0;
}

static const struct vmm_blk_ops ops = { .geometry = geometry, .submit = submit };

static void process(void *userdata)
{
	vmm_virtio_blk_process(blk);
}

static struct machine *open_with(bool pci, bool read_only)
{
	struct vmm_virtio_blk_config config = {
		.backend = { &ops, NULL },
		.read_only = read_only,
		.n_queues = 2,
		.no_threads = true,
		.no_poll = true,
		.serial = BLK_SERIAL,
	};

	n_sectors = BLK_SECTORS;
	failing = false;
	n_flushes = 0;
	for (uint64_t i = 0; i < sizeof(disk); i++)
		disk[i] = blk_pattern(i / 512, i % 512);
	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_virtio_blk_new(&config, &blk) < 0) {
		fprintf(stderr, "virtio-blk cannot be made\n");
		exit(EXIT_FAILURE);
	}
	machine.own_threads = true;
	machine.run_more = process;
	vmm_machine_attach(&machine, vmm_virtio_blk_device(blk), pci);
	return &machine.machine;
}

static struct machine *open_blk(bool pci)
{
	return open_with(pci, false);
}

static struct machine *open_read_only(bool pci)
{
	return open_with(pci, true);
}

/* Reads one sector, another each time. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	struct blk_header header = { .type = BLK_IN, .sector = c->n_done % BLK_SECTORS };

	c->gpas[0] = vdriver_alloc(&c->d, sizeof(header));
	c->gpas[1] = vdriver_alloc(&c->d, 512);
	c->gpas[2] = vdriver_alloc(&c->d, 1);
	memcpy(c->m->ram + c->gpas[0], &header, sizeof(header));
	c->m->ram[c->gpas[2]] = 0xff;
	buffers[0] = (struct vring_buffer){ c->gpas[0], sizeof(header), false };
	buffers[1] = (struct vring_buffer){ c->gpas[1], 512, true };
	buffers[2] = (struct vring_buffer){ c->gpas[2], 1, true };
	return 3;
}

static bool verify(struct conf *c, uint32_t len)
{
	uint64_t sector = c->n_done++ % BLK_SECTORS;

	for (unsigned int i = 0; i < 512; i++)
		if (c->m->ram[c->gpas[1] + i] != blk_pattern(sector, i))
			return false;
	return len == 513 && c->m->ram[c->gpas[2]] == 0;
}

static void change_config(void)
{
	n_sectors = n_sectors == BLK_SECTORS ? BLK_SECTORS * 2 : BLK_SECTORS;
	vmm_virtio_blk_resize(blk);
}

static bool host(unsigned int event, const void *data, size_t size)
{
	switch (event) {
	case BLK_HOST_FAIL:
		failing = true;
		return true;
	case BLK_HOST_FLUSHED:
		return n_flushes > 0;
	case BLK_HOST_COMPARE:
		return memcmp(disk + 512 * *(const uint64_t *)data, (const uint8_t *)data + 8,
			       size - 8) == 0;
	default:
		return false;
	}
}

const struct target target_blk = {
	.name = "blk",
	.type = 2,
	.n_queues = 2,
	.config_bytes = 60,
	.features = 0xffffff,
	.open = open_blk,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};

const struct target target_blk_ro = {
	.name = "blk-ro",
	.type = 2,
	.n_queues = 2,
	.config_bytes = 60,
	.features = 0xffffff,
	.open = open_read_only,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};
