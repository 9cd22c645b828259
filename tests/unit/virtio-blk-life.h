/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef VMM_TESTS_VIRTIO_BLK_LIFE_H
#define VMM_TESTS_VIRTIO_BLK_LIFE_H

#include "unit.h"

void add_life_tests(TCase *tcase);

#endif
