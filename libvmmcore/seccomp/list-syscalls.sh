#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# list-syscalls.sh COMPILER...: prints the native system calls of x86-64 that the kernel's
# headers know, one initializer of struct syscall_name a line.
set -e
"$@" -E -dM -x c -include asm/unistd_64.h /dev/null |
	sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9][0-9]*\)$/{ "\1", \2 },/p' | LC_ALL=C sort
