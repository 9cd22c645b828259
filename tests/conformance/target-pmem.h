/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-pmem know of the file behind it. */
#ifndef VMM_TESTS_TARGET_PMEM_H
#define VMM_TESTS_TARGET_PMEM_H

#include <stdint.h>

#define PMEM_GPA UINT64_C(0x40000000)
#define PMEM_BYTES UINT64_C(0x400000)

/* Events for target.host(). */
enum pmem_host {
	PMEM_HOST_WRITE, /* data: a byte, written at the start of the region, as the guest could */
	PMEM_HOST_FILE,  /* data: a byte: whether the file begins with it */
};

#endif
