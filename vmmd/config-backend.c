/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: what contradicts in the sections of devices that somebody else serves. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

struct checker {
	const struct vm_config *config;
	struct config_messages *messages;
	const char *section;
};

static int say(
	struct checker *checker, struct config_where where, const char *key, const char *text)
{
	const struct vm_config *config = checker->config;
	char name[64];

	snprintf(name, sizeof(name), "[%s]%s%s%s", checker->section, key ? " " : "", key ? key : "",
		key ? "=" : "");
	return config_messages_add(checker->messages, CONFIG_ERROR,
		config->files[where.file < config->n_files ? where.file : 0], where.line, name,
		"%s", text);
}

/* One of two that exclude each other, and one of which there must be. */
static int check_either(struct checker *checker, struct config_where where,
	const struct config_string *path, const struct config_string *socket)
{
	if (path->value && socket->value)
		return say(checker, socket->where, "Socket", "excludes Path=");
	if (!path->value && !socket->value)
		return say(
			checker, where, "Path", "is required and not set, and there is no Socket=");
	return 0;
}

/* What was written, and is not the default. */
static int check_absent(struct checker *checker, const char *key,
	const struct config_number *number, uint64_t fallback, const char *text)
{
	if (number->value == fallback)
		return 0;
	return say(checker, number->where, key, text);
}

static int check_drive(struct checker *checker, const struct config_drive *drive)
{
	const struct {
		const char *key;
		const struct config_number *number;
	} engine_keys[] = {
		{ "Device", &drive->device },
		{ "Cache", &drive->cache },
		{ "Engine", &drive->engine },
		{ "Discard", &drive->discard },
		{ "BlockSize", &drive->block_size },
		{ "IOPSLimit", &drive->limits.operations.limit },
		{ "BandwidthLimit", &drive->limits.bytes.limit },
	};
	static const char *const text =
		"is for drives that the machine serves itself, not for those with Socket= or Format=";
	int r;

	checker->section = "Drive";
	r = check_either(checker, drive->where, &drive->path, &drive->socket);
	if (r < 0 || (!drive->socket.value && !config_drive_has_unit(drive)))
		return r;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(engine_keys); i++)
		r = check_absent(checker, engine_keys[i].key, engine_keys[i].number, 0, text);
	if (r >= 0 && drive->serial.value)
		r = say(checker, drive->serial.where, "Serial", text);
	if (r >= 0 && drive->socket.value)
		r = check_absent(checker, "ReadOnly", &drive->read_only, 0,
			"is for the back end to know, where there is a Socket=");
	if (r >= 0 && drive->socket.value)
		r = check_absent(checker, "Format", &drive->format, CONFIG_FORMAT_RAW,
			"is for drives with Path=");
	return r;
}

/* passt takes the place of the tap, and there is one connection to it. */
static int check_user_network(struct checker *checker, const struct config_network *network)
{
	static const char *const text = "excludes User=";
	int r = 0;

	if (!network->user.value)
		return network->forward.value && *network->forward.value
			       ? say(checker, network->forward.where, "Forward", "needs User=yes")
			       : 0;
	if (network->bridge.value)
		r = say(checker, network->bridge.where, "Bridge", text);
	if (r >= 0 && network->socket.value)
		r = say(checker, network->socket.where, "Socket", text);
	if (r >= 0)
		r = check_absent(checker, "Vhost", &network->vhost, 0, text);
	if (r >= 0)
		r = check_absent(checker, "Queues", &network->queues, 1, text);
	return r < 0 ? r : config_check_forwards(checker->config, network, checker->messages);
}

static int check_network(struct checker *checker, const struct config_network *network)
{
	const struct {
		const char *key;
		const struct config_number *number;
	} limits[] = {
		{ "ReceiveBandwidthLimit", &network->receive.bytes.limit },
		{ "ReceivePacketLimit", &network->receive.operations.limit },
		{ "TransmitBandwidthLimit", &network->transmit.bytes.limit },
		{ "TransmitPacketLimit", &network->transmit.operations.limit },
	};
	int r;

	checker->section = "Network";
	r = config_check_network_kind(checker->config, network, checker->messages);
	if (r >= 0)
		r = check_user_network(checker, network);
	if (r < 0 || network->user.value || (!network->socket.value && !network->vhost.value))
		return r;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(limits); i++)
		r = check_absent(checker, limits[i].key, limits[i].number, 0,
			"is for networks that the machine serves itself, not for those with "
			"Socket= or Vhost=");
	if (r < 0 || !network->socket.value)
		return r;
	r = check_absent(checker, "Queues", &network->queues, 1,
		"is for taps, not for networks with Socket=");
	if (r < 0)
		return r;
	if (network->bridge.value)
		r = say(checker, network->socket.where, "Socket",
			"excludes Bridge=: there is no tap");
	return r < 0 ? r
		     : check_absent(checker, "Vhost", &network->vhost, 0,
			       "is for taps: Socket= is served by another process");
}

static int check_share(struct checker *checker, const struct config_share *share)
{
	int r;

	checker->section = "Share";
	r = check_either(checker, share->where, &share->path, &share->socket);
	if (r >= 0 && share->socket.value)
		r = check_absent(checker, "ReadOnly", &share->read_only, 0,
			"is for the back end to know, where there is a Socket=");
	return r;
}

/* What vmmd and the worker have no part in, where the kernel has the vsock. */
static int check_vsock(struct checker *checker)
{
	static const char *const text =
		"is for a vsock that the machine serves itself, not for one with Vhost=";
	const struct vm_config *config = checker->config;
	const struct config_machine *machine = &config->machine;
	int r = 0;

	if (!config->vsock.enabled.value || !config->vsock.vhost.value)
		return 0;
	checker->section = "Vsock";
	if (config->vsock.host_ports.value && config->vsock.host_ports.value[0])
		r = say(checker, config->vsock.host_ports.where, "HostPorts", text);
	if (r >= 0)
		r = check_absent(
			checker, "BandwidthLimit", &config->vsock.bandwidth_limit, 0, text);
	checker->section = "Machine";
	if (r >= 0)
		r = check_absent(checker, "ReadyPort", &machine->ready_port, 0, text);
	if (r >= 0 && machine->ready_when.value == CONFIG_READY_GUEST &&
		!(machine->ready_text.value && machine->ready_text.value[0]))
		r = say(checker, machine->ready_when.where, "ReadyWhen",
			"needs ReadyText= where the vsock has Vhost=");
	return r;
}

int config_check_backends(const struct vm_config *config, struct config_messages *messages)
{
	struct checker checker = { .config = config, .messages = messages };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < config->n_drives; i++)
		r = check_drive(&checker, &config->drives[i]);
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++)
		r = check_network(&checker, &config->networks[i]);
	for (size_t i = 0; r >= 0 && i < config->n_shares; i++)
		r = check_share(&checker, &config->shares[i]);
	return r < 0 ? r : check_vsock(&checker);
}
