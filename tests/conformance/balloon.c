/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-balloon, 5.5. */
#include "conformance.h"
#include "target-balloon.h"

#define F_STATS (UINT64_C(1) << 1)
#define F_FREE_PAGE_HINT (UINT64_C(1) << 3)
#define F_PAGE_POISON (UINT64_C(1) << 4)
#define F_PAGE_REPORTING (UINT64_C(1) << 5)
#define ALL_DEVICE UINT64_C(0xffffff)
#define PAGE UINT64_C(4096)

/* 5.5.2: queues. */
#define INFLATE 0
#define DEFLATE 1
#define STATS 2
#define HINTS 3
#define REPORTING 4

/* Configuration space, 5.5.4. */
#define CONFIG_NUM_PAGES 0
#define CONFIG_ACTUAL 4
#define CONFIG_HINT_ID 8
#define CONFIG_POISON 12

#define HINT_STOP 0
#define HINT_DONE 1

static void begin_without(struct conf *c, uint64_t features)
{
	uint64_t wanted = ALL_DEVICE & ~features;

	if (c->packed) {
		needs(c, F_PACKED, "packed ring");
		wanted |= F_PACKED;
	}
	CHECK(vdriver_start(&c->d, wanted, 5, 64));
}

static uint32_t config32(struct conf *c, uint64_t offset)
{
	return machine_read32(c->m, c->d.device + offset);
}

static bool host(struct conf *c, enum balloon_host event, uint64_t number)
{
	return c->target->host(event, &number, sizeof(number));
}

static void transfer(struct conf *c, uint16_t queue, const void *data, uint32_t size)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, size), size, false };
	uint32_t len;

	memcpy(c->m->ram + buffer.gpa, data, size);
	CHECK(vdriver_transfer(&c->d, queue, &buffer, 1, &len));
	CHECK(len == 0);
}

static void give(struct conf *c, uint32_t first, uint32_t n)
{
	uint32_t pages[64];

	for (uint32_t i = 0; i < n; i++)
		pages[i] = BALLOON_FIRST_PAGE + first + i;
	transfer(c, INFLATE, pages, n * 4);
}

static uint8_t *page(struct conf *c, uint32_t index)
{
	return c->m->ram + (BALLOON_FIRST_PAGE + index) * PAGE;
}

/* ---- cases ---- */

static void five_queues(struct conf *c)
{
	for (uint16_t i = 0; i < 5; i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_max(&c->d) > 0);
	}
	vdriver_select(&c->d, 5);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void poison_needs_a_feature_that_uses_it(struct conf *c)
{
	uint64_t offered = vdriver_offered(&c->d);

	CHECK(offered & F_STATS);
	if (offered & F_PAGE_POISON)
		CHECK(offered & (F_FREE_PAGE_HINT | F_PAGE_REPORTING));
}

static void target_in_the_configuration(struct conf *c)
{
	begin_without(c, 0);
	CHECK(config32(c, CONFIG_NUM_PAGES) == 0);
	vdriver_config_interrupts(&c->d);
	CHECK(host(c, BALLOON_HOST_TARGET, 300));
	settle(c);
	CHECK(config32(c, CONFIG_NUM_PAGES) == 300);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	/* The same again is no change. */
	CHECK(host(c, BALLOON_HOST_TARGET, 300));
	settle(c);
	CHECK(vdriver_config_interrupts(&c->d) == 0);
}

static void target_cannot_be_written(struct conf *c)
{
	begin_without(c, 0);
	CHECK(host(c, BALLOON_HOST_TARGET, 5));
	machine_write32(c->m, c->d.device + CONFIG_NUM_PAGES, 77);
	CHECK(config32(c, CONFIG_NUM_PAGES) == 5);
}

static void actual_can_be_written(struct conf *c)
{
	begin_without(c, 0);
	machine_write32(c->m, c->d.device + CONFIG_ACTUAL, 40);
	CHECK(config32(c, CONFIG_ACTUAL) == 40);
	CHECK(host(c, BALLOON_HOST_ACTUAL, 40));
	machine_write32(c->m, c->d.device + CONFIG_ACTUAL, 0);
	CHECK(host(c, BALLOON_HOST_ACTUAL, 0));
}

/* It reads back, but nothing on the host's side underflows or grows beyond the memory. */
static void actual_beyond_the_memory(struct conf *c)
{
	begin_without(c, 0);
	machine_write32(c->m, c->d.device + CONFIG_ACTUAL, UINT32_MAX);
	CHECK(config32(c, CONFIG_ACTUAL) == UINT32_MAX);
	CHECK(host(c, BALLOON_HOST_ACTUAL, BALLOON_PAGES));
	works(c);
}

static void inflates(struct conf *c)
{
	begin_without(c, 0);
	for (uint32_t i = 0; i < 21; i++)
		memset(page(c, i), 0x77, PAGE);
	give(c, 0, 20);
	CHECK(host(c, BALLOON_HOST_HAS, 20));
	/* Anonymous memory and a memfd read as zeros when they were given back. */
	for (uint32_t i = 0; i < 20; i++)
		CHECK(page(c, i)[0] == 0 && page(c, i)[PAGE - 1] == 0);
	CHECK(page(c, 20)[0] == 0x77);
}

static void inflates_in_any_order(struct conf *c)
{
	static const uint32_t order[] = { 9, 3, 4, 5, 8, 7, 1, 20, 19, 30 };
	uint32_t pages[10];

	begin_without(c, 0);
	for (uint32_t i = 0; i < 40; i++)
		memset(page(c, i), 0x77, PAGE);
	for (unsigned int i = 0; i < 10; i++)
		pages[i] = BALLOON_FIRST_PAGE + order[i];
	transfer(c, INFLATE, pages, sizeof(pages));
	CHECK(host(c, BALLOON_HOST_HAS, 10));
	for (uint32_t i = 0; i < 40; i++) {
		bool given = false;

		for (unsigned int j = 0; j < 10; j++)
			given |= order[j] == i;
		CHECK(page(c, i)[100] == (given ? 0 : 0x77));
	}
}

static void a_page_counts_once(struct conf *c)
{
	begin_without(c, 0);
	give(c, 0, 10);
	give(c, 5, 10);
	CHECK(host(c, BALLOON_HOST_HAS, 15));
}

static void deflates(struct conf *c)
{
	uint32_t pages[4];

	begin_without(c, 0);
	give(c, 0, 20);
	for (uint32_t i = 0; i < 4; i++)
		pages[i] = BALLOON_FIRST_PAGE + i;
	transfer(c, DEFLATE, pages, sizeof(pages));
	CHECK(host(c, BALLOON_HOST_HAS, 16));
	/* Taking back what was not given changes nothing. */
	transfer(c, DEFLATE, pages, sizeof(pages));
	CHECK(host(c, BALLOON_HOST_HAS, 16));
	memset(page(c, 0), 0x55, PAGE);
	CHECK(page(c, 0)[77] == 0x55);
}

static void pages_that_are_no_memory(struct conf *c)
{
	static const uint32_t pages[] = { BALLOON_PAGES, UINT32_MAX, 0x80000000,
		BALLOON_FIRST_PAGE };

	begin_without(c, 0);
	transfer(c, INFLATE, pages, sizeof(pages));
	CHECK(host(c, BALLOON_HOST_HAS, 1));
	transfer(c, DEFLATE, pages, sizeof(pages));
	CHECK(host(c, BALLOON_HOST_HAS, 0));
	works(c);
}

static void a_part_of_a_number(struct conf *c)
{
	uint32_t pages[3] = { BALLOON_FIRST_PAGE, BALLOON_FIRST_PAGE + 1, BALLOON_FIRST_PAGE + 2 };

	begin_without(c, 0);
	transfer(c, INFLATE, pages, 11);
	CHECK(host(c, BALLOON_HOST_HAS, 2));
}

static void reset_empties_the_balloon(struct conf *c)
{
	begin_without(c, 0);
	give(c, 0, 20);
	machine_write32(c->m, c->d.device + CONFIG_ACTUAL, 20);
	CHECK(vdriver_reset(&c->d));
	settle(c);
	CHECK(host(c, BALLOON_HOST_HAS, 0) && host(c, BALLOON_HOST_ACTUAL, 0));
	CHECK(config32(c, CONFIG_ACTUAL) == 0);
}

/* A statistics buffer with two entries. */
static void offer_stats(struct conf *c, uint16_t tag, uint64_t value)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, 20), 20, false };
	uint8_t *at = c->m->ram + buffer.gpa;
	uint16_t unknown = 0x7777;

	memset(at, 0xff, 20);
	memcpy(at, &unknown, 2);
	memcpy(at + 10, &tag, 2);
	memcpy(at + 12, &value, 8);
	vdriver_send(&c->d, STATS, &buffer, 1);
	settle(c);
}

static bool statistic(struct conf *c, uint64_t tag, uint64_t value)
{
	uint64_t numbers[2] = { tag, value };

	return c->target->host(BALLOON_HOST_STATISTIC, numbers, sizeof(numbers));
}

static bool stats_used(struct conf *c)
{
	uint32_t id, len;

	settle(c);
	return vring_get_used(c->d.rings[STATS], &id, &len);
}

static void statistics(struct conf *c)
{
	needs(c, F_STATS, "statistics");
	begin_without(c, 0);
	CHECK(!host(c, BALLOON_HOST_ASK, 0));
	offer_stats(c, 5, 123456789);
	/* 5.5.6.3: the device keeps the buffer until it wants new ones. */
	CHECK(!stats_used(c));
	CHECK(host(c, BALLOON_HOST_ASK, 0));
	CHECK(stats_used(c));
	CHECK(host(c, BALLOON_HOST_ANSWERS, 0));
	offer_stats(c, 5, UINT64_MAX - 5);
	CHECK(host(c, BALLOON_HOST_ANSWERS, 1));
	CHECK(statistic(c, 5, UINT64_MAX - 5));
	CHECK(statistic(c, 4, UINT64_MAX));
	CHECK(!stats_used(c));
}

static void one_request_for_statistics_at_a_time(struct conf *c)
{
	needs(c, F_STATS, "statistics");
	begin_without(c, 0);
	offer_stats(c, 0, 1);
	CHECK(host(c, BALLOON_HOST_ASK, 0));
	CHECK(!host(c, BALLOON_HOST_ASK, 0));
	offer_stats(c, 0, 2);
	CHECK(host(c, BALLOON_HOST_ASK, 0));
	offer_stats(c, 9, 3);
	CHECK(host(c, BALLOON_HOST_ANSWERS, 2));
	CHECK(statistic(c, 9, 3) && statistic(c, 0, UINT64_MAX));
}

static void reports(struct conf *c)
{
	struct vring_buffer buffers[2];
	uint32_t len;

	needs(c, F_PAGE_REPORTING, "reporting");
	begin_without(c, 0);
	for (uint32_t i = 0; i < 32; i++)
		memset(page(c, i), 0x77, PAGE);
	buffers[0] = (struct vring_buffer){ (BALLOON_FIRST_PAGE + 0) * PAGE, 8 * PAGE, true };
	buffers[1] = (struct vring_buffer){ (BALLOON_FIRST_PAGE + 16) * PAGE, 2 * PAGE, true };
	CHECK(vdriver_transfer(&c->d, REPORTING, buffers, 2, &len));
	CHECK(host(c, BALLOON_HOST_REPORTED, 10 * PAGE));
	CHECK(page(c, 0)[0] == 0 && page(c, 7)[PAGE - 1] == 0);
	CHECK(page(c, 8)[0] == 0x77 && page(c, 15)[PAGE - 1] == 0x77);
	CHECK(page(c, 16)[0] == 0 && page(c, 18)[0] == 0x77);
	/* They stay the guest's: the balloon is as large as before. */
	CHECK(host(c, BALLOON_HOST_HAS, 0));
}

static void reporting_that_was_not_negotiated(struct conf *c)
{
	struct vring_buffer buffer = { BALLOON_FIRST_PAGE * PAGE, 8 * PAGE, true };

	needs(c, F_PAGE_REPORTING, "reporting");
	begin_without(c, F_PAGE_REPORTING | F_FREE_PAGE_HINT | F_STATS);
	memset(page(c, 0), 0x77, PAGE);
	for (uint16_t queue = STATS; queue <= REPORTING; queue++)
		vdriver_send(&c->d, queue, &buffer, 1);
	settle(c);
	CHECK(page(c, 0)[0] == 0x77);
	CHECK(host(c, BALLOON_HOST_REPORTED, 0));
	works(c);
}

static void hint(struct conf *c, uint64_t gpa, uint32_t size)
{
	struct vring_buffer buffer = { gpa, size, true };
	uint32_t len;

	CHECK(vdriver_transfer(&c->d, HINTS, &buffer, 1, &len));
}

static void hints(struct conf *c)
{
	uint32_t id, stop = HINT_STOP;

	needs(c, F_FREE_PAGE_HINT, "hints");
	begin_without(c, 0);
	CHECK(config32(c, CONFIG_HINT_ID) == HINT_STOP);
	vdriver_config_interrupts(&c->d);
	CHECK(host(c, BALLOON_HOST_HINTS, 0));
	settle(c);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	id = config32(c, CONFIG_HINT_ID);
	CHECK(id != HINT_STOP && id != HINT_DONE);
	/* Before its id was said, a hint is for nothing. */
	hint(c, BALLOON_FIRST_PAGE * PAGE, 2 * PAGE);
	CHECK(host(c, BALLOON_HOST_HINTED, 0));
	transfer(c, HINTS, &id, 4);
	hint(c, BALLOON_FIRST_PAGE * PAGE, 2 * PAGE);
	hint(c, (BALLOON_FIRST_PAGE + 9) * PAGE, PAGE);
	CHECK(host(c, BALLOON_HOST_HINTED, 3 * PAGE));
	transfer(c, HINTS, &stop, 4);
	hint(c, BALLOON_FIRST_PAGE * PAGE, 2 * PAGE);
	CHECK(host(c, BALLOON_HOST_HINTED, 3 * PAGE));
	CHECK(host(c, BALLOON_HOST_NO_HINTS, 0));
	CHECK(config32(c, CONFIG_HINT_ID) == HINT_DONE);
	CHECK(host(c, BALLOON_HOST_HINTS, 0));
	CHECK(config32(c, CONFIG_HINT_ID) != id);
}

static void hints_for_another_request(struct conf *c)
{
	uint32_t id;

	needs(c, F_FREE_PAGE_HINT, "hints");
	begin_without(c, 0);
	CHECK(host(c, BALLOON_HOST_HINTS, 0));
	id = config32(c, CONFIG_HINT_ID);
	CHECK(host(c, BALLOON_HOST_HINTS, 0));
	transfer(c, HINTS, &id, 4);
	hint(c, BALLOON_FIRST_PAGE * PAGE, 2 * PAGE);
	CHECK(host(c, BALLOON_HOST_HINTED, 0));
}

static void poison_value(struct conf *c)
{
	needs(c, F_PAGE_POISON, "poison");
	begin_without(c, 0);
	machine_write32(c->m, c->d.device + CONFIG_POISON, 0xaaaaaaaa);
	CHECK(config32(c, CONFIG_POISON) == 0xaaaaaaaa);
}

#define BALLOON(clause, text, run)                                                                 \
	{                                                                                          \
		clause, text, run, ANY, 5                                                          \
	}

static const struct conf_case cases[] = {
	BALLOON("5.5.2", "queues at their fixed indexes", five_queues),
	BALLOON("5.5.3", "poison only with a feature that uses it",
		poison_needs_a_feature_that_uses_it),
	BALLOON("5.5.4", "num_pages follows the target", target_in_the_configuration),
	BALLOON("5.5.4", "num_pages is read-only", target_cannot_be_written),
	BALLOON("5.5.4", "actual is the driver's", actual_can_be_written),
	BALLOON("5.5.4", "actual beyond the memory", actual_beyond_the_memory),
	BALLOON("5.5.4", "poison_value is the driver's", poison_value),
	BALLOON("5.5.6", "inflates", inflates),
	BALLOON("5.5.6", "inflates in any order", inflates_in_any_order),
	BALLOON("5.5.6", "a page counts once", a_page_counts_once),
	BALLOON("5.5.6", "deflates", deflates),
	BALLOON("5.5.6.2", "pages that are no memory", pages_that_are_no_memory),
	BALLOON("5.5.6", "a part of a page number", a_part_of_a_number),
	BALLOON("5.5.6", "a reset empties the balloon", reset_empties_the_balloon),
	BALLOON("5.5.6.3", "statistics when asked for", statistics),
	BALLOON("5.5.6.3", "one request for statistics at a time",
		one_request_for_statistics_at_a_time),
	BALLOON("5.5.6.5", "hints belong to a request", hints),
	BALLOON("5.5.6.5", "hints for an older request", hints_for_another_request),
	BALLOON("5.5.6.7", "reported pages go", reports),
	BALLOON("5.5.6.7", "queues without their feature", reporting_that_was_not_negotiated),
};

const struct conf_group balloon_group = CONF_GROUP(cases);
