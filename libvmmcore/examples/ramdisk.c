/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ramdisk: a back end of one's own for virtio-blk: a disk that is a piece of memory. All requests
 * are done at once, so submit() is all there is to it. See ramdisk.h for how it is used.
 */
#include "ramdisk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ramdisk {
	uint64_t size_bytes;
	char bytes[];
};

static int geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	struct ramdisk *disk = userdata;

	ret_geometry->capacity_bytes = disk->size_bytes;
	ret_geometry->write_zeroes = true;
	return 0;
}

static int submit(void *userdata, struct vmm_blk_io *io)
{
	struct ramdisk *disk = userdata;
	char *at = disk->bytes + io->offset_bytes;

	if (io->op == VMM_BLK_WRITE_ZEROES)
		memset(at, 0, io->length_bytes);
	for (uint32_t i = 0; i < io->n_iov; i++) {
		if (io->op == VMM_BLK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return 0;
}

static const struct vmm_blk_ops ops = { .geometry = geometry, .submit = submit };

int ramdisk_new(uint64_t size_bytes, struct ramdisk **ret_disk)
{
	*ret_disk = calloc(1, sizeof(**ret_disk) + size_bytes);
	if (!*ret_disk)
		return -ENOMEM;
	(*ret_disk)->size_bytes = size_bytes;
	return 0;
}

void ramdisk_free(struct ramdisk *disk)
{
	free(disk);
}

struct vmm_blk_backend ramdisk_backend(struct ramdisk *disk)
{
	return (struct vmm_blk_backend){ .ops = &ops, .userdata = disk };
}
