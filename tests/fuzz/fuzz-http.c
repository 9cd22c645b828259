/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the HTTP request that vmmctl metrics answers. The first byte is how many bytes come at
 * once, and its top bit that the sender waits after them instead of closing.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../vmmctl/http.h"
#include "fuzz.h"

/* What is said of a request that was taken. */
static void check_request(const struct http_request *request, const uint8_t *data, size_t size)
{
	static const char *const names[] = { [HTTP_GET] = "GET ", [HTTP_HEAD] = "HEAD " };
	size_t length = strlen(request->path);
	bool is_named;

	for (int method = HTTP_GET; method <= HTTP_HEAD; method++) {
		is_named = size > strlen(names[method]) &&
			   memcmp(data, names[method], strlen(names[method])) == 0;
		FUZZ_CHECK(is_named == ((int)request->method == method));
	}
	FUZZ_CHECK(request->path >= request->text);
	FUZZ_CHECK(request->path + length < request->text + sizeof(request->text));
	FUZZ_CHECK(strcspn(request->path, " ?\r\n") == length);
	/* All of it lies in what was sent, before the end of its first line. */
	FUZZ_CHECK(memmem(data, size, request->path, length));
	FUZZ_CHECK(memmem(data, size, " HTTP/1.", 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_request request;
	size_t chunk, sent = 0;
	int pair[2], r;

	if (size == 0 || size > 2 * HTTP_REQUEST_BYTES)
		return 0;
	if (socketpair(AF_UNIX, (data[0] & 0x7f ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0,
		    pair) < 0)
		abort();
	/* Each packet is one read. A queue holds few, so what is long comes in longer ones. */
	chunk = (data[0] & 0x7f) + size / 64 + 1;
	for (size_t n; sent < size - 1; sent += n) {
		n = size - 1 - sent < chunk ? size - 1 - sent : chunk;
		FUZZ_CHECK(send(pair[1], data + 1 + sent, n, MSG_DONTWAIT) == (ssize_t)n);
	}
	if (!(data[0] & 0x80))
		close(pair[1]);
	memset(&request, 'A', sizeof(request));
	r = http_read(pair[0], data[0] & 0x80 ? 1000000 : 5000000000, &request);
	FUZZ_CHECK(r == 0 || r == -E2BIG || r == -ETIMEDOUT || r == -ECONNRESET || r == -EBADMSG);
	FUZZ_CHECK(r != -E2BIG || size - 1 >= HTTP_REQUEST_BYTES - 1);
	if (r == 0)
		check_request(&request, data + 1, size - 1);
	if (data[0] & 0x80)
		close(pair[1]);
	close(pair[0]);
	return 0;
}
