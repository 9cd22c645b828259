/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <vmmcore/loop.h>

#include "base/util.h"
#include "unit.h"

static struct vmm_loop *loop;
static int calls[8];
static int n_calls;

static void setup(void)
{
	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	n_calls = 0;
}

static void teardown(void)
{
	loop = vmm_loop_free(loop);
}

static int record(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	ck_assert_int_lt(n_calls, (int)ARRAY_SIZE(calls));
	calls[n_calls++] = (int)(intptr_t)userdata;
	return 0;
}

static int give_eproto(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	return -EPROTO;
}

static int free_other(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_loop_source **other = userdata;

	*other = vmm_loop_source_free(*other);
	n_calls++;
	return 0;
}

static int free_self(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	vmm_loop_source_free(source);
	n_calls++;
	return 0;
}

START_TEST(fd_becomes_readable)
{
	struct vmm_loop_source *source;
	int pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(
		vmm_loop_add_fd(loop, pipe_fds[0], EPOLLIN, record, (void *)1, &source), 0);
	ck_assert_int_eq(vmm_loop_step(loop, 0), 0);
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	ck_assert_int_eq(vmm_loop_step(loop, UINT64_MAX), 1);
	ck_assert_int_eq(vmm_loop_source_set_events(source, 0), 0);
	ck_assert_int_eq(vmm_loop_step(loop, 0), 0);
	vmm_loop_source_free(source);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

START_TEST(regular_file_is_refused)
{
	struct vmm_loop_source *source = NULL;
	FILE *file = tmpfile();

	ck_assert_int_eq(
		vmm_loop_add_fd(loop, fileno(file), EPOLLIN, record, NULL, &source), -EPERM);
	ck_assert_ptr_null(source);
	fclose(file);
}
END_TEST

START_TEST(timers_fire_in_order_of_deadline)
{
	struct vmm_loop_source *timers[3];
	uint64_t now = vmm_base_now_nsec();

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
			vmm_loop_add_timer(loop, record, (void *)(intptr_t)i, &timers[i]), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timers[0], now + 3000000), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timers[1], now + 1000000), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timers[2], now + 2000000), 0);
	while (n_calls < 3)
		ck_assert_int_ge(vmm_loop_step(loop, UINT64_MAX), 0);
	ck_assert_int_eq(calls[0], 1);
	ck_assert_int_eq(calls[1], 2);
	ck_assert_int_eq(calls[2], 0);
	ck_assert_uint_ge(vmm_base_now_nsec(), now + 3000000);
}
END_TEST

START_TEST(timer_is_one_shot_and_can_be_disarmed)
{
	struct vmm_loop_source *timer;

	ck_assert_int_eq(vmm_loop_add_timer(loop, record, NULL, &timer), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timer, 1), 0);
	ck_assert_int_eq(vmm_loop_step(loop, UINT64_MAX), 1);
	ck_assert_int_eq(vmm_loop_step(loop, 1000000), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timer, vmm_base_now_nsec() + 1000), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timer, 0), 0);
	ck_assert_int_eq(vmm_loop_step(loop, 1000000), 0);
	ck_assert_int_eq(n_calls, 1);
}
END_TEST

START_TEST(many_timers_come_and_go)
{
	struct vmm_loop_source *timers[100];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
			ck_assert_int_eq(vmm_loop_add_timer(loop, free_self, NULL, &timers[i]), 0);
			ck_assert_int_eq(vmm_loop_timer_set(timers[i], 1 + i % 7), 0);
		}
		n_calls = 0;
		while (n_calls < 100)
			ck_assert_int_gt(vmm_loop_step(loop, UINT64_MAX), 0);
	}
	ck_assert_int_eq(vmm_loop_step(loop, 0), 0);
}
END_TEST

START_TEST(freed_source_is_not_called_in_the_same_step)
{
	struct vmm_loop_source *a, *b;

	ck_assert_int_eq(vmm_loop_add_event(loop, free_other, &b, &a), 0);
	ck_assert_int_eq(vmm_loop_add_event(loop, free_other, &a, &b), 0);
	vmm_loop_event_signal(a);
	vmm_loop_event_signal(b);
	ck_assert_int_eq(vmm_loop_step(loop, UINT64_MAX), 1);
	ck_assert_int_eq(n_calls, 1);
	ck_assert(!a != !b);
}
END_TEST

START_TEST(negative_result_ends_the_run)
{
	struct vmm_loop_source *source;

	ck_assert_int_eq(vmm_loop_add_event(loop, give_eproto, NULL, &source), 0);
	vmm_loop_event_signal(source);
	ck_assert_int_eq(vmm_loop_run(loop), -EPROTO);
}
END_TEST

static void *quit_from_elsewhere(void *userdata)
{
	usleep(1000);
	vmm_loop_quit(loop, 7);
	return NULL;
}

START_TEST(quit_from_another_thread)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, quit_from_elsewhere, NULL), 0);
	ck_assert_int_eq(vmm_loop_run(loop), 7);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(nests_in_another_poll)
{
	struct vmm_loop_source *timer;
	struct pollfd poll_fd = { .fd = vmm_loop_fd(loop), .events = POLLIN };

	ck_assert_int_eq(vmm_loop_add_timer(loop, record, NULL, &timer), 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 0), 0);
	ck_assert_int_eq(vmm_loop_timer_set(timer, vmm_base_now_nsec() + 1000000), 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 5000), 1);
	ck_assert_int_eq(vmm_loop_step(loop, 0), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = unit_case(suite, "loop");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, fd_becomes_readable);
	tcase_add_test(tcase, regular_file_is_refused);
	tcase_add_test(tcase, timers_fire_in_order_of_deadline);
	tcase_add_test(tcase, timer_is_one_shot_and_can_be_disarmed);
	tcase_add_test(tcase, many_timers_come_and_go);
	tcase_add_test(tcase, freed_source_is_not_called_in_the_same_step);
	tcase_add_test(tcase, negative_result_ends_the_run);
	tcase_add_test(tcase, quit_from_another_thread);
	tcase_add_test(tcase, nests_in_another_poll);
	return unit_run(suite);
}
