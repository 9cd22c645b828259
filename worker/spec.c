/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spec: checks a struct vmm_spec, member by member. What it lets through is well-formed; what
 * a worker can build of it, the worker says (build.c).
 */
#include "worker/spec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "worker/message.h"

#define PAGE_BYTES 4096
#define HOTPLUG_BLOCK_BYTES (UINT64_C(2) << 20)
#define RING_MIN_BYTES (UINT32_C(4) << 10)
#define RING_MAX_BYTES (UINT32_C(1) << 20)
#define LOG_MAX_LINES 100000
/* The kernel reserves 0 to 2 and U32_MAX. */
#define VSOCK_FIRST_CID 3

struct checker {
	const struct vmm_spec *spec;
	size_t n_fds;
	bool named[VMM_HANDOVER_MAX_FDS];
	char *text;
	size_t text_size;
};

static int __attribute__((format(printf, 2, 3)))
bad(struct checker *checker, const char *format, ...)
{
	va_list arguments;

	if (checker->text_size > 0) {
		va_start(arguments, format);
		vsnprintf(checker->text, checker->text_size, format, arguments);
		va_end(arguments);
	}
	return -EBADMSG;
}

static bool is_power_of_two(uint64_t value)
{
	return value > 0 && (value & (value - 1)) == 0;
}

/* No control characters; tabs where asked for. Bytes from 0x80 may be UTF-8 and are let be. */
static bool string_is_text(const char *string, bool tabs)
{
	for (; *string; string++)
		if (((unsigned char)*string < 0x20 && !(tabs && *string == '\t')) ||
			*string == 0x7f)
			return false;
	return true;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool id_is_valid(const char *id)
{
	if (!*id)
		return false;
	for (; *id; id++)
		if (!is_alphanumeric(*id) && !strchr("._-", *id))
			return false;
	return true;
}

bool vmm_name_is_valid(const char *name)
{
	size_t length = strnlen(name, VMM_NAME_SIZE);

	if (length == 0 || length == VMM_NAME_SIZE)
		return false;
	if (name[0] == '-' || name[length - 1] == '-')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
			name[i] != '-')
			return false;
	return true;
}

void vmm_spec_init(struct vmm_spec *spec, const char *name)
{
	*spec = (struct vmm_spec){
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_PROTOCOL_VERSION,
		.size = sizeof(*spec),
		.n_fds = 1,
	};
	strncpy(spec->name, name, sizeof(spec->name) - 1);
}

/* Index 0 is none. Each descriptor has one user, who closes it. */
static int claim_fd(struct checker *checker, uint32_t index, const char *what, bool needed)
{
	if (index == 0)
		return needed ? bad(checker, "%s: no descriptor is given", what) : 0;
	if (index >= checker->n_fds)
		return bad(checker, "%s: descriptor %u of %zu does not exist", what, index,
			checker->n_fds);
	if (checker->named[index])
		return bad(checker, "%s: descriptor %u is used twice", what, index);
	checker->named[index] = true;
	return 0;
}

static int check_bucket(struct checker *checker, const struct vmm_spec_bucket *bucket,
	const char *what, const char *unit)
{
	if (bucket->rate_per_second == 0 && (bucket->burst != 0 || bucket->one_time_burst != 0))
		return bad(checker, "%s: a burst of %s without a rate", what, unit);
	/* Leaves room for sums in the limiter. */
	if (bucket->rate_per_second > INT64_MAX || bucket->burst > INT64_MAX ||
		bucket->one_time_burst > INT64_MAX)
		return bad(checker, "%s: rate or burst of %s is too large", what, unit);
	return 0;
}

static int check_rate(struct checker *checker, const struct vmm_spec_rate *rate, const char *what)
{
	int r;

	r = check_bucket(checker, &rate->bytes, what, "bytes");
	if (r < 0)
		return r;
	return check_bucket(checker, &rate->ops, what, "operations");
}

static int check_queue_size(struct checker *checker, uint32_t size, const char *what)
{
	if (size == 0 || (is_power_of_two(size) && size >= 4 && size <= VMM_SPEC_MAX_QUEUE_SIZE))
		return 0;
	return bad(checker, "%s: queue size %u is not a power of two from 4 to %u", what, size,
		VMM_SPEC_MAX_QUEUE_SIZE);
}

static int check_reconnect(
	struct checker *checker, uint32_t msec, bool vhost_user, const char *what)
{
	if (msec > VMM_SPEC_MAX_RECONNECT_MSEC)
		return bad(checker, "%s: waits %u ms, more than %u, for its back end", what, msec,
			VMM_SPEC_MAX_RECONNECT_MSEC);
	if (!vhost_user && msec != 0)
		return bad(checker, "%s: waits for a back end, and has none", what);
	return 0;
}

static bool rate_is_none(const struct vmm_spec_rate *rate)
{
	static const struct vmm_spec_rate none;

	return memcmp(rate, &none, sizeof(none)) == 0;
}

/* What only the back end could do. backend: NULL for one that is attached. */
static int check_drive_backend(struct checker *checker, const struct vmm_spec_drive *drive,
	const struct vmm_spec_backend *backend, const char *what)
{
	bool vhost_user = drive->flags & VMM_DRIVE_VHOST_USER;

	if (vhost_user && (drive->cache != 0 || drive->engine != 0 || drive->block_bytes != 0 ||
				  drive->serial[0] || (drive->flags & VMM_DRIVE_DISCARD) ||
				  !rate_is_none(&drive->rate)))
		return bad(checker,
			"%s: cache, engine, blocks, serial, discard and limits are its back end's",
			what);
	if (!vhost_user && (drive->flags & VMM_DRIVE_UNIT))
		return bad(checker, "%s: the unit of a back end, and it has none", what);
	if (!backend)
		return 0;
	if (vhost_user && !(checker->spec->flags & VMM_SPEC_SHARED_MEMORY))
		return bad(checker, "%s: a back end, and memory that is not shared", what);
	if (backend->fd != 0)
		return bad(checker, "%s: a back end's descriptor beside its own", what);
	return check_reconnect(checker, backend->reconnect_msec, vhost_user, what);
}

static int check_drive(struct checker *checker, const struct vmm_spec_drive *drive,
	const struct vmm_spec_backend *backend)
{
	char what[64];
	int r;

	snprintf(what, sizeof(what), "drive %s", drive->id);
	if (!vmm_message_string_ends(drive->serial, sizeof(drive->serial)))
		return bad(checker, "%s: serial has no end", what);
	for (const char *c = drive->serial; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			return bad(checker, "%s: serial is not printable ASCII", what);
	if (drive->reserved[0] || drive->reserved[1] || drive->reserved[2])
		return bad(checker, "%s: reserved bytes are not zero", what);
	if (drive->flags & ~VMM_DRIVE_FLAGS)
		return bad(checker, "%s: unknown flags 0x%x", what, drive->flags);
	if ((drive->flags & VMM_DRIVE_PMEM) && drive->flags != VMM_DRIVE_PMEM)
		return bad(checker, "%s: persistent memory has no other flags", what);
	if (drive->cache >= VMM_CACHE_COUNT)
		return bad(checker, "%s: unknown cache mode %u", what, drive->cache);
	if (drive->engine >= VMM_ENGINE_COUNT)
		return bad(checker, "%s: unknown engine %u", what, drive->engine);
	if (drive->block_bytes != 0 && drive->block_bytes != 512 && drive->block_bytes != 4096)
		return bad(checker, "%s: blocks of %u bytes", what, drive->block_bytes);
	if (drive->n_queues > VMM_SPEC_MAX_QUEUES)
		return bad(checker, "%s: %u queues are more than %u", what, drive->n_queues,
			VMM_SPEC_MAX_QUEUES);
	r = check_queue_size(checker, drive->queue_size, what);
	if (r < 0)
		return r;
	r = check_rate(checker, &drive->rate, what);
	if (r < 0)
		return r;
	r = check_drive_backend(checker, drive, backend, what);
	if (r < 0)
		return r;
	return claim_fd(checker, drive->fd, what, true);
}

static int check_pmem(struct checker *checker)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < checker->spec->n_drives; i++)
		n += (checker->spec->drives[i].flags & VMM_DRIVE_PMEM) != 0;
	return n <= VMM_SPEC_MAX_PMEM ? 0
				      : bad(checker, "drives: more than %d are persistent memory",
						VMM_SPEC_MAX_PMEM);
}

static int check_taps(struct checker *checker, const struct vmm_spec_network *net,
	uint32_t backend_fd, const char *what)
{
	bool vhost = net->vhost_fds[0] != 0;
	int r;

	if (net->n_taps > VMM_SPEC_MAX_TAPS)
		return bad(checker, "%s: %u taps are more than %u", what, net->n_taps,
			VMM_SPEC_MAX_TAPS);
	if ((net->n_taps != 0) + (net->stream_fd != 0) + (backend_fd != 0) != 1)
		return bad(checker, "%s: needs either taps, a stream or a back end", what);
	for (uint32_t i = 0; i < VMM_SPEC_MAX_TAPS; i++) {
		bool used = i < net->n_taps;

		if (!used && (net->tap_fds[i] != 0 || net->vhost_fds[i] != 0))
			return bad(checker, "%s: more descriptors than taps", what);
		if (used && (net->vhost_fds[i] != 0) != vhost)
			return bad(checker, "%s: vhost is for all taps or for none", what);
		r = claim_fd(checker, net->tap_fds[i], what, used);
		if (r < 0)
			return r;
		r = claim_fd(checker, net->vhost_fds[i], what, false);
		if (r < 0)
			return r;
	}
	r = claim_fd(checker, net->stream_fd, what, false);
	return r < 0 ? r : claim_fd(checker, backend_fd, what, false);
}

static int check_network_backend(struct checker *checker, const struct vmm_spec_network *net,
	const struct vmm_spec_backend *backend, const char *what)
{
	bool vhost_user = backend->fd != 0, elsewhere = vhost_user || net->vhost_fds[0] != 0;

	if (elsewhere && (!rate_is_none(&net->receive_rate) || !rate_is_none(&net->transmit_rate)))
		return bad(checker, "%s: limits, and it is served elsewhere", what);
	if (vhost_user && !(checker->spec->flags & VMM_SPEC_SHARED_MEMORY))
		return bad(checker, "%s: a back end, and memory that is not shared", what);
	return check_reconnect(checker, backend->reconnect_msec, vhost_user, what);
}

static int check_share(struct checker *checker, const struct vmm_spec_share *share)
{
	char what[64];
	int r;

	snprintf(what, sizeof(what), "share %s", share->id);
	if (share->flags & ~VMM_SHARE_FLAGS)
		return bad(checker, "%s: unknown flags 0x%x", what, share->flags);
	if (!(checker->spec->flags & VMM_SPEC_SHARED_MEMORY))
		return bad(checker, "%s: a back end, and memory that is not shared", what);
	r = check_queue_size(checker, share->queue_size, what);
	if (r == 0)
		r = check_reconnect(checker, share->reconnect_msec, true, what);
	return r < 0 ? r : claim_fd(checker, share->fd, what, true);
}

static int check_network(struct checker *checker, const struct vmm_spec_network *net,
	const struct vmm_spec_backend *backend)
{
	char what[64];
	int r;

	snprintf(what, sizeof(what), "network %s", net->id);
	if (net->mac[0] & 1)
		return bad(checker, "%s: MAC address is not unicast", what);
	/* VIRTIO 1.2 5.1.4.1: 68 to 65535. */
	if (net->mtu != 0 && net->mtu < 68)
		return bad(checker, "%s: MTU %u is below 68", what, net->mtu);
	r = check_queue_size(checker, net->queue_size, what);
	if (r < 0)
		return r;
	r = check_rate(checker, &net->receive_rate, what);
	if (r < 0)
		return r;
	r = check_rate(checker, &net->transmit_rate, what);
	if (r < 0)
		return r;
	r = check_network_backend(checker, net, backend, what);
	return r < 0 ? r : check_taps(checker, net, backend->fd, what);
}

static int check_id(struct checker *checker, const char *kind, size_t index, const char *id)
{
	if (!vmm_message_string_ends(id, VMM_DEVICE_ID_SIZE) || !id_is_valid(id))
		return bad(checker, "%s %zu: bad name", kind, index);
	return 0;
}

static int check_drive_of_spec(struct checker *checker, size_t index)
{
	const struct vmm_spec_drive *drive = &checker->spec->drives[index];
	int r;

	r = check_id(checker, "drive", index, drive->id);
	if (r < 0)
		return r;
	for (size_t i = 0; i < index; i++)
		if (strcmp(checker->spec->drives[i].id, drive->id) == 0)
			return bad(checker, "drive %s: two drives have this name", drive->id);
	return check_drive(checker, drive, &checker->spec->drive_backends[index]);
}

static int check_network_of_spec(struct checker *checker, size_t index)
{
	const struct vmm_spec_network *net = &checker->spec->networks[index];
	int r;

	r = check_id(checker, "network", index, net->id);
	if (r < 0)
		return r;
	for (size_t i = 0; i < index; i++)
		if (strcmp(checker->spec->networks[i].id, net->id) == 0)
			return bad(checker, "network %s: two networks have this name", net->id);
	return check_network(checker, net, &checker->spec->network_backends[index]);
}

static int check_share_of_spec(struct checker *checker, size_t index)
{
	const struct vmm_spec_share *share = &checker->spec->shares[index];
	int r;

	r = check_id(checker, "share", index, share->id);
	if (r < 0)
		return r;
	for (size_t i = 0; i < index; i++)
		if (strcmp(checker->spec->shares[i].id, share->id) == 0)
			return bad(checker, "share %s: two shares have this name", share->id);
	return check_share(checker, share);
}

static int check_shares(struct checker *checker)
{
	static const struct vmm_spec_share no_share;
	const struct vmm_spec *spec = checker->spec;
	int r = 0;

	if (spec->n_shares > VMM_SPEC_MAX_SHARES)
		return bad(
			checker, "%u shares are more than %u", spec->n_shares, VMM_SPEC_MAX_SHARES);
	if (spec->reserved != 0)
		return bad(checker, "reserved bytes are not zero");
	for (size_t i = 0; r == 0 && i < VMM_SPEC_MAX_SHARES; i++) {
		if (i < spec->n_shares)
			r = check_share_of_spec(checker, i);
		else if (memcmp(&spec->shares[i], &no_share, sizeof(no_share)) != 0)
			r = bad(checker, "share %zu is not counted, and not empty", i);
	}
	return r;
}

static int check_devices(struct checker *checker)
{
	static const struct vmm_spec_drive no_drive;
	static const struct vmm_spec_network no_network;
	static const struct vmm_spec_backend no_backend;
	const struct vmm_spec *spec = checker->spec;
	int r;

	if (spec->n_drives > VMM_SPEC_MAX_DRIVES)
		return bad(
			checker, "%u drives are more than %u", spec->n_drives, VMM_SPEC_MAX_DRIVES);
	if (spec->n_networks > VMM_SPEC_MAX_NETWORKS)
		return bad(checker, "%u networks are more than %u", spec->n_networks,
			VMM_SPEC_MAX_NETWORKS);
	for (size_t i = 0; i < VMM_SPEC_MAX_DRIVES; i++) {
		if (i < spec->n_drives)
			r = check_drive_of_spec(checker, i);
		else if (memcmp(&spec->drives[i], &no_drive, sizeof(no_drive)) != 0 ||
			 memcmp(&spec->drive_backends[i], &no_backend, sizeof(no_backend)) != 0)
			r = bad(checker, "drive %zu is not counted, and not empty", i);
		else
			r = 0;
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < VMM_SPEC_MAX_NETWORKS; i++) {
		if (i < spec->n_networks)
			r = check_network_of_spec(checker, i);
		else if (memcmp(&spec->networks[i], &no_network, sizeof(no_network)) != 0 ||
			 memcmp(&spec->network_backends[i], &no_backend, sizeof(no_backend)) != 0)
			r = bad(checker, "network %zu is not counted, and not empty", i);
		else
			r = 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_memory(struct checker *checker)
{
	const struct vmm_spec *spec = checker->spec;
	uint64_t unit = spec->huge_page_bytes ? spec->huge_page_bytes : PAGE_BYTES;

	if (spec->huge_page_bytes != 0 && spec->huge_page_bytes != UINT64_C(2) << 20 &&
		spec->huge_page_bytes != UINT64_C(1) << 30)
		return bad(checker, "memory: huge pages are of 2 MiB or 1 GiB");
	if (spec->memory_bytes < VMM_SPEC_MIN_MEMORY_BYTES)
		return bad(checker, "memory: %llu bytes are less than 1 MiB",
			(unsigned long long)spec->memory_bytes);
	if (spec->memory_bytes > VMM_SPEC_MAX_MEMORY_BYTES)
		return bad(checker, "memory: %llu bytes are more than 1 TiB",
			(unsigned long long)spec->memory_bytes);
	if (!IS_ALIGNED(spec->memory_bytes, unit))
		return bad(checker, "memory: %llu bytes are not a multiple of the page size %llu",
			(unsigned long long)spec->memory_bytes, (unsigned long long)unit);
	if (spec->balloon_bytes > spec->memory_bytes)
		return bad(checker, "balloon: larger than the memory");
	if (!IS_ALIGNED(spec->hotplug_bytes, MAX(unit, HOTPLUG_BLOCK_BYTES)))
		return bad(checker, "hotplug memory: %llu bytes are not whole blocks",
			(unsigned long long)spec->hotplug_bytes);
	if (spec->hotplug_bytes > VMM_SPEC_MAX_MEMORY_BYTES)
		return bad(checker, "hotplug memory: %llu bytes are more than 1 TiB",
			(unsigned long long)spec->hotplug_bytes);
	if (spec->balloon_bytes != 0 && !(spec->flags & VMM_SPEC_BALLOON))
		return bad(checker, "balloon: has a size, and there is none");
	return 0;
}

static int check_machine(struct checker *checker)
{
	const struct vmm_spec *spec = checker->spec;

	if (!vmm_message_string_ends(spec->name, sizeof(spec->name)) ||
		!vmm_name_is_valid(spec->name))
		return bad(checker, "name: not a valid name of a machine");
	if (!vmm_message_string_ends(spec->description, sizeof(spec->description)) ||
		!string_is_text(spec->description, false))
		return bad(checker, "description: too long, or has control characters");
	if (!vmm_message_string_ends(spec->command_line, sizeof(spec->command_line)))
		return bad(
			checker, "command line: longer than %d bytes", VMM_COMMAND_LINE_SIZE - 1);
	if (!string_is_text(spec->command_line, true))
		return bad(checker, "command line: has control characters");
	if (spec->flags & ~VMM_SPEC_FLAGS)
		return bad(checker, "unknown flags 0x%x", spec->flags);
	if (spec->n_cpus < 1 || spec->n_cpus > VMM_SPEC_MAX_CPUS)
		return bad(
			checker, "CPUs: %u is not from 1 to %u", spec->n_cpus, VMM_SPEC_MAX_CPUS);
	if (spec->transport >= VMM_TRANSPORT_COUNT)
		return bad(checker, "unknown transport %u", spec->transport);
	if (spec->ready >= VMM_READY_COUNT)
		return bad(checker, "unknown ready mode %u", spec->ready);
	if (!vmm_message_string_ends(spec->ready_text, sizeof(spec->ready_text)) ||
		!string_is_text(spec->ready_text, false))
		return bad(checker, "ready text: too long, or has control characters");
	if (spec->ready_port != 0 && (spec->vsock_cid == 0 || spec->ready_port == UINT32_MAX))
		return bad(checker, "ready port: no vsock, or port %u", spec->ready_port);
	if (spec->ready == VMM_READY_GUEST && spec->vsock_cid == 0 && !spec->ready_text[0])
		return bad(checker, "ready: the guest has neither a vsock nor a text to say so");
	if (spec->uid == UINT32_MAX || spec->gid == UINT32_MAX)
		return bad(checker, "uid or gid is -1");
	if ((spec->uid == 0) != (spec->gid == 0))
		return bad(checker, "uid and gid: only one of them is given");
	if (spec->console_ring_bytes != 0 && (!is_power_of_two(spec->console_ring_bytes) ||
						     spec->console_ring_bytes < RING_MIN_BYTES ||
						     spec->console_ring_bytes > RING_MAX_BYTES))
		return bad(checker, "console: ring of %u bytes is not a power of two from %u to %u",
			spec->console_ring_bytes, RING_MIN_BYTES, RING_MAX_BYTES);
	if (spec->log_lines_per_second > LOG_MAX_LINES)
		return bad(checker, "console: %u lines a second are more than %u",
			spec->log_lines_per_second, LOG_MAX_LINES);
	if (!(spec->flags & VMM_SPEC_VIRTIO_CONSOLE) &&
		spec->console_rate.bytes.rate_per_second + spec->console_rate.ops.rate_per_second !=
			0)
		return bad(checker, "console: limits, and it is a serial port");
	if (spec->vsock_cid != 0 &&
		(spec->vsock_cid < VSOCK_FIRST_CID || spec->vsock_cid == UINT32_MAX))
		return bad(checker, "vsock: CID %u is reserved", spec->vsock_cid);
	if (spec->vsock_cid == 0 && (spec->vsock_vhost_fd != 0 || spec->vsock_listen_fd != 0))
		return bad(checker, "vsock: a descriptor and no CID");
	if (spec->vsock_vhost_fd != 0 && spec->vsock_listen_fd != 0)
		return bad(checker, "vsock: either the host's kernel serves it or a socket");
	if (spec->vsock_vhost_fd != 0 &&
		(spec->ready_port != 0 || !rate_is_none(&spec->vsock_receive_rate) ||
			!rate_is_none(&spec->vsock_transmit_rate)))
		return bad(checker,
			"vsock: a port that is awaited, or limits, and the host's kernel serves it");
	if (spec->watchdog_action >= VMM_WATCHDOG_COUNT ||
		(spec->watchdog_action != 0 && !(spec->flags & VMM_SPEC_WATCHDOG)))
		return bad(checker, "watchdog: unknown action %u, or no watchdog",
			spec->watchdog_action);
	return 0;
}

static int check_fds(struct checker *checker)
{
	const struct vmm_spec *spec = checker->spec;
	const struct {
		uint32_t index;
		const char *what;
		bool needed;
	} fds[] = {
		{ spec->kvm_fd, "KVM", true },
		{ spec->kernel_fd, "kernel", true },
		{ spec->initrd_fd, "initrd", false },
		{ spec->control_fd, "control socket", false },
		{ spec->vsock_vhost_fd, "vsock", false },
		{ spec->vsock_listen_fd, "vsock's socket", false },
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		r = claim_fd(checker, fds[i].index, fds[i].what, fds[i].needed);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_all_named(struct checker *checker)
{
	for (size_t i = 1; i < checker->n_fds; i++)
		if (!checker->named[i])
			return bad(checker, "descriptor %zu is used by nothing", i);
	return 0;
}

int vmm_spec_check(
	const struct vmm_spec *spec, size_t size, size_t n_fds, char *text, size_t text_size)
{
	struct checker checker = {
		.spec = spec,
		.n_fds = n_fds,
		.text = text,
		.text_size = text_size,
	};
	int r;

	if (size < offsetof(struct vmm_spec, name) || spec->magic != VMM_PROTOCOL_MAGIC)
		return bad(&checker, "not a specification of a machine");
	if (spec->version != VMM_PROTOCOL_VERSION) {
		bad(&checker, "version %u, and this program speaks %u", spec->version,
			VMM_PROTOCOL_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (size != sizeof(*spec) || spec->size != sizeof(*spec))
		return bad(
			&checker, "specification of %zu bytes, %zu expected", size, sizeof(*spec));
	if (n_fds < 1 || n_fds > VMM_HANDOVER_MAX_FDS || spec->n_fds != n_fds)
		return bad(&checker, "%u descriptors announced, %zu came", spec->n_fds, n_fds);

	r = check_machine(&checker);
	if (r < 0)
		return r;
	r = check_memory(&checker);
	if (r < 0)
		return r;
	r = check_fds(&checker);
	if (r < 0)
		return r;
	r = check_rate(&checker, &spec->rng_rate, "rng");
	if (r < 0)
		return r;
	r = check_rate(&checker, &spec->console_rate, "console");
	if (r < 0)
		return r;
	r = check_rate(&checker, &spec->vsock_receive_rate, "vsock, to the guest");
	if (r < 0)
		return r;
	r = check_rate(&checker, &spec->vsock_transmit_rate, "vsock, from the guest");
	if (r < 0)
		return r;
	r = check_devices(&checker);
	if (r < 0)
		return r;
	r = check_pmem(&checker);
	if (r < 0)
		return r;
	r = check_shares(&checker);
	if (r < 0)
		return r;
	return check_all_named(&checker);
}

int vmm_spec_check_drive(
	const struct vmm_spec_drive *drive, size_t n_fds, char *text, size_t text_size)
{
	struct checker checker = { .n_fds = n_fds, .text = text, .text_size = text_size };
	int r;

	assert(n_fds >= 1 && n_fds <= VMM_HANDOVER_MAX_FDS);
	r = check_id(&checker, "drive", 0, drive->id);
	if (r == 0)
		r = check_drive(&checker, drive, NULL);
	return r < 0 ? r : check_all_named(&checker);
}

int vmm_spec_check_network(
	const struct vmm_spec_network *network, size_t n_fds, char *text, size_t text_size)
{
	struct checker checker = { .n_fds = n_fds, .text = text, .text_size = text_size };
	static const struct vmm_spec_backend no_backend;
	int r;

	assert(n_fds >= 1 && n_fds <= VMM_HANDOVER_MAX_FDS);
	r = check_id(&checker, "network", 0, network->id);
	if (r == 0)
		r = check_network(&checker, network, &no_backend);
	return r < 0 ? r : check_all_named(&checker);
}
