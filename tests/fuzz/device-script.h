/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * device-script: drives a real virtio device through real rings, as its input says: a script of
 * chains of descriptors, well-formed or not, writes into the rings, configuration accesses,
 * resets, and events of the device's other side.
 *
 * The first byte chooses the ring's features, the second takes device features away. Then come
 * operations, see device-script.c. seeds.py writes scripts.
 */
#ifndef VMM_TESTS_DEVICE_SCRIPT_H
#define VMM_TESTS_DEVICE_SCRIPT_H

#include "fuzz.h"
#include "lib/driver.h"

struct fuzz_device {
	unsigned int n_queues; /* at most DRIVER_MAX_QUEUES */
	uint16_t queue_size;
	void (*process)(void);                    /* serves what was kicked, without waiting */
	void (*event)(uint8_t code, uint8_t arg); /* something on the other side; may be NULL */
	void (*drain)(void);                      /* ends all that is in flight; may be NULL */
};

/* Once for a process: memory and bus. Then make the device, and attach it. */
struct driver *fuzz_driver(void);

/* Runs a script from reset to reset. */
void fuzz_device_run(const struct fuzz_device *device, const uint8_t *data, size_t size);

#endif
