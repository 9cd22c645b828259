/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost: virtqueues that the Linux kernel serves: /dev/vhost-net on taps, /dev/vhost-vsock for the
 * host's AF_VSOCK. This block is the interface of linux/vhost.h with everything checked before
 * the kernel sees it; virtio-vhost makes a device of it.
 *
 * A device is given its descriptor, which somebody else opened, and becomes its owner. Order of
 * use: features, memory, for each queue vmm_vhost_start(), then the net back ends or the vsock's
 * CID and running. The kernel reads and writes the queues of a started device in guest memory
 * by itself: memory regions stay where they are until all queues are stopped or the device is
 * freed.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                           | result                             |
 *   |-------------------------------------------------|------------------------------------|
 *   | queue index not below the number of queues      | -EINVAL                            |
 *   | ring outside memory, misaligned, across regions | -VMM_EGUEST, the queue is stopped  |
 *   | size 0, above 32768, no power of two            | -VMM_EGUEST                        |
 *   | packed ring, though the kernel has none         | features: -ENOTSUP                 |
 *   | features that the kernel did not offer          | -ENOTSUP                           |
 *   | more regions than the kernel takes              | the errno of the kernel (E2BIG)    |
 *   | CID below 3 or above 2^32 - 2                   | -EINVAL                            |
 *   | descriptor that is no vhost device              | -ENOTTY, the errno of the kernel   |
 *   | ring that the guest breaks while it runs        | the kernel stops and signals       |
 *   |                                                 |   error_fd                         |
 *
 * Threads: a device belongs to one thread at a time.
 */
#ifndef VMMCORE_VHOST_H
#define VMMCORE_VHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtqueue.h>

VMM_BEGIN_DECLS

/* Of the kernel's features, beside those of virtio (linux/vhost.h). */
#define VMM_VHOST_F_LOG_ALL (UINT64_C(1) << 26)
#define VMM_VHOST_NET_F_VIRTIO_NET_HDR (UINT64_C(1) << 27)

#define VMM_VHOST_LOG_PAGE_BYTES 4096

struct vmm_vhost;

struct vmm_vhost_config {
	int fd;                /* duplicated */
	unsigned int n_queues; /* that the kernel serves: net 2, vsock 2 */
	struct vmm_mem *mem;   /* borrowed, outlives the device */
};

/* Becomes the owner (VHOST_SET_OWNER). -EINVAL, -ENOMEM, -EBUSY: owned already, errno of ioctl. */
VMM_PUBLIC int vmm_vhost_new(const struct vmm_vhost_config *config, struct vmm_vhost **ret_vhost);

/* Stops the queues and closes the device. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_vhost *vmm_vhost_free(struct vmm_vhost *vhost);

/* What the kernel offers. */
VMM_PUBLIC uint64_t vmm_vhost_features(const struct vmm_vhost *vhost);

/* What was negotiated. -ENOTSUP for what was not offered. */
VMM_PUBLIC int vmm_vhost_set_features(struct vmm_vhost *vhost, uint64_t features);

/* Tells the kernel the regions of mem; again after they changed. */
VMM_PUBLIC int vmm_vhost_set_memory(struct vmm_vhost *vhost);

struct vmm_vhost_queue {
	struct vmm_virtqueue_config config; /* unchecked; its features are not looked at */
	struct vmm_virtqueue_state state;   /* where to go on; used is read from the ring */
	int kick_fd;                        /* eventfd, borrowed during the call */
	int call_fd;                        /* eventfd; -EBADF: no interrupts */
	int error_fd;                       /* eventfd; -EBADF: none */
	bool log_used;                      /* writes of the used ring go to the dirty log */
};

/* Sets a queue up. It runs once its net back end is set, or the vsock runs. */
VMM_PUBLIC int vmm_vhost_start(
	struct vmm_vhost *vhost, unsigned int index, const struct vmm_vhost_queue *queue);

/* After its back end is gone: where the queue stands. May start again from there. */
VMM_PUBLIC int vmm_vhost_stop(
	struct vmm_vhost *vhost, unsigned int index, struct vmm_virtqueue_state *ret_state);

/* Another eventfd to interrupt with; -EBADF: none. */
VMM_PUBLIC int vmm_vhost_set_call(struct vmm_vhost *vhost, unsigned int index, int call_fd);

/* vhost-net: the tap (or its queue) of a queue; -EBADF takes it away, which ends its I/O. */
VMM_PUBLIC int vmm_vhost_net_set_backend(struct vmm_vhost *vhost, unsigned int index, int tap_fd);

/* vhost-vsock: the guest's address, -EADDRINUSE where another has it; and whether it runs. */
VMM_PUBLIC int vmm_vhost_vsock_set_cid(struct vmm_vhost *vhost, uint64_t cid);
VMM_PUBLIC int vmm_vhost_vsock_set_running(struct vmm_vhost *vhost, bool running);

/*
 * The dirty log of what the kernel writes: a bit a page, from guest address 0 on. log is
 * borrowed until another is set or the device is freed, has n_bytes, and is written atomically,
 * bytes at a time or more. NULL: none. It is used while VMM_VHOST_F_LOG_ALL is among the features.
 * -EINVAL where it does not cover all memory.
 */
VMM_PUBLIC int vmm_vhost_set_log(struct vmm_vhost *vhost, uint8_t *log, size_t n_bytes);

/* How many bytes that log needs. */
VMM_PUBLIC size_t vmm_vhost_log_bytes(const struct vmm_mem *mem);

VMM_END_DECLS

#endif
