/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-blk know of the disk behind it. */
#ifndef VMM_TESTS_TARGET_BLK_H
#define VMM_TESTS_TARGET_BLK_H

#include <stdint.h>

#define BLK_SECTORS 256
#define BLK_MAX_SECTORS (2 * BLK_SECTORS)
#define BLK_SERIAL "conformance"

enum blk_type {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13,
};

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/* Events for target.host(). */
enum blk_host {
	BLK_HOST_FAIL,    /* from now on the disk fails */
	BLK_HOST_FLUSHED, /* whether a flush came */
	BLK_HOST_COMPARE, /* data: 64 bits of sector, then what should be there */
};

/* What the disk holds at first. */
uint8_t blk_pattern(uint64_t sector, unsigned int at);

#endif
