/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * creation: starts many machines, some at a time, and says how fast:
 *
 *	creation [options of launch] --count=N --in-flight=N [--keep=1] [--bare=1] [-- CMD ARG...]
 *
 * A machine is a worker that is started as vmmd --spawn=direct does, with this broker; or CMD; or
 *with
 * --bare a fork of this process that makes a VM with memory, interrupt controllers and a vCPU,
 * and nothing else. It counts as started when its first byte of output came, and is killed then;
 * the next one starts when its process is gone. Prints "RATE", machines a second, and
 * "CPU", milliseconds a machine of all those processes. With --keep they stay: "PID N" for each,
 * "ALL", and the end comes with that of standard input.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/util.h"
#include "perf/launch.h"
#include "worker/start.h"

#define MAX_MACHINES 4096

enum { COUNT, IN_FLIGHT, KEEP, BARE, N_NUMBERS };

struct one {
	pid_t pid;
	int output_fd;
	int broker_fd; /* -EBADF: the spec was handed over */
	bool started;
};

static struct launch launch = { .worker = "" };
static unsigned long numbers[N_NUMBERS] = { 1, 1 };
static char **command;
static struct one machines[MAX_MACHINES];
static int epoll_fd, null_fd;

static void must(bool ok, const char *what)
{
	if (!ok)
		launch_fail(what, strerror(errno));
}

/* What no monitor can do without, in the order that costs least. */
static _Noreturn void be_bare(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = launch.spec.memory_bytes };
	void *memory = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int vm;

	slot.userspace_addr = (uint64_t)memory;
	must(memory != MAP_FAILED, "memory");
	vm = ioctl(launch.fds[launch.spec.kvm_fd], KVM_CREATE_VM, 0);
	must(vm >= 0, "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) == 0, "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0, "memory slot");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0) == 0, "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_CREATE_VCPU, 0) >= 0, "KVM_CREATE_VCPU");
	must(write(STDOUT_FILENO, "!\n", 2) == 2, "output");
	for (;;)
		pause();
}

static _Noreturn void be_other(int output_fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null_fd, STDIN_FILENO);
	dup2(output_fd, STDOUT_FILENO);
	dup2(null_fd, STDERR_FILENO);
	if (numbers[BARE])
		be_bare();
	execvp(command[0], command);
	launch_fail(command[0], strerror(errno));
}

static pid_t start_process(int output_fd, int broker_fd)
{
	struct worker_start start = {
		.program = launch.worker,
		.name = launch.spec.name,
		.broker_fd = broker_fd,
		.netns_fd = launch.netns_fd,
		.output_fd = output_fd,
		.error_fd = null_fd,
	};
	pid_t pid;

	if (broker_fd >= 0)
		return worker_start(&start, &pid) < 0 ? -1 : pid;
	pid = fork();
	if (pid == 0)
		be_other(output_fd);
	return pid;
}

static void watch(int fd, struct one *one)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = one };

	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

/* A child may have the same open file, so that closing it would not end the watch. */
static int unwatch(int fd)
{
	must(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0, "epoll");
	return vmm_base_close(fd);
}

static void start(struct one *one)
{
	int output[2], broker[2] = { -EBADF, -EBADF };

	must(pipe2(output, O_CLOEXEC) == 0, "pipe");
	if (!command && !numbers[BARE])
		must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker) == 0, "socket");
	*one = (struct one){ .output_fd = output[0], .broker_fd = broker[0] };
	one->pid = start_process(output[1], broker[1]);
	must(one->pid >= 0, "fork");
	close(output[1]);
	watch(one->output_fd, one);
	if (one->broker_fd >= 0) {
		close(broker[1]);
		watch(one->broker_fd, one);
	}
}

/* Something came. Whether the process is over. */
static bool serve(struct one *one)
{
	char data[4096];
	ssize_t n;

	if (one->broker_fd >= 0) {
		launch_hand_over(&launch, one->broker_fd);
		one->broker_fd = unwatch(one->broker_fd);
		return false;
	}
	n = read(one->output_fd, data, sizeof(data));
	if (n > 0) {
		if (!one->started && !numbers[KEEP])
			kill(one->pid, SIGKILL);
		one->started = true;
		return false;
	}
	if (!one->started)
		launch_fail("machine", "it ended before it ran");
	one->output_fd = unwatch(one->output_fd);
	waitpid(one->pid, NULL, 0);
	return true;
}

static unsigned long n_running(unsigned long n_begun)
{
	unsigned long n = 0;

	for (unsigned long i = 0; i < n_begun; i++)
		n += machines[i].started;
	return n;
}

/* All of them start, and with it stay. */
static void run(void)
{
	unsigned long n_begun = 0, n_done = 0, n_finished = 0;

	while (n_finished < numbers[COUNT]) {
		struct epoll_event events[64];
		int n;

		while (n_begun < numbers[COUNT] && n_begun - n_finished < numbers[IN_FLIGHT])
			start(&machines[n_begun++]);
		n = epoll_wait(epoll_fd, events, ARRAY_SIZE(events), 60000);
		must(n > 0, "waiting");
		for (int i = 0; i < n; i++)
			n_done += serve(events[i].data.ptr);
		n_finished = numbers[KEEP] ? n_running(n_begun) : n_done;
	}
}

static void keep(void)
{
	char byte;

	for (unsigned long i = 0; i < numbers[COUNT]; i++)
		printf("PID %d\n", machines[i].pid);
	puts("ALL");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (unsigned long i = 0; i < numbers[COUNT]; i++)
		kill(machines[i].pid, SIGKILL);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "count", "in-flight", "keep", "bare", NULL };
	struct rusage usage;
	uint64_t start_nsec;
	int n;

	n = launch_parse(&launch, argc, argv, names, numbers);
	command = n < argc ? argv + n : NULL;
	if (numbers[COUNT] > MAX_MACHINES || numbers[IN_FLIGHT] == 0)
		launch_fail("count", "too large, or nothing in flight");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	must(epoll_fd >= 0, "epoll");
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(null_fd >= 0, "/dev/null");
	start_nsec = vmm_base_now_nsec();
	run();
	printf("RATE %.2f\n",
		(double)numbers[COUNT] * 1e9 / (double)(vmm_base_now_nsec() - start_nsec));
	if (numbers[KEEP])
		keep();
	getrusage(RUSAGE_CHILDREN, &usage);
	printf("CPU %.3f\n",
		((double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
			(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3) /
			(double)numbers[COUNT]);
	return EXIT_SUCCESS;
}
