/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmmcore/virtio-vsock.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define RECEIVE 0
#define TRANSMIT 1

#define GUEST_CID 42
#define F_STREAM (UINT64_C(1) << 0)
#define F_SEQPACKET (UINT64_C(1) << 1)
#define BUFFER_BYTES 65536

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

/* Receive buffers of 4 KiB and a header each; transmit packets lie elsewhere. */
#define RX_GPA DRIVER_DATA_GPA
#define RX_BYTES (4096 + 44)
#define RX_STRIDE UINT64_C(8192)
#define N_RX 64
#define TX_GPA (DRIVER_DATA_GPA + (UINT64_C(4) << 20))

struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static struct driver driver;
static struct vmm_loop *loop;
static struct vmm_virtio_vsock *vsock;
static pthread_t loop_thread;
static unsigned int next_rx;

/* What connect() does: the host's end of each connection, in order. */
static int host_fds[8192];
static unsigned int n_host_fds;
static bool refusing, pending;
static uint64_t pending_id;
static int socket_type = SOCK_STREAM;
static uint32_t buffer_bytes;

static int connect_socketpair(void *userdata, const struct vmm_vsock_request *request)
{
	int fds[2];

	if (refusing)
		return -ECONNREFUSED;
	if (pending) {
		__atomic_store_n(&pending_id, request->id, __ATOMIC_RELEASE);
		return VMM_VSOCK_PENDING;
	}
	if (socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	host_fds[n_host_fds++] = fds[1];
	return fds[0];
}

static const struct vmm_vsock_ops vsock_ops = { .connect = connect_socketpair };

static void *run_loop(void *userdata)
{
	ck_assert_int_eq(vmm_loop_run(loop), 0);
	return NULL;
}

static void give_buffer(void)
{
	struct vring_buffer buffer = { RX_GPA + next_rx++ % N_RX * RX_STRIDE, RX_BYTES, true };

	driver_add(&driver, RECEIVE, &buffer, 1, 0);
}

static void start_driver(unsigned int n_buffers)
{
	next_rx = 0;
	ck_assert(driver_start(&driver, F_STREAM | F_SEQPACKET, 3, N_RX));
	while (n_buffers-- > 0)
		give_buffer();
}

static void begin(unsigned int n_buffers)
{
	struct vmm_virtio_vsock_config config = {
		.mem = driver.mem,
		.loop = loop,
		.guest_cid = GUEST_CID,
		.ops = &vsock_ops,
		.buffer_bytes = buffer_bytes,
	};

	ck_assert_int_eq(vmm_virtio_vsock_new(&config, &vsock), 0);
	driver_attach(&driver, vmm_virtio_vsock_device(vsock));
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	start_driver(n_buffers);
}

static void setup(void)
{
	driver_init(&driver);
	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	vsock = NULL;
	n_host_fds = 0;
	refusing = pending = false;
	pending_id = 0;
	socket_type = SOCK_STREAM;
	buffer_bytes = BUFFER_BYTES;
}

static void stop_loop(void)
{
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
}

static void resume_loop(void)
{
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
}

static void teardown(void)
{
	if (vsock) {
		stop_loop();
		driver_detach(&driver);
	}
	vsock = vmm_virtio_vsock_free(vsock);
	loop = vmm_loop_free(loop);
	driver_finish(&driver);
	while (n_host_fds > 0)
		close(host_fds[--n_host_fds]);
}

static struct vmm_virtio_vsock_status status(void)
{
	struct vmm_virtio_vsock_status result;

	vmm_virtio_vsock_get_status(vsock, &result);
	return result;
}

static struct header packet(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct header){
		.src_cid = GUEST_CID,
		.dst_cid = VMM_VSOCK_CID_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VMM_VSOCK_STREAM,
		.op = op,
		.buf_alloc = 262144,
	};
}

/* Sends a packet with len bytes of payload that is seed, seed + 1... */
static void send_packet(const struct header *header, uint8_t seed)
{
	uint8_t *at = driver_pointer(&driver, TX_GPA, sizeof(*header) + header->len);
	struct vring_buffer pieces[] = {
		{ TX_GPA, sizeof(*header), false },
		{ TX_GPA + sizeof(*header), header->len, false },
	};

	memcpy(at, header, sizeof(*header));
	for (uint32_t i = 0; i < header->len; i++)
		at[sizeof(*header) + i] = (uint8_t)(seed + i);
	driver_add(&driver, TRANSMIT, pieces, header->len > 0 ? 2 : 1, 0);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}

static void send_op(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
	struct header header = packet(guest_port, host_port, op);

	header.flags = flags;
	send_packet(&header, 0);
}

static unsigned int first_used;

/* The next packet for the guest. Its buffer is given back. */
static struct header receive_packet(const uint8_t **ret_data)
{
	static uint8_t copy[RX_BYTES];
	struct header header;
	uint32_t length;

	ck_assert(driver_wait_used(&driver, RECEIVE, NULL, &length));
	memcpy(copy, driver_pointer(&driver, RX_GPA + first_used++ % N_RX * RX_STRIDE, RX_BYTES),
		RX_BYTES);
	memcpy(&header, copy, sizeof(header));
	ck_assert_uint_eq(length, sizeof(header) + header.len);
	ck_assert_uint_eq(header.src_cid, VMM_VSOCK_CID_HOST);
	ck_assert_uint_eq(header.dst_cid, GUEST_CID);
	if (ret_data)
		*ret_data = copy + sizeof(header);
	give_buffer();
	return header;
}

static struct header expect_op(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	struct header header = receive_packet(NULL);

	ck_assert_uint_eq(header.op, op);
	ck_assert_uint_eq(header.src_port, host_port);
	ck_assert_uint_eq(header.dst_port, guest_port);
	return header;
}

static bool is_used(unsigned int queue)
{
	return driver.rings[queue].used[1] != driver.rings[queue].last_used;
}

static void expect_nothing(void)
{
	usleep(20000);
	ck_assert(!is_used(RECEIVE));
}

/* Returns the host's end. */
static int establish(uint32_t guest_port, uint32_t host_port)
{
	struct header header;

	send_op(guest_port, host_port, REQUEST, 0);
	header = expect_op(guest_port, host_port, RESPONSE);
	ck_assert_uint_eq(header.buf_alloc, BUFFER_BYTES);
	return host_fds[n_host_fds - 1];
}

static void begin_fully(void)
{
	first_used = 0;
	begin(N_RX);
}

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

static int connect_mux(const struct sockaddr_un *address, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (const struct sockaddr *)address, size), 0);
	return fd;
}

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
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct vmm_vsock_mux *mux;
	struct header header;
	char answer[64] = "";
	socklen_t size;
	int fd, listen_fd;

	begin_fully();
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(address.sun_path + 1, 64, "vsock-test-%d", getpid()));
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(listen(listen_fd, 8), 0);
	stop_loop();
	ck_assert_int_eq(vmm_vsock_mux_new(vsock, listen_fd, &mux), 0);
	resume_loop();
	fd = connect_mux(&address, size);
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
	fd = connect_mux(&address, size);
	ck_assert_int_eq(vmm_base_write_full(fd, "CONNECT 5\n", 10), 0);
	usleep(5000);
	stop_loop();
	vmm_vsock_mux_free(mux);
	resume_loop();
	ck_assert_int_le(read(fd, answer, 1), 0);
	close(fd);
	close(listen_fd);
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
	tcase_add_test(tcase, host_connects);
	tcase_add_test(tcase, guest_that_never_answers);
	tcase_add_test(tcase, half_close_both_ways);
	tcase_add_test(tcase, host_that_closes);
	tcase_add_test(tcase, credit_is_told_and_enforced);
	tcase_add_test(tcase, guest_credit_is_kept);
	tcase_add_loop_test(tcase, hostile_packets_are_answered, 0, ARRAY_SIZE(hostile_packets));
	tcase_add_loop_test(tcase, broken_packets_break_the_queue, 0, ARRAY_SIZE(broken_packets));
	tcase_add_test(tcase, answers_wait_for_buffers);
	tcase_add_test(tcase, stream_of_a_megabyte);
	tcase_add_test(tcase, seqpacket_keeps_messages);
	tcase_add_test(tcase, many_empty_messages_are_bounded);
	tcase_add_test(tcase, reset_ends_connections);
	tcase_add_test(tcase, pause_keeps_connections);
	tcase_add_loop_test(tcase, mux_speaks_connect, 0, ARRAY_SIZE(lines));
	/* Thousands of round trips between two threads: slow where other work is going on. */
	tcase = unit_case(suite, "many");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, many_connections);
	return unit_run(suite);
}
