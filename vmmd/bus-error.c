/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* bus: the D-Bus names of vmmd's errors. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "config-internal.h"
#include "error.h"

static const struct {
	int code;
	const char *name;
	const char *text; /* where there is no better one */
} errors[] = {
	{ VMMD_E_NO_SUCH_MACHINE, BUS_NAME ".NoSuchMachine", "There is no such machine." },
	{ VMMD_E_MACHINE_EXISTS, BUS_NAME ".MachineExists", "There is such a machine already." },
	{ VMMD_E_MACHINE_BUSY, BUS_NAME ".MachineBusy", "The machine is busy." },
	{ VMMD_E_MACHINE_NOT_RUNNING, BUS_NAME ".MachineNotRunning",
		"The machine is not running." },
	{ VMMD_E_NO_SUCH_JOB, BUS_NAME ".NoSuchJob", "There is no such job." },
	{ VMMD_E_BAD_CONFIGURATION, BUS_NAME ".BadConfiguration", "The configuration is wrong." },
	{ VMMD_E_NOT_SUPPORTED, BUS_NAME ".NotSupportedByGuest", "The guest cannot do that." },
	{ VMMD_E_KVM_UNAVAILABLE, BUS_NAME ".KVMUnavailable", "KVM cannot be used on this host." },
	{ VMMD_E_CONSOLE_BUSY, BUS_NAME ".ConsoleBusy", "Another client has the console." },
	{ VMMD_E_SHUTTING_DOWN, BUS_NAME ".ShuttingDown", "vmmd is about to end." },
	{ VMMD_E_LIMITS_EXCEEDED, BUS_NAME ".LimitsExceeded", "Too many at a time." },
	{ VMMD_E_START_FAILED, BUS_NAME ".StartFailed", "The machine's unit does not start." },
	{ VMMD_E_NO_SUCH_DEVICE, BUS_NAME ".NoSuchDevice", "There is no such device." },
	{ VMMD_E_DEVICE_EXISTS, BUS_NAME ".DeviceExists", "There is such a device already." },
	{ VMMD_E_DEVICE_BUSY, BUS_NAME ".DeviceBusy", "The guest does not give the device up." },
	{ VMMD_E_WORKER, BUS_NAME ".StartFailed", "The machine's worker cannot do that." },
};

/* A message with a text that is not UTF-8 is not sent at all, and its caller waits for ever. */
static void make_printable(char *text)
{
	bool is_utf8 = config_text_is_utf8(text, strlen(text));

	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (*c >= 0x80 && !is_utf8))
			*c = '?';
}

int bus_error_set(sd_bus_error *error, int code, char *text)
{
	CLEANUP(free_p) char *owned = text;

	if (owned)
		make_printable(owned);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].code == -code)
			return sd_bus_error_set(
				error, errors[i].name, owned ? owned : errors[i].text);
	if (code == -EINVAL)
		return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, owned);
	if (owned)
		return sd_bus_error_set_errnof(error, code, "%s", owned);
	return sd_bus_error_set_errno(error, code);
}
