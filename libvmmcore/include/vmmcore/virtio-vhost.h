/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: a virtio device whose queues somebody else serves: a vhost-user back end in
 * another process (disk, network, file system, or any other type), or the kernel (vhost-net on a
 * tap, vhost-vsock). The guest sees an ordinary device on any transport.
 *
 * A device has one thread, which sleeps unless something changes: the driver starts or resets
 * the device, the back end comes or goes. Nothing that a back end does or fails to do holds up a
 * vCPU or another device: starting is asynchronous, and a reset lasts until the back end has
 * stopped, or was cut off because it did not in time.
 *
 * How a vhost-user back end gets at the rings
 *
 * Direct: it is given the guest's rings, kicks and interrupts, and nothing of ours is in between.
 * Relayed: the thread moves chains between the guest's ring, which only virtqueue reads, and one
 * of its own, which the back end serves; the data are where they were. That costs a thread's
 * wake-up in each direction, and it is known at any time what is in flight: a back end that dies
 * is replaced without any help from it, in whatever order it completed. (The used index of a
 * ring alone tells that only of back ends that complete in order.)
 *
 * Recovery: with connect() and a reconnect_nsec, a back end that is gone is waited for. What was in
 * flight is given to the next one: by the inflight region where there is one, by the relay, or
 * from the used index. The guest sees a pause. After reconnect_nsec without a back end the device
 * fails: NEEDS_RESET, and a disk's requests end with IOERR; a driver that resets the device
 * begins anew. A file system's session is lost with its back end (FUSE keeps state there):
 * what was in flight is repeated, what the guest had open is not.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                             | result                              |
 *   |---------------------------------------------------|-------------------------------------|
 *   | ring that virtqueue refuses                       | NEEDS_RESET; nobody is told of it   |
 *   | guest breaks its ring: direct                     | the back end's affair               |
 *   | guest breaks its ring: relayed, or of control     | the queue stops, NEEDS_RESET        |
 *   | control command that there is not, or with        | ERR                                 |
 *   |   arguments that are not allowed                  |                                     |
 *   | back end breaks the protocol, hangs, goes         | it is cut off; recovery             |
 *   | back end completes what is not in flight, more    | it is cut off; recovery             |
 *   |   than there is, or longer than its buffers       | (a length is cut)                   |
 *   | back end comes back with fewer features, or none  | not taken, until the deadline       |
 *   |   that the driver negotiated                      |                                     |
 *   | back end floods its channel                       | a look at it every 10 ms            |
 *   | memory that cannot be shared                      | new: -EINVAL                        |
 *
 * Threads: vmm_virtio_vhost_new(), _free() by one thread at a time; the others by any.
 */
#ifndef VMMCORE_VIRTIO_VHOST_H
#define VMMCORE_VIRTIO_VHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/vhost-user.h>
#include <vmmcore/vhost.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_VHOST_MAX_QUEUE_SIZE 1024
#define VMM_VHOST_MAX_PAIRS 8 /* of the kernel's network */

/* Device types with defaults of their own (VIRTIO 1.2, 5). */
#define VMM_VHOST_NET 1
#define VMM_VHOST_BLK 2
#define VMM_VHOST_VSOCK 19
#define VMM_VHOST_FS 26

#define VMM_VHOST_FS_TAG_BYTES 36

enum vmm_vhost_rings {
	/*
	 * Direct where nothing is to be recovered, where the back end has inflight regions, and
	 * for networks, which may lose frames; relayed otherwise, and for disks without inflight
	 * regions: a reset or pause then waits for what is in flight, which not every back end
	 * does (qemu-storage-daemon 7.2 gives its rings back before).
	 */
	VMM_VHOST_RINGS_AUTO = 0,
	VMM_VHOST_RINGS_DIRECT,
	VMM_VHOST_RINGS_RELAYED,
};

struct vmm_virtio_vhost;

/* Zero is the default of each member but mem and device_type, and what serves the queues. */
struct vmm_virtio_vhost_config {
	struct vmm_mem *mem;     /* borrowed, outlives the device; memfds or files */
	uint16_t device_type;    /* VMM_VHOST_NET... or any other */
	uint32_t pci_class_code; /* 0: that of the type */
	unsigned int n_queues;   /* of a back end; 0: net 2; blk: its own number; fs 2; else 1 */
	unsigned int queue_size; /* power of two; 0: 256 */
	uint64_t hidden_features;

	/*
	 * Configuration space, where the back end has none (or is not asked): copied.
	 * extra_features are offered beside the back end's, for what it says: a MAC address.
	 */
	const void *config_space;
	size_t config_size_bytes;
	uint64_t extra_features;
	char tag[VMM_VHOST_FS_TAG_BYTES + 1]; /* fs: instead of a configuration space */

	/*
	 * vhost-user: connect gives a connected socket, which is taken over, or a negative errno:
	 * then it is asked again after retry_nsec. Called by vmm_virtio_vhost_new(), where a
	 * failure is final, and then in the device's thread: while it blocks, a reset does too.
	 */
	int (*connect)(void *userdata);
	/* In the device's thread: the back end is back, or gone. May be NULL. */
	void (*changed)(void *userdata, bool connected);
	/* First in the device's thread: to close its sandbox. Negative: new fails with that. */
	int (*thread_start)(void *userdata);
	void *userdata;
	uint64_t reconnect_nsec; /* how long to wait for a back end that went; 0: not at all */
	uint64_t retry_nsec;     /* 0: 100 ms */
	uint64_t timeout_nsec;   /* of a back end's answer; 0: VMM_VHOST_USER_TIMEOUT_NSEC */
	enum vmm_vhost_rings rings;

	/*
	 * The kernel, where connect is NULL. The descriptors are duplicated. net: each pair of
	 * queues has a vhost and a queue of one tap with IFF_VNET_HDR; several, with
	 * IFF_MULTI_QUEUE, come with a control queue, which the thread serves. vsock: the first
	 * vhost alone.
	 */
	unsigned int n_pairs; /* 0: 1 */
	int vhost_fds[VMM_VHOST_MAX_PAIRS];
	int tap_fds[VMM_VHOST_MAX_PAIRS];
	uint64_t cid; /* vsock */
};

/*
 * -EINVAL, -ENOMEM, -ENOTSUP: the back end lacks VIRTIO_F_VERSION_1; the first failure of connect
 * and of the back end (vhost-user.h), errno of pthread_create, eventfd, memfd_create.
 */
VMM_PUBLIC int vmm_virtio_vhost_new(
	const struct vmm_virtio_vhost_config *config, struct vmm_virtio_vhost **ret_vhost);

/* The transport is gone. Stops the queues and ends the thread. NULL to NULL. */
VMM_PUBLIC struct vmm_virtio_vhost *vmm_virtio_vhost_free(struct vmm_virtio_vhost *vhost);

/* For a transport, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_vhost_device(struct vmm_virtio_vhost *vhost);

struct vmm_virtio_vhost_status {
	bool connected;
	bool relayed;
	bool failed;            /* the deadline has passed, until the next reset */
	int last_error;         /* why it was cut off or not taken the last time; 0: never */
	uint64_t n_connected;   /* times that a back end was taken */
	uint64_t n_resubmitted; /* requests that a back end left behind, relayed */
};

VMM_PUBLIC void vmm_virtio_vhost_get_status(
	struct vmm_virtio_vhost *vhost, struct vmm_virtio_vhost_status *ret_status);

VMM_END_DECLS

#endif
