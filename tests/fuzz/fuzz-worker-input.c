/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: what comes to a worker: the broker's answers, specs, control requests, and a guest's
 * terminal output. The first byte says which; a spec's is a good one with changes.
 */
#include <string.h>

#include "fuzz.h"
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
			   message.header.type == VMM_CONTROL_CONNECT_VSOCK) == (n_fds == 1));
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
	for (uint32_t i = 0; i < spec->n_networks; i++)
		for (uint32_t j = 0; j < VMM_SPEC_MAX_TAPS; j++)
			FUZZ_CHECK(spec->networks[i].tap_fds[j] < n_fds);
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

/* A change is an offset of 2 bytes, a length of 1 and that many bytes. */
static void spec(const uint8_t *data, size_t size)
{
	static struct vmm_spec spec;
	char text[VMM_TEXT_SIZE];
	size_t offset, length;

	make_spec(&spec);
	while (size >= 3) {
		offset = (data[0] | (size_t)data[1] << 8) % sizeof(spec);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(const uint8_t *data, size_t size) = {
		answer,
		request,
		spec,
		terminal,
	};

	if (size > 0)
		parts[data[0] % 4](data + 1, size - 1);
	return 0;
}
