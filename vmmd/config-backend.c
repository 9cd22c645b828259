/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: what contradicts in the sections of devices that somebody else serves. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

/* One of two that exclude each other, and one of which there must be. */
static int check_either(const struct config_checker *checker, struct config_where where,
	const char *path_key, const struct config_string *path, const char *socket_key,
	const struct config_string *socket)
{
	if (path->value && socket->value)
		return config_refuse(checker, socket->where, socket_key, "excludes Path=");
	if (!path->value && !socket->value)
		return config_refuse(checker, where, path_key,
			"is required and not set, and there is no Socket=");
	return 0;
}

/* What was written, and is not the default. */
static int check_absent(const struct config_checker *checker, const char *key,
	const struct config_number *number, uint64_t fallback, const char *text)
{
	if (number->value == fallback)
		return 0;
	return config_refuse(checker, number->where, key, "%s", text);
}

int config_check_engine_keys(
	const struct config_checker *checker, const struct config_drive *drive, const char *text)
{
	const struct {
		const char *key;
		const struct config_number *number;
	} rows[] = {
		{ "[Drive] Cache=", &drive->cache },
		{ "[Drive] Engine=", &drive->engine },
		{ "[Drive] Discard=", &drive->discard },
		{ "[Drive] BlockSize=", &drive->block_size },
		{ "[Drive] IOPSLimit=", &drive->limits.operations.limit },
		{ "[Drive] BandwidthLimit=", &drive->limits.bytes.limit },
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(rows); i++)
		r = check_absent(checker, rows[i].key, rows[i].number, 0, text);
	return r;
}

static int check_drive(const struct config_checker *checker, const struct config_drive *drive)
{
	static const char *const text =
		"is for drives that the machine serves itself, not for those with Socket= or Format=";
	int r;

	r = check_either(checker, drive->where, "[Drive] Path=", &drive->path,
		"[Drive] Socket=", &drive->socket);
	if (r < 0 || (!drive->socket.value && !config_drive_has_unit(drive)))
		return r;
	r = check_absent(checker, "[Drive] Device=", &drive->device, CONFIG_DEVICE_DISK, text);
	if (r >= 0)
		r = config_check_engine_keys(checker, drive, text);
	if (r >= 0 && drive->serial.value)
		r = config_refuse(checker, drive->serial.where, "[Drive] Serial=", "%s", text);
	if (r >= 0 && drive->socket.value)
		r = check_absent(checker, "[Drive] ReadOnly=", &drive->read_only, 0,
			"is for the back end to know, where there is a Socket=");
	if (r >= 0 && drive->socket.value)
		r = check_absent(checker, "[Drive] Format=", &drive->format, CONFIG_FORMAT_RAW,
			"is for drives with Path=");
	return r;
}

/* passt takes the place of the tap, and there is one connection to it. */
static int check_user_network(
	const struct config_checker *checker, const struct config_network *network)
{
	static const char *const text = "excludes User=";
	int r = 0;

	if (!network->user.value)
		return network->forward.value && *network->forward.value
			       ? config_refuse(checker, network->forward.where,
					 "[Network] Forward=", "needs User=yes")
			       : 0;
	if (network->bridge.value)
		r = config_refuse(checker, network->bridge.where, "[Network] Bridge=", "%s", text);
	if (r >= 0 && network->socket.value)
		r = config_refuse(checker, network->socket.where, "[Network] Socket=", "%s", text);
	if (r >= 0)
		r = check_absent(checker, "[Network] Vhost=", &network->vhost, 0, text);
	if (r >= 0)
		r = check_absent(checker, "[Network] Queues=", &network->queues, 1, text);
	return r < 0 ? r : config_check_forwards(checker, network);
}

static int check_network(const struct config_checker *checker, const struct config_network *network)
{
	const struct {
		const char *key;
		const struct config_number *number;
	} limits[] = {
		{ "[Network] ReceiveBandwidthLimit=", &network->receive.bytes.limit },
		{ "[Network] ReceivePacketLimit=", &network->receive.operations.limit },
		{ "[Network] TransmitBandwidthLimit=", &network->transmit.bytes.limit },
		{ "[Network] TransmitPacketLimit=", &network->transmit.operations.limit },
	};
	int r;

	r = config_check_network_kind(checker, network);
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
	r = check_absent(checker, "[Network] Queues=", &network->queues, 1,
		"is for taps, not for networks with Socket=");
	if (r < 0)
		return r;
	if (network->bridge.value)
		r = config_refuse(checker, network->socket.where,
			"[Network] Socket=", "excludes Bridge=: there is no tap");
	return r < 0 ? r
		     : check_absent(checker, "[Network] Vhost=", &network->vhost, 0,
			       "is for taps: Socket= is served by another process");
}

static int check_share(const struct config_checker *checker, const struct config_share *share)
{
	int r;

	r = check_either(checker, share->where, "[Share] Path=", &share->path,
		"[Share] Socket=", &share->socket);
	if (r >= 0 && share->socket.value)
		r = check_absent(checker, "[Share] ReadOnly=", &share->read_only, 0,
			"is for the back end to know, where there is a Socket=");
	return r;
}

/* What vmmd and the worker have no part in, where the kernel has the vsock. */
static int check_vsock(const struct config_checker *checker)
{
	static const char *const text =
		"is for a vsock that the machine serves itself, not for one with Vhost=";
	const struct vm_config *config = checker->config;
	const struct config_machine *machine = &config->machine;
	int r = 0;

	if (!config->vsock.enabled.value || !config->vsock.vhost.value)
		return 0;
	if (config->vsock.host_ports.value && config->vsock.host_ports.value[0])
		r = config_refuse(
			checker, config->vsock.host_ports.where, "[Vsock] HostPorts=", "%s", text);
	if (r >= 0)
		r = check_absent(checker, "[Vsock] BandwidthLimit=", &config->vsock.bandwidth_limit,
			0, text);
	if (r >= 0)
		r = check_absent(checker, "[Machine] ReadyPort=", &machine->ready_port, 0, text);
	if (r >= 0 && machine->ready_when.value == CONFIG_READY_GUEST &&
		!(machine->ready_text.value && machine->ready_text.value[0]))
		r = config_refuse(checker, machine->ready_when.where,
			"[Machine] ReadyWhen=", "needs ReadyText= where the vsock has Vhost=");
	return r;
}

int config_check_backends(const struct config_checker *checker)
{
	const struct vm_config *config = checker->config;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < config->n_drives; i++)
		r = check_drive(checker, &config->drives[i]);
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++)
		r = check_network(checker, &config->networks[i]);
	for (size_t i = 0; r >= 0 && i < config->n_shares; i++)
		r = check_share(checker, &config->shares[i]);
	return r < 0 ? r : check_vsock(checker);
}
