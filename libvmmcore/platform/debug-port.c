/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* platform: a debug port: a byte goes to the host, the last one can be read back. */
#include <string.h>

#include <vmmcore/platform.h>

#include "base/util.h"

struct vmm_debug_port {
	struct vmm_debug_port_config config;
	uint8_t last; /* atomic */
};

static void debug_port_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_debug_port *port = userdata;
	uint8_t value = __atomic_load_n(&port->last, __ATOMIC_RELAXED);

	memcpy(data, &value, 1);
}

static void debug_port_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_debug_port *port = userdata;
	uint8_t value;

	memcpy(&value, data, 1);
	__atomic_store_n(&port->last, value, __ATOMIC_RELAXED);
	if (port->config.ops && port->config.ops->write)
		port->config.ops->write(port->config.userdata, value);
}

static const struct vmm_bus_ops bus_ops = {
	.read = debug_port_read,
	.write = debug_port_write,
};

int vmm_debug_port_new(const struct vmm_debug_port_config *config, struct vmm_debug_port **ret_port)
{
	struct vmm_debug_port *port;
	struct vmm_bus_range range;
	int r;

	if (!config->bus)
		return -EINVAL;
	port = malloc(sizeof(*port));
	if (!port)
		return -ENOMEM;
	*port = (struct vmm_debug_port){ .config = *config, .last = 0xff };
	if (port->config.port == 0)
		port->config.port = VMM_DEBUG_PORT;
	range = (struct vmm_bus_range){
		.base = port->config.port,
		.size = 1,
		.ops = &bus_ops,
		.userdata = port,
	};
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		free(port);
		return r;
	}
	*ret_port = port;
	return 0;
}

struct vmm_debug_port *vmm_debug_port_free(struct vmm_debug_port *port)
{
	if (!port)
		return NULL;
	vmm_bus_remove(port->config.bus, port->config.port);
	free(port);
	return NULL;
}
