/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-net: frames through a ring of io_uring. The kernel writes each while it takes the
 * entries, in their order, and is done with all of them when it returns, as long as none has to
 * wait: the descriptor is non-blocking. One that would wait is cancelled, and the ring is not
 * used again; so no entry outlives the call, nor does the kernel know an address after it. Only
 * where the kernel does not even let us wait for that, the ring is closed instead.
 *
 * The tap is no registered file: the ring would keep it, with its name, past the end of the
 * process. What the ring can do so with other descriptors is what writev() can.
 */
#include <linux/io_uring.h>

#include <vmmcore/uring.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

#define CANCELLED_FRAME UINT64_MAX /* the name of an entry that cancels another */

enum { MAX_FAILED_WAITS = 64 }; /* some errors pass */

struct net_uring {
	struct vmm_uring *ring; /* owned; NULL: closed, and of no use */
	int fd;                 /* borrowed, outlives us */
	bool of_no_use;
};

DEFINE_POINTER_CLEANUP(struct net_uring, vmm_net_uring_free);

int vmm_net_uring_new(int fd, struct net_uring **ret_uring)
{
	static const uint8_t operations[] = { IORING_OP_WRITEV, IORING_OP_ASYNC_CANCEL };
	const struct vmm_uring_config config = {
		.fd = -EBADF,
		.operations = operations,
		.n_operations = ARRAY_SIZE(operations),
		.sq_entries = VMM_NET_MAX_BATCH,
		.cq_entries = 2 * VMM_NET_MAX_BATCH, /* a frame and what cancels it */
	};
	CLEANUP(vmm_net_uring_free_p) struct net_uring *uring = NULL;
	int r;

	uring = malloc(sizeof(*uring));
	if (!uring)
		return -ENOMEM;
	*uring = (struct net_uring){ .fd = fd };
	r = vmm_uring_new(&config, &uring->ring);
	if (r < 0)
		return r;
	*ret_uring = TAKE_PTR(uring);
	return 0;
}

struct net_uring *vmm_net_uring_free(struct net_uring *uring)
{
	if (!uring)
		return NULL;
	vmm_uring_free(uring->ring);
	free(uring);
	return NULL;
}

static void put_frame(struct net_uring *uring, const struct vmm_net_frame *frame, size_t index)
{
	struct io_uring_sqe *sqe = vmm_uring_get(uring->ring);

	assert(sqe);
	sqe->opcode = IORING_OP_WRITEV;
	sqe->fd = uring->fd;
	sqe->addr = (uintptr_t)frame->iov;
	sqe->len = (uint32_t)frame->n_iov;
	sqe->user_data = index;
	vmm_uring_put(uring->ring);
}

/* Takes the results that there are; how many of them were frames'. */
static size_t take_results(struct net_uring *uring, struct vmm_net_frame *frames)
{
	uint64_t index;
	size_t n = 0;
	int32_t result;

	vmm_uring_collect(uring->ring);
	while (vmm_uring_pop(uring->ring, &index, &result)) {
		if (index == CANCELLED_FRAME)
			continue;
		frames[index].result = MIN(result, 0);
		/* The kernel says so where it does not wait by itself: dropped as well. */
		if (result == -EAGAIN)
			uring->of_no_use = true;
		n++;
	}
	return n;
}

/* A closed ring's entries that wait for the descriptor are the kernel's to end, and write nothing.
 */
static void give_up(struct net_uring *uring, struct vmm_net_frame *frames, size_t n)
{
	uring->ring = vmm_uring_free(uring->ring);
	for (size_t i = 0; i < n; i++)
		if (frames[i].result == -EINPROGRESS)
			frames[i].result = -ECANCELED;
}

/* Ends the frames that wait, of which there are n_left, in any case before it returns. */
static void cancel(struct net_uring *uring, struct vmm_net_frame *frames, size_t n, size_t n_left)
{
	unsigned int n_failed = 0;

	for (size_t i = 0; i < n; i++) {
		struct io_uring_sqe *sqe;

		if (frames[i].result != -EINPROGRESS)
			continue;
		sqe = vmm_uring_get(uring->ring);
		assert(sqe);
		sqe->opcode = IORING_OP_ASYNC_CANCEL;
		sqe->addr = i;
		sqe->user_data = CANCELLED_FRAME;
		vmm_uring_put(uring->ring);
	}
	vmm_uring_submit(uring->ring);
	/* Whatever comes of that: the kernel may not write from memory that is used again. */
	while (n_left > 0) {
		if (vmm_uring_wait(uring->ring) < 0 && ++n_failed == MAX_FAILED_WAITS) {
			give_up(uring, frames, n);
			return;
		}
		n_left -= take_results(uring, frames);
	}
}

size_t vmm_net_uring_send(struct net_uring *uring, struct vmm_net_frame *frames, size_t n_frames)
{
	size_t n = n_frames, n_results;
	uint64_t index;
	int r;

	assert(n_frames <= VMM_NET_MAX_BATCH);
	if (uring->of_no_use)
		return 0;
	for (size_t i = 0; i < n_frames; i++) {
		frames[i].result = -EINPROGRESS;
		put_frame(uring, &frames[i], i);
	}
	r = vmm_uring_submit(uring->ring);
	for (; r < 0 && vmm_uring_withdraw(uring->ring, &index); n--)
		uring->of_no_use = true;
	n_results = take_results(uring, frames);
	if (n_results < n) {
		uring->of_no_use = true;
		cancel(uring, frames, n, n - n_results);
	}
	return n;
}
