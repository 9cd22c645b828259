/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the generator: whatever a .vm file holds, its drop-in has the sections that it is meant to
 * have, in their order, and no line of the file's own outside them; and so have the drop-ins of
 * those who serve its drives and shares.
 */
#include <string.h>

#include "config.h"
#include "dropin.h"
#include "fuzz.h"

/* Lines of the drop-in: [Unit], then [Service] and [Install] at most once each. */
static void check_text(const char *text, size_t size)
{
	static const char *const sections[] = { "[Unit]", "[Service]", "[Install]" };
	size_t next = 0;

	FUZZ_CHECK(size > 0 && text[size - 1] == '\n');
	FUZZ_CHECK(strlen(text) == size);
	for (const char *line = text; *line != '\0';) {
		size_t n = strcspn(line, "\n");

		if (n > 0 && *line == '[') {
			while (next < 3 && (strlen(sections[next]) != n ||
						   strncmp(line, sections[next], n) != 0))
				next++;
			FUZZ_CHECK(next < 3);
			next++;
		} else if (n > 0 && *line != '#') {
			FUZZ_CHECK(next > 0 && memchr(line, '=', n));
			/* A line that goes on would take the next one in. */
			FUZZ_CHECK(line[n - 1] != '\\');
			FUZZ_CHECK(!memchr(line, '\r', n));
		}
		line += n + 1;
	}
	FUZZ_CHECK(next > 0);
}

/* drive or share is NULL. */
static void check_server(const struct config_drive *drive, const struct config_share *share)
{
	size_t text_size = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &text_size);

	FUZZ_CHECK(stream);
	if (drive)
		dropin_write_drive(stream, "/etc/vmm/web.vm", drive);
	else
		dropin_write_share(stream, "/etc/vmm/web.vm", share);
	FUZZ_CHECK(fclose(stream) == 0);
	check_text(text, text_size);
	free(text);
}

static void check_network(const struct config_network *network)
{
	size_t text_size = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &text_size);

	FUZZ_CHECK(stream);
	dropin_write_network(stream, "/etc/vmm/web.vm", "web", network);
	FUZZ_CHECK(fclose(stream) == 0);
	check_text(text, text_size);
	free(text);
}

static void check_servers(const struct vm_config *config)
{
	for (size_t i = 0; i < config->n_drives; i++)
		if (config_drive_has_unit(&config->drives[i]))
			check_server(&config->drives[i], NULL);
	for (size_t i = 0; i < config->n_networks; i++)
		if (config->networks[i].user.value)
			check_network(&config->networks[i]);
	for (size_t i = 0; i < config->n_shares; i++)
		if (config_share_has_unit(&config->shares[i]))
			check_server(NULL, &config->shares[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	size_t text_size = 0;
	char *text = NULL;
	FILE *stream;
	int r;

	r = config_load_text(
		(const char *)data, size, "/etc/vmm/web.vm", "web", &messages, &config);
	FUZZ_CHECK((r == 0) == (config != NULL));
	stream = open_memstream(&text, &text_size);
	FUZZ_CHECK(stream);
	dropin_write(stream, "/etc/vmm/web.vm", config, &messages, 0);
	FUZZ_CHECK(fclose(stream) == 0);
	check_text(text, text_size);
	free(text);
	if (config)
		check_servers(config);
	vm_config_free(config);
	config_messages_finish(&messages);
	return 0;
}
