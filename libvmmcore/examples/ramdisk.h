/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 *	ramdisk_new(64 << 20, &disk);
 *	config.backend = ramdisk_backend(disk);
 *	vmm_virtio_blk_new(&config, &blk);
 */
#ifndef RAMDISK_H
#define RAMDISK_H

#include <vmmcore/virtio-blk.h>

struct ramdisk;

int ramdisk_new(uint64_t size_bytes, struct ramdisk **ret_disk);

/* The device that uses it is gone. Takes NULL. */
void ramdisk_free(struct ramdisk *disk);

struct vmm_blk_backend ramdisk_backend(struct ramdisk *disk);

#endif
