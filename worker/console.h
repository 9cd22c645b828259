/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * console: the guest's console: a serial port, or a virtio-console beside that. What the guest
 * writes to either goes into a ring, from there to every attached client and, as clean lines, to
 * the log. At most one client writes, to the one that is the console.
 *
 * A client is a descriptor that somebody else made: one end of a stream socket, or a pty. One
 * that does not read loses what the ring has no room for any more, and costs nothing else; one
 * that writes faster than the guest reads is not read from for that while. The log is a reader
 * like the others: where it has no room, or the guest has written more lines than its rate allows,
 * they wait in the ring. So the last lines before a hang or a panic always arrive.
 *
 *   | limit                     |                                                |
 *   |---------------------------|------------------------------------------------|
 *   | clients                   | CONSOLE_MAX_CLIENTS                            |
 *   | memory                    | the ring, and one buffer of input              |
 *   | wake-ups                  | one each CONSOLE_BATCH_NSEC, while it writes   |
 *   |                           | and until the log has what is in the ring      |
 *   | lines in the log          | CONSOLE_LINES_PER_SECOND, and the ring's at    |
 *   |                           | the end, for CONSOLE_DRAIN_NSEC at most        |
 *
 * Threads: console_output() and console_input_ready() in any, all else in the loop's.
 */
#ifndef VMMD_WORKER_CONSOLE_H
#define VMMD_WORKER_CONSOLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmmcore/loop.h>

#include "worker/lines.h"
#include "worker/log.h"
#include "worker/protocol.h"
#include "worker/ring.h"

#define CONSOLE_MAX_CLIENTS 16
#define CONSOLE_FIRST_BATCH_NSEC UINT64_C(100000)
#define CONSOLE_BATCH_NSEC UINT64_C(5000000)
#define CONSOLE_RING_BYTES (64 << 10)
#define CONSOLE_LINES_PER_SECOND 200
#define CONSOLE_DRAIN_NSEC UINT64_C(1000000000)
#define CONSOLE_INPUT_BYTES 1024

struct console;

/* Gives the guest input. Returns how many bytes it took; console_input_ready() follows if that
 * was not all. */
typedef size_t (*console_feed)(void *userdata, const uint8_t *data, size_t n_bytes);

struct console_client {
	struct console *console;
	int fd;      /* owned; -EBADF: free slot */
	uint32_t id; /* never 0, never used again */
	bool read_only;
	uint64_t position; /* in the ring */
	uint32_t events;   /* what the source waits for */
	struct vmm_loop_source *source;
};

struct console_config {
	struct vmm_loop *loop; /* borrowed, as the others */
	struct log *log;
	console_feed feed;
	void *feed_userdata;
	uint32_t ring_bytes;       /* 0: CONSOLE_RING_BYTES */
	uint32_t lines_per_second; /* 0: CONSOLE_LINES_PER_SECOND */
	bool no_lines;             /* nothing to the log */
	/* A client came or went. May be NULL. */
	void (*changed)(void *userdata, unsigned int n_clients);
	void *userdata;
};

struct console {
	/* Looked for in what the guest writes, until it was seen once; NULL: nothing. */
	const char *awaited; /* borrowed */
	uint64_t awaited_position, looked_at;
	void (*seen)(void *userdata);

	struct vmm_loop *loop;
	struct log *log;
	console_feed feed;
	void *feed_userdata;
	struct ring ring;
	struct lines lines;
	bool no_lines;
	uint64_t lines_position;
	uint64_t n_lines_lost; /* bytes, of which the log is to be told */
	void (*changed)(void *userdata, unsigned int n_clients);
	void *userdata;

	struct vmm_loop_source *output;      /* event: the guest wrote */
	uint64_t batch_nsec;                 /* until the next such look */
	struct vmm_loop_source *batch;       /* timer: see what it wrote since */
	struct vmm_loop_source *input_ready; /* event: the guest has room again */
	atomic_bool output_signalled;

	struct console_client clients[CONSOLE_MAX_CLIENTS];
	uint32_t last_id;

	/* Read from the writer, and not taken by the guest yet. */
	uint8_t input[CONSOLE_INPUT_BYTES];
	size_t input_begin, input_end;
};

int console_init(struct console *console, const struct console_config *config);

/* Before anything is attached: another device is the console. */
void console_set_feed(struct console *console, console_feed feed, void *userdata);

/* The guest wrote. Never blocks for longer than it takes to copy. */
void console_output(struct console *console, const uint8_t *data, size_t n_bytes);
void console_input_ready(struct console *console);

/*
 * A new client on fd, which it takes over on success. 0 and *ret_id; -EBUSY: there is a writer,
 * and no VMM_CONSOLE_STEAL; -EUSERS: no room; -ENOTTY: fd is neither socket nor terminal.
 */
int console_attach(struct console *console, int fd, uint32_t flags, uint32_t *ret_id);

/* Whether it is the client with this id that writes. */
bool console_writes(struct console *console, uint32_t id);

unsigned int console_n_clients(const struct console *console);

/*
 * At the end: what is in the ring goes to the clients that have room for it now, and to the log,
 * which is waited for.
 */
void console_drain(struct console *console);

#endif
