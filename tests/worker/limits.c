/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The limits of all devices at once, over ten seconds, with a guest (tests/guest/limits.c) that
 * asks for more: what goes by is within 2 % of each. The clock is the host's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../guest/limits.h"
#include "base/util.h"
#include "test-worker.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define MEASURE_NSEC (10 * SECOND_NSEC)
#define SKIP_NSEC SECOND_NSEC /* what was saved up at the start is gone then */
#define ALLOWED_PERCENT 2.0
#define TRIES 3 /* another program can keep a machine from serving in time */

static const char *const names[N_LIMITS] = { "disk, bytes", "disk, requests", "received bytes",
	"transmitted bytes", "received packets", "transmitted packets", "vsock, to the guest",
	"vsock, from the guest", "rng", "console" };

/* One that repeats a frame behind its length, or any bytes, for ever, and takes all that comes. */
struct peer {
	int fd;
	const char *data;
	size_t size, at;
};

static struct laps {
	uint64_t first_nsec, last_nsec;
	unsigned int n; /* from the first to the last */
} laps[N_LIMITS];

static struct vmm_spec_rate bytes_of(enum limit limit)
{
	return (struct vmm_spec_rate){ .bytes.rate_per_second = limit_rates[limit] };
}

static struct vmm_spec_rate ops_of(enum limit limit)
{
	return (struct vmm_spec_rate){ .ops.rate_per_second = limit_rates[limit] };
}

static void add_limited_drive(const char *id, struct vmm_spec_rate rate)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];
	int fd = memfd_create(id, MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	strcpy(drive->id, id);
	drive->fd = worker_add_fd(&worker, fd);
	drive->rate = rate;
}

/* Returns this end. */
static int add_limited_network(
	const char *id, struct vmm_spec_rate receive, struct vmm_spec_rate transmit)
{
	struct vmm_spec_network *network = &worker.spec.networks[worker.spec.n_networks++];
	int pair[2];

	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	strcpy(network->id, id);
	network->mac[0] = 2;
	network->mac[5] = (uint8_t)worker.spec.n_networks;
	network->stream_fd = worker_add_fd(&worker, pair[1]);
	network->receive_rate = receive;
	network->transmit_rate = transmit;
	return pair[0];
}

static int connect_to_guest(const struct sockaddr_un *address, socklen_t length)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[64];
	int n = snprintf(text, sizeof(text), "CONNECT %u\n", VSOCK_PORT);

	ck_assert_int_eq(connect(fd, (const struct sockaddr *)address, length), 0);
	ck_assert_int_eq(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
	/* No more than that line: data may follow at once. */
	for (size_t i = 0; i == 0 || text[i - 1] != '\n'; i++) {
		ck_assert_uint_lt(i, sizeof(text));
		ck_assert_int_eq(read(fd, &text[i], 1), 1);
	}
	ck_assert_int_eq(strncmp(text, "OK ", 3), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void exchange(struct peer *peer, short events)
{
	static char bytes[65536];

	if (events & POLLIN)
		ck_assert_int_gt(read(peer->fd, bytes, sizeof(bytes)), 0);
	while (events & POLLOUT) {
		ssize_t n = send(peer->fd, peer->data + peer->at, peer->size - peer->at,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			break;
		}
		peer->at = (peer->at + (size_t)n) % peer->size;
	}
}

static void count(int console_fd, uint64_t begin_nsec)
{
	static char text[65536];
	ssize_t size = read(console_fd, text, sizeof(text));
	uint64_t now_nsec = vmm_base_now_nsec();

	ck_assert_int_gt(size, 0);
	for (ssize_t i = 0; i < size; i++) {
		struct laps *lap;

		ck_assert_msg(text[i] != '\n', "the guest: %.*s", (int)size, text);
		if (text[i] < FIRST_LETTER || text[i] >= FIRST_LETTER + N_LIMITS ||
			now_nsec < begin_nsec + SKIP_NSEC)
			continue;
		lap = &laps[text[i] - FIRST_LETTER];
		if (lap->first_nsec == 0)
			lap->first_nsec = now_nsec;
		else
			lap->n++;
		lap->last_nsec = now_nsec;
	}
}

/* How far off they are in percent, downwards and upwards. */
static void judge(double *ret_least, double *ret_most)
{
	*ret_least = *ret_most = 0;
	for (size_t i = 0; i < N_LIMITS; i++) {
		const struct laps *lap = &laps[i];
		double seconds = (double)(lap->last_nsec - lap->first_nsec) / SECOND_NSEC;
		double error = lap->n ? (lap->n / (LAPS_A_SECOND * seconds) - 1) * 100 : -100;

		printf("%-22s %8u a second: %+.2f %% over %.1f s\n", names[i], limit_rates[i],
			error, seconds);
		*ret_least = MIN(*ret_least, error);
		*ret_most = MAX(*ret_most, error);
	}
}

static void measure(struct peer *peers, size_t n_peers, int console_fd)
{
	uint64_t begin_nsec = vmm_base_now_nsec(), now_nsec = begin_nsec;
	struct pollfd fds[8] = { { .fd = console_fd, .events = POLLIN } };

	memset(laps, 0, sizeof(laps));
	for (size_t i = 0; i < n_peers; i++)
		fds[i + 1] = (struct pollfd){ .fd = peers[i].fd, .events = POLLIN | POLLOUT };
	/* A lap more, so that each has ten seconds of its own. */
	while (now_nsec < begin_nsec + SKIP_NSEC + MEASURE_NSEC + 2 * SECOND_NSEC / LAPS_A_SECOND) {
		ck_assert_int_gt(poll(fds, n_peers + 1, 5000), 0);
		for (size_t i = 0; i < n_peers; i++)
			exchange(&peers[i], fds[i + 1].revents);
		if (fds[0].revents)
			count(console_fd, begin_nsec);
		now_nsec = vmm_base_now_nsec();
	}
}

START_TEST(limits_of_all_devices)
{
	static char frame[4 + FRAME_BYTES] = { 0, 0, FRAME_BYTES >> 8, FRAME_BYTES & 0xff };
	struct sockaddr_un address;
	socklen_t length;
	struct peer peers[3];
	double least, most;
	int console_fd;
	char text[256];

	spin_after();
	worker_prepare(&worker, &guest);
	worker_take_kernel(&worker, "LIMITS_ELF");
	worker.spec.transport = VMM_TRANSPORT_MMIO;
	worker.spec.flags |= VMM_SPEC_RNG | VMM_SPEC_VIRTIO_CONSOLE | VMM_SPEC_NO_CONSOLE_LOG;
	add_limited_drive("bytes", bytes_of(DISK_BYTES));
	add_limited_drive("ops", ops_of(DISK_OPS));
	peers[0].fd =
		add_limited_network("bytes", bytes_of(RECEIVE_BYTES), bytes_of(TRANSMIT_BYTES));
	peers[1].fd = add_limited_network("ops", ops_of(RECEIVE_PACKETS), ops_of(TRANSMIT_PACKETS));
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_listen_fd = worker_add_fd(&worker, listen_somewhere(&address, &length));
	worker.spec.vsock_receive_rate = bytes_of(VSOCK_RECEIVE_BYTES);
	worker.spec.vsock_transmit_rate = bytes_of(VSOCK_TRANSMIT_BYTES);
	worker.spec.rng_rate = bytes_of(RNG_BYTES);
	worker.spec.console_rate = bytes_of(CONSOLE_BYTES);
	/* Who gets no time asks for less than the limits: its worker inherits that, where it may
	 * be. */
	setpriority(PRIO_PROCESS, 0, -20);
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	console_fd = open_console(worker_connect(&worker), VMM_CONSOLE_REPLAY, 0);
	await_text(console_fd, text, sizeof(text), "go\n");
	peers[2].fd = connect_to_guest(&address, length);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		peers[i].data = frame;
		peers[i].size = sizeof(frame);
		peers[i].at = 0;
	}
	for (int try = 0; try < TRIES; try++) {
		measure(peers, ARRAY_SIZE(peers), console_fd);
		judge(&least, &most);
		/* Nothing excuses more. */
		ck_assert_double_le(most, ALLOWED_PERCENT);
		if (least >= -ALLOWED_PERCENT)
			break;
	}
	ck_assert_double_ge(least, -ALLOWED_PERCENT);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		vmm_base_close(peers[i].fd);
	vmm_base_close(console_fd);
}
END_TEST

void add_limit_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "limits");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, limits_of_all_devices);
}
