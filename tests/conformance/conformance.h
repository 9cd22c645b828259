/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * conformance: cases that drive a virtio device as a guest would and check it against VIRTIO 1.2.
 * A case knows a vdriver (registers, memory, interrupts: lib/machine.h) and a target, which says
 * what a valid request to the device looks like. Nothing here knows libvmmcore but target-*.c, so
 * that other device models can be put to the same test.
 *
 * Each case is named for the clause that it checks. It runs in a process of its own, once for
 * each target, transport and ring format that it is for.
 */
#ifndef VMM_TESTS_CONFORMANCE_H
#define VMM_TESTS_CONFORMANCE_H

#include <setjmp.h>
#include <string.h>

#include "lib/vdriver.h"

struct conf;

/* A device model. */
struct target {
	const char *name;
	uint16_t type;         /* VIRTIO 1.2, 5 */
	unsigned int n_queues; /* to be set up by its driver */
	uint16_t work_queue;   /* where request() goes */
	uint32_t config_bytes; /* least size of its configuration space */
	uint64_t features;     /* of the device type: offered, and taken by start() */

	/* Makes the device in a machine. Never fails: ends the program. */
	struct machine *(*open)(bool pci);

	/*
	 * Fills memory and buffers with one valid request. Returns the number of buffers. verify:
	 * whether it did what it should; len is what the device says it wrote.
	 */
	size_t (*request)(struct conf *c, struct vring_buffer *buffers);
	bool (*verify)(struct conf *c, uint32_t len);

	/* The host changes the configuration space. NULL: it never does. */
	void (*change_config)(void);

	/* Something that happens on the host's side; what depends on the device type. */
	bool (*host)(unsigned int event, const void *data, size_t size);
};

struct conf {
	const struct target *target;
	struct machine *m;
	struct vdriver d;
	bool packed;
	jmp_buf not_applicable;
	const char *reason;
	/* Of the last request. */
	uint64_t gpas[4];
	unsigned int n_done;
};

enum scope {
	ON_MMIO = 1,
	ON_PCI = 2,
	SPLIT = 4,
	PACKED = 8,
	ONCE = ON_MMIO | ON_PCI | SPLIT, /* the ring's format does not matter */
	MMIO = ON_MMIO | SPLIT,
	PCI = ON_PCI | SPLIT,
	SPLIT_RING = ON_MMIO | ON_PCI | SPLIT,
	PACKED_RING = ON_MMIO | ON_PCI | PACKED,
	ANY = ON_MMIO | ON_PCI | SPLIT | PACKED,
};

struct conf_case {
	const char *clause;
	const char *text;
	void (*run)(struct conf *c);
	enum scope scope;
	uint16_t type; /* 0: for every device */
};

struct conf_group {
	const struct conf_case *cases;
	size_t n_cases;
};

#define CONF_GROUP(array)                                                                          \
	{                                                                                          \
		array, sizeof(array) / sizeof((array)[0])                                          \
	}

extern const struct conf_group mmio_group, pci_group, pci_common_group, device_group, queue_group,
	split_group, packed_group, notify_group, blk_group, rng_group, console_group, net_group,
	vsock_group, balloon_group, mem_group, pmem_group, net_frames_group, vsock_data_group;

_Noreturn void conf_fail(struct conf *c, const char *file, int line, const char *what);
_Noreturn void conf_not_applicable(struct conf *c, const char *reason);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			conf_fail(c, __FILE__, __LINE__, #condition);                              \
	} while (0)

/* Not applicable unless the device offers the feature. */
void needs(struct conf *c, uint64_t feature, const char *name);

#define ALL_SET (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

/* The whole initialization, with the ring's format and the features of the device type. */
void start(struct conf *c, uint64_t features);
void start_size(struct conf *c, uint64_t features, uint16_t size);
/* Up to FEATURES_OK, with MSI-X on; no queue. */
void negotiate(struct conf *c, uint64_t features);
/* Sets up the target's queues, all but one (VDRIVER_MAX_QUEUES: all). */
void set_up_queues(struct conf *c, uint16_t size, unsigned int but);
void driver_ok(struct conf *c);

struct vring *work_ring(struct conf *c);

/* One request works, and so does whatever shape() made of it. */
void works(struct conf *c);
/* Sends a request; pieces > 0: each buffer of more than one byte cut into so many. */
size_t prepare(struct conf *c, struct vring_buffer *buffers, unsigned int pieces);
void expect_done(struct conf *c);

/* Lets the device do what it wants; and checks that nothing was used. */
void settle(struct conf *c);
void expect_nothing(struct conf *c);

/* The device says NEEDS_RESET; and is reset, and works again. */
void expect_needs_reset(struct conf *c);
void expect_broken_and_recovers(struct conf *c);
/* It works after a reset, whatever it thought of what was before. */
void recovers(struct conf *c);

#endif
