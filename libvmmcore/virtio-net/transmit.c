/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-net: frames of the guest (VIRTIO 1.2, 5.1.6.1, 5.1.6.2). The header is copied, checked
 * against what was negotiated, and the copy goes to the back end before the guest's own memory.
 */
#include "base/util.h"
#include "virtio-net/net-internal.h"

static bool header_is_good(const struct net_header *header, uint64_t frame_bytes, uint64_t features)
{
	uint8_t gso_type = header->gso_type & (uint8_t)~GSO_ECN;
	uint64_t csum_start = vmm_le16_get(header->csum_start);
	uint64_t csum_offset = vmm_le16_get(header->csum_offset);

	if (header->flags & HEADER_NEEDS_CSUM) {
		if (!(features & F_CSUM) || csum_start + csum_offset + 2 > frame_bytes)
			return false;
	}
	if (header->gso_type & GSO_ECN && (!(features & F_HOST_ECN) || gso_type == GSO_NONE))
		return false;
	switch (gso_type) {
	case GSO_NONE:
		return true;
	case GSO_TCPV4:
		if (!(features & F_HOST_TSO4))
			return false;
		break;
	case GSO_TCPV6:
		if (!(features & F_HOST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	/* 5.1.6.2: segmentation comes with a checksum to fill in and a size of the segments. */
	return header->flags & HEADER_NEEDS_CSUM && vmm_le16_get(header->gso_size) > 0;
}

/*
 * What the back end gets of the header. 5.1.6.2.2: flags that are not known are ignored, and
 * hdr_len is a hint, which drivers get wrong: back ends need not find that out.
 */
static void clean_header(struct net_header *header, uint64_t frame_bytes)
{
	header->flags &= HEADER_NEEDS_CSUM;
	header->num_buffers = vmm_le16_make(0);
	if (vmm_le16_get(header->hdr_len) > frame_bytes)
		header->hdr_len = vmm_le16_make((uint16_t)frame_bytes);
}

/* 0: done with it; -EAGAIN: the back end cannot take it now. */
static int send_frame(struct pair *pair, const struct vmm_virtqueue_chain *chain)
{
	struct vmm_virtio_net *net = pair->net;
	uint64_t frame_bytes = chain->readable_bytes - VMM_NET_HEADER_BYTES;
	struct net_header header;
	struct iovec *iov = pair->transmit_iov;
	int n, r;

	vmm_virtqueue_chain_read(chain, 0, &header, sizeof(header));
	clean_header(&header, frame_bytes);
	if (!vmm_net_link_is_up(net) ||
		!header_is_good(&header, frame_bytes, vmm_virtio_features(net->device))) {
		count(&pair->n_transmit_dropped, 1);
		return 0;
	}
	iov[0] = (struct iovec){ &header, sizeof(header) };
	n = vmm_virtqueue_slice(chain->readable, chain->n_readable, VMM_NET_HEADER_BYTES,
		frame_bytes, &iov[1], pair->transmit_room);
	assert(n > 0);
	r = net->backend.ops->send(net->backend.userdata, pair->index, iov, (size_t)n + 1);
	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		count(&pair->n_transmit_dropped, 1);
		return 0;
	}
	count(&pair->n_transmitted, 1);
	count(&pair->transmitted_bytes, frame_bytes);
	return 0;
}

static bool admit(struct pair *pair, uint64_t frame_bytes)
{
	uint64_t deadline;

	if (!vmm_ratelimit_active(&pair->transmit_limit))
		return true;
	deadline = vmm_ratelimit_take(&pair->transmit_limit, 1, frame_bytes, vmm_base_now_nsec());
	if (deadline == 0)
		return true;
	count(&pair->n_limited, 1);
	vmm_loop_timer_set(pair->transmit_timer, deadline);
	return false;
}

static bool is_a_frame(const struct vmm_virtqueue_chain *chain)
{
	return chain->n_writable == 0 &&
	       chain->readable_bytes >= VMM_NET_HEADER_BYTES + ETHERNET_BYTES &&
	       chain->readable_bytes <= VMM_NET_MAX_BYTES;
}

/*
 * What a look at the queue came to. That it was empty is for that look to say: a second one would
 * find the frame that the driver has added since, without a kick, as none was asked for.
 */
enum outcome {
	OUTCOME_DONE,
	OUTCOME_EMPTY,
	OUTCOME_WAITS, /* for a limit or the back end: not a kick's affair */
};

/* 0, or -VMM_EGUEST. */
static int transmit_one(struct pair *pair, struct vmm_virtqueue *queue, enum outcome *ret_outcome)
{
	struct vmm_virtqueue_chain chain;
	uint64_t frame_bytes;
	int r;

	r = vmm_virtqueue_pop(queue, &pair->transmit_iov[1], pair->transmit_room, &chain);
	if (r == -ENOBUFS) {
		vmm_virtqueue_break(queue, "frame of too many pieces");
		return -VMM_EGUEST;
	}
	if (r < 0)
		return r;
	if (r == 0) {
		*ret_outcome = OUTCOME_EMPTY;
		return 0;
	}
	*ret_outcome = OUTCOME_DONE;
	if (!is_a_frame(&chain)) {
		count(&pair->n_transmit_dropped, 1);
		vmm_virtqueue_push(queue, &chain, 0);
		return 0;
	}
	frame_bytes = chain.readable_bytes - VMM_NET_HEADER_BYTES;
	if (!admit(pair, frame_bytes)) {
		vmm_virtqueue_undo_pop(queue, &chain);
		*ret_outcome = OUTCOME_WAITS;
		return 0;
	}
	if (send_frame(pair, &chain) == -EAGAIN) {
		vmm_ratelimit_give_back(&pair->transmit_limit, 1, frame_bytes);
		vmm_virtqueue_undo_pop(queue, &chain);
		pair->want_transmit = true;
		*ret_outcome = OUTCOME_WAITS;
		return 0;
	}
	vmm_virtqueue_push(queue, &chain, 0);
	return 0;
}

/* Transmits what there is. 0; 1: there is more, call again; -VMM_EGUEST. */
int vmm_net_transmit(struct pair *pair, struct vmm_virtqueue *queue)
{
	pair->want_transmit = false;
	vmm_virtqueue_disable_notifications(queue);
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		enum outcome outcome;
		int r = transmit_one(pair, queue, &outcome);

		if (r < 0)
			return r;
		if (outcome == OUTCOME_DONE)
			continue;
		if (outcome == OUTCOME_WAITS)
			return 0;
		if (!vmm_virtqueue_enable_notifications(queue))
			return 0;
		vmm_virtqueue_disable_notifications(queue);
	}
	return 1;
}
