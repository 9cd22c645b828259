/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the life of machines, for a case with env_start() and env_stop() around it. */
#ifndef VMM_TESTS_DBUS_LIFE_H
#define VMM_TESTS_DBUS_LIFE_H

#include "unit.h"

/* life-hostile.c */
void add_hostile_tests(TCase *tcase);

/* life-resources.c */
void add_resource_tests(TCase *tcase);

/* life-recovery.c: starts and ends an environment of its own, which a test's process has to be the
 * parent of. */
void add_recovery_tests(TCase *tcase);

#endif
