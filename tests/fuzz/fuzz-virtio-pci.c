/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-pci: its registers, configuration space and MSI-X, around a device with a queue. */
#include "transport-script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct transport transport = { .pci = true };

	transport_fuzz(&transport, data, size);
	return 0;
}
