/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * polkit: may the caller of a method do that? Root, and the user that vmmd runs as, may. All
 * others are asked of org.freedesktop.PolicyKit1 by the name they have on the bus, so that it
 * is the caller that is checked and not vmmd. Where there is no polkit, they are refused.
 *
 * The method is left pending and runs again when the answer is there. It must then ask the
 * same question: a machine that has changed under it is ESTALE, not a way around.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "error.h"
#include "log.h"

#define ANSWER_USEC (UINT64_C(120) * 1000 * 1000)

struct polkit_query {
	struct bus *bus; /* borrowed */
	struct polkit_query *next;
	sd_bus_message *message; /* owned */
	sd_bus_slot *slot;       /* owned */
	sd_bus_message_handler_t handler;
	uid_t uid;          /* of who asks */
	const char *action; /* static */
	const char *verb;   /* static */
	char machine[VMM_NAME_SIZE];
};

static void query_free(struct polkit_query *query)
{
	for (struct polkit_query **at = &query->bus->queries; *at; at = &(*at)->next)
		if (*at == query) {
			*at = query->next;
			query->bus->n_queries--;
			break;
		}
	sd_bus_slot_unref(query->slot);
	sd_bus_message_unref(query->message);
	free(query);
}

void polkit_cancel_all(struct bus *bus)
{
	while (bus->queries)
		query_free(bus->queries);
}

/* 0: yes. Else the error is set. */
static int read_answer(sd_bus_message *reply, sd_bus_error *error)
{
	const sd_bus_error *failure = sd_bus_message_get_error(reply);
	int authorized, challenge, r;

	if (failure) {
		if (sd_bus_error_has_name(failure, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
			sd_bus_error_has_name(failure, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
			return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
				"Permission denied: polkit is not there to ask");
		return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
			"Permission denied: polkit says: %s", failure->message);
	}
	r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r >= 0)
		r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
	if (r < 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
			"Permission denied: polkit's answer cannot be read");
	if (authorized)
		return 0;
	if (challenge)
		return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
			"Interactive authentication required.");
	return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Permission denied");
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct polkit_query *query = userdata;
	CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct bus *bus = query->bus;
	int r;

	r = read_answer(reply, &error);
	if (r >= 0)
		r = sd_bus_message_rewind(query->message, true);
	if (r >= 0) {
		bus->granted = query;
		r = query->handler(query->message, bus, &error);
		bus->granted = NULL;
	}
	if (r < 0 || sd_bus_error_is_set(&error))
		sd_bus_reply_method_errno(query->message, r, &error);
	query_free(query);
	return 0;
}

static int append_question(
	sd_bus_message *question, const struct polkit_query *query, bool interactive)
{
	char unit[sizeof("vmm@.service") + VMM_NAME_SIZE];
	int r;

	snprintf(unit, sizeof(unit), "vmm@%s.service", query->machine);
	r = sd_bus_message_append(question, "(sa{sv})s", "system-bus-name", 1, "name", "s",
		sd_bus_message_get_sender(query->message), query->action);
	if (r >= 0 && query->machine[0])
		r = sd_bus_message_append(question, "a{ss}", 3, "machine", query->machine, "unit",
			unit, "verb", query->verb);
	else if (r >= 0)
		r = sd_bus_message_append(question, "a{ss}", 1, "verb", query->verb);
	if (r >= 0)
		r = sd_bus_message_append(question, "us", interactive ? 1u : 0u, "");
	return r;
}

/* So that nobody takes all places: neither one connection, nor one user by many of them. */
static bool is_one_too_many(const struct bus *bus, const char *sender, uid_t uid)
{
	unsigned n_of_sender = 0, n_of_user = 0;

	for (const struct polkit_query *query = bus->queries; query; query = query->next) {
		const char *other = sd_bus_message_get_sender(query->message);

		n_of_sender += other && strcmp(other, sender) == 0;
		n_of_user += query->uid == uid;
	}
	return bus->n_queries >= BUS_MAX_QUERIES || n_of_sender >= BUS_MAX_QUERIES_A_SENDER ||
	       n_of_user >= BUS_MAX_QUERIES_A_USER;
}

static int sender_uid(sd_bus_message *message, uid_t *ret)
{
	CLEANUP(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
	int r;

	r = sd_bus_query_sender_creds(message, SD_BUS_CREDS_EUID, &creds);
	return r < 0 ? r : sd_bus_creds_get_euid(creds, ret);
}

static int ask(struct bus *bus, struct polkit_query *query)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *question = NULL;
	int interactive = sd_bus_message_get_allow_interactive_authorization(query->message);
	int r;

	r = sd_bus_message_new_method_call(bus->bus, &question, "org.freedesktop.PolicyKit1",
		"/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
		"CheckAuthorization");
	if (r >= 0)
		r = append_question(question, query, interactive > 0);
	if (r >= 0)
		r = sd_bus_call_async(
			bus->bus, &query->slot, question, on_answer, query, ANSWER_USEC);
	return r;
}

int polkit_check(struct bus *bus, sd_bus_message *message, const char *action, const char *machine,
	const char *verb, sd_bus_message_handler_t handler, sd_bus_error *error)
{
	const struct polkit_query *granted = bus->granted;
	const char *sender = sd_bus_message_get_sender(message);
	struct polkit_query *query;
	uid_t uid;
	int r;

	if (granted && granted->message == message) {
		if (strcmp(granted->action, action) != 0 ||
			strcmp(granted->machine, machine ? machine : "") != 0 ||
			strcmp(granted->verb, verb) != 0)
			return -ESTALE;
		return 1;
	}
	r = sd_bus_query_sender_privilege(message, -1);
	if (r > 0)
		return 1;
	if (!sender)
		return -EACCES;
	r = sender_uid(message, &uid);
	if (r < 0)
		return r;
	if (is_one_too_many(bus, sender, uid))
		return bus_error_set(error, -VMMD_E_LIMITS_EXCEEDED,
			strdup("too many questions to polkit at a time"));

	query = malloc(sizeof(*query));
	if (!query)
		return -ENOMEM;
	*query = (struct polkit_query){
		.bus = bus,
		.next = bus->queries,
		.message = sd_bus_message_ref(message),
		.handler = handler,
		.uid = uid,
		.action = action,
		.verb = verb,
	};
	snprintf(query->machine, sizeof(query->machine), "%s", machine ? machine : "");
	bus->queries = query;
	bus->n_queries++;
	r = ask(bus, query);
	if (r < 0) {
		query_free(query);
		return r;
	}
	return 0;
}
