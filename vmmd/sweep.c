/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* sweep: see sweep.h. */
#include "sweep.h"

#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "machine.h"
#include "netdev.h"
#include "resources.h"

enum {
	MAX_CANDIDATES = 4096,
	CHILD_SEC = 20,
};

struct order {
	struct manager *manager;
	/* NULL: of all that have ended. */
	const char *machine;
	const char *network;
};

/* ---- in the child ---- */

static bool keeps(void *userdata, const char *machine, const char *network)
{
	const struct order *order = userdata;
	const struct machine *found;

	if (order->machine)
		return strcmp(machine, order->machine) != 0 || strcmp(network, order->network) != 0;
	/* One that is just being made has no alias yet. */
	if (!machine[0])
		return order->manager->requests != NULL;
	found = manager_find(order->manager, machine);
	return (found && (machine_is_active(found) || found->handed.valid)) ||
	       resources_is_opening(order->manager, machine);
}

/* Never returns. Descriptors of vmmd are closed first, as resources.c has it. */
_Noreturn static void child(struct order *order, const int *indexes, size_t n_indexes)
{
	const struct netdev_sweep sweep = {
		.run_dir = order->manager->run_dir,
		.indexes = indexes,
		.n_indexes = n_indexes,
		.keeps = keeps,
		.userdata = order,
	};
	sigset_t none;

	sigemptyset(&none);
	signal(SIGTERM, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(CHILD_SEC);
	close_range(3, ~0u, 0);
	_exit(netdev_sweep(&sweep) < 0);
}

/* ---- in vmmd ---- */

/*
 * The links whose names might be of ours, from what asks no lock that a slow change of some other
 * link may hold.
 */
static size_t list_candidates(int indexes[MAX_CANDIDATES])
{
	static const char *const prefixes[] = { NETDEV_MACVTAP_PREFIX, NETDEV_ZONE_PREFIX };
	FILE *f = fopen("/proc/self/net/dev", "re");
	char line[1024], name[IFNAMSIZ];
	size_t n = 0;

	while (f && n < MAX_CANDIDATES && fgets(line, sizeof(line), f)) {
		bool may_be = false;

		if (sscanf(line, " %15[^: ]:", name) != 1)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
			may_be |= strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
		if (may_be && (indexes[n] = (int)if_nametoindex(name)) > 0)
			n++;
	}
	if (f)
		fclose(f);
	return n;
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct manager *manager = userdata;

	manager->n_children--;
	/* It was the event loop's own, which ends it where vmmd ends before the child. */
	return sd_event_source_set_floating(source, false);
}

static int on_child_of_ended(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct manager *manager = userdata;
	int r = on_child(source, info, userdata);

	manager->is_sweeping = false;
	if (TAKE(manager->sweep_again, false))
		sweep_ended(manager);
	return r;
}

/* Whether there is a child now. */
static bool start(struct order *order, sd_event_child_handler_t handler)
{
	struct manager *manager = order->manager;
	int indexes[MAX_CANDIDATES];
	size_t n = list_candidates(indexes);
	pid_t pid;

	if (n == 0 || manager->n_children >= RESOURCES_MAX_CHILDREN)
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0)
		child(order, indexes, n);
	if (sd_event_add_child(manager->event, NULL, pid, WEXITED, handler, manager) < 0)
		return false;
	manager->n_children++;
	return true;
}

void sweep_ended(struct manager *manager)
{
	struct order order = { .manager = manager };

	if (manager->is_sweeping)
		manager->sweep_again = true;
	else
		manager->is_sweeping = start(&order, on_child_of_ended);
}

void sweep_network(struct manager *manager, const char *machine, const char *network)
{
	struct order order = { .manager = manager, .machine = machine, .network = network };

	start(&order, on_child);
}
