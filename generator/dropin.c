/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dropin: see dropin.h. The syntax is that of systemd.syntax(7). */
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "dropin.h"
#include "hash.h"

static const char *const pass_names[CONFIG_N_PASS_SECTIONS] = {
	[CONFIG_PASS_UNIT] = "Unit",
	[CONFIG_PASS_SERVICE] = "Service",
	[CONFIG_PASS_INSTALL] = "Install",
};

/* A value that systemd reads back as it is: no specifier in it is expanded, and it ends with its
 * line. */
static void write_literal(FILE *stream, const char *value)
{
	size_t size = strlen(value);

	while (size > 0 && value[size - 1] == '\\')
		size--;
	for (size_t i = 0; i < size; i++) {
		if (value[i] == '%')
			fputc('%', stream);
		fputc(value[i] == '\n' || value[i] == '\r' ? ' ' : value[i], stream);
	}
}

/* The same as one word of a list. */
static void write_word(FILE *stream, const char *value)
{
	fputc('"', stream);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', stream);
		else if (*value == '%')
			fputc('%', stream);
		fputc(*value == '\n' || *value == '\r' ? ' ' : *value, stream);
	}
	fputc('"', stream);
}

/* The rest of a comment line, whatever text holds. */
static void write_comment(FILE *stream, const char *text)
{
	for (; *text != '\0'; text++)
		fputc(*text == '\n' || *text == '\r' ? ' ' : *text, stream);
	fputc('\n', stream);
}

static void write_mounts(FILE *stream, const char *path)
{
	if (!path)
		return;
	fputs("RequiresMountsFor=", stream);
	write_word(stream, path);
	fputc('\n', stream);
}

static void write_pass(FILE *stream, const struct vm_config *config,
	enum config_pass_section section, size_t n_root)
{
	const struct config_pass *pass = &config->pass[section];
	unsigned file = UINT32_MAX;

	if (pass->n_lines == 0)
		return;
	if (section != CONFIG_PASS_UNIT)
		fprintf(stream, "\n[%s]\n", pass_names[section]);
	for (size_t i = 0; i < pass->n_lines; i++) {
		const struct config_line *line = &pass->lines[i];

		if (line->where.file != file && line->where.file < config->n_files) {
			file = line->where.file;
			fprintf(stream, "# line %u of ", line->where.line);
			write_comment(stream, config->files[file] + n_root);
		}
		fprintf(stream, "%s\n", line->text);
	}
}

/* Connections to the socket start the service, also again; wanted by nobody, both end. */
static void write_backend(
	FILE *stream, const char *kind, const struct vm_config *config, const char *device)
{
	static const char *const settings[] = { "Wants", "After" };

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		fprintf(stream, "%s=vmm-%s@%s:%s.socket vmm-%s@%s:%s.service\n", settings[i], kind,
			config->name, device, kind, config->name, device);
}

static void write_backends(FILE *stream, const struct vm_config *config)
{
	for (size_t i = 0; i < config->n_drives; i++)
		if (config_drive_has_unit(&config->drives[i]))
			write_backend(stream, "drive", config, config->drives[i].name.value);
	for (size_t i = 0; i < config->n_networks; i++)
		if (config->networks[i].user.value)
			write_backend(stream, "network", config, config->networks[i].name.value);
	for (size_t i = 0; i < config->n_shares; i++)
		if (config_share_has_unit(&config->shares[i]))
			write_backend(stream, "share", config, config->shares[i].tag.value);
}

static void write_source(FILE *stream, const char *path)
{
	fputs("# Made by vmm-generator from ", stream);
	write_comment(stream, path);
	fputs("\n[Unit]\nSourcePath=", stream);
	write_literal(stream, path);
	fputc('\n', stream);
}

static void write_server(
	FILE *stream, const char *path, const char *source, bool read_only, const char *destination)
{
	write_source(stream, path);
	write_mounts(stream, source);
	fputs(read_only ? "\n[Service]\nBindReadOnlyPaths=" : "\n[Service]\nBindPaths=", stream);
	write_word(stream, source);
	fprintf(stream, ":%s\n", destination);
}

static bool has_backing_files(enum config_format format)
{
	return format == CONFIG_FORMAT_QCOW2 || format == CONFIG_FORMAT_QED ||
	       format == CONFIG_FORMAT_VMDK;
}

void dropin_write_drive(FILE *stream, const char *path, const struct config_drive *drive)
{
	enum config_format format = (enum config_format)drive->format.value;
	bool read_only = drive->read_only.value;

	write_server(stream, path, drive->path.value, read_only, "/mnt/image");
	/* Without a backing file, whatever the image says: it is its owner's. vmmd refuses one that
	 * does. */
	fprintf(stream,
		"Environment=\"VMM_DISK={\\\"driver\\\":\\\"%s\\\",\\\"node-name\\\":\\\"disk\\\","
		"\\\"file\\\":\\\"file\\\",\\\"read-only\\\":%s%s}\"\n",
		config_format_name(format), read_only ? "true" : "false",
		has_backing_files(format) ? ",\\\"backing\\\":null" : "");
	fprintf(stream, "Environment=VMM_QUEUES=%u VMM_READ_ONLY=%s VMM_WRITABLE=%s\n",
		(unsigned int)drive->queues.value, read_only ? "on" : "off",
		read_only ? "off" : "on");
}

void dropin_write_share(FILE *stream, const char *path, const struct config_share *share)
{
	write_server(stream, path, share->path.value, share->read_only.value, "/mnt/share");
}

/*
 * A name that no machine's unit has (vmm-NAME), of no more than a user's 31 characters: instances
 * of one template share a dynamic user else, and could trace and kill each other.
 */
static void write_user(FILE *stream, const char *machine, const char *network)
{
	uint64_t hash = hash_text(hash_step(hash_text(HASH_BEGIN, machine), ':'), network);

	fprintf(stream, "User=vmmnet-%016" PRIx64 "\n", hash);
}

void dropin_write_network(
	FILE *stream, const char *path, const char *machine, const struct config_network *network)
{
	const char *at = network->forward.value ? network->forward.value : "";
	const char *separator = "";
	struct config_forward forward;

	write_source(stream, path);
	fputs("\n[Service]\n", stream);
	write_user(stream, machine, network->name.value);
	fputs("Environment=\"VMM_FORWARD=", stream);
	/* passt wants no brackets, and the address before a slash. */
	for (; config_next_forward(&at, &forward) > 0; separator = " ")
		fprintf(stream, "%s-%c %s%s%u:%u", separator, forward.is_udp ? 'u' : 't',
			forward.address, *forward.address ? "/" : "", forward.host_port,
			forward.guest_port);
	fputs("\"\n", stream);
}

void dropin_write(FILE *stream, const char *path, const struct vm_config *config,
	const struct config_messages *messages, size_t n_root)
{
	fputs("# Made by vmm-generator from ", stream);
	write_comment(stream, path);

	for (size_t i = 0; i < messages->n_items; i++) {
		const struct config_message *message = &messages->items[i];
		CLEANUP(free_p) char *text = NULL;

		if (config_message_format(message, &text) < 0)
			continue;
		fputs(message->severity == CONFIG_ERROR ? "# error: " : "# warning: ", stream);
		write_comment(stream, text);
	}

	fputs("\n[Unit]\nSourcePath=", stream);
	write_literal(stream, path);
	fputc('\n', stream);
	if (!config) {
		fputs("# The file cannot be used, so a start will fail and say why.\n", stream);
		return;
	}
	if (config->machine.description.value && *config->machine.description.value != '\0') {
		fputs("Description=", stream);
		write_literal(stream, config->machine.description.value);
		fputc('\n', stream);
	}
	write_mounts(stream, config->boot.kernel.value);
	write_mounts(stream, config->boot.initrd.value);
	for (size_t i = 0; i < config->n_drives; i++)
		write_mounts(stream, config->drives[i].path.value);
	write_backends(stream, config);
	for (int section = 0; section < CONFIG_N_PASS_SECTIONS; section++)
		write_pass(stream, config, section, n_root);
}
