/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtio-blk over files share: ways to make a device, a disk, a driver. */
#ifndef VMM_TESTS_VIRTIO_BLK_FIXTURE_H
#define VMM_TESTS_VIRTIO_BLK_FIXTURE_H

#include <vmmcore/virtio-blk.h>

#include "lib/blk-driver.h"
#include "unit.h"

#define DISK_BYTES (UINT64_C(4) << 20)
#define DISK_SECTORS (DISK_BYTES / 512)
#define DATA DRIVER_DATA_GPA
#define DATA2 (DRIVER_DATA_GPA + (UINT64_C(2) << 20))

/* What each looped test goes through. */
#define N_VARIANTS 5
extern const struct variant {
	const char *engine;
	struct vmm_blk_file_config file;
	uint64_t features;
	bool on_disk; /* else a memfd */
} variants[N_VARIANTS];

extern struct driver driver;
extern struct vmm_blk_file *file;
extern struct vmm_virtio_blk *blk;
extern int disk_fd;

/* What make_disk() writes at that place. */
uint8_t pattern(uint64_t offset);
int make_disk(bool on_disk, uint64_t size);
/* A started device over disk_fd, with a driver; teardown() takes all of it away. */
void start_with(const struct vmm_blk_file_config *file_config,
	const struct vmm_virtio_blk_config *blk_config, uint64_t features);
/* The same on a new disk. */
void start_variant(int i);
void teardown(void);
void check_disk(uint64_t offset, uint64_t size, const uint8_t *expected);
/* That the disk is as it was made there, or zero. */
void check_disk_is(uint64_t offset, uint64_t size, bool zero);

/* virtio-blk-hostile.c */
void add_hostile_tests(TCase *tcase);

#endif
