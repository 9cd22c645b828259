/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ratelimit: admits requests at a given rate of operations and of bytes.
 *
 * Two token buckets that must both agree. Each gains rate tokens a period, holds at most burst
 * of them, and starts full; a one-time burst is spent before the bucket and never refills. A
 * request that is larger than the bucket is admitted when the bucket is full; what it takes too
 * much is a debt that is paid before the next request. A request that one bucket refuses costs
 * nothing in the other.
 *
 * The arithmetic is exact: fractions of a token are kept, so the rate does not drift however
 * often or seldom it is asked. Nor is the rate lost by whoever wakes up late: a request that
 * was refused until a deadline and comes back within VMM_RATELIMIT_SLACK_NSEC of it is counted
 * as if it had come at the deadline.
 *
 * There is no timer, no descriptor and no thread here. Time is a parameter, in nanoseconds of
 * any clock that does not go back (one that does is taken to stand still).
 *
 * Threads: a limiter belongs to one thread at a time.
 */
#ifndef VMMCORE_RATELIMIT_H
#define VMMCORE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_RATELIMIT_SLACK_NSEC UINT64_C(10000000)

/* Amounts are at most INT64_MAX. All zero: no limit. */
struct vmm_ratelimit_bucket_config {
	uint64_t rate;        /* tokens a period; 0: this bucket admits everything */
	uint64_t period_nsec; /* 0: one second */
	uint64_t burst;       /* size of the bucket; 0: what the rate gives in 10 ms, at least 1 */
	uint64_t one_time_burst; /* on top, once */
};

struct vmm_ratelimit_config {
	struct vmm_ratelimit_bucket_config ops;
	struct vmm_ratelimit_bucket_config bytes;
};

/* Private. level + fraction / period_nsec is the number of tokens; a debt is negative. */
struct vmm_ratelimit_bucket {
	uint64_t rate;
	uint64_t period_nsec;
	uint64_t burst;
	uint64_t one_time;
	int64_t level;
	uint64_t fraction;
	uint64_t filled_nsec; /* up to when level is counted */
};

/* Embedded in its owner; owns nothing. All members are private. */
struct vmm_ratelimit {
	struct vmm_ratelimit_bucket ops;
	struct vmm_ratelimit_bucket bytes;
	uint64_t refused_until_nsec; /* the last refusal's deadline, 0: the last one was admitted */
};

/* Starts full at now_nsec. config NULL: no limit. -EINVAL where an amount is too large. */
VMM_PUBLIC int vmm_ratelimit_init(struct vmm_ratelimit *limiter,
	const struct vmm_ratelimit_config *config, uint64_t now_nsec);

/*
 * Changes the limits from now_nsec on. What was earned and what is owed stays, as far as it fits
 * into the new bucket; a bucket that had no limit starts full; the one-time burst is that of
 * config, unspent. Deadlines given out before are void: ask again. -EINVAL changes nothing.
 */
VMM_PUBLIC int vmm_ratelimit_update(struct vmm_ratelimit *limiter,
	const struct vmm_ratelimit_config *config, uint64_t now_nsec);

/* False where everything is admitted, so that the clock need not even be read. */
VMM_PUBLIC bool vmm_ratelimit_active(const struct vmm_ratelimit *limiter);

/*
 * Asks for one request of n_ops operations and n_bytes bytes (each at most INT64_MAX, more is
 * taken as that). Returns 0: it is admitted and paid for. Otherwise nothing was taken, and the
 * result is the time, after now_nsec, at which the same request will be admitted if no other
 * comes in between; UINT64_MAX where that lies beyond the end of the clock.
 */
VMM_PUBLIC uint64_t vmm_ratelimit_take(
	struct vmm_ratelimit *limiter, uint64_t n_ops, uint64_t n_bytes, uint64_t now_nsec);

/* Takes a request back that was admitted and then not carried out. */
VMM_PUBLIC void vmm_ratelimit_give_back(
	struct vmm_ratelimit *limiter, uint64_t n_ops, uint64_t n_bytes);

VMM_END_DECLS

#endif
