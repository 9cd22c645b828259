/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: what comes from a worker to vmmd: its HELLO, and replies and events. */
#include <string.h>

#include "fuzz.h"
#include "worker/protocol.h"

static void hello(const uint8_t *data, size_t size)
{
	struct vmm_broker_hello hello;

	if (vmm_broker_decode_hello(data, size, &hello) == 0)
		FUZZ_CHECK(vmm_name_is_valid(hello.name));
}

static void answer(const uint8_t *data, size_t size)
{
	struct vmm_control_message message;
	uint32_t type;

	if (vmm_control_decode_answer(data, size, 0, &message) < 0)
		return;
	if (message.header.type == VMM_CONTROL_EVENT) {
		FUZZ_CHECK(message.event.event < VMM_EVENT_COUNT);
		FUZZ_CHECK(message.event.state < VMM_STATE_COUNT);
		FUZZ_CHECK(memchr(message.event.text, 0, sizeof(message.event.text)));
		return;
	}
	if (message.header.type == VMM_CONTROL_VSOCK_REQUEST) {
		FUZZ_CHECK(message.vsock_request.seqpacket <= 1);
		return;
	}
	if (message.header.type == VMM_CONTROL_BACKEND_REQUEST) {
		FUZZ_CHECK(message.backend_request.id != 0);
		FUZZ_CHECK(memchr(message.backend_request.device, 0, VMM_DEVICE_ID_SIZE));
		FUZZ_CHECK(message.backend_request.kind < VMM_DEVICE_KIND_COUNT);
		return;
	}
	type = message.header.type & ~VMM_CONTROL_REPLY;
	FUZZ_CHECK(type > 0 && type < VMM_CONTROL_COUNT);
	FUZZ_CHECK(message.header.id != 0);
	FUZZ_CHECK(message.header.result <= 0);
	if (message.header.result < 0)
		FUZZ_CHECK(memchr(message.text, 0, sizeof(message.text)));
	else if (type == VMM_CONTROL_GET_STATUS)
		FUZZ_CHECK(memchr(message.status.text, 0, sizeof(message.status.text)));
	else if (type == VMM_CONTROL_GET_STATS)
		FUZZ_CHECK(message.stats.n_cpus <= VMM_SPEC_MAX_CPUS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		answer(data + 1, size - 1);
	else
		hello(data + 1, size - 1);
	return 0;
}
