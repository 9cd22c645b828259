/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net: frames that the driver gives together, and the ring of io_uring they go through. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "virtio-net-fixture.h"
#include "virtio-net/net-internal.h"

#define MAX_FRAMES 64
#define FRAME_BYTES 64

/* ---- a back end that takes some ---- */

static struct {
	unsigned int n_calls, n_single_calls;
	unsigned int most;   /* frames in one call */
	unsigned int room;   /* frames that it takes before it is full */
	unsigned int refuse; /* each Nth is dropped */
	unsigned int n_taken;
	uint8_t seeds[MAX_FRAMES];
} taker;

static ssize_t give_none(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	return -EAGAIN;
}

/* A frame is its seed, in two pieces behind its header. */
static int take(const struct iovec *iov, size_t n_iov)
{
	const uint8_t *data = iov[1].iov_base;

	ck_assert_uint_eq(n_iov, 3);
	ck_assert_uint_eq(iov[0].iov_len, HEADER);
	ck_assert_uint_eq(iov[1].iov_len + iov[2].iov_len, FRAME_BYTES);
	/* The header is the frame's own: its length of headers says so. */
	ck_assert_uint_eq(((const uint8_t *)iov[0].iov_base)[2], data[0] % FRAME_BYTES);
	if (taker.room == 0)
		return -EAGAIN;
	taker.room--;
	ck_assert_uint_lt(taker.n_taken, MAX_FRAMES);
	taker.seeds[taker.n_taken++] = data[0];
	return taker.refuse && taker.n_taken % taker.refuse == 0 ? -EIO : 0;
}

static int take_one(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	taker.n_single_calls++;
	return take(iov, n_iov);
}

static size_t take_many(
	void *userdata, unsigned int pair, struct vmm_net_frame *frames, size_t n_frames)
{
	taker.n_calls++;
	taker.most = MAX(taker.most, (unsigned int)n_frames);
	for (size_t i = 0; i < n_frames; i++) {
		frames[i].result = take(frames[i].iov, frames[i].n_iov);
		if (frames[i].result == -EAGAIN)
			return i;
	}
	return n_frames;
}

static const struct vmm_net_ops with_many = {
	.receive = give_none,
	.send = take_one,
	.send_many = take_many,
};
static const struct vmm_net_ops without_many = { .receive = give_none, .send = take_one };

/* ---- a driver that gives some at once ---- */

static void add_frame(uint8_t seed, uint32_t size)
{
	uint64_t gpa = TX_GPA + seed * UINT64_C(4096);
	uint8_t *frame = driver_pointer(&driver, gpa, HEADER + FRAME_BYTES);
	struct vring_buffer pieces[] = {
		{ gpa, HEADER + 10, false },
		{ gpa + HEADER + 10, size - 10, false },
	};

	memset(frame, 0, HEADER);
	memset(frame + HEADER, seed, FRAME_BYTES);
	frame[2] = seed % FRAME_BYTES;
	vring_add(&driver.rings[TRANSMIT], pieces, 2);
}

static void begin_taker(const struct vmm_net_ops *ops, uint64_t features)
{
	struct vmm_virtio_net_config config = base_config((struct vmm_net_backend){ .ops = ops });

	begin(&config, F_USUAL | features);
	memset(&taker, 0, sizeof(taker));
}

/* The driver sees each frame again, whichever comes first. */
static void await_used(unsigned int n)
{
	while (n-- > 0)
		ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}

static void check_order(unsigned int n)
{
	ck_assert_uint_eq(taker.n_taken, n);
	for (unsigned int i = 0; i < n; i++)
		ck_assert_uint_eq(taker.seeds[i], i);
}

START_TEST(frames_that_come_together_go_together)
{
	begin_taker(_i & 1 ? &without_many : &with_many, _i & 2 ? VMM_VIRTIO_F_RING_PACKED : 0);
	taker.room = MAX_FRAMES;
	for (unsigned int i = 0; i < 20; i++)
		add_frame((uint8_t)i, FRAME_BYTES);
	driver_kick(&driver, TRANSMIT);
	await_used(20);
	check_order(20);
	ck_assert_uint_eq(status().n_transmitted, 20);
	ck_assert_uint_eq(status().transmitted_bytes, 20 * FRAME_BYTES);
	/* A look of the device's own, as it starts, may find the first ones before the kick. */
	if (_i & 1) {
		ck_assert_uint_eq(taker.n_single_calls, 20);
	} else {
		ck_assert_uint_lt(taker.n_calls + taker.n_single_calls, 10);
		ck_assert_uint_gt(taker.most, 1);
	}
}
END_TEST

START_TEST(a_single_frame_needs_no_batch)
{
	begin_taker(&with_many, 0);
	taker.room = 1;
	add_frame(0, FRAME_BYTES);
	driver_kick(&driver, TRANSMIT);
	await_used(1);
	ck_assert_uint_eq(taker.n_single_calls, 1);
	ck_assert_uint_eq(taker.n_calls, 0);
}
END_TEST

/* What is not taken is offered again, once and in order; the driver does not see it before. */
START_TEST(what_does_not_fit_waits)
{
	begin_taker(_i & 1 ? &without_many : &with_many, _i & 2 ? VMM_VIRTIO_F_RING_PACKED : 0);
	taker.room = 7;
	for (unsigned int i = 0; i < 20; i++)
		add_frame((uint8_t)i, FRAME_BYTES);
	driver_kick(&driver, TRANSMIT);
	await_used(7);
	usleep(20000);
	ck_assert_uint_eq(status().n_transmitted, 7);
	taker.room = 5;
	vmm_virtio_net_wake(net, 0);
	await_used(5);
	taker.room = MAX_FRAMES;
	vmm_virtio_net_wake(net, 0);
	await_used(8);
	check_order(20);
	ck_assert_uint_eq(status().n_transmitted, 20);
	ck_assert_uint_eq(status().n_transmit_dropped, 0);
}
END_TEST

START_TEST(what_is_refused_is_dropped_alone)
{
	begin_taker(_i ? &without_many : &with_many, 0);
	taker.room = MAX_FRAMES;
	taker.refuse = 3;
	for (unsigned int i = 0; i < 20; i++)
		add_frame((uint8_t)i, FRAME_BYTES);
	driver_kick(&driver, TRANSMIT);
	await_used(20);
	check_order(20);
	ck_assert_uint_eq(status().n_transmitted, 14);
	ck_assert_uint_eq(status().n_transmit_dropped, 6);
}
END_TEST

/* Frames that are none among good ones: before, between and behind them. */
START_TEST(bad_frames_leave_the_others_alone)
{
	unsigned int n_good = 0;

	begin_taker(&with_many, _i ? VMM_VIRTIO_F_RING_PACKED : 0);
	taker.room = MAX_FRAMES;
	for (unsigned int i = 0; i < 20; i++) {
		if (i % 5 == 0 || i == 19)
			add_frame(63, 11);
		else
			add_frame((uint8_t)n_good++, FRAME_BYTES);
	}
	driver_kick(&driver, TRANSMIT);
	await_used(20);
	check_order(n_good);
	ck_assert_uint_eq(status().n_transmitted, n_good);
	ck_assert_uint_eq(status().n_transmit_dropped, 20 - n_good);
}
END_TEST

/* The one that breaks the queue is not sent; what came before it is. */
START_TEST(frames_before_a_broken_one_are_sent)
{
	struct vring_buffer nowhere = { UINT64_C(1) << 60, 100, false };

	begin_taker(&with_many, 0);
	taker.room = MAX_FRAMES;
	for (unsigned int i = 0; i < 3; i++)
		add_frame((uint8_t)i, FRAME_BYTES);
	vring_add(&driver.rings[TRANSMIT], &nowhere, 1);
	driver_kick(&driver, TRANSMIT);
	for (unsigned int i = 0; !(driver_status(&driver) & 64); i++) {
		ck_assert_uint_lt(i, 5000);
		usleep(1000);
	}
	check_order(3);
}
END_TEST

START_TEST(a_limit_ends_a_batch)
{
	struct vmm_ratelimit_config limits = { .ops = { .rate = 100, .burst = 4 } };
	uint64_t start;

	begin_taker(&with_many, _i ? VMM_VIRTIO_F_RING_PACKED : 0);
	taker.room = MAX_FRAMES;
	ck_assert_int_eq(vmm_virtio_net_set_limits(net, NULL, &limits), 0);
	start = vmm_base_now_nsec();
	for (unsigned int i = 0; i < 20; i++)
		add_frame((uint8_t)i, FRAME_BYTES);
	driver_kick(&driver, TRANSMIT);
	await_used(20);
	ck_assert_uint_ge(vmm_base_now_nsec() - start, 150 * UINT64_C(1000000));
	check_order(20);
	ck_assert_uint_le(taker.most, 4);
}
END_TEST

/* ---- the ring ---- */

#define RING_FRAME_BYTES 2000

/* Until one would have to wait: all of them are over when the call returns, those sent in order. */
START_TEST(a_ring_never_waits)
{
	struct vmm_net_frame frames[VMM_NET_MAX_BATCH];
	uint8_t data[VMM_NET_MAX_BATCH][RING_FRAME_BYTES] = { 0 }, got[RING_FRAME_BYTES];
	struct iovec iov[VMM_NET_MAX_BATCH];
	struct net_uring *uring;
	unsigned int n_sent = 0, n_dropped = 0, n_calls = 0;
	int fds[2], r;

	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	r = vmm_net_uring_new(fds[0], &uring);
	if (r == -EPERM || r == -ENOSYS)
		return; /* a host without io_uring: unit/uring says so */
	ck_assert_int_eq(r, 0);
	for (unsigned int i = 0; i < VMM_NET_MAX_BATCH; i++) {
		iov[i] = (struct iovec){ data[i], RING_FRAME_BYTES };
		frames[i] = (struct vmm_net_frame){ &iov[i], 1, 1 };
	}
	while (n_dropped == 0) {
		ck_assert_uint_lt(n_calls++, 1000);
		for (unsigned int i = 0; i < VMM_NET_MAX_BATCH; i++)
			data[i][0] = (uint8_t)(n_sent + i);
		ck_assert_uint_eq(
			vmm_net_uring_send(uring, frames, VMM_NET_MAX_BATCH), VMM_NET_MAX_BATCH);
		for (unsigned int i = 0; i < VMM_NET_MAX_BATCH; i++) {
			ck_assert_int_le(frames[i].result, 0);
			ck_assert_int_ne(frames[i].result, -EINPROGRESS);
			if (frames[i].result == 0)
				ck_assert_uint_eq(n_dropped, 0);
			if (frames[i].result == 0)
				n_sent++;
			else
				n_dropped++;
		}
	}
	ck_assert_uint_gt(n_sent, 2);
	/* It is of no more use, also when there is room again, and nothing comes late. */
	for (unsigned int i = 0; i < n_sent; i++) {
		ck_assert_int_eq(read(fds[1], got, sizeof(got)), RING_FRAME_BYTES);
		ck_assert_uint_eq(got[0], (uint8_t)i);
	}
	ck_assert_uint_eq(vmm_net_uring_send(uring, frames, 2), 0);
	usleep(20000);
	ck_assert_int_eq(read(fds[1], got, sizeof(got)), -1);
	vmm_net_uring_free(uring);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* A frame that the other side refuses is dropped, and the ring goes on. */
START_TEST(a_ring_goes_on_after_errors)
{
	static uint8_t byte;
	struct iovec good = { &byte, 1 }, bad = { (void *)(uintptr_t)16, 1 };
	struct vmm_net_frame frames[] = { { &good, 1, 1 }, { &bad, 1, 1 }, { &good, 1, 1 } };
	struct net_uring *uring;
	int fds[2], r;

	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	r = vmm_net_uring_new(fds[0], &uring);
	if (r == -EPERM || r == -ENOSYS)
		return;
	ck_assert_int_eq(r, 0);
	for (unsigned int i = 0; i < 10; i++) {
		ck_assert_uint_eq(vmm_net_uring_send(uring, frames, 3), 3);
		ck_assert_int_eq(frames[0].result, 0);
		ck_assert_int_eq(frames[1].result, -EFAULT);
		ck_assert_int_eq(frames[2].result, 0);
	}
	vmm_net_uring_free(uring);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* From now on the kernel fails what is asked of rings, but to take n entries. */
static void refuse_rings_but(unsigned int n)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* What waits can neither be cancelled nor waited for: it is over all the same. */
START_TEST(a_ring_whose_kernel_fails_is_closed)
{
	static uint8_t data[RING_FRAME_BYTES];
	struct iovec iov = { data, sizeof(data) };
	struct vmm_net_frame frames[5];
	uint8_t got[RING_FRAME_BYTES];
	struct net_uring *uring;
	unsigned int n_sent = 0;
	int fds[2], r;

	/* Blocking, so that the kernel waits by itself where there is no room. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	r = vmm_net_uring_new(fds[0], &uring);
	if (r == -EPERM || r == -ENOSYS)
		return;
	ck_assert_int_eq(r, 0);
	while (send(fds[0], data, sizeof(data), MSG_DONTWAIT) == sizeof(data))
		n_sent++;
	ck_assert_int_eq(errno, EAGAIN);
	/* Room for some, and not for all. */
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_int_eq(recv(fds[1], got, sizeof(got), 0), sizeof(got));
	n_sent -= 2;
	for (unsigned int i = 0; i < 5; i++)
		frames[i] = (struct vmm_net_frame){ &iov, 1, 1 };
	refuse_rings_but(5);
	ck_assert_uint_eq(vmm_net_uring_send(uring, frames, 5), 5);
	for (unsigned int i = 0; i < 5; i++) {
		ck_assert_msg(frames[i].result == 0 || frames[i].result == -ECANCELED, "%d",
			frames[i].result);
		n_sent += frames[i].result == 0;
	}
	ck_assert_int_eq(frames[4].result, -ECANCELED);
	ck_assert_uint_eq(vmm_net_uring_send(uring, frames, 5), 0);
	/* Nothing comes late. */
	for (unsigned int i = 0; i < n_sent; i++)
		ck_assert_int_eq(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), sizeof(got));
	usleep(20000);
	ck_assert_int_eq(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), -1);
	vmm_net_uring_free(uring);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

void add_batch_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, frames_that_come_together_go_together, 0, 4);
	tcase_add_test(tcase, a_single_frame_needs_no_batch);
	tcase_add_loop_test(tcase, what_does_not_fit_waits, 0, 4);
	tcase_add_loop_test(tcase, what_is_refused_is_dropped_alone, 0, 2);
	tcase_add_loop_test(tcase, bad_frames_leave_the_others_alone, 0, 2);
	tcase_add_test(tcase, frames_before_a_broken_one_are_sent);
	tcase_add_loop_test(tcase, a_limit_ends_a_batch, 0, 2);
	tcase_add_test(tcase, a_ring_never_waits);
	tcase_add_test(tcase, a_ring_goes_on_after_errors);
	tcase_add_test(tcase, a_ring_whose_kernel_fails_is_closed);
}
