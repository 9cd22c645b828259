/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: loader: ELF executables. */
#include <errno.h>

#include "load-kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_load_kernel(data, size, VMM_LOADER_AUTO);
}
