/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* harness: a private bus and vmmd; see harness.h. */
#include "harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/util.h"

enum {
	WAIT_MSEC = 10000,
};

char env_root[64];
const char *env_worker = FAKE_WORKER;
char env_bus_address[128];
static pid_t dbus_pid, vmmd_pid;

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
}

static void path_of(char *full, size_t size, const char *path)
{
	ck_assert_int_lt(snprintf(full, size, "%s/%s", env_root, path), (int)size);
}

void put_file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	path_of(full, sizeof(full), path);
	for (char *slash = full + strlen(env_root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "w");
	ck_assert_msg(f, "%s: %s", full, strerror(errno));
	fputs(text, f);
	fclose(f);
}

bool file_exists(const char *path)
{
	char full[512];

	path_of(full, sizeof(full), path);
	return access(full, F_OK) == 0;
}

void put_machine(const char *name, const char *command_line, const char *more)
{
	CLEANUP(free_p) char *path = NULL, *text = NULL;

	ck_assert_int_gt(asprintf(&path, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nDescription=the machine %s\nMemory=64M\n"
				 "[Boot]\nKernel=%s/kernel\nCommandLine=%s\n%s",
				 name, env_root, command_line, more),
		0);
	put_file(path, text);
}

int put_hanging_machine(const char *name)
{
	CLEANUP(free_p) char *path = NULL, *text = NULL;
	char kernel[512];
	int fd;

	put_file("leased", "a kernel");
	path_of(kernel, sizeof(kernel), "leased");
	signal(SIGIO, SIG_IGN);
	fd = open(kernel, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	ck_assert_int_gt(asprintf(&path, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(asprintf(&text, "[Boot]\nKernel=%s\n", kernel), 0);
	put_file(path, text);
	return fd;
}

int text_fd(const char *text, size_t size)
{
	int fd = memfd_create("vm", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, text, size), 0);
	return fd;
}

/* ---- processes ---- */

static pid_t spawn(char *const argv[], const char *log)
{
	char full[512];
	pid_t pid;
	int fd;

	path_of(full, sizeof(full), log);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	setpgid(0, 0);
	fd = open(full, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close_range(3, ~0u, 0);
	execv(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

static void write_bus_config(void)
{
	char text[2048];

	snprintf(text, sizeof(text),
		"<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\"\n"
		" \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
		"<busconfig><type>system</type><listen>%s</listen><auth>EXTERNAL</auth>\n"
		"<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/>\n"
		"<deny send_type=\"method_call\"/><allow send_type=\"signal\"/>\n"
		"<allow send_requested_reply=\"true\" send_type=\"method_return\"/>\n"
		"<allow send_requested_reply=\"true\" send_type=\"error\"/>\n"
		"<allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\n"
		"<allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\n"
		"<allow send_destination=\"org.freedesktop.DBus\"/></policy>\n"
		"<policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/>\n"
		"<allow send_destination=\"org.freedesktop.PolicyKit1\"/></policy>\n"
		"<include>%s</include></busconfig>\n",
		env_bus_address, DBUS_POLICY);
	put_file("bus.conf", text);
}

static bool vmmd_answers(void)
{
	DBusConnection *bus = bus_open();
	bool has = dbus_bus_name_has_owner(bus, NAME, NULL);

	bus_close(bus);
	return has;
}

void env_start_vmmd(void)
{
	char root[128], bus[160], worker[512];
	char *argv[] = { (char *)VMMD, (char *)"--spawn=direct", root, bus, worker,
		(char *)"--verbose", NULL };

	snprintf(root, sizeof(root), "--root=%s", env_root);
	snprintf(bus, sizeof(bus), "--bus=%s", env_bus_address);
	snprintf(worker, sizeof(worker), "--worker=%s", env_worker);
	vmmd_pid = spawn(argv, "vmmd.log");
	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		ck_assert_msg(waitpid(vmmd_pid, NULL, WNOHANG) == 0, "vmmd has ended");
		if (vmmd_answers())
			return;
		nap();
	}
	ck_abort_msg("vmmd does not take its name");
}

pid_t env_vmmd_pid(void)
{
	return vmmd_pid;
}

void env_kill_vmmd(void)
{
	/* Test processes are forked: only the one that started it can wait for it. */
	kill(vmmd_pid, SIGKILL);
	if (waitpid(vmmd_pid, NULL, 0) < 0)
		while (kill(vmmd_pid, 0) == 0 && vmmd_answers())
			nap();
}

char *env_log(void)
{
	char full[512];
	char *text = calloc(1, 1 << 20);
	int fd;

	path_of(full, sizeof(full), "vmmd.log");
	fd = open(full, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, text, (1 << 20) - 1), 0);
	close(fd);
	return text;
}

static void start_bus(void)
{
	char *argv[] = { (char *)DBUS_DAEMON, (char *)"--nofork", (char *)"--nopidfile", NULL,
		NULL };
	char config[128], path[128];

	snprintf(config, sizeof(config), "--config-file=%s/bus.conf", env_root);
	argv[3] = config;
	dbus_pid = spawn(argv, "dbus.log");
	path_of(path, sizeof(path), "bus");
	for (int i = 0; i < WAIT_MSEC / 10 && access(path, F_OK) < 0; i++)
		nap();
}

void env_kill_bus(void)
{
	char path[128];

	kill(dbus_pid, SIGKILL);
	waitpid(dbus_pid, NULL, 0);
	path_of(path, sizeof(path), "bus");
	unlink(path);
	start_bus();
	for (int i = 0; i < WAIT_MSEC / 10; i++) {
		if (vmmd_answers())
			return;
		nap();
	}
	ck_abort_msg("vmmd does not come back to the bus");
}

void env_start(void)
{

	strcpy(env_root, "/tmp/test-dbus-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(env_root));
	/* Clients of other users reach the bus. */
	ck_assert_int_eq(chmod(env_root, 0755), 0);
	snprintf(env_bus_address, sizeof(env_bus_address), "unix:path=%s/bus", env_root);
	put_file("kernel", "not a kernel, but a file\n");
	put_file("etc/vmm/keep", "");
	put_file("usr/lib/vmm/keep", "");
	put_file("run/vmm/keep", "");
	write_bus_config();
	start_bus();
	env_start_vmmd();
}

/* Workers that a failed test has left. */
static void kill_workers(void)
{
	CLEANUP(free_p) char *pattern = NULL;
	glob_t found;
	int pid;

	ck_assert_int_gt(asprintf(&pattern, "%s/run/vmmd/machine/*/state", env_root), 0);
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		FILE *f = fopen(found.gl_pathv[i], "r");
		char line[128];

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "PID=%d", &pid) == 1 && pid > 1)
				kill(pid, SIGKILL);
		if (f)
			fclose(f);
	}
	globfree(&found);
}

void expect_nothing_left(void)
{
	char command[256];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s/run/vmmd/machine)\"", env_root);
	ck_assert_int_eq(system(command), 0);
}

void env_stop(void)
{
	char command[256];
	int status;

	kill(vmmd_pid, SIGTERM);
	/* A leak that the sanitizer finds is a failure of the whole. */
	if (waitpid(vmmd_pid, &status, 0) == vmmd_pid &&
		!(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		CLEANUP(free_p) char *log = env_log();

		fprintf(stderr, "vmmd ended with wait status 0x%x:\n%s", status, log);
		exit(1);
	}
	kill(dbus_pid, SIGTERM);
	waitpid(dbus_pid, NULL, 0);
	kill_workers();
	if (getenv("KEEP"))
		return;
	snprintf(command, sizeof(command), "rm -r %s", env_root);
	ck_assert_int_eq(system(command), 0);
}
