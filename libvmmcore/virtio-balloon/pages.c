/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-balloon: pages that come and go (VIRTIO 1.2, 5.5.6 and 5.5.6.7). Neighbours are given
 * back to the host together. A map of what was given lets a huge page go when it is complete,
 * and knows better than the guest how large the balloon is.
 */
#include <string.h>

#include "virtio-balloon/balloon-internal.h"

#define PAGE ((uint64_t)VMM_BALLOON_PAGE_BYTES)
#define HUGE_PAGES UINT64_C(512) /* of 2 MiB */
#define LIST_PAGES 256

/* Neighbouring pages, [first, end). */
struct run {
	uint64_t first, end;
};

static bool map_test(const struct vmm_virtio_balloon *balloon, uint64_t page)
{
	return balloon->given[page / 64] >> (page % 64) & 1;
}

/* Returns whether that changed anything. */
static bool map_set(struct vmm_virtio_balloon *balloon, uint64_t page, bool given)
{
	if (map_test(balloon, page) == given)
		return false;
	balloon->given[page / 64] ^= UINT64_C(1) << (page % 64);
	if (given)
		balloon->n_given++;
	else
		balloon->n_given--;
	return true;
}

static bool map_huge_page_given(const struct vmm_virtio_balloon *balloon, uint64_t first)
{
	for (uint64_t i = 0; i < HUGE_PAGES / 64; i++)
		if (balloon->given[first / 64 + i] != UINT64_MAX)
			return false;
	return true;
}

static void discard(struct vmm_virtio_balloon *balloon, uint64_t gpa, uint64_t length_bytes)
{
	if (vmm_mem_discard(balloon->mem, gpa, length_bytes) < 0)
		balloon->n_failed++;
}

static void discard_run(struct vmm_virtio_balloon *balloon, const struct run *run)
{
	if (run->first == run->end)
		return;
	discard(balloon, run->first * PAGE, (run->end - run->first) * PAGE);
	/* Memory of huge pages goes only when all of one is given. */
	for (uint64_t huge = ALIGN_DOWN(run->first, HUGE_PAGES);
		huge < run->end && huge + HUGE_PAGES <= balloon->n_map_pages; huge += HUGE_PAGES) {
		bool in_run = huge >= run->first && huge + HUGE_PAGES <= run->end;

		if (!in_run && map_huge_page_given(balloon, huge))
			discard(balloon, huge * PAGE, HUGE_PAGES * PAGE);
	}
}

/* Adds a page to the run where it is a neighbour; else the run goes, and a new one begins. */
static void run_add(struct vmm_virtio_balloon *balloon, struct run *run, uint64_t page)
{
	if (run->first != run->end) {
		if (page == run->end) {
			run->end++;
			return;
		}
		if (page + 1 == run->first) {
			run->first--;
			return;
		}
	}
	discard_run(balloon, run);
	run->first = page;
	run->end = page + 1;
}

static void give_page(struct vmm_virtio_balloon *balloon, struct run *run, uint64_t page)
{
	if (page >= balloon->n_map_pages ||
		vmm_mem_check(balloon->mem, page * PAGE, PAGE, true) < 0) {
		balloon->n_bad_pages++;
		return;
	}
	map_set(balloon, page, true);
	run_add(balloon, run, page);
}

/* Each page of the list is read once; what the guest writes meanwhile does not matter. */
static void walk_list(
	struct vmm_virtio_balloon *balloon, const struct vmm_virtqueue_chain *chain, bool give)
{
	struct vmm_le32 list[LIST_PAGES];
	struct run run = { 0, 0 };
	uint64_t at = 0;

	for (;;) {
		size_t n = vmm_virtqueue_chain_read(chain, at, list, sizeof(list));

		for (size_t i = 0; i < n / sizeof(list[0]); i++) {
			uint64_t page = vmm_le32_get(list[i]);

			if (give)
				give_page(balloon, &run, page);
			else if (page < balloon->n_map_pages)
				map_set(balloon, page, false);
			else
				balloon->n_bad_pages++;
		}
		at += n;
		if (n < sizeof(list))
			break;
	}
	discard_run(balloon, &run);
}

/* A list that is longer than this is none that a driver makes. */
#define MAX_LIST_BYTES 65536

static int serve_lists(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue, bool give)
{
	struct vmm_virtqueue_chain chain;
	uint64_t n_pages = 0;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		for (;;) {
			r = balloon_pop(balloon, queue, &chain);
			if (r < 0)
				return r;
			if (r == 0)
				break;
			if (chain.readable_bytes > MAX_LIST_BYTES) {
				vmm_virtqueue_break(queue, "a list of pages is too long");
				return -VMM_EGUEST;
			}
			walk_list(balloon, &chain, give);
			vmm_virtqueue_push(queue, &chain, 0);
			/* An empty list costs something, too. */
			n_pages += chain.readable_bytes / sizeof(struct vmm_le32) + 64;
			if (n_pages >= BALLOON_BUDGET_PAGES)
				return 1;
		}
	} while (vmm_virtqueue_enable_notifications(queue));
	return 0;
}

int balloon_inflate(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue)
{
	return serve_lists(balloon, queue, true);
}

int balloon_deflate(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue)
{
	return serve_lists(balloon, queue, false);
}

uint64_t balloon_find_gpa(
	const struct vmm_virtio_balloon *balloon, const struct iovec *iov, uint64_t *ret_gpa)
{
	uintptr_t start = (uintptr_t)iov->iov_base;
	struct vmm_mem_region region;

	for (size_t i = 0; vmm_mem_get_region(balloon->mem, i, &region) >= 0; i++) {
		uintptr_t host = (uintptr_t)region.host;

		if (start < host || start - host >= region.size_bytes)
			continue;
		*ret_gpa = region.gpa + (start - host);
		return MIN((uint64_t)iov->iov_len, region.size_bytes - (start - host));
	}
	return 0;
}

/* The free pages that a chain names by its buffers. */
static uint64_t report_chain(
	struct vmm_virtio_balloon *balloon, const struct vmm_virtqueue_chain *chain)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < chain->n_writable; i++) {
		struct iovec rest = chain->writable[i];
		uint64_t gpa, length;

		while (rest.iov_len > 0 && (length = balloon_find_gpa(balloon, &rest, &gpa)) > 0) {
			discard(balloon, gpa, length);
			total += length;
			rest.iov_base = (char *)rest.iov_base + length;
			rest.iov_len -= length;
		}
	}
	balloon->reported_bytes += total;
	return total;
}

int balloon_report(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	uint64_t total = 0;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		for (unsigned int n = 0;; n++) {
			r = balloon_pop(balloon, queue, &chain);
			if (r < 0)
				return r;
			if (r == 0)
				break;
			total += report_chain(balloon, &chain);
			/* Nothing is written: the pages are the guest's again as they are. */
			vmm_virtqueue_push(queue, &chain, 0);
			if (n + 1 == BALLOON_BUDGET_CHAINS || total >= BALLOON_BUDGET_BYTES)
				return 1;
		}
	} while (vmm_virtqueue_enable_notifications(queue));
	return 0;
}
