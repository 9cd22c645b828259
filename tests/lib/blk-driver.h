/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* blk-driver: block requests (VIRTIO 1.2, 5.2.6) as a driver makes them, for tests. */
#ifndef VMM_TESTS_BLK_DRIVER_H
#define VMM_TESTS_BLK_DRIVER_H

#include <string.h>

#include "lib/driver.h"

enum {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13,
};

enum {
	BLK_OK = 0,
	BLK_IOERR = 1,
	BLK_UNSUPP = 2,
	BLK_NO_STATUS = 0xee,
};

#define BLK_HEADER_GPA (DRIVER_DATA_GPA - 4096)
#define BLK_INDIRECT_GPA (DRIVER_DATA_GPA - 65536)

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};

/* Header and status of request slot i. */
static inline uint64_t blk_header_gpa(unsigned int slot)
{
	return BLK_HEADER_GPA + slot * 32;
}

static inline uint8_t *blk_status(struct driver *driver, unsigned int slot)
{
	return driver->ram + blk_header_gpa(slot) + 16;
}

/*
 * Makes a request available: header, data pieces, status. indirect: through a table. Returns the
 * id of the chain.
 */
static inline uint16_t blk_start(struct driver *driver, unsigned int queue, unsigned int slot,
	uint32_t type, uint64_t sector, const struct vring_buffer *data, size_t n_data,
	bool indirect)
{
	struct blk_header header = { .type = type, .sector = sector };
	struct vring_buffer buffers[1100];
	size_t n = 0;

	memcpy(driver->ram + blk_header_gpa(slot), &header, sizeof(header));
	*blk_status(driver, slot) = BLK_NO_STATUS;
	buffers[n++] = (struct vring_buffer){ .gpa = blk_header_gpa(slot), .len = 16 };
	for (size_t i = 0; i < n_data; i++)
		buffers[n++] = data[i];
	buffers[n++] = (struct vring_buffer){
		.gpa = blk_header_gpa(slot) + 16,
		.len = 1,
		.write = true,
	};
	return driver_add(driver, queue, buffers, n, indirect ? BLK_INDIRECT_GPA : 0);
}

/* One request on queue 0 from start to end. Returns its status, or BLK_NO_STATUS. */
static inline uint8_t blk_do(struct driver *driver, uint32_t type, uint64_t sector,
	const struct vring_buffer *data, size_t n_data, uint32_t *ret_len)
{
	uint16_t id = blk_start(driver, 0, 0, type, sector, data, n_data, false);
	uint32_t used_id;

	if (!driver_wait_used(driver, 0, &used_id, ret_len) || used_id != id)
		return BLK_NO_STATUS;
	return *blk_status(driver, 0);
}

static inline uint8_t blk_read(struct driver *driver, uint64_t sector, uint64_t gpa, uint32_t size)
{
	struct vring_buffer data = { .gpa = gpa, .len = size, .write = true };

	return blk_do(driver, BLK_IN, sector, &data, 1, NULL);
}

static inline uint8_t blk_write(struct driver *driver, uint64_t sector, uint64_t gpa, uint32_t size)
{
	struct vring_buffer data = { .gpa = gpa, .len = size };

	return blk_do(driver, BLK_OUT, sector, &data, 1, NULL);
}

static inline uint8_t blk_ranges(
	struct driver *driver, uint32_t type, const struct blk_range *ranges, unsigned int n)
{
	struct vring_buffer data = {
		.gpa = DRIVER_DATA_GPA - 8192,
		.len = n * (uint32_t)sizeof(ranges[0]),
	};

	memcpy(driver->ram + data.gpa, ranges, data.len);
	return blk_do(driver, type, 0, &data, 1, NULL);
}

#endif
