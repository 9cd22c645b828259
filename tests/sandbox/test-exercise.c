/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A machine with each device, and a guest that uses all of them as a driver does (exercise.c): with
 * the sandbox closed nothing of it fails. test-needed.c counts which rules that takes.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../worker/test-worker.h"
#include "base/util.h"
#include "worker/message.h"

static pid_t helpers[8];
static size_t n_helpers;

/* A child that does it until it is killed. */
static void helper(void (*work)(int fd), int fd)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(fd);
		_exit(EXIT_FAILURE);
	}
	helpers[n_helpers++] = pid;
}

static int make_disk(const char *id)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", worker.directory, id);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	unlink(path);
	return fd;
}

static void add_disk(const char *id, uint32_t engine)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];
	int fd = make_disk(id);

	strcpy(drive->id, id);
	drive->engine = engine;
	drive->flags = VMM_DRIVE_DISCARD;
	drive->rate.ops = (struct vmm_spec_bucket){ .rate_per_second = 200, .burst = 1 };
	drive->fd = worker_add_fd(&worker, fd);
}

static struct vmm_spec_network *new_network(const char *id)
{
	struct vmm_spec_network *net = &worker.spec.networks[worker.spec.n_networks++];

	strcpy(net->id, id);
	net->mac[0] = 2;
	net->receive_rate.ops.rate_per_second = 1000;
	net->transmit_rate.ops = (struct vmm_spec_bucket){ .rate_per_second = 10, .burst = 2 };
	return net;
}

static int open_tap(char name[IFNAMSIZ])
{
	struct ifreq request = { .ifr_flags =
					 IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	memcpy(request.ifr_name, name, IFNAMSIZ);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
	memcpy(name, request.ifr_name, IFNAMSIZ);
	return fd;
}

/* Sends a frame into the tap now and then. */
static void send_frames(int fd)
{
	char frame[64] = { 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };

	for (;;) {
		send(fd, frame, sizeof(frame), MSG_DONTWAIT);
		usleep(20000);
	}
}

/* Two queue pairs, up, and somebody who sends. */
static void add_tap(void)
{
	struct vmm_spec_network *net = new_network("lan");
	char name[IFNAMSIZ] = "";
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq request = {};
	int fd;

	net->n_taps = 2;
	net->tap_fds[0] = worker_add_fd(&worker, open_tap(name));
	net->tap_fds[1] = worker_add_fd(&worker, open_tap(name));
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	ck_assert_int_ge(fd, 0);
	memcpy(request.ifr_name, name, IFNAMSIZ);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	address.sll_ifindex = (int)if_nametoindex(name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	helper(send_frames, fd);
	vmm_base_close(fd);
}

/* Whatever comes goes back. */
static void echo(int fd)
{
	char data[4096];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		if (send(fd, data, (size_t)n, MSG_NOSIGNAL) < 0)
			break;
	pause();
}

static void add_stream(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	new_network("user")->stream_fd = worker_add_fd(&worker, pair[0]);
	helper(echo, pair[1]);
	vmm_base_close(pair[1]);
}

/* The library's example of a back end, with the listening socket as a socket unit gives it. */
static void serve_disk(int fd)
{
	int disk = fcntl(make_disk("served"), F_DUPFD_CLOEXEC, 10);
	char number[16];

	snprintf(number, sizeof(number), "%d", (int)getpid());
	if (dup2(fd, 3) == 3 && dup2(disk, 4) == 4 && setenv("LISTEN_PID", number, 1) == 0 &&
		setenv("LISTEN_FDS", "1", 1) == 0)
		execl(getenv("VHOST_USER_BLK"), "vhost-user-blk", "-", "/proc/self/fd/4", NULL);
}

static void add_served_disk(void)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(sa_family_t);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	length = sizeof(address);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	helper(serve_disk, fd);
	vmm_base_close(fd);
	ck_assert_int_eq(connect(own, (struct sockaddr *)&address, length), 0);
	*drive = (struct vmm_spec_drive){ .id = "served", .flags = VMM_DRIVE_VHOST_USER };
	drive->fd = worker_add_fd(&worker, own);
}

static struct sockaddr_un vsock_address = { .sun_family = AF_UNIX };

static int listen_vsock(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(vsock_address.sun_path, sizeof(vsock_address.sun_path), "%s/vsock",
		worker.directory);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&vsock_address, sizeof(vsock_address)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* As vmmd answers a guest that wants to reach a port: a stream that gives back what it gets. */
static void answer_request(int control)
{
	struct vmm_control_vsock_answer answer;
	struct vmm_control_message message;
	int pair[2];

	do {
		ck_assert_int_eq(
			vmm_message_wait(control, POLLIN, vmm_message_deadline(20000000000)), 0);
		ck_assert_int_eq(vmm_control_receive_answer(control, &message), 0);
	} while (message.header.type != VMM_CONTROL_VSOCK_REQUEST);
	ck_assert_uint_eq(message.vsock_request.port, 7);
	answer.id = message.vsock_request.id;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_CONNECT_VSOCK, &answer,
				 sizeof(answer), pair[1], &message),
		0);
	helper(echo, pair[0]);
	vmm_base_close(pair[0]);
	vmm_base_close(pair[1]);
}

/* As a program of the host that wants to reach port 9 of the guest. */
static void call_guest(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[256];

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&vsock_address, sizeof(vsock_address)), 0);
	ck_assert_int_eq(send(fd, "CONNECT 9\n", 10, MSG_NOSIGNAL), 10);
	await_text(fd, text, sizeof(text), "OK ");
	ck_assert_int_eq(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
	await_text(fd, text, sizeof(text), "back");
	vmm_base_close(fd);
}

static void await_guest(const char *text)
{
	worker_await_output(&worker, text);
	ck_assert_msg(!strstr(worker.output, "FAILED"), "%s", worker.output);
}

static void finish(void)
{
	char path[128];

	while (n_helpers > 0)
		kill(helpers[--n_helpers], SIGKILL);
	snprintf(path, sizeof(path), "%s/vsock", worker.directory);
	unlink(path);
	teardown();
}

static void use_console(int control)
{
	char byte;
	int fd = open_console(control, 0, 0);

	ck_assert_int_eq(send(fd, "typed", 5, MSG_NOSIGNAL), 5);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	while (read(fd, &byte, 1) > 0)
		;
	vmm_base_close(fd);
}

/* Whether the guest likes it or not. */
static void detach(int control, const char *id, uint32_t kind)
{
	struct vmm_control_detach request = { .kind = kind, .flags = VMM_DETACH_FORCE };
	struct vmm_control_message reply;

	strcpy(request.id, id);
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_DETACH, &request,
				 sizeof(request), -EBADF, &reply),
		0);
}

static void attach(int control)
{
	struct vmm_spec_network network = { .id = "more", .mac = { 2 }, .n_taps = 1 };
	struct vmm_spec_drive drive = { .id = "more", .fd = 1 };
	struct vmm_control_message reply;
	char name[IFNAMSIZ] = "";
	int fd = open_tap(name), disk = make_disk("more");

	network.tap_fds[0] = 1;
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_ATTACH_NETWORK, &network,
				 sizeof(network), fd, &reply),
		0);
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_ATTACH_DRIVE, &drive,
				 sizeof(drive), disk, &reply),
		0);
	vmm_base_close(fd);
	vmm_base_close(disk);
	detach(control, "more", VMM_DEVICE_DRIVE);
}

START_TEST(every_device_is_used)
{
	int control;

	spin_after();
	worker_prepare(&worker, &guest);
	vmm_base_close(worker.fds[worker.spec.kernel_fd]);
	worker.fds[worker.spec.kernel_fd] = open(getenv("EXERCISE_ELF"), O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(worker.fds[worker.spec.kernel_fd], 0);
	worker.spec.n_cpus = 2;
	worker.spec.uid = worker.spec.gid = 65533;
	worker.spec.flags = VMM_SPEC_RNG | VMM_SPEC_BALLOON | VMM_SPEC_WATCHDOG;
	worker.spec.watchdog_action = VMM_WATCHDOG_FAIL;
	add_disk("ring", VMM_ENGINE_IO_URING);
	add_disk("threads", VMM_ENGINE_THREADS);
	if (_i) {
		worker.spec.flags |= VMM_SPEC_SHARED_MEMORY;
		add_served_disk();
	}
	add_tap();
	add_stream();
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_receive_rate.bytes.rate_per_second = 1000000;
	worker.spec.vsock_listen_fd = worker_add_fd(&worker, listen_vsock());
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	control = worker_connect(&worker);
	await_guest("balloon");
	answer_request(control);
	await_guest("connected");
	call_guest();
	await_guest("exercised");
	use_console(control);
	ck_assert_int_eq(worker_ask(&worker, control, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(worker_ask(&worker, control, VMM_CONTROL_RESUME), 0);
	/* One of each goes, with queues that are in use, and one more comes. */
	detach(control, "ring", VMM_DEVICE_DRIVE);
	detach(control, "threads", VMM_DEVICE_DRIVE);
	if (_i)
		detach(control, "served", VMM_DEVICE_DRIVE);
	detach(control, "lan", VMM_DEVICE_NETWORK);
	attach(control);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-exercise");
	TCase *tcase = unit_case(suite, "exercise");

	tcase_add_checked_fixture(tcase, setup, finish);
	/* With memory of its own, and with a memfd, which a balloon takes from in another way. */
	tcase_add_loop_test(tcase, every_device_is_used, 0, 2);
	return unit_run(suite);
}
