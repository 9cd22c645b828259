/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* http: see http.h. */
#include "http.h"

#include <poll.h>
#include <string.h>

#include "base/util.h"

/* Whether the head ends here, with CR LF or, as some people type it, with LF alone. */
static bool has_end(const char *text, size_t size)
{
	return memmem(text, size, "\n\r\n", 3) || memmem(text, size, "\n\n", 2);
}

/* Cuts the path out of "http://host/path?query" (RFC 9112 section 3.2). */
static const char *find_path(char *target)
{
	if (strncmp(target, "http://", 7) == 0) {
		target += 7;
		target += strcspn(target, "/?");
	}
	target[strcspn(target, "?")] = '\0';
	return target;
}

static int parse(struct http_request *request, size_t size)
{
	char *line = request->text, *target, *version;
	size_t length = strcspn(line, "\r\n");

	/* A NUL would end it sooner for one reader than for the next. */
	if (length < size && line[length] == '\0')
		return -EBADMSG;
	line[length] = '\0';
	target = strchr(line, ' ');
	if (!target)
		return -EBADMSG;
	*target++ = '\0';
	version = strchr(target, ' ');
	if (!version || strncmp(version, " HTTP/1.", 8) != 0)
		return -EBADMSG;
	*version = '\0';
	request->method = strcmp(line, "GET") == 0    ? HTTP_GET
			  : strcmp(line, "HEAD") == 0 ? HTTP_HEAD
						      : HTTP_OTHER;
	request->path = find_path(target);
	return 0;
}

int http_read(int fd, uint64_t timeout_nsec, struct http_request *request)
{
	uint64_t end_nsec = vmm_base_now_nsec() + timeout_nsec;
	size_t fill = 0, seen;

	for (;;) {
		uint64_t now = vmm_base_now_nsec();
		struct pollfd in = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= end_nsec)
			return -ETIMEDOUT;
		if (poll(&in, 1, (int)((end_nsec - now) / 1000000) + 1) <= 0)
			continue;
		n = read(fd, request->text + fill, sizeof(request->text) - 1 - fill);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return -ECONNRESET;
		/* The end may have begun in what was there before. */
		seen = fill < 2 ? 0 : fill - 2;
		fill += (size_t)n;
		request->text[fill] = '\0';
		if (has_end(request->text + seen, fill - seen))
			return parse(request, fill);
		if (fill == sizeof(request->text) - 1)
			return -E2BIG;
	}
}
