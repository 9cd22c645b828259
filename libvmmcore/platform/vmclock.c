/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * platform: vmclock. The page is write-only for us: what it holds is kept here, and all of it is
 * written anew under its sequence count, which is odd meanwhile.
 *
 * Ordering: each release fence below pairs with a read barrier in the guest's driver, between its
 * reads of the count and its reads of the rest.
 */
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include <vmmcore/platform.h>

#include "base/util.h"

/* linux/vmclock-abi.h */
struct page {
	struct vmm_le32 magic;
	struct vmm_le32 size_bytes;
	struct vmm_le16 version;
	uint8_t counter_id;
	uint8_t time_type;
	struct vmm_le32 sequence;
	struct vmm_le64 disruption_marker;
	struct vmm_le64 flags;
	uint8_t padding[2];
	uint8_t status;
	uint8_t smearing_hint;
	struct vmm_le16 tai_offset_sec;
	uint8_t leap_indicator;
	uint8_t period_shift;
	struct vmm_le64 counter;
	struct vmm_le64 period_frac_sec; /* of 2^-(64 + period_shift) seconds */
	struct vmm_le64 period_esterror;
	struct vmm_le64 period_maxerror;
	struct vmm_le64 time_sec;
	struct vmm_le64 time_frac_sec; /* of 2^-64 seconds */
	struct vmm_le64 time_esterror_nsec;
	struct vmm_le64 time_maxerror_nsec;
	struct vmm_le64 generation;
} __attribute__((packed));
static_assert(sizeof(struct page) == 112, "vmclock");
static_assert(offsetof(struct page, sequence) == 12, "vmclock");
static_assert(offsetof(struct page, counter) == 40, "vmclock");

enum {
	MAGIC = 0x4b4c4356,
	COUNTER_TSC = 1,
	COUNTER_NONE = 0xff,
	TYPE_UTC = 0,
	FLAG_TIME_MAXERROR_VALID = 1 << 6,
	FLAG_GENERATION_PRESENT = 1 << 8,
	STATUS_UNKNOWN = 0,
	STATUS_SYNCHRONIZED = 2,
	STATUS_FREERUNNING = 3,
	STATUS_UNRELIABLE = 4,
	MIN_HZ = 1000,
};

#define NSEC_PER_SEC UINT64_C(1000000000)

struct vmm_vmclock {
	struct vmm_vmclock_config config;

	pthread_mutex_t lock; /* of all below */
	uint32_t sequence;    /* even */
	struct page page;
};

static int write_sequence(struct vmm_vmclock *vmclock)
{
	return vmm_mem_write(vmclock->config.mem,
		vmclock->config.gpa + offsetof(struct page, sequence), &vmclock->sequence,
		sizeof(vmclock->sequence));
}

/* All but what precedes the count, which never changes, and the count. */
static int publish(struct vmm_vmclock *vmclock)
{
	const size_t at = offsetof(struct page, disruption_marker);
	int r;

	vmclock->sequence++;
	r = write_sequence(vmclock);
	if (r < 0)
		return r;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	r = vmm_mem_write(vmclock->config.mem, vmclock->config.gpa + at,
		(const uint8_t *)&vmclock->page + at, sizeof(vmclock->page) - at);
	if (r < 0)
		return r;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	vmclock->sequence++;
	return write_sequence(vmclock);
}

static void forget_time(struct vmm_vmclock *vmclock)
{
	struct page *page = &vmclock->page;

	/* Drivers take each other status for a time that can be used. */
	page->status = vmclock->config.has_time ? STATUS_UNRELIABLE : STATUS_UNKNOWN;
	page->flags = vmm_le64_make(FLAG_GENERATION_PRESENT);
	page->counter = vmm_le64_make(0);
	page->period_frac_sec = vmm_le64_make(0);
	page->period_shift = 0;
	page->time_sec = vmm_le64_make(0);
	page->time_frac_sec = vmm_le64_make(0);
	page->time_maxerror_nsec = vmm_le64_make(0);
}

/* Markers never repeat in a guest's life, also not when it is restored: they begin anywhere. */
static uint64_t first_marker(void)
{
	uint64_t marker = 0;

	if (getrandom(&marker, sizeof(marker), 0) != (ssize_t)sizeof(marker))
		marker = vmm_base_now_nsec();
	return marker;
}

int vmm_vmclock_new(const struct vmm_vmclock_config *config, struct vmm_vmclock **ret_vmclock)
{
	static const uint8_t zeros[VMM_VMCLOCK_BYTES - sizeof(struct page)];
	struct vmm_vmclock *vmclock;
	int r;

	if (!config->mem || !IS_ALIGNED(config->gpa, (uint64_t)VMM_VMCLOCK_BYTES))
		return -EINVAL;
	vmclock = malloc(sizeof(*vmclock));
	if (!vmclock)
		return -ENOMEM;
	*vmclock = (struct vmm_vmclock){
		.config = *config,
		.page = {
			.magic = vmm_le32_make(MAGIC),
			.size_bytes = vmm_le32_make(VMM_VMCLOCK_BYTES),
			.version = vmm_le16_make(1),
			.counter_id = config->has_time ? COUNTER_TSC : COUNTER_NONE,
			.time_type = TYPE_UTC,
			.disruption_marker = vmm_le64_make(first_marker()),
			.generation = vmm_le64_make(first_marker()),
		},
	};
	pthread_mutex_init(&vmclock->lock, NULL);
	forget_time(vmclock);
	r = vmm_mem_write(config->mem, config->gpa, &vmclock->page, sizeof(vmclock->page));
	if (r == 0)
		r = vmm_mem_write(
			config->mem, config->gpa + sizeof(vmclock->page), zeros, sizeof(zeros));
	if (r < 0) {
		vmm_vmclock_free(vmclock);
		return r;
	}
	*ret_vmclock = vmclock;
	return 0;
}

struct vmm_vmclock *vmm_vmclock_free(struct vmm_vmclock *vmclock)
{
	if (!vmclock)
		return NULL;
	pthread_mutex_destroy(&vmclock->lock);
	free(vmclock);
	return NULL;
}

static void take_time(struct page *page, const struct vmm_vmclock_time *time)
{
	/* The largest shift with which the period of a tick fits into 64 bits. */
	unsigned int shift = 63 - (unsigned int)__builtin_clzll(time->tsc_hz - 1);
	unsigned __int128 one = (unsigned __int128)1 << (64 + shift);
	unsigned __int128 fraction = (unsigned __int128)(time->time_nsec % NSEC_PER_SEC) << 64;

	page->counter = vmm_le64_make(time->tsc);
	page->period_shift = (uint8_t)shift;
	page->period_frac_sec = vmm_le64_make((uint64_t)(one / time->tsc_hz));
	page->time_sec = vmm_le64_make(time->time_nsec / NSEC_PER_SEC);
	page->time_frac_sec = vmm_le64_make((uint64_t)(fraction / NSEC_PER_SEC));
	page->status = time->is_synchronized ? STATUS_SYNCHRONIZED : STATUS_FREERUNNING;
	if (time->max_error_nsec > 0) {
		page->flags = vmm_le64_make(FLAG_GENERATION_PRESENT | FLAG_TIME_MAXERROR_VALID);
		page->time_maxerror_nsec = vmm_le64_make(time->max_error_nsec);
	}
}

int vmm_vmclock_set_time(struct vmm_vmclock *vmclock, const struct vmm_vmclock_time *time)
{
	int r;

	if (time && (!vmclock->config.has_time || time->tsc_hz < MIN_HZ))
		return -EINVAL;
	pthread_mutex_lock(&vmclock->lock);
	forget_time(vmclock);
	if (time)
		take_time(&vmclock->page, time);
	r = publish(vmclock);
	pthread_mutex_unlock(&vmclock->lock);
	return r;
}

int vmm_vmclock_disrupt(struct vmm_vmclock *vmclock, bool restored)
{
	struct page *page = &vmclock->page;
	int r;

	pthread_mutex_lock(&vmclock->lock);
	forget_time(vmclock);
	page->disruption_marker = vmm_le64_make(vmm_le64_get(page->disruption_marker) + 1);
	if (restored)
		page->generation = vmm_le64_make(vmm_le64_get(page->generation) + 1);
	r = publish(vmclock);
	pthread_mutex_unlock(&vmclock->lock);
	return r;
}
