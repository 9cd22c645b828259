/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that hammers its devices beside vmmd: its worker lives and stays within its memory and
 * its share of the CPU, vmmd has next to nothing to do with it, and another machine still answers
 * and loses no more than beside a guest that only spins. What was measured is printed.
 * VMMD_HAMMER_SEC: for how long (6).
 */
#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "../worker/guests.h"
#include "base/util.h"
#include "quota.h"
#include "spinning.h"

#define MEMORY_KIB (64 << 10)
/* Above the guest's memory: the worker itself, its rings and what devices allocate. */
#ifdef SANITIZED
#define MAX_WORKER_KIB (1 << 20)
#else
#define MAX_WORKER_KIB (16 << 10)
#endif

/* User and system time of a process, in milliseconds. */
static unsigned long cpu_msec(pid_t pid)
{
	unsigned long user, system;
	char path[64], text[1024];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%d has gone", pid);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = '\0';
	ck_assert_int_eq(
		sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			&user, &system),
		2);
	return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

static unsigned long peak_kib(pid_t pid)
{
	unsigned long kib = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%d has gone", pid);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

static void start_machine_of(DBusConnection *bus, const char *name, const char *kernel)
{
	CLEANUP(free_p) char *text = NULL, *disk = NULL, *file = NULL;
	FILE *stream;

	ck_assert_int_gt(asprintf(&disk, "%s/%s.raw", env_root, name), 0);
	stream = fopen(disk, "we");
	ck_assert_ptr_nonnull(stream);
	ck_assert_int_eq(ftruncate(fileno(stream), 1 << 20), 0);
	fclose(stream);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nMemory=%dM\nBalloon=yes\n[Boot]\nKernel=%s\n[Vsock]\n"
				 "[Drive]\nName=root\nPath=%s\n",
				 MEMORY_KIB >> 10, kernel, disk),
		0);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	put_file(file, text);
	start_machine(bus, name, "done");
}

static void start_hammer(DBusConnection *bus)
{
	start_machine_of(bus, "hammer", getenv("HAMMER_ELF"));
}

static void start_guest(DBusConnection *bus, const char *name, const struct guest *guest)
{
	CLEANUP(close_p) int fd = guest_open(guest);
	CLEANUP(free_p) char *path = NULL;
	char image[65536];
	ssize_t n = pread(fd, image, sizeof(image), 0);
	FILE *stream;

	ck_assert_int_gt(asprintf(&path, "%s/%s.elf", env_root, name), 0);
	stream = fopen(path, "we");
	ck_assert_ptr_nonnull(stream);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(fwrite(image, 1, (size_t)n, stream), (size_t)n);
	ck_assert_int_eq(fclose(stream), 0);
	start_machine_of(bus, name, path);
}

/* What comes until the time is over. */
static size_t count_bytes(int fd, unsigned int msec)
{
	uint64_t until = vmm_base_now_nsec() + msec * UINT64_C(1000000);
	size_t n_bytes = 0;
	char data[4096];

	while (vmm_base_now_nsec() < until) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&pollfd, 1, 100) == 1 ? read(fd, data, sizeof(data)) : 0;

		if (n > 0)
			n_bytes += (size_t)n;
	}
	return n_bytes;
}

START_TEST(test_hammer)
{
	const char *sec_text = getenv("VMMD_HAMMER_SEC");
	unsigned int sec = sec_text ? (unsigned int)atoi(sec_text) : 6;
	unsigned long vmmd_before, vmmd_msec, worker_before, worker_msec;
	uint64_t begin, msec;
	size_t n_bytes;
	pid_t vmmd_pid, worker_pid;
	int console;

	start_spinning("other");
	start_hammer(spinning_bus);
	vmmd_pid = env_vmmd_pid();
	worker_pid = (pid_t)get_uint(spinning_bus, "hammer", "Leader");
	vmmd_before = cpu_msec(vmmd_pid);
	worker_before = cpu_msec(worker_pid);
	begin = vmm_base_now_nsec();
	console = open_console(spinning_bus, "hammer", 0);
	n_bytes = count_bytes(console, sec * 1000);
	close(console);
	vmmd_msec = cpu_msec(vmmd_pid) - vmmd_before;
	worker_msec = cpu_msec(worker_pid) - worker_before;
	msec = (vmm_base_now_nsec() - begin) / 1000000;
	printf("hammering for %u s: vmmd took %lu ms of CPU, the worker %lu ms and %lu KiB at most, "
	       "its console said %zu bytes\n",
		sec, vmmd_msec, worker_msec, peak_kib(worker_pid), n_bytes);
	/* It did work, and none of it became vmmd's. */
	ck_assert_uint_gt(n_bytes, 100);
	ck_assert_uint_le(vmmd_msec, MAX(msec / 100, UINT64_C(10)));
	ck_assert_uint_lt(peak_kib(worker_pid), MEMORY_KIB + MAX_WORKER_KIB);
	expect_string(spinning_bus, "hammer", "State", "running");
	expect_string(spinning_bus, "other", "State", "running");
	ck_assert_int_eq((pid_t)get_uint(spinning_bus, "hammer", "Leader"), worker_pid);
	/* Both still answer, as does vmmd. */
	call_ok(spinning_bus, MANAGER "/machine/other", MACHINE_I, "Pause", DBUS_TYPE_UINT64,
		&(dbus_uint64_t){ 0 }, DBUS_TYPE_INVALID);
	wait_state(spinning_bus, "other", "paused");
	call_ok(spinning_bus, MANAGER "/machine/hammer", MACHINE_I, "Pause", DBUS_TYPE_UINT64,
		&(dbus_uint64_t){ 0 }, DBUS_TYPE_INVALID);
	wait_state(spinning_bus, "hammer", "paused");
	stop_machine(spinning_bus, "hammer", "force", "done");
	stop_machine(spinning_bus, "other", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

/* ---- what another machine loses ---- */

#define QUOTA_PERCENT 40
#define N_RUNS 5
#define RUN_MSEC 400

/* All of its threads on the first CPU that this process may use. */
static void pin(pid_t pid)
{
	cpu_set_t own, one;
	char path[64];
	struct dirent *entry;
	DIR *tasks;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(own), &own), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &own))
			CPU_SET(i, &one);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	ck_assert_ptr_nonnull(tasks);
	while ((entry = readdir(tasks)))
		if (atoi(entry->d_name) > 0)
			sched_setaffinity(atoi(entry->d_name), sizeof(one), &one);
	closedir(tasks);
}

static int compare(const void *a, const void *b)
{
	size_t one = *(const size_t *)a, other = *(const size_t *)b;

	return (one > other) - (one < other);
}

static size_t median(const size_t values[N_RUNS])
{
	size_t sorted[N_RUNS];

	memcpy(sorted, values, sizeof(sorted));
	qsort(sorted, N_RUNS, sizeof(sorted[0]), compare);
	return sorted[N_RUNS / 2];
}

struct neighbour {
	const char *name;
	pid_t pid;
	struct quota quota;
	size_t bytes[N_RUNS]; /* that the other machine got out beside it */
	uint64_t nsec;        /* in which it ran */
	unsigned long msec;   /* of CPU that it took */
};

static void start_neighbour(struct neighbour *neighbour)
{
	neighbour->pid = (pid_t)get_uint(spinning_bus, neighbour->name, "Leader");
	ck_assert(quota_new(&neighbour->quota, neighbour->name, QUOTA_PERCENT));
	quota_add(&neighbour->quota, neighbour->pid);
	pin(neighbour->pid);
	ck_assert_int_eq(kill(neighbour->pid, SIGSTOP), 0);
}

/* How far the other machine comes beside it. */
static size_t run_beside(struct neighbour *neighbour, int console)
{
	unsigned long before = cpu_msec(neighbour->pid);
	uint64_t begin = vmm_base_now_nsec();
	size_t n_bytes;

	ck_assert_int_eq(kill(neighbour->pid, SIGCONT), 0);
	count_bytes(console, 100);
	n_bytes = count_bytes(console, RUN_MSEC);
	ck_assert_int_eq(kill(neighbour->pid, SIGSTOP), 0);
	neighbour->nsec += vmm_base_now_nsec() - begin;
	neighbour->msec += cpu_msec(neighbour->pid) - before;
	return n_bytes;
}

/* False: more is lost beside the second. */
static bool compare_neighbours(struct neighbour neighbours[2], int console)
{
	size_t alone[N_RUNS], medians[2];

	for (unsigned int run = 0; run < N_RUNS; run++) {
		alone[run] = count_bytes(console, RUN_MSEC);
		for (unsigned int i = 0; i < 2; i++)
			neighbours[i].bytes[run] = run_beside(&neighbours[i], console);
	}
	for (unsigned int i = 0; i < 2; i++)
		medians[i] = median(neighbours[i].bytes);
	printf("what another machine says in %d ms: %zu bytes alone, %zu beside one that spins, %zu "
	       "beside one that hammers (medians of %d, one CPU, %d %% for each neighbour)\n",
		RUN_MSEC, median(alone), medians[0], medians[1], N_RUNS, QUOTA_PERCENT);
	/* A tenth is what such short runs differ by on a busy host. */
	return medians[1] * 10 >= medians[0] * 9;
}

START_TEST(test_loss_of_others)
{
	struct neighbour neighbours[] = { { .name = "spinner" }, { .name = "hammer" } };
	struct guest spin = {}, prints = {};
	bool is_fair = false;
	int console;

	guest_spin(&spin);
	guest_print_for_ever(&prints, '.');
	spinning_bus = bus_open();
	watch_signals(spinning_bus);
	start_guest(spinning_bus, "other", &prints);
	start_guest(spinning_bus, "spinner", &spin);
	start_hammer(spinning_bus);
	pin((pid_t)get_uint(spinning_bus, "other", "Leader"));
	console = open_console(spinning_bus, "other", 0);
	for (unsigned int i = 0; i < 2; i++)
		start_neighbour(&neighbours[i]);
	/* Once more where the host was busy with something else. */
	is_fair =
		compare_neighbours(neighbours, console) || compare_neighbours(neighbours, console);
	close(console);
	for (unsigned int i = 0; i < 2; i++) {
		struct neighbour *neighbour = &neighbours[i];

		printf("%s: %lu ms of CPU in %llu ms, held up %lu times\n", neighbour->name,
			neighbour->msec, (unsigned long long)neighbour->nsec / 1000000,
			quota_throttled(&neighbour->quota));
		/* Periods at either end of a run are not whole. */
		ck_assert_uint_le(neighbour->msec,
			neighbour->nsec / 1000000 * QUOTA_PERCENT / 100 * 5 / 4 + 100);
		kill(neighbour->pid, SIGCONT);
		expect_string(spinning_bus, neighbour->name, "State", "running");
		stop_machine(spinning_bus, neighbour->name, "force", "done");
		quota_free(&neighbour->quota);
	}
	stop_machine(spinning_bus, "other", "force", "done");
	bus_close(spinning_bus);
	ck_assert_msg(is_fair, "more is lost beside the guest that hammers");
}
END_TEST

int main(void)
{
	struct quota quota;

	Suite *suite = suite_create("sandbox-hammer");
	TCase *tcase = unit_case(suite, "hammer");

	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 600);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_hammer);
	if (quota_new(&quota, "probe", QUOTA_PERCENT)) {
		quota_free(&quota);
		tcase_add_test(tcase, test_loss_of_others);
	} else {
		puts("no control group with a limit on CPU time here: what others lose is not measured");
	}
	return unit_run(suite);
}
