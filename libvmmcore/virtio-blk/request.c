/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: requests (VIRTIO 1.2, 5.2.6): a chain of descriptors is copied out, checked, and
 * becomes one operation of the back end, or several one after the other for the segments of
 * discard and write-zeroes.
 */
#include "virtio-blk/blk-internal.h"

#include <string.h>

static enum blk_parsed end_with(struct blk_request *request, uint8_t status)
{
	request->status = status;
	return BLK_PARSED_ENDED;
}

/* Whether the sectors lie within the disk. */
static bool range_valid(const struct vmm_virtio_blk *blk, uint64_t sector, uint64_t n_sectors)
{
	uint64_t capacity = __atomic_load_n(&blk->capacity_sectors, __ATOMIC_RELAXED);
	uint32_t block_sectors = blk->logical_block_bytes / VMM_BLK_SECTOR_BYTES;

	return sector <= capacity && n_sectors <= capacity - sector &&
	       IS_ALIGNED(sector, block_sectors) && IS_ALIGNED(n_sectors, block_sectors);
}

/*
 * Without VIRTIO_BLK_F_FLUSH the driver cannot ask for durability, so every write has it
 * (5.2.6.2); with CONFIG_WCE the driver chose.
 */
static uint32_t durability(const struct vmm_virtio_blk *blk)
{
	if ((blk->features & BLK_F_FLUSH) && __atomic_load_n(&blk->writeback, __ATOMIC_RELAXED))
		return 0;
	return VMM_BLK_DURABLE;
}

static enum blk_parsed parse_transfer(struct blk_request *request, bool is_write, uint64_t sector,
	uint64_t offset, uint64_t length)
{
	struct vmm_virtio_blk *blk = request->queue->blk;
	struct vmm_virtqueue_chain *chain = &request->chain;
	struct iovec *iov = is_write ? chain->readable : chain->writable;
	uint32_t n_iov = is_write ? chain->n_readable : chain->n_writable;
	int n;

	if (is_write && blk->read_only)
		return end_with(request, BLK_S_IOERR);
	if (!IS_ALIGNED(length, VMM_BLK_SECTOR_BYTES) ||
		!range_valid(blk, sector, length / VMM_BLK_SECTOR_BYTES))
		return end_with(request, BLK_S_IOERR);
	if (!is_write)
		request->written_bytes = (uint32_t)MIN(length + 1, (uint64_t)UINT32_MAX);
	if (length == 0)
		return end_with(request, BLK_S_OK);

	/* In place: the slice is never longer than what it is cut from. */
	n = vmm_virtqueue_slice(iov, n_iov, offset, length, iov, n_iov);
	if (n <= 0)
		return end_with(request, BLK_S_IOERR);
	request->io.op = is_write ? VMM_BLK_WRITE : VMM_BLK_READ;
	request->io.flags = is_write ? durability(blk) : 0;
	request->io.iov = iov;
	request->io.n_iov = (uint32_t)n;
	request->io.offset_bytes = sector * VMM_BLK_SECTOR_BYTES;
	request->io.length_bytes = length;
	return BLK_PARSED_SUBMIT;
}

static uint8_t check_segment(
	const struct vmm_virtio_blk *blk, const struct blk_segment *segment, bool is_discard)
{
	uint32_t flags = vmm_le32_get(segment->flags);
	uint32_t n_sectors = vmm_le32_get(segment->n_sectors);

	if ((flags & ~BLK_SEGMENT_UNMAP) || (is_discard && flags))
		return BLK_S_UNSUPP;
	if (n_sectors > (is_discard ? blk->max_discard_sectors : BLK_MAX_ZERO_SECTORS))
		return BLK_S_IOERR;
	if (!range_valid(blk, vmm_le64_get(segment->sector), n_sectors))
		return BLK_S_IOERR;
	return BLK_S_OK;
}

/* Whether there is a next segment that covers anything: then io describes it. */
static bool prepare_segment(struct blk_request *request)
{
	while (request->next_segment < request->n_segments) {
		const struct blk_segment *segment = &request->segments[request->next_segment++];
		uint32_t n_sectors = vmm_le32_get(segment->n_sectors);

		if (n_sectors == 0)
			continue;
		request->io.offset_bytes = vmm_le64_get(segment->sector) * VMM_BLK_SECTOR_BYTES;
		request->io.length_bytes = (uint64_t)n_sectors * VMM_BLK_SECTOR_BYTES;
		request->io.flags = durability(request->queue->blk);
		if (vmm_le32_get(segment->flags) & BLK_SEGMENT_UNMAP)
			request->io.flags |= VMM_BLK_UNMAP;
		request->io.n_iov = 0;
		return true;
	}
	return false;
}

static enum blk_parsed parse_segments(struct blk_request *request, bool is_discard)
{
	struct vmm_virtio_blk *blk = request->queue->blk;
	uint64_t length = request->chain.readable_bytes - sizeof(struct blk_request_header);
	uint8_t status;

	if (!(blk->features & (is_discard ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES)))
		return end_with(request, BLK_S_UNSUPP);
	if (length == 0 || length % sizeof(struct blk_segment) != 0 ||
		length > sizeof(request->segments))
		return end_with(request, BLK_S_IOERR);
	vmm_virtqueue_chain_read(&request->chain, sizeof(struct blk_request_header),
		request->segments, (size_t)length);
	request->n_segments = (uint8_t)(length / sizeof(struct blk_segment));
	request->next_segment = 0;
	for (unsigned int i = 0; i < request->n_segments; i++) {
		status = check_segment(blk, &request->segments[i], is_discard);
		if (status != BLK_S_OK)
			return end_with(request, status);
	}
	request->io.op = is_discard ? VMM_BLK_DISCARD : VMM_BLK_WRITE_ZEROES;
	if (!prepare_segment(request))
		return end_with(request, BLK_S_OK);
	return BLK_PARSED_SUBMIT;
}

static enum blk_parsed parse_get_id(struct blk_request *request, uint64_t length)
{
	const char *serial = request->queue->blk->serial;
	size_t n = MIN(length, (uint64_t)BLK_ID_BYTES);

	/* A driver that gives no room for all of it gets what fits. */
	vmm_virtqueue_chain_write(&request->chain, 0, serial, n);
	request->written_bytes = (uint32_t)(n == length ? n + 1 : n);
	return end_with(request, BLK_S_OK);
}

/* The status byte is the last of the writable part: it keeps its place whatever is done to iov. */
static bool find_status(struct blk_request *request)
{
	const struct vmm_virtqueue_chain *chain = &request->chain;
	const struct iovec *last;

	if (chain->n_writable == 0 || chain->writable_bytes == 0)
		return false;
	last = &chain->writable[chain->n_writable - 1];
	request->status_iov.iov_base = (char *)last->iov_base + last->iov_len - 1;
	request->status_iov.iov_len = 1;
	return true;
}

enum blk_parsed blk_request_parse(struct blk_request *request)
{
	const struct vmm_virtqueue_chain *chain = &request->chain;
	struct blk_request_header header;
	uint64_t sector, writable;

	request->n_segments = 0;
	request->next_segment = 0;
	if (!find_status(request))
		return BLK_PARSED_BROKEN;
	writable = chain->writable_bytes - 1;
	request->written_bytes = writable == 0 ? 1 : 0;
	if (vmm_virtqueue_chain_read(chain, 0, &header, sizeof(header)) < sizeof(header))
		return end_with(request, BLK_S_IOERR);

	sector = vmm_le64_get(header.sector);
	switch (vmm_le32_get(header.type)) {
	case BLK_T_IN:
		return parse_transfer(request, false, sector, 0, writable);
	case BLK_T_OUT:
		return parse_transfer(request, true, sector, sizeof(header),
			chain->readable_bytes - sizeof(header));
	case BLK_T_FLUSH:
		request->io.op = VMM_BLK_FLUSH;
		request->io.flags = 0;
		request->io.n_iov = 0;
		request->io.offset_bytes = 0;
		request->io.length_bytes = 0;
		return BLK_PARSED_SUBMIT;
	case BLK_T_GET_ID:
		return parse_get_id(request, writable);
	case BLK_T_DISCARD:
		return parse_segments(request, true);
	case BLK_T_WRITE_ZEROES:
		return parse_segments(request, false);
	default:
		return end_with(request, BLK_S_UNSUPP);
	}
}

uint64_t blk_request_limited_bytes(const struct blk_request *request)
{
	if (request->io.op == VMM_BLK_READ || request->io.op == VMM_BLK_WRITE)
		return request->io.length_bytes;
	return 0;
}

static void count_request(struct blk_request *request)
{
	struct blk_counters *counters = &request->queue->thread->counters;

	switch (request->io.op) {
	case VMM_BLK_READ:
		blk_count(&counters->n_reads, 1);
		blk_count(&counters->read_bytes, request->io.length_bytes);
		break;
	case VMM_BLK_WRITE:
		blk_count(&counters->n_writes, 1);
		blk_count(&counters->written_bytes, request->io.length_bytes);
		break;
	case VMM_BLK_FLUSH:
		blk_count(&counters->n_flushes, 1);
		break;
	case VMM_BLK_DISCARD:
		blk_count(&counters->n_discards, 1);
		break;
	case VMM_BLK_WRITE_ZEROES:
		blk_count(&counters->n_write_zeroes, 1);
		break;
	}
}

static uint8_t status_of(int result)
{
	if (result >= 0)
		return BLK_S_OK;
	return result == -EOPNOTSUPP ? BLK_S_UNSUPP : BLK_S_IOERR;
}

/* The back end is done with all segments, or has failed one. */
static void end(struct blk_request *request, int result)
{
	struct vmm_virtio_blk *blk = request->queue->blk;

	if (result < 0 && result != -ECANCELED && result != -EOPNOTSUPP && blk->failed)
		blk->failed(blk->failed_userdata, request->io.op, result);
	request->status = status_of(result);
	blk_queue_add_ended(request->queue, request);
}

/* Submits segment after segment as long as the back end carries them out at once. */
static void submit_segments(struct blk_request *request)
{
	const struct vmm_blk_backend *backend = &request->queue->blk->backend;
	int r;

	do {
		r = backend->ops->submit(backend->userdata, &request->io);
		if (r == VMM_BLK_PENDING) {
			request->queue->thread->n_in_flight++;
			return;
		}
	} while (r == 0 && prepare_segment(request));
	end(request, r);
}

void blk_request_submit(struct blk_request *request)
{
	request->io.thread = request->queue->thread->index;
	count_request(request);
	submit_segments(request);
}

void blk_request_completed(struct blk_request *request, int result)
{
	request->queue->thread->n_in_flight--;
	if (result == 0 && prepare_segment(request)) {
		submit_segments(request);
		return;
	}
	end(request, result);
}

void blk_request_push(struct blk_request *request, struct vmm_virtqueue *virtqueue)
{
	struct vmm_virtqueue_chain status = {
		.writable = &request->status_iov,
		.n_writable = 1,
		.writable_bytes = 1,
	};
	uint32_t written = request->written_bytes;

	/* After a failure of a read nobody knows how much of the data was written. */
	if (request->status != BLK_S_OK) {
		written = request->chain.writable_bytes == 1 ? 1 : 0;
		blk_count(&request->queue->thread->counters.n_failed, 1);
	}
	vmm_virtqueue_chain_write(&status, 0, &request->status, 1);
	vmm_virtqueue_fill(virtqueue, &request->chain, written);
}
