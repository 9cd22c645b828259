/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mem: the guest-physical memory of one VM, as a table of regions of host memory.
 *
 * A guest address is a uint64_t named ..._gpa. Only this block turns one into a pointer, and
 * only together with a length that it has checked. A range may cross from one region into an
 * adjacent one; every function below handles that unless it says otherwise.
 *
 * What a guest says about its memory is a guest fault: a range that is not wholly inside
 * memory, or that wraps around 2^64, gives -VMM_EGUEST and nothing is read or written. A
 * range of length 0 is always valid.
 *
 * Guests write their memory while the host reads it. Copy once, check the copy, use the copy:
 * vmm_mem_read() reads each byte once, and aligned loads of 2, 4 and 8 bytes are single loads.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                             | result                          |
 *   |---------------------------------------------------|---------------------------------|
 *   | gpa + length wraps around                         | -VMM_EGUEST                     |
 *   | range starts, ends or lies in a hole              | -VMM_EGUEST                     |
 *   | write into a read-only region                     | -VMM_EGUEST                     |
 *   | more pieces than the caller's iovec array         | -ENOBUFS                        |
 *   | region of size 0, unaligned, wrapping, overlapping| -EINVAL, -EEXIST                |
 *   | more regions than VMM_MEM_MAX_REGIONS             | -ENOSPC                         |
 *   | file shorter than the region                      | -EINVAL (else SIGBUS later)     |
 *
 * Threads: adding and removing regions needs the caller to hold all other users away. All else
 * may run in any number of threads at once.
 */
#ifndef VMMCORE_MEM_H
#define VMMCORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_MEM_MAX_REGIONS 64
#define VMM_MEM_PAGE_BYTES 4096

struct vmm_mem;

enum vmm_mem_backing {
	VMM_MEM_MEMFD = 0, /* a sealed-size memfd: can be shared with back ends */
	VMM_MEM_ANONYMOUS, /* private, cannot be shared; the cheapest to set up */
	VMM_MEM_FILE,      /* fd and fd_offset below, mapped shared */
};

/* Zero is the default of each member but size_bytes. Addresses and sizes: whole pages. */
struct vmm_mem_config {
	uint64_t gpa;
	uint64_t size_bytes;
	enum vmm_mem_backing backing;
	int fd; /* VMM_MEM_FILE: duplicated, the caller keeps its own */
	uint64_t fd_offset;
	uint64_t huge_page_bytes; /* 0: base pages; 2 MiB or 1 GiB: hugetlbfs pages, reserved now */
	bool transparent_huge;    /* ask for transparent huge pages */
	bool read_only;           /* for the guest and for the functions below */
	bool prefault;            /* allocate all pages now; -ENOMEM where the host cannot */
	bool in_core_dump;        /* default: guest memory stays out of core files */
};

struct vmm_mem_region {
	uint64_t gpa;
	uint64_t size_bytes;
	void *host;         /* borrowed: valid until the region is removed */
	int fd;             /* borrowed; -EBADF for anonymous memory */
	uint64_t fd_offset; /* bytes, of host within fd */
	bool read_only;
};

/* A new, empty address space. -ENOMEM. */
VMM_PUBLIC int vmm_mem_new(struct vmm_mem **ret_mem);

/* Unmaps everything. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_mem *vmm_mem_free(struct vmm_mem *mem);

/*
 * Maps host memory and adds it at config->gpa. -EINVAL for a bad config, -EEXIST where it would
 * overlap, -ENOSPC when the table is full, -ENOMEM and what mmap and memfd_create give.
 */
VMM_PUBLIC int vmm_mem_add(struct vmm_mem *mem, const struct vmm_mem_config *config);

/* Unmaps and removes the region that starts at gpa. -ENOENT. */
VMM_PUBLIC int vmm_mem_remove(struct vmm_mem *mem, uint64_t gpa);

/* Regions are sorted by address; their index changes when one is added or removed. -ENOENT. */
VMM_PUBLIC size_t vmm_mem_n_regions(const struct vmm_mem *mem);
VMM_PUBLIC int vmm_mem_get_region(
	const struct vmm_mem *mem, size_t index, struct vmm_mem_region *ret_region);

/* The one that starts at gpa. -ENOENT. */
VMM_PUBLIC int vmm_mem_find_region(
	const struct vmm_mem *mem, uint64_t gpa, struct vmm_mem_region *ret_region);

/* Sum of all regions, in bytes. */
VMM_PUBLIC uint64_t vmm_mem_size_bytes(const struct vmm_mem *mem);

/* 0 where [gpa, gpa + length) is memory (and writable, if writing), -VMM_EGUEST otherwise. */
VMM_PUBLIC int vmm_mem_check(
	const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, bool writing);

/* Copies between the guest and the host. 0 or -VMM_EGUEST; all or nothing. */
VMM_PUBLIC int vmm_mem_read(
	const struct vmm_mem *mem, uint64_t gpa, void *data, size_t length_bytes);
VMM_PUBLIC int vmm_mem_write(
	struct vmm_mem *mem, uint64_t gpa, const void *data, size_t length_bytes);
VMM_PUBLIC int vmm_mem_fill(struct vmm_mem *mem, uint64_t gpa, uint8_t byte, uint64_t length_bytes);

/*
 * Reads from a file straight into guest memory: retried until length_bytes are there. 0,
 * -VMM_EGUEST, -ENODATA where the file ends early, or the errno of pread. On failure a part
 * may have been written. Asks the host for large pages where it fills them whole (madvise() with
 * MADV_HUGEPAGE, which a filter of system calls has to allow).
 */
VMM_PUBLIC int vmm_mem_pread_from(
	struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, int fd, uint64_t offset);

/*
 * A pointer to length_bytes of guest memory that lie in one region: for rings, which are
 * accessed in place by the named helpers of virtqueue. NULL where the range is not memory,
 * crosses regions, is not aligned to alignment (a power of two) or is read-only though writing
 * is asked for. The pointer is valid until the region is removed. Everything behind it may
 * change at any time.
 */
VMM_PUBLIC void *vmm_mem_pointer(const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes,
	uint64_t alignment, bool writing);

/*
 * Describes [gpa, gpa + length_bytes) as iovecs, which may only be given to the kernel or to
 * memcpy. Pieces that are adjacent in the host are joined. Returns the number of entries filled
 * (0 for length 0), -ENOBUFS where n_iov are too few, or -VMM_EGUEST.
 */
VMM_PUBLIC int vmm_mem_iovec(const struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes,
	bool writing, struct iovec *iov, size_t n_iov);

/* Gives the pages wholly inside the range back to the host (also of a memfd); they read as 0. */
VMM_PUBLIC int vmm_mem_discard(struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes);

/*
 * The dirty log of what the host writes: one bit a page of VMM_MEM_PAGE_BYTES. What vCPUs write
 * is KVM's log, see kvm.h. While it is on, vmm_mem_write(), vmm_mem_fill() and
 * vmm_mem_pread_from() mark what they write; whoever writes through a pointer or an iovec
 * calls vmm_mem_mark_dirty() afterwards (the mark ends where memory ends).
 */
/* -ENOMEM, -EALREADY. Starting and stopping counts as changing regions, see Threads. */
VMM_PUBLIC int vmm_mem_dirty_log_start(struct vmm_mem *mem);
VMM_PUBLIC void vmm_mem_dirty_log_stop(struct vmm_mem *mem);
VMM_PUBLIC void vmm_mem_mark_dirty(struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes);

/*
 * Moves the log of the region that starts at gpa into bitmap, bit 0 of word 0 being its first
 * page, and clears it. n_words is (pages + 63) / 64 or more. Returns the number of dirty pages,
 * -ENOENT, -ENOBUFS, or -EINVAL while no log runs.
 */
VMM_PUBLIC int64_t vmm_mem_dirty_log_take(
	struct vmm_mem *mem, uint64_t gpa, uint64_t *bitmap, size_t n_words);

VMM_END_DECLS

#endif
