/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-mem know of its region. */
#ifndef VMM_TESTS_TARGET_MEM_H
#define VMM_TESTS_TARGET_MEM_H

#include <stdint.h>

#define MEM_GPA UINT64_C(0x40000000)
#define MEM_BLOCK UINT64_C(0x200000)
#define MEM_BLOCKS 16
#define MEM_REQUESTED 8 /* blocks at first */

/* Events for target.host(). data: a number of blocks, 64 bits in the machine's byte order. */
enum mem_host {
	MEM_HOST_REQUEST, /* asks the guest to have so many */
	MEM_HOST_PLUGGED, /* whether so many are plugged */
	MEM_HOST_FILL,    /* data: a block: fills it with 0x77, as the guest could */
	MEM_HOST_ZERO,    /* data: a block: whether it reads as zeros */
};

#endif
