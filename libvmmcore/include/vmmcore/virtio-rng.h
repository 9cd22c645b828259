/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-rng: the entropy device of VIRTIO 1.2, 5.4: gives the guest bytes from the host
 * kernel's generator (getrandom).
 *
 * One request gets at most VMM_RNG_MAX_REQUEST_BYTES, however large its buffer is, and one call
 * serves a bounded number of them, so that a guest that asks without end costs its neighbours
 * little; limits bound what it costs the host.
 *
 * The caller serves queue 0 as of any device (vmm_virtio_kick_fd(), vmm_virtio_process()), and,
 * where it sets limits, waits for vmm_virtio_rng_fd() and calls vmm_virtio_rng_process() then.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                  | result                                    |
 *   |----------------------------------------|-------------------------------------------|
 *   | buffer without a writable byte         | the queue breaks, NEEDS_RESET             |
 *   | readable descriptors before writable   | not read                                  |
 *   | buffer of more than the maximum        | is filled in part, and its length says so |
 *   | requests without end                   | served in turns; the limits hold          |
 *
 * Threads: any, one function at a time for each device but set_limits, which may run beside.
 */
#ifndef VMMCORE_VIRTIO_RNG_H
#define VMMCORE_VIRTIO_RNG_H

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/ratelimit.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_RNG_MAX_REQUEST_BYTES 4096

struct vmm_virtio_rng;

struct vmm_virtio_rng_config {
	struct vmm_mem *mem;                /* borrowed, outlives the device */
	struct vmm_ratelimit_config limits; /* all zero: none */
};

/* -EINVAL, -ENOMEM, errno of eventfd and timerfd_create. */
VMM_PUBLIC int vmm_virtio_rng_new(
	const struct vmm_virtio_rng_config *config, struct vmm_virtio_rng **ret_rng);

/* The transport is gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_rng *vmm_virtio_rng_free(struct vmm_virtio_rng *rng);

/* For a transport, process, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_rng_device(struct vmm_virtio_rng *rng);

/* Readable when a request that the limits held back is due. Borrowed. */
VMM_PUBLIC int vmm_virtio_rng_fd(const struct vmm_virtio_rng *rng);

/* Serves what is due. 0, or what vmm_virtio_process() gives. */
VMM_PUBLIC int vmm_virtio_rng_process(struct vmm_virtio_rng *rng);

/* NULL: no limits. -EINVAL changes nothing. In effect at once. */
VMM_PUBLIC int vmm_virtio_rng_set_limits(
	struct vmm_virtio_rng *rng, const struct vmm_ratelimit_config *limits);

VMM_END_DECLS

#endif
