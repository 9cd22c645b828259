/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * balloon: a guest of a worker that uses as many MiB of its memory as its command line says and
 * gives them back through its first virtio-mmio device, a balloon (VIRTIO 1.2, 5.5): once by
 * inflating, when the host sets that target, and once by reporting free pages. Says on ttyS0 "used"
 * when all of it is written to and "inflated" when the target is reached; takes it all back when
 * the target is 0 again, looks whether it is empty, and then the same with "used" and, from a
 * target of one page on, "reported", until the target is 0, and "empty". With "scattered" behind
 * the number no two pages that are inflated one after the other are neighbours.
 */
#define QUEUE_SIZE 64

#include "mmio.h"

#define BASE_GPA UINT64_C(0x1000000)
#define PAGE_BYTES 4096
#define REPORT_BYTES (UINT64_C(4) << 20) /* what Linux reports, at the largest */
#define RANGES_A_REPORT 32               /* and so many at a time */
#define PAGES_A_LIST 256                 /* again as there */
#define ODD 40503                        /* comes by all pages of a power of two of them */
#define REPORTING (1u << 5)

enum { INFLATE, DEFLATE, STATISTICS, HINTS, REPORT };

static struct ring rings[REPORT + 1];
static uint32_t list[PAGES_A_LIST];
static uint32_t n_pages, step = 1; /* from page to page */
static uint64_t end_gpa;

static void offer_and_wait(unsigned int queue)
{
	struct ring *ring = &rings[queue];
	uint16_t before = ring->used.index;

	offer_chain_to(DEVICES, queue, ring, 0);
	while (ring->used.index == before)
		__builtin_ia32_pause();
}

static void expect_empty(void)
{
	for (uint64_t gpa = BASE_GPA; gpa < end_gpa; gpa += PAGE_BYTES)
		EXPECT(read64(gpa + 8) == 0);
}

static void use(void)
{
	for (uint64_t gpa = BASE_GPA; gpa < end_gpa; gpa += PAGE_BYTES)
		write64(gpa + 8, gpa);
	print("used\n");
}

/* All of it, a list at a time. */
static void move(unsigned int queue)
{
	for (uint32_t n = 0; n < n_pages;) {
		for (unsigned int i = 0; i < PAGES_A_LIST; i++, n++)
			list[i] = BASE_GPA / PAGE_BYTES + (uint32_t)((uint64_t)n * step % n_pages);
		rings[queue].descriptors[0] =
			(struct descriptor){ (uintptr_t)list, sizeof(list), 0, 0 };
		offer_and_wait(queue);
	}
}

static void report(void)
{
	uint64_t gpa = BASE_GPA;

	while (gpa < end_gpa) {
		for (unsigned int i = 0; i < RANGES_A_REPORT; i++) {
			rings[REPORT].descriptors[i] = (struct descriptor){ gpa, REPORT_BYTES,
				D_WRITE | (i < RANGES_A_REPORT - 1 ? D_NEXT : 0),
				(uint16_t)(i + 1) };
			gpa += REPORT_BYTES;
		}
		offer_and_wait(REPORT);
	}
	print("reported\n");
}

static void await_target(uint32_t pages)
{
	while (read32(DEVICES + R_CONFIG) != pages)
		__builtin_ia32_pause();
}

static void run(void)
{
	use();
	await_target(n_pages);
	move(INFLATE);
	print("inflated\n");
	await_target(0);
	move(DEFLATE);
	expect_empty();
	use();
	await_target(1);
	report();
	await_target(0);
	expect_empty();
	print("empty\n");
	for (;;)
		__builtin_ia32_pause();
}

void guest_main(const char *cmdline)
{
	uint32_t mib = 0;

	for (; *cmdline >= '0' && *cmdline <= '9'; cmdline++)
		mib = mib * 10 + (uint32_t)(*cmdline - '0');
	EXPECT(mib >= 128 && (mib & (mib - 1)) == 0);
	n_pages = mib << 8;
	end_gpa = BASE_GPA + ((uint64_t)mib << 20);
	if (*cmdline == ' ')
		step = ODD;
	EXPECT(read32(DEVICES + R_DEVICE_ID) == TYPE_BALLOON);
	EXPECT(begin_device(DEVICES, REPORTING) == REPORTING);
	for (unsigned int i = 0; i <= REPORT; i++) {
		rings[i].available.flags = 1; /* no interrupts */
		if (i == INFLATE || i == DEFLATE || i == REPORT)
			set_up_queue(DEVICES, i, &rings[i]);
	}
	complete_device(DEVICES);
	enter_user(run);
}
