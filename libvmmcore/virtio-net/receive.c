/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-net: frames for the guest (VIRTIO 1.2, 5.1.6.3, 5.1.6.4). The back end writes each
 * straight into the buffers of the window, but its header, which is checked and written last. What
 * does not fit runs into an overflow buffer, and is copied from there when the driver has given
 * more buffers; without mergeable buffers, or where it cannot give more, such a frame is dropped.
 */
#include <string.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

/* The most entries that the kernel takes (IOV_MAX). */
#define MAX_IOV 1024

#define LINK_HEADER_BYTES 18 /* Ethernet, with a VLAN tag */

/* Buffers that the driver comes to see at once: a line of the ring goes from cache to cache once.
 */
#define BUFFERS_A_FLUSH 16

/* Of what the largest frame yet was the next ones are expected to lack a 2^Nth part each. */
#define EXPECTED_SHIFT 4

int vmm_net_window_init(struct window *window, unsigned int queue_size)
{
	*window = (struct window){
		.chains_room = queue_size,
		.iov_room = queue_size + 64,
	};
	window->chains = calloc(window->chains_room, sizeof(window->chains[0]));
	window->iov_owned = calloc(window->iov_room + 2, sizeof(window->iov[0]));
	if (!window->chains || !window->iov_owned)
		return -ENOMEM;
	window->iov = window->iov_owned + 1;
	return 0;
}

void vmm_net_window_finish(struct window *window)
{
	free(window->chains);
	free(window->iov_owned);
	*window = (struct window){ 0 };
}

static void window_clear(struct window *window)
{
	window->first_chain = window->end_chain = 0;
	window->first_iov = window->end_iov = 0;
	window->size_bytes = 0;
}

/* Moves what is in use to the front. */
static void window_compact(struct window *window)
{
	size_t n_chains = window->end_chain - window->first_chain;
	size_t n_iov = window->end_iov - window->first_iov;

	memmove(window->iov, &window->iov[window->first_iov], n_iov * sizeof(window->iov[0]));
	memmove(window->chains, &window->chains[window->first_chain],
		n_chains * sizeof(window->chains[0]));
	for (size_t i = 0; i < n_chains; i++)
		window->chains[i].writable -= window->first_iov;
	window->first_chain = window->first_iov = 0;
	window->end_chain = n_chains;
	window->end_iov = n_iov;
}

enum {
	FILL_WAITS = 0, /* the driver has given too little */
	FILL_DONE = 1,
	FILL_FULL = 2, /* the window holds all that it can, or all that the driver can give */
};

/* Pops until the window holds size_bytes: FILL_..., or -VMM_EGUEST. */
static int window_fill(struct window *window, struct vmm_virtqueue *queue, uint64_t size_bytes)
{
	while (window->size_bytes < size_bytes) {
		struct vmm_virtqueue_chain *chain;
		int r;

		if (window->end_chain == window->chains_room ||
			window->iov_room - window->end_iov < window->iov_room / 2)
			window_compact(window);
		if (window->end_chain == window->chains_room)
			return FILL_FULL;
		chain = &window->chains[window->end_chain];
		r = vmm_virtqueue_pop(queue, &window->iov[window->end_iov],
			window->iov_room - window->end_iov, chain);
		if (r == -ENOBUFS) {
			if (window->end_chain > window->first_chain)
				return FILL_FULL;
			vmm_virtqueue_break(queue, "receive buffer of too many pieces");
			return -VMM_EGUEST;
		}
		if (r == 0)
			return vmm_virtqueue_n_in_flight(queue) < vmm_virtqueue_size(queue)
				       ? FILL_WAITS
				       : FILL_FULL;
		if (r < 0)
			return r;
		if (chain->n_readable > 0 || chain->writable_bytes < VMM_NET_HEADER_BYTES) {
			vmm_virtqueue_break(queue, "receive buffer without room for a header");
			return -VMM_EGUEST;
		}
		window->end_chain++;
		window->end_iov += chain->n_writable;
		window->size_bytes += chain->writable_bytes;
	}
	return FILL_DONE;
}

static void flush(struct pair *pair, struct vmm_virtqueue *queue)
{
	pair->n_unflushed = 0;
	vmm_virtqueue_flush(queue);
}

/*
 * Gives the buffers that a frame of size_bytes, header included, lies in to the driver, who sees
 * them after a flush.
 */
static void deliver(struct pair *pair, struct vmm_virtqueue *queue, uint64_t size_bytes)
{
	struct window *window = &pair->window;
	struct vmm_virtqueue_chain *head = &window->chains[window->first_chain];
	uint64_t left = size_bytes;
	uint16_t n_chains = 0;

	for (uint64_t sum = 0; sum < size_bytes; n_chains++)
		sum += head[n_chains].writable_bytes;
	pair->held_header.num_buffers = vmm_le16_make(n_chains);
	vmm_virtqueue_chain_write(head, 0, &pair->held_header, sizeof(pair->held_header));
	for (uint16_t i = 0; i < n_chains; i++) {
		uint64_t part = MIN(left, head[i].writable_bytes);

		vmm_virtqueue_fill(queue, &head[i], (uint32_t)part);
		left -= part;
		window->size_bytes -= head[i].writable_bytes;
		window->first_iov += head[i].n_writable;
	}
	window->first_chain += n_chains;
	pair->n_unflushed += n_chains;
	if (pair->n_unflushed >= BUFFERS_A_FLUSH)
		flush(pair, queue);
	count(&pair->n_received, 1);
	count(&pair->received_bytes, size_bytes - VMM_NET_HEADER_BYTES);
}

/* True where the frame may be delivered now; else the timer is set for when it may. */
static bool admit(struct pair *pair, uint64_t size_bytes)
{
	uint64_t deadline;

	if (!vmm_ratelimit_active(&pair->receive_limit))
		return true;
	deadline = vmm_ratelimit_take(
		&pair->receive_limit, 1, size_bytes - VMM_NET_HEADER_BYTES, vmm_base_now_nsec());
	if (deadline == 0)
		return true;
	count(&pair->n_limited, 1);
	vmm_loop_timer_set(pair->receive_timer, deadline);
	return false;
}

/*
 * How much of the window the back end is given for one frame. Without mergeable buffers it is the
 * first one. With them it is enough for a frame like the last ones: each entry costs the kernel
 * time, and a larger frame's rest comes out of the overflow buffer.
 */
static uint64_t capacity_bytes(const struct pair *pair, size_t *ret_n_iov)
{
	const struct window *window = &pair->window;
	const struct iovec *iov = &window->iov[window->first_iov];
	size_t room = MIN(window->end_iov - window->first_iov, (size_t)MAX_IOV - 2);
	uint64_t wanted = MAX(pair->expected_bytes, (uint64_t)VMM_NET_HEADER_BYTES), sum = 0;
	size_t n_iov = 0;

	if (!(vmm_virtio_features(pair->net->device) & F_MRG_RXBUF)) {
		room = MIN(room, window->chains[window->first_chain].n_writable);
		wanted = UINT64_MAX;
	}
	while (n_iov < room && sum < wanted)
		sum += iov[n_iov++].iov_len;
	*ret_n_iov = n_iov;
	return sum;
}

/* A frame of bytes came: what the next one is given. */
static void expect(struct pair *pair, uint64_t bytes)
{
	pair->expected_bytes =
		MAX(bytes, pair->expected_bytes - (pair->expected_bytes >> EXPECTED_SHIFT));
}

/*
 * 5.1.4.1, 5.1.6.4.1: what the driver did not negotiate, it does not get, whatever the back end
 * gives. True where the frame can be delivered.
 */
static bool frame_is_good(
	const struct vmm_virtio_net *net, struct net_header *header, uint64_t frame_bytes)
{
	uint64_t offloads = __atomic_load_n(&net->guest_offloads, __ATOMIC_RELAXED);
	uint8_t gso_type = header->gso_type & (uint8_t)~GSO_ECN;

	if (!(offloads & F_GUEST_CSUM)) {
		if (header->flags & HEADER_NEEDS_CSUM)
			return false;
		header->flags = 0;
	}
	if (header->gso_type & GSO_ECN && !(offloads & F_GUEST_ECN))
		return false;
	switch (gso_type) {
	case GSO_NONE:
		return !(vmm_virtio_features(net->device) & F_MTU) ||
		       frame_bytes <= (uint64_t)net->mtu + LINK_HEADER_BYTES;
	case GSO_TCPV4:
		return offloads & F_GUEST_TSO4;
	case GSO_TCPV6:
		return offloads & F_GUEST_TSO6;
	default:
		return false;
	}
}

/* The entries of the window that hold its first bytes, while something else stands for those. */
struct hidden {
	struct iovec saved[VMM_NET_HEADER_BYTES];
	size_t indices[VMM_NET_HEADER_BYTES];
	size_t n;
};

static void hide_header(struct iovec *iov, size_t n_iov, struct hidden *hidden)
{
	size_t left = VMM_NET_HEADER_BYTES;

	hidden->n = 0;
	for (size_t i = 0; i < n_iov && left > 0; i++) {
		size_t n = MIN(left, iov[i].iov_len);

		if (n == 0)
			continue;
		hidden->saved[hidden->n] = iov[i];
		hidden->indices[hidden->n++] = i;
		iov[i].iov_base = (char *)iov[i].iov_base + n;
		iov[i].iov_len -= n;
		left -= n;
	}
}

static void show_header(struct iovec *iov, const struct hidden *hidden)
{
	for (size_t i = 0; i < hidden->n; i++)
		iov[hidden->indices[i]] = hidden->saved[i];
}

/* Has the back end fill the window's first n_iov entries, with the header apart. */
static ssize_t ask_backend(struct pair *pair, size_t n_iov)
{
	const struct vmm_net_backend *backend = &pair->net->backend;
	struct iovec *iov = &pair->window.iov[pair->window.first_iov];
	/* The entries before and behind those of this frame may belong to others. */
	struct iovec before = iov[-1], behind = iov[n_iov];
	struct hidden hidden;
	ssize_t n;

	hide_header(iov, n_iov, &hidden);
	iov[-1] = (struct iovec){ &pair->held_header, VMM_NET_HEADER_BYTES };
	iov[n_iov] = (struct iovec){ pair->overflow, VMM_NET_MAX_BYTES };
	n = backend->ops->receive(backend->userdata, pair->index, iov - 1, n_iov + 2);
	iov[-1] = before;
	iov[n_iov] = behind;
	show_header(iov, &hidden);
	return n;
}

/* 1: a frame came, and is held unless it was dropped. 0: none. Else a negative errno. */
static int read_frame(struct pair *pair)
{
	bool mergeable = vmm_virtio_features(pair->net->device) & F_MRG_RXBUF;
	uint64_t capacity, bytes;
	size_t n_iov;
	ssize_t n;

	capacity = capacity_bytes(pair, &n_iov);
	n = ask_backend(pair, n_iov);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	bytes = (uint64_t)n;
	expect(pair, bytes);
	if (bytes < VMM_NET_HEADER_BYTES + ETHERNET_BYTES || bytes > VMM_NET_MAX_BYTES ||
		(bytes > capacity && !mergeable) ||
		!frame_is_good(pair->net, &pair->held_header, bytes - VMM_NET_HEADER_BYTES)) {
		count(&pair->n_receive_dropped, 1);
		return 1;
	}
	pair->held_bytes = bytes;
	pair->placed_bytes = MIN(bytes, capacity);
	return 1;
}

/* window_fill(), until it has to wait: then the driver is asked to kick. */
static int fill_or_wait(struct pair *pair, struct vmm_virtqueue *queue, uint64_t bytes)
{
	int r;

	do
		r = window_fill(&pair->window, queue, bytes);
	while (r == FILL_WAITS && vmm_virtqueue_enable_notifications(queue));
	return r;
}

/* 1: no frame is held any more. 0: a kick or the timer comes first. -VMM_EGUEST. */
static int settle_held(struct pair *pair, struct vmm_virtqueue *queue)
{
	struct window *window = &pair->window;
	uint64_t left = pair->held_bytes - pair->placed_bytes;
	int r;

	if (pair->held_bytes == 0)
		return 1;
	if (left > 0) {
		struct vmm_virtqueue_chain all;

		r = fill_or_wait(pair, queue, pair->held_bytes);
		if (r == FILL_FULL) {
			/* It would wait for ever, and all others behind it. */
			count(&pair->n_receive_dropped, 1);
			pair->held_bytes = pair->placed_bytes = 0;
			return 1;
		}
		if (r != FILL_DONE)
			return r;
		all = (struct vmm_virtqueue_chain){
			.writable = &window->iov[window->first_iov],
			.n_writable = (uint32_t)(window->end_iov - window->first_iov),
			.writable_bytes = window->size_bytes,
		};
		vmm_virtqueue_chain_write(&all, pair->placed_bytes, pair->overflow, left);
		pair->placed_bytes = pair->held_bytes;
	}
	if (!admit(pair, pair->held_bytes))
		return 0;
	deliver(pair, queue, pair->held_bytes);
	pair->held_bytes = pair->placed_bytes = 0;
	return 1;
}

/* While the link is down: what comes is thrown away. */
static int drain(struct pair *pair)
{
	const struct vmm_net_backend *backend = &pair->net->backend;
	struct iovec iov = { pair->overflow, VMM_NET_MAX_BYTES };

	for (int i = 0; i < FRAMES_A_TURN; i++) {
		ssize_t n = backend->ops->receive(backend->userdata, pair->index, &iov, 1);

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		count(&pair->n_receive_dropped, 1);
	}
	return 0;
}

/* Without the last flush. */
static int receive_frames(struct pair *pair, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_net *net = pair->net;
	int r;

	r = settle_held(pair, queue);
	if (r <= 0)
		return r;
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		r = fill_or_wait(
			pair, queue, __atomic_load_n(&pair->receive_bytes, __ATOMIC_RELAXED));
		if (r < 0)
			return r;
		if (pair->window.end_chain == pair->window.first_chain)
			return 0;
		r = read_frame(pair);
		if (r < 0) {
			vmm_net_backend_failed(net);
			return 0;
		}
		if (r == 0)
			break;
		r = settle_held(pair, queue);
		if (r <= 0)
			return r;
	}
	pair->want_receive = true;
	return 0;
}

/*
 * Receives what there is. Afterwards pair->want_receive says whether more of the back end can be
 * used; if not, a kick or the timer comes first. 0 or -VMM_EGUEST.
 */
int vmm_net_receive(struct pair *pair, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_net *net = pair->net;
	int r;

	pair->want_receive = false;
	if (__atomic_load_n(&net->backend_failed, __ATOMIC_RELAXED) ||
		pair->index >= __atomic_load_n(&net->n_pairs_used, __ATOMIC_RELAXED))
		return 0;
	if (!vmm_net_link_is_up(net)) {
		pair->want_receive = true;
		if (drain(pair) < 0)
			vmm_net_backend_failed(net);
		return 0;
	}
	vmm_virtqueue_disable_notifications(queue);
	r = receive_frames(pair, queue);
	flush(pair, queue);
	return r;
}

/* Nothing stays in flight: a frame that was held back is delivered now, the rest undone. */
void vmm_net_receive_pause(struct pair *pair, struct vmm_virtqueue *queue)
{
	struct window *window = &pair->window;

	if (queue && pair->held_bytes > 0 && pair->placed_bytes == pair->held_bytes) {
		deliver(pair, queue, pair->held_bytes);
		flush(pair, queue);
		vmm_virtio_notify(pair->net->device, receive_queue(pair));
	} else if (pair->held_bytes > 0) {
		count(&pair->n_receive_dropped, 1);
	}
	pair->held_bytes = pair->placed_bytes = 0;
	while (queue && window->end_chain > window->first_chain)
		vmm_virtqueue_undo_pop(queue, &window->chains[--window->end_chain]);
	window_clear(window);
}

void vmm_net_receive_reset(struct pair *pair)
{
	window_clear(&pair->window);
	pair->held_bytes = pair->placed_bytes = 0;
}

/* How large frames can become with these features. Under all data locks, or in the one pair's. */
void vmm_net_receive_set_offloads(struct vmm_virtio_net *net, uint64_t features)
{
	uint64_t bytes =
		VMM_NET_HEADER_BYTES + MAX((uint64_t)net->mtu, UINT64_C(1500)) + LINK_HEADER_BYTES;

	__atomic_store_n(&net->guest_offloads, features & GUEST_OFFLOADS, __ATOMIC_RELAXED);
	if (features & (F_GUEST_TSO4 | F_GUEST_TSO6))
		bytes = VMM_NET_MAX_BYTES;
	for (unsigned int i = 0; i < net->n_pairs; i++)
		__atomic_store_n(&net->pairs[i].receive_bytes, bytes, __ATOMIC_RELAXED);
}
