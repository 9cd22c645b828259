/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loop: timers, as one sorted table over one timerfd. A monitor has a handful of timers, so an
 * insertion into the table costs less than a tree would.
 */
#include "loop/loop-internal.h"

#include <string.h>
#include <sys/timerfd.h>

#include "base/util.h"

/* Makes room for one more timer, so that arming one cannot fail for want of memory. */
int vmm_loop_timers_reserve(struct vmm_loop *loop)
{
	if (loop->n_timer_sources == loop->n_timers_room) {
		size_t room = loop->n_timers_room ? loop->n_timers_room * 2 : 8;
		struct vmm_loop_source **timers;

		timers = reallocarray(loop->timers, room, sizeof(timers[0]));
		if (!timers)
			return -ENOMEM;
		loop->timers = timers;
		loop->n_timers_room = room;
	}
	return 0;
}

static void table_remove(struct vmm_loop_source *source)
{
	struct vmm_loop *loop = source->loop;

	for (size_t i = 0; i < loop->n_timers; i++) {
		if (loop->timers[i] != source)
			continue;
		loop->n_timers--;
		memmove(&loop->timers[i], &loop->timers[i + 1],
			(loop->n_timers - i) * sizeof(loop->timers[0]));
		break;
	}
	source->deadline_nsec = 0;
}

static void table_insert(struct vmm_loop_source *source, uint64_t deadline_nsec)
{
	struct vmm_loop *loop = source->loop;
	size_t at = loop->n_timers;

	source->deadline_nsec = deadline_nsec;
	source->order = loop->next_order++;
	while (at > 0 && loop->timers[at - 1]->deadline_nsec > deadline_nsec)
		at--;
	memmove(&loop->timers[at + 1], &loop->timers[at],
		(loop->n_timers - at) * sizeof(loop->timers[0]));
	loop->timers[at] = source;
	loop->n_timers++;
}

int vmm_loop_timer_set(struct vmm_loop_source *source, uint64_t deadline_nsec)
{
	assert(source->kind == SOURCE_TIMER);
	if (source->deadline_nsec)
		table_remove(source);
	if (deadline_nsec)
		table_insert(source, deadline_nsec);
	return vmm_loop_timers_arm(source->loop);
}

void vmm_loop_timer_forget(struct vmm_loop_source *source)
{
	if (source->deadline_nsec)
		table_remove(source);
	source->loop->n_timer_sources--;
}

/* Sets the timerfd to the earliest deadline, where it is not set to that or an earlier one. */
int vmm_loop_timers_arm(struct vmm_loop *loop)
{
	uint64_t first = loop->n_timers ? loop->timers[0]->deadline_nsec : 0;
	struct itimerspec spec = { 0 };

	if (first == loop->armed_nsec)
		return 0;
	spec.it_value.tv_sec = (time_t)(first / UINT64_C(1000000000));
	spec.it_value.tv_nsec = (long)(first % UINT64_C(1000000000));
	if (timerfd_settime(loop->timerfd->fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return -errno;
	loop->armed_nsec = first;
	return 0;
}

/* Calls what is due now; a timer that a callback sets anew waits for the next step. */
int vmm_loop_timers_run(struct vmm_loop *loop, int *n_called)
{
	uint64_t last_order = loop->next_order;
	uint64_t now;
	int result = 0;

	if (loop->n_timers == 0)
		return 0;
	now = vmm_base_now_nsec();
	while (loop->n_timers > 0) {
		struct vmm_loop_source *source = loop->timers[0];
		int r;

		if (source->deadline_nsec > now || source->order >= last_order)
			break;
		table_remove(source);
		r = source->callback(source, 0, source->userdata);
		(*n_called)++;
		if (r < 0 && result == 0)
			result = r;
	}
	return result;
}
