/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The few macros and helpers that all code in this tree shares: cleanup of locals that own
 * something, taking ownership over, sizes. Internal: never installed, never included by a
 * public header. C only.
 */
#ifndef VMM_BASE_UTIL_H
#define VMM_BASE_UTIL_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* CLEANUP(close_p) int fd = -EBADF; closes fd on every way out, unless TAKE_FD took it. */
#define CLEANUP(function) __attribute__((cleanup(function)))

#define TAKE(variable, empty)                                                                      \
	({                                                                                         \
		__typeof__(variable) taken_ = (variable);                                          \
		(variable) = (empty);                                                              \
		taken_;                                                                            \
	})
#define TAKE_PTR(pointer) TAKE(pointer, NULL)
#define TAKE_FD(fd) TAKE(fd, -EBADF)

/* Defines NAME_p(TYPE **) for CLEANUP out of a NAME(TYPE *) that takes NULL. */
#define DEFINE_POINTER_CLEANUP(type, name)                                                         \
	static inline void name##_p(type **pointer)                                                \
	{                                                                                          \
		if (*pointer)                                                                      \
			name(*pointer);                                                            \
	}                                                                                          \
	struct vmm_semicolon_

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__auto_type min_a_ = (a);                                                          \
		__auto_type min_b_ = (b);                                                          \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__auto_type max_a_ = (a);                                                          \
		__auto_type max_b_ = (b);                                                          \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})

/* Alignments are powers of two. */
#define IS_ALIGNED(value, alignment) (((value) & ((alignment)-1)) == 0)
#define ALIGN_DOWN(value, alignment) ((value) & ~((__typeof__(value))(alignment)-1))
#define ALIGN_UP(value, alignment)                                                                 \
	(((value) + ((__typeof__(value))(alignment)-1)) & ~((__typeof__(value))(alignment)-1))

/* Closes fd unless it is negative, keeps errno. Returns -EBADF, for assignment. */
int vmm_base_close(int fd);

static inline void close_p(int *fd)
{
	vmm_base_close(*fd);
}

static inline void free_p(void *pointer)
{
	free(*(void **)pointer);
}

/*
 * Whole transfers: retried on EINTR and on short counts. 0, or a negative errno; -ENODATA
 * where the file ends before size bytes. For regular files, memfds and blocking sockets.
 */
int vmm_base_read_full(int fd, void *data, size_t size);
int vmm_base_write_full(int fd, const void *data, size_t size);
int vmm_base_pread_full(int fd, void *data, size_t size, uint64_t offset);

/* eventfd: add one; read and clear. -EAGAIN from clear means that nothing was pending. */
int vmm_base_eventfd_signal(int fd);
int vmm_base_eventfd_clear(int fd, uint64_t *ret_count);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t vmm_base_now_nsec(void);

/*
 * A thread that handles no signal, which are the business of the program's own, and that has a
 * stack of VMM_BASE_STACK_BYTES: huge pages may back the usual 8 MiB, 2 MiB at the first touch.
 */
#define VMM_BASE_STACK_BYTES (256 << 10)
int vmm_base_thread_start(pthread_t *ret_thread, void *(*thread_main)(void *), void *userdata);

#endif
