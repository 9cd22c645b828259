/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmmd-worker: runs one virtual machine. It gets its specification and every descriptor from
 * vmmd (protocol.h), opens no path but its unit's credentials, builds the machine, closes its
 * sandbox and runs it.
 */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "worker/machine.h"
#include "worker/number.h"

/* vmmd may have to open disks on a slow file system before it answers. */
#define BROKER_TIMEOUT_NSEC UINT64_C(80000000000)

struct arguments {
	const char *name;
	const char *broker_path;
	int broker_fd; /* -EBADF: connect to broker_path */
	int netns_fd;  /* -EBADF: the sandbox makes one */
};

/* Zeroed pages of the program: nothing is copied, and what is not used is not resident. */
static struct machine machine;

static void print_usage(FILE *file)
{
	fputs("usage: vmmd-worker [--broker=PATH | --broker-fd=N] [--netns-fd=N] NAME\n"
	      "\n"
	      "Runs the virtual machine NAME. It is started by vmm@NAME.service, or by vmmd.\n"
	      "\n"
	      "  --broker=PATH    vmmd's socket (default: " VMM_BROKER_PATH ")\n"
	      "  --broker-fd=N    a connection to vmmd that this process was given\n"
	      "  --netns-fd=N     an empty network namespace to live in\n"
	      "  --help           show this text\n"
	      "  --version        show the version\n",
		file);
}

static int bad_usage(const char *text, const char *what)
{
	fprintf(stderr, "vmmd-worker: %s%s\n", text, what);
	return VMM_WORKER_EXIT_CONFIG;
}

static int parse_fd(const char *text, int *ret_fd)
{
	uint64_t number;

	if (number_parse(text, &number) < 0 || number > INT32_MAX)
		return -EINVAL;
	*ret_fd = (int)number;
	return 0;
}

/* -1: go on; else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{ "broker", required_argument, NULL, 'b' },
		{ "broker-fd", required_argument, NULL, 'f' },
		{ "netns-fd", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (option) {
		case 'b':
			arguments->broker_path = optarg;
			break;
		case 'f':
			if (parse_fd(optarg, &arguments->broker_fd) < 0)
				return bad_usage("--broker-fd: not a descriptor: ", optarg);
			break;
		case 'n':
			if (parse_fd(optarg, &arguments->netns_fd) < 0)
				return bad_usage("--netns-fd: not a descriptor: ", optarg);
			break;
		case 'h':
			print_usage(stdout);
			return 0;
		case 'v':
			puts("vmmd-worker " VMM_VERSION);
			return 0;
		default:
			return bad_usage("bad option, see --help: ", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return bad_usage("exactly one name of a machine is needed, see --help", "");
	arguments->name = argv[optind];
	if (!vmm_name_is_valid(arguments->name))
		return bad_usage("not a valid name of a machine: ", arguments->name);
	return -1;
}

/* ---- handshake ---- */

static int connect_broker(const char *path)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int shake_hands(const struct arguments *arguments)
{
	CLEANUP(close_p) int fd = arguments->broker_fd;
	struct vmm_handover *handover = &machine.handover;
	int r;

	if (fd < 0)
		fd = connect_broker(arguments->broker_path);
	if (fd < 0)
		return machine_fail_host(
			&machine, fd, "connecting to vmmd at %s", arguments->broker_path);
	r = vmm_broker_send_hello(fd, machine.name);
	if (r < 0)
		return machine_fail_host(&machine, r, "talking to vmmd");
	r = vmm_broker_receive_handover(fd, machine.name, BROKER_TIMEOUT_NSEC, handover);
	if (r < 0 && handover->text[0])
		return machine_fail_config(&machine, "%s", handover->text);
	if (r < 0)
		return machine_fail_host(&machine, r, "waiting for vmmd's answer");
	if (handover->refused) {
		snprintf(machine.failure, sizeof(machine.failure), "%s", handover->text);
		return handover->exit_status;
	}
	machine.spec = handover->spec;
	return 0;
}

/* ---- phases ---- */

static int run_phases(void)
{
	static int (*const phases[])(struct machine * machine) = {
		machine_check_support,
		machine_read_credentials,
		sandbox_enter,
		machine_prepare_run,
		machine_add_memory,
		machine_create_vm,
		machine_add_platform,
		machine_add_virtio,
		machine_write_tables,
		machine_load_kernel,
		control_start,
		vcpus_start,
		hotplug_start,
		sandbox_seal,
		machine_run,
	};
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		status = phases[i](&machine);
		if (status != 0)
			return status;
	}
	return 0;
}

/* Whatever is missing of the three standard descriptors would be another one's number soon. */
static int fill_standard_fds(void)
{
	int fds[2];

	for (;;) {
		if (pipe(fds) < 0)
			return -errno;
		if (fds[0] > STDERR_FILENO && fds[1] > STDERR_FILENO)
			break;
	}
	close(fds[1]);
	/* Nothing is read from standard input: an empty one. */
	if (dup2(fds[0], STDIN_FILENO) < 0)
		return -errno;
	close(fds[0]);
	return 0;
}

static void on_early_stop(int signal)
{
	_exit(VMM_WORKER_EXIT_POWEROFF);
}

/*
 * Until the loop takes signals there is no guest to be asked. Not the default action, which the
 * first process of a namespace does not have; whoever starts one keeps the signal blocked.
 */
static void allow_early_stop(void)
{
	struct sigaction action = { .sa_handler = on_early_stop };
	sigset_t mask;

	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {
		.broker_path = VMM_BROKER_PATH,
		.broker_fd = -EBADF,
		.netns_fd = -EBADF,
	};
	int status;

	allow_early_stop();
	machine.start_nsec = vmm_base_now_nsec();
	/* One heap: threads allocate seldom, and each other one would cost pages and mprotect(). */
	mallopt(M_ARENA_MAX, 1);
	status = parse_arguments(argc, argv, &arguments);
	if (status >= 0)
		return status;
	machine.name = arguments.name;
	life_init(&machine.life);
	log_open(&machine.log, machine.name);
	if (fill_standard_fds() < 0 || sandbox_init(&machine.sandbox) < 0 ||
		notify_open(&machine.notify) < 0)
		return bad_usage(
			"the environment is not usable: VMMD_SECCOMP or NOTIFY_SOCKET", "");
	machine.sandbox.netns_fd = arguments.netns_fd;

	status = shake_hands(&arguments);
	if (status == 0)
		status = run_phases();
	/* A machine that ran has said why it ended. */
	if (machine.failure[0]) {
		notify_send(&machine.notify, "STATUS=%.400s", machine.failure);
		log_last_words(&machine.log, "%s", machine.failure);
	}
	/* Threads may still be in the middle of something that the end of the process ends. */
	_exit(status);
}
