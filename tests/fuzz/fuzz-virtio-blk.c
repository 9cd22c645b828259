/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: virtio-blk over a disk in memory that completes at once or, as the script says, later.
 * What the device asks of its back end always lies within the disk.
 */
#include <errno.h>
#include <string.h>

#include <vmmcore/virtio-blk.h>

#include "device-script.h"

#define DISK_BYTES 65536
#define MAX_HELD 256

static struct vmm_virtio_blk *blk;
static uint8_t disk[DISK_BYTES];
static struct vmm_blk_io *held[MAX_HELD];
static unsigned int n_held;
static bool hold;
static int result;

static int geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	*ret_geometry = (struct vmm_blk_geometry){
		.capacity_bytes = DISK_BYTES,
		.discard = true,
		.write_zeroes = true,
	};
	return 0;
}

static void carry_out(const struct vmm_blk_io *io)
{
	uint64_t at = io->offset_bytes;

	for (uint32_t i = 0; i < io->n_iov; i++) {
		if (io->op == VMM_BLK_READ)
			memcpy(io->iov[i].iov_base, disk + at, io->iov[i].iov_len);
		else
			memcpy(disk + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (io->op == VMM_BLK_WRITE_ZEROES)
		memset(disk + io->offset_bytes, 0, io->length_bytes);
}

static int submit(void *userdata, struct vmm_blk_io *io)
{
	uint64_t total = 0;

	FUZZ_CHECK(io->offset_bytes <= DISK_BYTES);
	FUZZ_CHECK(io->length_bytes <= DISK_BYTES - io->offset_bytes);
	FUZZ_CHECK(io->offset_bytes % 512 == 0 && io->length_bytes % 512 == 0);
	FUZZ_CHECK((io->length_bytes == 0) == (io->op == VMM_BLK_FLUSH));
	for (uint32_t i = 0; i < io->n_iov; i++)
		total += io->iov[i].iov_len;
	if (io->op == VMM_BLK_READ || io->op == VMM_BLK_WRITE)
		FUZZ_CHECK(total == io->length_bytes);
	else
		FUZZ_CHECK(io->n_iov == 0);
	if (hold && n_held < MAX_HELD) {
		held[n_held++] = io;
		return VMM_BLK_PENDING;
	}
	carry_out(io);
	return result;
}

static const struct vmm_blk_ops ops = { .geometry = geometry, .submit = submit };

static void process(void)
{
	struct vmm_virtio_blk_status status;

	FUZZ_CHECK(vmm_virtio_blk_process(blk) == 0);
	vmm_virtio_blk_get_status(blk, &status);
	FUZZ_CHECK(status.capacity_bytes == DISK_BYTES);
}

static void release_one(void)
{
	struct vmm_blk_io *io = held[--n_held];

	carry_out(io);
	vmm_blk_complete(io, result);
}

static void drain(void)
{
	bool held_before = hold;

	hold = false;
	/* The next segment of a request may be submitted when the one before ends. */
	process();
	while (n_held > 0) {
		while (n_held > 0)
			release_one();
		process();
	}
	hold = held_before;
}

static void event(uint8_t code, uint8_t arg)
{
	static const int results[] = { 0, -EIO, -EOPNOTSUPP, -ECANCELED };
	struct vmm_ratelimit_config limits = { .ops = { .rate = 1 + arg * UINT64_C(1000) } };

	switch (code % 7) {
	case 0:
		hold = arg & 1;
		break;
	case 1:
		if (n_held > 0)
			release_one();
		break;
	case 2:
		result = results[arg % 4];
		break;
	case 3:
		FUZZ_CHECK(vmm_virtio_blk_set_limits(blk, arg ? &limits : NULL) == 0);
		break;
	case 4:
		if (vmm_virtio_pause(vmm_virtio_blk_device(blk), NULL, NULL) == 1)
			drain();
		FUZZ_CHECK(vmm_virtio_is_paused(vmm_virtio_blk_device(blk)));
		break;
	case 5:
		vmm_virtio_resume(vmm_virtio_blk_device(blk));
		break;
	case 6:
		FUZZ_CHECK(vmm_virtio_blk_resize(blk) == 0);
		break;
	}
}

static const struct fuzz_device device = {
	.n_queues = 2,
	.queue_size = 16,
	.process = process,
	.event = event,
	.drain = drain,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!blk) {
		struct vmm_virtio_blk_config config = {
			.backend.ops = &ops,
			.n_queues = 2,
			.queue_size = 16,
			.no_threads = true,
			.serial = "fuzz",
		};
		struct driver *driver = fuzz_driver();

		config.mem = driver->mem;
		FUZZ_CHECK(vmm_virtio_blk_new(&config, &blk) == 0);
		driver_attach(driver, vmm_virtio_blk_device(blk));
	}
	hold = false;
	result = 0;
	vmm_virtio_blk_set_limits(blk, NULL);
	vmm_virtio_resume(vmm_virtio_blk_device(blk));
	fuzz_device_run(&device, data, size);
	FUZZ_CHECK(n_held == 0);
	return 0;
}
