/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* job: waits for jobs of vmmd. */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

static struct job *find_job(struct jobs *jobs, const char *path)
{
	for (size_t i = 0; i < jobs->n_items; i++) {
		if (strcmp(jobs->items[i].path, path) == 0)
			return &jobs->items[i];
	}
	return NULL;
}

static void end_job(struct jobs *jobs, struct job *job, const char *result)
{
	if (job->result)
		return;
	job->result = must_strdup(result);
	jobs->n_pending--;
}

static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct jobs *jobs = userdata;
	const char *path, *result;
	struct job *job;

	if (sd_bus_message_read(message, "uoss", NULL, &path, NULL, &result) < 0)
		return 0;
	job = find_job(jobs, path);
	if (job) {
		end_job(jobs, job, result);
	} else {
		/* It may be the answer to a call whose reply has not been looked at yet. */
		char *early =
			must_printf("%s%s %s\n", jobs->early ? jobs->early : "", path, result);

		free(jobs->early);
		jobs->early = early;
	}
	return 0;
}

/* Jobs do not survive vmmd. */
static int on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct jobs *jobs = userdata;
	const char *name, *before;

	if (sd_bus_message_read(message, "sss", &name, &before, NULL) >= 0 &&
		strcmp(name, VMMD_NAME) == 0 && *before != '\0')
		jobs->lost = true;
	return 0;
}

int jobs_begin(struct ctl *ctl, struct jobs *jobs)
{
	int r;

	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	r = sd_bus_match_signal(ctl->bus, &jobs->slots[0], VMMD_NAME, VMMD_PATH, VMMD_MANAGER,
		"JobRemoved", on_removed, jobs);
	if (r >= 0)
		r = sd_bus_match_signal(ctl->bus, &jobs->slots[1], "org.freedesktop.DBus",
			"/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
			on_owner_changed, jobs);
	return r < 0 ? ctl_bus_error(ctl, NULL, NULL, r) : 0;
}

/* The result that came before the job was known, the caller's; NULL: none. */
static char *early_result(const struct jobs *jobs, const char *path)
{
	size_t n = strlen(path);

	for (const char *line = jobs->early; line && *line != '\0';) {
		size_t size = strcspn(line, "\n");

		if (size > n && line[n] == ' ' && strncmp(line, path, n) == 0)
			return must_alloc(strndup(line + n + 1, size - n - 1));
		line += size + 1;
	}
	return NULL;
}

void jobs_add(struct jobs *jobs, const char *path, const char *machine)
{
	char *result = early_result(jobs, path);
	struct job *job;

	jobs->items =
		must_alloc(reallocarray(jobs->items, jobs->n_items + 1, sizeof(*jobs->items)));
	job = &jobs->items[jobs->n_items++];
	*job = (struct job){ must_strdup(path), must_strdup(machine), NULL };
	jobs->n_pending++;
	if (result)
		end_job(jobs, job, result);
	free(result);
}

void hint_at_log(const struct ctl *ctl, const char *name)
{
	/* Without systemd the log is where vmmd's output goes. */
	if (ctl->host || access("/run/systemd/system", F_OK) == 0)
		ctl_note(ctl, "See \"vmmctl status %s\" and \"journalctl -xeu vmm@%s.service\".",
			name, name);
	else
		ctl_note(ctl, "See \"vmmctl status %s\" and the log of vmmd.", name);
}

/* One line that says what went wrong, one that says where there is more. */
static void tell(struct ctl *ctl, const struct job *job)
{
	struct value machine = {};
	const char *text = "", *unit = "";

	if (ctl_machine(ctl, job->machine, &machine, NULL) >= 0) {
		text = value_get_string(&machine, "StatusText");
		unit = value_get_string(&machine, "Unit");
	}
	if (strcmp(job->result, "canceled") == 0)
		ctl_error("%s: %s was canceled by another operation", job->machine, ctl->verb);
	else if (*text != '\0')
		ctl_error("%s: %s failed: %s", job->machine, ctl->verb, text);
	else if (strcmp(job->result, "timeout") == 0)
		ctl_error("%s: %s took too long", job->machine, ctl->verb);
	else if (strcmp(job->result, "dependency") == 0)
		ctl_error("%s: %s failed: a unit that %s needs has failed", job->machine, ctl->verb,
			unit);
	else
		ctl_error("%s: %s failed", job->machine, ctl->verb);
	if (*unit != '\0')
		hint_at_log(ctl, job->machine);
	value_finish(&machine);
}

int jobs_wait(struct ctl *ctl, struct jobs *jobs)
{
	int status = EXIT_SUCCESS;

	while (jobs->n_pending > 0) {
		int r = sd_bus_process(ctl->bus, NULL);

		if (r == 0 && jobs->lost) {
			ctl_error("vmmd went away meanwhile; vmmctl status says how things are");
			return EXIT_FAILURE;
		}
		if (r == 0)
			r = sd_bus_wait(ctl->bus, UINT64_MAX);
		if (r < 0 && r != -EINTR) {
			ctl_bus_error(ctl, NULL, NULL, r);
			return EXIT_FAILURE;
		}
	}
	for (size_t i = 0; i < jobs->n_items; i++) {
		if (strcmp(jobs->items[i].result, "done") != 0) {
			tell(ctl, &jobs->items[i]);
			status = EXIT_FAILURE;
		}
	}
	return status;
}

void jobs_finish(struct jobs *jobs)
{
	for (size_t i = 0; i < jobs->n_items; i++) {
		free(jobs->items[i].path);
		free(jobs->items[i].machine);
		free(jobs->items[i].result);
	}
	free(jobs->items);
	free(jobs->early);
	for (size_t i = 0; i < ARRAY_SIZE(jobs->slots); i++)
		sd_bus_slot_unref(jobs->slots[i]);
	*jobs = (struct jobs){};
}
