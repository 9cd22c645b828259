/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* launch: the spec from options, and the worker's exec. See launch.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "perf/launch.h"
#include "worker/message.h"
#include "worker/netns.h"

#define PATIENCE_NSEC UINT64_C(20000000000)
#define MAX_OPTIONS 24

/* Who a worker becomes that starts as root: nobody's number, as vmmd's direct spawner has many. */
#define WORKER_UID 63000

#define GUEST_CID 3

_Noreturn void launch_fail(const char *what, const char *why)
{
	fprintf(stderr, "launch: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static uint32_t add_fd(struct launch *launch, int fd)
{
	launch->fds[launch->spec.n_fds] = fd;
	return launch->spec.n_fds++;
}

static uint32_t add_file(struct launch *launch, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		launch_fail(path, strerror(errno));
	return add_fd(launch, fd);
}

static void add_drive(
	struct launch *launch, const char *path, uint32_t n_queues, const char *engine)
{
	struct vmm_spec_drive *drive = &launch->spec.drives[launch->spec.n_drives++];

	snprintf(drive->id, sizeof(drive->id), "d%" PRIu32, launch->spec.n_drives);
	drive->fd = add_file(launch, path, O_RDWR);
	drive->n_queues = n_queues;
	if (strcmp(engine, "io_uring") == 0)
		drive->engine = VMM_ENGINE_IO_URING;
	else if (strcmp(engine, "threads") == 0)
		drive->engine = VMM_ENGINE_THREADS;
}

/* A tap that is there already, with offload headers. */
static void add_tap(struct launch *launch, const char *name)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0, 0, 0, 1 };
	struct vmm_spec_network *network = &launch->spec.networks[launch->spec.n_networks++];
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		launch_fail("/dev/net/tun", strerror(errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		launch_fail(name, strerror(errno));
	snprintf(network->id, sizeof(network->id), "n%" PRIu32, launch->spec.n_networks);
	memcpy(network->mac, mac, sizeof(mac));
	network->n_taps = 1;
	network->tap_fds[0] = add_fd(launch, fd);
}

/* A socket for clients of the guest's ports, at a path where there is none yet. */
static void add_vsock(struct launch *launch, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		launch_fail(path, fd < 0 ? strerror(errno) : "is too long");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
		launch_fail(path, strerror(errno));
	launch->spec.vsock_cid = GUEST_CID;
	launch->spec.vsock_listen_fd = add_fd(launch, fd);
}

int launch_parse(struct launch *launch, int argc, char **argv, const char *const *more,
	unsigned long *numbers)
{
	struct option options[MAX_OPTIONS] = {
		{ "worker", required_argument, NULL, 'w' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "memory", required_argument, NULL, 'm' },
		{ "drive", required_argument, NULL, 'd' },
		{ "queues", required_argument, NULL, 'q' },
		{ "engine", required_argument, NULL, 'e' },
		{ "tap", required_argument, NULL, 'n' },
		{ "vsock", required_argument, NULL, 'v' },
		{ "mmio", no_argument, NULL, 't' },
	};
	struct vmm_spec *spec = &launch->spec;
	const char *drive = NULL, *engine = "auto";
	uint32_t n_queues = 1;
	int option, n = 11;

	if (vmm_netns_new(&launch->netns_fd) < 0)
		launch->netns_fd = -EBADF;
	for (int i = 0; more && more[i]; i++)
		options[n++] = (struct option){ more[i], required_argument, NULL, 256 + i };
	vmm_spec_init(spec, "bench");
	spec->n_fds = 1;
	spec->n_cpus = 1;
	spec->memory_bytes = 128 << 20;
	spec->uid = spec->gid = getuid() == 0 ? WORKER_UID : 0;
	spec->kvm_fd = add_file(launch, "/dev/kvm", O_RDWR);
	while ((option = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		switch (option) {
		case 'w':
			launch->worker = optarg;
			break;
		case 'k':
			spec->kernel_fd = add_file(launch, optarg, O_RDONLY);
			break;
		case 'i':
			spec->initrd_fd = add_file(launch, optarg, O_RDONLY);
			break;
		case 'c':
			snprintf(spec->command_line, sizeof(spec->command_line), "%s", optarg);
			break;
		case 'm':
			spec->memory_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'd':
			drive = optarg;
			break;
		case 'q':
			n_queues = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'e':
			engine = optarg;
			break;
		case 'n':
			add_tap(launch, optarg);
			break;
		case 'v':
			add_vsock(launch, optarg);
			break;
		case 't':
			spec->transport = VMM_TRANSPORT_MMIO;
			break;
		default:
			if (option < 256)
				exit(EXIT_FAILURE);
			numbers[option - 256] = strtoul(optarg, NULL, 10);
			break;
		}
	}
	if (drive)
		add_drive(launch, drive, n_queues, engine);
	return optind;
}

void launch_hand_over(const struct launch *launch, int socket_fd)
{
	struct vmm_broker_hello hello;

	if (vmm_message_wait(socket_fd, POLLIN, vmm_message_deadline(PATIENCE_NSEC)) < 0 ||
		vmm_broker_receive_hello(socket_fd, &hello) < 0)
		launch_fail("worker", "said no hello");
	if (vmm_broker_send_handover(
		    socket_fd, &launch->spec, launch->fds, launch->spec.n_fds, PATIENCE_NSEC) < 0)
		launch_fail("worker", "did not take its spec");
}

_Noreturn void launch_exec(const struct launch *launch, int broker_fd)
{
	char number[32], netns[32];
	char *argv[5] = { (char *)"vmmd-worker", number };
	size_t n = 2;

	snprintf(number, sizeof(number), "--broker-fd=%d", fcntl(broker_fd, F_DUPFD, 3));
	if (launch->netns_fd >= 0) {
		snprintf(
			netns, sizeof(netns), "--netns-fd=%d", fcntl(launch->netns_fd, F_DUPFD, 3));
		argv[n++] = netns;
	}
	argv[n] = (char *)launch->spec.name;
	execv(launch->worker, argv);
	launch_fail(launch->worker, strerror(errno));
}
