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
#include "control.h"
#include "machine.h"
#include "netdev.h"
#include "resources.h"

enum {
	MAX_CANDIDATES = 4096,
	MAX_DEVICES = VMM_SPEC_MAX_DRIVES + VMM_SPEC_MAX_NETWORKS + VMM_SPEC_MAX_SHARES,
	CHILD_SEC = 20,
};

struct order {
	struct manager *manager;
	/* NULL: of all that have ended. */
	const char *machine;
	/* NULL: of those that the machine does not have. */
	const char *network;
	const struct inventory *inventory;
};

/* What a worker is asked for: which networks it has. */
struct inventory {
	struct manager *manager; /* borrowed, outlives us */
	char machine[VMM_NAME_SIZE];
	char networks[VMM_SPEC_MAX_NETWORKS][VMM_DEVICE_ID_SIZE];
	size_t n_networks, n_devices;
	/* Links that were there before it was asked: what is attached since is not meant. */
	size_t n_indexes;
	int indexes[MAX_CANDIDATES];
};

/* ---- in the child ---- */

static bool has_network(const struct inventory *inventory, const char *network)
{
	for (size_t i = 0; i < inventory->n_networks; i++)
		if (strcmp(inventory->networks[i], network) == 0)
			return true;
	return false;
}

static bool keeps(void *userdata, const char *machine, const char *network)
{
	const struct order *order = userdata;
	const struct machine *found;

	if (order->machine && strcmp(machine, order->machine) != 0)
		return true;
	if (order->inventory)
		return has_network(order->inventory, network);
	if (order->machine)
		return strcmp(network, order->network) != 0;
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
static bool start_with(
	struct order *order, const int *indexes, size_t n, sd_event_child_handler_t handler)
{
	struct manager *manager = order->manager;
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

static bool start(struct order *order, sd_event_child_handler_t handler)
{
	int indexes[MAX_CANDIDATES];

	return start_with(order, indexes, list_candidates(indexes), handler);
}

void sweep_ended(struct manager *manager)
{
	struct order order = { .manager = manager };

	if (!manager->units_known)
		return;
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

/* ---- of a machine that has run without a vmmd ---- */

static void got_device(void *userdata, int error, const struct vmm_control_message *message);

static int ask_device(struct inventory *inventory, struct machine *machine, uint32_t index)
{
	struct vmm_control_index payload = { .index = index };

	return control_request(machine->control, VMM_CONTROL_GET_DEVICE, &payload, sizeof(payload),
		-EBADF, got_device, inventory);
}

/* 1: another one was asked for; 0: the list is complete. */
static int take_device(struct inventory *inventory, const struct vmm_control_device *device)
{
	struct machine *machine = manager_find(inventory->manager, inventory->machine);
	int r;

	if (device->kind == VMM_DEVICE_NONE)
		return 0;
	if (++inventory->n_devices > MAX_DEVICES || !machine || !machine->control)
		return -EBADMSG;
	if (device->kind == VMM_DEVICE_NETWORK) {
		if (inventory->n_networks >= VMM_SPEC_MAX_NETWORKS)
			return -EBADMSG;
		snprintf(inventory->networks[inventory->n_networks++], VMM_DEVICE_ID_SIZE, "%.*s",
			VMM_DEVICE_ID_SIZE - 1, device->id);
	}
	r = ask_device(inventory, machine, device->next);
	return r < 0 ? r : 1;
}

static void got_device(void *userdata, int error, const struct vmm_control_message *message)
{
	struct inventory *inventory = userdata;
	struct order order = {
		.manager = inventory->manager,
		.machine = inventory->machine,
		.inventory = inventory,
	};
	int r = error < 0 ? error : take_device(inventory, &message->device);

	if (r > 0)
		return;
	if (r == 0)
		start_with(&order, inventory->indexes, inventory->n_indexes, on_child);
	free(inventory);
}

void sweep_machine(struct machine *machine)
{
	struct inventory *inventory = calloc(1, sizeof(*inventory));

	if (!inventory)
		return;
	inventory->manager = machine->manager;
	memcpy(inventory->machine, machine->name, sizeof(inventory->machine));
	inventory->n_indexes = list_candidates(inventory->indexes);
	if (inventory->n_indexes == 0 || ask_device(inventory, machine, 0) < 0)
		free(inventory);
}
