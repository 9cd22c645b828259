/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spec-fill: a machine's configuration as the spec that its worker gets. */
#include "spec-fill.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "base/util.h"
#include "hash.h"
#include "tap.h"

static_assert(CONFIG_MAX_DRIVES <= VMM_SPEC_MAX_DRIVES, "all drives fit");
static_assert((int)CONFIG_MAX_PMEM == (int)VMM_SPEC_MAX_PMEM, "all of them fit");
static_assert((int)CONFIG_MAX_PAIRS == VMM_SPEC_MAX_TAPS, "as many queue pairs");
static_assert(CONFIG_MAX_NETWORKS <= VMM_SPEC_MAX_NETWORKS, "all networks fit");
static_assert(CONFIG_MAX_SHARES <= VMM_SPEC_MAX_SHARES, "all shares fit");
static_assert(RESOURCES_MAX_FDS + 3 <= VMM_HANDOVER_MAX_FDS, "all descriptors fit");
static_assert((int)CONFIG_TRANSPORT_PCI == (int)VMM_TRANSPORT_PCI &&
		      (int)CONFIG_TRANSPORT_MMIO == (int)VMM_TRANSPORT_MMIO,
	"same numbers");
static_assert((int)CONFIG_CACHE_UNSAFE == (int)VMM_CACHE_UNSAFE &&
		      (int)CONFIG_CACHE_DIRECT == (int)VMM_CACHE_DIRECT &&
		      (int)CONFIG_CACHE_WRITE_THROUGH == (int)VMM_CACHE_WRITE_THROUGH,
	"same numbers");
static_assert((int)CONFIG_ENGINE_IO_URING == (int)VMM_ENGINE_IO_URING &&
		      (int)CONFIG_ENGINE_THREADS == (int)VMM_ENGINE_THREADS,
	"same numbers");

/* Cuts where a character ends, and leaves no other than zero bytes behind it. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	if (n > size - 1) {
		n = size - 1;
		while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
			n--;
	}
	memset(to, 0, size);
	memcpy(to, from, n);
}

static void fill_machine(struct vmm_spec *spec, const struct vm_config *config)
{
	const struct config_machine *machine = &config->machine;

	if (machine->description.value)
		copy_text(spec->description, sizeof(spec->description), machine->description.value);
	if (config->boot.command_line.value)
		copy_text(spec->command_line, sizeof(spec->command_line),
			config->boot.command_line.value);
	spec->n_cpus = (uint32_t)machine->cpus.value;
	spec->memory_bytes = machine->memory_bytes.value;
	spec->transport = (uint32_t)machine->transport.value;
	if (!machine->packed_rings.value)
		spec->flags |= VMM_SPEC_SPLIT_RINGS;
	if (machine->rng.value)
		spec->flags |= VMM_SPEC_RNG;
	if (machine->console.value == CONFIG_CONSOLE_VIRTIO)
		spec->flags |= VMM_SPEC_VIRTIO_CONSOLE;
	spec->rng_rate.bytes.rate_per_second = machine->rng_limit.value;
	spec->console_rate.bytes.rate_per_second = machine->console_limit.value;
	if (machine->balloon.value)
		spec->flags |= VMM_SPEC_BALLOON;
	spec->hotplug_bytes = machine->hotplug_bytes.value;
	if (machine->watchdog.value != CONFIG_WATCHDOG_NO)
		spec->flags |= VMM_SPEC_WATCHDOG;
	if (machine->watchdog.value == CONFIG_WATCHDOG_FAIL)
		spec->watchdog_action = VMM_WATCHDOG_FAIL;
	if (machine->prefault.value)
		spec->flags |= VMM_SPEC_PREFAULT;
	switch (machine->huge_pages.value) {
	case CONFIG_HUGE_PAGES_TRANSPARENT:
		spec->flags |= VMM_SPEC_TRANSPARENT_HUGE;
		break;
	case CONFIG_HUGE_PAGES_2M:
		spec->huge_page_bytes = UINT64_C(2) << 20;
		break;
	case CONFIG_HUGE_PAGES_1G:
		spec->huge_page_bytes = UINT64_C(1) << 30;
		break;
	}
}

static struct vmm_spec_bucket make_bucket(const struct config_bucket *bucket)
{
	return (struct vmm_spec_bucket){
		.rate_per_second = bucket->limit.value,
		.burst = bucket->burst.value,
		.one_time_burst = bucket->one_time_burst.value,
	};
}

static struct vmm_spec_rate make_rate(const struct config_limits *limits)
{
	return (struct vmm_spec_rate){
		.bytes = make_bucket(&limits->bytes),
		.ops = make_bucket(&limits->operations),
	};
}

void spec_fill_drive(struct vmm_spec_drive *to, const struct config_drive *drive, uint32_t fd_index)
{
	static const uint32_t block_bytes[] = { 0, 512, 4096 };
	bool elsewhere = drive->socket.value || config_drive_has_unit(drive);

	*to = (struct vmm_spec_drive){
		.fd = fd_index,
		.cache = (uint32_t)drive->cache.value,
		.engine = (uint32_t)drive->engine.value,
		.n_queues = (uint32_t)drive->queues.value,
		.block_bytes = block_bytes[drive->block_size.value],
		.rate = make_rate(&drive->limits),
	};
	copy_text(to->id, sizeof(to->id), drive->name.value);
	if (elsewhere) {
		to->flags |= VMM_DRIVE_VHOST_USER;
		if (config_drive_has_unit(drive))
			to->flags |= VMM_DRIVE_UNIT;
		/* The back end's own number, where none is asked for. */
		if (drive->queues.where.line == 0)
			to->n_queues = 0;
	} else {
		copy_text(to->serial, sizeof(to->serial),
			drive->serial.value ? drive->serial.value : drive->name.value);
	}
	if (drive->device.value == CONFIG_DEVICE_PMEM)
		to->flags |= VMM_DRIVE_PMEM;
	if (drive->read_only.value)
		to->flags |= VMM_DRIVE_READ_ONLY;
	if (drive->discard.value)
		to->flags |= VMM_DRIVE_DISCARD;
}

void spec_fill_network(struct vmm_spec_network *to, const char *machine,
	const struct config_network *network, uint32_t fd_index)
{
	*to = (struct vmm_spec_network){
		.receive_rate = make_rate(&network->receive),
		.transmit_rate = make_rate(&network->transmit),
	};
	if (network->user.value) {
		to->stream_fd = fd_index;
	} else if (!network->socket.value) {
		to->n_taps = (uint32_t)network->queues.value;
		for (uint32_t i = 0; i < to->n_taps; i++) {
			to->tap_fds[i] = fd_index + i;
			to->vhost_fds[i] = network->vhost.value ? fd_index + to->n_taps + i : 0;
		}
	}
	copy_text(to->id, sizeof(to->id), network->name.value);
	tap_mac(machine, network, to->mac);
}

/*
 * Of this host and this name: the guest's machine id, where it has none of its own, stays the same
 * over its reinstallation and is another on each host. sd_id128_get_machine_app_specific() mixes
 * the host's id in by HMAC-SHA256, so that it cannot be told from the guest's.
 */
void spec_fill_uuid(uint8_t uuid[16], const char *name)
{
	sd_id128_t id =
		SD_ID128_MAKE(64, 1e, 9d, 0c, 3f, 52, 4b, 61, 8e, 0a, 57, c4, 92, f3, 1b, 7d);
	uint64_t hash = HASH_BEGIN;

	/* Names are unique and have at most 27 characters: both halves take all of them in. */
	for (const char *c = name; *c; c++) {
		hash = hash_step(hash, (unsigned char)*c);
		id.qwords[0] ^= hash;
		id.qwords[1] = (id.qwords[1] << 7 | id.qwords[1] >> 57) + hash;
	}
	if (sd_id128_get_machine_app_specific(id, &id) >= 0)
		memcpy(uuid, id.bytes, sizeof(id.bytes));
}

static void fill_share(
	struct vmm_spec_share *to, const struct config_share *share, uint32_t fd_index)
{
	*to = (struct vmm_spec_share){
		.fd = fd_index,
		.reconnect_msec = (uint32_t)share->reconnect.value * 1000,
		.flags = config_share_has_unit(share) ? VMM_SHARE_UNIT : 0,
	};
	copy_text(to->id, sizeof(to->id), share->tag.value);
}

/* Whether another process is to see the guest's memory. */
static bool has_backend(const struct vmm_spec *spec)
{
	for (uint32_t i = 0; i < spec->n_drives; i++)
		if (spec->drives[i].flags & VMM_DRIVE_VHOST_USER)
			return true;
	for (uint32_t i = 0; i < spec->n_networks; i++)
		if (spec->network_backends[i].fd != 0)
			return true;
	return spec->n_shares > 0;
}

size_t spec_fill(struct vmm_spec *spec, const struct machine *machine,
	const struct resources_result *result, const struct spec_sockets *sockets,
	int fds[VMM_HANDOVER_MAX_FDS])
{
	const struct vm_config *config = machine->config;
	uint32_t n = 1;

	vmm_spec_init(spec, machine->name);
	spec_fill_uuid(spec->uuid, machine->name);
	spec->ready = (uint32_t)config->machine.ready_when.value;
	if (config->machine.ready_text.value)
		snprintf(spec->ready_text, sizeof(spec->ready_text), "%s",
			config->machine.ready_text.value);
	spec->ready_port = (uint32_t)config->machine.ready_port.value;
	fill_machine(spec, config);
	spec->uid = machine->handed.uid;
	spec->gid = machine->handed.uid;

	fds[0] = -EBADF;
	for (size_t i = 0; i < result->n_fds; i++)
		fds[i + 1] = result->fds[i];
	spec->kvm_fd = n++;
	spec->kernel_fd = n++;
	if (config->boot.initrd.value)
		spec->initrd_fd = n++;
	spec->n_drives = (uint32_t)config->n_drives;
	for (size_t i = 0; i < config->n_drives; i++) {
		spec_fill_drive(&spec->drives[i], &config->drives[i], n++);
		if (spec->drives[i].flags & VMM_DRIVE_VHOST_USER)
			spec->drive_backends[i].reconnect_msec =
				(uint32_t)config->drives[i].reconnect.value * 1000;
	}
	spec->n_networks = (uint32_t)config->n_networks;
	for (size_t i = 0; i < config->n_networks; i++) {
		const struct config_network *network = &config->networks[i];

		spec_fill_network(&spec->networks[i], machine->name, network, n);
		if (network->socket.value)
			spec->network_backends[i] = (struct vmm_spec_backend){
				.fd = n,
				.reconnect_msec = (uint32_t)network->reconnect.value * 1000,
			};
		n += network->socket.value
			     ? 1
			     : (uint32_t)network->queues.value * (network->vhost.value ? 2 : 1);
	}
	spec->n_shares = (uint32_t)config->n_shares;
	for (size_t i = 0; i < config->n_shares; i++)
		fill_share(&spec->shares[i], &config->shares[i], n++);
	if (config->vsock.enabled.value && config->vsock.vhost.value)
		spec->vsock_vhost_fd = n++;
	if (has_backend(spec))
		spec->flags |= VMM_SPEC_SHARED_MEMORY;
	assert(n == result->n_fds + 1);
	spec->control_fd = n;
	fds[n++] = sockets->control_fd;
	if (config->vsock.enabled.value) {
		spec->vsock_cid = config->vsock.cid.value ? (uint32_t)config->vsock.cid.value
							  : vsock_default_cid(machine->name);
		spec->vsock_receive_rate.bytes.rate_per_second =
			config->vsock.bandwidth_limit.value;
		spec->vsock_transmit_rate.bytes.rate_per_second =
			config->vsock.bandwidth_limit.value;
		if (spec->vsock_vhost_fd == 0) {
			spec->vsock_listen_fd = n;
			fds[n++] = sockets->vsock_fd;
		}
	}
	spec->n_fds = n;
	return n;
}
