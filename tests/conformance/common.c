/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what cases share. */
#include "conformance.h"

void needs(struct conf *c, uint64_t feature, const char *name)
{
	if ((vdriver_offered(&c->d) & feature) != feature)
		conf_not_applicable(c, name);
}

static uint64_t wanted(struct conf *c, uint64_t features)
{
	if (c->packed) {
		needs(c, F_PACKED, "packed ring");
		features |= F_PACKED;
	}
	return features | c->target->features;
}

void negotiate(struct conf *c, uint64_t features)
{
	CHECK(vdriver_negotiate(&c->d, wanted(c, features)));
	if (c->d.pci) {
		vdriver_msix_enable(&c->d, true);
		vdriver_msix_entry(&c->d, 0, VDRIVER_CONFIG_MESSAGE, false);
		vdriver_set_config_vector(&c->d, 0);
	}
}

void set_up_queues(struct conf *c, uint16_t size, unsigned int but)
{
	for (uint16_t i = 0; i < c->target->n_queues; i++) {
		uint32_t max;

		if (i == but)
			continue;
		vdriver_select(&c->d, i);
		max = vdriver_queue_max(&c->d);
		CHECK(max > 0);
		vdriver_make_ring(&c->d, i, size && size < max ? size : (uint16_t)max);
		vdriver_program_queue(&c->d, i);
		CHECK(vdriver_queue_enabled(&c->d) == 1);
	}
}

void driver_ok(struct conf *c)
{
	vdriver_set_status(&c->d, ALL_SET);
	CHECK(vdriver_status(&c->d) == ALL_SET);
}

void start_size(struct conf *c, uint64_t features, uint16_t size)
{
	negotiate(c, features);
	set_up_queues(c, size, VDRIVER_MAX_QUEUES);
	driver_ok(c);
}

void start(struct conf *c, uint64_t features)
{
	start_size(c, features, 0);
}

struct vring *work_ring(struct conf *c)
{
	return c->d.rings[c->target->work_queue];
}

size_t prepare(struct conf *c, struct vring_buffer *buffers, unsigned int pieces)
{
	struct vring_buffer whole[8];
	size_t n = c->target->request(c, whole), n_out = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned int n_pieces = whole[i].len < pieces || pieces == 0 ? 1 : pieces;
		uint32_t done = 0;

		for (unsigned int p = 0; p < n_pieces; p++) {
			uint32_t len = whole[i].len / n_pieces;

			if (p + 1 == n_pieces)
				len = whole[i].len - done;
			buffers[n_out++] =
				(struct vring_buffer){ whole[i].gpa + done, len, whole[i].write };
			done += len;
		}
	}
	return n_out;
}

void expect_done(struct conf *c)
{
	uint32_t id, len;

	CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	CHECK(c->target->verify(c, len));
}

void works(struct conf *c)
{
	struct vring_buffer buffers[8];
	uint32_t id, len;
	uint16_t sent;
	size_t n;

	/* Rings take their memory first; requests need little, again and again. */
	if (c->d.next_gpa > c->m->ram_bytes / 2)
		c->d.next_gpa = c->m->ram_bytes / 4;
	n = prepare(c, buffers, 0);
	sent = vdriver_send(&c->d, c->target->work_queue, buffers, n);
	CHECK(vdriver_wait_used(&c->d, c->target->work_queue, &id, &len));
	CHECK(id == sent);
	CHECK(c->target->verify(c, len));
}

void settle(struct conf *c)
{
	for (int i = 0; i < 20; i++)
		c->m->ops->run(c->m);
}

void expect_nothing(struct conf *c)
{
	uint32_t id, len;

	settle(c);
	CHECK(!vring_get_used(work_ring(c), &id, &len));
}

void recovers(struct conf *c)
{
	CHECK(vdriver_reset(&c->d));
	start(c, 0);
	CHECK(!(vdriver_status(&c->d) & NEEDS_RESET));
	works(c);
}

void expect_needs_reset(struct conf *c)
{
	CHECK(vdriver_wait_status(&c->d, NEEDS_RESET));
}

void expect_broken_and_recovers(struct conf *c)
{
	expect_needs_reset(c);
	CHECK(vdriver_config_interrupts(&c->d) > 0);
	expect_nothing(c);
	recovers(c);
}
