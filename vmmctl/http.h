/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * http: one request of HTTP/1 (RFC 9112), of which only method and path count. Whoever sent it may
 * be anybody.
 *
 *   | input                                     | result                                      |
 *   |-------------------------------------------|---------------------------------------------|
 *   | no empty line within HTTP_REQUEST_BYTES   | -E2BIG                                      |
 *   | no empty line in time, bytes one by one   | -ETIMEDOUT                                  |
 *   | an end before the empty line              | -ECONNRESET                                 |
 *   | no METHOD TARGET HTTP/1.x, a NUL in it    | -EBADMSG                                    |
 *   | header fields, a query, a host            | not looked at                               |
 */
#ifndef VMMCTL_HTTP_H
#define VMMCTL_HTTP_H

#include <stddef.h>
#include <stdint.h>

#define HTTP_REQUEST_BYTES 8192

enum http_method {
	HTTP_OTHER,
	HTTP_GET,
	HTTP_HEAD,
};

struct http_request {
	enum http_method method;
	char text[HTTP_REQUEST_BYTES]; /* the path is in it */
	const char *path;              /* without a query; "" where there is none */
};

/* Reads until the empty line, until *request is whole. Negative: nothing in it is to be used. */
int http_read(int fd, uint64_t timeout_nsec, struct http_request *request);

#endif
