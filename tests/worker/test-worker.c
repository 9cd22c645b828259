/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The worker as a whole, on this machine's /dev/kvm, with bare-metal guests: how it ends, what it
 * refuses, what its control socket and its console do, and what is left of its privileges.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <vmmcore/platform.h>

#include "base/util.h"
#include "test-worker.h"

/* ---- ends ---- */

static void end_poweroff(void)
{
	guest_poweroff(&guest);
}

static void end_reset(void)
{
	guest_reset(&guest);
}

static void end_i8042_reset(void)
{
	guest_outb(&guest, VMM_I8042_COMMAND_PORT, 0xfe);
	spin_after();
}

static void end_panic(void)
{
	guest_panic(&guest);
}

static void end_triple_fault(void)
{
	guest_triple_fault(&guest);
}

static const struct {
	void (*make)(void);
	int status;
	const char *said;
} ends[] = {
	{ end_poweroff, 0, "The guest powered off." },
	{ end_reset, 133, "The guest reboots." },
	{ end_i8042_reset, 133, "The guest reboots." },
	{ end_panic, 70, "The guest panicked." },
	{ end_triple_fault, 70, "triple fault" },
};

START_TEST(guest_ends)
{
	guest_print(&guest, "hello \x1b[1mworld\x1b[0m\r\nand no end");
	ends[_i].make();
	worker_start(&worker, &guest);
	ck_assert_int_eq(worker_wait(&worker), ends[_i].status);
	ck_assert_msg(strstr(worker.output, ends[_i].said), "%s", worker.output);
	ck_assert_msg(strstr(worker.output, "hello world\n"), "%s", worker.output);
	ck_assert_msg(strstr(worker.output, "and no end\n"), "%s", worker.output);
	ck_assert_ptr_nonnull(strstr(worker.notified, "STOPPING=1"));
}
END_TEST

START_TEST(stop_presses_the_button)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
	ck_assert_ptr_nonnull(strstr(worker.notified, "STATUS=asked the guest to power off"));
	ck_assert_msg(strstr(worker.output, "The guest powered off."), "%s", worker.output);
}
END_TEST

START_TEST(machinectl_poweroff)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGRTMIN + 4);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(second_stop_is_hard)
{
	spin_after();
	worker_start(&worker, &guest);
	kill(worker.pid, SIGTERM);
	worker_await_notify(&worker, "STOPPING=1");
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(machinectl_reboot_is_ctrl_alt_del)
{
	guest_wait_ctrl_alt_del(&guest);
	guest_print(&guest, "seen\n");
	guest_reset(&guest);
	worker_start(&worker, &guest);
	usleep(200000);
	kill(worker.pid, SIGINT);
	ck_assert_int_eq(worker_wait(&worker), 133);
	ck_assert_ptr_nonnull(strstr(worker.output, "seen"));
}
END_TEST

START_TEST(reload_changes_nothing)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGHUP);
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(several_cpus)
{
	guest_print(&guest, "up\n");
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.n_cpus = 4;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(memory_above_the_hole)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.memory_bytes = UINT64_C(5) << 30;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(watchdog_is_fed)
{
	static const char *const environment[] = { "WATCHDOG_USEC=300000", NULL };

	spin_after();
	worker_prepare(&worker, &guest);
	worker_exec(&worker, environment);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	worker_await_notify(&worker, "WATCHDOG=1");
}
END_TEST

/* ---- refusals ---- */

static int open_text(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void replace_kernel(int fd)
{
	close(worker.fds[worker.spec.kernel_fd]);
	worker.fds[worker.spec.kernel_fd] = fd;
}

static void bad_kernel(void)
{
	replace_kernel(open_text("this is no kernel"));
}

static void empty_kernel(void)
{
	replace_kernel(open_text(""));
}

static void directory_kernel(void)
{
	replace_kernel(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void large_initrd(void)
{
	int fd = memfd_create("initrd", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 64 << 20), 0);
	worker.spec.initrd_fd = worker_add_fd(&worker, fd);
}

static void empty_initrd(void)
{
	worker.spec.initrd_fd = worker_add_fd(&worker, open_text(""));
}

static void no_kvm(void)
{
	close(worker.fds[worker.spec.kvm_fd]);
	worker.fds[worker.spec.kvm_fd] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void too_much_memory(void)
{
	worker.spec.memory_bytes = UINT64_C(1) << 40;
}

static void no_memory(void)
{
	worker.spec.memory_bytes = 0;
}

static void too_many_cpus(void)
{
	worker.spec.n_cpus = 65;
}

static void network_no_tap(void)
{
	add_network(open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void network_vhost(void)
{
	add_network(open("/dev/null", O_RDWR | O_CLOEXEC));
	worker.spec.networks[0].vhost_fds[0] =
		worker_add_fd(&worker, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void vsock_vhost(void)
{
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_vhost_fd = worker_add_fd(&worker, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void watchdog_on_mmio(void)
{
	worker.spec.transport = VMM_TRANSPORT_MMIO;
	worker.spec.flags |= VMM_SPEC_WATCHDOG;
}

/* Not one that a client could connect to. */
static void vsock_no_listener(void)
{
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_listen_fd = worker_add_fd(&worker, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void empty_drive(void)
{
	add_drive(open_text(""));
}

static void odd_drive(void)
{
	add_drive(open_text("0123456789"));
}

static void directory_drive(void)
{
	add_drive(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	worker.spec.drives[0].flags = VMM_DRIVE_READ_ONLY;
}

static void read_only_drive(void)
{
	char path[64];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	add_drive(open(path, O_RDONLY | O_CLOEXEC));
	close(fd);
}

static void character_drive(void)
{
	add_drive(open("/dev/zero", O_RDWR | O_CLOEXEC));
}

static void pmem_odd_size(void)
{
	int fd = memfd_create("pmem", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 3 << 20), 0);
	add_drive(fd);
	worker.spec.drives[0].flags = VMM_DRIVE_PMEM;
}

static void pmem_character_device(void)
{
	add_drive(open("/dev/zero", O_RDWR | O_CLOEXEC));
	worker.spec.drives[0].flags = VMM_DRIVE_PMEM;
}

static void pmem_read_only(void)
{
	char path[64];
	int fd = memfd_create("pmem", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 2 << 20), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	add_drive(open(path, O_RDONLY | O_CLOEXEC));
	close(fd);
	worker.spec.drives[0].flags = VMM_DRIVE_PMEM;
}

static void unused_fd(void)
{
	worker_add_fd(&worker, open_text("x"));
}

static void lacking_kvm(void)
{
	worker.missing_capability = KVM_CAP_IRQFD;
}

static const struct {
	void (*break_it)(void);
	const char *said;
} refusals[] = {
	{ bad_kernel, "kernel" },
	{ empty_kernel, "kernel" },
	{ directory_kernel, "kernel" },
	{ large_initrd, "initrd" },
	{ empty_initrd, "initrd" },
	{ no_kvm, "KVM" },
	{ lacking_kvm, "KVM: the host's has no KVM_CAP_IRQFD" },
	{ too_much_memory, "memory" },
	{ no_memory, "memory" },
	{ too_many_cpus, "CPUs" },
	{ network_no_tap, "network lan: a descriptor is no tap" },
	{ network_vhost, "network lan: its vhost is none" },
	{ vsock_vhost, "vsock: its vhost is none" },
	{ watchdog_on_mmio, "watchdog: it is a PCI device" },
	{ vsock_no_listener, "vsock: the descriptor is no listening" },
	{ empty_drive, "drive root: is empty" },
	{ odd_drive, "drive root: its size" },
	{ directory_drive, "drive root: is a directory" },
	{ read_only_drive, "drive root: is not open for writing" },
	{ character_drive, "drive root: is neither" },
	{ pmem_odd_size, "drive root: persistent memory is whole 2 MiB" },
	{ pmem_character_device, "drive root: persistent memory is a regular file" },
	{ pmem_read_only, "drive root: is not open for reading and writing" },
	{ unused_fd, "used by nothing" },
};

START_TEST(config_errors)
{
	const char *end;

	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	refusals[_i].break_it();
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_msg(worker_wait(&worker) == 78, "%s", worker.output);
	ck_assert_msg(strstr(worker.output, refusals[_i].said), "%s", worker.output);
	ck_assert_ptr_null(strstr(worker.notified, "READY=1"));
	/* One line. */
	end = strchr(worker.output, '\n');
	ck_assert(end && end[1] == '\0');
}
END_TEST

/* ---- back ends that do not start ---- */

/* A connection that has ended, as that of a program that is not there. */
static int open_ended(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[0]);
	return pair[1];
}

static void drive_of_unit(void)
{
	add_drive(open_ended());
	worker.spec.drives[0].flags = VMM_DRIVE_VHOST_USER | VMM_DRIVE_UNIT;
	worker.spec.flags |= VMM_SPEC_SHARED_MEMORY;
}

static void drive_of_somebody(void)
{
	drive_of_unit();
	worker.spec.drives[0].flags = VMM_DRIVE_VHOST_USER;
}

static void share_of_unit(void)
{
	worker.spec.n_shares = 1;
	strcpy(worker.spec.shares[0].id, "home");
	worker.spec.shares[0].flags = VMM_SHARE_UNIT;
	worker.spec.shares[0].fd = worker_add_fd(&worker, open_ended());
	worker.spec.flags |= VMM_SPEC_SHARED_MEMORY;
}

static const struct {
	void (*add)(void);
	const char *said;
} ended[] = {
	{ drive_of_unit, "drive root: qemu-storage-daemon (journalctl -u "
			 "vmm-drive@test:root.service says why) has ended the connection" },
	{ drive_of_somebody,
		"drive root: the back end at its socket (its own log says why) has ended" },
	{ share_of_unit,
		"share home: virtiofsd (journalctl -u vmm-share@test:home.service says why)" },
};

START_TEST(back_end_has_ended)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	ended[_i].add();
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	/* It may be there when the unit is started again. */
	ck_assert_msg(worker_wait(&worker) == 1, "%s", worker.output);
	ck_assert_msg(strstr(worker.output, ended[_i].said), "%s", worker.output);
}
END_TEST

START_TEST(broker_refuses)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker_exec(&worker, NULL);
	ck_assert_int_eq(
		vmm_broker_send_refused(worker.broker_fd, 78, "/etc/vmm/test.vm:7: no such disk"),
		0);
	ck_assert_int_eq(worker_wait(&worker), 78);
	ck_assert_str_eq(worker.output, "vmmd-worker: test: /etc/vmm/test.vm:7: no such disk\n");
}
END_TEST

START_TEST(broker_goes_away)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker_exec(&worker, NULL);
	worker.broker_fd = vmm_base_close(worker.broker_fd);
	ck_assert_int_eq(worker_wait(&worker), 1);
	ck_assert_ptr_nonnull(strstr(worker.output, "vmmd"));
}
END_TEST

START_TEST(broker_sends_another_spec)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	strcpy(worker.spec.name, "other");
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_int_eq(worker_wait(&worker), 78);
	ck_assert_ptr_nonnull(strstr(worker.output, "another machine"));
}
END_TEST

/* ---- the program ---- */

/* Runs the program alone; output gets what it wrote to either stream. */
static int run_alone(const char *arguments, char *output, size_t size)
{
	char command[512];
	size_t n;
	FILE *pipe;

	snprintf(command, sizeof(command), "'%s' %s 2>&1", getenv("VMMD_WORKER"), arguments);
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	n = fread(output, 1, size - 1, pipe);
	output[n] = '\0';
	return WEXITSTATUS(pclose(pipe));
}

START_TEST(arguments)
{
	static const struct {
		const char *arguments;
		int status;
		const char *said;
	} rows[] = {
		{ "--help", 0, "usage: vmmd-worker" },
		{ "--version", 0, "vmmd-worker " },
		{ "", 78, "exactly one name" },
		{ "a b", 78, "exactly one name" },
		{ "--nonsense", 78, "--nonsense" },
		{ "--broker-fd=x web", 78, "--broker-fd" },
		{ "--broker-fd=99999999999 web", 78, "--broker-fd" },
		{ "../web", 78, "../web" },
		{ "--broker=/nonexistent/socket web", 1, "/nonexistent/socket" },
		{ "--broker-fd=77 web", 1, "vmmd" },
	};
	char output[4096];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ck_assert_int_eq(
			run_alone(rows[i].arguments, output, sizeof(output)), rows[i].status);
		ck_assert_msg(strstr(output, rows[i].said), "%s: %s", rows[i].arguments, output);
	}
	setenv("VMMD_SECCOMP", "off", 1);
	ck_assert_int_eq(run_alone("web", output, sizeof(output)), 78);
	ck_assert_msg(strstr(output, "VMMD_SECCOMP"), "%s", output);
}
END_TEST

START_TEST(size_and_memory)
{
	struct stat status;
	const char *stripped = getenv("VMMD_WORKER_STRIPPED");
	int fd;

	if (stripped) {
		ck_assert_int_eq(stat(stripped, &status), 0);
		ck_assert_int_le(status.st_size, 1258291);
	}
	guest_print(&guest, "up");
	guest_echo(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.memory_bytes = 128 << 20;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = open_console(worker_connect(&worker), VMM_CONSOLE_REPLAY, 0);
	await_text(fd, worker.output, sizeof(worker.output), "up");
	/* All of it, with the few pages that this guest touches. */
	if (stripped)
		ck_assert_int_lt(resident_kib(worker.pid), 3 << 10);
}
END_TEST

static void add_machine_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "ends");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, guest_ends, 0, ARRAY_SIZE(ends));
	tcase_add_test(tcase, stop_presses_the_button);
	tcase_add_test(tcase, machinectl_poweroff);
	tcase_add_test(tcase, second_stop_is_hard);
	tcase_add_test(tcase, machinectl_reboot_is_ctrl_alt_del);
	tcase_add_test(tcase, reload_changes_nothing);
	tcase_add_test(tcase, several_cpus);
	tcase_add_test(tcase, memory_above_the_hole);
	tcase_add_test(tcase, watchdog_is_fed);
	tcase = unit_case(suite, "refusals");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, config_errors, 0, ARRAY_SIZE(refusals));
	tcase_add_loop_test(tcase, back_end_has_ended, 0, ARRAY_SIZE(ended));
	tcase_add_test(tcase, broker_refuses);
	tcase_add_test(tcase, broker_goes_away);
	tcase_add_test(tcase, broker_sends_another_spec);
	add_control_cases(suite);
	add_console_cases(suite);
	add_credentials_cases(suite);
	tcase = unit_case(suite, "program");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, arguments);
	tcase_add_test(tcase, size_and_memory);
}

/* With an argument a part of it: two halves, as they take half the time beside each other, and what
 * cannot stand anything beside it. */
static int run_with_huge_pages(Suite *suite)
{
	long before = reserve_huge_pages();
	int status;

	if (before < 0) {
		puts("skipped: no huge pages to be had");
		return 77;
	}
	status = unit_run(suite);
	resize_huge_pages(before);
	return status;
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("worker");
	bool machine = argc < 2 || strcmp(argv[1], "machine") == 0;
	bool devices = argc < 2 || strcmp(argv[1], "devices") == 0;
	bool figures = argc < 2 || strcmp(argv[1], "figures") == 0;
	bool huge = argc > 1 && strcmp(argv[1], "huge-pages") == 0;

	if (argc > 2 || (!machine && !devices && !figures && !huge)) {
		fprintf(stderr, "usage: %s [machine|devices|figures|huge-pages]\n", argv[0]);
		return 2;
	}
	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		puts("skipped: no /dev/kvm");
		return 77;
	}
	if (geteuid() != 0) {
		puts("skipped: not root");
		return 77;
	}
	if (machine)
		add_machine_cases(suite);
	if (devices) {
		add_device_cases(suite);
		add_hotplug_cases(suite);
		add_hostile_cases(suite);
		add_sandbox_cases(suite);
	}
	if (figures) {
		add_limit_cases(suite);
		add_balloon_cases(suite);
	}
	if (huge) {
		add_huge_page_cases(suite);
		return run_with_huge_pages(suite);
	}
	return unit_run(suite);
}
