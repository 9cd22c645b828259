/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* temporary-dir: a directory that a test has for itself, as a fixture. */
#ifndef VMMD_TESTS_TEMPORARY_DIR_H
#define VMMD_TESTS_TEMPORARY_DIR_H

#include <stddef.h>

extern char dir[64];

void make_dir(void);
void remove_dir(void);

/* A file of size bytes there, all of them a hole. */
void make_file(const char *name, size_t size);

#endif
