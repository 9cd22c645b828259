/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * no-nss: libcap-ng's one object file also holds functions that look users up by name. The worker
 * calls none of them, but a static link would bring the C library's name service along, a third of
 * the program, which opens files and loads libraries. Defined here, it stays out. So does syslog(),
 * with its times of day and its files of time zones, by the name that a fortified build gives it.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>

struct passwd *getpwuid(uid_t uid)
{
	errno = ENOSYS;
	return NULL;
}

int initgroups(const char *user, gid_t group)
{
	errno = ENOSYS;
	return -1;
}

void __syslog_chk(int priority, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void __syslog_chk(int priority, int flag, const char *format, ...)
{
}
