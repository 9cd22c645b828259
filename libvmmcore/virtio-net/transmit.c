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

/* With queue_size descriptors and some more a frame may have at most. */
#define MORE_PIECES 64

int vmm_net_batch_init(struct batch *batch, unsigned int queue_size)
{
	*batch = (struct batch){ .iov_room = queue_size + MORE_PIECES + 1 };
	batch->entries = calloc(VMM_NET_MAX_BATCH, sizeof(batch->entries[0]));
	batch->frames = calloc(VMM_NET_MAX_BATCH, sizeof(batch->frames[0]));
	batch->iov = calloc(batch->iov_room, sizeof(batch->iov[0]));
	return batch->entries && batch->frames && batch->iov ? 0 : -ENOMEM;
}

void vmm_net_batch_finish(struct batch *batch)
{
	free(batch->entries);
	free(batch->frames);
	free(batch->iov);
	*batch = (struct batch){ 0 };
}

/* What a look at the queue came to. */
enum outcome {
	OUTCOME_MORE,  /* there may be more */
	OUTCOME_EMPTY, /* there was nothing more */
	OUTCOME_WAITS, /* for a limit or the back end: not a kick's affair */
};

static bool is_a_frame(const struct vmm_virtqueue_chain *chain)
{
	return chain->n_writable == 0 &&
	       chain->readable_bytes >= VMM_NET_HEADER_BYTES + ETHERNET_BYTES &&
	       chain->readable_bytes <= VMM_NET_MAX_BYTES;
}

/* Makes of the chain that was popped an entry's frame. False: there is none to be sent. */
static bool make_frame(struct pair *pair, struct batch_entry *entry)
{
	const struct vmm_virtqueue_chain *chain = &entry->chain;
	struct vmm_virtio_net *net = pair->net;

	if (!is_a_frame(chain) || !vmm_net_link_is_up(net))
		return false;
	entry->frame_bytes = chain->readable_bytes - VMM_NET_HEADER_BYTES;
	vmm_virtqueue_chain_read(chain, 0, &entry->header, sizeof(entry->header));
	clean_header(&entry->header, entry->frame_bytes);
	return header_is_good(&entry->header, entry->frame_bytes, vmm_virtio_features(net->device));
}

/* The last entry of the batch becomes one of its frames: its header, then the guest's memory. */
static void add_frame(struct batch *batch, struct batch_entry *entry)
{
	struct iovec *iov = &batch->iov[batch->n_iov];
	int n;

	iov[0] = (struct iovec){ &entry->header, sizeof(entry->header) };
	n = vmm_virtqueue_slice(entry->chain.readable, entry->chain.n_readable,
		VMM_NET_HEADER_BYTES, entry->frame_bytes, &iov[1],
		batch->iov_room - batch->n_iov - 1);
	assert(n > 0);
	batch->frames[batch->n_frames++] = (struct vmm_net_frame){ iov, (size_t)n + 1, 0 };
	batch->n_iov += (size_t)n + 1;
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

static int pop(struct batch *batch, struct vmm_virtqueue *queue, struct batch_entry *entry)
{
	size_t room = batch->iov_room - batch->n_iov;
	int r = -ENOBUFS;

	if (room > 1)
		r = vmm_virtqueue_pop(
			queue, &batch->iov[batch->n_iov + 1], room - 1, &entry->chain);
	if (r == -ENOBUFS && batch->n_frames == 0) {
		vmm_virtqueue_break(queue, "frame of too many pieces");
		return -VMM_EGUEST;
	}
	return r;
}

/*
 * Pops frames into the batch until it is full or something else is to be done first. What is to
 * be dropped is a batch of its own, as chains go back in order only. That the queue was empty is
 * for this look to say: a second one would find the frame that the driver has added since,
 * without a kick, as none was asked for. 0 or -VMM_EGUEST; the batch is to be sent in any case.
 */
static int gather(struct pair *pair, struct vmm_virtqueue *queue, enum outcome *ret_outcome)
{
	struct batch *batch = &pair->batch;

	*ret_outcome = OUTCOME_MORE;
	batch->n_frames = batch->n_iov = 0;
	while (batch->n_frames < VMM_NET_MAX_BATCH) {
		struct batch_entry *entry = &batch->entries[batch->n_frames];
		int r = pop(batch, queue, entry);

		if (r == -ENOBUFS)
			return 0;
		if (r < 0)
			return r;
		if (r == 0) {
			*ret_outcome = OUTCOME_EMPTY;
			return 0;
		}
		if (!make_frame(pair, entry)) {
			if (batch->n_frames > 0) {
				vmm_virtqueue_undo_pop(queue, &entry->chain);
				return 0;
			}
			count(&pair->n_transmit_dropped, 1);
			vmm_virtqueue_push(queue, &entry->chain, 0);
			return 0;
		}
		if (!admit(pair, entry->frame_bytes)) {
			vmm_virtqueue_undo_pop(queue, &entry->chain);
			*ret_outcome = OUTCOME_WAITS;
			return 0;
		}
		add_frame(batch, entry);
	}
	return 0;
}

/* How many of the batch's frames, from the first on, the back end is done with. */
static size_t send_frames(struct pair *pair)
{
	const struct vmm_net_backend *backend = &pair->net->backend;
	struct batch *batch = &pair->batch;
	size_t i;

	if (backend->ops->send_many && batch->n_frames > 1)
		return backend->ops->send_many(
			backend->userdata, pair->index, batch->frames, batch->n_frames);
	for (i = 0; i < batch->n_frames; i++) {
		struct vmm_net_frame *frame = &batch->frames[i];

		frame->result = backend->ops->send(
			backend->userdata, pair->index, frame->iov, frame->n_iov);
		if (frame->result == -EAGAIN)
			break;
	}
	return i;
}

/* False where the back end does not take all of them now. */
static bool send_batch(struct pair *pair, struct vmm_virtqueue *queue)
{
	struct batch *batch = &pair->batch;
	size_t n_done = send_frames(pair);

	for (size_t i = batch->n_frames; i > n_done; i--) {
		struct batch_entry *entry = &batch->entries[i - 1];

		vmm_ratelimit_give_back(&pair->transmit_limit, 1, entry->frame_bytes);
		vmm_virtqueue_undo_pop(queue, &entry->chain);
	}
	for (size_t i = 0; i < n_done; i++) {
		const struct batch_entry *entry = &batch->entries[i];

		if (batch->frames[i].result < 0) {
			count(&pair->n_transmit_dropped, 1);
		} else {
			count(&pair->n_transmitted, 1);
			count(&pair->transmitted_bytes, entry->frame_bytes);
		}
		vmm_virtqueue_fill(queue, &entry->chain, 0);
	}
	vmm_virtqueue_flush(queue);
	return n_done == batch->n_frames;
}

/* Transmits what there is. 0; 1: there is more, call again; -VMM_EGUEST. */
int vmm_net_transmit(struct pair *pair, struct vmm_virtqueue *queue)
{
	pair->want_transmit = false;
	vmm_virtqueue_disable_notifications(queue);
	for (size_t n_popped = 0; n_popped < FRAMES_A_TURN;) {
		enum outcome outcome;
		int r = gather(pair, queue, &outcome);

		n_popped += MAX(pair->batch.n_frames, (size_t)1);
		if (!send_batch(pair, queue)) {
			pair->want_transmit = true;
			return r;
		}
		if (r < 0)
			return r;
		if (outcome == OUTCOME_WAITS)
			return 0;
		if (outcome == OUTCOME_MORE)
			continue;
		if (!vmm_virtqueue_enable_notifications(queue))
			return 0;
		vmm_virtqueue_disable_notifications(queue);
	}
	return 1;
}
