/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-pmem, 5.19. */
#include "conformance.h"
#include "target-pmem.h"

#define FLUSH 0

static uint32_t ask(struct conf *c, uint32_t type, unsigned int pieces)
{
	struct vring_buffer buffers[8];
	uint32_t len, answer;
	size_t n = 0;

	if (c->d.next_gpa > c->m->ram_bytes / 2)
		c->d.next_gpa = c->m->ram_bytes / 4;
	c->gpas[0] = vdriver_alloc(&c->d, 4);
	c->gpas[1] = vdriver_alloc(&c->d, 4);
	memcpy(c->m->ram + c->gpas[0], &type, 4);
	memset(c->m->ram + c->gpas[1], 0xee, 4);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int at = 0; at < 4; at += 4 / pieces)
			buffers[n++] = (struct vring_buffer){ c->gpas[i] + at, 4 / pieces, i == 1 };
	CHECK(vdriver_transfer(&c->d, 0, buffers, n, &len));
	CHECK(len == 4);
	memcpy(&answer, c->m->ram + c->gpas[1], 4);
	return answer;
}

static void one_queue(struct conf *c)
{
	vdriver_select(&c->d, 1);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void start_and_size(struct conf *c)
{
	CHECK(machine_read64(c->m, c->d.device) == PMEM_GPA);
	CHECK(machine_read64(c->m, c->d.device + 8) == PMEM_BYTES);
}

static void configuration_is_read_only(struct conf *c)
{
	start(c, 0);
	for (uint64_t at = 0; at < 16; at += 4)
		machine_write32(c->m, c->d.device + at, 0);
	start_and_size(c);
}

static void flushes(struct conf *c)
{
	start(c, 0);
	for (uint8_t byte = 1; byte < 20; byte++) {
		c->target->host(PMEM_HOST_WRITE, &byte, 1);
		CHECK(ask(c, FLUSH, 1) == 0);
		CHECK(c->target->host(PMEM_HOST_FILE, &byte, 1));
	}
}

static void many_at_once(struct conf *c)
{
	struct vring_buffer buffers[2];
	uint64_t answers[20];
	uint32_t id, len;

	start(c, 0);
	for (unsigned int i = 0; i < 20; i++) {
		buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 4), 4, false };
		buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 4), 4, true };
		memset(c->m->ram + buffers[0].gpa, 0, 4);
		memset(c->m->ram + buffers[1].gpa, 0xee, 4);
		answers[i] = buffers[1].gpa;
		vring_add(work_ring(c), buffers, 2);
	}
	vdriver_kick(&c->d, 0);
	for (unsigned int i = 0; i < 20; i++)
		CHECK(vdriver_wait_used(&c->d, 0, &id, &len) && len == 4);
	for (unsigned int i = 0; i < 20; i++)
		for (unsigned int j = 0; j < 4; j++)
			CHECK(c->m->ram[answers[i] + j] == 0);
}

static void byte_by_byte(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, FLUSH, 4) == 0);
	CHECK(ask(c, FLUSH, 2) == 0);
}

static void unknown_types_fail(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, 1, 1) != 0);
	CHECK(ask(c, UINT32_MAX, 1) != 0);
	CHECK(ask(c, FLUSH, 1) == 0);
}

/* Nothing is written behind the four bytes of the answer. */
static void the_answer_is_four_bytes(struct conf *c)
{
	struct vring_buffer buffers[2];
	uint32_t len;

	start(c, 0);
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 4), 4, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 32), 32, true };
	memset(c->m->ram + buffers[0].gpa, 0, 4);
	memset(c->m->ram + buffers[1].gpa, 0xee, 32);
	CHECK(vdriver_transfer(&c->d, 0, buffers, 2, &len));
	CHECK(len == 4);
	for (unsigned int i = 0; i < 32; i++)
		CHECK(c->m->ram[buffers[1].gpa + i] == (i < 4 ? 0 : 0xee));
}

static void breaks_with(struct conf *c, uint32_t out, uint32_t in)
{
	struct vring_buffer buffers[2];

	start(c, 0);
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 4), out, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 4), in, true };
	memset(c->m->ram + buffers[0].gpa, 0, 4);
	vdriver_send(&c->d, 0, buffers, 2);
	expect_broken_and_recovers(c);
}

static void short_request(struct conf *c)
{
	breaks_with(c, 3, 4);
}

static void no_room_for_the_answer(struct conf *c)
{
	breaks_with(c, 4, 3);
}

#define PMEM(clause, text, run)                                                                    \
	{                                                                                          \
		clause, text, run, ANY, 27                                                         \
	}

static const struct conf_case cases[] = {
	PMEM("5.19.2", "one queue", one_queue),
	PMEM("5.19.4", "start and size", start_and_size),
	PMEM("5.19.4", "the configuration is read-only", configuration_is_read_only),
	PMEM("5.19.6", "flushes", flushes),
	PMEM("5.19.6", "many flushes at once", many_at_once),
	PMEM("5.19.6", "requests byte by byte", byte_by_byte),
	PMEM("5.19.6", "the answer is four bytes", the_answer_is_four_bytes),
	PMEM("5.19.6", "unknown types fail", unknown_types_fail),
	PMEM("5.19.6", "a request that is too short", short_request),
	PMEM("5.19.6", "no room for the answer", no_room_for_the_answer),
};

const struct conf_group pmem_group = CONF_GROUP(cases);
