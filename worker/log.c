/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* log: see log.h. */
#include "worker/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"

#define JOURNAL_PATH "/run/systemd/journal/socket"
#define MESSAGE_BYTES 1024

/* $JOURNAL_STREAM is DEVICE:INODE of what systemd connected standard error to. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat status;
	char text[48];

	if (!stream || fstat(STDERR_FILENO, &status) < 0)
		return false;
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)status.st_dev,
		(unsigned long long)status.st_ino);
	return strcmp(text, stream) == 0;
}

void log_open(struct log *log, const char *name)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_PATH };

	*log = (struct log){ .name = name, .journal_fd = -EBADF, .prefix = stderr_is_journal() };
	/* Who redirected standard error wants to see it there. */
	if (!log->prefix)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return;
	log->journal_fd = TAKE_FD(fd);
}

void log_close(struct log *log)
{
	log->journal_fd = vmm_base_close(log->journal_fd);
}

/* Writes without waiting. false: there is no room. Where it can never be written, it is lost. */
static bool write_now(int fd, const char *text, size_t length)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

	/* A socket can be asked not to wait; its open file may be shared, so O_NONBLOCK is out. */
	if (send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno != ENOTSOCK)
		return errno != EAGAIN && errno != EINTR;
	/* A pipe that polls writable takes PIPE_BUF bytes, and length is below that. */
	if (poll(&poll_fd, 1, 0) == 0)
		return false;
	return write(fd, text, length) >= 0 || errno != EAGAIN;
}

static void make_message(char message[static MESSAGE_BYTES], const char *format, va_list arguments)
{
	vsnprintf(message, MESSAGE_BYTES, format, arguments);
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static void write_message(struct log *log, enum log_priority priority, const char *message)
{
	char text[MESSAGE_BYTES + 256];
	int length;

	if (log->prefix)
		length = snprintf(text, sizeof(text), "<%d>%s\n", (int)priority, message);
	else
		length = snprintf(text, sizeof(text), "vmmd-worker: %s: %s\n", log->name, message);
	write_now(STDERR_FILENO, text, (size_t)length);
}

void log_last_words(struct log *log, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	make_message(message, format, arguments);
	va_end(arguments);
	write_message(log, LOG_PRIORITY_ERROR, message);
}

void log_message(struct log *log, enum log_priority priority, const char *id, const char *event,
	const char *format, ...)
{
	char message[MESSAGE_BYTES];
	char text[MESSAGE_BYTES + 256];
	va_list arguments;
	int length;

	va_start(arguments, format);
	make_message(message, format, arguments);
	va_end(arguments);

	if (log->journal_fd >= 0) {
		length = snprintf(text, sizeof(text),
			"MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=vmmd-worker\n"
			"VMM_NAME=%s\nVMM_EVENT=%s\n%s%s%s",
			message, (int)priority, log->name, event, id ? "MESSAGE_ID=" : "",
			id ? id : "", id ? "\n" : "");
		if (send(log->journal_fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return;
	}
	write_message(log, priority, message);
}

bool log_console(struct log *log, const char *line)
{
	char text[2048];
	int length;

	/* In the journal's stream a leading <N> would set the priority. */
	length = snprintf(
		text, sizeof(text), "%s%s\n", log->prefix && line[0] == '<' ? " " : "", line);
	return write_now(STDOUT_FILENO, text, (size_t)length);
}

void log_await_room(int timeout_msec)
{
	struct pollfd poll_fd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	poll(&poll_fd, 1, timeout_msec);
}
