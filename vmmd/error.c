/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* error: the text that goes with one. */
#include <stdarg.h>
#include <stdio.h>

#include "error.h"

int error_say(char **ret_text, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (vasprintf(ret_text, format, ap) < 0)
		*ret_text = NULL;
	va_end(ap);
	return error;
}
