/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: notifications and their suppression, both ways: 2.3, 2.7.7, 2.7.10, 2.8.10. */
#include "conformance.h"

static unsigned int interrupts(struct conf *c)
{
	return vdriver_queue_interrupts(&c->d, c->target->work_queue);
}

/* Adds a request without a kick. */
static void add(struct conf *c)
{
	struct vring_buffer buffers[8];

	vring_add(work_ring(c), buffers, prepare(c, buffers, 0));
}

static void kick(struct conf *c)
{
	vdriver_kick(&c->d, c->target->work_queue);
}

static void used_buffer_interrupts(struct conf *c)
{
	start(c, 0);
	interrupts(c);
	works(c);
	CHECK(interrupts(c) == 1);
}

static void no_interrupt_without_used_buffer(struct conf *c)
{
	start(c, 0);
	works(c);
	interrupts(c);
	for (int i = 0; i < 5; i++) {
		kick(c);
		settle(c);
	}
	CHECK(interrupts(c) == 0);
}

static void interrupts_can_be_switched_off(struct conf *c)
{
	start(c, 0);
	vring_set_interrupts(work_ring(c), false);
	interrupts(c);
	for (int i = 0; i < 5; i++)
		works(c);
	CHECK(interrupts(c) == 0);
	vring_set_interrupts(work_ring(c), true);
	works(c);
	CHECK(interrupts(c) == 1);
}

/* With the event index negotiated, the flag of a split ring has no meaning (2.7.7.2). */
static void flag_is_ignored_with_event_index(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start(c, F_EVENT_IDX);
	vring_set_interrupts(work_ring(c), false);
	vring_set_used_event(work_ring(c), 0, true);
	interrupts(c);
	works(c);
	CHECK(interrupts(c) == 1);
}

static void set_event(struct conf *c, unsigned int ahead)
{
	struct vring *ring = work_ring(c);
	unsigned int at = ring->packed ? ring->next_used + ahead : ring->last_used + ahead;

	if (ring->packed)
		vring_set_used_event(ring, (uint16_t)(at % ring->size),
			at >= ring->size ? !ring->used_wrap : ring->used_wrap);
	else
		vring_set_used_event(ring, (uint16_t)at, false);
}

static void event_for_the_next(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start_size(c, F_EVENT_IDX, 8);
	interrupts(c);
	for (int i = 0; i < 40; i++) {
		set_event(c, 0);
		works(c);
		CHECK(interrupts(c) == 1);
	}
}

static void event_that_passed_is_silent(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start_size(c, F_EVENT_IDX, 64);
	set_event(c, 0);
	works(c);
	interrupts(c);
	for (int i = 0; i < 5; i++)
		works(c);
	CHECK(interrupts(c) == 0);
}

static void event_for_a_later_one(struct conf *c)
{
	struct vring_buffer buffers[8];
	unsigned int n_slots;

	needs(c, F_EVENT_IDX, "event index");
	start_size(c, F_EVENT_IDX, 64);
	interrupts(c);
	n_slots = c->packed ? (unsigned int)prepare(c, buffers, 0) : 1;
	for (int round = 0; round < 20; round++) {
		set_event(c, 3 * n_slots);
		for (int i = 0; i < 3; i++) {
			works(c);
			CHECK(interrupts(c) == 0);
		}
		works(c);
		CHECK(interrupts(c) == 1);
	}
}

/* A packed ring's driver may use flags only, although the event index was negotiated. */
static void flags_work_with_event_index(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start(c, F_EVENT_IDX);
	vring_set_interrupts(work_ring(c), false);
	interrupts(c);
	works(c);
	CHECK(interrupts(c) == 0);
	vring_set_interrupts(work_ring(c), true);
	works(c);
	CHECK(interrupts(c) == 1);
}

static void fresh_queue_wants_kicks(struct conf *c)
{
	start(c, 0);
	settle(c);
	CHECK(vring_kick_wanted(work_ring(c), false, 1));
}

/* Whoever looks at what the device asks for, and kicks only then, gets everything done. */
static void polite_driver(struct conf *c, uint64_t features)
{
	struct vring_buffer buffers[8];
	uint32_t id, len;

	start_size(c, features, 32);
	for (int round = 0; round < 200; round++) {
		unsigned int n_sent = 1 + (unsigned int)round % 4;

		for (unsigned int i = 0; i < n_sent; i++) {
			size_t n = prepare(c, buffers, 0);

			vring_add(work_ring(c), buffers, n);
			if (vring_kick_wanted(work_ring(c), features & F_EVENT_IDX,
				    (uint16_t)(c->packed ? n : 1)))
				kick(c);
		}
		for (; n_sent > 0; n_sent--)
			CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
		if (c->d.next_gpa > c->m->ram_bytes / 2)
			c->d.next_gpa = c->m->ram_bytes / 4;
	}
}

static void kicks_by_flag(struct conf *c)
{
	polite_driver(c, 0);
}

static void kicks_by_event_index(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	polite_driver(c, F_EVENT_IDX);
}

static void used_flags_are_0_with_event_index(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	start(c, F_EVENT_IDX);
	for (int i = 0; i < 5; i++) {
		works(c);
		CHECK(work_ring(c)->used[0] == 0);
	}
}

static void device_event_flags_are_valid(struct conf *c)
{
	bool event_idx = vdriver_offered(&c->d) & F_EVENT_IDX;

	for (int with = 0; with <= event_idx; with++) {
		start(c, with ? F_EVENT_IDX : 0);
		for (int i = 0; i < 5; i++) {
			works(c);
			CHECK(work_ring(c)->device_event[1] <= (with ? 2 : 1));
		}
	}
}

/* A kick that was not asked for does no harm. */
static void kicks_without_need(struct conf *c)
{
	start(c, 0);
	for (int i = 0; i < 100; i++)
		kick(c);
	settle(c);
	works(c);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
}

static void kick_of_an_absent_queue(struct conf *c)
{
	start(c, 0);
	if (c->d.pci) {
		machine_write16(c->m, c->d.notify + 4095, 0);
		machine_write16(c->m, c->d.notify + 2000, 500);
	} else {
		vdriver_kick(&c->d, 500);
		machine_write32(c->m, c->d.common + 0x50, UINT32_MAX);
	}
	settle(c);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
	works(c);
}

static void one_kick_for_many(struct conf *c)
{
	uint32_t id, len;

	start_size(c, 0, 64);
	for (int i = 0; i < 10; i++)
		add(c);
	kick(c);
	for (int i = 0; i < 10; i++)
		CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
}

static void interrupt_comes_after_the_buffer(struct conf *c)
{
	uint32_t id, len;

	start(c, 0);
	interrupts(c);
	add(c);
	kick(c);
	for (int i = 0; i < 1000 && interrupts(c) == 0; i++)
		c->m->ops->run(c->m);
	CHECK(vring_get_used(work_ring(c), &id, &len));
}

static const struct conf_case cases[] = {
	{ "2.3", "a used buffer interrupts", used_buffer_interrupts, ANY, 0 },
	{ "2.3", "the used buffer is there before its interrupt", interrupt_comes_after_the_buffer,
		ANY, 0 },
	{ "2.3", "no interrupt without a used buffer", no_interrupt_without_used_buffer, ANY, 0 },
	{ "2.7.7.2", "the driver can switch interrupts off and on", interrupts_can_be_switched_off,
		SPLIT_RING, 0 },
	{ "2.8.10", "the driver can switch interrupts off and on", interrupts_can_be_switched_off,
		PACKED_RING, 0 },
	{ "2.7.7.2", "the flag is ignored with the event index", flag_is_ignored_with_event_index,
		SPLIT_RING, 0 },
	{ "2.7.7.2", "an interrupt when the used event is passed", event_for_the_next, SPLIT_RING,
		0 },
	{ "2.8.10", "an interrupt when the event offset is passed", event_for_the_next, PACKED_RING,
		0 },
	{ "2.7.7.2", "no interrupt for a used event that was passed before",
		event_that_passed_is_silent, SPLIT_RING, 0 },
	{ "2.8.10", "no interrupt for an event offset that was passed before",
		event_that_passed_is_silent, PACKED_RING, 0 },
	{ "2.7.7.2", "an interrupt for a later used event only", event_for_a_later_one, SPLIT_RING,
		0 },
	{ "2.8.10", "an interrupt for a later event offset only", event_for_a_later_one,
		PACKED_RING, 0 },
	{ "2.8.14", "flags alone, although the event index was negotiated",
		flags_work_with_event_index, PACKED_RING, 0 },
	{ "2.7.10.2", "a fresh queue wants kicks", fresh_queue_wants_kicks, SPLIT_RING, 0 },
	{ "2.8.14", "a fresh queue wants kicks", fresh_queue_wants_kicks, PACKED_RING, 0 },
	{ "2.7.10", "a driver that kicks when the flag says so", kicks_by_flag, SPLIT_RING, 0 },
	{ "2.8.10", "a driver that kicks when the flags say so", kicks_by_flag, PACKED_RING, 0 },
	{ "2.7.10", "a driver that kicks when the event says so", kicks_by_event_index, SPLIT_RING,
		0 },
	{ "2.8.10", "a driver that kicks when the event offset says so", kicks_by_event_index,
		PACKED_RING, 0 },
	{ "2.7.10.2", "used flags are 0 with the event index", used_flags_are_0_with_event_index,
		SPLIT_RING, 0 },
	{ "2.8.14", "the device's event flags are valid", device_event_flags_are_valid, PACKED_RING,
		0 },
	{ "2.3", "kicks without need do no harm", kicks_without_need, ANY, 0 },
	{ "2.3", "kicks of queues that are not there", kick_of_an_absent_queue, ONCE, 0 },
	{ "2.3", "one kick for many buffers", one_kick_for_many, ANY, 0 },
};

const struct conf_group notify_group = CONF_GROUP(cases);
