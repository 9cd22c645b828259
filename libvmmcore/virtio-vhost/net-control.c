/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: the control queue of a network whose other queues the kernel serves (VIRTIO 1.2,
 * 5.1.6.5). It has one command: how many pairs of queues there are to be.
 */
#include "virtio-vhost/vhost-internal.h"

#define CLASS_MQ 4
#define MQ_VQ_PAIRS_SET 0
#define ACK_OK 0
#define ACK_ERR 1
#define COMMANDS_A_TURN 64

/* One byte more than the command has, which shows a longer one. */
struct command {
	uint8_t class;
	uint8_t command;
	struct vmm_le16 n_pairs;
	uint8_t more;
};
#define COMMAND_BYTES 4
static_assert(offsetof(struct command, more) == COMMAND_BYTES, "virtio_net_ctrl_mq");

static bool carry_out(struct vmm_virtio_vhost *vhost, const struct command *command, size_t size)
{
	unsigned int n_pairs = vmm_le16_get(command->n_pairs);

	if (!(vmm_virtio_features(vhost->device) & NET_F_MQ) || size != COMMAND_BYTES ||
		command->class != CLASS_MQ || command->command != MQ_VQ_PAIRS_SET)
		return false;
	if (n_pairs == 0 || n_pairs > vhost->n_pairs || kernel_set_pairs(vhost, n_pairs) < 0)
		return false;
	vhost->n_pairs_wanted = n_pairs;
	return true;
}

/* 1; 0: there is none; -VMM_EGUEST. */
static int process_one(struct vmm_virtio_vhost *vhost, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	struct command command = { 0 };
	struct iovec iov[16];
	size_t size;
	uint8_t ack;
	int r;

	r = vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &chain);
	if (r == -ENOBUFS || (r > 0 && chain.writable_bytes < sizeof(ack))) {
		vmm_virtqueue_break(queue, "control command of the wrong shape");
		r = -VMM_EGUEST;
	}
	if (r <= 0)
		return r;
	size = vmm_virtqueue_chain_read(&chain, 0, &command, COMMAND_BYTES + 1);
	ack = carry_out(vhost, &command, size) ? ACK_OK : ACK_ERR;
	vmm_virtqueue_chain_write(&chain, 0, &ack, sizeof(ack));
	vmm_virtqueue_push(queue, &chain, sizeof(ack));
	return 1;
}

int net_control_process(struct vmm_virtio_vhost *vhost, struct vmm_virtqueue *queue)
{
	for (unsigned int i = 0; i < COMMANDS_A_TURN; i++) {
		int r = process_one(vhost, queue);

		if (r < 0)
			return r;
		/* With an event index the driver kicks for the next one only when asked anew. */
		if (r == 0 && !vmm_virtqueue_enable_notifications(queue))
			return 0;
	}
	return 1;
}
