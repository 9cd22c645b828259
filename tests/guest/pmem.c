/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pmem: a guest of a worker that uses its virtio-pmem device (VIRTIO 1.3, 5.19), the first on
 * virtio-mmio: finds where the memory is, looks for the text that the host has put there, writes
 * at its beginning and at its end, flushes, and says "flushed" on ttyS0.
 */
#include "mmio.h"

#define PAGE_2M (UINT64_C(2) << 20)

static struct ring ring;
static uint64_t directory[512] __attribute__((aligned(4096)));
static struct {
	uint32_t type;
} request;
static volatile uint32_t answer = 0xffffffff;

/* The gigabyte at gpa, as start.S maps the lower four. */
static void map_gigabyte(uint64_t gpa)
{
	uint64_t *pml4, *pdpt;

	__asm__ volatile("movq %%cr3, %0" : "=r"(pml4));
	pdpt = (uint64_t *)(pml4[0] & ~UINT64_C(0xfff));
	for (unsigned int i = 0; i < 512; i++)
		directory[i] = (gpa + i * PAGE_2M) | 0x87;
	pdpt[gpa >> 30] = (uintptr_t)directory | 0x7;
	__asm__ volatile("movq %0, %%cr3" : : "r"(pml4) : "memory");
}

static void flush(void)
{
	uint16_t before = ring.used.index;

	ring.descriptors[0] =
		(struct descriptor){ (uintptr_t)&request, sizeof(request), D_NEXT, 1 };
	ring.descriptors[1] = (struct descriptor){ (uintptr_t)&answer, sizeof(answer), D_WRITE, 0 };
	offer_chain(&ring, 0);
	for (unsigned int i = 0; i < 4000000 && ring.used.index == before; i++)
		;
	EXPECT(ring.used.index != before && answer == 0);
}

void guest_main(const char *cmdline)
{
	uint64_t gpa, size_bytes;

	EXPECT(read32(DEVICES + R_DEVICE_ID) == TYPE_PMEM);
	gpa = read32(DEVICES + R_CONFIG) | (uint64_t)read32(DEVICES + R_CONFIG + 4) << 32;
	size_bytes = read32(DEVICES + R_CONFIG + 8) | (uint64_t)read32(DEVICES + R_CONFIG + 12)
							      << 32;
	EXPECT(size_bytes == 2 * PAGE_2M);
	EXPECT(gpa >= UINT64_C(1) << 32 && gpa % (UINT64_C(1) << 30) == 0);
	map_gigabyte(gpa);
	EXPECT(read64(gpa) == UINT64_C(0x74736f6820656874));         /* "the host" */
	write64(gpa, UINT64_C(0x7473657567206568));                  /* "he guest" */
	write64(gpa + size_bytes - 8, UINT64_C(0x646e652073746920)); /* " its end" */
	start_device(&ring, 0);
	flush();
	print("flushed\n");
	stop_here();
}
