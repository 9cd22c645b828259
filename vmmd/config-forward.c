/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * config: [Network] Forward=, ports of the host that lead into the guest. A word is
 * PROTOCOL:[ADDRESS:]PORT:PORT, the host's port before the guest's; an IPv6 address is in brackets.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

/* A decimal number from 1 to 65535 that ends at end. */
static bool parse_port(const char *text, const char *end, uint16_t *ret)
{
	uint32_t port = 0;

	if (text == end || end - text > 5 || *text == '0')
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (uint32_t)(*text - '0');
	}
	*ret = (uint16_t)port;
	return port <= UINT16_MAX;
}

/* "127.0.0.1:" or "[::1]:" at *at, which it moves behind it; nothing where a port begins. */
static bool parse_address(const char **at, const char *end, struct config_forward *forward)
{
	bool is_ipv6 = *at < end && **at == '[';
	const char *begin = *at + is_ipv6;
	const char *stop = memchr(begin, is_ipv6 ? ']' : ':', (size_t)(end - begin));
	uint8_t address[sizeof(struct in6_addr)];

	if (!stop)
		return false;
	/* PORT:PORT */
	if (!is_ipv6 && !memchr(stop + 1, ':', (size_t)(end - stop - 1)))
		return true;
	if ((size_t)(stop - begin) >= sizeof(forward->address))
		return false;
	memcpy(forward->address, begin, (size_t)(stop - begin));
	stop += is_ipv6;
	if (stop >= end || *stop != ':')
		return false;
	*at = stop + 1;
	return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, forward->address, address) == 1;
}

int config_next_forward(const char **at, struct config_forward *ret)
{
	const char *c = *at + strspn(*at, " \t");
	const char *end = c + strcspn(c, " \t"), *colon;
	struct config_forward forward = {};

	if (c == end)
		return 0;
	forward.is_udp = strncmp(c, "udp:", 4) == 0;
	if (!forward.is_udp && strncmp(c, "tcp:", 4) != 0)
		return -EBADMSG;
	c += 4;
	if (!parse_address(&c, end, &forward))
		return -EBADMSG;
	colon = memchr(c, ':', (size_t)(end - c));
	if (!colon || !parse_port(c, colon, &forward.host_port) ||
		!parse_port(colon + 1, end, &forward.guest_port))
		return -EBADMSG;
	*ret = forward;
	*at = end;
	return 1;
}

static bool is_same(const struct config_forward *a, const struct config_forward *b)
{
	return a->is_udp == b->is_udp && a->host_port == b->host_port &&
	       strcmp(a->address, b->address) == 0;
}

int config_check_forwards(
	const struct config_checker *checker, const struct config_network *network)
{
	const struct config_string *string = &network->forward;
	const char *at = string->value ? string->value : "";
	struct config_forward all[CONFIG_MAX_FORWARDS + 1];
	static const char key[] = "[Network] Forward=";
	size_t n = 0;
	int r;

	while ((r = config_next_forward(&at, &all[n])) > 0) {
		for (size_t i = 0; i < n; i++)
			if (is_same(&all[i], &all[n]))
				return config_refuse(checker, string->where, key,
					"%s port %u is there twice", all[n].is_udp ? "udp" : "tcp",
					all[n].host_port);
		if (++n > CONFIG_MAX_FORWARDS)
			return config_refuse(checker, string->where, key, "more than %d ports",
				CONFIG_MAX_FORWARDS);
	}
	if (r == 0)
		return 0;
	at += strspn(at, " \t");
	return config_refuse(checker, string->where, key,
		"\"%.*s\" is not PROTOCOL:[ADDRESS:]PORT:PORT, such as tcp:8080:80 or "
		"udp:127.0.0.1:5353:53",
		(int)MIN(strcspn(at, " \t"), (size_t)200), at);
}
