/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vhost: queues that the kernel serves: vhost-net on a tap, and vhost-vsock. */
#include "virtio-vhost/vhost-internal.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#define NET_HEADER_BYTES 12

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

int kernel_open(struct vmm_virtio_vhost *vhost)
{
	struct vmm_vhost_config config = {
		.fd = vhost->config.vhost_fd,
		.n_queues = vhost->n_served,
		.mem = vhost->mem,
	};
	int header_bytes = NET_HEADER_BYTES, r;

	if (!is_net(vhost) && vhost->config.device_type != VMM_VHOST_VSOCK)
		return -EINVAL;
	r = vmm_vhost_new(&config, &vhost->kernel);
	if (r < 0)
		return r;
	if (!is_net(vhost))
		return vmm_vhost_vsock_set_cid(vhost->kernel, vhost->config.cid);
	vhost->tap_fd = fcntl(vhost->config.tap_fd, F_DUPFD_CLOEXEC, 3);
	if (vhost->tap_fd < 0 || ioctl(vhost->tap_fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return -errno;
	return 0;
}

uint64_t kernel_features(const struct vmm_virtio_vhost *vhost)
{
	uint64_t features = vmm_vhost_features(vhost->kernel);

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
	return ioctl(vhost->tap_fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}

static int set_running(struct vmm_virtio_vhost *vhost, bool on)
{
	int r = 0;

	if (!is_net(vhost))
		return vmm_vhost_vsock_set_running(vhost->kernel, on);
	for (unsigned int i = 0; i < vhost->n_served && r == 0; i++)
		if (vhost->queues[i].is_started)
			r = vmm_vhost_net_set_backend(
				vhost->kernel, i, on ? vhost->tap_fd : -EBADF);
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
	int r = vmm_vhost_start(vhost->kernel, queue->index, &config);

	if (r == 0)
		queue->is_started = true;
	return r;
}

int kernel_start(struct vmm_virtio_vhost *vhost)
{
	uint64_t offered = vmm_vhost_features(vhost->kernel);
	int r;

	r = vmm_vhost_set_features(vhost->kernel, vhost_back_features(vhost) & offered);
	if (r < 0)
		return r;
	r = vmm_vhost_set_memory(vhost->kernel);
	if (r < 0)
		return r;
	if (is_net(vhost)) {
		r = set_offloads(vhost);
		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < vhost->n_served; i++) {
		if (!vhost->queues[i].driver.is_enabled)
			continue;
		r = start_queue(vhost, &vhost->queues[i]);
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

	for (unsigned int i = 0; i < vhost->n_served; i++) {
		struct vhost_queue *queue = &vhost->queues[i];
		int s;

		if (!queue->is_started)
			continue;
		s = vmm_vhost_stop(vhost->kernel, i, &queue->state);
		queue->is_started = false;
		if (s < 0 && r == 0)
			r = s;
	}
	vhost->is_running = false;
	return r;
}
