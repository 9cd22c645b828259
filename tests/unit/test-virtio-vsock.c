/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-vsock-fixture.h"

START_TEST(tells_its_cid)
{
	uint64_t cid = 0;

	begin_fully();
	driver_config_read(&driver, 0, &cid, sizeof(cid));
	ck_assert_uint_eq(cid, GUEST_CID);
	ck_assert_uint_eq(driver_read(&driver, 0x008), 19);
}
END_TEST

START_TEST(guest_connects_and_data_flows)
{
	struct header header;
	const uint8_t *data;
	uint8_t buffer[1000];
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	header = packet(1025, 80, RW);
	header.len = sizeof(buffer);
	send_packet(&header, 5);
	ck_assert_int_eq(vmm_base_read_full(fd, buffer, sizeof(buffer)), 0);
	for (unsigned int i = 0; i < sizeof(buffer); i++)
		ck_assert_uint_eq(buffer[i], (uint8_t)(5 + i));
	ck_assert_int_eq(vmm_base_write_full(fd, "hello", 5), 0);
	header = receive_packet(&data);
	ck_assert_uint_eq(header.op, RW);
	ck_assert_uint_eq(header.len, 5);
	ck_assert_uint_eq(header.fwd_cnt, 1000);
	ck_assert_mem_eq(data, "hello", 5);
	send_op(1025, 80, SHUTDOWN, 3);
	expect_op(1025, 80, RST);
	ck_assert_int_eq(read(fd, buffer, 1), 0);
	ck_assert_uint_eq(status().n_connections, 0);
}
END_TEST

START_TEST(refused_and_pending)
{
	int fds[2];

	begin_fully();
	refusing = true;
	send_op(1025, 80, REQUEST, 0);
	expect_op(1025, 80, RST);
	refusing = false;
	pending = true;
	send_op(1025, 81, REQUEST, 0);
	expect_nothing();
	stop_loop();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(vmm_virtio_vsock_answer(vsock, pending_id + 1, dup(fds[0])), -ENOENT);
	ck_assert_int_eq(vmm_virtio_vsock_answer(vsock, pending_id, fds[0]), 0);
	ck_assert_int_eq(vmm_virtio_vsock_answer(vsock, pending_id, -1), -ENOENT);
	host_fds[n_host_fds++] = fds[1];
	resume_loop();
	expect_op(1025, 81, RESPONSE);
	send_op(1025, 82, REQUEST, 0);
	expect_nothing();
	stop_loop();
	ck_assert_int_eq(vmm_virtio_vsock_answer(vsock, pending_id, -ECONNREFUSED), 0);
	resume_loop();
	expect_op(1025, 82, RST);
}
END_TEST

static int opened_result = -1;

static void note_opened(void *userdata, bool established)
{
	__atomic_store_n(&opened_result, established, __ATOMIC_RELEASE);
}

static uint32_t open_to_guest(uint32_t port, int *ret_fd)
{
	uint32_t host_port;
	int fds[2];

	opened_result = -1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	stop_loop();
	ck_assert_int_eq(vmm_virtio_vsock_open(vsock, port, VMM_VSOCK_STREAM, fds[0], note_opened,
				 NULL, &host_port),
		0);
	resume_loop();
	host_fds[n_host_fds++] = fds[1];
	*ret_fd = fds[1];
	return host_port;
}

START_TEST(no_packet_is_overlooked)
{
	struct vring_buffer buffer = { TX_GPA, sizeof(struct header), false };
	struct header header = packet(1025, 80, RST);

	begin_fully();
	memcpy(driver_pointer(&driver, TX_GPA, sizeof(header)), &header, sizeof(header));
	ck_assert_uint_gt(driver_hammer(&driver, TRANSMIT, &buffer), 0);
	establish(1025, 80);
}
END_TEST

START_TEST(host_connects)
{
	uint32_t host_port;
	char byte;
	int fd;

	begin_fully();
	host_port = open_to_guest(22, &fd);
	expect_op(22, host_port, REQUEST);
	ck_assert_int_eq(opened_result, -1);
	send_op(22, host_port, RESPONSE, 0);
	ck_assert_int_eq(__atomic_load_n(&opened_result, __ATOMIC_ACQUIRE), 1);
	ck_assert_int_eq(vmm_base_write_full(fd, "x", 1), 0);
	expect_op(22, host_port, RW);
	host_port = open_to_guest(23, &fd);
	expect_op(23, host_port, REQUEST);
	send_op(23, host_port, RST, 0);
	ck_assert_int_eq(__atomic_load_n(&opened_result, __ATOMIC_ACQUIRE), 0);
	ck_assert_int_eq(read(fd, &byte, 1), 0);
}
END_TEST

START_TEST(guest_that_never_answers)
{
	uint32_t host_port;
	int fd;

	begin_fully();
	host_port = open_to_guest(22, &fd);
	expect_op(22, host_port, REQUEST);
	for (int i = 0; i < 400 && __atomic_load_n(&opened_result, __ATOMIC_ACQUIRE) < 0; i++)
		usleep(10000);
	ck_assert_int_eq(opened_result, 0);
	expect_op(22, host_port, RST);
	send_op(22, host_port, RESPONSE, 0);
	expect_op(22, host_port, RST);
}
END_TEST

START_TEST(half_close_both_ways)
{
	struct header header;
	char byte;
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	send_op(1025, 80, SHUTDOWN, 2);
	ck_assert_int_eq(read(fd, &byte, 1), 0);
	ck_assert_int_eq(vmm_base_write_full(fd, "still", 5), 0);
	header = expect_op(1025, 80, RW);
	ck_assert_uint_eq(header.len, 5);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	header = expect_op(1025, 80, SHUTDOWN);
	ck_assert_uint_eq(header.flags & 2, 2);
	send_op(1025, 80, SHUTDOWN, 3);
	expect_op(1025, 80, RST);

	fd = establish(1026, 80);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	header = expect_op(1026, 80, SHUTDOWN);
	ck_assert_uint_eq(header.flags, 2);
	header = packet(1026, 80, RW);
	header.len = 10;
	send_packet(&header, 1);
	ck_assert_int_eq(read(fd, &byte, 1), 1);
}
END_TEST

START_TEST(host_that_closes)
{
	struct header header;
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	ck_assert_int_eq(vmm_base_write_full(fd, "last words", 10), 0);
	close(fd);
	n_host_fds = 0;
	header = expect_op(1025, 80, RW);
	ck_assert_uint_eq(header.len, 10);
	header = expect_op(1025, 80, SHUTDOWN);
	ck_assert_uint_eq(header.flags, 3);
	/* Data that was on its way is nobody's fault. */
	header = packet(1025, 80, RW);
	header.len = 10;
	send_packet(&header, 1);
	expect_nothing();
	send_op(1025, 80, RST, 0);
	expect_nothing();
	ck_assert_uint_eq(status().n_connections, 0);
	ck_assert_uint_eq(status().n_reset, 0);
}
END_TEST

START_TEST(credit_is_told_and_enforced)
{
	struct header header;
	uint8_t *data = malloc(BUFFER_BYTES);
	uint32_t sent = 0;
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	/* What the socket takes is credit again; what waits beyond that is the buffer. */
	header = packet(1025, 80, RW);
	header.len = 32768;
	for (int i = 0; i < 200; i++) {
		struct header credit = packet(1025, 80, CREDIT_REQUEST);
		uint32_t forwarded;

		send_packet(&credit, 0);
		forwarded = expect_op(1025, 80, CREDIT_UPDATE).fwd_cnt;
		while (is_used(RECEIVE))
			forwarded = receive_packet(NULL).fwd_cnt;
		if (sent - forwarded + header.len > BUFFER_BYTES)
			break;
		send_packet(&header, 0);
		sent += header.len;
	}
	ck_assert_uint_gt(sent, BUFFER_BYTES - 1);
	/* The reader makes room: a unix socket is writable again when it is nearly empty. */
	for (uint32_t left = sent - BUFFER_BYTES; left > 0; left -= MIN(left, 4096u))
		ck_assert_int_eq(vmm_base_read_full(fd, data, MIN(left, 4096u)), 0);
	expect_op(1025, 80, CREDIT_UPDATE);
	/* And one who sends without credit is out. */
	for (int i = 0; i < 200 && status().n_reset == 0; i++)
		send_packet(&header, 0);
	ck_assert_uint_eq(status().n_reset, 1);
	ck_assert_uint_eq(status().n_connections, 0);
	free(data);
}
END_TEST

START_TEST(guest_credit_is_kept)
{
	struct header header = packet(1025, 80, REQUEST);
	uint8_t data[3000] = { 0 };
	int fd;

	begin_fully();
	header.buf_alloc = 1000;
	send_packet(&header, 0);
	expect_op(1025, 80, RESPONSE);
	fd = host_fds[0];
	ck_assert_int_eq(vmm_base_write_full(fd, data, sizeof(data)), 0);
	ck_assert_uint_eq(expect_op(1025, 80, RW).len, 1000);
	expect_nothing();
	header = packet(1025, 80, CREDIT_UPDATE);
	header.buf_alloc = 1000;
	header.fwd_cnt = 600;
	send_packet(&header, 0);
	ck_assert_uint_eq(expect_op(1025, 80, RW).len, 600);
	/* A count ahead of what was sent is no credit. */
	header.fwd_cnt = 5000;
	send_packet(&header, 0);
	expect_nothing();
	header.fwd_cnt = 1600;
	send_packet(&header, 0);
	ck_assert_uint_eq(expect_op(1025, 80, RW).len, 1000);
}
END_TEST

START_TEST(stream_of_a_megabyte)
{
	struct header credit = packet(1025, 80, CREDIT_UPDATE);
	uint8_t *data = malloc(1 << 20);
	uint32_t received = 0, told = 0;
	const uint8_t *part;
	size_t written = 0;
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	for (uint32_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	while (received < 1 << 20) {
		ssize_t n = send(fd, data + written, (1 << 20) - written, MSG_DONTWAIT);
		struct header header;

		if (n > 0)
			written += (size_t)n;
		header = receive_packet(&part);
		ck_assert_uint_eq(header.op, RW);
		ck_assert_mem_eq(part, data + received, header.len);
		received += header.len;
		if (received - told >= 65536) {
			credit.fwd_cnt = told = received;
			send_packet(&credit, 0);
		}
	}
	free(data);
}
END_TEST

START_TEST(seqpacket_keeps_messages)
{
	struct header header = packet(1025, 80, REQUEST);
	uint8_t data[10000];
	const uint8_t *part;
	int fd;

	begin_fully();
	socket_type = SOCK_SEQPACKET;
	header.type = VMM_VSOCK_SEQPACKET;
	send_packet(&header, 0);
	expect_op(1025, 80, RESPONSE);
	fd = host_fds[0];
	/* One message in two packets, then another. */
	header.op = RW;
	header.len = 3000;
	send_packet(&header, 0);
	header.flags = 1;
	send_packet(&header, 1);
	header.len = 5;
	send_packet(&header, 9);
	ck_assert_int_eq(recv(fd, data, sizeof(data), 0), 6000);
	ck_assert_uint_eq(data[3000], 1);
	ck_assert_int_eq(recv(fd, data, sizeof(data), 0), 5);
	ck_assert_uint_eq(data[0], 9);
	/* And back: three packets, the last one marked. */
	memset(data, 7, sizeof(data));
	ck_assert_int_eq(send(fd, data, 9000, 0), 9000);
	header = receive_packet(&part);
	ck_assert_uint_eq(header.len, 4096);
	ck_assert_uint_eq(header.flags, 0);
	ck_assert_uint_eq(receive_packet(&part).len, 4096);
	header = receive_packet(&part);
	ck_assert_uint_eq(header.len, 9000 - 8192);
	ck_assert_uint_eq(header.flags & 1, 1);
	ck_assert_uint_eq(part[0], 7);
	ck_assert_int_eq(send(fd, data, 5, 0), 5);
	ck_assert_uint_eq(receive_packet(NULL).len, 5);
	close(fd);
	n_host_fds = 0;
	expect_op(1025, 80, SHUTDOWN);
}
END_TEST

START_TEST(reset_ends_connections)
{
	char byte;
	int fd;

	begin_fully();
	fd = establish(1025, 80);
	driver_reset(&driver);
	ck_assert_int_eq(read(fd, &byte, 1), 0);
	first_used = 0;
	start_driver(N_RX);
	establish(1025, 80);
	ck_assert_uint_eq(status().n_connections, 1);
}
END_TEST

START_TEST(pause_keeps_connections)
{
	struct vmm_virtio_device *device;
	int fd;

	begin_fully();
	device = vmm_virtio_vsock_device(vsock);
	fd = establish(1025, 80);
	ck_assert_int_eq(vmm_virtio_pause(device, NULL, NULL), 0);
	ck_assert_int_eq(vmm_base_write_full(fd, "later", 5), 0);
	expect_nothing();
	vmm_virtio_resume(device);
	ck_assert_uint_eq(expect_op(1025, 80, RW).len, 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-vsock");
	TCase *tcase = unit_case(suite, "virtio-vsock");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, tells_its_cid);
	tcase_add_test(tcase, guest_connects_and_data_flows);
	tcase_add_test(tcase, refused_and_pending);
	tcase_add_test(tcase, no_packet_is_overlooked);
	tcase_add_test(tcase, host_connects);
	tcase_add_test(tcase, guest_that_never_answers);
	tcase_add_test(tcase, half_close_both_ways);
	tcase_add_test(tcase, host_that_closes);
	tcase_add_test(tcase, credit_is_told_and_enforced);
	tcase_add_test(tcase, guest_credit_is_kept);
	tcase_add_test(tcase, stream_of_a_megabyte);
	tcase_add_test(tcase, seqpacket_keeps_messages);
	tcase_add_test(tcase, reset_ends_connections);
	tcase_add_test(tcase, pause_keeps_connections);
	/* Thousands of round trips between two threads: slow where other work is going on. */
	tcase = unit_case(suite, "hostile");
	tcase_add_checked_fixture(tcase, setup, teardown);
	add_hostile_tests(tcase);

	tcase = unit_case(suite, "many");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	add_many_tests(tcase);
	add_wide_tests(tcase);
	return unit_run(suite);
}
