/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-blk, 5.2. */
#include "conformance.h"
#include "target-blk.h"

#define OK 0
#define IOERR 1
#define UNSUPP 2
#define F_RO (UINT64_C(1) << 5)
#define F_FLUSH (UINT64_C(1) << 9)
#define F_CONFIG_WCE (UINT64_C(1) << 11)
#define F_DISCARD (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

/* A request with data of len bytes; returns its status, *ret_len (may be NULL): what was used. */
static uint8_t transfer(struct conf *c, enum blk_type type, uint64_t sector, void *data,
	uint32_t len, bool from_device, uint32_t *ret_len)
{
	struct blk_header header = { .type = type, .sector = sector };
	struct vring_buffer buffers[3];
	uint32_t used;
	size_t n = 0;

	if (c->d.next_gpa > c->m->ram_bytes / 2)
		c->d.next_gpa = c->m->ram_bytes / 4;
	buffers[n++] = (struct vring_buffer){ vdriver_alloc(&c->d, sizeof(header)), sizeof(header),
		false };
	memcpy(c->m->ram + buffers[0].gpa, &header, sizeof(header));
	if (len > 0) {
		buffers[n] = (struct vring_buffer){ vdriver_alloc(&c->d, len), len, from_device };
		memcpy(c->m->ram + buffers[n++].gpa, data, len);
	}
	buffers[n] = (struct vring_buffer){ vdriver_alloc(&c->d, 1), 1, true };
	c->m->ram[buffers[n++].gpa] = 0xff;
	CHECK(vdriver_transfer(&c->d, 0, buffers, n, &used));
	if (len > 0)
		memcpy(data, c->m->ram + buffers[1].gpa, len);
	if (ret_len)
		*ret_len = used;
	return c->m->ram[buffers[n - 1].gpa];
}

static bool is_read_only(struct conf *c)
{
	return vdriver_offered(&c->d) & F_RO;
}

static void needs_writable(struct conf *c)
{
	if (is_read_only(c))
		conf_not_applicable(c, "read-only");
}

static bool holds(struct conf *c, uint64_t sector, const void *data, size_t size)
{
	uint8_t bytes[8 + 4096];

	memcpy(bytes, &sector, 8);
	memcpy(bytes + 8, data, size);
	return c->target->host(BLK_HOST_COMPARE, bytes, 8 + size);
}

static void capacity(struct conf *c)
{
	CHECK(machine_read64(c->m, c->d.device) == BLK_SECTORS);
}

static void capacity_follows_resize(struct conf *c)
{
	uint8_t data[512];

	start(c, 0);
	c->target->change_config();
	settle(c);
	CHECK(machine_read64(c->m, c->d.device) == 2 * BLK_SECTORS);
	CHECK(transfer(c, BLK_IN, 2 * BLK_SECTORS - 1, data, 512, true, NULL) == OK);
	c->target->change_config();
	settle(c);
	CHECK(transfer(c, BLK_IN, BLK_SECTORS, data, 512, true, NULL) == IOERR);
}

static void block_size(struct conf *c)
{
	uint32_t size;

	needs(c, UINT64_C(1) << 6, "block size");
	size = machine_read32(c->m, c->d.device + 20);
	CHECK(size >= 512 && (size & (size - 1)) == 0);
}

static void seg_max_fits_the_queue(struct conf *c)
{
	needs(c, UINT64_C(1) << 2, "seg_max");
	vdriver_select(&c->d, 0);
	CHECK(machine_read32(c->m, c->d.device + 12) >= 1);
	CHECK(machine_read32(c->m, c->d.device + 12) <= vdriver_queue_max(&c->d) - 2);
}

static void reads(struct conf *c)
{
	uint8_t data[4096];
	uint32_t len;

	start(c, 0);
	CHECK(transfer(c, BLK_IN, 3, data, sizeof(data), true, &len) == OK);
	CHECK(len == sizeof(data) + 1);
	for (unsigned int i = 0; i < sizeof(data); i++)
		CHECK(data[i] == blk_pattern(3 + i / 512, i % 512));
}

static void writes(struct conf *c)
{
	uint8_t data[1024], copy[1024];
	uint32_t len;

	needs_writable(c);
	start(c, 0);
	memset(data, 0x5a, sizeof(data));
	CHECK(transfer(c, BLK_OUT, 9, data, sizeof(data), false, &len) == OK);
	CHECK(len == 1);
	CHECK(holds(c, 9, data, sizeof(data)));
	CHECK(transfer(c, BLK_IN, 9, copy, sizeof(copy), true, NULL) == OK);
	CHECK(memcmp(data, copy, sizeof(data)) == 0);
}

static void last_sector(struct conf *c)
{
	uint8_t data[512];

	start(c, 0);
	CHECK(transfer(c, BLK_IN, BLK_SECTORS - 1, data, 512, true, NULL) == OK);
	CHECK(data[1] == blk_pattern(BLK_SECTORS - 1, 1));
}

static void beyond_capacity(struct conf *c)
{
	static const uint64_t sectors[] = { BLK_SECTORS, BLK_SECTORS + 1, UINT64_MAX,
		UINT64_MAX / 512, UINT64_C(1) << 55 };
	uint8_t data[1024];

	start(c, 0);
	for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		CHECK(transfer(c, BLK_IN, sectors[i], data, 512, true, NULL) == IOERR);
		if (!is_read_only(c))
			CHECK(transfer(c, BLK_OUT, sectors[i], data, 512, false, NULL) == IOERR);
	}
	/* Across the end. */
	CHECK(transfer(c, BLK_IN, BLK_SECTORS - 1, data, 1024, true, NULL) == IOERR);
	CHECK(vdriver_status(&c->d) == ALL_SET);
	works(c);
}

static void odd_length(struct conf *c)
{
	uint8_t data[600];

	start(c, 0);
	CHECK(transfer(c, BLK_IN, 0, data, 511, true, NULL) == IOERR);
	CHECK(transfer(c, BLK_IN, 0, data, 513, true, NULL) == IOERR);
	works(c);
}

static void unknown_type(struct conf *c)
{
	uint8_t data[512];

	start(c, 0);
	CHECK(transfer(c, 2, 0, data, 512, true, NULL) == UNSUPP);
	CHECK(transfer(c, 0xffff, 0, data, 512, false, NULL) == UNSUPP);
	CHECK(transfer(c, (enum blk_type)0x80000001, 0, data, 0, false, NULL) == UNSUPP);
	works(c);
}

static void flush(struct conf *c)
{
	needs(c, F_FLUSH, "flush");
	start(c, 0);
	CHECK(transfer(c, BLK_FLUSH, 0, NULL, 0, false, NULL) == OK);
	if (!is_read_only(c))
		CHECK(c->target->host(BLK_HOST_FLUSHED, NULL, 0));
}

static void get_id(struct conf *c)
{
	char id[21] = { 0 };
	uint32_t len;

	start(c, 0);
	memset(id, 'x', 20);
	CHECK(transfer(c, BLK_GET_ID, 0, id, 20, true, &len) == OK);
	CHECK(len == 21);
	CHECK(strcmp(id, BLK_SERIAL) == 0);
	/* The rest is zeros. */
	for (size_t i = strlen(BLK_SERIAL); i < 20; i++)
		CHECK(id[i] == 0);
}

static void read_only_refuses_writes(struct conf *c)
{
	uint8_t data[512] = { 1 }, copy[512];

	if (!is_read_only(c))
		conf_not_applicable(c, "writable");
	start(c, 0);
	CHECK(transfer(c, BLK_OUT, 5, data, 512, false, NULL) == IOERR);
	CHECK(transfer(c, BLK_IN, 5, copy, 512, true, NULL) == OK);
	CHECK(copy[0] == blk_pattern(5, 0));
}

struct range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};

static void write_zeroes(struct conf *c)
{
	struct range range = { 20, 4, 0 };
	uint8_t zeroes[2048] = { 0 }, data[512];

	needs(c, F_WRITE_ZEROES, "write zeroes");
	start(c, 0);
	CHECK(transfer(c, BLK_WRITE_ZEROES, 0, &range, sizeof(range), false, NULL) == OK);
	CHECK(holds(c, 20, zeroes, sizeof(zeroes)));
	CHECK(transfer(c, BLK_IN, 19, data, 512, true, NULL) == OK);
	CHECK(data[0] == blk_pattern(19, 0));
	CHECK(transfer(c, BLK_IN, 24, data, 512, true, NULL) == OK);
	CHECK(data[0] == blk_pattern(24, 0));
}

static void discard(struct conf *c)
{
	struct range range = { 30, 8, 0 };

	needs(c, F_DISCARD, "discard");
	start(c, 0);
	CHECK(transfer(c, BLK_DISCARD, 0, &range, sizeof(range), false, NULL) == OK);
}

static void discard_unmap_is_unsupported(struct conf *c)
{
	struct range range = { 30, 8, 1 };

	needs(c, F_DISCARD, "discard");
	start(c, 0);
	CHECK(transfer(c, BLK_DISCARD, 0, &range, sizeof(range), false, NULL) == UNSUPP);
}

static void reserved_flags_are_unsupported(struct conf *c)
{
	struct range range = { 30, 8, 2 };

	needs(c, F_DISCARD | F_WRITE_ZEROES, "discard and write zeroes");
	start(c, 0);
	CHECK(transfer(c, BLK_DISCARD, 0, &range, sizeof(range), false, NULL) == UNSUPP);
	CHECK(transfer(c, BLK_WRITE_ZEROES, 0, &range, sizeof(range), false, NULL) == UNSUPP);
}

static void ranges_beyond_capacity(struct conf *c)
{
	struct range ranges[] = { { BLK_SECTORS, 1, 0 }, { BLK_SECTORS - 1, 2, 0 },
		{ UINT64_MAX, 1, 0 }, { UINT64_MAX - 1, UINT32_MAX, 0 }, { 0, UINT32_MAX, 0 } };

	needs(c, F_DISCARD | F_WRITE_ZEROES, "discard and write zeroes");
	start(c, 0);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		CHECK(transfer(c, BLK_DISCARD, 0, &ranges[i], sizeof(ranges[i]), false, NULL) ==
			IOERR);
		CHECK(transfer(c, BLK_WRITE_ZEROES, 0, &ranges[i], sizeof(ranges[i]), false,
			      NULL) == IOERR);
	}
	works(c);
}

static void partial_range(struct conf *c)
{
	struct range range = { 1, 1, 0 };

	needs(c, F_WRITE_ZEROES, "write zeroes");
	start(c, 0);
	CHECK(transfer(c, BLK_WRITE_ZEROES, 0, &range, 15, false, NULL) != OK);
	CHECK(transfer(c, BLK_WRITE_ZEROES, 0, NULL, 0, false, NULL) != OK);
	works(c);
}

static void not_negotiated_is_unsupported(struct conf *c)
{
	struct range range = { 1, 1, 0 };

	needs(c, F_DISCARD, "discard");
	CHECK(vdriver_start(&c->d, c->packed ? F_PACKED : 0, 1, 0));
	CHECK(transfer(c, BLK_DISCARD, 0, &range, sizeof(range), false, NULL) == UNSUPP);
}

static void failure_is_ioerr(struct conf *c)
{
	uint8_t data[512];

	start(c, 0);
	c->target->host(BLK_HOST_FAIL, NULL, 0);
	CHECK(transfer(c, BLK_IN, 0, data, 512, true, NULL) == IOERR);
	if (!is_read_only(c))
		CHECK(transfer(c, BLK_OUT, 0, data, 512, false, NULL) == IOERR);
	CHECK(vdriver_status(&c->d) == ALL_SET);
}

static void header_is_short(struct conf *c)
{
	struct vring_buffer buffers[2];
	uint32_t len;

	start(c, 0);
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 16), 15, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 1), 1, true };
	memset(c->m->ram + buffers[0].gpa, 0, 16);
	CHECK(vdriver_transfer(&c->d, 0, buffers, 2, &len));
	CHECK(c->m->ram[buffers[1].gpa] == IOERR);
	works(c);
}

static void no_room_for_the_status(struct conf *c)
{
	struct vring_buffer buffer;

	start(c, 0);
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, 16), 16, false };
	memset(c->m->ram + buffer.gpa, 0, 16);
	vdriver_send(&c->d, 0, &buffer, 1);
	expect_broken_and_recovers(c);
}

/* Header and data of a write in one buffer, data and status of a read in one (5.2.6, 2.7.4). */
static void any_layout(struct conf *c)
{
	struct blk_header header = { .type = BLK_IN, .sector = 4 };
	struct vring_buffer buffers[2];
	uint32_t len;

	start(c, 0);
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 16), 16, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 513), 513, true };
	memcpy(c->m->ram + buffers[0].gpa, &header, 16);
	c->m->ram[buffers[1].gpa + 512] = 0xff;
	CHECK(vdriver_transfer(&c->d, 0, buffers, 2, &len));
	CHECK(len == 513 && c->m->ram[buffers[1].gpa + 512] == OK);
	CHECK(c->m->ram[buffers[1].gpa + 7] == blk_pattern(4, 7));
	if (is_read_only(c))
		return;
	header = (struct blk_header){ .type = BLK_OUT, .sector = 6 };
	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 528), 528, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 1), 1, true };
	memcpy(c->m->ram + buffers[0].gpa, &header, 16);
	memset(c->m->ram + buffers[0].gpa + 16, 0x33, 512);
	CHECK(vdriver_transfer(&c->d, 0, buffers, 2, &len));
	CHECK(c->m->ram[buffers[1].gpa] == OK);
	CHECK(holds(c, 6, c->m->ram + buffers[0].gpa + 16, 512));
}

static void write_cache_toggle(struct conf *c)
{
	needs(c, F_CONFIG_WCE, "writeback toggle");
	start(c, 0);
	machine_write8(c->m, c->d.device + 32, 0);
	CHECK(machine_read8(c->m, c->d.device + 32) == 0);
	works(c);
	machine_write8(c->m, c->d.device + 32, 1);
	CHECK(machine_read8(c->m, c->d.device + 32) == 1);
	works(c);
}

#define BLK(clause, text, run)                                                                     \
	{                                                                                          \
		clause, text, run, ANY, 2                                                          \
	}

static const struct conf_case cases[] = {
	BLK("5.2.4", "capacity in sectors", capacity),
	BLK("5.2.4", "capacity follows a resize", capacity_follows_resize),
	BLK("5.2.4", "blk_size is a power of two", block_size),
	BLK("5.2.4", "seg_max fits the queue", seg_max_fits_the_queue),
	BLK("5.2.5.2", "the write cache can be toggled", write_cache_toggle),
	BLK("5.2.6", "reads", reads),
	BLK("5.2.6", "writes", writes),
	BLK("5.2.6", "the last sector", last_sector),
	BLK("5.2.6.2", "flush", flush),
	BLK("5.2.6", "get id", get_id),
	BLK("5.2.6", "any layout of header, data and status", any_layout),
	BLK("5.2.6", "write zeroes", write_zeroes),
	BLK("5.2.6", "discard", discard),
	BLK("5.2.6.2", "discard with unmap is unsupported", discard_unmap_is_unsupported),
	BLK("5.2.6.2", "reserved flags are unsupported", reserved_flags_are_unsupported),
	BLK("5.2.6.2", "ranges beyond the capacity fail", ranges_beyond_capacity),
	BLK("5.2.6.1", "partial and missing ranges fail", partial_range),
	BLK("5.2.6.2", "a command that was not negotiated is unsupported",
		not_negotiated_is_unsupported),
	BLK("5.2.6.2", "a read-only device fails writes", read_only_refuses_writes),
	BLK("5.2.6.1", "sectors beyond the capacity fail", beyond_capacity),
	BLK("5.2.6.1", "a length that is no multiple of 512 fails", odd_length),
	BLK("5.2.6.2", "an unknown type is unsupported", unknown_type),
	BLK("5.2.6", "a failing disk is IOERR", failure_is_ioerr),
	BLK("5.2.6", "a header that is too short", header_is_short),
	BLK("5.2.6", "no room for the status", no_room_for_the_status),
};

const struct conf_group blk_group = CONF_GROUP(cases);
