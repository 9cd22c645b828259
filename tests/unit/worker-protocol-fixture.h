/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of vmmd's and the worker's protocol share. */
#ifndef VMM_TESTS_WORKER_PROTOCOL_FIXTURE_H
#define VMM_TESTS_WORKER_PROTOCOL_FIXTURE_H

#include "unit.h"

/* Two ends of a connection; whoever closes one sets it to -EBADF. */
extern int pair[2];

void open_pair(void);
void close_pair(void);
int open_null(void);
unsigned int count_fds(void);

/* worker-protocol-control.c */
void add_control_tests(Suite *suite);

#endif
