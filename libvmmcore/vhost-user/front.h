/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-user: what the files of the front end share: front.c has requests, front-memory.c the
 * memory and the rings. */
#ifndef VMM_VHOST_USER_FRONT_H
#define VMM_VHOST_USER_FRONT_H

#include <vmmcore/vhost-user.h>

#include "base/util.h"

struct vmm_vhost_user {
	int fd;         /* owned */
	int channel_fd; /* owned, -EBADF: none */
	uint64_t timeout_nsec;
	uint64_t offered; /* with F_PROTOCOL_FEATURES */
	uint64_t protocol_features;
	unsigned int max_queues;
	uint64_t max_slots; /* with CONFIGURE_MEM_SLOTS */
	bool is_lost;       /* the stream of messages is out of step */

	/* What the back end was told. */
	struct vmm_mem_region regions[VMM_MEM_MAX_REGIONS];
	size_t n_regions;
};

/* Sends, and waits for the acknowledgement where that was negotiated. */
int front_request(struct vmm_vhost_user *user, struct vmm_vhost_user_message *message);

/* Sends, and waits for the reply that this request has. ret_reply is finished by the caller. */
int front_ask(struct vmm_vhost_user *user, struct vmm_vhost_user_message *message,
	struct vmm_vhost_user_message *ret_reply);

/* An exchange without arguments that is answered by a number. */
int front_ask_number(struct vmm_vhost_user *user, uint32_t request, uint64_t *ret_number);
int front_send_number(struct vmm_vhost_user *user, uint32_t request, uint64_t number);

static inline bool front_has(const struct vmm_vhost_user *user, uint64_t protocol_feature)
{
	return user->protocol_features & protocol_feature;
}

#endif
