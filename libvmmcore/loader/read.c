/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * loader: large files by several threads. What a read costs is the copy and the fresh pages below
 * it, which several processors do at once; alone, it is most of a start with an initrd.
 */
#include <sched.h>

#include "loader/loader-internal.h"

#define MAX_PARTS UINT64_C(4)
/* Less of it takes about as long as a thread does to start and end. */
#define MIN_PART_BYTES (UINT64_C(4) << 20)
/* Parts meet where large pages do. */
#define PART_ALIGNMENT (UINT64_C(2) << 20)

struct part {
	struct vmm_mem *mem;
	uint64_t gpa;
	uint64_t length_bytes;
	int fd;
	uint64_t offset;
	int result;

	pthread_t thread;
	bool has_thread;
};

static void *read_part(void *userdata)
{
	struct part *part = userdata;

	part->result = vmm_mem_pread_from(
		part->mem, part->gpa, part->length_bytes, part->fd, part->offset);
	return NULL;
}

static uint64_t count_parts(uint64_t length_bytes)
{
	uint64_t n = MIN(length_bytes / MIN_PART_BYTES, MAX_PARTS);
	cpu_set_t allowed;

	if (n <= 1)
		return 1;
	/* A host of more processors than a set has room for does not say which. */
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return n;
	return MIN(n, (uint64_t)CPU_COUNT(&allowed));
}

/* Divides the read, and returns the number of parts, none of them empty. */
static size_t divide(const struct part *whole, struct part parts[MAX_PARTS])
{
	uint64_t n = count_parts(whole->length_bytes);
	uint64_t start = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t end = whole->length_bytes;

		if (i + 1 < n)
			end = ALIGN_DOWN(whole->gpa + (i + 1) * (whole->length_bytes / n),
				      PART_ALIGNMENT) -
			      whole->gpa;
		parts[i] = *whole;
		parts[i].gpa += start;
		parts[i].offset += start;
		parts[i].length_bytes = end - start;
		start = end;
	}
	return n;
}

int vmm_loader_read_memory(
	struct vmm_mem *mem, uint64_t gpa, uint64_t length_bytes, int fd, uint64_t offset)
{
	struct part whole = {
		.mem = mem,
		.gpa = gpa,
		.length_bytes = length_bytes,
		.fd = fd,
		.offset = offset,
	};
	struct part parts[MAX_PARTS];
	size_t n;
	int r;

	r = vmm_mem_check(mem, gpa, length_bytes, true);
	if (r < 0)
		return r;
	n = divide(&whole, parts);
	for (size_t i = 1; i < n; i++)
		parts[i].has_thread =
			vmm_base_thread_start(&parts[i].thread, read_part, &parts[i]) == 0;
	/* Also what no thread was to be had for. */
	for (size_t i = 0; i < n; i++)
		if (!parts[i].has_thread)
			read_part(&parts[i]);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].has_thread)
			pthread_join(parts[i].thread, NULL);
		if (r == 0)
			r = parts[i].result;
	}
	return r;
}
