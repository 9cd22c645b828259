/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-systemd: whether a peer is the main process of a machine's unit; see spawn-systemd.h.
 *
 * Each property is asked for alone, and all at once: systemd makes some three hundred of them for a
 * GetAll, while a start waits. It answers in the order of the questions. MainPID is the last: what
 * was said before that is about the unit of a process that is its main one still.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "spawn-systemd.h"

static const char *const questions[] = { "User", "UID", "NRestarts", "MainPID" };

enum { N_BEFORE = ARRAY_SIZE(questions) - 1 };

struct identity {
	struct unit_facts facts;
	struct fact {
		struct identity *identity; /* borrowed: the one this is in */
		const char *key;           /* static */
		sd_bus_slot *slot;         /* owned */
	} before[N_BEFORE];
};

static void identity_free(struct identity *identity)
{
	if (!identity)
		return;
	for (size_t i = 0; i < N_BEFORE; i++)
		sd_bus_slot_unref(identity->before[i].slot);
	free(identity);
}

DEFINE_POINTER_CLEANUP(struct identity, identity_free);

static void question_free(void *userdata)
{
	struct call *call = userdata;

	identity_free(call->identity);
	free(call);
}

/* Without an answer the fact is unknown, and the last answer is an error, too. */
static int got_fact(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct fact *fact = userdata;

	if (!sd_bus_message_is_method_error(reply, NULL))
		unit_facts_read_one(&fact->identity->facts, fact->key, reply);
	return 0;
}

static int got_identity(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct call *call = userdata;
	struct machine *machine = manager_find(call->systemd->manager, call->name);
	CLEANUP(identity_free_p) struct identity *identity = TAKE_PTR(call->identity);
	struct unit_facts facts = identity->facts;
	char user[sizeof("vmm-") + VMM_NAME_SIZE], text[128] = "";
	sd_bus_slot *slot;

	if (request_lost(call, reply))
		return 0;
	slot = call->slot; /* nobody can cancel any more */
	if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY) ||
		sd_bus_message_is_method_error(reply, SD_BUS_ERROR_TIMEOUT)) {
		call->done(call->userdata, -ENOTCONN, "systemd cannot be reached");
		sd_bus_slot_unref(slot);
		return 0;
	}
	snprintf(user, sizeof(user), "vmm-%s", call->name);
	if (!machine || !unit_of(machine) || sd_bus_message_is_method_error(reply, NULL) ||
		unit_facts_read_one(&facts, questions[N_BEFORE], reply) < 0)
		snprintf(text, sizeof(text), "systemd does not know the unit");
	else if (facts.main_pid == 0 || (pid_t)facts.main_pid != call->peer.pid)
		snprintf(text, sizeof(text), "that is %u", facts.main_pid);
	else if (strcmp(facts.user, user) != 0)
		snprintf(text, sizeof(text), "the unit's user is not %s", user);
	else if (!facts.uid_known || facts.uid != call->peer.uid)
		snprintf(text, sizeof(text), "the unit's uid is %u", (unsigned)facts.uid);
	if (text[0]) {
		call->done(call->userdata, -EPERM, text);
		sd_bus_slot_unref(slot);
		return 0;
	}
	/* Before anything is tied to the new worker, the old one is known to have gone. */
	unit_of(machine)->facts.main_pid = facts.main_pid;
	unit_of(machine)->facts.n_restarts = facts.n_restarts;
	machine_set_restarts(machine, facts.n_restarts);
	machine_set_unit(machine, machine_is_active(machine) ? machine->unit_state : UNIT_STARTING,
		call->peer.pid);
	call->done(call->userdata, 0, NULL);
	sd_bus_slot_unref(slot);
	return 0;
}

static int new_get(struct machine *machine, const char *key, sd_bus_message **ret_message)
{
	int r = unit_new_question(machine, "Get", ret_message);

	return r < 0 ? r : sd_bus_message_append(*ret_message, "ss", SYSTEMD ".Service", key);
}

static int ask_before(struct machine *machine, struct identity *identity, size_t i)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	struct fact *fact = &identity->before[i];
	int r;

	fact->identity = identity;
	fact->key = questions[i];
	r = new_get(machine, fact->key, &message);
	if (r >= 0)
		r = sd_bus_call_async(
			systemd_of(machine)->bus, &fact->slot, message, got_fact, fact, 0);
	/* As call_send() does. */
	return r == -ECONNRESET ? -ENOTCONN : r;
}

static int send_question(struct call *call)
{
	struct machine *machine = manager_find(call->systemd->manager, call->name);
	CLEANUP(identity_free_p) struct identity *identity = NULL;
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r;

	if (!machine)
		return -ENOENT;
	identity = calloc(1, sizeof(*identity));
	if (!identity)
		return -ENOMEM;
	if (unit_of(machine))
		identity->facts.n_restarts = unit_of(machine)->facts.n_restarts;
	for (size_t i = 0; i < N_BEFORE; i++) {
		r = ask_before(machine, identity, i);
		if (r < 0)
			return r;
	}
	r = new_get(machine, questions[N_BEFORE], &message);
	if (r >= 0)
		r = call_send(call->systemd, message, got_identity, call, &call->slot);
	if (r < 0)
		return r;
	sd_bus_slot_set_destroy_callback(call->slot, question_free);
	call->identity = TAKE_PTR(identity);
	return 0;
}

static void question_failed(struct call *call, int error, const char *text)
{
	call->done(call->userdata, error, text);
}

void *identity_ask(
	struct machine *machine, const struct peer *peer, spawn_done_t done, void *userdata)
{
	struct call *call = call_new(machine);

	if (!call) {
		done(userdata, -ENOMEM, NULL);
		return NULL;
	}
	call->peer = *peer;
	call->done = done;
	call->userdata = userdata;
	call->send = send_question;
	call->fail = question_failed;
	return request_send(call) ? call : NULL;
}

void identity_cancel(void *handle)
{
	request_cancel(handle);
}
