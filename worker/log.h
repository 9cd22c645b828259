/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * log: what the worker itself has to say, with structured fields to the journal's socket
 * (systemd's "Native Journal Protocol"), or as a line on standard error where there is none. And
 * the guest's console: lines of console@NAME in the journal, by a stream of its own, so that
 * nothing a guest prints looks as if the worker had said it; or lines on standard output.
 *
 * Nothing here waits: what a slow reader has no room for is lost.
 */
#ifndef VMMD_WORKER_LOG_H
#define VMMD_WORKER_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Message ids, for the journal's catalog. */
#define LOG_ID_STARTED "dec8ba5ab666432790e3e5b249fff55a"
#define LOG_ID_STOP_REQUESTED "bece003da5d5455bbd96fecbc7197d48"
#define LOG_ID_POWERED_OFF "b278e1d3becd4d699a174d35fed39b09"
#define LOG_ID_REBOOTED "5e8fe324e61540bcaef5809fbd2dabfe"
#define LOG_ID_PANICKED "8b5cf0bbfbad4cb788dfcafc295d6f00"
#define LOG_ID_CRASHED "d9192494e0f54bf4af2dc07fd0fb6753"
#define LOG_ID_FAILED "b6534e55e7b3462c98c1c55a6f0ba4cd"
#define LOG_ID_CONSOLE "a18b1eb895a9422791438df0a617fbe0"
#define LOG_ID_GUEST_READY "a1d1c6f5e4f04d4c9d0f4d7b3a3c5e21"
#define LOG_ID_GUEST_SHUTDOWN "5c0b0e5d7f0e4a07b5e4f0ce4b7a9d16"
#define LOG_ID_DEVICE "83dd2b9284a64a62999152aa07aef258"
#define LOG_ID_BACKEND "54dc11d14bda49fd811ce41f17403d87"
#define LOG_ID_ATTACHED "6d596dd005e742b1a3508bad6520dfe9"
#define LOG_ID_DETACHED "47a2924eb1ff437394face2f786e545e"

enum log_priority {
	LOG_PRIORITY_ERROR = 3,
	LOG_PRIORITY_WARNING = 4,
	LOG_PRIORITY_NOTICE = 5,
	LOG_PRIORITY_INFO = 6,
	LOG_PRIORITY_DEBUG = 7,
};

struct log {
	const char *name; /* VMM_NAME=; borrowed */
	int journal_fd;   /* owned, connected; -EBADF: standard error */
	int console_fd;   /* owned, the console's stream; -EBADF: standard output */
	bool prefix;      /* standard error is the journal's: lines begin with <PRIORITY> */
};

/* Before the sandbox closes. */
void log_open(struct log *log, const char *name);
void log_close(struct log *log);

/* What a message says of itself to programs; each may be NULL. */
struct log_about {
	const char *id;     /* MESSAGE_ID=, one of those above */
	const char *event;  /* VMM_EVENT= */
	const char *device; /* VMM_DEVICE=, the name of a drive, network or share */
};

/* One line. */
void log_message(struct log *log, enum log_priority priority, struct log_about about,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * An error that the process ends with at once. It goes to standard error, whose stream the journal
 * knows to be the unit's. Of a datagram it asks who the sender was, who may be gone by then, and
 * systemctl status would not have the line.
 */
void log_last_words(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line of the console. false: there is no room for it now; log_await_room() waits for some. */
bool log_console(struct log *log, const char *line);
void log_await_room(const struct log *log, int timeout_msec);

#endif
