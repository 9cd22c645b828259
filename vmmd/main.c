/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmmd: runs virtual machines as services: command line, set-up, the loop; see vmmd(8). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/util.h"
#include "broker.h"
#include "bus.h"
#include "idle.h"
#include "log.h"
#include "spawn.h"
#include "worker/protocol.h"

struct options {
	struct manager_options manager;
	const char *bus;
	const char *broker;
	uint64_t idle_usec; /* 0: never */
	bool verbose;
};

static void usage(FILE *stream)
{
	fputs("usage: vmmd [OPTION...]\n"
	      "\n"
	      "Runs the virtual machines of /etc/vmm, /run/vmm and /usr/lib/vmm as services.\n"
	      "\n"
	      "  --spawn=systemd   workers are vmm@NAME.service (default)\n"
	      "  --spawn=direct    workers are children, where there is no systemd\n"
	      "  --bus=BUS         system (default), session, or a D-Bus address\n"
	      "  --broker=PATH     socket for workers, unless systemd passes one\n"
	      "                    (default: " VMM_BROKER_PATH ")\n"
	      "  --worker=PATH     the worker's program, with --spawn=direct\n"
	      "                    (default: " PKGLIBEXECDIR "/vmmd-worker)\n"
	      "  --idle=SEC        end when no machine runs and nobody has asked for SEC seconds, if\n"
	      "                    systemd passes the socket, and so starts it again\n"
	      "  --root=DIR        look below DIR for etc/vmm, run/vmm, usr/lib/vmm and run/vmmd\n"
	      "  -v, --verbose     log more\n"
	      "  -h, --help        print this\n"
	      "      --version     print the version\n",
		stream);
}

/* Up to a day. */
static int parse_seconds(const char *text, uint64_t *ret_usec)
{
	char *end;
	unsigned long seconds;

	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || seconds > 24 * 3600) {
		fprintf(stderr, "vmmd: --idle=%s: a number of seconds, at most a day\n", text);
		return -EINVAL;
	}
	*ret_usec = seconds * UINT64_C(1000000);
	return 0;
}

/* 0: go on; 1: all was said; negative: wrong. */
static int parse_options(int argc, char *argv[], struct options *options)
{
	enum { OPT_VERSION = 256, OPT_SPAWN, OPT_BUS, OPT_BROKER, OPT_WORKER, OPT_ROOT, OPT_IDLE };
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "verbose", no_argument, NULL, 'v' },
		{ "spawn", required_argument, NULL, OPT_SPAWN },
		{ "bus", required_argument, NULL, OPT_BUS },
		{ "broker", required_argument, NULL, OPT_BROKER },
		{ "worker", required_argument, NULL, OPT_WORKER },
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "idle", required_argument, NULL, OPT_IDLE },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "hv", longs, NULL)) >= 0) {
		switch (c) {
		case 'h':
			usage(stdout);
			return 1;
		case OPT_VERSION:
			puts("vmmd " VMM_VERSION);
			return 1;
		case 'v':
			options->verbose = true;
			break;
		case OPT_SPAWN:
			if (strcmp(optarg, "systemd") == 0) {
				options->manager.spawner = &spawner_systemd;
			} else if (strcmp(optarg, "direct") == 0) {
				options->manager.spawner = &spawner_direct;
			} else {
				fprintf(stderr, "vmmd: --spawn=%s: systemd or direct\n", optarg);
				return -EINVAL;
			}
			break;
		case OPT_BUS:
			options->bus = optarg;
			break;
		case OPT_BROKER:
			options->broker = optarg;
			break;
		case OPT_WORKER:
			options->manager.worker = optarg;
			break;
		case OPT_IDLE:
			if (parse_seconds(optarg, &options->idle_usec) < 0)
				return -EINVAL;
			break;
		case OPT_ROOT:
			if (optarg[0] != '/' || optarg[strlen(optarg) - 1] == '/') {
				fprintf(stderr,
					"vmmd: --root=%s: an absolute path without a / at its "
					"end\n",
					optarg);
				return -EINVAL;
			}
			options->manager.root = optarg;
			break;
		default:
			fputs("Try vmmd --help.\n", stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "vmmd: takes no argument \"%s\". Try vmmd --help.\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* The broker's socket: systemd's, which outlives us, else one of our own. */
static int open_broker(const char *path, int *ret_fd, bool *ret_passed)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = sd_listen_fds(true);

	if (n > 1) {
		log_error("systemd passes %d sockets, expected the broker's", n);
		return -EINVAL;
	}
	if (n == 1) {
		fd = SD_LISTEN_FDS_START;
		if (sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
			log_error("the socket from systemd is not a ListenSequentialPacket= one");
			return -EINVAL;
		}
		*ret_fd = TAKE_FD(fd);
		*ret_passed = true;
		return 0;
	}
	if (strlen(path) >= sizeof(address.sun_path)) {
		log_error("%s: too long for a socket", path);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	/* Whoever may connect: who it is decides. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
		listen(fd, BROKER_MAX_CONNECTIONS) < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	int r;

	sd_notify(false, "RELOADING=1");
	r = manager_reload(userdata);
	if (r < 0)
		log_error("reload: %s", strerror(-r));
	sd_notify(false, "READY=1");
	return 0;
}

static int set_up_signals(sd_event *event, struct manager *manager)
{
	sigset_t blocked;
	int r;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	/* Without a handler: they end the loop. */
	r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGHUP, on_sighup, manager);
	return r;
}

static void event_unref_p(sd_event **event)
{
	sd_event_unref(*event);
}

static void manager_free_p(struct manager **manager)
{
	manager_free(*manager);
}

static void bus_free_p(struct bus **bus)
{
	bus_free(*bus);
}

static int run(const struct options *options)
{
	CLEANUP(event_unref_p) sd_event *event = NULL;
	CLEANUP(bus_free_p) struct bus *bus = NULL;
	CLEANUP(manager_free_p) struct manager *manager = NULL;
	CLEANUP(idle_finish) struct idle idle = {};
	CLEANUP(close_p) int broker_fd = -EBADF;
	bool is_passed = false;
	int r;

	r = sd_event_new(&event);
	if (r >= 0)
		r = manager_new(event, &options->manager, &manager);
	if (r >= 0)
		r = set_up_signals(event, manager);
	if (r >= 0)
		r = manager_start(manager);
	if (r >= 0 && !manager->broker) {
		r = open_broker(options->broker, &broker_fd, &is_passed);
		if (r >= 0)
			r = broker_new(manager, &broker_fd, &manager->broker);
	}
	/* The machines that run are known by now: clients find them all. */
	if (r >= 0)
		r = bus_new(manager, options->bus, &bus);
	if (r >= 0)
		r = bus_connect(bus);
	if (r >= 0)
		r = sd_event_set_watchdog(event, true);
	if (r >= 0 && is_passed && options->idle_usec > 0)
		r = idle_start(&idle, bus, options->idle_usec);
	if (r < 0)
		return r;
	sd_notifyf(false, "READY=1\nSTATUS=%zu machines, %u run", manager->n_machines,
		manager_n_running(manager));
	log_info("%zu machines, %u run", manager->n_machines, manager_n_running(manager));
	r = sd_event_loop(event);
	sd_notify(false, "STOPPING=1");
	return r;
}

int main(int argc, char *argv[])
{
	struct options options = {
		.manager = { .spawner = &spawner_systemd, .worker = PKGLIBEXECDIR "/vmmd-worker" },
		.broker = VMM_BROKER_PATH,
	};
	int r;

	r = parse_options(argc, argv, &options);
	if (r != 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	log_open(options.verbose);
	r = run(&options);
	if (r < 0)
		log_error("ends: %s", strerror(-r));
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
