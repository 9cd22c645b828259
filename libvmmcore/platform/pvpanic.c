/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * platform: pvpanic, one byte-wide port. Reading tells which events the device knows, writing
 * reports them. There is no state, hence no lock.
 */
#include <string.h>

#include <vmmcore/platform.h>

#include "base/util.h"

enum { EVENTS = VMM_PVPANIC_PANICKED | VMM_PVPANIC_CRASH_LOADED };

struct vmm_pvpanic {
	struct vmm_pvpanic_config config;
};

static void pvpanic_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	uint8_t events = EVENTS;

	memcpy(data, &events, 1);
}

static void pvpanic_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_pvpanic *pvpanic = userdata;
	uint8_t events;

	memcpy(&events, data, 1);
	events &= EVENTS;
	if (events && pvpanic->config.ops && pvpanic->config.ops->event)
		pvpanic->config.ops->event(pvpanic->config.userdata, events);
}

static const struct vmm_bus_ops bus_ops = {
	.read = pvpanic_read,
	.write = pvpanic_write,
};

int vmm_pvpanic_new(const struct vmm_pvpanic_config *config, struct vmm_pvpanic **ret_pvpanic)
{
	struct vmm_bus_range range;
	struct vmm_pvpanic *pvpanic;
	int r;

	if (!config->bus)
		return -EINVAL;
	pvpanic = malloc(sizeof(*pvpanic));
	if (!pvpanic)
		return -ENOMEM;
	*pvpanic = (struct vmm_pvpanic){ .config = *config };
	if (pvpanic->config.port == 0)
		pvpanic->config.port = VMM_PVPANIC_PORT;
	range = (struct vmm_bus_range){
		.base = pvpanic->config.port,
		.size = 1,
		.ops = &bus_ops,
		.userdata = pvpanic,
	};
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		free(pvpanic);
		return r;
	}
	*ret_pvpanic = pvpanic;
	return 0;
}

struct vmm_pvpanic *vmm_pvpanic_free(struct vmm_pvpanic *pvpanic)
{
	if (!pvpanic)
		return NULL;
	vmm_bus_remove(pvpanic->config.bus, pvpanic->config.port);
	free(pvpanic);
	return NULL;
}
