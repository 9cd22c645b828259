/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mem: the table of regions, and the host memory behind them. */
#include "mem/mem-internal.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define PAGE_BYTES ((uint64_t)VMM_MEM_PAGE_BYTES)

static void region_finish(struct region *region)
{
	if (region->host)
		munmap(region->host, region->size_bytes);
	vmm_base_close(region->fd);
	free(region->dirty);
	*region = (struct region){ .fd = -EBADF };
}

int vmm_mem_new(struct vmm_mem **ret_mem)
{
	struct vmm_mem *mem = malloc(sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	mem->n_regions = 0;
	mem->dirty_log = false;
	*ret_mem = mem;
	return 0;
}

struct vmm_mem *vmm_mem_free(struct vmm_mem *mem)
{
	if (!mem)
		return NULL;
	for (size_t i = 0; i < mem->n_regions; i++)
		region_finish(&mem->regions[i]);
	free(mem);
	return NULL;
}

static int check_config(const struct vmm_mem_config *config)
{
	uint64_t page_bytes = config->huge_page_bytes ? config->huge_page_bytes : PAGE_BYTES;
	uint64_t end;

	if (page_bytes != PAGE_BYTES && page_bytes != LARGE_PAGE_BYTES && page_bytes != GIB)
		return -EINVAL;
	if (config->size_bytes == 0 || config->size_bytes > INT64_MAX)
		return -EINVAL;
	if (!IS_ALIGNED(config->gpa, page_bytes) || !IS_ALIGNED(config->size_bytes, page_bytes))
		return -EINVAL;
	if (__builtin_add_overflow(config->gpa, config->size_bytes, &end))
		return -EINVAL;
	if (config->backing == VMM_MEM_FILE) {
		/* Its page size is the file's own affair. */
		if (config->huge_page_bytes || !IS_ALIGNED(config->fd_offset, PAGE_BYTES))
			return -EINVAL;
	} else if (config->fd_offset != 0) {
		return -EINVAL;
	}
	return config->backing <= VMM_MEM_FILE ? 0 : -EINVAL;
}

static unsigned int huge_page_flag(uint64_t page_bytes)
{
	/* The logarithm of the size, where both mmap() and memfd_create() expect it. */
	return (unsigned int)__builtin_ctzll(page_bytes) << MFD_HUGE_SHIFT;
}

static int make_memfd(const struct vmm_mem_config *config, int *ret_fd)
{
	CLEANUP(close_p) int fd = -EBADF;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (config->huge_page_bytes)
		flags |= MFD_HUGETLB | huge_page_flag(config->huge_page_bytes);
#ifdef MFD_NOEXEC_SEAL
	fd = memfd_create("vmm-mem", flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* Linux before 6.3 */
#endif
		fd = memfd_create("vmm-mem", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)config->size_bytes) < 0)
		return -errno;
	/* Nobody who gets this descriptor can take pages away under a mapping (SIGBUS). */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int take_file(const struct vmm_mem_config *config, int *ret_fd)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct stat st;
	uint64_t end;
	off_t size;

	if (__builtin_add_overflow(config->fd_offset, config->size_bytes, &end))
		return -EINVAL;
	if (fstat(config->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		size = st.st_size;
	} else if (S_ISBLK(st.st_mode)) {
		size = lseek(config->fd, 0, SEEK_END);
		if (size < 0)
			return -errno;
	} else {
		return -EINVAL;
	}
	if (end > (uint64_t)size)
		return -EINVAL;
	fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * Reserves address space with room to spare, maps inside it where the address agrees with gpa
 * modulo LARGE_PAGE_BYTES, and gives the rest back.
 */
static int map_congruent(uint64_t gpa, uint64_t size, int prot, int flags, int fd, uint64_t offset,
	uint8_t **ret_host)
{
	uint64_t room = size + LARGE_PAGE_BYTES;
	uint8_t *reserved, *host;
	uint64_t skip;

	reserved = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return -errno;
	skip = (gpa - (uint64_t)(uintptr_t)reserved) & (LARGE_PAGE_BYTES - 1);
	host = mmap(reserved + skip, size, prot, flags | MAP_FIXED, fd, (off_t)offset);
	if (host == MAP_FAILED) {
		int r = -errno;

		munmap(reserved, room);
		return r;
	}
	if (skip > 0)
		munmap(reserved, skip);
	munmap(host + size, room - skip - size);
	*ret_host = host;
	return 0;
}

static int map_region(struct region *region, const struct vmm_mem_config *config)
{
	int prot = PROT_READ | (config->read_only ? 0 : PROT_WRITE);
	int flags;

	if (config->backing == VMM_MEM_ANONYMOUS) {
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
		if (config->huge_page_bytes)
			flags |= MAP_HUGETLB | (int)huge_page_flag(config->huge_page_bytes);
		else
			flags |= MAP_NORESERVE;
	} else {
		flags = MAP_SHARED;
		if (!config->huge_page_bytes)
			flags |= MAP_NORESERVE;
	}
	/* hugetlbfs wants its own alignment, and finds it by itself. */
	if (config->huge_page_bytes) {
		void *host = mmap(NULL, config->size_bytes, prot, flags, region->fd, 0);

		if (host == MAP_FAILED)
			return -errno;
		region->host = host;
		return 0;
	}
	return map_congruent(config->gpa, config->size_bytes, prot, flags, region->fd,
		config->fd_offset, &region->host);
}

static int advise(const struct region *region, const struct vmm_mem_config *config)
{
	if (!config->in_core_dump && madvise(region->host, region->size_bytes, MADV_DONTDUMP) < 0)
		return -errno;
	/* A host without transparent huge pages is no failure: it is advice. */
	if (config->transparent_huge &&
		madvise(region->host, region->size_bytes, MADV_HUGEPAGE) < 0 && errno != EINVAL)
		return -errno;
	if (config->prefault) {
		int advice = config->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

		if (madvise(region->host, region->size_bytes, advice) < 0)
			return errno == EFAULT ? -ENOMEM : -errno;
	}
	return 0;
}

static bool find_place(const struct vmm_mem *mem, uint64_t gpa, uint64_t size, size_t *ret_index)
{
	size_t index = 0;

	while (index < mem->n_regions && mem->regions[index].gpa < gpa)
		index++;
	if (index > 0 && mem->regions[index - 1].gpa + mem->regions[index - 1].size_bytes > gpa)
		return false;
	if (index < mem->n_regions && gpa + size > mem->regions[index].gpa)
		return false;
	*ret_index = index;
	return true;
}

static void region_p(struct region *region)
{
	region_finish(region);
}

int vmm_mem_add(struct vmm_mem *mem, const struct vmm_mem_config *config)
{
	CLEANUP(region_p) struct region region = { .fd = -EBADF };
	size_t index;
	int r;

	r = check_config(config);
	if (r < 0)
		return r;
	if (!find_place(mem, config->gpa, config->size_bytes, &index))
		return -EEXIST;
	if (mem->n_regions == VMM_MEM_MAX_REGIONS)
		return -ENOSPC;

	region.gpa = config->gpa;
	region.size_bytes = config->size_bytes;
	region.fd_offset = config->fd_offset;
	region.page_bytes = config->huge_page_bytes ? config->huge_page_bytes : PAGE_BYTES;
	region.read_only = config->read_only;
	if (config->backing == VMM_MEM_MEMFD)
		r = make_memfd(config, &region.fd);
	else if (config->backing == VMM_MEM_FILE)
		r = take_file(config, &region.fd);
	if (r < 0)
		return r;
	r = map_region(&region, config);
	if (r < 0)
		return r;
	r = advise(&region, config);
	if (r < 0)
		return r;
	if (mem->dirty_log) {
		r = vmm_mem_region_dirty_new(&region);
		if (r < 0)
			return r;
	}

	memmove(&mem->regions[index + 1], &mem->regions[index],
		(mem->n_regions - index) * sizeof(mem->regions[0]));
	mem->regions[index] = region;
	mem->n_regions++;
	region = (struct region){ .fd = -EBADF };
	return 0;
}

int vmm_mem_remove(struct vmm_mem *mem, uint64_t gpa)
{
	for (size_t i = 0; i < mem->n_regions; i++) {
		if (mem->regions[i].gpa != gpa)
			continue;
		region_finish(&mem->regions[i]);
		mem->n_regions--;
		memmove(&mem->regions[i], &mem->regions[i + 1],
			(mem->n_regions - i) * sizeof(mem->regions[0]));
		return 0;
	}
	return -ENOENT;
}

size_t vmm_mem_n_regions(const struct vmm_mem *mem)
{
	return mem->n_regions;
}

int vmm_mem_get_region(const struct vmm_mem *mem, size_t index, struct vmm_mem_region *ret_region)
{
	const struct region *region;

	if (index >= mem->n_regions)
		return -ENOENT;
	region = &mem->regions[index];
	*ret_region = (struct vmm_mem_region){
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.host = region->host,
		.fd = region->fd,
		.fd_offset = region->fd_offset,
		.read_only = region->read_only,
	};
	return 0;
}

int vmm_mem_find_region(const struct vmm_mem *mem, uint64_t gpa, struct vmm_mem_region *ret_region)
{
	for (size_t i = 0; i < mem->n_regions; i++)
		if (mem->regions[i].gpa == gpa)
			return vmm_mem_get_region(mem, i, ret_region);
	return -ENOENT;
}

uint64_t vmm_mem_size_bytes(const struct vmm_mem *mem)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < mem->n_regions; i++)
		sum += mem->regions[i].size_bytes;
	return sum;
}
