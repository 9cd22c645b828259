/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * load: a disk kept busy by a driver (driver.h): many requests at once, in blocks of 4 KiB of
 * which each holds its number and version. Every read is compared with what was written last, so a
 * write that got lost or came twice, behind a later one, is seen. Blocks with a request in
 * flight get no other.
 */
#ifndef VMM_TESTS_VHOST_LOAD_H
#define VMM_TESTS_VHOST_LOAD_H

#include "lib/driver.h"

#define LOAD_BLOCK_BYTES 4096
#define LOAD_BLOCKS 1024
#define LOAD_SLOTS 32
#define LOAD_MAX_QUEUES 4

struct load_slot {
	bool is_busy;
	bool is_write;
	unsigned int block;
	uint64_t sent_nsec;
};

struct load {
	struct driver *driver;
	unsigned int n_queues;
	uint64_t random;
	uint32_t versions[LOAD_BLOCKS];
	bool is_busy[LOAD_BLOCKS];
	struct load_slot slots[LOAD_MAX_QUEUES][LOAD_SLOTS];

	uint64_t n_done, n_reads;
	uint64_t n_errors, n_differences;
	uint64_t longest_nsec;
};

/* The driver is started, the disk holds zeroes. seed: any number but 0. */
void load_init(struct load *load, struct driver *driver, unsigned int n_queues, uint64_t seed);

/* Keeps the disk busy for that long; stops early where nothing completes for 30 s (false). */
bool load_run(struct load *load, uint64_t nsec);

/* Waits for all that is in flight, then reads and compares the whole disk. */
bool load_finish(struct load *load);

#endif
