/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-backend: makes any virtio device of this library a vhost-user back end: the program
 * that has the device serves the queues of a guest in another, QEMU say, whose memory it maps.
 *
 * The block is a transport: instead of a guest's registers it has the messages of a front end on
 * a Unix socket (vhost-user.h). The device is made with an empty vmm_mem, which this block fills
 * with what the front end shares. See examples/vhost-user-blk.c.
 *
 * One front end at a time; others wait in the listening socket's queue. When it is gone, however it
 * went, the device is reset, its memory unmapped, and the next one may come.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                             |
 *   |----------------------------------------------------|------------------------------------|
 *   | message that breaks the protocol                   | serve: -EPROTO, the device is reset|
 *   | request that cannot be done: queue, features,      | the acknowledgement says so; where |
 *   |   ring or region that there is not                 |   none is wanted: serve: -EPROTO   |
 *   | regions that overlap, wrap, end behind their file  | the same                           |
 *   | ring outside memory, misaligned, of a wrong size   | the same                           |
 *   | anything else in a ring                            | that queue breaks: virtqueue.h     |
 *   | memory taken away while a queue runs               | that queue breaks                  |
 *   | kick or call that is no eventfd                    | refused                            |
 *   | configuration beyond its end                       | reads as 0                         |
 *   | a front end that vanishes with requests in flight  | reset waits for them               |
 *   | a message that does not go on                      | serve: -ETIMEDOUT                  |
 *   | file of a region that shrinks afterwards           | SIGBUS, where it is not sealed     |
 *
 * Threads: a back end belongs to one thread. The device is served by threads of its own, or by
 * that same one (config->serve_queues).
 */
#ifndef VMMCORE_VHOST_USER_BACKEND_H
#define VMMCORE_VHOST_USER_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/vhost-user.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_VHOST_USER_BACKEND_SLOTS 32

struct vmm_vhost_user_backend;

struct vmm_vhost_user_backend_config {
	struct vmm_virtio_device *device; /* borrowed, on no transport */
	struct vmm_mem *mem;              /* borrowed; that of the device, and empty */
	bool serve_queues;                /* call vmm_virtio_process(): nobody else does */
	uint64_t hidden_features;
	uint64_t timeout_nsec; /* of a message that began; 0: VMM_VHOST_USER_TIMEOUT_NSEC */
	int stop_fd;           /* serve returns when it is readable; 0: none, borrowed */
};

/* -EINVAL, -ENOMEM, -EBUSY: the device has a transport; errno of eventfd. */
VMM_PUBLIC int vmm_vhost_user_backend_new(const struct vmm_vhost_user_backend_config *config,
	struct vmm_vhost_user_backend **ret_backend);
VMM_PUBLIC struct vmm_vhost_user_backend *vmm_vhost_user_backend_free(
	struct vmm_vhost_user_backend *backend);

/*
 * Serves one front end, whose connected socket is borrowed, until it is gone: 0, also where
 * stop_fd became readable; or -EPROTO, -ETIMEDOUT, errno of recvmsg and poll. In each case the
 * device is as new and the next front end can be served.
 */
VMM_PUBLIC int vmm_vhost_user_backend_serve(struct vmm_vhost_user_backend *backend, int socket_fd);

VMM_END_DECLS

#endif
