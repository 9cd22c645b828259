/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the front end of vhost-user: the input is all that its back end ever says. The whole life
 * of a device is tried on it, and then the kinds of messages that this life does not show.
 */
#include <vmmcore/vhost-user.h>

#include "base/util.h"
#include "fuzz.h"
#include "vhost-user-script.h"

#define TIMEOUT_NSEC UINT64_C(1000000)

static struct vmm_mem *mem;
static struct vmm_mem_region region;

static void live(struct vmm_vhost_user *user)
{
	struct vmm_vhost_user_queue queue = {
		.config = { .size = 16, .desc_gpa = 0, .driver_gpa = 4096, .device_gpa = 8192 },
		.kick_fd = 0,
		.call_fd = -EBADF,
	};
	struct vmm_vhost_user_inflight inflight = { .fd = -EBADF };
	struct vmm_virtqueue_state state;
	uint8_t bytes[60];

	FUZZ_CHECK(vmm_vhost_user_max_queues(user) >= 1);
	FUZZ_CHECK(vmm_vhost_user_max_queues(user) <= VMM_VHOST_USER_MAX_QUEUES);
	if (vmm_vhost_user_get_config(user, 0, bytes, sizeof(bytes)) == 0)
		vmm_vhost_user_set_config(user, 8, bytes, 4);
	vmm_vhost_user_set_features(user, vmm_vhost_user_features(user));
	vmm_vhost_user_set_memory(user, &region, 1);
	if (vmm_vhost_user_get_inflight(user, 1, 16, &inflight) == 0) {
		FUZZ_CHECK(inflight.fd >= 0 && inflight.area.mmap_size_bytes > 0);
		vmm_vhost_user_set_inflight(user, &inflight);
		vmm_base_close(inflight.fd);
	}
	vmm_vhost_user_start(user, 0, &queue);
	vmm_vhost_user_set_call(user, 0, 0);
	vmm_vhost_user_set_status(user, 15);
	vmm_vhost_user_get_status(user);
	while (vmm_vhost_user_channel_process(user) > 0)
		;
	FUZZ_CHECK(vmm_vhost_user_channel_fd(user) < 0 ||
		   vmm_vhost_user_protocol_features(user) & VMM_VHOST_USER_PROTOCOL_BACKEND_REQ);
	vmm_vhost_user_stop(user, 0, &state);
	vmm_vhost_user_reset_device(user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmm_vhost_user_config config = { .timeout_nsec = TIMEOUT_NSEC };
	struct vmm_vhost_user_message message;
	struct vmm_vhost_user *user = NULL;

	if (!mem) {
		struct vmm_mem_config ram = { .size_bytes = 1 << 20 };

		FUZZ_CHECK(vmm_mem_new(&mem) == 0 && vmm_mem_add(mem, &ram) == 0);
		FUZZ_CHECK(vmm_mem_get_region(mem, 0, &region) == 0);
	}
	config.fd = script_socket(data, size);
	if (vmm_vhost_user_new(&config, &user) == 0) {
		script_channel(data, size);
		live(user);
	}
	vmm_vhost_user_free(user);
	vmm_base_close(config.fd);

	for (int kind = VMM_VHOST_USER_REQUEST; kind <= VMM_VHOST_USER_CHANNEL_REPLY; kind++) {
		int fd = script_socket(data, size);

		while (vmm_vhost_user_receive(fd, (enum vmm_vhost_user_kind)kind, 0, &message) ==
			0) {
			FUZZ_CHECK(message.size_bytes <= sizeof(message.payload));
			FUZZ_CHECK(message.n_fds <= VMM_VHOST_USER_MAX_FDS);
			vmm_vhost_user_message_finish(&message);
		}
		vmm_base_close(fd);
	}
	script_end();
	return 0;
}
