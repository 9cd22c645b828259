/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loopback: an example of a network back end: a cable whose other end is its own. */
#ifndef VMM_EXAMPLES_LOOPBACK_H
#define VMM_EXAMPLES_LOOPBACK_H

#include <vmmcore/virtio-net.h>

struct loopback;

struct loopback *loopback_new(void);
void loopback_free(struct loopback *loopback);
struct vmm_net_backend loopback_backend(struct loopback *loopback);

#endif
