/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of the worker's test share. Each test runs in a process of its own. */
#ifndef VMM_TESTS_WORKER_TEST_WORKER_H
#define VMM_TESTS_WORKER_TEST_WORKER_H

#include <sys/socket.h>
#include <sys/un.h>

#include "../unit/unit.h"
#include "harness.h"

extern struct worker worker;
extern struct guest guest;

void setup(void);
void teardown(void);

/* The guest goes on and does nothing. */
void spin_after(void);
void add_drive(int fd);
void add_network(int fd);
/* A listening stream socket with an address that the kernel chooses. */
int listen_somewhere(struct sockaddr_un *ret_address, socklen_t *ret_length);
long resident_kib(pid_t pid); /* huge pages too */
/* What the machine is to have; the result. */
int set_memory(int control_fd, uint64_t bytes);
/* Attaches to the console and checks the result; returns this end. */
int open_console(int control_fd, uint32_t flags, int expected);

void add_control_cases(Suite *suite);
void add_console_cases(Suite *suite);
void add_hotplug_cases(Suite *suite);
void add_credentials_cases(Suite *suite);
void add_device_cases(Suite *suite);
void add_hostile_cases(Suite *suite);
void add_sandbox_cases(Suite *suite);
void add_limit_cases(Suite *suite);
void add_balloon_cases(Suite *suite);
void add_huge_page_cases(Suite *suite);

/* Makes the host's pool as much larger as those cases need; how large it was, or -1: it cannot be.
 */
long reserve_huge_pages(void);
void resize_huge_pages(long n);

#endif
