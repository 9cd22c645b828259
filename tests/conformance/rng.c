/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-rng, 5.4. */
#include "conformance.h"

static uint32_t ask(struct conf *c, const struct vring_buffer *buffers, size_t n)
{
	uint32_t len;

	CHECK(vdriver_transfer(&c->d, 0, buffers, n, &len));
	return len;
}

static struct vring_buffer room(struct conf *c, uint32_t len)
{
	struct vring_buffer buffer;

	if (c->d.next_gpa > c->m->ram_bytes / 2)
		c->d.next_gpa = c->m->ram_bytes / 4;
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, len + 16), len, true };
	memset(c->m->ram + buffer.gpa, 0, len + 16);
	return buffer;
}

static void one_queue(struct conf *c)
{
	vdriver_select(&c->d, 1);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void no_device_features(struct conf *c)
{
	CHECK((vdriver_offered(&c->d) & 0xffffff) == 0);
}

static void no_configuration(struct conf *c)
{
	if (c->d.pci)
		CHECK(c->d.device_bytes == 0);
	else
		CHECK(machine_read32(c->m, c->d.device) == UINT32_MAX ||
			machine_read32(c->m, c->d.device) == 0);
}

static void at_least_one_byte(struct conf *c)
{
	struct vring_buffer buffer;

	start(c, 0);
	buffer = room(c, 1);
	CHECK(ask(c, &buffer, 1) == 1);
}

static void not_more_than_asked_for(struct conf *c)
{
	start(c, 0);
	for (uint32_t size = 1; size < 5000; size = size * 3 + 1) {
		struct vring_buffer buffer = room(c, size);
		uint32_t len = ask(c, &buffer, 1);

		CHECK(len > 0 && len <= size);
		for (unsigned int i = 0; i < 16; i++)
			CHECK(c->m->ram[buffer.gpa + size + i] == 0);
	}
}

static void no_more_than_it_says(struct conf *c)
{
	struct vring_buffer buffer;
	uint32_t len;

	start(c, 0);
	buffer = room(c, 65536);
	len = ask(c, &buffer, 1);
	CHECK(len > 0 && len <= 65536);
	for (uint32_t i = len; i < 65536; i++)
		CHECK(c->m->ram[buffer.gpa + i] == 0);
}

static void differs_each_time(struct conf *c)
{
	struct vring_buffer first, second;

	start(c, 0);
	first = room(c, 32);
	second = room(c, 32);
	CHECK(ask(c, &first, 1) == 32);
	CHECK(ask(c, &second, 1) == 32);
	CHECK(memcmp(c->m->ram + first.gpa, c->m->ram + second.gpa, 32) != 0);
}

static void no_byte_is_constant(struct conf *c)
{
	uint8_t any[256] = { 0 }, all[256];

	start(c, 0);
	memset(all, 0xff, sizeof(all));
	for (int round = 0; round < 64; round++) {
		struct vring_buffer buffer = room(c, 256);

		CHECK(ask(c, &buffer, 1) == 256);
		for (unsigned int i = 0; i < 256; i++) {
			any[i] |= c->m->ram[buffer.gpa + i];
			all[i] &= c->m->ram[buffer.gpa + i];
		}
	}
	for (unsigned int i = 0; i < 256; i++)
		CHECK(any[i] == 0xff && all[i] == 0);
}

static void scattered_buffers(struct conf *c)
{
	struct vring_buffer buffers[4];

	start(c, 0);
	for (int i = 0; i < 4; i++)
		buffers[i] = room(c, 16);
	CHECK(ask(c, buffers, 4) == 64);
	for (int i = 0; i < 4; i++) {
		unsigned int n_zero = 0;

		for (unsigned int b = 0; b < 16; b++)
			n_zero += c->m->ram[buffers[i].gpa + b] == 0;
		CHECK(n_zero < 8);
	}
}

/* 5.4.6.1: the driver places no readable buffers. A device that gets one lives on. */
static void readable_buffer(struct conf *c)
{
	struct vring_buffer buffers[2];

	start(c, 0);
	buffers[0] = room(c, 16);
	buffers[0].write = false;
	memset(c->m->ram + buffers[0].gpa, 0x77, 16);
	vdriver_send(&c->d, 0, buffers, 1);
	settle(c);
	for (unsigned int i = 0; i < 16; i++)
		CHECK(c->m->ram[buffers[0].gpa + i] == 0x77);
	recovers(c);
}

static void a_request_of_megabytes(struct conf *c)
{
	struct vring_buffer buffer;

	start(c, 0);
	buffer = (struct vring_buffer){ c->m->ram_bytes / 4, 4u << 20, true };
	CHECK(ask(c, &buffer, 1) > 0);
}

#define RNG(clause, text, run)                                                                     \
	{                                                                                          \
		clause, text, run, ANY, 4                                                          \
	}

static const struct conf_case cases[] = {
	RNG("5.4.2", "one queue", one_queue),
	RNG("5.4.3", "no features of its own", no_device_features),
	RNG("5.4.4", "no configuration space", no_configuration),
	RNG("5.4.6.2", "at least one byte", at_least_one_byte),
	RNG("5.4.6", "not more than there is room for", not_more_than_asked_for),
	RNG("5.4.6", "nothing is written beyond the used length", no_more_than_it_says),
	RNG("5.4.6", "two requests differ", differs_each_time),
	RNG("5.4.6", "no bit of the answer is constant", no_byte_is_constant),
	RNG("5.4.6", "an answer in several buffers", scattered_buffers),
	RNG("5.4.6.1", "a readable buffer is not written", readable_buffer),
	RNG("5.4.6", "a request of megabytes", a_request_of_megabytes),
};

const struct conf_group rng_group = CONF_GROUP(cases);
