/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Many connections: at a time, and one after another. */
#include <dirent.h>

#include "virtio-vsock-fixture.h"

START_TEST(many_connections)
{
	struct rlimit limit;
	enum { N = 4096 };

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_uint_gt(limit.rlim_max, 2 * N + 100);
	begin_fully();
	for (uint32_t i = 0; i < N; i++)
		establish(i, 80);
	ck_assert_uint_eq(status().n_connections, N);
	send_op(N, 80, REQUEST, 0);
	expect_op(N, 80, RST);
	for (uint32_t i = 0; i < N; i += 97) {
		ck_assert_int_eq(vmm_base_write_full(host_fds[i], "x", 1), 0);
		expect_op(i, 80, RW);
	}
	for (uint32_t i = 0; i < N; i++)
		send_op(i, 80, RST, 0);
	ck_assert_uint_eq(status().n_connections, 0);
	establish(7, 80);
}
END_TEST

static unsigned int n_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void send_data(uint32_t guest_port, uint32_t host_port, uint32_t length)
{
	struct header header = packet(guest_port, host_port, RW);

	header.len = length;
	send_packet(&header, (uint8_t)guest_port);
}

/* Both ends say something, and the guest says goodbye. */
static void guest_comes_and_goes(uint32_t guest_port)
{
	uint8_t answer[8];
	int fd = establish(guest_port, 80);

	send_data(guest_port, 80, sizeof(answer));
	ck_assert_int_eq(vmm_base_read_full(fd, answer, sizeof(answer)), 0);
	ck_assert_uint_eq(answer[7], (uint8_t)(guest_port + 7));
	ck_assert_int_eq(vmm_base_write_full(fd, "hello", 5), 0);
	ck_assert_uint_eq(expect_op(guest_port, 80, RW).len, 5);
	send_op(guest_port, 80, SHUTDOWN, 3);
	expect_op(guest_port, 80, RST);
	ck_assert_int_eq(read(fd, answer, 1), 0);
	close(fd);
	n_host_fds = 0;
}

/* The same of a client of the mux, which ends it. */
static void client_comes_and_goes(uint32_t guest_port)
{
	char line[32], answer[32], expected[32];
	struct header header;
	int fd = mux_connect();

	snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);
	ck_assert_int_eq(vmm_base_write_full(fd, line, strlen(line)), 0);
	header = receive_packet(NULL);
	ck_assert_uint_eq(header.op, REQUEST);
	ck_assert_uint_eq(header.dst_port, guest_port);
	send_op(guest_port, header.src_port, RESPONSE, 0);
	snprintf(expected, sizeof(expected), "OK %u\n", header.src_port);
	ck_assert_int_eq(vmm_base_read_full(fd, answer, strlen(expected)), 0);
	ck_assert_mem_eq(answer, expected, strlen(expected));
	send_data(guest_port, header.src_port, 8);
	ck_assert_int_eq(vmm_base_read_full(fd, answer, 8), 0);
	ck_assert_int_eq(vmm_base_write_full(fd, "hello", 5), 0);
	ck_assert_uint_eq(expect_op(guest_port, header.src_port, RW).len, 5);
	close(fd);
	ck_assert_uint_eq(expect_op(guest_port, header.src_port, SHUTDOWN).flags, 3);
	send_op(guest_port, header.src_port, RST, 0);
}

START_TEST(thousands_come_and_go)
{
	enum { N = 1000 };
	struct vmm_vsock_mux *mux;
	unsigned int before;

	begin_fully();
	mux = mux_begin();
	before = n_descriptors();
	for (uint32_t i = 0; i < N; i++) {
		guest_comes_and_goes(i);
		client_comes_and_goes(i);
	}
	ck_assert_uint_eq(status().n_connections, 0);
	ck_assert_uint_eq(n_descriptors(), before);
	mux_end(mux);
}
END_TEST

void add_many_tests(TCase *tcase)
{
	tcase_add_test(tcase, many_connections);
	tcase_add_test(tcase, thousands_come_and_go);
}
