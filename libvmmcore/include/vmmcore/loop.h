/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loop: an event loop over epoll: descriptors, timers, and wake-ups from other threads.
 *
 * A convenience. Devices need none: they work on descriptors and process() calls, so that they
 * fit into any loop. This one nests: its own descriptor becomes readable when there is work.
 *
 * A loop that has nothing to do makes no system call and wakes up never.
 *
 * Sources are freed by vmm_loop_source_free(), also from inside any callback (their own too):
 * after it returned, the callback of that source is not called any more.
 *
 * Threads: a loop belongs to one thread at a time. Only vmm_loop_event_signal() and
 * vmm_loop_quit() may be called from any thread.
 */
#ifndef VMMCORE_LOOP_H
#define VMMCORE_LOOP_H

#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

struct vmm_loop;
struct vmm_loop_source;

/*
 * Called in the loop's thread. events is what epoll reports (EPOLLIN, EPOLLHUP...), 0 for timers
 * and events. May free any source, never the loop. A negative result ends vmm_loop_run() with
 * that result; anything else goes on.
 */
typedef int (*vmm_loop_callback)(struct vmm_loop_source *source, uint32_t events, void *userdata);

/* -ENOMEM, errno of epoll_create1, epoll_ctl, eventfd and timerfd_create. */
VMM_PUBLIC int vmm_loop_new(struct vmm_loop **ret_loop);

/* Frees the sources that are left, too. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_loop *vmm_loop_free(struct vmm_loop *loop);

/* The loop's epoll descriptor: readable when vmm_loop_step() would find work. Borrowed. */
VMM_PUBLIC int vmm_loop_fd(const struct vmm_loop *loop);

/*
 * fd is borrowed and outlives the source. events as for epoll, level-triggered; 0 is allowed.
 * -ENOMEM, errno of epoll_ctl (-EEXIST: fd is watched already; -EPERM: a file that cannot be).
 */
VMM_PUBLIC int vmm_loop_add_fd(struct vmm_loop *loop, int fd, uint32_t events,
	vmm_loop_callback callback, void *userdata, struct vmm_loop_source **ret_source);
VMM_PUBLIC int vmm_loop_source_set_events(struct vmm_loop_source *source, uint32_t events);

/*
 * A one-shot timer, at first disarmed. deadline_nsec is on CLOCK_MONOTONIC; one in the past fires
 * in the next step; 0 disarms. -ENOMEM; setting one needs no memory.
 */
VMM_PUBLIC int vmm_loop_add_timer(struct vmm_loop *loop, vmm_loop_callback callback, void *userdata,
	struct vmm_loop_source **ret_source);
VMM_PUBLIC int vmm_loop_timer_set(struct vmm_loop_source *source, uint64_t deadline_nsec);

/*
 * An event that any thread can signal; signals that come before the callback runs are one.
 * -ENOMEM, errno of eventfd and epoll_ctl.
 */
VMM_PUBLIC int vmm_loop_add_event(struct vmm_loop *loop, vmm_loop_callback callback, void *userdata,
	struct vmm_loop_source **ret_source);
VMM_PUBLIC void vmm_loop_event_signal(struct vmm_loop_source *source);

/* Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_loop_source *vmm_loop_source_free(struct vmm_loop_source *source);

/*
 * Waits at most timeout_nsec (UINT64_MAX: without end, 0: not at all) and calls what is due.
 * Returns the number of callbacks called, or the first negative result.
 */
VMM_PUBLIC int vmm_loop_step(struct vmm_loop *loop, uint64_t timeout_nsec);

/* Steps until vmm_loop_quit() or a negative result, and returns that. */
VMM_PUBLIC int vmm_loop_run(struct vmm_loop *loop);

/* Makes vmm_loop_run() return result (0 or positive) after the callbacks of this step. */
VMM_PUBLIC void vmm_loop_quit(struct vmm_loop *loop, int result);

VMM_END_DECLS

#endif
