/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* number: decimal numbers from the environment and the command line. */
#ifndef VMMD_WORKER_NUMBER_H
#define VMMD_WORKER_NUMBER_H

#include <errno.h>
#include <stdint.h>

/* Digits only. -EINVAL, -ERANGE. */
static inline int number_parse(const char *text, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -ERANGE;
	}
	*ret_value = value;
	return 0;
}

#endif
