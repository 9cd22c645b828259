/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * uring: a ring of io_uring, on the raw system calls.
 *
 * A ring is restricted for good before its first use: to the operations that its owner names, and,
 * where it is made for one file, to that file. Whoever comes to run code in the process can have
 * the kernel do no more with it than that. All its memory is had at once.
 *
 *	sqe = vmm_uring_get(ring);
 *	... fill in opcode and the rest, but flags ...
 *	vmm_uring_put(ring);
 *	vmm_uring_submit(ring);
 *	while (vmm_uring_pop(ring, &user_data, &result))
 *		...
 *
 * Only the kernel is at a ring's other end, and what it says is believed.
 *
 * Threads: one at a time; with one_thread it is the one that made the ring.
 */
#ifndef VMMCORE_URING_H
#define VMMCORE_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_URING_MAX_OPERATIONS 16

struct io_uring_sqe;
struct vmm_uring;

struct vmm_uring_config {
	/*
	 * The one file, which is number 0 in the ring. The ring keeps it open, and the kernel takes
	 * a ring apart some time after it was closed or its process ended. -EBADF: none; an entry
	 * says which descriptor of the process it is for, and has no flags.
	 */
	int fd;
	const uint8_t *operations; /* IORING_OP_..., n_operations of them */
	size_t n_operations;
	unsigned int sq_entries, cq_entries; /* powers of two; cq_entries at least sq_entries */
	unsigned int
		max_workers; /* threads of the kernel, of each of its two kinds; 0: its choice */
	bool one_thread;     /* no other will use it: the kernel may do less */
	bool with_event;     /* for vmm_uring_event_fd() */
};

/*
 * -EINVAL, -ENOMEM; -EOPNOTSUPP and errno of io_uring_setup, io_uring_register, mmap and
 * eventfd where the kernel lacks what is needed (Linux 5.10), or refuses it.
 */
VMM_PUBLIC int vmm_uring_new(const struct vmm_uring_config *config, struct vmm_uring **ret_ring);

/* Takes NULL. Returns NULL. What the kernel still works on must have ended. */
VMM_PUBLIC struct vmm_uring *vmm_uring_free(struct vmm_uring *ring);

/* The eventfd that completions signal, but those of a submission. Borrowed. */
VMM_PUBLIC int vmm_uring_event_fd(const struct vmm_uring *ring);

/*
 * A free entry, zeroed but for its flags; NULL where so many wait for a submission as
 * there are. vmm_uring_put() makes it the next of those.
 */
VMM_PUBLIC struct io_uring_sqe *vmm_uring_get(struct vmm_uring *ring);
VMM_PUBLIC void vmm_uring_put(struct vmm_uring *ring);
VMM_PUBLIC unsigned int vmm_uring_n_unsubmitted(const struct vmm_uring *ring);

/*
 * Gives the kernel all that was put, which does at once what does not block. The eventfd says
 * nothing of that: vmm_uring_pop() must follow. 0; or an errno of io_uring_enter, where the kernel
 * takes nothing more: then what is left has to be withdrawn.
 */
VMM_PUBLIC int vmm_uring_submit(struct vmm_uring *ring);

/* The youngest entry that was put and not submitted is taken back. False: there is none. */
VMM_PUBLIC bool vmm_uring_withdraw(struct vmm_uring *ring, uint64_t *ret_user_data);

/* Has the kernel show completions that it holds back, before they are popped. */
VMM_PUBLIC void vmm_uring_collect(struct vmm_uring *ring);

/* Sleeps until there is a completion. 0 or an errno of io_uring_enter. */
VMM_PUBLIC int vmm_uring_wait(struct vmm_uring *ring);

/* The next completion. False: none. */
VMM_PUBLIC bool vmm_uring_pop(struct vmm_uring *ring, uint64_t *ret_user_data, int32_t *ret_result);

VMM_END_DECLS

#endif
