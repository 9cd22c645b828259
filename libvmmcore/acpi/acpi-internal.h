/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* acpi: what its files share. Internal. */
#ifndef VMM_ACPI_INTERNAL_H
#define VMM_ACPI_INTERNAL_H

#include <vmmcore/acpi.h>

#include "acpi/aml.h"

enum {
	GED_SLEEP_CONTROL = 0x00,
	GED_SLEEP_STATUS = 0x01,
	GED_RESET = 0x02,
	GED_EVENTS = 0x04,
	GED_PCI_PLUGGED = 0x08,
	GED_PCI_LEAVING = 0x0c,
	GED_PCI_EJECT = 0x10,

	/* What \_S5 names and the sleep control register is written with. */
	GED_SLEEP_TYPE_S5 = 5,
};

/* Appends the body of the DSDT for a config that was checked. */
void vmm_acpi_dsdt(struct aml *aml, const struct vmm_acpi_config *config);

#endif
