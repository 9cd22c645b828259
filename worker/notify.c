/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* notify: see notify.h. */
#include "worker/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "worker/number.h"

static uint64_t read_watchdog(void)
{
	const char *usec_text = getenv("WATCHDOG_USEC");
	const char *pid_text = getenv("WATCHDOG_PID");
	uint64_t usec, pid, nsec;

	if (!usec_text || number_parse(usec_text, &usec) < 0)
		return 0;
	if (pid_text && (number_parse(pid_text, &pid) < 0 || pid != (uint64_t)getpid()))
		return 0;
	return __builtin_mul_overflow(usec, 1000, &nsec) ? 0 : nsec;
}

int notify_open(struct notify *notify)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *name = getenv("NOTIFY_SOCKET");
	socklen_t size;
	size_t length;

	*notify = (struct notify){ .fd = -EBADF };
	if (!name || !*name)
		return 0;
	length = strlen(name);
	if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof(address.sun_path))
		return -EINVAL;
	memcpy(address.sun_path, name, length);
	size = offsetof(struct sockaddr_un, sun_path) + length;
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	else
		size++;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, size) < 0)
		return -errno;
	notify->fd = TAKE_FD(fd);
	notify->watchdog_nsec = read_watchdog();
	return 0;
}

void notify_close(struct notify *notify)
{
	notify->fd = vmm_base_close(notify->fd);
}

void notify_send(const struct notify *notify, const char *format, ...)
{
	char text[512];
	va_list arguments;
	int length;

	if (notify->fd < 0)
		return;
	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(text))
		return;
	send(notify->fd, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}
