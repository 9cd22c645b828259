/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: what the cases of virtio-console know of the terminals behind it. */
#ifndef VMM_TESTS_TARGET_CONSOLE_H
#define VMM_TESTS_TARGET_CONSOLE_H

#include <stdint.h>

#define CONSOLE_PORTS 3 /* port 0 is a terminal, port 1 has a name, port 2 nobody at its end */
#define CONSOLE_COLUMNS 80
#define CONSOLE_ROWS 24
#define CONSOLE_NAME "org.example.port"

/* Events for target.host(). All data begins with a byte, the port. */
enum console_host {
	CONSOLE_HOST_GOT,     /* whether the port's next output is data */
	CONSOLE_HOST_SEND,    /* whether the port takes data as input, whole */
	CONSOLE_HOST_RESIZE,  /* data: 16 bits of columns, 16 of rows, the machine's byte order */
	CONSOLE_HOST_CONNECT, /* data: a byte, 1 where somebody is at the other end */
	CONSOLE_HOST_IS_OPEN, /* whether the guest has opened the port */
};

#endif
