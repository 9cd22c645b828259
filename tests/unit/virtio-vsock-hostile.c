/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What guests and clients of the mux can do wrong. */
#include "virtio-vsock-fixture.h"

/* One packet, to a device with a connection 1025:80, and what comes back: 0 for nothing. */
static const struct {
	uint64_t src_cid, dst_cid;
	uint32_t host_port;
	uint16_t type, op;
	uint16_t answer;
} hostile_packets[] = {
	{ GUEST_CID, 2, 99, 1, RW, RST },
	{ GUEST_CID, 2, 99, 1, RST, 0 },
	{ GUEST_CID, 2, 99, 1, SHUTDOWN, RST },
	{ GUEST_CID, 2, 99, 1, RESPONSE, RST },
	{ GUEST_CID, 2, 99, 1, CREDIT_UPDATE, RST },
	{ GUEST_CID, 2, 99, 1, 0, RST },
	{ GUEST_CID, 2, 99, 1, 77, RST },
	{ GUEST_CID, 2, 99, 3, REQUEST, RST },
	{ GUEST_CID, 2, 99, 0, REQUEST, RST },
	{ GUEST_CID, 2, 80, 2, RW, RST },
	{ GUEST_CID, 2, 80, 1, REQUEST, RST },
	{ GUEST_CID, 2, 80, 1, RESPONSE, RST },
	{ GUEST_CID, 2, 80, 1, 77, RST },
	{ GUEST_CID, 2, 80, 1, RST, 0 },
	{ GUEST_CID, 3, 80, 1, RW, 0 },
	{ GUEST_CID + 1, 2, 80, 1, RW, 0 },
	{ 2, GUEST_CID, 80, 1, RW, 0 },
};

START_TEST(hostile_packets_are_answered)
{
	struct header header = packet(1025, hostile_packets[_i].host_port, hostile_packets[_i].op);

	begin_fully();
	establish(1025, 80);
	header.src_cid = hostile_packets[_i].src_cid;
	header.dst_cid = hostile_packets[_i].dst_cid;
	header.type = hostile_packets[_i].type;
	send_packet(&header, 0);
	if (hostile_packets[_i].answer)
		ck_assert_uint_eq(receive_packet(NULL).op, hostile_packets[_i].answer);
	expect_nothing();
	establish(1026, 80);
}
END_TEST

static const struct {
	uint32_t len;     /* as the header says */
	uint32_t payload; /* as it is */
	uint32_t header_bytes;
} broken_packets[] = {
	{ 0, 0, 43 },
	{ 0, 0, 1 },
	{ 1, 0, 44 },
	{ 100, 99, 44 },
	{ 0xffffffff, 100, 44 },
	{ VMM_VSOCK_MAX_PACKET_BYTES + 1, VMM_VSOCK_MAX_PACKET_BYTES + 1, 44 },
};

START_TEST(broken_packets_break_the_queue)
{
	struct header header = packet(1025, 80, RW);
	struct vring_buffer pieces[] = {
		{ TX_GPA, broken_packets[_i].header_bytes, false },
		{ TX_GPA + 44, broken_packets[_i].payload, false },
	};

	begin_fully();
	header.len = broken_packets[_i].len;
	memcpy(driver_pointer(&driver, TX_GPA, 44), &header, 44);
	driver_add(&driver, TRANSMIT, pieces, broken_packets[_i].payload ? 2 : 1, 0);
	for (int i = 0; i < 1000 && !(driver_status(&driver) & 64); i++)
		usleep(1000);
	ck_assert_uint_eq(driver_status(&driver) & 64, 64);
	first_used = 0;
	start_driver(N_RX);
	establish(1026, 80);
}
END_TEST

START_TEST(answers_wait_for_buffers)
{
	unsigned int n_done = 0;

	begin(0);
	first_used = 0;
	/* More than the device keeps: the transmit queue must stop taking. */
	for (unsigned int i = 0; i < 300; i++) {
		struct header header = packet(i, 99, RW);
		struct vring_buffer piece = { TX_GPA, 44, false };

		memcpy(driver_pointer(&driver, TX_GPA, 44), &header, 44);
		driver_add(&driver, TRANSMIT, &piece, 1, 0);
		for (int j = 0; j < 500 && !is_used(TRANSMIT); j++)
			usleep(100);
		if (!is_used(TRANSMIT))
			break;
		ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
		n_done++;
	}
	ck_assert_uint_eq(n_done, 128);
	for (unsigned int i = 0; i < N_RX; i++)
		give_buffer();
	for (unsigned int i = 0; i < 129; i++)
		ck_assert_uint_eq(receive_packet(NULL).op, RST);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}
END_TEST

START_TEST(many_empty_messages_are_bounded)
{
	struct header header = packet(1025, 80, REQUEST);

	buffer_bytes = 4096;
	begin_fully();
	socket_type = SOCK_SEQPACKET;
	header.type = VMM_VSOCK_SEQPACKET;
	send_packet(&header, 0);
	expect_op(1025, 80, RESPONSE);
	header.op = RW;
	header.flags = 1;
	for (int i = 0; i < 100000 && status().n_reset == 0; i++)
		send_packet(&header, 0);
	ck_assert_uint_eq(status().n_reset, 1);
}
END_TEST

static const struct {
	const char *line;
	bool good;
} lines[] = {
	{ "CONNECT 1024\n", true },
	{ "CONNECT 4294967295\n", true },
	{ "CONNECT 4294967296\n", false },
	{ "CONNECT \n", false },
	{ "CONNECT -1\n", false },
	{ "CONNECT 12a\n", false },
	{ "connect 12\n", false },
	{ "\n", false },
	{ "CONNECT 00000000000000000000000000000000000000001\n", false },
};

START_TEST(mux_speaks_connect)
{
	struct vmm_vsock_mux *mux;
	struct header header;
	char answer[64] = "";
	int fd;

	begin_fully();
	mux = mux_begin();
	fd = mux_connect();
	/* In two parts, and with what belongs to the guest right behind. */
	ck_assert_int_eq(vmm_base_write_full(fd, lines[_i].line, 1), 0);
	usleep(1000);
	ck_assert_int_eq(
		vmm_base_write_full(fd, lines[_i].line + 1, strlen(lines[_i].line) - 1), 0);
	if (lines[_i].good) {
		uint32_t port = (uint32_t)strtoul(lines[_i].line + 8, NULL, 10);
		char expected[64];

		ck_assert_int_eq(vmm_base_write_full(fd, "data", 4), 0);
		header = receive_packet(NULL);
		ck_assert_uint_eq(header.op, REQUEST);
		ck_assert_uint_eq(header.dst_port, port);
		send_op(port, header.src_port, RESPONSE, 0);
		snprintf(expected, sizeof(expected), "OK %u\n", header.src_port);
		ck_assert_int_eq(vmm_base_read_full(fd, answer, strlen(expected)), 0);
		ck_assert_str_eq(answer, expected);
		ck_assert_uint_eq(expect_op(port, header.src_port, RW).len, 4);
	} else {
		ck_assert_int_le(read(fd, answer, 1), 0);
		expect_nothing();
	}
	close(fd);
	/* One that is asked for still, when the mux goes. */
	fd = mux_connect();
	ck_assert_int_eq(vmm_base_write_full(fd, "CONNECT 5\n", 10), 0);
	usleep(5000);
	mux_end(mux);
	ck_assert_int_le(read(fd, answer, 1), 0);
	close(fd);
}
END_TEST

void add_hostile_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, hostile_packets_are_answered, 0, ARRAY_SIZE(hostile_packets));
	tcase_add_loop_test(tcase, broken_packets_break_the_queue, 0, ARRAY_SIZE(broken_packets));
	tcase_add_test(tcase, answers_wait_for_buffers);
	tcase_add_test(tcase, many_empty_messages_are_bounded);
	tcase_add_loop_test(tcase, mux_speaks_connect, 0, ARRAY_SIZE(lines));
}
