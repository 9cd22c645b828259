/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Streams that go on, and get a larger buffer. */
#include "virtio-vsock-fixture.h"

#define WIDE_BYTES (4 * BUFFER_BYTES)
#define MAX_WIDE 16
#define PART_BYTES 32768

static struct header credit_of(uint32_t guest_port)
{
	struct header header;

	send_op(guest_port, 80, CREDIT_REQUEST, 0);
	do
		header = expect_op(guest_port, 80, CREDIT_UPDATE);
	while (is_used(RECEIVE));
	return header;
}

/* Carries n parts of a stream to its reader; each has the number of its place as its first byte. */
static void carry(uint32_t guest_port, int fd, unsigned int n)
{
	static uint8_t data[PART_BYTES];
	struct header header = packet(guest_port, 80, RW);

	header.len = PART_BYTES;
	for (unsigned int i = 0; i < n; i++) {
		send_packet(&header, (uint8_t)(guest_port + i));
		ck_assert_int_eq(vmm_base_read_full(fd, data, sizeof(data)), 0);
		for (uint32_t k = 0; k < sizeof(data); k++)
			ck_assert_uint_eq(data[k], (uint8_t)(guest_port + i + k));
		while (is_used(RECEIVE))
			expect_op(guest_port, 80, CREDIT_UPDATE);
	}
}

START_TEST(long_streams_get_more_credit)
{
	const unsigned int n_parts = WIDE_BYTES / PART_BYTES;
	int fds[MAX_WIDE + 1];

	begin_fully();
	for (uint32_t i = 0; i <= MAX_WIDE; i++) {
		fds[i] = establish(i, 80);
		carry(i, fds[i], n_parts - 1);
		ck_assert_uint_eq(credit_of(i).buf_alloc, BUFFER_BYTES);
		carry(i, fds[i], 1);
		ck_assert_uint_eq(credit_of(i).buf_alloc, i < MAX_WIDE ? WIDE_BYTES : BUFFER_BYTES);
	}
	/* A place that comes free is the next one's. */
	send_op(3, 80, RST, 0);
	ck_assert_uint_eq(status().n_connections, MAX_WIDE);
	carry(MAX_WIDE, fds[MAX_WIDE], 1);
	ck_assert_uint_eq(credit_of(MAX_WIDE).buf_alloc, WIDE_BYTES);
	carry(MAX_WIDE, fds[MAX_WIDE], n_parts);
	carry(4, fds[4], n_parts);
}
END_TEST

/* Nobody reads: what the socket does not take waits in the larger buffer, and nothing is lost. */
START_TEST(more_credit_is_enforced)
{
	struct header header = packet(7, 80, RW);
	struct header credit;
	uint32_t sent = WIDE_BYTES, at = 0;
	uint8_t *data = malloc(4096);
	int fd;

	header.len = PART_BYTES;
	begin_fully();
	fd = establish(7, 80);
	carry(7, fd, WIDE_BYTES / PART_BYTES);
	for (;;) {
		credit = credit_of(7);
		ck_assert_uint_eq(credit.buf_alloc, WIDE_BYTES);
		if (sent - credit.fwd_cnt + PART_BYTES > WIDE_BYTES)
			break;
		send_packet(&header, (uint8_t)(sent / PART_BYTES));
		sent += PART_BYTES;
	}
	ck_assert_uint_gt(sent - credit.fwd_cnt, WIDE_BYTES - PART_BYTES);
	for (uint32_t i = WIDE_BYTES; i < sent; i++, at = (at + 1) % 4096) {
		if (at == 0)
			ck_assert_int_eq(vmm_base_read_full(fd, data, 4096), 0);
		ck_assert_uint_eq(data[at], (uint8_t)(i / PART_BYTES + i % PART_BYTES));
	}
	ck_assert_uint_eq(credit_of(7).fwd_cnt, sent);
	for (int i = 0; i < 200 && status().n_reset == 0; i++)
		send_packet(&header, 0);
	ck_assert_uint_eq(status().n_reset, 1);
	free(data);
}
END_TEST

void add_wide_tests(TCase *tcase)
{
	tcase_add_test(tcase, long_streams_get_more_credit);
	tcase_add_test(tcase, more_credit_is_enforced);
}
