/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vhost: queues that the kernel serves: vhost-net on a tap, and vhost-vsock. */
#include "virtio-vhost/vhost-internal.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#define NET_HEADER_BYTES 12
/* Of one descriptor: receive and transmit. */
#define QUEUES_A_VHOST 2

/* VIRTIO 1.2, 5.1.3 */
#define NET_F_CSUM (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define NET_F_GUEST_ECN (UINT64_C(1) << 9)
#define NET_F_HOST_TSO4 (UINT64_C(1) << 11)
#define NET_F_HOST_TSO6 (UINT64_C(1) << 12)
#define NET_F_HOST_ECN (UINT64_C(1) << 13)

/* What a tap does, and vhost-net passes on. */
#define NET_TAP_FEATURES                                                                           \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN |   \
		NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN)

static bool is_net(const struct vmm_virtio_vhost *vhost)
{
	return vhost->config.device_type == VMM_VHOST_NET;
}

/* One pair of a network, or the vsock. */
static int open_pair(struct vmm_virtio_vhost *vhost, unsigned int pair)
{
	struct vmm_vhost_config config = {
		.fd = vhost->config.vhost_fds[pair],
		.n_queues = QUEUES_A_VHOST,
		.mem = vhost->mem,
	};
	int header_bytes = NET_HEADER_BYTES, r;

	r = vmm_vhost_new(&config, &vhost->kernels[pair]);
	if (r < 0)
		return r;
	if (!is_net(vhost))
		return vmm_vhost_vsock_set_cid(vhost->kernels[pair], vhost->config.cid);
	r = fcntl(vhost->config.tap_fds[pair], F_DUPFD_CLOEXEC, 3);
	if (r < 0)
		return -errno;
	vhost->tap_fds[pair] = r;
	r = ioctl(vhost->tap_fds[pair], TUNSETVNETHDRSZ, &header_bytes);
	return r < 0 ? -errno : 0;
}

int kernel_open(struct vmm_virtio_vhost *vhost)
{
	if (!is_net(vhost) && vhost->config.device_type != VMM_VHOST_VSOCK)
		return -EINVAL;
	if (vhost->config.n_pairs > (is_net(vhost) ? VMM_VHOST_MAX_PAIRS : 1))
		return -EINVAL;
	vhost->n_pairs = MAX(vhost->config.n_pairs, 1u);
	vhost->n_attached = vhost->n_pairs;
	vhost->n_pairs_wanted = 1;
	if (vhost->n_pairs > 1)
		vhost->n_queues = QUEUES_A_VHOST * vhost->n_pairs + 1;
	for (unsigned int i = 0; i < vhost->n_pairs; i++) {
		int r = open_pair(vhost, i);

		if (r < 0)
			return r;
	}
	return kernel_set_pairs(vhost, 1);
}

void kernel_close(struct vmm_virtio_vhost *vhost)
{
	for (unsigned int i = 0; i < vhost->n_pairs; i++) {
		vhost->kernels[i] = vmm_vhost_free(vhost->kernels[i]);
		vhost->tap_fds[i] = vmm_base_close(vhost->tap_fds[i]);
	}
}

void kernel_forget(struct vmm_virtio_vhost *vhost)
{
	vhost->n_pairs_wanted = 1;
	vhost->has_control = false;
}

/* A queue of a tap that is attached gets frames, whether anybody takes them from it or not. */
int kernel_set_pairs(struct vmm_virtio_vhost *vhost, unsigned int n_pairs)
{
	while (vhost->n_attached != n_pairs) {
		bool attach = vhost->n_attached < n_pairs;
		unsigned int pair = attach ? vhost->n_attached : vhost->n_attached - 1;
		struct ifreq request = {
			.ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
		};

		if (ioctl(vhost->tap_fds[pair], TUNSETQUEUE, &request) < 0)
			return -errno;
		vhost->n_attached = attach ? pair + 1 : pair;
	}
	return 0;
}

static struct vmm_vhost *kernel_of(struct vmm_virtio_vhost *vhost, unsigned int queue_index)
{
	return vhost->kernels[queue_index / QUEUES_A_VHOST];
}

uint64_t kernel_features(const struct vmm_virtio_vhost *vhost)
{
	uint64_t features = UINT64_MAX;

	for (unsigned int i = 0; i < vhost->n_pairs; i++)
		features &= vmm_vhost_features(vhost->kernels[i]);
	return is_net(vhost) ? features | NET_TAP_FEATURES : features;
}

/* What the tap may give to the guest, which is what the driver negotiated. */
static int set_offloads(struct vmm_virtio_vhost *vhost)
{
	uint64_t features = vmm_virtio_features(vhost->device);
	unsigned int offloads = 0;

	if (features & NET_F_GUEST_CSUM) {
		offloads |= TUN_F_CSUM;
		offloads |= features & NET_F_GUEST_TSO4 ? TUN_F_TSO4 : 0;
		offloads |= features & NET_F_GUEST_TSO6 ? TUN_F_TSO6 : 0;
		if (features & NET_F_GUEST_ECN)
			offloads |= TUN_F_TSO_ECN;
	}
	/* It is the interface's setting; the first descriptor is always attached. */
	return ioctl(vhost->tap_fds[0], TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}

static int set_running(struct vmm_virtio_vhost *vhost, bool on)
{
	int r = 0;

	if (!is_net(vhost))
		return vmm_vhost_vsock_set_running(vhost->kernels[0], on);
	for (unsigned int i = 0; i < vhost->n_pairs * QUEUES_A_VHOST; i++) {
		int s = 0;

		if (vhost->queues[i].is_started)
			s = vmm_vhost_net_set_backend(kernel_of(vhost, i), i % QUEUES_A_VHOST,
				on ? vhost->tap_fds[i / QUEUES_A_VHOST] : -EBADF);
		if (s < 0 && r == 0)
			r = s;
	}
	return r;
}

static int start_queue(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	struct vmm_vhost_queue config = {
		.config = queue->driver.config,
		.state = queue->state,
		.kick_fd = vmm_virtio_kick_fd(vhost->device, queue->index),
		.call_fd = queue->driver.interrupt_fd >= 0 ? queue->driver.interrupt_fd
							   : queue->call_fd,
		.error_fd = -EBADF,
	};
	int r = vmm_vhost_start(
		kernel_of(vhost, queue->index), queue->index % QUEUES_A_VHOST, &config);

	if (r == 0)
		queue->is_started = true;
	return r;
}

static int start_pair(struct vmm_virtio_vhost *vhost, unsigned int pair)
{
	struct vmm_vhost *kernel = vhost->kernels[pair];
	int r;

	r = vmm_vhost_set_features(kernel, vhost_back_features(vhost) & vmm_vhost_features(kernel));
	if (r == 0)
		r = vmm_vhost_set_memory(kernel);
	for (unsigned int i = 0; i < QUEUES_A_VHOST && r == 0; i++) {
		struct vhost_queue *queue = &vhost->queues[pair * QUEUES_A_VHOST + i];

		if (queue->driver.is_enabled)
			r = start_queue(vhost, queue);
	}
	return r;
}

int kernel_start(struct vmm_virtio_vhost *vhost)
{
	uint64_t features = vmm_virtio_features(vhost->device);
	unsigned int n_pairs = features & NET_F_MQ ? vhost->n_pairs : 1;
	int r;

	if (is_net(vhost)) {
		/* Without MQ there is one pair, and the control queue follows it (5.1.2). */
		vhost->has_control = features & NET_F_CTRL_VQ;
		vhost->control_queue = n_pairs * QUEUES_A_VHOST;
		r = set_offloads(vhost);
		if (r == 0)
			r = kernel_set_pairs(vhost, vhost->n_pairs_wanted);
		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < n_pairs; i++) {
		r = start_pair(vhost, i);
		if (r < 0)
			return r;
	}
	vhost->is_running = true;
	return set_running(vhost, true);
}

/* All is tried, whatever fails: the guest's memory is about to be somebody else's. */
int kernel_stop(struct vmm_virtio_vhost *vhost)
{
	int r = set_running(vhost, false);

	for (unsigned int i = 0; i < vhost->n_pairs * QUEUES_A_VHOST; i++) {
		struct vhost_queue *queue = &vhost->queues[i];
		int s;

		if (!queue->is_started)
			continue;
		s = vmm_vhost_stop(kernel_of(vhost, i), i % QUEUES_A_VHOST, &queue->state);
		queue->is_started = false;
		if (s < 0 && r == 0)
			r = s;
	}
	vhost->is_running = false;
	return r;
}
