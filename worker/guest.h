/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * guest: what the guest's own systemd says of itself (253 and later): it gets the credential
 * vmm.notify_socket, and sends its notifications to a vsock port of the host, as lines KEY=VALUE, a
 * connection each; see sd_notify(3) and systemd(1). Nobody but this worker hears them: the port is
 * answered here and is never asked of vmmd.
 *
 * A guest may say what it likes: it changes nothing but its own state as it is shown, and, with
 * ReadyWhen=guest, when its unit counts as started.
 *
 *   | input                                        | result                                  |
 *   |----------------------------------------------|-----------------------------------------|
 *   | more than GUEST_MESSAGE_BYTES in a message   | the connection is closed                |
 *   | more than GUEST_MAX_CLIENTS connections      | the one that came first is closed       |
 *   | unknown keys                                 | count as a sign of life                 |
 *   | a host name or status that is not text       | '?' for each such byte, cut to its size |
 *
 * Threads: the loop's.
 */
#ifndef VMMD_WORKER_GUEST_H
#define VMMD_WORKER_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmmcore/loop.h>

/* Of the host's ports; above those that servers use, and no Linux gives it out by itself. */
#define GUEST_NOTIFY_PORT UINT32_C(0xfffffff0)

#define GUEST_MAX_CLIENTS 8
#define GUEST_MESSAGE_BYTES 4096
#define GUEST_NAME_SIZE 65
/* systemd is told so often that the start goes on, and is given so much more time. */
#define GUEST_EXTEND_NSEC UINT64_C(10000000000)
#define GUEST_EXTEND_USEC UINT64_C(60000000)

struct guest_facts {
	bool ready;
	char hostname[GUEST_NAME_SIZE];
	char shutdown[16]; /* "poweroff", "reboot"...; empty: it does not go down */
};

struct guest;

struct guest_client {
	struct guest *guest;
	int fd; /* owned; -EBADF: free slot */
	struct vmm_loop_source *source;
	uint64_t number; /* in the order of their coming */
	size_t n_data;
	char *data; /* in the guest's messages: n_data are valid */
};

struct guest {
	struct vmm_loop *loop;
	struct guest_client clients[GUEST_MAX_CLIENTS];
	uint64_t n_clients;
	struct guest_facts facts;
	uint64_t n_messages; /* signs of life */
	/* After a message that changed something. */
	void (*changed)(void *userdata);
	void *userdata;
	/* Last: pages that no message was ever in are none. */
	char messages[GUEST_MAX_CLIENTS][GUEST_MESSAGE_BYTES];
};

void guest_init(struct guest *guest, struct vmm_loop *loop, void (*changed)(void *userdata),
	void *userdata);

/* A connection of the guest: its end of it. Negative: it is refused. */
int guest_connect(struct guest *guest, bool seqpacket);

/* One message; true when something has changed. */
bool guest_parse(struct guest_facts *facts, const char *data, size_t size);

#endif
