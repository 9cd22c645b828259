/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * launch: starts the shipped worker as vmmd --spawn=direct does, without vmmd's bus: this process
 * becomes the worker, and a child of it is the broker that hands the spec over and leaves. So the
 * pid that tests/bench knows is the monitor's. The line "EXEC NSEC" says when (CLOCK_MONOTONIC)
 * the worker's life began. Options: launch.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "perf/launch.h"

static struct launch launch = { .worker = "" };

int main(int argc, char **argv)
{
	int broker[2];
	pid_t pid;

	launch_parse(&launch, argc, argv, NULL, NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker) < 0)
		launch_fail("socketpair", strerror(errno));
	pid = fork();
	if (pid < 0)
		launch_fail("fork", strerror(errno));
	if (pid == 0) {
		close(broker[1]);
		launch_hand_over(&launch, broker[0]);
		_exit(EXIT_SUCCESS);
	}
	close(broker[0]);
	printf("EXEC %" PRIu64 "\n", vmm_base_now_nsec());
	fflush(stdout);
	launch_exec(&launch, broker[1]);
}
