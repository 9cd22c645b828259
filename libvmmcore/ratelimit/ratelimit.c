/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ratelimit: token buckets in exact arithmetic. A bucket counts in 1 / period_nsec of a token,
 * so that what it gains in a time is rate * time, an integer. Products are 128 bits wide.
 */
#include <vmmcore/ratelimit.h>

#include "base/util.h"

#define NSEC_PER_SEC UINT64_C(1000000000)
#define DEFAULT_BURST_NSEC UINT64_C(10000000)
#define MAX_AMOUNT ((uint64_t)INT64_MAX)

__extension__ typedef unsigned __int128 wide;

static bool bucket_config_valid(const struct vmm_ratelimit_bucket_config *config)
{
	return config->rate <= MAX_AMOUNT && config->period_nsec <= MAX_AMOUNT &&
	       config->burst <= MAX_AMOUNT && config->one_time_burst <= MAX_AMOUNT;
}

static uint64_t default_burst(uint64_t rate, uint64_t period_nsec)
{
	wide tokens = (wide)rate * DEFAULT_BURST_NSEC / period_nsec;

	if (tokens > MAX_AMOUNT)
		return MAX_AMOUNT;
	return tokens ? (uint64_t)tokens : 1;
}

static void bucket_init(struct vmm_ratelimit_bucket *bucket,
	const struct vmm_ratelimit_bucket_config *config, uint64_t now_nsec)
{
	*bucket = (struct vmm_ratelimit_bucket){
		.rate = config->rate,
		.period_nsec = config->period_nsec ? config->period_nsec : NSEC_PER_SEC,
		.one_time = config->one_time_burst,
		.filled_nsec = now_nsec,
	};
	bucket->burst =
		config->burst ? config->burst : default_burst(bucket->rate, bucket->period_nsec);
	bucket->level = (int64_t)bucket->burst;
}

static void bucket_fill(struct vmm_ratelimit_bucket *bucket, uint64_t now_nsec)
{
	wide gain, missing;

	if (now_nsec <= bucket->filled_nsec)
		return;
	gain = (wide)bucket->rate * (now_nsec - bucket->filled_nsec) + bucket->fraction;
	bucket->filled_nsec = now_nsec;
	/* The level may be below zero: the difference needs all 64 bits, unsigned. */
	missing = (wide)(bucket->burst - (uint64_t)bucket->level) * bucket->period_nsec;
	if (gain >= missing) {
		bucket->level = (int64_t)bucket->burst;
		bucket->fraction = 0;
	} else {
		bucket->level += (int64_t)(gain / bucket->period_nsec);
		bucket->fraction = (uint64_t)(gain % bucket->period_nsec);
	}
}

/* 0 where the bucket admits n now, else when it will. Does not take anything. */
static uint64_t bucket_ask(const struct vmm_ratelimit_bucket *bucket, uint64_t n)
{
	uint64_t wanted;
	wide missing, wait_nsec;

	if (bucket->rate == 0 || n <= bucket->one_time)
		return 0;
	wanted = MIN(n - bucket->one_time, bucket->burst);
	if (bucket->level >= (int64_t)wanted)
		return 0;
	missing = (wide)(wanted - (uint64_t)bucket->level) * bucket->period_nsec - bucket->fraction;
	wait_nsec = (missing + bucket->rate - 1) / bucket->rate;
	if (wait_nsec >= UINT64_MAX - bucket->filled_nsec)
		return UINT64_MAX;
	return bucket->filled_nsec + (uint64_t)wait_nsec;
}

static void bucket_pay(struct vmm_ratelimit_bucket *bucket, uint64_t n)
{
	uint64_t once = MIN(n, bucket->one_time);

	if (bucket->rate == 0)
		return;
	bucket->one_time -= once;
	/* Asked before: the level is not negative here, so that this cannot wrap around. */
	bucket->level -= (int64_t)(n - once);
}

static void bucket_give_back(struct vmm_ratelimit_bucket *bucket, uint64_t n)
{
	uint64_t room = bucket->burst - (uint64_t)bucket->level;

	if (bucket->rate == 0)
		return;
	if (n >= room) {
		bucket->level = (int64_t)bucket->burst;
		bucket->fraction = 0;
	} else {
		bucket->level += (int64_t)n;
	}
}

static void bucket_update(struct vmm_ratelimit_bucket *bucket,
	const struct vmm_ratelimit_bucket_config *config, uint64_t now_nsec)
{
	struct vmm_ratelimit_bucket old = *bucket;

	bucket_fill(&old, now_nsec);
	bucket_init(bucket, config, now_nsec);
	if (old.rate == 0)
		return;
	if (old.level < bucket->level) {
		bucket->level = old.level;
		bucket->fraction =
			(uint64_t)((wide)old.fraction * bucket->period_nsec / old.period_nsec);
	}
	bucket->filled_nsec = old.filled_nsec;
}

static const struct vmm_ratelimit_config no_limit;

int vmm_ratelimit_init(
	struct vmm_ratelimit *limiter, const struct vmm_ratelimit_config *config, uint64_t now_nsec)
{
	if (!config)
		config = &no_limit;
	if (!bucket_config_valid(&config->ops) || !bucket_config_valid(&config->bytes))
		return -EINVAL;
	bucket_init(&limiter->ops, &config->ops, now_nsec);
	bucket_init(&limiter->bytes, &config->bytes, now_nsec);
	limiter->refused_until_nsec = 0;
	return 0;
}

int vmm_ratelimit_update(
	struct vmm_ratelimit *limiter, const struct vmm_ratelimit_config *config, uint64_t now_nsec)
{
	if (!config)
		config = &no_limit;
	if (!bucket_config_valid(&config->ops) || !bucket_config_valid(&config->bytes))
		return -EINVAL;
	bucket_update(&limiter->ops, &config->ops, now_nsec);
	bucket_update(&limiter->bytes, &config->bytes, now_nsec);
	limiter->refused_until_nsec = 0;
	return 0;
}

bool vmm_ratelimit_active(const struct vmm_ratelimit *limiter)
{
	return limiter->ops.rate != 0 || limiter->bytes.rate != 0;
}

static uint64_t take_at(
	struct vmm_ratelimit *limiter, uint64_t n_ops, uint64_t n_bytes, uint64_t now_nsec)
{
	uint64_t ops_nsec, bytes_nsec;

	bucket_fill(&limiter->ops, now_nsec);
	bucket_fill(&limiter->bytes, now_nsec);
	ops_nsec = bucket_ask(&limiter->ops, n_ops);
	bytes_nsec = bucket_ask(&limiter->bytes, n_bytes);
	if (ops_nsec || bytes_nsec)
		return MAX(ops_nsec, bytes_nsec);
	bucket_pay(&limiter->ops, n_ops);
	bucket_pay(&limiter->bytes, n_bytes);
	return 0;
}

uint64_t vmm_ratelimit_take(
	struct vmm_ratelimit *limiter, uint64_t n_ops, uint64_t n_bytes, uint64_t now_nsec)
{
	uint64_t refused_nsec = limiter->refused_until_nsec;

	n_ops = MIN(n_ops, MAX_AMOUNT);
	n_bytes = MIN(n_bytes, MAX_AMOUNT);
	limiter->refused_until_nsec = 0;

	/*
	 * A bucket that became full at the deadline gains no more until the request is here, so
	 * each late wake-up would cost a little of the rate. Count from the deadline instead.
	 */
	if (refused_nsec && now_nsec > refused_nsec &&
		now_nsec - refused_nsec <= VMM_RATELIMIT_SLACK_NSEC &&
		take_at(limiter, n_ops, n_bytes, refused_nsec) == 0)
		return 0;
	limiter->refused_until_nsec = take_at(limiter, n_ops, n_bytes, now_nsec);
	return limiter->refused_until_nsec;
}

void vmm_ratelimit_give_back(struct vmm_ratelimit *limiter, uint64_t n_ops, uint64_t n_bytes)
{
	bucket_give_back(&limiter->ops, MIN(n_ops, MAX_AMOUNT));
	bucket_give_back(&limiter->bytes, MIN(n_bytes, MAX_AMOUNT));
}
