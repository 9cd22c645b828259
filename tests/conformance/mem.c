/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-mem, 5.15. */
#include "conformance.h"
#include "target-mem.h"

enum request_type { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum answer_type { ACK, NACK, BUSY, ERROR };
enum state { PLUGGED, UNPLUGGED, MIXED };

/* Configuration space, 5.15.4. */
#define CONFIG_BLOCK_SIZE 0
#define CONFIG_ADDR 16
#define CONFIG_REGION_SIZE 24
#define CONFIG_USABLE_SIZE 32
#define CONFIG_PLUGGED_SIZE 40
#define CONFIG_REQUESTED_SIZE 48

struct request {
	uint16_t type;
	uint16_t padding[3];
	uint64_t gpa;
	uint16_t n_blocks;
	uint16_t more_padding[3];
};

struct answer {
	uint16_t type;
	uint16_t padding[3];
	uint16_t state;
};

static struct answer ask_at(struct conf *c, enum request_type type, uint64_t gpa, uint16_t n_blocks)
{
	struct request request = { .type = (uint16_t)type, .gpa = gpa, .n_blocks = n_blocks };
	struct vring_buffer buffers[2];
	struct answer answer;
	uint32_t len;

	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, sizeof(request)), sizeof(request),
		false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 10), 10, true };
	memcpy(c->m->ram + buffers[0].gpa, &request, sizeof(request));
	memset(c->m->ram + buffers[1].gpa, 0xee, 10);
	CHECK(vdriver_transfer(&c->d, 0, buffers, 2, &len));
	CHECK(len == 10);
	memcpy(&answer, c->m->ram + buffers[1].gpa, 10);
	return answer;
}

static uint16_t ask(struct conf *c, enum request_type type, unsigned int block, uint16_t n_blocks)
{
	return ask_at(c, type, MEM_GPA + block * MEM_BLOCK, n_blocks).type;
}

static uint16_t state(struct conf *c, unsigned int block, uint16_t n_blocks)
{
	struct answer answer = ask_at(c, STATE, MEM_GPA + block * MEM_BLOCK, n_blocks);

	CHECK(answer.type == ACK);
	return answer.state;
}

static bool host(struct conf *c, enum mem_host event, uint64_t number)
{
	return c->target->host(event, &number, sizeof(number));
}

static uint64_t config64(struct conf *c, uint64_t offset)
{
	return machine_read64(c->m, c->d.device + offset);
}

static void one_queue(struct conf *c)
{
	vdriver_select(&c->d, 1);
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void configuration(struct conf *c)
{
	CHECK(config64(c, CONFIG_BLOCK_SIZE) == MEM_BLOCK);
	CHECK(config64(c, CONFIG_ADDR) == MEM_GPA);
	CHECK(config64(c, CONFIG_REGION_SIZE) == MEM_BLOCKS * MEM_BLOCK);
	CHECK(config64(c, CONFIG_USABLE_SIZE) == MEM_BLOCKS * MEM_BLOCK);
	CHECK(config64(c, CONFIG_PLUGGED_SIZE) == 0);
	CHECK(config64(c, CONFIG_REQUESTED_SIZE) == MEM_REQUESTED * MEM_BLOCK);
}

static void configuration_is_read_only(struct conf *c)
{
	start(c, 0);
	for (uint64_t at = 0; at < 56; at += 4)
		machine_write32(c->m, c->d.device + at, 0xffffffff);
	configuration(c);
}

static void requested_size_changes(struct conf *c)
{
	start(c, 0);
	vdriver_config_interrupts(&c->d);
	CHECK(host(c, MEM_HOST_REQUEST, 3));
	settle(c);
	CHECK(config64(c, CONFIG_REQUESTED_SIZE) == 3 * MEM_BLOCK);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	CHECK(host(c, MEM_HOST_REQUEST, 3));
	CHECK(vdriver_config_interrupts(&c->d) == 0);
	CHECK(!host(c, MEM_HOST_REQUEST, MEM_BLOCKS + 1));
}

static void plugs(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 2, 3) == ACK);
	CHECK(config64(c, CONFIG_PLUGGED_SIZE) == 3 * MEM_BLOCK);
	CHECK(host(c, MEM_HOST_PLUGGED, 3));
	CHECK(state(c, 2, 3) == PLUGGED);
	CHECK(state(c, 0, 2) == UNPLUGGED);
	CHECK(state(c, 0, 3) == MIXED);
	CHECK(state(c, 4, 2) == MIXED);
}

static void unplugs(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 0, 4) == ACK);
	CHECK(host(c, MEM_HOST_FILL, 0) && host(c, MEM_HOST_FILL, 1) && host(c, MEM_HOST_FILL, 2));
	CHECK(ask(c, UNPLUG, 1, 2) == ACK);
	CHECK(host(c, MEM_HOST_PLUGGED, 2));
	CHECK(state(c, 1, 2) == UNPLUGGED && state(c, 0, 1) == PLUGGED);
	/* The memory went back to the host; what stays plugged keeps its content. */
	CHECK(host(c, MEM_HOST_ZERO, 1) && host(c, MEM_HOST_ZERO, 2));
	CHECK(!host(c, MEM_HOST_ZERO, 0));
}

static void unplugs_all(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 0, 2) == ACK);
	CHECK(ask(c, PLUG, 9, 2) == ACK);
	CHECK(host(c, MEM_HOST_FILL, 9));
	CHECK(ask_at(c, UNPLUG_ALL, 0, 0).type == ACK);
	CHECK(host(c, MEM_HOST_PLUGGED, 0) && host(c, MEM_HOST_ZERO, 9));
	CHECK(config64(c, CONFIG_PLUGGED_SIZE) == 0);
	CHECK(state(c, 0, MEM_BLOCKS) == UNPLUGGED);
	CHECK(ask_at(c, UNPLUG_ALL, 0, 0).type == ACK);
}

static void not_more_than_requested(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 0, MEM_REQUESTED) == ACK);
	CHECK(ask(c, PLUG, MEM_REQUESTED, 1) == NACK);
	CHECK(host(c, MEM_HOST_PLUGGED, MEM_REQUESTED));
	CHECK(host(c, MEM_HOST_REQUEST, MEM_BLOCKS));
	CHECK(ask(c, PLUG, MEM_REQUESTED, 1) == ACK);
	CHECK(host(c, MEM_HOST_REQUEST, 1));
	CHECK(ask(c, PLUG, MEM_REQUESTED + 1, 1) == NACK);
}

static void plugged_twice(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 3, 1) == ACK);
	CHECK(ask(c, PLUG, 3, 1) == ERROR);
	CHECK(ask(c, PLUG, 2, 2) == ERROR);
	CHECK(host(c, MEM_HOST_PLUGGED, 1));
	CHECK(state(c, 2, 1) == UNPLUGGED);
}

static void unplugged_twice(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, UNPLUG, 3, 1) == ERROR);
	CHECK(ask(c, PLUG, 3, 1) == ACK);
	CHECK(host(c, MEM_HOST_FILL, 3));
	CHECK(ask(c, UNPLUG, 3, 2) == ERROR);
	CHECK(host(c, MEM_HOST_PLUGGED, 1) && !host(c, MEM_HOST_ZERO, 3));
}

static void blocks_out_of_bounds(struct conf *c)
{
	static const struct {
		uint64_t gpa;
		uint16_t n;
	} bad[] = {
		{ MEM_GPA + MEM_BLOCKS * MEM_BLOCK, 1 },
		{ MEM_GPA + (MEM_BLOCKS - 1) * MEM_BLOCK, 2 },
		{ MEM_GPA - MEM_BLOCK, 1 },
		{ 0, 1 },
		{ MEM_GPA, 0 },
		{ MEM_GPA, MEM_BLOCKS + 1 },
		{ MEM_GPA, 0xffff },
		{ MEM_GPA + 4096, 1 },
		{ MEM_GPA + 1, 1 },
		{ UINT64_MAX - MEM_BLOCK + 1, 1 },
	};

	start(c, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(ask_at(c, PLUG, bad[i].gpa, bad[i].n).type == ERROR);
		CHECK(ask_at(c, UNPLUG, bad[i].gpa, bad[i].n).type == ERROR);
		CHECK(ask_at(c, STATE, bad[i].gpa, bad[i].n).type == ERROR);
	}
	CHECK(host(c, MEM_HOST_PLUGGED, 0));
	works(c);
}

static void unknown_requests(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, (enum request_type)4, 0, 1) == ERROR);
	CHECK(ask(c, (enum request_type)0xffff, 0, 1) == ERROR);
	works(c);
}

static void plugged_memory_survives_a_reset(struct conf *c)
{
	start(c, 0);
	CHECK(ask(c, PLUG, 1, 2) == ACK);
	CHECK(host(c, MEM_HOST_FILL, 1));
	CHECK(vdriver_reset(&c->d));
	start(c, 0);
	CHECK(state(c, 1, 2) == PLUGGED && host(c, MEM_HOST_PLUGGED, 2));
	CHECK(!host(c, MEM_HOST_ZERO, 1));
}

static void breaks_with(struct conf *c, uint32_t out, uint32_t in)
{
	struct vring_buffer buffers[2];

	start(c, 0);
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, out), out, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, in), in, true };
	memset(c->m->ram + buffers[0].gpa, 0, out);
	vdriver_send(&c->d, 0, buffers, 2);
	expect_broken_and_recovers(c);
}

static void short_request(struct conf *c)
{
	breaks_with(c, 23, 10);
}

static void no_room_for_the_answer(struct conf *c)
{
	breaks_with(c, 24, 9);
}

#define MEM(clause, text, run)                                                                     \
	{                                                                                          \
		clause, text, run, ANY, 24                                                         \
	}

static const struct conf_case cases[] = {
	MEM("5.15.2", "one queue", one_queue),
	MEM("5.15.4", "block size, address and sizes", configuration),
	MEM("5.15.4", "the configuration is read-only", configuration_is_read_only),
	MEM("5.15.4.2", "requested_size changes", requested_size_changes),
	MEM("5.15.5.1", "plugged memory survives a reset", plugged_memory_survives_a_reset),
	MEM("5.15.6", "a request that is too short", short_request),
	MEM("5.15.6", "no room for the answer", no_room_for_the_answer),
	MEM("5.15.6.2", "unknown requests are errors", unknown_requests),
	MEM("5.15.6.2", "blocks out of bounds are errors", blocks_out_of_bounds),
	MEM("5.15.6.3", "plugs", plugs),
	MEM("5.15.6.3.2", "not more than requested", not_more_than_requested),
	MEM("5.15.6.3.2", "what is plugged cannot be plugged", plugged_twice),
	MEM("5.15.6.4", "unplugs", unplugs),
	MEM("5.15.6.4.2", "what is not plugged cannot be unplugged", unplugged_twice),
	MEM("5.15.6.5", "unplugs all", unplugs_all),
};

const struct conf_group mem_group = CONF_GROUP(cases);
