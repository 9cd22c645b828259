/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* quota: see quota.h. */
#include "quota.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/unit.h"
#include "base/util.h"

#define PERIOD_USEC 100000

static bool write_text(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	/* Not to be made where there is none. */
	file = fopen(path, "r+e");
	if (!file)
		return false;
	ok = fputs(text, file) >= 0;
	return fclose(file) == 0 && ok;
}

bool quota_new(struct quota *quota, const char *name, unsigned int percent)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/cpu" };
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		snprintf(quota->path, sizeof(quota->path), "%s/vmmd-test-%s-%d", roots[i], name,
			(int)getpid());
		if (mkdir(quota->path, 0755) < 0)
			continue;
		write_text(roots[i], "cgroup.subtree_control", "+cpu");
		snprintf(text, sizeof(text), "%u %u", PERIOD_USEC / 100 * percent, PERIOD_USEC);
		if (write_text(quota->path, "cpu.max", text))
			return true;
		snprintf(text, sizeof(text), "%u", PERIOD_USEC / 100 * percent);
		if (write_text(quota->path, "cpu.cfs_quota_us", text))
			return true;
		rmdir(quota->path);
	}
	quota->path[0] = '\0';
	return false;
}

void quota_add(const struct quota *quota, pid_t pid)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", (int)pid);
	ck_assert_msg(write_text(quota->path, "cgroup.procs", text), "%s: %s", quota->path,
		strerror(errno));
}

unsigned long quota_throttled(const struct quota *quota)
{
	char path[256], line[128];
	unsigned long n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/cpu.stat", quota->path);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "nr_throttled %lu", &n) == 1)
			break;
	fclose(file);
	return n;
}

void quota_free(struct quota *quota)
{
	/* The kernel needs a moment to forget the last of them. */
	for (int i = 0; quota->path[0] && rmdir(quota->path) < 0 && i < 100; i++)
		usleep(10000);
	quota->path[0] = '\0';
}
