/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * served: that vmmd takes a connection only to a server that has what vmmd looked at, from
 * stand-ins of vmmd-serve that lie and from the program itself; and that images in several files
 * are known.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"
#include "image.h"
#include "links.h"
#include "temporary-dir.h"
#include "unit.h"
#include "worker/message.h"

#define PATIENCE_MSEC 5000

static const char *in_dir(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const void *data, size_t size)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
}

static int open_path(const char *name)
{
	int fd = open(in_dir(name), O_PATH | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* ---- are they the same? ---- */

START_TEST(test_same)
{
	int one, same, other, directory, replaced;

	write_file("one", "x", 1);
	write_file("other", "x", 1);
	one = open_path("one");
	same = open(in_dir("one"), O_RDONLY | O_CLOEXEC);
	other = open_path("other");
	directory = open_path(".");
	ck_assert_int_eq(links_same(one, same), 0);
	ck_assert_int_eq(links_same(directory, directory), 0);
	ck_assert_int_eq(links_same(one, other), -ESTALE);
	ck_assert_int_eq(links_same(one, directory), -ESTALE);
	/* Its name is another file's by now. */
	ck_assert_int_eq(unlink(in_dir("one")), 0);
	write_file("one", "x", 1);
	replaced = open_path("one");
	ck_assert_int_eq(links_same(one, replaced), -ESTALE);
	ck_assert_int_eq(links_same(one, same), 0);
	ck_assert_int_eq(links_same(one, -EBADF), -EBADF);
	close(one);
	close(same);
	close(other);
	close(directory);
	close(replaced);
}
END_TEST

/* ---- images ---- */

#define BIG_32(x) 0, 0, 0, x
#define BIG_64(x) BIG_32(0), BIG_32(x)
#define DESCRIPTOR "# Disk DescriptorFile\nversion=1\n"
#define PARENT DESCRIPTOR "parentFileNameHint=\"/etc/shadow\"\n"

static const struct {
	enum config_format format;
	const char *what; /* NULL: nothing is wrong */
	uint8_t head[104];
	const char *at_sector_1;
} images[] = {
	{ CONFIG_FORMAT_QCOW2, NULL, { 'Q', 'F', 'I', 0xfb, BIG_32(3), BIG_64(0), BIG_32(0) }, "" },
	{ CONFIG_FORMAT_QCOW2, "backing", { 'Q', 'F', 'I', 0xfb, BIG_32(3), BIG_64(104) }, "" },
	{ CONFIG_FORMAT_QCOW2, "backing", { 'Q', 'F', 'I', 0xfb, BIG_32(2), BIG_64(72) }, "" },
	/* Its offset has bits in the upper half only. */
	{ CONFIG_FORMAT_QCOW2, "backing", { 'Q', 'F', 'I', 0xfb, BIG_32(3), BIG_32(1), BIG_32(0) },
		"" },
	{ CONFIG_FORMAT_QCOW2, "data", { 'Q', 'F', 'I', 0xfb, BIG_32(3), [79] = 4 }, "" },
	{ CONFIG_FORMAT_QCOW2, "data", { 'Q', 'F', 'I', 0xfb, BIG_32(3), [79] = 7 }, "" },
	/* Not dirty, not corrupt; version 2 has no such field. */
	{ CONFIG_FORMAT_QCOW2, NULL, { 'Q', 'F', 'I', 0xfb, BIG_32(3), [79] = 3 }, "" },
	{ CONFIG_FORMAT_QCOW2, NULL, { 'Q', 'F', 'I', 0xfb, BIG_32(2), [79] = 4 }, "" },
	/* Of another format, which the server refuses. */
	{ CONFIG_FORMAT_QCOW2, NULL, { 'Q', 'E', 'D', 0, [16] = 1 }, "" },
	{ CONFIG_FORMAT_QCOW2, NULL, {}, "" },
	{ CONFIG_FORMAT_QED, "backing", { 'Q', 'E', 'D', 0, [16] = 1 }, "" },
	{ CONFIG_FORMAT_QED, "backing", { 'Q', 'E', 'D', 0, [16] = 5 }, "" },
	{ CONFIG_FORMAT_QED, NULL, { 'Q', 'E', 'D', 0, [16] = 4 }, "" },
	{ CONFIG_FORMAT_VMDK, "data", DESCRIPTOR "createType=\"monolithicFlat\"\n", "" },
	/* QEMU takes for a descriptor whatever is not sparse. */
	{ CONFIG_FORMAT_VMDK, "data", "\n# any\ncreateType=\"monolithicFlat\"\n", "" },
	{ CONFIG_FORMAT_VMDK, "data", "CREATETYPE=\"vmfs\"\n", "" },
	{ CONFIG_FORMAT_VMDK, NULL, "\n# any\n\0createType=\"monolithicFlat\"\n", "createType=" },
	{ CONFIG_FORMAT_VMDK, NULL, {}, "createType=" },
	{ CONFIG_FORMAT_VMDK, NULL, { 'K', 'D', 'M', 'V', [12] = 8, [28] = 1 }, DESCRIPTOR },
	{ CONFIG_FORMAT_VMDK, "backing", { 'K', 'D', 'M', 'V', [28] = 1 }, PARENT },
	{ CONFIG_FORMAT_VMDK, "backing", { 'K', 'D', 'M', 'V', [28] = 1 },
		DESCRIPTOR "PARENTFILENAMEHINT=\"/etc/shadow\"\n" },
	/* In the second sector the server finds it wherever the header says that it is. */
	{ CONFIG_FORMAT_VMDK, "backing", { 'K', 'D', 'M', 'V', [12] = 8 }, PARENT },
	{ CONFIG_FORMAT_VMDK, "backing", { 'K', 'D', 'M', 'V', [12] = 8, [28] = 200 }, PARENT },
	{ CONFIG_FORMAT_VMDK, "backing", { 'K', 'D', 'M', 'V', [12] = 8, [35] = 0xff }, PARENT },
	{ CONFIG_FORMAT_VMDK, "backing", { 'C', 'O', 'W', 'D' }, PARENT },
	{ CONFIG_FORMAT_VMDK, NULL, { 'C', 'O', 'W', 'D' }, DESCRIPTOR },
	/* Without a capacity the descriptor says where the data is. */
	{ CONFIG_FORMAT_VMDK, "data", { 'K', 'D', 'M', 'V', [28] = 1 }, DESCRIPTOR },
	{ CONFIG_FORMAT_VMDK, NULL, { 'K', 'D', 'M', 'V' }, DESCRIPTOR },
	/* Nowhere: behind the end, and where no offset is. */
	{ CONFIG_FORMAT_VMDK, NULL, { 'K', 'D', 'M', 'V', [12] = 8, [28] = 200 }, "" },
	{ CONFIG_FORMAT_VMDK, NULL, { 'K', 'D', 'M', 'V', [12] = 8, [35] = 0xff }, "" },
	{ CONFIG_FORMAT_VMDK, NULL, { 'K', 'D', 'M', 'V', [12] = 8, [34] = 0x7f, [33] = 0xff },
		"" },
	{ CONFIG_FORMAT_VDI, NULL, { 'Q', 'F', 'I', 0xfb, BIG_32(3), BIG_64(104) }, "" },
};

START_TEST(test_images)
{
	char data[1024] = {};
	const char *what = NULL;
	int fd, r;

	memcpy(data, images[_i].head, sizeof(images[_i].head));
	strcpy(data + 512, images[_i].at_sector_1);
	write_file("image", data, sizeof(data));
	fd = open_path("image");
	r = image_check(fd, images[_i].format, &what);
	ck_assert_int_eq(r, images[_i].what ? -EMLINK : 0);
	ck_assert(!images[_i].what || strstr(what, images[_i].what));
	close(fd);
}
END_TEST

/* Cut off anywhere, and what is no image at all. */
START_TEST(test_short_images)
{
	const char *what;
	int fd;

	for (size_t size = 0; size < 16; size++) {
		write_file("image", images[1].head, size);
		fd = open_path("image");
		ck_assert_int_eq(
			image_check(fd, CONFIG_FORMAT_QCOW2, &what), size < 16 ? 0 : -EMLINK);
		close(fd);
	}
	fd = open_path(".");
	ck_assert_int_eq(image_check(fd, CONFIG_FORMAT_QCOW2, &what), -EISDIR);
	close(fd);
}
END_TEST

/* ---- stand-ins of vmmd-serve ---- */

static int listen_at(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", in_dir(name));
	unlink(address.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

static const struct stand_in {
	struct serve_offer offer;
	size_t size, n_fds;
	const char *shows;
	int r;
} stand_ins[] = {
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 2, "judged", 0 },
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 2, "other", -ESTALE },
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 2, ".", -ESTALE },
	{ { SERVE_MAGIC + 1, SERVE_VERSION }, 8, 2, "judged", -EPROTO },
	{ { SERVE_MAGIC, SERVE_VERSION + 1 }, 8, 2, "judged", -EPROTO },
	{ { SERVE_MAGIC, SERVE_VERSION }, 7, 2, "judged", -EPROTO },
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 1, "judged", -EPROTO },
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 0, "judged", -EPROTO },
	{ { SERVE_MAGIC, SERVE_VERSION }, 8, 3, "judged", -EBADMSG },
	{ { SERVE_MAGIC, SERVE_VERSION }, 0, 0, NULL, -ECONNRESET },
	{ { SERVE_MAGIC, SERVE_VERSION }, 0, 2, NULL, -ETIMEDOUT },
};

/* In a child. Its status: whether it was told to go on. */
static int stand_in(const struct stand_in *as, int listen_fd)
{
	int fd = accept(listen_fd, NULL, NULL), pair[2], fds[3];
	char answer = 0;

	if (as->size > 0) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			return 2;
		fds[0] = open(in_dir(as->shows), O_PATH);
		fds[1] = fds[2] = pair[1];
		if (vmm_message_send(fd, 0, &as->offer, as->size, NULL, 0, fds, as->n_fds) < 0)
			return 2;
	} else if (as->n_fds == 0) {
		return 0;
	}
	return recv(fd, &answer, 1, 0) == 1 && answer == SERVE_GO;
}

START_TEST(test_stand_ins)
{
	const struct stand_in *as = &stand_ins[_i];
	int listen_fd = listen_at("socket"), fd = -EBADF, judged_fd, status, n_before;
	pid_t pid;

	write_file("judged", "x", 1);
	write_file("other", "x", 1);
	judged_fd = open_path("judged");
	pid = fork();
	if (pid == 0)
		_exit(stand_in(as, listen_fd));
	close(listen_fd);
	n_before = dup(0);
	close(n_before);
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000,
				 as->r == -ETIMEDOUT ? 100 : PATIENCE_MSEC, &fd),
		as->r);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), as->r == 0);
	ck_assert_int_eq(fd >= 0, as->r == 0);
	vmm_base_close(fd);
	/* No descriptor is left of what came. */
	fd = dup(0);
	ck_assert_int_eq(fd, n_before);
	close(fd);
	close(judged_fd);
}
END_TEST

START_TEST(test_nobody_listens)
{
	int judged_fd, fd = -EBADF;

	write_file("judged", "x", 1);
	judged_fd = open_path("judged");
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 50, 50, &fd), -ENOENT);
	close(listen_at("socket"));
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 50, 50, &fd), -ECONNREFUSED);
	close(judged_fd);
}
END_TEST

/* ---- vmmd-serve itself ---- */

/* As systemd does; the server is this program, see serve(). */
static pid_t start_serve(int listen_fd, const char *path, const char *how)
{
	char number[16], program[256];
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDS", "1", 1);
	if (listen_fd == 3)
		fcntl(3, F_SETFD, 0);
	else
		dup2(listen_fd, 3);
	close_range(4, ~0u, 0);
	program[readlink("/proc/self/exe", program, sizeof(program) - 1)] = '\0';
	execl(getenv("VMMD_SERVE"), "vmmd-serve", path, program, how, NULL);
	_exit(99);
}

/* The server: says which descriptors it has, then echoes one byte. "stays": it does not end with
 * the connection; "ends": at once. */
static int serve(const char *how)
{
	char byte = 0;
	int fd = accept(3, NULL, NULL);

	if (fd < 0 || fcntl(4, F_GETFD) != (fd == 4 ? 0 : -1) || getenv("LISTEN_FDS"))
		byte = '!';
	else if (strcmp(how, "ends") == 0)
		return 7;
	else if (recv(fd, &byte, 1, 0) != 1)
		return 8;
	send(fd, &byte, 1, MSG_NOSIGNAL);
	if (strcmp(how, "stays") == 0)
		pause();
	return recv(fd, &byte, 1, 0) == 0 ? 0 : 9;
}

static int end_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void check_echo(int fd)
{
	struct pollfd at = { .fd = fd, .events = POLLIN };
	char byte = 'e';

	ck_assert_int_eq(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
	ck_assert_int_eq(poll(&at, 1, PATIENCE_MSEC), 1);
	byte = 0;
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 'e');
}

START_TEST(test_serve)
{
	int listen_fd = listen_at("socket"), judged_fd, fd = -EBADF, again = -EBADF;
	pid_t pid;

	write_file("judged", "x", 1);
	write_file("other", "x", 1);
	judged_fd = open_path("judged");

	/* It ends with its server, which ends with the connection. */
	pid = start_serve(listen_fd, in_dir("judged"), "echo");
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), 0);
	check_echo(fd);
	close(fd);
	ck_assert_int_eq(end_of(pid), 0);
	pid = start_serve(listen_fd, in_dir("judged"), "ends");
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), 0);
	ck_assert_int_eq(end_of(pid), 7);
	/* The connection is of that process, and of no other that comes. */
	ck_assert_int_le(recv(fd, &(char){ 0 }, 1, 0), 0);
	close(fd);

	/* What is not judged is not served; nor is a path that is a link, or nothing. */
	pid = start_serve(listen_fd, in_dir("other"), "echo");
	ck_assert_int_eq(
		served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), -ESTALE);
	ck_assert_int_eq(end_of(pid), EXIT_FAILURE);
	ck_assert_int_eq(symlink("judged", in_dir("link")), 0);
	pid = start_serve(listen_fd, in_dir("link"), "echo");
	ck_assert_int_eq(
		served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), -ESTALE);
	ck_assert_int_eq(end_of(pid), EXIT_FAILURE);
	pid = start_serve(listen_fd, in_dir("nothing"), "echo");
	ck_assert_int_eq(
		served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), -ECONNRESET);
	ck_assert_int_eq(end_of(pid), EXIT_FAILURE);

	/* A second connection ends a server that stays, and is the next one's. */
	pid = start_serve(listen_fd, in_dir("judged"), "stays");
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), 0);
	check_echo(fd);
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000, 50, &again), -ETIMEDOUT);
	ck_assert_int_eq(end_of(pid), 0);
	ck_assert_int_eq(recv(fd, &(char){ 0 }, 1, 0), 0);
	close(fd);
	close(judged_fd);
	close(listen_fd);
}
END_TEST

START_TEST(test_serve_is_stopped)
{
	int listen_fd = listen_at("socket"), judged_fd, fd = -EBADF;
	pid_t pid;

	write_file("judged", "x", 1);
	judged_fd = open_path("judged");
	pid = start_serve(listen_fd, in_dir("judged"), "stays");
	ck_assert_int_eq(served_connect(in_dir("socket"), judged_fd, 1000, PATIENCE_MSEC, &fd), 0);
	check_echo(fd);
	/* Passed on, and its end is the same. */
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	ck_assert_int_eq(end_of(pid), -SIGTERM);
	ck_assert_int_eq(recv(fd, &(char){ 0 }, 1, 0), 0);
	close(fd);
	close(judged_fd);
	close(listen_fd);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 1)
		return serve(argv[1]);
	suite = suite_create("served");
	tcase = unit_case(suite, "served");
	tcase_add_checked_fixture(tcase, make_dir, remove_dir);
	tcase_add_test(tcase, test_same);
	tcase_add_loop_test(tcase, test_images, 0, ARRAY_SIZE(images));
	tcase_add_test(tcase, test_short_images);
	tcase_add_loop_test(tcase, test_stand_ins, 0, ARRAY_SIZE(stand_ins));
	tcase_add_test(tcase, test_nobody_listens);
	tcase_add_test(tcase, test_serve);
	tcase_add_test(tcase, test_serve_is_stopped);
	return unit_run(suite);
}
