/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-net-fixture.h"

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

/* After many small ones, for which the device keeps less at hand; and between them. */
START_TEST(large_frame_after_small_ones_is_whole)
{
	unsigned int at = 0;

	begin_loopback(F_USUAL);
	give_buffers(61, 300);
	for (unsigned int i = 0; i < 40; i++) {
		transmit(60, (uint8_t)i);
		expect(60, (uint8_t)i, 300, at++);
	}
	for (unsigned int i = 0; i < 3; i++) {
		transmit(1514, (uint8_t)(i + 50));
		expect(1514, (uint8_t)(i + 50), 300, at);
		at += 6;
		transmit(60, 7);
		expect(60, 7, 300, at++);
	}
	ck_assert_uint_eq(status().n_receive_dropped, 0);
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

/* Buffers of 64 pieces, each a byte: more of them than a device can hold at a time. */
static void give_pieces(unsigned int n)
{
	struct vring_buffer pieces[64];

	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(pieces); j++)
			pieces[j] =
				(struct vring_buffer){ RX_GPA + i * UINT64_C(65536) + j, 1, true };
		driver_add(&driver, RECEIVE, pieces, ARRAY_SIZE(pieces),
			CTRL_GPA - (i + 1) * UINT64_C(4096));
	}
}

/*
 * What the driver has given is too little for a frame, and it cannot give more: all of its ring
 * is given; in more pieces than the device holds; it claims to have given more than a ring has.
 */
START_TEST(frame_that_can_never_fit_is_dropped)
{
	struct vmm_virtio_net_config config = base_config(loopback_backend(cable));
	uint32_t buffer_size = _i == 1 ? 64 : 20;

	config.queue_size = 64;
	begin(&config, F_USUAL | VMM_VIRTIO_F_INDIRECT_DESC);
	if (_i == 1)
		give_pieces(16);
	else
		give_buffers(64, buffer_size);
	transmit(14, 1);
	expect(14, 1, buffer_size, 0);
	if (_i == 0) {
		struct vring_buffer again[] = { { RX_GPA, 20, true },
			{ RX_GPA + 65536, 20, true } };

		driver_add(&driver, RECEIVE, &again[0], 1, 0);
		driver_add(&driver, RECEIVE, &again[1], 1, 0);
	} else if (_i == 2) {
		__atomic_store_n(&driver.rings[RECEIVE].avail[1], 100, __ATOMIC_RELEASE);
		driver_kick(&driver, RECEIVE);
	}
	transmit(1514, 2);
	transmit(20, 3);
	expect(20, 3, buffer_size, _i == 1 ? 1 : 2);
	ck_assert_uint_eq(status().n_receive_dropped, 1);
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

/* On each kind of ring: also where a driver kicks only when it has been asked anew. */
START_TEST(commands_follow_each_other)
{
	static const uint64_t features[] = {
		0,
		VMM_VIRTIO_F_EVENT_IDX,
		VMM_VIRTIO_F_RING_PACKED,
		VMM_VIRTIO_F_RING_PACKED | VMM_VIRTIO_F_EVENT_IDX,
	};

	begin_loopback(F_USUAL | features[_i]);
	ck_assert_uint_eq(driver.features & features[_i], features[_i]);
	for (uint8_t i = 0; i < 100; i++) {
		uint8_t data[] = { 1, 1, 0x52, 0x54, 0, 9, 9, i };

		ck_assert_uint_eq(command(data, sizeof(data)), 0);
		ck_assert_uint_eq(status().mac[5], i);
	}
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

START_TEST(no_chain_is_overlooked)
{
	struct vring_buffer too_short = { TX_GPA, HEADER, false };
	unsigned int n;

	begin_loopback(F_USUAL | (_i ? VMM_VIRTIO_F_EVENT_IDX : 0));
	n = driver_hammer(&driver, TRANSMIT, &too_short);
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_eq(status().n_transmit_dropped, n);
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
	tcase_add_test(tcase, large_frame_after_small_ones_is_whole);
	tcase_add_test(tcase, frame_waits_for_more_buffers);
	tcase_add_loop_test(tcase, frame_that_can_never_fit_is_dropped, 0, 3);
	tcase_add_test(tcase, too_large_without_merging_is_dropped);
	tcase_add_loop_test(tcase, bad_frames_are_dropped, 0, ARRAY_SIZE(bad_frames));
	tcase_add_loop_test(tcase, receive_buffer_without_room_breaks_the_queue, 0, 2);
	tcase_add_loop_test(tcase, commands_are_answered, 0, ARRAY_SIZE(commands));
	tcase_add_loop_test(tcase, commands_follow_each_other, 0, 4);
	tcase_add_test(tcase, command_without_room_for_its_answer);
	tcase_add_test(tcase, pairs_are_counted);
	tcase_add_loop_test(tcase, no_chain_is_overlooked, 0, 2);
	tcase_add_test(tcase, link_goes_down_and_up);
	tcase_add_test(tcase, announce_is_acknowledged);
	tcase_add_test(tcase, pause_gives_buffers_back);
	tcase_add_loop_test(tcase, limit_holds_frames_back, 0, 2);
	tcase_add_test(tcase, stream_carries_frames);
	tcase_add_loop_test(tcase, stream_that_lies_or_ends_is_a_failed_back_end, 0, 4);
	tcase_add_loop_test(tcase, bad_configs_are_refused, 0, ARRAY_SIZE(bad_configs));
	add_batch_tests(tcase);
	return unit_run(suite);
}
