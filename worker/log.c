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
#define STREAM_PATH "/run/systemd/journal/stdout"
#define MESSAGE_BYTES 1024
#define TEXT_BYTES (MESSAGE_BYTES + 512)

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

static int connect_to(const char *path, int type)
{
	CLEANUP(close_p) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/*
 * As sd_journal_stream_fd(3) opens one. The head of a stream: identifier, unit (who is not root has
 * that of its cgroup), priority, whether lines begin with one of their own, and whether to pass
 * them on to syslog, the kernel's log and the system's console.
 */
static int open_console_stream(const char *name)
{
	CLEANUP(close_p) int fd = connect_to(STREAM_PATH, SOCK_STREAM);
	char head[128];
	int length;

	if (fd < 0)
		return fd;
	length = snprintf(
		head, sizeof(head), "console@%s\n\n%d\n0\n0\n0\n0\n", name, LOG_PRIORITY_INFO);
	if (send(fd, head, (size_t)length, MSG_NOSIGNAL) != length || shutdown(fd, SHUT_RD) < 0)
		return -EIO;
	return TAKE_FD(fd);
}

void log_open(struct log *log, const char *name)
{
	*log = (struct log){
		.name = name,
		.journal_fd = -EBADF,
		.console_fd = -EBADF,
		.prefix = stderr_is_journal(),
	};
	/* Who redirected standard error wants to see it there. */
	if (!log->prefix)
		return;
	log->journal_fd = connect_to(JOURNAL_PATH, SOCK_DGRAM);
	log->console_fd = open_console_stream(name);
}

void log_close(struct log *log)
{
	log->journal_fd = vmm_base_close(log->journal_fd);
	log->console_fd = vmm_base_close(log->console_fd);
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
	char text[TEXT_BYTES];
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

static void add_field(char text[static TEXT_BYTES], const char *name, const char *value)
{
	size_t length = strlen(text);

	if (value)
		snprintf(text + length, TEXT_BYTES - length, "%s=%s\n", name, value);
}

void log_message(struct log *log, enum log_priority priority, struct log_about about,
	const char *format, ...)
{
	char message[MESSAGE_BYTES];
	char text[TEXT_BYTES];
	va_list arguments;

	va_start(arguments, format);
	make_message(message, format, arguments);
	va_end(arguments);

	if (log->journal_fd >= 0) {
		snprintf(text, sizeof(text),
			"MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=vmmd-worker\nVMM_NAME=%s\n",
			message, (int)priority, log->name);
		add_field(text, "VMM_EVENT", about.event);
		add_field(text, "VMM_DEVICE", about.device);
		add_field(text, "MESSAGE_ID", about.id);
		if (send(log->journal_fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return;
	}
	write_message(log, priority, message);
}

static int console_fd(const struct log *log)
{
	return log->console_fd >= 0 ? log->console_fd : STDOUT_FILENO;
}

bool log_console(struct log *log, const char *line)
{
	char text[2048];
	int length;

	/* In the journal's stream of standard output a leading <N> would set the priority. */
	bool is_prefix = log->prefix && log->console_fd < 0 && line[0] == '<';

	length = snprintf(text, sizeof(text), "%s%s\n", is_prefix ? " " : "", line);
	return write_now(console_fd(log), text, (size_t)length);
}

void log_await_room(const struct log *log, int timeout_msec)
{
	struct pollfd poll_fd = { .fd = console_fd(log), .events = POLLOUT };

	poll(&poll_fd, 1, timeout_msec);
}
