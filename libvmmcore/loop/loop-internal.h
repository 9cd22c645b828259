/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loop: what loop.c and timer.c share. */
#ifndef VMM_LOOP_INTERNAL_H
#define VMM_LOOP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include <vmmcore/loop.h>

struct epoll_event;

enum source_kind {
	SOURCE_FD,
	SOURCE_EVENT,
	SOURCE_TIMER,
};

struct vmm_loop_source {
	struct vmm_loop *loop; /* borrowed, outlives us */
	struct vmm_loop_source *prev, *next;
	enum source_kind kind;
	int fd; /* SOURCE_FD: borrowed, SOURCE_EVENT: owned, SOURCE_TIMER: none */
	vmm_loop_callback callback;
	void *userdata;

	/* SOURCE_TIMER */
	uint64_t deadline_nsec; /* 0: disarmed, and not in the loop's table */
	uint64_t order;         /* ties fire in the order in which they were set */
};

struct vmm_loop {
	int epoll_fd;                             /* owned */
	struct vmm_loop_source *first, *last;     /* owned */
	struct vmm_loop_source *wakeup, *timerfd; /* two of the above */

	/* The armed timers, earliest first. Room for every timer that exists. */
	struct vmm_loop_source **timers; /* owned */
	size_t n_timers, n_timers_room, n_timer_sources;
	uint64_t armed_nsec; /* what the timerfd is set to, 0: not set */
	uint64_t next_order;

	/* The events of the step that runs now, NULL between steps. */
	struct epoll_event *pending; /* borrowed */
	unsigned int n_pending;

	bool quitting; /* atomic */
	int quit_result;
};

int vmm_loop_timers_reserve(struct vmm_loop *loop);
void vmm_loop_timer_forget(struct vmm_loop_source *source);
int vmm_loop_timers_arm(struct vmm_loop *loop);
int vmm_loop_timers_run(struct vmm_loop *loop, int *n_called);

#endif
