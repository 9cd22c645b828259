/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>

#include <vmmcore/ratelimit.h>

#include "base/util.h"
#include "unit.h"

#define SEC UINT64_C(1000000000)
#define MSEC UINT64_C(1000000)
#define START (17 * SEC + 3)

static struct vmm_ratelimit limiter;

static void limit_ops(uint64_t rate, uint64_t burst, uint64_t once)
{
	struct vmm_ratelimit_config config = {
		.ops = { .rate = rate, .burst = burst, .one_time_burst = once },
	};

	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), 0);
}

static void limit_bytes(uint64_t rate, uint64_t burst, uint64_t once)
{
	struct vmm_ratelimit_config config = {
		.bytes = { .rate = rate, .burst = burst, .one_time_burst = once },
	};

	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), 0);
}

static uint64_t take_op(uint64_t now)
{
	return vmm_ratelimit_take(&limiter, 1, 0, now);
}

static uint64_t take_bytes(uint64_t n, uint64_t now)
{
	return vmm_ratelimit_take(&limiter, 1, n, now);
}

START_TEST(without_limit_everything_is_admitted)
{
	ck_assert_int_eq(vmm_ratelimit_init(&limiter, NULL, START), 0);
	ck_assert(!vmm_ratelimit_active(&limiter));
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(vmm_ratelimit_take(&limiter, UINT64_MAX, UINT64_MAX, START), 0);
	vmm_ratelimit_give_back(&limiter, 1, 1);
}
END_TEST

START_TEST(starts_full_and_then_refuses_until_exactly_due)
{
	limit_ops(1000, 5, 0);
	ck_assert(vmm_ratelimit_active(&limiter));
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_eq(take_op(START), START + MSEC);
	ck_assert_uint_eq(take_op(START + MSEC - 1), START + MSEC);
	ck_assert_uint_eq(take_op(START + MSEC), 0);
	ck_assert_uint_eq(take_op(START + MSEC), START + 2 * MSEC);
}
END_TEST

START_TEST(holds_no_more_than_the_burst)
{
	limit_ops(1000, 5, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(take_op(START + 3600 * SEC), 0);
	ck_assert_uint_ne(take_op(START + 3600 * SEC), 0);
}
END_TEST

START_TEST(one_time_burst_is_spent_first_and_never_refills)
{
	uint64_t now = START;

	limit_ops(10, 2, 3);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(take_op(now), 0);
	ck_assert_uint_eq(take_op(now), START + SEC / 10);
	now += 3600 * SEC;
	ck_assert_uint_eq(take_op(now), 0);
	ck_assert_uint_eq(take_op(now), 0);
	ck_assert_uint_ne(take_op(now), 0);
}
END_TEST

START_TEST(one_request_may_be_paid_by_both_bursts)
{
	limit_bytes(1000, 100, 50);
	ck_assert_uint_eq(take_bytes(140, START), 0);
	ck_assert_uint_eq(take_bytes(10, START), 0);
	ck_assert_uint_eq(take_bytes(1, START), START + MSEC);
}
END_TEST

START_TEST(larger_than_the_bucket_passes_when_full_and_leaves_a_debt)
{
	limit_bytes(1000, 100, 0);
	ck_assert_uint_eq(take_bytes(1, START), 0);
	/* 99 of 100: not full, one millisecond is missing. */
	ck_assert_uint_eq(take_bytes(600, START), START + MSEC);
	ck_assert_uint_eq(take_bytes(600, START + MSEC), 0);
	/* 500 are owed; a request of 1 needs 501, one larger than the bucket needs 600. */
	ck_assert_uint_eq(take_bytes(1, START + MSEC), START + 502 * MSEC);
	ck_assert_uint_eq(take_bytes(600, START + MSEC), START + 601 * MSEC);
	ck_assert_uint_eq(take_bytes(600, START + 601 * MSEC), 0);
}
END_TEST

START_TEST(request_of_no_bytes_waits_for_no_bytes)
{
	limit_bytes(1000, 100, 0);
	ck_assert_uint_eq(take_bytes(1000000, START), 0);
	ck_assert_uint_ne(take_bytes(1, START), 0);
	ck_assert_uint_eq(take_bytes(0, START), 0);
}
END_TEST

START_TEST(operation_is_kept_when_bytes_are_refused)
{
	struct vmm_ratelimit_config config = {
		.ops = { .rate = 1, .burst = 2 },
		.bytes = { .rate = 1000, .burst = 10 },
	};

	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), 0);
	ck_assert_uint_eq(take_bytes(10, START), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(take_bytes(10, START), START + 10 * MSEC);
	ck_assert_uint_eq(take_bytes(0, START), 0);
	/* Now both are short: the later deadline counts. */
	ck_assert_uint_eq(take_bytes(10, START), START + SEC);
}
END_TEST

START_TEST(given_back_is_as_if_never_taken)
{
	limit_ops(1, 2, 0);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_ne(take_op(START), 0);
	vmm_ratelimit_give_back(&limiter, 1, 0);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_ne(take_op(START), 0);
	/* More than was taken does not overfill. */
	vmm_ratelimit_give_back(&limiter, UINT64_MAX, UINT64_MAX);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_ne(take_op(START), 0);
}
END_TEST

/* 3 tokens in 7 ns: each poll gains a fraction, none may be lost or won. */
START_TEST(fractions_do_not_drift)
{
	struct vmm_ratelimit_config config = {
		.ops = { .rate = 3, .period_nsec = 7, .burst = 1000000 },
	};
	uint64_t now = START, n = 0;

	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), 0);
	ck_assert_uint_eq(vmm_ratelimit_take(&limiter, 1000000, 0, START), 0);
	for (int i = 0; i < 700000; i++) {
		now++;
		while (take_op(now) == 0)
			n++;
		ck_assert_uint_eq(n, (now - START) * 3 / 7);
	}
}
END_TEST

/* Whoever always comes at the deadline gets exactly the rate, at any rate. */
START_TEST(rate_is_exact_over_ten_seconds)
{
	static const uint64_t rates[] = { 1, 7, 999, 2000, 12345, 99991 };
	static const uint64_t late_nsec[] = { 0, 1, 50000, 900000 };

	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(late_nsec); j++) {
			uint64_t now = START, n = 0, burst = MAX(rates[i] / 100, UINT64_C(1));
			uint64_t expected = rates[i] * 10 + burst;

			limit_ops(rates[i], 0, 0);
			while (now <= START + 10 * SEC) {
				uint64_t due = take_op(now);

				if (due == 0)
					n++;
				else
					now = due + late_nsec[j];
			}
			ck_assert_uint_le(n, expected);
			/* The last deadline may lie behind the end. */
			ck_assert_uint_ge(n + 1 + rates[i] * late_nsec[j] / SEC, expected);
		}
	}
}
END_TEST

START_TEST(late_request_larger_than_the_bucket_loses_nothing)
{
	uint64_t now = START, bytes = 0;

	limit_bytes(1000000, 1000, 0);
	while (now < START + 10 * SEC) {
		uint64_t due = take_bytes(65536, now);

		if (due == 0)
			bytes += 65536;
		else
			now = due + 700000;
	}
	ck_assert_uint_ge(bytes, 10000000 - 65536);
	ck_assert_uint_le(bytes, 10000000 + 65536 + 1000);
}
END_TEST

START_TEST(very_late_request_gets_no_credit)
{
	limit_ops(1000, 1, 0);
	ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_eq(take_op(START), START + MSEC);
	ck_assert_uint_eq(take_op(START + MSEC + VMM_RATELIMIT_SLACK_NSEC + 1), 0);
	ck_assert_uint_ne(take_op(START + MSEC + VMM_RATELIMIT_SLACK_NSEC + 1), 0);
}
END_TEST

START_TEST(update_takes_effect_at_once)
{
	struct vmm_ratelimit_config config = { .ops = { .rate = 100, .burst = 10 } };

	limit_ops(1000, 10, 0);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(take_op(START), 0);
	ck_assert_uint_eq(take_op(START), START + MSEC);
	/* Half a token earned at the old rate, half of one to wait for at the new. */
	ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START + MSEC / 2), 0);
	ck_assert_uint_eq(take_op(START + MSEC / 2), START + MSEC / 2 + 5 * MSEC);

	config.ops.burst = 3;
	config.ops.one_time_burst = 4;
	ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START + 3600 * SEC), 0);
	for (int i = 0; i < 7; i++)
		ck_assert_uint_eq(take_op(START + 3600 * SEC), 0);
	ck_assert_uint_eq(take_op(START + 3600 * SEC), START + 3600 * SEC + 10 * MSEC);

	ck_assert_int_eq(vmm_ratelimit_update(&limiter, NULL, START + 3600 * SEC), 0);
	ck_assert(!vmm_ratelimit_active(&limiter));
	ck_assert_uint_eq(take_op(START + 3600 * SEC), 0);

	ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START + 7200 * SEC), 0);
	for (int i = 0; i < 7; i++)
		ck_assert_uint_eq(take_op(START + 7200 * SEC), 0);
	ck_assert_uint_ne(take_op(START + 7200 * SEC), 0);
}
END_TEST

START_TEST(debt_survives_an_update)
{
	struct vmm_ratelimit_config config = { .bytes = { .rate = 2000, .burst = 100 } };

	limit_bytes(1000, 100, 0);
	ck_assert_uint_eq(take_bytes(1100, START), 0);
	ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START), 0);
	ck_assert_uint_eq(take_bytes(100, START), START + 550 * MSEC);
}
END_TEST

START_TEST(hostile_amounts)
{
	static const uint64_t large[] = { UINT64_MAX, (uint64_t)INT64_MAX + 1 };
	struct vmm_ratelimit_config config;
	uint64_t due;

	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		limit_ops(1, 1, 0);
		config = (struct vmm_ratelimit_config){ .ops.rate = large[i] };
		ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), -EINVAL);
		ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START), -EINVAL);
		config = (struct vmm_ratelimit_config){ .bytes = { 1, large[i], 1, 1 } };
		ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START), -EINVAL);
		config = (struct vmm_ratelimit_config){ .bytes = { 1, 1, large[i], 1 } };
		ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START), -EINVAL);
		config = (struct vmm_ratelimit_config){ .ops = { 1, 1, 1, large[i] } };
		ck_assert_int_eq(vmm_ratelimit_update(&limiter, &config, START), -EINVAL);
		/* A refused update changes nothing. */
		ck_assert_uint_eq(take_op(START), 0);
		ck_assert_uint_eq(take_op(START), START + SEC);
	}

	/* The largest request leaves the largest debt, paid at the largest rate. */
	config = (struct vmm_ratelimit_config){ .bytes = { INT64_MAX, 1, INT64_MAX, INT64_MAX } };
	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, 0), 0);
	ck_assert_uint_eq(take_bytes(UINT64_MAX, 0), 0);
	ck_assert_uint_eq(take_bytes(UINT64_MAX, 0), 0);
	ck_assert_uint_eq(take_bytes(UINT64_MAX, 0), 1);
	ck_assert_uint_eq(take_bytes(UINT64_MAX, UINT64_MAX), 0);

	/* The slowest bucket and the end of the clock. */
	config = (struct vmm_ratelimit_config){ .bytes = { 1, INT64_MAX, 1, 0 } };
	ck_assert_int_eq(vmm_ratelimit_init(&limiter, &config, START), 0);
	ck_assert_uint_eq(take_bytes(UINT64_MAX, START), 0);
	ck_assert_uint_eq(take_bytes(1, START), UINT64_MAX);
	due = take_bytes(1, UINT64_MAX);
	ck_assert_uint_eq(due, UINT64_MAX);
}
END_TEST

START_TEST(clock_that_goes_back_stands_still)
{
	limit_ops(1000, 1, 0);
	ck_assert_uint_eq(take_op(START + SEC), 0);
	ck_assert_uint_eq(take_op(START), START + SEC + MSEC);
	ck_assert_uint_eq(take_op(0), START + SEC + MSEC);
	ck_assert_uint_eq(take_op(START + SEC + MSEC), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ratelimit");
	TCase *tcase = unit_case(suite, "ratelimit");

	tcase_add_test(tcase, without_limit_everything_is_admitted);
	tcase_add_test(tcase, starts_full_and_then_refuses_until_exactly_due);
	tcase_add_test(tcase, holds_no_more_than_the_burst);
	tcase_add_test(tcase, one_time_burst_is_spent_first_and_never_refills);
	tcase_add_test(tcase, one_request_may_be_paid_by_both_bursts);
	tcase_add_test(tcase, larger_than_the_bucket_passes_when_full_and_leaves_a_debt);
	tcase_add_test(tcase, request_of_no_bytes_waits_for_no_bytes);
	tcase_add_test(tcase, operation_is_kept_when_bytes_are_refused);
	tcase_add_test(tcase, given_back_is_as_if_never_taken);
	tcase_add_test(tcase, fractions_do_not_drift);
	tcase_add_test(tcase, rate_is_exact_over_ten_seconds);
	tcase_add_test(tcase, late_request_larger_than_the_bucket_loses_nothing);
	tcase_add_test(tcase, very_late_request_gets_no_credit);
	tcase_add_test(tcase, update_takes_effect_at_once);
	tcase_add_test(tcase, debt_survives_an_update);
	tcase_add_test(tcase, hostile_amounts);
	tcase_add_test(tcase, clock_that_goes_back_stands_still);
	return unit_run(suite);
}
