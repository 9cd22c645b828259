/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* platform: the VM generation ID. The device is 16 bytes of memory; ACPI does the rest. */
#include <string.h>
#include <sys/random.h>

#include <vmmcore/platform.h>

#include "base/util.h"

int vmm_vmgenid_write(struct vmm_mem *mem, uint64_t gpa, const uint8_t id[VMM_VMGENID_BYTES])
{
	uint8_t bytes[VMM_VMGENID_BYTES];

	if (!IS_ALIGNED(gpa, 8) || gpa % VMM_MEM_PAGE_BYTES > VMM_MEM_PAGE_BYTES - sizeof(bytes))
		return -EINVAL;
	if (id) {
		memcpy(bytes, id, sizeof(bytes));
	} else {
		/* So few bytes come whole or not at all. */
		while (getrandom(bytes, sizeof(bytes), 0) < 0) {
			if (errno != EINTR)
				return -errno;
		}
	}
	return vmm_mem_write(mem, gpa, bytes, sizeof(bytes));
}
