/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* temporary-dir: see temporary-dir.h. */
#include "temporary-dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

char dir[64];

void make_dir(void)
{
	strcpy(dir, P_tmpdir "/test-vmmd-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

void remove_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

void make_file(const char *name, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
}
