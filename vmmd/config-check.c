/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: what can be said only when all files have been read: defaults, what is missing, what
 * contradicts. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

static int missing(const struct config_checker *checker, const struct config_section *section,
	const struct config_key *key, struct config_where where)
{
	char name[96];

	snprintf(name, sizeof(name), "[%s] %s=", section->name, key->name);
	return config_refuse(checker, where, name, "is required and not set");
}

/* Defaults and required keys of one section's struct. */
static int complete_section(const struct config_checker *checker, const char *name, void *target,
	struct config_where where)
{
	const struct config_section *section = config_section_find(name);

	for (size_t i = 0; i < section->n_keys; i++) {
		const struct config_key *key = &section->keys[i];
		CLEANUP(free_p) char *reason = NULL;
		char *string = NULL;
		uint64_t number = 0;
		int r;

		if (config_type_is_string(key->type)) {
			if (config_string_at(target, key)->value)
				continue;
			if (key->required) {
				r = missing(checker, section, key, where);
				if (r < 0)
					return r;
				continue;
			}
		} else if (config_where_at(target, key)->line > 0) {
			continue;
		}
		if (!key->fallback)
			continue;
		r = config_value_parse(key, key->fallback, &string, &number, &reason);
		assert(r != -EBADMSG);
		if (r < 0)
			return r;
		if (config_type_is_string(key->type))
			config_string_at(target, key)->value = string;
		else
			config_number_at(target, key)->value = number;
	}
	return 0;
}

/* One image written through two drives would destroy itself. */
static int check_paths(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	for (size_t i = 0; i < config->n_drives; i++) {
		const struct config_drive *drive = &config->drives[i];

		for (size_t j = 0; j < i; j++) {
			const struct config_drive *other = &config->drives[j];
			int r;

			if (!drive->path.value || !other->path.value || !other->name.value ||
				strcmp(drive->path.value, other->path.value) != 0)
				continue;
			if (drive->read_only.value && other->read_only.value)
				continue;
			r = config_refuse(checker, drive->path.where, "[Drive] Path=",
				"\"%.200s\" is also the drive \"%s\"; two drives may share a file only "
				"when both are ReadOnly=yes",
				drive->path.value, other->name.value);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int check_multiple(
	const struct config_checker *checker, const struct config_number *number, const char *key)
{
	const struct config_machine *machine = &checker->config->machine;
	struct config_where where = number->where;
	uint64_t page = machine->huge_pages.value == CONFIG_HUGE_PAGES_2M   ? UINT64_C(2) << 20
			: machine->huge_pages.value == CONFIG_HUGE_PAGES_1G ? UINT64_C(1) << 30
									    : 4096;
	char size[32], unit[32];

	if (number->value % page == 0)
		return 0;
	if (where.line == 0)
		where = machine->huge_pages.where;
	return config_refuse(checker, where, key, "\"%s\" is not a multiple of HugePages=%s",
		config_format_size(number->value, size), config_format_size(page, unit));
}

static int check_memory(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	int r;

	r = check_multiple(checker, &config->machine.memory_bytes, "[Machine] Memory=");
	return r < 0 ? r
		     : check_multiple(
			       checker, &config->machine.hotplug_bytes, "[Machine] HotplugMemory=");
}

static int check_serials(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	for (size_t i = 0; i < config->n_drives; i++) {
		const struct config_string *serial = &config->drives[i].serial;
		size_t length = serial->value ? strlen(serial->value) : 0;
		bool good = length <= 20;
		int r;

		for (size_t j = 0; good && j < length; j++)
			good = serial->value[j] >= 0x20 && serial->value[j] <= 0x7e;
		if (good)
			continue;
		r = config_refuse(checker, serial->where,
			"[Drive] Serial=", "\"%.60s\" is not up to 20 printable ASCII characters",
			serial->value);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_pmem(const struct config_checker *checker)
{
	static const char *const text = "is not for Device=pmem";
	const struct vm_config *config = checker->config;
	size_t n = 0;

	for (size_t i = 0; i < config->n_drives; i++) {
		const struct config_drive *drive = &config->drives[i];
		int r = 0;

		if (drive->device.value != CONFIG_DEVICE_PMEM)
			continue;
		if (drive->read_only.value)
			r = config_refuse(
				checker, drive->read_only.where, "[Drive] ReadOnly=", "%s", text);
		if (r >= 0)
			r = config_check_engine_keys(checker, drive, text);
		if (r >= 0 && ++n == CONFIG_MAX_PMEM + 1)
			r = config_refuse(checker, drive->where, "[Drive]",
				"more than %d with Device=pmem", CONFIG_MAX_PMEM);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_bucket(const struct config_checker *checker, const struct config_bucket *bucket,
	const char *section, const char *stem)
{
	const struct config_number *number = &bucket->burst;
	const char *name = "Burst";
	char key[64];

	if (number->value == 0) {
		number = &bucket->one_time_burst;
		name = "OneTimeBurst";
	}
	if (bucket->limit.value != 0 || number->value == 0)
		return 0;
	snprintf(key, sizeof(key), "[%s] %s%s=", section, stem, name);
	return config_refuse(
		checker, number->where, key, "is a burst of %sLimit=, and there is none", stem);
}

static int check_bursts(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < config->n_drives; i++) {
		const struct config_limits *limits = &config->drives[i].limits;

		r = check_bucket(checker, &limits->operations, "Drive", "IOPS");
		if (r >= 0)
			r = check_bucket(checker, &limits->bytes, "Drive", "Bandwidth");
	}
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++) {
		const struct config_network *network = &config->networks[i];
		const struct {
			const struct config_bucket *bucket;
			const char *stem;
		} rows[] = {
			{ &network->receive.bytes, "ReceiveBandwidth" },
			{ &network->receive.operations, "ReceivePacket" },
			{ &network->transmit.bytes, "TransmitBandwidth" },
			{ &network->transmit.operations, "TransmitPacket" },
		};

		for (size_t j = 0; r >= 0 && j < ARRAY_SIZE(rows); j++)
			r = check_bucket(checker, rows[j].bucket, "Network", rows[j].stem);
	}
	return r;
}

static int check_console_limit(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	const struct config_machine *machine = &config->machine;
	struct config_where where = machine->console_limit.where;

	if (machine->console_limit.value == 0 || machine->console.value == CONFIG_CONSOLE_VIRTIO)
		return 0;
	return config_refuse(
		checker, where, "[Machine] ConsoleBandwidthLimit=", "is for Console=virtio");
}

static int check_watchdog(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	const struct config_machine *machine = &config->machine;
	struct config_where where = machine->watchdog.where;

	if (machine->watchdog.value == CONFIG_WATCHDOG_NO ||
		machine->transport.value == CONFIG_TRANSPORT_PCI)
		return 0;
	return config_refuse(checker, where,
		"[Machine] Watchdog=", "is a PCI device, and Transport= is not pci");
}

static int check_command_line(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	const struct config_string *line = &config->boot.command_line;
	const struct config_key *key = config_key_find(config_section_find("Boot"), "CommandLine");

	if (!line->value || strlen(line->value) <= key->maximum)
		return 0;
	return config_refuse(checker, line->where,
		"[Boot] CommandLine=", "%zu characters, more than the %ju that a kernel takes",
		strlen(line->value), (uintmax_t)key->maximum);
}

/* Set, and of no use. */
static int warn_without_ready(
	const struct config_checker *checker, struct config_where where, const char *key)
{
	return config_messages_add(checker->messages, CONFIG_WARNING,
		config_file_of(checker->config, where), where.line, key,
		"does nothing without ReadyWhen=guest");
}

static int check_ready(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	const struct config_machine *machine = &config->machine;
	struct config_where where = machine->ready_when.where;

	if (machine->ready_text.value && strlen(machine->ready_text.value) > CONFIG_MAX_READY_TEXT)
		return config_refuse(checker, machine->ready_text.where,
			"[Machine] ReadyText=", "%zu characters, more than %d",
			strlen(machine->ready_text.value), CONFIG_MAX_READY_TEXT);
	if (machine->ready_port.value != 0 && !config->vsock.enabled.value)
		return config_refuse(checker, machine->ready_port.where,
			"[Machine] ReadyPort=", "is a port of the vsock, and there is none");
	if (machine->ready_when.value != CONFIG_READY_GUEST) {
		if (machine->ready_port.value != 0)
			return warn_without_ready(
				checker, machine->ready_port.where, "[Machine] ReadyPort=");
		if (machine->ready_text.value && machine->ready_text.value[0])
			return warn_without_ready(
				checker, machine->ready_text.where, "[Machine] ReadyText=");
		return 0;
	}
	if (machine->ready_port.value != 0 || config->vsock.enabled.value ||
		(machine->ready_text.value && machine->ready_text.value[0]))
		return 0;
	return config_refuse(checker, where, "[Machine] ReadyWhen=",
		"the guest can say so by a vsock, by ReadyText= or ReadyPort=, and it has none of them");
}

/* Below /run, and without detours. */
static bool run_path_is_plain(const char *path, size_t length)
{
	size_t part = 0;

	if (length == 0 || length > 255)
		return false;
	for (size_t i = 0; i <= length; i++) {
		if (i < length && path[i] != '/')
			continue;
		if (i == part || (i - part == 1 && path[part] == '.') ||
			(i - part == 2 && path[part] == '.' && path[part + 1] == '.'))
			return false;
		part = i + 1;
	}
	return true;
}

int config_next_host_port(
	const char **at, uint32_t *ret_port, const char **ret_path, size_t *ret_length)
{
	static const char directory[] = ":/run/";
	const char *c = *at + strspn(*at, " \t");
	uint64_t port = 0;
	size_t length;

	if (!*c)
		return 0;
	if (*c < '0' || *c > '9')
		return -EBADMSG;
	for (; *c >= '0' && *c <= '9'; c++) {
		port = port * 10 + (uint64_t)(*c - '0');
		if (port >= UINT32_MAX)
			return -EBADMSG;
	}
	if (strncmp(c, directory, sizeof(directory) - 1) != 0)
		return -EBADMSG;
	c += sizeof(directory) - 1;
	length = strcspn(c, " \t");
	if (!run_path_is_plain(c, length))
		return -EBADMSG;
	*ret_port = (uint32_t)port;
	*ret_path = c;
	*ret_length = length;
	*at = c + length;
	return 1;
}

static int check_host_ports(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	const struct config_string *ports = &config->vsock.host_ports;
	const char *at = ports->value ? ports->value : "";
	const char *path;
	uint32_t port;
	size_t length;
	int r;

	do
		r = config_next_host_port(&at, &port, &path, &length);
	while (r > 0);
	if (r == 0)
		return 0;
	at += strspn(at, " \t");
	return config_refuse(checker, ports->where,
		"[Vsock] HostPorts=", "\"%.*s\" is not PORT:PATH with a path below /run",
		(int)MIN(strcspn(at, " \t"), (size_t)200), at);
}

int config_complete(struct vm_config *config, struct config_messages *messages)
{
	static int (*const checks[])(const struct config_checker *) = {
		config_check_backends,
		check_paths,
		check_memory,
		check_command_line,
		check_watchdog,
		check_ready,
		check_serials,
		check_pmem,
		check_bursts,
		check_console_limit,
		check_host_ports,
	};
	const struct config_checker checker = { .config = config, .messages = messages };
	struct config_where nowhere = {};
	int r;

	r = complete_section(&checker, "Machine", &config->machine, nowhere);
	if (r >= 0)
		r = complete_section(&checker, "Boot", &config->boot, nowhere);
	if (r >= 0)
		r = complete_section(&checker, "Vsock", &config->vsock, nowhere);
	for (size_t i = 0; r >= 0 && i < config->n_drives; i++)
		r = complete_section(
			&checker, "Drive", &config->drives[i], config->drives[i].where);
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++)
		r = complete_section(
			&checker, "Network", &config->networks[i], config->networks[i].where);
	for (size_t i = 0; r >= 0 && i < config->n_shares; i++)
		r = complete_section(
			&checker, "Share", &config->shares[i], config->shares[i].where);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](&checker);
	return r;
}
