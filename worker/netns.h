/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * netns: the network namespace that workers share which no systemd started. It has an interface
 * of its own that is down, nothing can be brought up in it without a right that no worker has, and
 * no worker can make a socket; so one for all isolates as one for each would, and each would cost
 * the kernel a sixth of a worker's start.
 */
#ifndef VMMD_NETNS_H
#define VMMD_NETNS_H

/* A new one as a descriptor of the caller's. -EPERM: this process may not make any. */
int vmm_netns_new(int *ret_fd);

#endif
