/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * error: the conditions that vmmd tells its clients of by a name of their own. They are
 * returned as negative numbers like errno values and lie outside their range; bus-error.c has
 * the D-Bus name of each.
 */
#ifndef VMMD_ERROR_H
#define VMMD_ERROR_H

enum vmmd_error {
	VMMD_E_NO_SUCH_MACHINE = 5001,
	VMMD_E_MACHINE_EXISTS,
	VMMD_E_MACHINE_BUSY,
	VMMD_E_MACHINE_NOT_RUNNING,
	VMMD_E_NO_SUCH_JOB,
	VMMD_E_BAD_CONFIGURATION,
	VMMD_E_NOT_SUPPORTED,
	VMMD_E_KVM_UNAVAILABLE,
	VMMD_E_CONSOLE_BUSY,
	VMMD_E_SHUTTING_DOWN,
	VMMD_E_LIMITS_EXCEEDED,
	VMMD_E_START_FAILED,
	VMMD_E_NO_SUCH_DEVICE,
	VMMD_E_DEVICE_EXISTS,
	VMMD_E_DEVICE_BUSY, /* the guest does not give it up */
	VMMD_E_WORKER,      /* the worker refused; text says why */
};

/* Returns error, and in *ret_text what there is to say of it: the caller's, NULL without memory. */
int error_say(char **ret_text, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
