/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: what comes to a worker: the broker's answers, specs, control requests, a guest's terminal
 * output, and what its systemd says of itself, whole or over connections. The first byte says
 * which; a spec's is a good one with changes.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "fuzz.h"
#include "worker/guest.h"
#include "worker/lines.h"
#include "worker/protocol.h"

static void answer(const uint8_t *data, size_t size)
{
	struct vmm_broker_answer answer;

	if (vmm_broker_decode_answer(data, size, &answer) < 0)
		return;
	FUZZ_CHECK(memchr(answer.text, 0, sizeof(answer.text)));
	FUZZ_CHECK(answer.n_fds <= VMM_HANDOVER_MAX_FDS);
	FUZZ_CHECK(answer.type != VMM_BROKER_REFUSED || answer.exit_status != 0);
}

static void request(const uint8_t *data, size_t size)
{
	struct vmm_control_message message;
	size_t n_fds = size > 0 ? data[0] % (VMM_CONTROL_MAX_FDS + 2) : 0;

	if (size == 0 || vmm_control_decode_request(data + 1, size - 1, n_fds, &message) < 0)
		return;
	FUZZ_CHECK(message.header.type > 0 && message.header.type < VMM_CONTROL_COUNT);
	FUZZ_CHECK(message.header.id != 0);
	switch (message.header.type) {
	case VMM_CONTROL_GET_DRIVE:
		FUZZ_CHECK(memchr(message.drive.id, 0, sizeof(message.drive.id)));
		break;
	case VMM_CONTROL_SET_RATE:
		FUZZ_CHECK(memchr(message.set_rate.id, 0, sizeof(message.set_rate.id)));
		FUZZ_CHECK(message.set_rate.kind == VMM_DEVICE_DRIVE ||
			   message.set_rate.kind == VMM_DEVICE_NETWORK);
		break;
	case VMM_CONTROL_ATTACH_DRIVE:
		FUZZ_CHECK(n_fds == 1 && message.attach_drive.fd == 1);
		FUZZ_CHECK(memchr(message.attach_drive.id, 0, VMM_DEVICE_ID_SIZE));
		FUZZ_CHECK(memchr(message.attach_drive.serial, 0, VMM_SERIAL_SIZE));
		FUZZ_CHECK(message.attach_drive.cache < VMM_CACHE_COUNT);
		return;
	case VMM_CONTROL_ATTACH_NETWORK:
		FUZZ_CHECK(n_fds >= 1 && n_fds <= VMM_CONTROL_MAX_FDS);
		FUZZ_CHECK(message.attach_network.stream_fd <= n_fds);
		for (uint32_t i = 0; i < VMM_SPEC_MAX_TAPS; i++)
			FUZZ_CHECK(message.attach_network.tap_fds[i] <= n_fds);
		return;
	case VMM_CONTROL_DETACH:
		FUZZ_CHECK(memchr(message.detach.id, 0, sizeof(message.detach.id)));
		FUZZ_CHECK(message.detach.timeout_usec <= VMM_CONTROL_MAX_TIMEOUT_USEC);
		break;
	default:
		break;
	}
	FUZZ_CHECK((message.header.type == VMM_CONTROL_OPEN_CONSOLE ||
			   message.header.type == VMM_CONTROL_CONNECT_VSOCK ||
			   message.header.type == VMM_CONTROL_CONNECT_BACKEND) == (n_fds == 1));
}

/* What a worker relies on once a spec is checked. */
static void check_spec(const struct vmm_spec *spec, size_t n_fds)
{
	FUZZ_CHECK(vmm_name_is_valid(spec->name));
	FUZZ_CHECK(memchr(spec->command_line, 0, sizeof(spec->command_line)));
	FUZZ_CHECK(memchr(spec->description, 0, sizeof(spec->description)));
	FUZZ_CHECK(spec->n_cpus >= 1 && spec->n_cpus <= VMM_SPEC_MAX_CPUS);
	FUZZ_CHECK(spec->memory_bytes % 4096 == 0 && spec->memory_bytes != 0);
	FUZZ_CHECK(spec->kvm_fd > 0 && spec->kvm_fd < n_fds);
	FUZZ_CHECK(spec->kernel_fd > 0 && spec->kernel_fd < n_fds);
	FUZZ_CHECK(spec->initrd_fd < n_fds && spec->control_fd < n_fds);
	FUZZ_CHECK(spec->n_drives <= VMM_SPEC_MAX_DRIVES);
	FUZZ_CHECK(spec->n_networks <= VMM_SPEC_MAX_NETWORKS);
	for (uint32_t i = 0; i < spec->n_drives; i++) {
		FUZZ_CHECK(spec->drives[i].fd > 0 && spec->drives[i].fd < n_fds);
		FUZZ_CHECK(spec->drives[i].id[0]);
		FUZZ_CHECK(memchr(spec->drives[i].id, 0, VMM_DEVICE_ID_SIZE));
		FUZZ_CHECK(memchr(spec->drives[i].serial, 0, VMM_SERIAL_SIZE));
		FUZZ_CHECK(spec->drives[i].cache < VMM_CACHE_COUNT);
		FUZZ_CHECK(spec->drives[i].engine < VMM_ENGINE_COUNT);
	}
	for (uint32_t i = 0; i < spec->n_networks; i++) {
		for (uint32_t j = 0; j < VMM_SPEC_MAX_TAPS; j++)
			FUZZ_CHECK(spec->networks[i].tap_fds[j] < n_fds);
		FUZZ_CHECK(spec->network_backends[i].fd < n_fds);
	}
	FUZZ_CHECK(spec->n_shares <= VMM_SPEC_MAX_SHARES);
	for (uint32_t i = 0; i < spec->n_shares; i++) {
		FUZZ_CHECK(spec->shares[i].fd > 0 && spec->shares[i].fd < n_fds);
		FUZZ_CHECK(spec->shares[i].id[0]);
		FUZZ_CHECK(memchr(spec->shares[i].id, 0, VMM_DEVICE_ID_SIZE));
		FUZZ_CHECK(spec->flags & VMM_SPEC_SHARED_MEMORY);
	}
}

static void make_spec(struct vmm_spec *spec)
{
	vmm_spec_init(spec, "fuzz");
	spec->memory_bytes = 64 << 20;
	spec->n_cpus = 1;
	spec->n_fds = 5;
	spec->kvm_fd = 1;
	spec->kernel_fd = 2;
	spec->n_drives = 1;
	strcpy(spec->drives[0].id, "root");
	spec->drives[0].fd = 3;
	spec->n_networks = 1;
	strcpy(spec->networks[0].id, "lan");
	spec->networks[0].n_taps = 1;
	spec->networks[0].tap_fds[0] = 4;
}

#define MEMBER(name) offsetof(struct vmm_spec, name)

/* Where changes begin. seeds.py names them by their places in this list. */
static const size_t members[] = { MEMBER(magic), MEMBER(version), MEMBER(size), MEMBER(n_fds),
	MEMBER(name), MEMBER(flags), MEMBER(description), MEMBER(uuid), MEMBER(memory_bytes),
	MEMBER(huge_page_bytes), MEMBER(n_cpus), MEMBER(transport), MEMBER(ready),
	MEMBER(ready_text), MEMBER(uid), MEMBER(gid), MEMBER(kvm_fd), MEMBER(kernel_fd),
	MEMBER(initrd_fd), MEMBER(control_fd), MEMBER(command_line), MEMBER(console_ring_bytes),
	MEMBER(log_lines_per_second), MEMBER(vsock_cid), MEMBER(vsock_vhost_fd),
	MEMBER(vsock_listen_fd), MEMBER(watchdog_action), MEMBER(vsock_receive_rate),
	MEMBER(vsock_transmit_rate), MEMBER(balloon_bytes), MEMBER(hotplug_bytes), MEMBER(rng_rate),
	MEMBER(console_rate), MEMBER(n_drives), MEMBER(n_networks), MEMBER(drives[0].id),
	MEMBER(drives[0].serial), MEMBER(drives[0].reserved), MEMBER(drives[0].fd),
	MEMBER(drives[0].flags), MEMBER(drives[0].cache), MEMBER(drives[0].engine),
	MEMBER(drives[0].n_queues), MEMBER(drives[0].queue_size), MEMBER(drives[0].block_bytes),
	MEMBER(drives[0].rate), MEMBER(drives[1].id), MEMBER(networks[0].id),
	MEMBER(networks[0].mac), MEMBER(networks[0].mtu), MEMBER(networks[0].n_taps),
	MEMBER(networks[0].tap_fds), MEMBER(networks[0].vhost_fds), MEMBER(networks[0].stream_fd),
	MEMBER(networks[0].queue_size), MEMBER(networks[0].receive_rate),
	MEMBER(networks[0].transmit_rate), MEMBER(networks[1].id), MEMBER(n_shares),
	MEMBER(shares[0].id), MEMBER(shares[0].fd), MEMBER(shares[0].queue_size),
	MEMBER(drive_backends) };

/* A change is a member, an offset and a length of 1 byte each, and that many bytes. */
static void spec(const uint8_t *data, size_t size)
{
	static struct vmm_spec spec;
	char text[VMM_TEXT_SIZE];
	size_t offset, length;

	make_spec(&spec);
	while (size >= 3) {
		offset = members[data[0] % ARRAY_SIZE(members)] + data[1];
		length = data[2];
		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		if (length > sizeof(spec) - offset)
			length = sizeof(spec) - offset;
		memcpy((uint8_t *)&spec + offset, data, length);
		data += length;
		size -= length;
	}
	if (vmm_spec_check(&spec, sizeof(spec), 5, text, sizeof(text)) == 0)
		check_spec(&spec, 5);
	else
		FUZZ_CHECK(memchr(text, 0, sizeof(text)) && text[0]);
}

static bool check_line(void *userdata, const char *line)
{
	size_t length = strlen(line);

	FUZZ_CHECK(length > 0 && length <= LINES_MAX_BYTES);
	for (size_t i = 0; i < length; i++)
		FUZZ_CHECK((uint8_t)line[i] >= 0x20 || line[i] == '\t');
	return true;
}

static void terminal(const uint8_t *data, size_t size)
{
	struct lines lines;
	size_t n;

	lines_init(&lines, check_line, NULL, 3);
	/* What is not taken within its rate is fed again later. */
	for (size_t i = 0, turn = 0; i < size; i += n, turn++)
		n = lines_feed(&lines, data + i, size - i < 16 ? size - i : 16, turn * 500000000);
	lines_flush(&lines);
}

static void check_facts(const struct guest_facts *facts)
{
	const char *const texts[] = { facts->hostname, facts->shutdown };
	const size_t sizes[] = { sizeof(facts->hostname), sizeof(facts->shutdown) };

	for (size_t i = 0; i < 2; i++) {
		FUZZ_CHECK(memchr(texts[i], 0, sizes[i]));
		for (const char *c = texts[i]; *c; c++)
			FUZZ_CHECK(*c > ' ' && *c < 0x7f);
	}
}

/* Said a second time it changes nothing, unless it contradicts itself. */
static void facts(const uint8_t *data, size_t size)
{
	struct guest_facts facts = {}, again;
	bool changed;

	if (size > GUEST_MESSAGE_BYTES)
		size = GUEST_MESSAGE_BYTES;
	changed = guest_parse(&facts, (const char *)data, size);
	check_facts(&facts);
	FUZZ_CHECK(changed || memcmp(&facts, &(struct guest_facts){}, sizeof(facts)) == 0);
	again = facts;
	guest_parse(&again, (const char *)data, size);
	FUZZ_CHECK(memcmp(&facts, &again, sizeof(facts)) == 0);
}

static void on_change(void *userdata)
{
	check_facts(&((struct guest *)userdata)->facts);
}

/*
 * Steps of 2 bytes: which of the connections, and 0..99: that many bytes follow that it says,
 * 100..199: it ends, else: a new one takes its place, a stream if even. The loop turns in between.
 */
static void connections(const uint8_t *data, size_t size)
{
	enum { N_ENDS = GUEST_MAX_CLIENTS + 4 };
	static struct guest guest;
	struct vmm_loop *loop;
	int ends[N_ENDS], *end;
	size_t n;

	if (vmm_loop_new(&loop) < 0)
		abort();
	guest_init(&guest, loop, on_change, &guest);
	for (size_t i = 0; i < N_ENDS; i++)
		ends[i] = -1;
	for (; size >= 2; data += 2, size -= 2) {
		end = &ends[data[0] % N_ENDS];
		if (data[1] < 100) {
			n = data[1] < size - 2 ? data[1] : size - 2;
			/* What it says to a connection that the other side closed is lost. */
			if (*end >= 0 && send(*end, data + 2, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				FUZZ_CHECK(errno == EPIPE || errno == ECONNRESET);
			data += n;
			size -= n;
		} else {
			if (*end >= 0)
				close(*end);
			*end = data[1] < 200 ? -1 : guest_connect(&guest, data[1] & 1);
			FUZZ_CHECK(data[1] < 200 || *end >= 0);
		}
		FUZZ_CHECK(vmm_loop_step(loop, 0) >= 0);
		for (size_t i = 0; i < GUEST_MAX_CLIENTS; i++)
			FUZZ_CHECK(guest.clients[i].fd < 0 ||
				   guest.clients[i].n_data < GUEST_MESSAGE_BYTES);
	}
	for (size_t i = 0; i < N_ENDS; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	for (size_t i = 0; i < N_ENDS; i++)
		FUZZ_CHECK(vmm_loop_step(loop, 0) >= 0);
	/* Nothing is left of them. */
	for (size_t i = 0; i < GUEST_MAX_CLIENTS; i++)
		FUZZ_CHECK(guest.clients[i].fd < 0 && !guest.clients[i].source);
	vmm_loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(const uint8_t *data, size_t size) = {
		answer,
		request,
		spec,
		terminal,
		facts,
		connections,
	};

	if (size > 0)
		parts[data[0] % ARRAY_SIZE(parts)](data + 1, size - 1);
	return 0;
}
