/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fake-kernel: an ioctl() in place of libc's, with a vhost and a queue of a tap behind each of some
 * descriptors, which remember what they were told. It takes the descriptors for what they are by
 * their inodes, so that duplicates are the same thing.
 *
 * Threads: any; what is read here while a device lives, between lock and unlock.
 */
#ifndef VMM_TESTS_FAKE_KERNEL_H
#define VMM_TESTS_FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_PAIRS 3

/* By pair; what it has of each queue: receive, transmit. */
extern struct fake_vhost {
	ino_t inode;
	bool is_owned;
	uint64_t features;
	unsigned int n_regions;
	bool has_kick[2];
	ino_t backends[2]; /* 0: none */
	uint64_t desc[2];  /* addresses of the monitor */
	uint32_t bases[2];
} fake_vhosts[FAKE_PAIRS];

extern struct fake_tap {
	ino_t inode;
	bool is_attached;
} fake_taps[FAKE_PAIRS];

/* The tap's queue is attached, as it is once it was made. */
void fake_kernel_add(unsigned int pair, int vhost_fd, int tap_fd);

/*
 * From now on this request of the pair fails with EIO, IFF_ATTACH_QUEUE being the half of
 * TUNSETQUEUE. NULL: none does.
 */
void fake_kernel_fail(const char *request, unsigned int pair);

void fake_kernel_lock(void);
void fake_kernel_unlock(void);

#endif
