/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hotplug: drives and networks that come and go while the guest runs. On PCI only: the MMIO
 * transport has no way to tell a guest.
 *
 *   | state   | who touches the device  | what                                                 |
 *   |---------|-------------------------|------------------------------------------------------|
 *   | FREE    | nobody                  | a place for one                                      |
 *   | PRESENT | the loop                | on the bus                                           |
 *   | COMING  | the builder             | is made, put on the bus; then the guest is told      |
 *   | LEAVING | the loop                | the guest was asked to give it up (ACPI _EJ0)        |
 *   | GOING   | the builder             | off the bus; what runs in it ends; all of it is freed|
 *
 * The builder is a thread that was made before the loop's thread was sealed, with a filter that
 * lets it make threads, eventfds and timers, and nothing open or connect. It sees no data of the
 * guest. Each thread that it makes takes the filter of its kind on top. An io_uring is not made
 * there: drives that are attached are served by threads, whatever engine they ask for, and frames
 * to a tap that is attached are a call each.
 *
 * A removal waits for requests that are under way, in the builder and not in the loop; a device
 * on a disk that does not answer stays GOING, with those that are to come or go after it.
 *
 * Threads: the loop's, but for hotplug_ejected().
 */
#ifndef VMMD_WORKER_HOTPLUG_H
#define VMMD_WORKER_HOTPLUG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmmcore/loop.h>

#include "worker/protocol.h"

struct control_client;
struct machine;
struct machine_virtio;

enum hotplug_state {
	HOTPLUG_FREE = 0,
	HOTPLUG_PRESENT,
	HOTPLUG_COMING,
	HOTPLUG_LEAVING,
	HOTPLUG_GOING,
};

/* What the loop asks the builder to do with a device. */
enum hotplug_order {
	HOTPLUG_NO_ORDER = 0,
	HOTPLUG_BUILD,
	HOTPLUG_REMOVE,
	HOTPLUG_DONE,
};

/* A request that is answered later. */
struct control_waiter {
	struct control_client *client; /* NULL: nobody */
	uint64_t serial;               /* of the client, whose place another may have taken */
	struct vmm_control_header header;
};

struct hotplug {
	bool started;
	pthread_t builder;
	pthread_mutex_t lock;         /* of all orders */
	unsigned int n_orders;        /* that nobody has taken up, under the lock */
	pthread_cond_t wanted;        /* there is an order */
	pthread_mutex_t start_lock;   /* of the two below */
	pthread_cond_t sealed;        /* the builder is in its sandbox */
	int start_result;             /* 1: not yet */
	_Atomic uint32_t ejected;     /* slots that the guest has given up */
	struct vmm_loop_source *done; /* orders are done, slots were given up */
	struct vmm_loop_source *timer;
};

/* A device's part; all zero at first. */
struct hotplug_device {
	enum hotplug_state state;
	bool attached;     /* was not there at the start */
	bool forced;       /* the guest has not given it up */
	bool force;        /* is to go when the time is over */
	unsigned int slot; /* of the bus, while on it */
	uint64_t deadline_nsec;
	uint64_t ask_nsec; /* when to ask the guest again */
	struct control_waiter waiter;

	/* The builder's, from an order to HOTPLUG_DONE. */
	enum hotplug_order order; /* under hotplug.lock */
	int result;
	char text[VMM_TEXT_SIZE];
	struct vmm_control_fds fds; /* owned */
	union {
		struct vmm_spec_drive drive;
		struct vmm_spec_network network;
	};
};

/* The phase, before the loop's thread is sealed. */
int hotplug_start(struct machine *machine);

/*
 * Of a request: takes over fds. 0: the waiter is answered later. Negative: refused, with a reason
 * in *ret_text (static).
 */
int hotplug_attach_drive(struct machine *machine, const struct vmm_spec_drive *spec,
	struct vmm_control_fds *fds, const struct control_waiter *waiter, const char **ret_text);
int hotplug_attach_network(struct machine *machine, const struct vmm_spec_network *spec,
	struct vmm_control_fds *fds, const struct control_waiter *waiter, const char **ret_text);
int hotplug_detach(struct machine *machine, const struct vmm_control_detach *detach,
	const struct control_waiter *waiter, const char **ret_text);

/* The guest has given up a slot. In a vCPU's thread. */
void hotplug_ejected(struct machine *machine, unsigned int slot);

/* Slots of drives and networks that are there from the start, and all that are free. */
uint32_t hotplug_slots(struct machine *machine);
/* Tells the GED of those that are there, before the guest runs. */
int hotplug_register(struct machine *machine);

/* plug.c: the builder. */
int plug_start(struct machine *machine);
void plug_order(struct machine_virtio *virtio, enum hotplug_order order);

#endif
