/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* seccomp: system calls by name and by number. The table is made from the kernel's headers. */
#include <string.h>

#include "base/util.h"
#include "seccomp/policy.h"

static const struct syscall_name {
	const char *name;
	unsigned int nr;
} syscall_names[] = {
#include "seccomp/syscall-names.inc"
};

int vmm_seccomp_find_call(const char *name, size_t length, unsigned int *ret_nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(syscall_names); i++) {
		if (strncmp(syscall_names[i].name, name, length) == 0 &&
			syscall_names[i].name[length] == '\0') {
			*ret_nr = syscall_names[i].nr;
			return 0;
		}
	}
	return -ENOENT;
}

const char *vmm_seccomp_call_name(unsigned int nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(syscall_names); i++) {
		if (syscall_names[i].nr == nr)
			return syscall_names[i].name;
	}
	return NULL;
}
