/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* describe: machines and the manager as JSON (RFC 8259). Keys are those of the D-Bus properties,
 * with a small first letter. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bus.h"
#include "spawn.h"

static void put_string(FILE *f, const char *text)
{
	fputc('"', f);
	for (const unsigned char *c = (const unsigned char *)(text ? text : ""); *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(f, "\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f)
			fprintf(f, "\\u%04x", *c);
		else
			fputc(*c, f);
	}
	fputc('"', f);
}

static void put_key_string(FILE *f, const char *key, const char *text)
{
	fprintf(f, ",\"%s\":", key);
	put_string(f, text);
}

static void put_key_number(FILE *f, const char *key, uint64_t number)
{
	fprintf(f, ",\"%s\":%" PRIu64, key, number);
}

static void put_key_bool(FILE *f, const char *key, bool yes)
{
	fprintf(f, ",\"%s\":%s", key, yes ? "true" : "false");
}

/* The beginning of an object in an array. */
static void begin_object(FILE *f, size_t index, const char *key, const char *value)
{
	fprintf(f, "%s{\"%s\":", index > 0 ? "," : "", key);
	put_string(f, value);
}

/* A key that is there only where it has a value. */
static void put_key_given(FILE *f, const char *key, const char *value)
{
	if (value)
		put_key_string(f, key, value);
}

static void put_config(FILE *f, const struct vm_config *config)
{
	put_key_string(f, "kernel", config->boot.kernel.value);
	put_key_string(f, "initrd", config->boot.initrd.value);
	put_key_string(f, "commandLine", config->boot.command_line.value);
	fputs(",\"drives\":[", f);
	for (size_t i = 0; i < config->n_drives; i++) {
		begin_object(f, i, "name", config->drives[i].name.value);
		put_key_string(f, "path", config->drives[i].path.value);
		put_key_given(f, "socket", config->drives[i].socket.value);
		put_key_string(f, "format",
			config_format_name((enum config_format)config->drives[i].format.value));
		put_key_bool(f, "readOnly", config->drives[i].read_only.value);
		fputc('}', f);
	}
	fputs("],\"networks\":[", f);
	for (size_t i = 0; i < config->n_networks; i++) {
		begin_object(f, i, "name", config->networks[i].name.value);
		put_key_string(f, "bridge", config->networks[i].bridge.value);
		put_key_given(f, "zone", config->networks[i].zone.value);
		put_key_given(f, "macvtap", config->networks[i].macvtap.value);
		put_key_given(f, "socket", config->networks[i].socket.value);
		put_key_bool(f, "vhost", config->networks[i].vhost.value);
		fputc('}', f);
	}
	fputs("],\"shares\":[", f);
	for (size_t i = 0; i < config->n_shares; i++) {
		begin_object(f, i, "tag", config->shares[i].tag.value);
		put_key_string(f, "path", config->shares[i].path.value);
		put_key_given(f, "socket", config->shares[i].socket.value);
		put_key_bool(f, "readOnly", config->shares[i].read_only.value);
		fputc('}', f);
	}
	fputs("]", f);
}

static void put_machine(FILE *f, const struct machine *machine)
{
	const struct vm_config *config = machine->config;

	fputs("{\"name\":", f);
	put_string(f, machine->name);
	put_key_string(f, "unit", machine->unit);
	put_key_string(f, "description", config ? config->machine.description.value : NULL);
	put_key_string(f, "configPath", machine->config_path);
	put_key_string(f, "configError", machine->config_error);
	put_key_bool(f, "transient", machine->transient);
	put_key_bool(f, "needsRestart", machine_needs_restart(machine));
	put_key_string(f, "state", machine_state_name(machine->state));
	put_key_string(f, "guestState", machine_guest_state_name(machine));
	put_key_string(f, "result", machine->result);
	fprintf(f, ",\"exitStatus\":%d", machine->exit_status);
	put_key_string(f, "statusText", machine->status_text);
	put_key_number(f, "leader", (uint64_t)machine->leader);
	put_key_number(f, "timestamp", machine->state_usec);
	put_key_number(f, "nRestarts", machine->n_restarts);
	put_key_number(f, "cpus", machine_n_cpus(machine));
	put_key_number(f, "memory", machine_memory_bytes(machine));
	if (config)
		put_config(f, config);
	fputc('}', f);
}

static int finish(FILE *f, char **text, char **ret)
{
	bool failed = ferror(f);

	if (fclose(f) != 0 || failed) {
		free(*text);
		return -ENOMEM;
	}
	*ret = *text;
	return 0;
}

int describe_machine(const struct machine *machine, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	put_machine(f, machine);
	return finish(f, &text, ret);
}

int describe_manager(const struct manager *manager, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	fputs("{\"version\":", f);
	put_string(f, VMM_VERSION);
	put_key_string(f, "spawner", manager->spawner->name);
	put_key_number(f, "nMachines", manager->n_machines);
	put_key_number(f, "nRunning", manager_n_running(manager));
	put_key_number(f, "memoryCommitted", manager_memory_committed(manager));
	put_key_number(f, "configTimestamp", manager->config_usec);
	fputs(",\"machines\":[", f);
	for (size_t i = 0; i < manager->n_machines; i++) {
		if (i > 0)
			fputc(',', f);
		put_machine(f, manager->machines[i]);
	}
	fputs("]}", f);
	return finish(f, &text, ret);
}
