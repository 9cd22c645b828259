/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* log: lines for the administrator; see log.h. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "base/util.h"

enum {
	LIMIT_LINES = 10,
	LIMIT_USEC = 10 * 1000 * 1000,
	MAX_FIELDS = 9,
};

static bool to_journal;
static bool with_debug;

/* $JOURNAL_STREAM names the device and inode of a stream to the journal, where it is one. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(bool verbose)
{
	to_journal = stderr_is_journal();
	with_debug = verbose;
}

struct fields {
	struct iovec iov[MAX_FIELDS];
	int n;
};

__attribute__((format(printf, 2, 3))) static void field(
	struct fields *fields, const char *format, ...)
{
	char *text;
	va_list ap;
	int n;

	assert(fields->n < MAX_FIELDS);
	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n >= 0)
		fields->iov[fields->n++] = (struct iovec){ text, (size_t)n };
}

void log_line(int priority, const struct log_about *about, const char *format, ...)
{
	struct fields fields = {};
	char text[1024];
	va_list ap;

	if (priority == LOG_DEBUG && !with_debug)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);

	if (!to_journal) {
		fprintf(stderr, "vmmd: %s%s%s\n", about && about->name ? about->name : "",
			about && about->name ? ": " : "", text);
		return;
	}
	field(&fields, "MESSAGE=%s%s%s", about && about->name ? about->name : "",
		about && about->name ? ": " : "", text);
	field(&fields, "PRIORITY=%d", priority);
	field(&fields, "SYSLOG_IDENTIFIER=vmmd");
	if (about && about->name) {
		field(&fields, "VMM_NAME=%s", about->name);
		/* With OBJECT_PID the journal finds the unit itself, while the process lives. */
		field(&fields, "OBJECT_SYSTEMD_UNIT=vmm@%s.service", about->name);
	}
	if (about && about->event)
		field(&fields, "VMM_EVENT=%s", about->event);
	if (about && about->device)
		field(&fields, "VMM_DEVICE=%.32s", about->device);
	if (about && about->id)
		field(&fields, "MESSAGE_ID=%s", about->id);
	if (about && about->pid > 0)
		field(&fields, "OBJECT_PID=%d", (int)about->pid);
	sd_journal_sendv(fields.iov, fields.n);
	for (int i = 0; i < fields.n; i++)
		free(fields.iov[i].iov_base);
}

bool log_limit_ok(struct log_limit *limit)
{
	uint64_t now = vmm_base_now_nsec() / 1000;

	if (limit->since_usec == 0 || now - limit->since_usec > LIMIT_USEC) {
		unsigned n_left_out = limit->n_left_out;

		*limit = (struct log_limit){ .since_usec = now };
		if (n_left_out > 0)
			log_warning("%u lines like the next one were left out", n_left_out);
	}
	if (limit->n >= LIMIT_LINES) {
		limit->n_left_out++;
		return false;
	}
	limit->n++;
	return true;
}
