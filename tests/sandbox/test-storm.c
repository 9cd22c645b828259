/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A storm: vmmd, workers and the bus are killed in random order under machines that write to their
 * disks. No machine ends but one that was killed, which starts again; none loses what it flushed;
 * all are listed at the end as what they are, nothing is left behind of them, and vmmd's
 * descriptors are no more than they were. VMMD_STORM_ROUNDS: how many kills (10). VMMD_STORM_SEED.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "base/util.h"

#define N_MACHINES 8
#define DISK_BYTES (1 << 20)

static struct storm {
	char name[16], disk[256];
	pid_t pid;
	uint64_t number; /* the last that was flushed, when it was looked at */
} machines[N_MACHINES];

static DBusConnection *bus;

static unsigned int number_of(const char *variable, unsigned int otherwise)
{
	const char *text = getenv(variable);

	return text ? (unsigned int)atoi(text) : otherwise;
}

/* What the disk says was flushed last; fails where that is not there. */
static uint64_t read_number(const struct storm *machine)
{
	CLEANUP(close_p) int fd = open(machine->disk, O_RDONLY | O_CLOEXEC);
	uint64_t first[2], record[2];

	ck_assert_int_ge(fd, 0);
	/* Until no other sector has become the last one meanwhile. */
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(vmm_base_pread_full(fd, first, sizeof(first), 0), 0);
		ck_assert_int_eq(vmm_base_pread_full(
					 fd, record, sizeof(record), 512 * (1 + first[0] % 1024)),
			0);
		if (first[0] == 0 || (record[0] == first[0] && record[1] == ~first[0]))
			return first[0];
	}
	ck_abort_msg("%s: %llu was flushed, and %llu is there", machine->name,
		(unsigned long long)first[0], (unsigned long long)record[0]);
}

static void make_machine(struct storm *machine, unsigned int i)
{
	CLEANUP(free_p) char *text = NULL, *file = NULL;
	int fd;

	snprintf(machine->name, sizeof(machine->name), "storm%u", i);
	snprintf(machine->disk, sizeof(machine->disk), "%.200s/%.15s.raw", env_root, machine->name);
	fd = open(machine->disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", machine->name), 0);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nMemory=32M\n[Boot]\nKernel=%s\n"
				 "[Drive]\nName=root\nPath=%s\n",
				 getenv("WRITER_ELF"), machine->disk),
		0);
	put_file(file, text);
}

static void start(struct storm *machine)
{
	start_machine(bus, machine->name, "done");
	machine->pid = (pid_t)get_uint(bus, machine->name, "Leader");
	ck_assert_int_gt(machine->pid, 1);
}

/* A client that has lost its bus takes a new connection, as vmmd does. */
static void connect_again(void)
{
	bus_close(bus);
	bus = bus_open();
	watch_signals(bus);
}

static void kill_worker(void)
{
	struct storm *machine = &machines[rand() % N_MACHINES];

	ck_assert_int_eq(kill(machine->pid, SIGKILL), 0);
	wait_state(bus, machine->name, "failed");
	start(machine);
}

static void kill_vmmd(void)
{
	env_kill_vmmd();
	env_start_vmmd();
}

static void kill_bus(void)
{
	env_kill_bus();
	connect_again();
}

static void (*const kills[])(void) = { kill_worker, kill_vmmd, kill_bus };

static unsigned int count_fds(pid_t pid)
{
	char path[64];
	unsigned int n = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

/* All run, in the same processes, and go on writing. */
static void check_machines(void)
{
	for (unsigned int i = 0; i < N_MACHINES; i++) {
		struct storm *machine = &machines[i];
		uint64_t before = machine->number;

		wait_state(bus, machine->name, "running");
		ck_assert_int_eq((pid_t)get_uint(bus, machine->name, "Leader"), machine->pid);
		machine->number = read_number(machine);
		for (int j = 0; j < 3000 && machine->number == before; j++) {
			usleep(10000);
			machine->number = read_number(machine);
		}
		ck_assert_msg(machine->number > before, "%s writes no more", machine->name);
	}
}

START_TEST(test_storm)
{
	unsigned int rounds = number_of("VMMD_STORM_ROUNDS", 10);
	unsigned int n_kills[ARRAY_SIZE(kills)] = {}, n_fds;
	uint64_t n_written = 0;

	srand(number_of("VMMD_STORM_SEED", 20261122));
	bus = bus_open();
	watch_signals(bus);
	for (unsigned int i = 0; i < N_MACHINES; i++) {
		make_machine(&machines[i], i);
		start(&machines[i]);
	}
	check_machines();
	n_fds = count_fds(env_vmmd_pid());
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int kind = (unsigned int)rand() % ARRAY_SIZE(kills);

		kills[kind]();
		n_kills[kind]++;
		usleep((useconds_t)rand() % 100000);
		if (i % 8 == 7)
			check_machines();
	}
	check_machines();
	/* One that has found its workers has fewer than one that started them. */
	ck_assert_uint_le(count_fds(env_vmmd_pid()), n_fds + 2);
	for (unsigned int i = 0; i < N_MACHINES; i++) {
		n_written += machines[i].number;
		stop_machine(bus, machines[i].name, "force", "done");
		ck_assert_uint_ge(read_number(&machines[i]), machines[i].number);
	}
	printf("%u workers, %u times vmmd, %u times the bus killed under %d machines, which flushed "
	       "%llu numbers: none lost\n",
		n_kills[0], n_kills[1], n_kills[2], N_MACHINES, (unsigned long long)n_written);
	expect_nothing_left();
	bus_close(bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-storm");
	TCase *tcase = unit_case(suite, "storm");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon and /dev/kvm");
		return 77;
	}
	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 900);
	/* In the test's own process, which kills and starts what they start. */
	tcase_add_checked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_storm);
	return unit_run(suite);
}
