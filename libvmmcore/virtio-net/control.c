/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net: the control queue (VIRTIO 1.2, 5.1.6.5). */
#include <string.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

enum {
	CLASS_MAC = 1,
	CLASS_ANNOUNCE = 3,
	CLASS_MQ = 4,
	CLASS_GUEST_OFFLOADS = 5,
};

enum {
	MAC_ADDR_SET = 1,
	ANNOUNCE_ACK = 0,
	MQ_VQ_PAIRS_SET = 0,
	GUEST_OFFLOADS_SET = 0,
};

#define ACK_OK 0
#define ACK_ERR 1

/* The longest command that is understood, and one byte that shows a longer one. */
#define MAX_COMMAND_BYTES 16

struct command {
	uint8_t class;
	uint8_t command;
	uint8_t data[MAX_COMMAND_BYTES];
};

int vmm_net_set_pairs(struct vmm_virtio_net *net, unsigned int n_pairs)
{
	if (net->backend.ops->set_pairs && n_pairs > 0) {
		int r = net->backend.ops->set_pairs(net->backend.userdata, n_pairs);

		if (r < 0)
			return r;
	}
	__atomic_store_n(&net->n_pairs_used, n_pairs, __ATOMIC_RELAXED);
	vmm_net_wake_all(net);
	return 0;
}

int vmm_net_set_guest_offloads(struct vmm_virtio_net *net, uint64_t features)
{
	unsigned int offloads = 0;

	if (features & F_GUEST_CSUM)
		offloads |= VMM_NET_CSUM;
	if (features & F_GUEST_TSO4)
		offloads |= VMM_NET_TSO4;
	if (features & F_GUEST_TSO6)
		offloads |= VMM_NET_TSO6;
	if (features & F_GUEST_ECN)
		offloads |= VMM_NET_ECN;
	if (net->backend.ops->set_offloads) {
		int r = net->backend.ops->set_offloads(net->backend.userdata, offloads);

		if (r < 0)
			return r;
	}
	vmm_net_receive_set_offloads(net, features);
	return 0;
}

static bool set_mac(struct vmm_virtio_net *net, const uint8_t *data)
{
	uint64_t mac = 0;

	if (data[0] & 1)
		return false;
	memcpy(&mac, data, 6);
	__atomic_store_n(&net->mac, mac, __ATOMIC_RELAXED);
	return true;
}

/* size: of the data behind class and command. */
static bool carry_out(struct vmm_virtio_net *net, const struct command *command, size_t size)
{
	uint64_t features = vmm_virtio_features(net->device);
	struct vmm_le64 offloads;
	struct vmm_le16 n_pairs;

	switch (command->class) {
	case CLASS_MAC:
		return features & F_CTRL_MAC_ADDR && command->command == MAC_ADDR_SET &&
		       size == 6 && set_mac(net, command->data);
	case CLASS_ANNOUNCE:
		if (!(features & F_GUEST_ANNOUNCE) || command->command != ANNOUNCE_ACK || size > 0)
			return false;
		__atomic_fetch_and(&net->status, (uint16_t)~STATUS_ANNOUNCE, __ATOMIC_RELAXED);
		return true;
	case CLASS_MQ:
		if (!(features & F_MQ) || command->command != MQ_VQ_PAIRS_SET || size != 2)
			return false;
		memcpy(&n_pairs, command->data, sizeof(n_pairs));
		if (vmm_le16_get(n_pairs) == 0 || vmm_le16_get(n_pairs) > net->n_pairs)
			return false;
		return vmm_net_set_pairs(net, vmm_le16_get(n_pairs)) == 0;
	case CLASS_GUEST_OFFLOADS:
		if (!(features & F_CTRL_GUEST_OFFLOADS) || command->command != GUEST_OFFLOADS_SET ||
			size != 8)
			return false;
		memcpy(&offloads, command->data, sizeof(offloads));
		/* Only what was negotiated can be turned on again. */
		if (vmm_le64_get(offloads) & ~(features & GUEST_OFFLOADS))
			return false;
		return vmm_net_set_guest_offloads(net, vmm_le64_get(offloads)) == 0;
	default:
		return false;
	}
}

/* 1; 0: there is none; -VMM_EGUEST. */
static int control_one(struct vmm_virtio_net *net, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	struct command command = { 0 };
	struct iovec iov[64];
	size_t size;
	uint8_t ack;
	int r;

	r = vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &chain);
	if (r == -ENOBUFS || (r > 0 && chain.writable_bytes < 1)) {
		vmm_virtqueue_break(queue, "control command of the wrong shape");
		r = -VMM_EGUEST;
	}
	if (r <= 0)
		return r;
	size = vmm_virtqueue_chain_read(&chain, 0, &command, sizeof(command));
	ack = size >= 2 && carry_out(net, &command, size - 2) ? ACK_OK : ACK_ERR;
	vmm_virtqueue_chain_write(&chain, 0, &ack, sizeof(ack));
	vmm_virtqueue_push(queue, &chain, sizeof(ack));
	return 1;
}

int vmm_net_control(struct vmm_virtio_net *net, struct vmm_virtqueue *queue)
{
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		int r = control_one(net, queue);

		if (r < 0)
			return r;
		/* With an event index the driver kicks for the next one only when asked anew. */
		if (r == 0 && !vmm_virtqueue_enable_notifications(queue))
			return 0;
	}
	return 1;
}
