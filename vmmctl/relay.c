/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* relay: see relay.h. */
#include "relay.h"

#include <sys/socket.h>

#include "base/util.h"

static void begin_way(struct relay_way *way, int from_fd, int to_fd)
{
	int type;
	socklen_t size = sizeof(type);

	way->from_fd = from_fd;
	way->is_socket = getsockopt(from_fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
	way->to_fd = to_fd;
	way->read_ended = way->ended = false;
	way->begin = way->end = 0;
}

void relay_begin(struct relay *relay, int a_in, int a_out, int b)
{
	begin_way(&relay->ways[0], a_in, b);
	begin_way(&relay->ways[1], b, a_out);
}

void relay_poll(const struct relay *relay, struct pollfd polls[RELAY_POLLS])
{
	for (size_t i = 0; i < 2; i++) {
		const struct relay_way *way = &relay->ways[i];
		bool wants_in = !way->read_ended && way->end < RELAY_BYTES;
		bool wants_out = !way->ended && way->begin < way->end;

		polls[3 * i] =
			(struct pollfd){ .fd = wants_in ? way->from_fd : -1, .events = POLLIN };
		polls[3 * i + 1] =
			(struct pollfd){ .fd = wants_out ? way->to_fd : -1, .events = POLLOUT };
		/* A socket that has ended may yet take something, until it is gone. */
		polls[3 * i + 2] =
			(struct pollfd){ .fd = way->ended && way->is_socket ? way->from_fd : -1 };
	}
}

/* What the other side is to know of the end; a pipe learns it by close alone. */
static void pass_end_on(struct relay_way *way)
{
	way->ended = true;
	if (shutdown(way->to_fd, SHUT_WR) < 0 && errno == ENOTSOCK)
		close(way->to_fd);
}

/* Negative: a side has broken. */
static int step(struct relay_way *way)
{
	ssize_t n;

	if (!way->read_ended && way->end < RELAY_BYTES) {
		n = read(way->from_fd, way->data + way->end, RELAY_BYTES - way->end);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n == 0)
			way->read_ended = true;
		if (n > 0)
			way->end += (size_t)n;
	}
	if (way->begin < way->end) {
		n = write(way->to_fd, way->data + way->begin, way->end - way->begin);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			way->begin += (size_t)n;
	}
	if (way->begin == way->end)
		way->begin = way->end = 0;
	if (way->read_ended && way->end == 0 && !way->ended)
		pass_end_on(way);
	return 0;
}

static bool is_gone(const struct relay_way *way)
{
	struct pollfd poll_fd = { .fd = way->from_fd };

	return way->ended && way->is_socket && poll(&poll_fd, 1, 0) > 0;
}

bool relay_step(struct relay *relay)
{
	if (step(&relay->ways[0]) < 0 || step(&relay->ways[1]) < 0)
		return false;
	if (is_gone(&relay->ways[0]) || is_gone(&relay->ways[1]))
		return false;
	return !relay->ways[0].ended || !relay->ways[1].ended;
}
