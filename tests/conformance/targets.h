/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* targets: the device models that the suite is run against, here the blocks of libvmmcore. */
#ifndef VMM_TESTS_TARGETS_H
#define VMM_TESTS_TARGETS_H

#include "conformance.h"

extern const struct target *const targets[];
extern const size_t n_targets;

#endif
