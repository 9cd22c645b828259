/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spinning: see spinning.h. */
#include "spinning.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "../worker/guests.h"
#include "base/util.h"

DBusConnection *spinning_bus;
pid_t spinning_pid;

void start_spinning(const char *name)
{
	CLEANUP(free_p) char *kernel = NULL, *disk = NULL, *file = NULL, *text = NULL;
	struct guest guest = {};
	char buffer[65536];
	int in, out;
	ssize_t n;

	guest_spin(&guest);
	in = guest_open(&guest);
	ck_assert_int_gt(asprintf(&kernel, "%s/%s.elf", env_root, name), 0);
	ck_assert_int_gt(asprintf(&disk, "%s/%s.raw", env_root, name), 0);
	out = open(kernel, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	n = pread(in, buffer, sizeof(buffer), 0);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(vmm_base_write_full(out, buffer, (size_t)n), 0);
	close(in);
	close(out);
	out = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(out, 1 << 20), 0);
	close(out);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(
		asprintf(&text,
			"[Machine]\nMemory=16M\nCPUs=2\n[Boot]\nKernel=%s\n[Drive]\nName=root\nPath=%s\n",
			kernel, disk),
		0);
	put_file(file, text);
	spinning_bus = bus_open();
	watch_signals(spinning_bus);
	start_machine(spinning_bus, name, "done");
	spinning_pid = (pid_t)get_uint(spinning_bus, name, "Leader");
	ck_assert_int_gt(spinning_pid, 1);
}
