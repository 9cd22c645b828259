/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: config: the text of a .vm file. What is accepted keeps all limits, whatever it is; what is
 * refused comes with a message.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

static void check_string(const struct config_string *string, const struct vm_config *config)
{
	FUZZ_CHECK(string->where.file < config->n_files);
	FUZZ_CHECK(!string->value || strlen(string->value) <= CONFIG_MAX_LINE_BYTES * 2);
}

static void check_network(const struct config_network *network)
{
	const char *at = network->forward.value ? network->forward.value : "";
	struct config_forward forward;
	size_t n = 0;
	int r;

	FUZZ_CHECK(network->name.value);
	FUZZ_CHECK(!network->zone.value || strlen(network->zone.value) <= CONFIG_MAX_ZONE);
	FUZZ_CHECK(!network->bridge.value + !network->zone.value + !network->macvtap.value +
			   !network->socket.value + !network->user.value >=
		   4);
	while ((r = config_next_forward(&at, &forward)) > 0) {
		FUZZ_CHECK(forward.host_port > 0 && forward.guest_port > 0);
		n++;
	}
	FUZZ_CHECK(r == 0 && n <= CONFIG_MAX_FORWARDS && (n == 0 || network->user.value));
}

static void check_config(const struct vm_config *config)
{
	const struct config_machine *machine = &config->machine;
	size_t n_lines = 0;

	FUZZ_CHECK(machine->cpus.value >= 1 && machine->cpus.value <= 64);
	FUZZ_CHECK(machine->memory_bytes.value >= 1 << 20);
	FUZZ_CHECK(machine->memory_bytes.value <= UINT64_C(1) << 40);
	FUZZ_CHECK(machine->memory_bytes.value % 4096 == 0);
	FUZZ_CHECK(machine->transport.value <= CONFIG_TRANSPORT_MMIO);
	FUZZ_CHECK(config->boot.kernel.value && config->boot.kernel.value[0] == '/');
	check_string(&config->boot.command_line, config);
	FUZZ_CHECK(!config->boot.command_line.value ||
		   strlen(config->boot.command_line.value) <= 2047);
	FUZZ_CHECK(config->n_drives <= CONFIG_MAX_DRIVES);
	for (size_t i = 0; i < config->n_drives; i++) {
		const struct config_drive *drive = &config->drives[i];

		FUZZ_CHECK(drive->name.value && strlen(drive->name.value) <= 20);
		FUZZ_CHECK(!drive->path.value != !drive->socket.value);
		FUZZ_CHECK(!drive->path.value || drive->path.value[0] == '/');
		FUZZ_CHECK(!drive->socket.value || drive->socket.value[0] == '/');
		FUZZ_CHECK(drive->format.value < CONFIG_N_FORMATS);
		for (size_t j = 0; j < i; j++)
			FUZZ_CHECK(strcmp(config->drives[j].name.value, drive->name.value) != 0);
	}
	FUZZ_CHECK(config->n_networks <= CONFIG_MAX_NETWORKS);
	for (size_t i = 0; i < config->n_networks; i++)
		check_network(&config->networks[i]);
	FUZZ_CHECK(config->n_shares <= CONFIG_MAX_SHARES);
	for (size_t i = 0; i < config->n_shares; i++) {
		const struct config_share *share = &config->shares[i];

		FUZZ_CHECK(share->tag.value && strlen(share->tag.value) <= 20);
		FUZZ_CHECK(!share->path.value != !share->socket.value);
		FUZZ_CHECK(!share->path.value || share->path.value[0] == '/');
		for (size_t j = 0; j < i; j++)
			FUZZ_CHECK(strcmp(config->shares[j].tag.value, share->tag.value) != 0);
	}
	for (size_t i = 0; i < CONFIG_N_PASS_SECTIONS; i++) {
		n_lines += config->pass[i].n_lines;
		for (size_t j = 0; j < config->pass[i].n_lines; j++) {
			const char *text = config->pass[i].lines[j].text;

			/* What the generator writes on must not begin a section of its own. */
			FUZZ_CHECK(text[0] != '[' && !strchr(text, '\n') && strchr(text, '='));
		}
	}
	FUZZ_CHECK(n_lines <= CONFIG_MAX_LINES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	int r;

	r = config_load_text((const char *)data, size, "fuzz.vm", "fuzz", &messages, &config);
	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	FUZZ_CHECK((r == 0) == (config != NULL) && (r == 0) == (messages.n_errors == 0));
	FUZZ_CHECK(messages.n_items <= CONFIG_MAX_MESSAGES);
	for (size_t i = 0; i < messages.n_items; i++) {
		char *text;

		FUZZ_CHECK(config_message_format(&messages.items[i], &text) == 0);
		FUZZ_CHECK(strstr(text, "fuzz.vm") == text);
		free(text);
	}
	if (config)
		check_config(config);
	vm_config_free(config);
	config_messages_finish(&messages);
	return 0;
}
