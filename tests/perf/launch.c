/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * launch: starts the shipped worker as vmmd --spawn=direct does, without vmmd's bus: this process
 * becomes the worker, and a child of it is the broker that hands the spec over and leaves. So the
 * pid that tests/bench knows is the monitor's. The line "EXEC NSEC" says when (CLOCK_MONOTONIC)
 * the worker's life began.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "worker/message.h"
#include "worker/protocol.h"

#define PATIENCE_NSEC UINT64_C(10000000000)

/* Who a worker becomes that starts as root: nobody's number, as vmmd's direct spawner has many. */
#define WORKER_UID 63000

static struct vmm_spec spec;
static int fds[VMM_HANDOVER_MAX_FDS] = { -EBADF };

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "launch: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static uint32_t add_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		fail(path, strerror(errno));
	fds[spec.n_fds] = fd;
	return spec.n_fds++;
}

static void add_drive(const char *path, uint32_t n_queues, uint32_t engine)
{
	struct vmm_spec_drive *drive = &spec.drives[spec.n_drives++];

	snprintf(drive->id, sizeof(drive->id), "d%" PRIu32, spec.n_drives);
	drive->fd = add_file(path, O_RDWR);
	drive->n_queues = n_queues;
	drive->engine = engine;
}

static uint32_t parse_engine(const char *name)
{
	if (strcmp(name, "io_uring") == 0)
		return VMM_ENGINE_IO_URING;
	return strcmp(name, "threads") == 0 ? VMM_ENGINE_THREADS : VMM_ENGINE_AUTO;
}

static void be_broker(int socket_fd)
{
	struct vmm_broker_hello hello;

	if (vmm_message_wait(socket_fd, POLLIN, vmm_message_deadline(PATIENCE_NSEC)) < 0 ||
		vmm_broker_receive_hello(socket_fd, &hello) < 0)
		fail("worker", "said no hello");
	if (vmm_broker_send_handover(socket_fd, &spec, fds, spec.n_fds, PATIENCE_NSEC) < 0)
		fail("worker", "did not take its spec");
	_exit(EXIT_SUCCESS);
}

static const char *worker = "";

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "worker", required_argument, NULL, 'w' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "memory", required_argument, NULL, 'm' },
		{ "drive", required_argument, NULL, 'd' },
		{ "queues", required_argument, NULL, 'q' },
		{ "engine", required_argument, NULL, 'e' },
		{ "mmio", no_argument, NULL, 't' },
		{ 0 },
	};
	uint32_t n_queues = 1, engine = VMM_ENGINE_AUTO;
	const char *drive = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'w':
			worker = optarg;
			break;
		case 'k':
			spec.kernel_fd = add_file(optarg, O_RDONLY);
			break;
		case 'c':
			snprintf(spec.command_line, sizeof(spec.command_line), "%s", optarg);
			break;
		case 'm':
			spec.memory_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'd':
			drive = optarg;
			break;
		case 'q':
			n_queues = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'e':
			engine = parse_engine(optarg);
			break;
		case 't':
			spec.transport = VMM_TRANSPORT_MMIO;
			break;
		default:
			exit(EXIT_FAILURE);
		}
	}
	if (drive)
		add_drive(drive, n_queues, engine);
}

int main(int argc, char **argv)
{
	char number[32];
	int broker[2];
	pid_t pid;

	vmm_spec_init(&spec, "bench");
	spec.n_fds = 1;
	spec.n_cpus = 1;
	spec.memory_bytes = 128 << 20;
	spec.uid = spec.gid = getuid() == 0 ? WORKER_UID : 0;
	spec.kvm_fd = add_file("/dev/kvm", O_RDWR);
	parse(argc, argv);

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker) < 0)
		fail("socketpair", strerror(errno));
	pid = fork();
	if (pid < 0)
		fail("fork", strerror(errno));
	if (pid == 0) {
		close(broker[1]);
		be_broker(broker[0]);
	}
	close(broker[0]);
	snprintf(number, sizeof(number), "--broker-fd=%d", fcntl(broker[1], F_DUPFD, 3));
	printf("EXEC %" PRIu64 "\n", vmm_base_now_nsec());
	fflush(stdout);
	execl(worker, "vmmd-worker", number, "bench", NULL);
	fail(worker, strerror(errno));
}
