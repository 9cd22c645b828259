/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* console: see console.h. */
#include "worker/console.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/util.h"

static void tell_changed(struct console *console)
{
	if (console->changed)
		console->changed(console->userdata, console_n_clients(console));
}

static void drop_client(struct console_client *client)
{
	client->source = vmm_loop_source_free(client->source);
	client->fd = vmm_base_close(client->fd);
	tell_changed(client->console);
}

static struct console_client *find_writer(struct console *console)
{
	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++)
		if (console->clients[i].fd >= 0 && !console->clients[i].read_only)
			return &console->clients[i];
	return NULL;
}

static void wait_for(struct console_client *client, uint32_t events)
{
	if (client->events == events)
		return;
	client->events = events;
	vmm_loop_source_set_events(client->source, events);
}

/* ---- output ---- */

/* Writes what the ring has for this client until it takes no more. */
static void pump_client(struct console_client *client)
{
	struct console *console = client->console;
	uint8_t data[4096];
	uint64_t lost;
	ssize_t n_written;
	size_t n;

	for (;;) {
		n = ring_read(&console->ring, &client->position, data, sizeof(data), &lost);
		if (n == 0) {
			wait_for(client, client->events & ~(uint32_t)EPOLLOUT);
			return;
		}
		n_written = write(client->fd, data, n);
		if (n_written == (ssize_t)n)
			continue;
		if (n_written < 0 && errno != EAGAIN && errno != EINTR) {
			drop_client(client);
			return;
		}
		client->position -= n - (size_t)MAX(n_written, 0);
		wait_for(client, client->events | EPOLLOUT);
		return;
	}
}

/* The log learns of what it has missed before what follows. */
static bool tell_lost(struct console *console, uint64_t now_nsec)
{
	char text[80];

	if (console->n_lines_lost == 0)
		return true;
	snprintf(text, sizeof(text), "(%" PRIu64 " bytes of the console were lost)",
		console->n_lines_lost);
	if (!lines_note(&console->lines, text, now_nsec))
		return false;
	console->n_lines_lost = 0;
	return true;
}

/* false: the log takes no more for now. */
static bool pump_lines(struct console *console)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	uint8_t data[4096];
	uint64_t lost;
	size_t n, n_taken;

	if (console->no_lines)
		return true;
	/* Up to what is there now: a guest that never stops does not hold the loop. */
	for (uint64_t end = ring_newest(&console->ring); console->lines_position < end;) {
		n = ring_read(&console->ring, &console->lines_position, data, sizeof(data), &lost);
		console->n_lines_lost += lost;
		n_taken = tell_lost(console, now_nsec)
				  ? lines_feed(&console->lines, data, n, now_nsec)
				  : 0;
		console->lines_position -= n - n_taken;
		if (n_taken < n)
			return false;
	}
	return true;
}

/* The text may come in pieces: as much of the end as may be its beginning is looked at again. */
static void look_for_text(struct console *console)
{
	uint64_t end = ring_newest(&console->ring), lost;
	uint8_t data[4096];
	size_t size, n;

	console->looked_at = end;
	while (console->awaited && console->awaited_position < end) {
		size = strlen(console->awaited);
		n = ring_read(
			&console->ring, &console->awaited_position, data, sizeof(data), &lost);
		if (memmem(data, n, console->awaited, size)) {
			console->awaited = NULL;
			console->seen(console->userdata);
			return;
		}
		if (console->awaited_position >= end || n < size) {
			console->awaited_position -= MIN(n, size - 1);
			return;
		}
		console->awaited_position -= size - 1;
	}
}

static void pump(struct console *console)
{
	look_for_text(console);
	pump_lines(console);
	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++) {
		struct console_client *client = &console->clients[i];

		if (client->fd >= 0 && !(client->events & EPOLLOUT))
			pump_client(client);
	}
}

static void pump_and_wait(struct console *console)
{
	pump(console);
	vmm_loop_timer_set(console->batch, vmm_base_now_nsec() + console->batch_nsec);
	console->batch_nsec = MIN(console->batch_nsec * 2, CONSOLE_BATCH_NSEC);
}

/*
 * The first byte wakes the loop at once. What follows is looked at after intervals that double up
 * to CONSOLE_BATCH_NSEC, until nothing came for one; so a byte costs the vCPU no system call, and
 * yet the rest of a short line is not late.
 */
static int on_output(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct console *console = userdata;

	console->batch_nsec = CONSOLE_FIRST_BATCH_NSEC;
	pump_and_wait(console);
	return 0;
}

static bool has_news(struct console *console)
{
	uint64_t newest = ring_newest(&console->ring);

	if (!console->no_lines && console->lines_position != newest)
		return true;
	if (console->awaited && console->looked_at != newest)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++) {
		const struct console_client *client = &console->clients[i];

		if (client->fd >= 0 && !(client->events & EPOLLOUT) && client->position != newest)
			return true;
	}
	return false;
}

static int on_batch(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct console *console = userdata;

	if (!has_news(console)) {
		/* Pairs with the exchange in console_output(): who writes after this signals. */
		atomic_store(&console->output_signalled, false);
		if (!has_news(console))
			return 0;
		atomic_store(&console->output_signalled, true);
	}
	pump_and_wait(console);
	return 0;
}

void console_output(struct console *console, const uint8_t *data, size_t n_bytes)
{
	ring_write(&console->ring, data, n_bytes);
	if (!atomic_exchange(&console->output_signalled, true))
		vmm_loop_event_signal(console->output);
}

/* ---- input ---- */

/* Gives the guest what it takes. Returns whether all of it was taken. */
static bool feed_guest(struct console *console)
{
	size_t n = console->input_end - console->input_begin;

	if (n > 0)
		console->input_begin += console->feed(
			console->feed_userdata, console->input + console->input_begin, n);
	if (console->input_begin < console->input_end)
		return false;
	console->input_begin = console->input_end = 0;
	return true;
}

static int on_input_ready(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct console *console = userdata;
	struct console_client *writer = find_writer(console);

	if (feed_guest(console) && writer)
		wait_for(writer, writer->events | EPOLLIN);
	return 0;
}

void console_input_ready(struct console *console)
{
	vmm_loop_event_signal(console->input_ready);
}

/* false: the client is gone. */
static bool read_client(struct console_client *client)
{
	struct console *console = client->console;
	uint8_t ignored[256];
	ssize_t n;

	if (client->read_only)
		n = read(client->fd, ignored, sizeof(ignored));
	else
		n = read(client->fd, console->input, sizeof(console->input));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	if (n < 0 || client->read_only)
		return true;
	console->input_begin = 0;
	console->input_end = (size_t)n;
	if (!feed_guest(console))
		wait_for(client, client->events & ~(uint32_t)EPOLLIN);
	return true;
}

static int on_client(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct console_client *client = userdata;

	if ((events & EPOLLIN) && !read_client(client)) {
		drop_client(client);
		return 0;
	}
	if (!(events & EPOLLIN) && (events & (EPOLLHUP | EPOLLERR))) {
		drop_client(client);
		return 0;
	}
	if (events & EPOLLOUT)
		pump_client(client);
	return 0;
}

/* ---- clients ---- */

/* Either end of a pseudo-terminal (Documentation/admin-guide/devices.txt). */
static bool is_pty(const struct stat *status)
{
	unsigned int number = major(status->st_rdev);

	return S_ISCHR(status->st_mode) && ((number >= 136 && number <= 143) || number == 5);
}

static int check_client_fd(int fd)
{
	struct stat status;
	int flags;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode) && !is_pty(&status))
		return -ENOTTY;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static struct console_client *find_slot(struct console *console)
{
	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++)
		if (console->clients[i].fd < 0)
			return &console->clients[i];
	return NULL;
}

int console_attach(struct console *console, int fd, uint32_t flags, uint32_t *ret_id)
{
	bool read_only = flags & VMM_CONSOLE_READ_ONLY;
	struct console_client *writer = read_only ? NULL : find_writer(console);
	struct console_client *client;
	int r;

	r = check_client_fd(fd);
	if (r < 0)
		return r;
	if (writer && !(flags & VMM_CONSOLE_STEAL))
		return -EBUSY;
	client = writer ? writer : find_slot(console);
	if (!client)
		return -EUSERS;
	if (writer)
		drop_client(writer);
	*client = (struct console_client){
		.console = console,
		.fd = -EBADF,
		.read_only = read_only,
		.position = flags & VMM_CONSOLE_REPLAY ? ring_oldest(&console->ring)
						       : ring_newest(&console->ring),
		.events = EPOLLIN,
	};
	/* What an earlier writer sent and the guest has not taken yet stays in the way. */
	if (!read_only && console->input_begin < console->input_end)
		client->events = 0;
	r = vmm_loop_add_fd(console->loop, fd, client->events, on_client, client, &client->source);
	if (r < 0)
		return r;
	client->fd = fd;
	client->id = ++console->last_id;
	*ret_id = client->id;
	tell_changed(console);
	pump_client(client);
	return 0;
}

bool console_writes(struct console *console, uint32_t id)
{
	const struct console_client *writer = find_writer(console);

	return writer && writer->id == id;
}

unsigned int console_n_clients(const struct console *console)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++)
		n += console->clients[i].fd >= 0;
	return n;
}

static bool emit_line(void *userdata, const char *line)
{
	struct console *console = userdata;

	return log_console(console->log, line);
}

int console_init(struct console *console, const struct console_config *config)
{
	int r;

	*console = (struct console){
		.loop = config->loop,
		.log = config->log,
		.feed = config->feed,
		.feed_userdata = config->feed_userdata,
		.no_lines = config->no_lines,
		.changed = config->changed,
		.userdata = config->userdata,
	};
	for (size_t i = 0; i < ARRAY_SIZE(console->clients); i++)
		console->clients[i].fd = -EBADF;
	lines_init(&console->lines, emit_line, console,
		config->lines_per_second ? config->lines_per_second : CONSOLE_LINES_PER_SECOND);
	r = ring_init(&console->ring, config->ring_bytes ? config->ring_bytes : CONSOLE_RING_BYTES);
	if (r < 0)
		return r;
	r = vmm_loop_add_event(console->loop, on_output, console, &console->output);
	if (r < 0)
		return r;
	r = vmm_loop_add_event(console->loop, on_input_ready, console, &console->input_ready);
	if (r < 0)
		return r;
	return vmm_loop_add_timer(console->loop, on_batch, console, &console->batch);
}

void console_set_feed(struct console *console, console_feed feed, void *userdata)
{
	console->feed = feed;
	console->feed_userdata = userdata;
}

void console_drain(struct console *console)
{
	uint64_t deadline_nsec = vmm_base_now_nsec() + CONSOLE_DRAIN_NSEC;

	console->lines.max_per_second = 0;
	pump(console);
	if (console->no_lines)
		return;
	while (!pump_lines(console) && vmm_base_now_nsec() < deadline_nsec)
		log_await_room(console->log, 50);
	lines_flush(&console->lines);
}
