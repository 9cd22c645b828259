/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mem: guest addresses into host addresses. Each function checks the whole range before it
 * touches any of it, then walks it piece by piece; a piece is what lies in one region.
 */
#include "mem/mem-internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"

bool vmm_mem_next_piece(const struct vmm_mem *mem, struct rest *rest, struct piece *ret_piece)
{
	if (rest->length_bytes == 0)
		return false;
	/* A VM has a handful of regions: a line is faster than a search. */
	for (size_t i = 0; i < mem->n_regions; i++) {
		const struct region *region = &mem->regions[i];
		uint64_t offset = rest->gpa - region->gpa;
		uint64_t length_bytes;

		if (rest->gpa < region->gpa)
			return false;
		if (offset >= region->size_bytes)
			continue;
		length_bytes = MIN(rest->length_bytes, region->size_bytes - offset);
		*ret_piece = (struct piece){ (struct region *)region, offset, length_bytes };
		rest->gpa += length_bytes;
		rest->length_bytes -= length_bytes;
		return true;
	}
	return false;
}

int vmm_mem_check(const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, bool writing)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	uint64_t end;

	if (__builtin_add_overflow(gpa, length_bytes, &end))
		return -VMM_EGUEST;
	while (vmm_mem_next_piece(mem, &rest, &piece))
		if (writing && piece.region->read_only)
			return -VMM_EGUEST;
	return rest.length_bytes == 0 ? 0 : -VMM_EGUEST;
}

/* A load and a store of 16 bytes each, not a call. */
struct chunk {
	uint8_t bytes[16];
};

static inline void copy_chunk(uint8_t *to, const uint8_t *from)
{
	struct chunk chunk;

	memcpy(&chunk, from, sizeof(chunk));
	memcpy(to, &chunk, sizeof(chunk));
}

/* Of at most 16 bytes. What fits an aligned word is one access. */
static void copy_word(uint8_t *to, const uint8_t *from, size_t length)
{
	if ((((uintptr_t)to | (uintptr_t)from) & (length - 1)) == 0) {
		switch (length) {
		case 2: {
			uint16_t value = __atomic_load_n((const uint16_t *)from, __ATOMIC_RELAXED);

			__atomic_store_n((uint16_t *)to, value, __ATOMIC_RELAXED);
			return;
		}
		case 4: {
			uint32_t value = __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);

			__atomic_store_n((uint32_t *)to, value, __ATOMIC_RELAXED);
			return;
		}
		case 8: {
			uint64_t value = __atomic_load_n((const uint64_t *)from, __ATOMIC_RELAXED);

			__atomic_store_n((uint64_t *)to, value, __ATOMIC_RELAXED);
			return;
		}
		default:
			break;
		}
	}
	memcpy(to, from, length);
}

/*
 * Copies once; what fits an aligned word is one access, so that a field of a ring or a register in
 * memory is never seen in halves. Most copies are headers: those of up to 64 bytes are made here,
 * which costs no more than a call of memcpy(). Like there, their last bytes may be read twice; what
 * is in the copy afterwards is one of the two.
 */
static inline void copy(uint8_t *to, const uint8_t *from, size_t length)
{
	if (length > 64) {
		memcpy(to, from, length);
	} else if (length > 32) {
		copy_chunk(to, from);
		copy_chunk(to + 16, from + 16);
		copy_chunk(to + length - 32, from + length - 32);
		copy_chunk(to + length - 16, from + length - 16);
	} else if (length > 16) {
		copy_chunk(to, from);
		copy_chunk(to + length - 16, from + length - 16);
	} else {
		copy_word(to, from, length);
	}
}

/*
 * The region that all of a range lies in, as nearly each range does, so that one look is check
 * and walk. NULL where there is none, or where length_bytes is 0.
 */
static inline const struct region *find_whole(
	const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, uint64_t *ret_offset)
{
	for (size_t i = 0; i < mem->n_regions; i++) {
		const struct region *region = &mem->regions[i];
		uint64_t offset = gpa - region->gpa;

		if (gpa < region->gpa)
			break;
		if (offset >= region->size_bytes)
			continue;
		*ret_offset = offset;
		return length_bytes - 1 < region->size_bytes - offset ? region : NULL;
	}
	return NULL;
}

/* Apart from the one copy that nearly each is: the range crosses regions, or is none. */
__attribute__((noinline)) static int read_pieces(
	const struct vmm_mem *mem, uint64_t gpa, uint8_t *to, size_t length_bytes)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, false);
	if (r < 0)
		return r;
	for (; vmm_mem_next_piece(mem, &rest, &piece); to += piece.length_bytes)
		copy(to, piece.region->host + piece.offset, piece.length_bytes);
	return 0;
}

int vmm_mem_read(const struct vmm_mem *mem, uint64_t gpa, void *data, size_t length_bytes)
{
	const struct region *whole;
	uint64_t offset;

	whole = find_whole(mem, gpa, length_bytes, &offset);
	if (!whole)
		return read_pieces(mem, gpa, data, length_bytes);
	copy(data, whole->host + offset, length_bytes);
	return 0;
}

/* The same, or what is written has to be marked, or may not be. */
__attribute__((noinline)) static int write_pieces(
	struct vmm_mem *mem, uint64_t gpa, const uint8_t *from, size_t length_bytes)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, true);
	if (r < 0)
		return r;
	for (; vmm_mem_next_piece(mem, &rest, &piece); from += piece.length_bytes) {
		copy(piece.region->host + piece.offset, from, piece.length_bytes);
		vmm_mem_region_mark_dirty(piece.region, piece.offset, piece.length_bytes);
	}
	return 0;
}

int vmm_mem_write(struct vmm_mem *mem, uint64_t gpa, const void *data, size_t length_bytes)
{
	const struct region *whole;
	uint64_t offset;

	whole = find_whole(mem, gpa, length_bytes, &offset);
	if (!whole || whole->read_only || whole->dirty)
		return write_pieces(mem, gpa, data, length_bytes);
	copy(whole->host + offset, data, length_bytes);
	return 0;
}

int vmm_mem_fill(struct vmm_mem *mem, uint64_t gpa, uint8_t byte, uint64_t length_bytes)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, true);
	if (r < 0)
		return r;
	while (vmm_mem_next_piece(mem, &rest, &piece)) {
		memset(piece.region->host + piece.offset, byte, piece.length_bytes);
		vmm_mem_region_mark_dirty(piece.region, piece.offset, piece.length_bytes);
	}
	return 0;
}

/*
 * Of what is about to be written whole, so that no large page costs more memory than small ones
 * would. Advice: a host may have none.
 */
static void advise_large_pages(const struct piece *piece)
{
	const struct region *region = piece->region;
	/* Host and guest addresses agree modulo this, see mem.c. */
	uint64_t start = ALIGN_UP(region->gpa + piece->offset, LARGE_PAGE_BYTES);
	uint64_t end =
		ALIGN_DOWN(region->gpa + piece->offset + piece->length_bytes, LARGE_PAGE_BYTES);

	if (region->page_bytes == VMM_MEM_PAGE_BYTES && start < end)
		(void)madvise(region->host + (start - region->gpa), end - start, MADV_HUGEPAGE);
}

int vmm_mem_pread_from(
	struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, int fd, uint64_t offset)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, true);
	if (r < 0)
		return r;
	for (; vmm_mem_next_piece(mem, &rest, &piece); offset += piece.length_bytes) {
		advise_large_pages(&piece);
		r = vmm_base_pread_full(
			fd, piece.region->host + piece.offset, piece.length_bytes, offset);
		vmm_mem_region_mark_dirty(piece.region, piece.offset, piece.length_bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

void *vmm_mem_pointer(const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes,
	uint64_t alignment, bool writing)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	uint64_t end;

	if (!IS_ALIGNED(gpa, alignment) || __builtin_add_overflow(gpa, length_bytes, &end))
		return NULL;
	if (!vmm_mem_next_piece(mem, &rest, &piece) || rest.length_bytes > 0)
		return NULL;
	if (writing && piece.region->read_only)
		return NULL;
	return piece.region->host + piece.offset;
}

int vmm_mem_iovec(const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, bool writing,
	struct iovec *iov, size_t n_iov)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	size_t n = 0;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, writing);
	if (r < 0)
		return r;
	while (vmm_mem_next_piece(mem, &rest, &piece)) {
		uint8_t *host = piece.region->host + piece.offset;

		if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == host) {
			iov[n - 1].iov_len += piece.length_bytes;
			continue;
		}
		if (n == n_iov)
			return -ENOBUFS;
		iov[n++] = (struct iovec){ .iov_base = host, .iov_len = piece.length_bytes };
	}
	return (int)n;
}

static int discard_piece(const struct region *region, uint64_t offset, uint64_t length_bytes)
{
	uint64_t start = ALIGN_UP(offset, region->page_bytes);
	uint64_t end = ALIGN_DOWN(offset + length_bytes, region->page_bytes);

	if (start >= end)
		return 0;
	if (region->fd < 0) {
		if (madvise(region->host + start, end - start, MADV_DONTNEED) < 0)
			return -errno;
		return 0;
	}
	if (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(region->fd_offset + start), (off_t)(end - start)) < 0)
		return -errno;
	return 0;
}

int vmm_mem_discard(struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes)
{
	struct rest rest = { gpa, length_bytes };
	struct piece piece;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, true);
	if (r < 0)
		return r;
	while (vmm_mem_next_piece(mem, &rest, &piece)) {
		r = discard_piece(piece.region, piece.offset, piece.length_bytes);
		if (r < 0)
			return r;
		vmm_mem_region_mark_dirty(piece.region, piece.offset, piece.length_bytes);
	}
	return 0;
}
