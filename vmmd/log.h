/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * log: lines for the administrator. To the journal with fields where standard error is
 * connected to it or nothing else is there; to standard error as text otherwise.
 *
 * A line about a machine carries VMM_NAME=, and OBJECT_PID= where its worker runs, so that
 * `journalctl -u vmm@NAME` shows it. An event that one may want to match has a MESSAGE_ID.
 */
#ifndef VMMD_LOG_H
#define VMMD_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

/* MESSAGE_ID=; the catalog explains each. */
#define LOG_ID_STARTED "008644c172f34c849a2accdff44f926e"
#define LOG_ID_STOPPED "473450799a0c4a5b8f8465406c4c4aa5"
#define LOG_ID_START_FAILED "5c72b87ca11745f2807f5aa0b0d05d4e"
#define LOG_ID_PEER_REFUSED "b8a051eb4d6a40168e10354e1404818c"
#define LOG_ID_PANICKED "857ab39061ac460dab5a0ecfe77f8b05"
#define LOG_ID_REBOOTED "7cbd0cbf0b094f6a820b9ffc26dcb82a"
#define LOG_ID_DRIVE_ERROR "083d438da8654f9191804ed91307ebcd"
#define LOG_ID_KILLED "a7ec81d2aa48440fac87cb739909ad96"
#define LOG_ID_CONFIG_CHANGED "a0b9bbe2b284400ebdbe99fd70f98b5f"

void log_open(bool verbose);

/* What a line is about. */
struct log_about {
	const char *name;   /* of a machine; may be NULL */
	const char *id;     /* MESSAGE_ID; may be NULL */
	const char *event;  /* VMM_EVENT=; may be NULL */
	const char *device; /* VMM_DEVICE=, of a drive, network or share; may be NULL */
	pid_t pid;          /* OBJECT_PID; 0: none */
};

void log_line(int priority, const struct log_about *about, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, NULL, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, NULL, __VA_ARGS__)

/*
 * For lines that a peer can cause: at most ten in ten seconds for each such place. False where
 * the line is to be left out.
 */
struct log_limit {
	uint64_t since_usec;
	unsigned n, n_left_out;
};
bool log_limit_ok(struct log_limit *limit);

#endif
