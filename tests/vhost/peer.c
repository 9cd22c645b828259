/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

void peer_init(struct peer *peer)
{
	memset(peer, 0, sizeof(*peer));
	snprintf(peer->folder, sizeof(peer->folder), "/tmp/vmm-vhost.XXXXXX");
	must(mkdtemp(peer->folder) != NULL, "mkdtemp");
	snprintf(peer->socket, sizeof(peer->socket), "%s/socket", peer->folder);
}

void peer_start(struct peer *peer, const char *const *argv)
{
	pid_t parent = getpid();

	unlink(peer->socket);
	peer->pid = fork();
	must(peer->pid >= 0, "fork");
	if (peer->pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	execvp(argv[0], (char *const *)argv);
	perror(argv[0]);
	_exit(127);
}

void peer_kill(struct peer *peer)
{
	if (peer->pid <= 0)
		return;
	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, NULL, 0);
	peer->pid = 0;
}

void peer_finish(struct peer *peer)
{
	char command[128];

	peer_kill(peer);
	if (!peer->folder[0])
		return;
	snprintf(command, sizeof(command), "rm -rf '%s'", peer->folder);
	must(system(command) == 0, "rm");
	peer->folder[0] = 0;
}

int peer_connect(void *userdata)
{
	struct peer *peer = userdata;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP(close_p) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", peer->socket);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int peer_wait_connect(struct peer *peer)
{
	uint64_t end_nsec = vmm_base_now_nsec() + UINT64_C(20000000000);
	int fd;

	while ((fd = peer_connect(peer)) < 0 && vmm_base_now_nsec() < end_nsec)
		usleep(5000);
	return fd;
}

bool peer_exists(const char *program)
{
	char command[256];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	if (system(command) == 0)
		return true;
	printf("no %s\n", program);
	return false;
}
