/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* bus: interrupt lines. */
#include <vmmcore/bus.h>

#include "base/util.h"

int vmm_irq_set_level(const struct vmm_irq *irq, bool level)
{
	if (!irq->ops)
		return 0;
	return irq->ops->set_level(irq->userdata, level);
}

static int eventfd_set_level(void *userdata, bool level)
{
	struct vmm_irq_eventfd *irq = userdata;
	uint8_t was = __atomic_exchange_n(&irq->level, level, __ATOMIC_ACQ_REL);

	if (was || !level)
		return 0;
	return vmm_base_eventfd_signal(irq->fd);
}

static const struct vmm_irq_ops eventfd_ops = {
	.set_level = eventfd_set_level,
};

void vmm_irq_eventfd_init(struct vmm_irq_eventfd *irq, int fd)
{
	*irq = (struct vmm_irq_eventfd){ .fd = fd };
}

struct vmm_irq vmm_irq_eventfd_line(struct vmm_irq_eventfd *irq)
{
	return (struct vmm_irq){ .ops = &eventfd_ops, .userdata = irq };
}
