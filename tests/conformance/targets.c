/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "targets.h"

extern const struct target target_blk, target_blk_ro, target_rng, target_net, target_vsock,
	target_console, target_balloon, target_mem, target_pmem;

const struct target *const targets[] = {
	&target_blk,
	&target_blk_ro,
	&target_rng,
	&target_net,
	&target_vsock,
	&target_console,
	&target_balloon,
	&target_mem,
	&target_pmem,
};

const size_t n_targets = sizeof(targets) / sizeof(targets[0]);
