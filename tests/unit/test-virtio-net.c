/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmmcore/virtio-net.h>

#include "base/util.h"
#include "examples/loopback.h"
#include "lib/driver.h"
#include "unit.h"

#define RECEIVE 0
#define TRANSMIT 1
#define CONTROL 2

#define F_CSUM (UINT64_C(1) << 0)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_STATUS (UINT64_C(1) << 16)
#define F_CTRL_VQ (UINT64_C(1) << 17)
#define F_GUEST_ANNOUNCE (UINT64_C(1) << 21)
#define F_MQ (UINT64_C(1) << 22)
#define F_CTRL_MAC_ADDR (UINT64_C(1) << 23)
#define F_USUAL (F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE)

#define HEADER VMM_NET_HEADER_BYTES
#define TX_GPA DRIVER_DATA_GPA
#define RX_GPA (DRIVER_DATA_GPA + (UINT64_C(1) << 20))
#define CTRL_GPA (DRIVER_DATA_GPA - 8192)

static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

static struct driver driver;
static struct vmm_loop *loop;
static struct loopback *cable;
static struct vmm_virtio_net *net;
static pthread_t loop_thread;
static bool loop_runs;

static void *run_loop(void *userdata)
{
	ck_assert_int_eq(vmm_loop_run(loop), 0);
	return NULL;
}

static struct vmm_virtio_net_config base_config(struct vmm_net_backend backend)
{
	struct vmm_virtio_net_config config = {
		.mem = driver.mem,
		.backend = backend,
		.loops = &loop,
		.n_loops = 1,
	};

	memcpy(config.mac, mac, sizeof(mac));
	return config;
}

static void begin(const struct vmm_virtio_net_config *config, uint64_t features)
{
	unsigned int n_queues = (config->n_pairs ? config->n_pairs : 1) * 2 + 1;

	ck_assert_int_eq(vmm_virtio_net_new(config, &net), 0);
	driver_attach(&driver, vmm_virtio_net_device(net));
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	loop_runs = true;
	ck_assert(driver_start(&driver, features, n_queues, 64));
}

static void begin_loopback(uint64_t features)
{
	struct vmm_virtio_net_config config = base_config(loopback_backend(cable));

	begin(&config, features);
}

static void setup(void)
{
	driver_init(&driver);
	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	cable = loopback_new();
	net = NULL;
	loop_runs = false;
}

static void teardown(void)
{
	if (loop_runs) {
		vmm_loop_quit(loop, 0);
		ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	}
	if (net)
		driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	loopback_free(cable);
	loop = vmm_loop_free(loop);
	driver_finish(&driver);
}

static struct vmm_virtio_net_status status(void)
{
	struct vmm_virtio_net_status result;

	vmm_virtio_net_get_status(net, &result);
	return result;
}

static void read_config(uint8_t config[12])
{
	for (uint32_t i = 0; i < 12; i++)
		driver_config_read(&driver, i, &config[i], 1);
}

static void give_buffers(unsigned int n, uint32_t size)
{
	for (unsigned int i = 0; i < n; i++) {
		struct vring_buffer buffer = { RX_GPA + i * UINT64_C(65536), size, true };

		driver_add(&driver, RECEIVE, &buffer, 1, 0);
	}
}

/* A frame of size bytes behind a header of zeroes, in two pieces. */
static void transmit(uint32_t size, uint8_t seed)
{
	uint8_t *frame = driver_pointer(&driver, TX_GPA, HEADER + size);
	struct vring_buffer pieces[] = {
		{ TX_GPA, HEADER, false },
		{ TX_GPA + HEADER, size, false },
	};

	memset(frame, 0, HEADER);
	for (uint32_t i = 0; i < size; i++)
		frame[HEADER + i] = (uint8_t)(seed + i * 7);
	driver_add(&driver, TRANSMIT, pieces, 2, 0);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}

/* A frame of size bytes in used buffers of buffer_size each, the first being buffer number n. */
static void expect(uint32_t size, uint8_t seed, uint32_t buffer_size, unsigned int n)
{
	uint32_t left = size + HEADER, at = 0, length;
	unsigned int n_buffers = (left + buffer_size - 1) / buffer_size;

	for (unsigned int i = 0; i < n_buffers; i++) {
		const uint8_t *data =
			driver_pointer(&driver, RX_GPA + (n + i) * UINT64_C(65536), buffer_size);

		ck_assert(driver_wait_used(&driver, RECEIVE, NULL, &length));
		ck_assert_uint_eq(length, MIN(left, buffer_size));
		if (i == 0)
			ck_assert_uint_eq(data[10] | data[11] << 8, n_buffers);
		for (uint32_t j = i == 0 ? HEADER : 0; j < length; j++, at++)
			ck_assert_uint_eq(data[j], (uint8_t)(seed + at * 7));
		left -= length;
	}
}

START_TEST(tells_what_it_is)
{
	uint8_t config[12];

	begin_loopback(F_USUAL);
	ck_assert_uint_eq(driver_read(&driver, 0x008), 1);
	read_config(config);
	ck_assert_mem_eq(config, mac, 6);
	ck_assert_uint_eq(config[6], 1);
	ck_assert_uint_eq(config[8], 1);
	ck_assert_uint_eq(driver_offered(&driver) & (F_CSUM | F_MQ), 0);
	ck_assert_uint_eq(driver.features & F_USUAL, F_USUAL);
}
END_TEST

START_TEST(frames_come_back)
{
	static const uint32_t sizes[] = { 14, 60, 1500, 1514, 14 };

	begin_loopback(F_USUAL);
	give_buffers(16, 2048);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		transmit(sizes[i], (uint8_t)i);
		expect(sizes[i], (uint8_t)i, 2048, i);
	}
	ck_assert_uint_eq(status().n_received, ARRAY_SIZE(sizes));
	ck_assert_uint_eq(status().transmitted_bytes, status().received_bytes);
}
END_TEST

START_TEST(large_frame_takes_several_buffers)
{
	begin_loopback(F_USUAL);
	give_buffers(16, 1000);
	transmit(1514, 3);
	expect(1514, 3, 1000, 0);
	transmit(60, 4);
	expect(60, 4, 1000, 2);
}
END_TEST

START_TEST(frame_waits_for_more_buffers)
{
	begin_loopback(F_USUAL);
	give_buffers(1, 100);
	transmit(1000, 9);
	usleep(2000);
	ck_assert_uint_eq(status().n_received, 0);
	for (unsigned int i = 1; i < 12; i++) {
		struct vring_buffer buffer = { RX_GPA + i * UINT64_C(65536), 100, true };

		driver_add(&driver, RECEIVE, &buffer, 1, 0);
	}
	expect(1000, 9, 100, 0);
}
END_TEST

START_TEST(too_large_without_merging_is_dropped)
{
	begin_loopback(F_STATUS);
	give_buffers(2, 500);
	transmit(1000, 1);
	transmit(100, 2);
	expect(100, 2, 500, 0);
	ck_assert_uint_eq(status().n_receive_dropped, 1);
}
END_TEST

/* Frames that the device must not hand on: what is in the header, and how long it all is. */
static const struct {
	uint8_t header[HEADER];
	uint32_t size;
} bad_frames[] = {
	{ { 0 }, 0 },
	{ { 0 }, HEADER - 1 },
	{ { 0 }, HEADER },
	{ { 0 }, HEADER + 13 },
	{ { [0] = 1 }, HEADER + 60 },            /* a checksum that was not negotiated */
	{ { [1] = 1, [4] = 100 }, HEADER + 60 }, /* segmentation that was not negotiated */
	{ { [1] = 3 }, HEADER + 60 },            /* UFO */
	{ { [1] = 0x80 }, HEADER + 60 },         /* ECN without segmentation */
	{ { [1] = 77 }, HEADER + 60 },           /* no type at all */
	{ { 0 }, VMM_NET_MAX_BYTES + 1 },
};

START_TEST(bad_frames_are_dropped)
{
	struct vring_buffer whole = { TX_GPA, bad_frames[_i].size, false };
	struct vring_buffer none[] = { { TX_GPA, 1, true } };

	begin_loopback(F_USUAL);
	give_buffers(4, 2048);
	memcpy(driver_pointer(&driver, TX_GPA, HEADER), bad_frames[_i].header, HEADER);
	if (bad_frames[_i].size > 0)
		driver_add(&driver, TRANSMIT, &whole, 1, 0);
	else
		driver_add(&driver, TRANSMIT, none, 1, 0);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
	ck_assert_uint_eq(status().n_transmit_dropped, 1);
	ck_assert_uint_eq(status().n_transmitted, 0);
	transmit(60, 5);
	expect(60, 5, 2048, 0);
}
END_TEST

START_TEST(receive_buffer_without_room_breaks_the_queue)
{
	struct vring_buffer small = { RX_GPA, HEADER - 1, true };
	struct vring_buffer readable = { RX_GPA, 2048, false };

	begin_loopback(F_USUAL);
	driver_add(&driver, RECEIVE, _i == 0 ? &small : &readable, 1, 0);
	for (int i = 0; i < 1000 && !(driver_status(&driver) & 64); i++)
		usleep(1000);
	ck_assert_uint_eq(driver_status(&driver) & 64, 64);
	/* A reset brings it back. */
	ck_assert(driver_start(&driver, F_USUAL, 3, 64));
	give_buffers(4, 2048);
	transmit(60, 6);
	expect(60, 6, 2048, 0);
}
END_TEST

static uint8_t command(const uint8_t *data, uint32_t size)
{
	uint8_t *at = driver_pointer(&driver, CTRL_GPA, 64);
	struct vring_buffer pieces[] = {
		{ CTRL_GPA, 2, false },
		{ CTRL_GPA + 2, size - 2, false },
		{ CTRL_GPA + 32, 1, true },
	};

	memcpy(at, data, size);
	at[32] = 0xee;
	driver_add(&driver, CONTROL, pieces, 3, 0);
	ck_assert(driver_wait_used(&driver, CONTROL, NULL, NULL));
	return at[32];
}

static const struct {
	uint8_t data[18];
	uint32_t size;
	uint8_t ack;
} commands[] = {
	{ { 1, 1, 0x52, 0x54, 0, 9, 9, 9 }, 8, 0 },
	{ { 1, 1, 0x53, 0x54, 0, 9, 9, 9 }, 8, 1 }, /* multicast */
	{ { 1, 1, 0x52, 0x54, 0, 9, 9 }, 7, 1 },
	{ { 1, 1, 0x52, 0x54, 0, 9, 9, 9, 9 }, 9, 1 },
	{ { 1, 0, 0 }, 3, 1 },
	{ { 0, 0, 1 }, 3, 1 },    /* receive mode is not offered */
	{ { 3, 0, 0 }, 3, 1 },    /* ACK carries nothing */
	{ { 4, 0, 1, 0 }, 4, 1 }, /* MQ was not negotiated */
	{ { 5, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 10, 1 },
	{ { 99, 99, 99 }, 3, 1 },
	{ { 1, 1, 0x52, 0x54 }, 18, 1 },
};

START_TEST(commands_are_answered)
{
	begin_loopback(F_USUAL);
	ck_assert_uint_eq(command(commands[_i].data, commands[_i].size), commands[_i].ack);
	if (commands[_i].ack == 0)
		ck_assert_mem_eq(status().mac, commands[_i].data + 2, 6);
	else
		ck_assert_mem_eq(status().mac, mac, 6);
}
END_TEST

START_TEST(command_without_room_for_its_answer)
{
	struct vring_buffer only = { CTRL_GPA, 2, false };

	begin_loopback(F_USUAL);
	driver_add(&driver, CONTROL, &only, 1, 0);
	for (int i = 0; i < 1000 && !(driver_status(&driver) & 64); i++)
		usleep(1000);
	ck_assert_uint_eq(driver_status(&driver) & 64, 64);
}
END_TEST

static ssize_t receive_nothing(
	void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	return -EAGAIN;
}

static int send_nowhere(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	return 0;
}

static const struct vmm_net_ops nowhere = { .receive = receive_nothing, .send = send_nowhere };

START_TEST(pairs_are_counted)
{
	struct vmm_net_backend backend = { .ops = &nowhere };
	struct vmm_virtio_net_config config = base_config(backend);
	static const uint8_t two[] = { 4, 0, 2, 0 }, none[] = { 4, 0, 0, 0 };
	static const uint8_t three[] = { 4, 0, 3, 0 };
	uint8_t *at;

	config.n_pairs = 2;
	begin(&config, F_USUAL | F_MQ);
	at = driver_pointer(&driver, CTRL_GPA, 64);
	ck_assert_uint_eq(status().n_pairs, 1);
	for (int i = 0; i < 3; i++) {
		const uint8_t *data = i == 0 ? two : i == 1 ? none : three;
		struct vring_buffer pieces[] = {
			{ CTRL_GPA, 4, false },
			{ CTRL_GPA + 32, 1, true },
		};

		memcpy(at, data, 4);
		driver_add(&driver, 4, pieces, 2, 0);
		ck_assert(driver_wait_used(&driver, 4, NULL, NULL));
		ck_assert_uint_eq(at[32], i == 0 ? 0 : 1);
		ck_assert_uint_eq(status().n_pairs, 2);
	}
	driver_reset(&driver);
	ck_assert_uint_eq(status().n_pairs, 0);
}
END_TEST

START_TEST(link_goes_down_and_up)
{
	uint32_t interrupt;
	uint8_t config[12];

	begin_loopback(F_USUAL);
	give_buffers(4, 2048);
	vmm_virtio_net_set_link(net, false);
	ck_assert(driver_wait_interrupt(&driver, 5000, &interrupt));
	ck_assert_uint_eq(interrupt & 2, 2);
	read_config(config);
	ck_assert_uint_eq(config[6], 0);
	transmit(60, 1);
	ck_assert_uint_eq(status().n_transmit_dropped, 1);
	vmm_virtio_net_set_link(net, true);
	read_config(config);
	ck_assert_uint_eq(config[6], 1);
	transmit(60, 2);
	expect(60, 2, 2048, 0);
}
END_TEST

START_TEST(announce_is_acknowledged)
{
	static const uint8_t ack[] = { 3, 0 };
	uint8_t config[12];

	begin_loopback(F_USUAL);
	vmm_virtio_net_announce(net);
	read_config(config);
	ck_assert_uint_eq(config[6], 3);
	ck_assert_uint_eq(command(ack, 2), 0);
	read_config(config);
	ck_assert_uint_eq(config[6], 1);
}
END_TEST

START_TEST(pause_gives_buffers_back)
{
	begin_loopback(F_USUAL);
	give_buffers(4, 2048);
	usleep(2000);
	ck_assert_int_eq(vmm_virtio_pause(vmm_virtio_net_device(net), NULL, NULL), 0);
	vmm_virtio_resume(vmm_virtio_net_device(net));
	transmit(1000, 8);
	expect(1000, 8, 2048, 0);
}
END_TEST

START_TEST(limit_holds_frames_back)
{
	struct vmm_ratelimit_config limits = { .ops = { .rate = 100, .burst = 1 } };
	uint64_t start;

	begin_loopback(F_USUAL);
	give_buffers(30, 2048);
	ck_assert_int_eq(
		vmm_virtio_net_set_limits(net, _i ? NULL : &limits, _i ? &limits : NULL), 0);
	/* So slow that even a machine that is busy sends faster. */
	start = vmm_base_now_nsec();
	for (unsigned int i = 0; i < 20; i++)
		transmit(60, (uint8_t)i);
	for (unsigned int i = 0; i < 20; i++)
		expect(60, (uint8_t)i, 2048, i);
	ck_assert_uint_ge(vmm_base_now_nsec() - start, 180 * 1000000);
	ck_assert_uint_gt(status().n_limited, 0);
}
END_TEST

static void stream_config(int fds[2], struct vmm_net_stream **ret_stream)
{
	struct vmm_virtio_net_config config;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(vmm_net_stream_new(fds[0], ret_stream), 0);
	config = base_config(vmm_net_stream_backend(*ret_stream));
	begin(&config, F_USUAL);
	give_buffers(8, 2048);
}

START_TEST(stream_carries_frames)
{
	struct vmm_net_stream *stream;
	uint8_t data[4 + 1514];
	uint32_t prefix;
	int fds[2];

	stream_config(fds, &stream);
	transmit(1514, 11);
	ck_assert_int_eq(vmm_base_read_full(fds[1], data, sizeof(data)), 0);
	memcpy(&prefix, data, 4);
	ck_assert_uint_eq(ntohl(prefix), 1514);
	for (uint32_t i = 0; i < 1514; i++)
		ck_assert_uint_eq(data[4 + i], (uint8_t)(11 + i * 7));
	/* The other way, in pieces that cut both the length and the frame. */
	ck_assert_int_eq(vmm_base_write_full(fds[1], data, 2), 0);
	usleep(1000);
	ck_assert_int_eq(vmm_base_write_full(fds[1], data + 2, 700), 0);
	usleep(1000);
	ck_assert_int_eq(vmm_base_write_full(fds[1], data + 702, sizeof(data) - 702), 0);
	expect(1514, 11, 2048, 0);
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	loop_runs = false;
	driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	vmm_net_stream_free(stream);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(stream_that_lies_or_ends_is_a_failed_back_end)
{
	static const uint8_t bad[][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 13 },
		{ 0xff, 0xff, 0xff, 0xff } };
	struct vmm_net_stream *stream;
	int fds[2];

	stream_config(fds, &stream);
	if (_i < 3)
		ck_assert_int_eq(vmm_base_write_full(fds[1], bad[_i], 4), 0);
	else
		shutdown(fds[1], SHUT_RDWR);
	for (int i = 0; i < 1000 && status().link_up; i++)
		usleep(1000);
	ck_assert(!status().link_up);
	ck_assert(status().backend_failed);
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	loop_runs = false;
	driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	vmm_net_stream_free(stream);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* A tap in a network namespace of its own, with an address. -1 where that is not allowed. */
static int make_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd, control;

	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		return -1;
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	ck_assert_int_eq(ioctl(control, SIOCSIFADDR, &request), 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ck_assert_int_eq(ioctl(control, SIOCSIFFLAGS, &request), 0);
	close(control);
	return fd;
}

START_TEST(tap_answers_arp)
{
	CLEANUP(close_p) int fd = make_tap();
	struct vmm_virtio_net_config config;
	struct vmm_net_tap *tap;
	struct ether_arp *arp;
	uint8_t *frame;
	int not_tap = open("/dev/null", O_RDWR);

	if (fd < 0) {
		/* Needs the right to make a tap; the bed's tests have it in any case. */
		close(not_tap);
		return;
	}
	ck_assert_int_eq(vmm_net_tap_new(&not_tap, 1, &tap), -EBADFD);
	close(not_tap);
	ck_assert_int_eq(vmm_net_tap_new(&fd, 1, &tap), 0);
	config = base_config(vmm_net_tap_backend(tap));
	begin(&config, F_USUAL | F_CSUM);
	ck_assert_uint_eq(driver.features & F_CSUM, F_CSUM);
	give_buffers(32, 2048);

	frame = driver_pointer(&driver, TX_GPA, HEADER + 60);
	memset(frame, 0, HEADER + 60);
	memset(frame + HEADER, 0xff, 6);
	memcpy(frame + HEADER + 6, mac, 6);
	frame[HEADER + 12] = 0x08;
	frame[HEADER + 13] = 0x06;
	arp = (struct ether_arp *)(frame + HEADER + 14);
	arp->arp_hrd = htons(ARPHRD_ETHER);
	arp->arp_pro = htons(ETHERTYPE_IP);
	arp->arp_hln = 6;
	arp->arp_pln = 4;
	arp->arp_op = htons(ARPOP_REQUEST);
	memcpy(arp->arp_sha, mac, 6);
	inet_pton(AF_INET, "192.0.2.2", arp->arp_spa);
	inet_pton(AF_INET, "192.0.2.1", arp->arp_tpa);
	{
		struct vring_buffer whole = { TX_GPA, HEADER + 60, false };

		driver_add(&driver, TRANSMIT, &whole, 1, 0);
	}
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
	/* The kernel says a few things of its own (IPv6), and then answers. */
	for (unsigned int i = 0;; i++) {
		const uint8_t *got = driver_pointer(&driver, RX_GPA + i * UINT64_C(65536), 2048);

		ck_assert_uint_lt(i, 32);
		ck_assert(driver_wait_used(&driver, RECEIVE, NULL, NULL));
		if (got[HEADER + 12] != 0x08 || got[HEADER + 13] != 0x06)
			continue;
		arp = (struct ether_arp *)(got + HEADER + 14);
		ck_assert_uint_eq(ntohs(arp->arp_op), ARPOP_REPLY);
		ck_assert_mem_eq(got + HEADER, mac, 6);
		break;
	}
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	loop_runs = false;
	driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	vmm_net_tap_free(tap);
}
END_TEST

static const struct {
	const char *what;
	int result;
} bad_configs[] = {
	{ "no loop", -EINVAL },
	{ "multicast address", -EINVAL },
	{ "no address", -EINVAL },
	{ "too many pairs", -EINVAL },
	{ "queue size", -EINVAL },
	{ "tiny MTU", -EINVAL },
};

START_TEST(bad_configs_are_refused)
{
	struct vmm_virtio_net_config config = base_config(loopback_backend(cable));

	if (_i == 0)
		config.n_loops = 0;
	else if (_i == 1)
		config.mac[0] |= 1;
	else if (_i == 2)
		memset(config.mac, 0, 6);
	else if (_i == 3)
		config.n_pairs = VMM_NET_MAX_PAIRS + 1;
	else if (_i == 4)
		config.queue_size = 100;
	else
		config.mtu = 67;
	ck_assert_int_eq(vmm_virtio_net_new(&config, &net), bad_configs[_i].result);
	ck_assert_ptr_null(net);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-net");
	TCase *tcase = unit_case(suite, "virtio-net");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, tells_what_it_is);
	tcase_add_test(tcase, frames_come_back);
	tcase_add_test(tcase, large_frame_takes_several_buffers);
	tcase_add_test(tcase, frame_waits_for_more_buffers);
	tcase_add_test(tcase, too_large_without_merging_is_dropped);
	tcase_add_loop_test(tcase, bad_frames_are_dropped, 0, ARRAY_SIZE(bad_frames));
	tcase_add_loop_test(tcase, receive_buffer_without_room_breaks_the_queue, 0, 2);
	tcase_add_loop_test(tcase, commands_are_answered, 0, ARRAY_SIZE(commands));
	tcase_add_test(tcase, command_without_room_for_its_answer);
	tcase_add_test(tcase, pairs_are_counted);
	tcase_add_test(tcase, link_goes_down_and_up);
	tcase_add_test(tcase, announce_is_acknowledged);
	tcase_add_test(tcase, pause_gives_buffers_back);
	tcase_add_loop_test(tcase, limit_holds_frames_back, 0, 2);
	tcase_add_test(tcase, stream_carries_frames);
	tcase_add_loop_test(tcase, stream_that_lies_or_ends_is_a_failed_back_end, 0, 4);
	tcase_add_test(tcase, tap_answers_arp);
	tcase_add_loop_test(tcase, bad_configs_are_refused, 0, ARRAY_SIZE(bad_configs));
	return unit_run(suite);
}
