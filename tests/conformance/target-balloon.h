/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-balloon know of the host's side. */
#ifndef VMM_TESTS_TARGET_BALLOON_H
#define VMM_TESTS_TARGET_BALLOON_H

#include <stdint.h>

#define BALLOON_PAGES 4096      /* of all memory */
#define BALLOON_FIRST_PAGE 3072 /* pages from here on are the cases' to give away */

/* Events for target.host(). A number is 64 bits in the machine's byte order. */
enum balloon_host {
	BALLOON_HOST_TARGET,    /* data: a number of pages that the guest should give */
	BALLOON_HOST_HAS,       /* whether the host has got data, a number of pages */
	BALLOON_HOST_ACTUAL,    /* whether the guest said that it gave data, a number of pages */
	BALLOON_HOST_REPORTED,  /* whether data, a number of bytes, were reported as free */
	BALLOON_HOST_ASK,       /* asks for statistics; whether that was possible */
	BALLOON_HOST_STATISTIC, /* data: tag and value, numbers: whether that came last */
	BALLOON_HOST_ANSWERS,   /* whether data, a number of answers, came */
	BALLOON_HOST_HINTS,     /* asks for hints; whether that was possible */
	BALLOON_HOST_NO_HINTS,  /* needs no more of them */
	BALLOON_HOST_HINTED,    /* whether data, a number of bytes, were named */
};

#endif
