/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-systemd: what systemd's properties say of a unit; see spawn-systemd.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "spawn-systemd.h"

static int read_string(sd_bus_message *message, char *to, size_t size)
{
	const char *text;
	int r = sd_bus_message_read(message, "v", "s", &text);

	if (r >= 0)
		snprintf(to, size, "%s", text);
	return r;
}

int unit_facts_read_one(struct unit_facts *facts, const char *key, sd_bus_message *message)
{
	if (strcmp(key, "ActiveState") == 0)
		return read_string(message, facts->active_state, sizeof(facts->active_state));
	if (strcmp(key, "SubState") == 0)
		return read_string(message, facts->sub_state, sizeof(facts->sub_state));
	if (strcmp(key, "Result") == 0)
		return read_string(message, facts->result, sizeof(facts->result));
	if (strcmp(key, "User") == 0)
		return read_string(message, facts->user, sizeof(facts->user));
	if (strcmp(key, "StatusText") == 0)
		return read_string(message, facts->status_text, sizeof(facts->status_text));
	if (strcmp(key, "MainPID") == 0)
		return sd_bus_message_read(message, "v", "u", &facts->main_pid);
	if (strcmp(key, "NRestarts") == 0)
		return sd_bus_message_read(message, "v", "u", &facts->n_restarts);
	if (strcmp(key, "ExecMainCode") == 0)
		return sd_bus_message_read(message, "v", "i", &facts->exec_code);
	if (strcmp(key, "ExecMainStatus") == 0)
		return sd_bus_message_read(message, "v", "i", &facts->exec_status);
	if (strcmp(key, "StateChangeTimestamp") == 0)
		return sd_bus_message_read(message, "v", "t", &facts->change_usec);
	if (strcmp(key, "StateChangeTimestampMonotonic") == 0)
		return sd_bus_message_read(message, "v", "t", &facts->change_monotonic_usec);
	if (strcmp(key, "Job") == 0)
		return sd_bus_message_read(message, "v", "(uo)", &facts->job_id, NULL);
	if (strcmp(key, "UID") == 0) {
		int r = sd_bus_message_read(message, "v", "u", &facts->uid);

		facts->uid_known = r >= 0 && facts->uid != UINT32_MAX;
		return r;
	}
	return sd_bus_message_skip(message, "v");
}

int unit_facts_read(struct unit_facts *facts, sd_bus_message *message)
{
	const char *key;
	int r;

	r = sd_bus_message_enter_container(message, 'a', "{sv}");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
		r = sd_bus_message_read(message, "s", &key);
		if (r >= 0)
			r = unit_facts_read_one(facts, key, message);
		if (r >= 0)
			r = sd_bus_message_exit_container(message);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

enum unit_state unit_facts_state(const struct unit_facts *facts)
{
	/* From systemd 254 on, a unit about to restart is inactive or failed for a moment. */
	if (strstr(facts->sub_state, "before-auto-restart"))
		return UNIT_STARTING;
	if (strcmp(facts->active_state, "active") == 0 ||
		strcmp(facts->active_state, "reloading") == 0)
		return UNIT_ACTIVE;
	if (strcmp(facts->active_state, "activating") == 0)
		return UNIT_STARTING;
	if (strcmp(facts->active_state, "deactivating") == 0)
		return UNIT_STOPPING;
	/* On its way to a restart it is dead for a moment, with the job for the start pending. */
	if (facts->job_id != 0)
		return UNIT_STARTING;
	if (strcmp(facts->active_state, "failed") == 0)
		return UNIT_FAILED;
	return UNIT_INACTIVE;
}

bool unit_facts_await_restart(const struct unit_facts *facts)
{
	return strstr(facts->sub_state, "auto-restart") && strcmp(facts->result, "success") != 0;
}

const char *unit_facts_result(const struct unit_facts *facts)
{
	static const char *const known[] = { "success", "resources", "protocol", "watchdog",
		"timeout", "signal", "oom-kill", "core-dump" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(facts->result, known[i]) == 0)
			return known[i];
	/* Of a command beside the main one there is no status. */
	if (strcmp(facts->result, "exit-code") == 0 && facts->exec_status != 0)
		return machine_result_of_exit(facts->exec_status);
	if (strcmp(facts->result, "start-limit-hit") == 0)
		return "resources";
	return facts->result[0] ? "exit-code" : "success";
}

int unit_facts_exit_status(const struct unit_facts *facts)
{
	return facts->exec_code == CLD_KILLED || facts->exec_code == CLD_DUMPED
		       ? -facts->exec_status
		       : facts->exec_status;
}
