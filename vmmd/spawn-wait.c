/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-systemd: requests to systemd. One that it cannot hear, or whose answer is lost with the
 * connection, waits until systemd is there again (it executes itself anew, or the bus does),
 * for at most REQUEST_SEC after it was made; see spawn-systemd.h.
 */
#include <time.h>

#include "base/util.h"
#include "spawn-systemd.h"

#define RETRY_USEC (UINT64_C(200) * 1000)

static uint64_t now_usec(void)
{
	return vmm_base_now_nsec() / 1000;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct systemd *systemd = userdata;

	systemd->retry = sd_event_source_unref(systemd->retry);
	if (!systemd->bus)
		systemd_connect(systemd);
	requests_resume(systemd);
	return 0;
}

void systemd_retry_later(struct systemd *systemd)
{
	if (!systemd->retry)
		sd_event_add_time_relative(systemd->manager->event, &systemd->retry,
			CLOCK_MONOTONIC, RETRY_USEC, 10000, on_retry, systemd);
}

static void append(struct call *call)
{
	struct systemd *systemd = call->systemd;
	struct call **at = &systemd->waiting;

	while (*at)
		at = &(*at)->next;
	*at = call;
	call->next = NULL;
	systemd->n_waiting++;
	systemd_retry_later(systemd);
}

static void take_off(struct call *call)
{
	struct systemd *systemd = call->systemd;

	for (struct call **at = &systemd->waiting; *at; at = &(*at)->next)
		if (*at == call) {
			*at = call->next;
			systemd->n_waiting--;
			return;
		}
}

bool request_send(struct call *call)
{
	struct systemd *systemd = call->systemd;
	int r;

	if (call->deadline_usec == 0)
		call->deadline_usec = now_usec() + UINT64_C(1000000) * REQUEST_SEC;
	/* Who has waited longer goes first. */
	r = systemd->is_known && !systemd->waiting ? call->send(call) : -ENOTCONN;
	if (r >= 0)
		return true;
	if (r == -ENOTCONN && now_usec() < call->deadline_usec &&
		systemd->n_waiting < REQUESTS_MAX_WAITING) {
		append(call);
		return true;
	}
	call->fail(call, r, r == -ENOTCONN ? "systemd cannot be reached" : NULL);
	free(call);
	return false;
}

bool request_lost(struct call *call, sd_bus_message *reply)
{
	sd_bus_slot *slot = sd_bus_get_current_slot(sd_bus_message_get_bus(reply));

	if (!sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY) ||
		now_usec() >= call->deadline_usec ||
		call->systemd->n_waiting >= REQUESTS_MAX_WAITING)
		return false;
	/* The slot ends with this reply, its call does not. */
	sd_bus_slot_set_destroy_callback(slot, NULL);
	call->slot = sd_bus_slot_unref(call->slot);
	append(call);
	return true;
}

void request_cancel(struct call *call)
{
	if (call->slot) {
		sd_bus_slot_unref(call->slot);
		return;
	}
	take_off(call);
	free(call);
}

void requests_resume(struct systemd *systemd)
{
	/* Those that were there: what is sent may come to wait again. */
	for (size_t n = systemd->n_waiting; n > 0 && systemd->waiting; n--) {
		struct call *call = systemd->waiting;
		int r;

		take_off(call);
		r = systemd->is_known ? call->send(call) : -ENOTCONN;
		if (r >= 0)
			continue;
		if (r == -ENOTCONN && now_usec() < call->deadline_usec) {
			append(call);
			continue;
		}
		call->fail(call, r, r == -ENOTCONN ? "systemd cannot be reached" : NULL);
		free(call);
	}
}

void requests_forget(struct systemd *systemd)
{
	while (systemd->waiting) {
		struct call *call = systemd->waiting;

		systemd->waiting = call->next;
		free(call);
	}
	systemd->n_waiting = 0;
}
