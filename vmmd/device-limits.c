/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* device-limits: see device-limits.h. A row is a bit of vmm_control_set_rate.members. */
#include "device-limits.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

/* In the order of enum vmm_rate_member, and of the members of a rate. */
static const char *const drive_names[] = { "BandwidthLimit", "BandwidthBurst",
	"BandwidthOneTimeBurst", "IOPSLimit", "IOPSBurst", "IOPSOneTimeBurst" };
static const char *const network_names[] = { "ReceiveBandwidthLimit", "ReceiveBandwidthBurst",
	"ReceiveBandwidthOneTimeBurst", "ReceivePacketLimit", "ReceivePacketBurst",
	"ReceivePacketOneTimeBurst", "TransmitBandwidthLimit", "TransmitBandwidthBurst",
	"TransmitBandwidthOneTimeBurst", "TransmitPacketLimit", "TransmitPacketBurst",
	"TransmitPacketOneTimeBurst" };

static_assert(ARRAY_SIZE(drive_names) == VMM_RATE_SECOND, "one name a member");
static_assert(ARRAY_SIZE(network_names) == 2 * VMM_RATE_SECOND, "one name a member");

/* The value that stands for bit number index. */
static uint64_t *member(struct vmm_spec_rate rate[2], size_t index)
{
	struct vmm_spec_rate *half = &rate[index / VMM_RATE_SECOND];
	struct vmm_spec_bucket *bucket = index % VMM_RATE_SECOND < 3 ? &half->bytes : &half->ops;

	switch (index % 3) {
	case 0:
		return &bucket->rate_per_second;
	case 1:
		return &bucket->burst;
	default:
		return &bucket->one_time_burst;
	}
}

static int find(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -ENOENT;
}

int device_limits_add(struct vmm_control_set_rate *set, const char *name, uint64_t value)
{
	uint32_t kind = VMM_DEVICE_DRIVE;
	int index = find(drive_names, ARRAY_SIZE(drive_names), name);

	if (index < 0) {
		kind = VMM_DEVICE_NETWORK;
		index = find(network_names, ARRAY_SIZE(network_names), name);
	}
	if (index < 0)
		return index;
	if (set->kind != VMM_DEVICE_NONE && set->kind != kind)
		return -EINVAL;
	if (value > INT64_MAX)
		return -ERANGE;
	if (set->members >> index & 1)
		return -EEXIST;
	set->kind = kind;
	set->members |= UINT32_C(1) << index;
	*member(set->rate, (size_t)index) = value;
	return 0;
}

int device_limits_each(enum vmm_device_kind kind, const struct vmm_spec_rate rate[2],
	int (*call)(void *userdata, const char *name, uint64_t value), void *userdata)
{
	const char *const *names = kind == VMM_DEVICE_DRIVE ? drive_names : network_names;
	size_t n = kind == VMM_DEVICE_DRIVE ? ARRAY_SIZE(drive_names) : ARRAY_SIZE(network_names);
	struct vmm_spec_rate copy[2];
	int r = 0;

	if (kind == VMM_DEVICE_SHARE)
		return 0;
	memcpy(copy, rate, sizeof(copy));
	for (size_t i = 0; r >= 0 && i < n; i++) {
		uint64_t value = *member(copy, i);

		if (value != 0)
			r = call(userdata, names[i], value);
	}
	return r;
}
