/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-balloon. */
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-balloon.h>

#include "lib/vmm-machine.h"
#include "target-balloon.h"
#include "targets.h"

#define PAGE UINT64_C(4096)
#define RAM_BYTES (BALLOON_PAGES * PAGE)
#define REQUEST_PAGES 8

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_balloon *balloon;
static uint64_t n_answers, hinted_bytes;
static uint32_t last_pages[REQUEST_PAGES];

static void stats(void *userdata, const struct vmm_balloon_stats *said)
{
	n_answers++;
}

static void hinted(void *userdata, uint64_t gpa, uint64_t length_bytes)
{
	hinted_bytes += length_bytes;
}

static const struct vmm_balloon_ops ops = { .stats = stats, .hinted = hinted };

static struct machine *open_balloon(bool pci)
{
	struct vmm_virtio_balloon_config config = { .ops = &ops };

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_virtio_balloon_new(&config, &balloon) < 0) {
		fprintf(stderr, "virtio-balloon cannot be made\n");
		exit(EXIT_FAILURE);
	}
	vmm_machine_attach(&machine, vmm_virtio_balloon_device(balloon), pci);
	n_answers = hinted_bytes = 0;
	return &machine.machine;
}

/* Inflates by some pages, which are others each time. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	static uint32_t n;

	for (unsigned int i = 0; i < REQUEST_PAGES; i++) {
		last_pages[i] = BALLOON_FIRST_PAGE + n++ % (BALLOON_PAGES - BALLOON_FIRST_PAGE);
		memset(c->m->ram + (uint64_t)last_pages[i] * PAGE, 0x5a, PAGE);
	}
	c->gpas[0] = vdriver_alloc(&c->d, sizeof(last_pages));
	memcpy(c->m->ram + c->gpas[0], last_pages, sizeof(last_pages));
	buffers[0] = (struct vring_buffer){ c->gpas[0], sizeof(last_pages), false };
	return 1;
}

static bool verify(struct conf *c, uint32_t len)
{
	struct vmm_virtio_balloon_status status;

	c->n_done++;
	for (unsigned int i = 0; i < REQUEST_PAGES; i++)
		if (c->m->ram[(uint64_t)last_pages[i] * PAGE + 9] != 0)
			return false;
	vmm_virtio_balloon_get_status(balloon, &status);
	return len == 0 && status.inflated_bytes >= REQUEST_PAGES * PAGE;
}

static bool statistic(const struct vmm_balloon_stats *said, uint64_t tag, uint64_t value)
{
	const uint64_t by_tag[] = {
		said->swap_in_bytes,
		said->swap_out_bytes,
		said->major_faults,
		said->minor_faults,
		said->free_bytes,
		said->total_bytes,
		said->available_bytes,
		said->disk_caches_bytes,
		said->hugetlb_allocations,
		said->hugetlb_failures,
	};

	return tag < sizeof(by_tag) / sizeof(by_tag[0]) && by_tag[tag] == value;
}

static bool host(unsigned int event, const void *data, size_t size)
{
	struct vmm_virtio_balloon_status status;
	uint64_t numbers[2] = { 0 };

	if (size > 0)
		memcpy(numbers, data, size);
	vmm_virtio_balloon_get_status(balloon, &status);
	switch (event) {
	case BALLOON_HOST_TARGET:
		return vmm_virtio_balloon_set_target(balloon, numbers[0] * PAGE) == 0;
	case BALLOON_HOST_HAS:
		return status.inflated_bytes == numbers[0] * PAGE;
	case BALLOON_HOST_ACTUAL:
		return status.actual_bytes == numbers[0] * PAGE;
	case BALLOON_HOST_REPORTED:
		return status.reported_bytes == numbers[0];
	case BALLOON_HOST_ASK:
		return vmm_virtio_balloon_request_stats(balloon) == 0;
	case BALLOON_HOST_STATISTIC:
		return status.has_stats && statistic(&status.stats, numbers[0], numbers[1]);
	case BALLOON_HOST_ANSWERS:
		return n_answers == numbers[0];
	case BALLOON_HOST_HINTS:
		return vmm_virtio_balloon_request_hints(balloon) == 0;
	case BALLOON_HOST_NO_HINTS:
		vmm_virtio_balloon_end_hints(balloon);
		return true;
	case BALLOON_HOST_HINTED:
		return hinted_bytes == numbers[0];
	default:
		return false;
	}
}

static void change_config(void)
{
	static uint64_t target;

	target = (target + PAGE) % (64 * PAGE);
	vmm_virtio_balloon_set_target(balloon, target);
}

const struct target target_balloon = {
	.name = "balloon",
	.type = 5,
	.n_queues = 5,
	.work_queue = 0,
	.config_bytes = 16,
	.features = 0xffffff,
	.open = open_balloon,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};
