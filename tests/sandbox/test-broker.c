/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The broker of vmmd, in this process, and those who lie to it: strangers by the thousand on its
 * socket, and workers whose greetings are of another machine, of any length, full of descriptors,
 * or never come. Each is refused or cut off; nothing of it stays.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "../unit/unit.h"
#include "base/util.h"
#include "broker.h"
#include "machine.h"
#include "spawn.h"
#include "worker/protocol.h"

#define N_STRANGERS 2000
#define N_DESCRIPTORS 250 /* a message; the kernel takes no more than 253 */

static char root[] = "/tmp/vmmd-test-broker.XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static sd_event *event;
static struct manager *manager;
static struct broker *broker;
static unsigned int n_fds_before;

static unsigned int count_fds(void)
{
	struct dirent *entry;
	unsigned int n = 0;
	DIR *directory = opendir("/proc/self/fd");

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

static void turn(void)
{
	ck_assert_int_ge(sd_event_run(event, 10000), 0);
}

/* The loop makes descriptors of its own for its first timer. */
static void warm_up(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	for (int i = 0; i < 10; i++)
		turn();
	close(fd);
}

static void setup(void)
{
	struct manager_options options = {
		.root = root,
		.worker = "/nonexistent",
		.spawner = &spawner_direct,
	};
	sigset_t blocked;
	int fd;

	strcpy(root + strlen(root) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_ge(manager_new(event, &options, &manager), 0);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/broker.sock", root);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 128), 0);
	ck_assert_int_ge(broker_new(manager, &fd, &broker), 0);
	warm_up();
	n_fds_before = count_fds();
}

static void teardown(void)
{
	broker_free(broker);
	manager_free(manager);
	sd_event_unref(event);
	unlink(address.sun_path);
	rmdir(root);
}

/* ---- strangers ---- */

/* Connects and talks; true where it was told no more than that it is not known, and cut off. */
static bool is_refused(unsigned int number)
{
	CLEANUP(close_p) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char data[8192];
	ssize_t n;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return false;
	/* Some greet properly, some not at all, some leave at once. */
	if (number % 3 == 0)
		vmm_broker_send_hello(fd, "target");
	if (number % 5 == 0)
		return true;
	n = recv(fd, data, sizeof(data), 0);
	/* Closed with our greeting unread: the kernel may say so. */
	if (n < 0)
		return errno == ECONNRESET;
	if (!memmem(data, (size_t)n, "does not know this process", 26))
		return false;
	n = recv(fd, data, sizeof(data), 0);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

START_TEST(test_strangers)
{
	unsigned int n_most = 0;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (unsigned int i = 0; i < N_STRANGERS; i++)
			if (!is_refused(i))
				_exit(1);
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		turn();
		n_most = MAX(n_most, count_fds());
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "0x%x", (unsigned int)status);
	for (int i = 0; i < 50 && count_fds() > n_fds_before; i++)
		turn();
	ck_assert_uint_eq(count_fds(), n_fds_before);
	ck_assert_uint_le(n_most, n_fds_before + BROKER_MAX_CONNECTIONS);
	/* None of it is a machine now. */
	ck_assert_uint_eq(manager->n_machines, 0);
	printf("%d strangers were refused\n", N_STRANGERS);
}
END_TEST

/* ---- workers that lie ---- */

static void say_other_name(int fd)
{
	ck_assert_int_eq(vmm_broker_send_hello(fd, "other"), 0);
}

static void say_bytes(int fd, size_t size)
{
	char *data = malloc(size + 1);

	memset(data, 'A', size + 1);
	/* What the socket does not even take is not the broker's. */
	send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(data);
}

static void say_short(int fd)
{
	say_bytes(fd, 3);
}

static void say_garbage(int fd)
{
	say_bytes(fd, sizeof(struct vmm_broker_hello));
}

static void say_much(int fd)
{
	say_bytes(fd, 100000);
}

static void say_nothing(int fd)
{
	say_bytes(fd, 0);
}

/* A greeting as it should be, with descriptors that nobody asked for. */
static void say_with_descriptors(int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(N_DESCRIPTORS * sizeof(int))];
	} control = {};
	char data[sizeof(struct vmm_broker_hello)] = {};
	struct iovec iov = { data, sizeof(data) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fds[N_DESCRIPTORS];

	for (size_t i = 0; i < N_DESCRIPTORS; i++)
		fds[i] = fd;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_with_a_thousand_descriptors(int fd)
{
	for (int i = 0; i < 4; i++)
		say_with_descriptors(fd);
}

static void leave(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void keep_silent(int fd)
{
}

static const struct {
	const char *what;
	void (*say)(int fd);
} lies[] = {
	{ "another machine's name", say_other_name },
	{ "three bytes", say_short },
	{ "garbage of the right length", say_garbage },
	{ "100,000 bytes", say_much },
	{ "an empty message", say_nothing },
	{ "250 descriptors", say_with_descriptors },
	{ "1,000 descriptors", say_with_a_thousand_descriptors },
	{ "its end", leave },
	{ "nothing, for ever", keep_silent },
};

/* Cut off within its time; the loop goes on meanwhile. */
static bool is_cut_off(int fd)
{
	uint64_t until = vmm_base_now_nsec() + UINT64_C(1000000000) * (BROKER_HELLO_SEC + 5);
	char data[8192];

	while (vmm_base_now_nsec() < until) {
		ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
		turn();
	}
	return false;
}

START_TEST(test_lies)
{
	struct machine *machine;
	int pair[2];

	ck_assert_int_ge(manager_ensure(manager, "target", &machine), 0);
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ck_assert_int_ge(broker_adopt(broker, machine, &pair[0]), 0);
	lies[_i].say(pair[1]);
	ck_assert_msg(is_cut_off(pair[1]), "%s: still connected", lies[_i].what);
	close(pair[1]);
	for (int i = 0; i < 50 && count_fds() > n_fds_before; i++)
		turn();
	ck_assert_msg(count_fds() == n_fds_before, "%s: %u descriptors were left", lies[_i].what,
		count_fds() - n_fds_before);
	/* It is of no machine's use. */
	ck_assert_ptr_null(manager_find(manager, "other"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-broker");
	TCase *tcase = unit_case(suite, "broker");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_strangers);
	tcase_add_loop_test(tcase, test_lies, 0, (int)ARRAY_SIZE(lies));
	return unit_run(suite);
}
