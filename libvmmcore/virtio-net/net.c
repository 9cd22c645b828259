/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net: the device, its configuration space and its pairs. */
#include <string.h>
#include <sys/epoll.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

#define DEVICE_TYPE_NET 1
#define CLASS_ETHERNET 0x020000

/* struct virtio_net_config, 5.1.4 */
struct net_config {
	uint8_t mac[6];
	struct vmm_le16 status;
	struct vmm_le16 max_virtqueue_pairs;
	struct vmm_le16 mtu;
};

static_assert(sizeof(struct net_config) == 12, "virtio_net_config");
static_assert(sizeof(struct net_header) == VMM_NET_HEADER_BYTES, "virtio_net_hdr_v1");

/* ---- what the driver sees ---- */

bool vmm_net_link_is_up(struct vmm_virtio_net *net)
{
	return __atomic_load_n(&net->status, __ATOMIC_RELAXED) & STATUS_LINK_UP;
}

static void read_config(void *userdata, uint32_t offset, void *data, size_t size)
{
	struct vmm_virtio_net *net = userdata;
	uint64_t mac = __atomic_load_n(&net->mac, __ATOMIC_RELAXED);
	struct net_config config = {
		.status = vmm_le16_make(__atomic_load_n(&net->status, __ATOMIC_RELAXED)),
		.max_virtqueue_pairs = vmm_le16_make((uint16_t)net->n_pairs),
		.mtu = vmm_le16_make(net->mtu),
	};

	memcpy(config.mac, &mac, sizeof(config.mac));
	memcpy(data, (const uint8_t *)&config + offset, size);
}

void vmm_net_wake_all(struct vmm_virtio_net *net)
{
	for (unsigned int i = 0; i < net->n_pairs; i++)
		vmm_loop_event_signal(net->pairs[i].wake);
}

/* Under data locks: the change of configuration space follows in a loop. */
void vmm_net_backend_failed(struct vmm_virtio_net *net)
{
	__atomic_store_n(&net->backend_failed, true, __ATOMIC_RELAXED);
	vmm_loop_event_signal(net->pairs[0].wake);
}

/* Makes the link status what it should be. No locks held. */
static void update_link(struct vmm_virtio_net *net)
{
	bool up = __atomic_load_n(&net->link_up, __ATOMIC_RELAXED) &&
		  !__atomic_load_n(&net->backend_failed, __ATOMIC_RELAXED);

	if (up == vmm_net_link_is_up(net))
		return;
	vmm_virtio_config_begin(net->device);
	if (up)
		__atomic_fetch_or(&net->status, STATUS_LINK_UP, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&net->status, (uint16_t)~STATUS_LINK_UP, __ATOMIC_RELAXED);
	vmm_virtio_config_end(net->device, true);
}

/* ---- operations ---- */

/* Without MQ there is one pair, and the control queue follows it (5.1.2). */
static bool is_control_queue(struct vmm_virtio_net *net, unsigned int queue_index)
{
	uint64_t features = vmm_virtio_features(net->device);

	if (!(features & F_CTRL_VQ))
		return false;
	return queue_index == (features & F_MQ ? net->n_pairs * 2 : 2);
}

static int process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_net *net = userdata;
	struct pair *pair;

	if (is_control_queue(net, queue_index))
		return vmm_net_control(net, queue);
	if (queue_index / 2 >= net->n_pairs)
		return 0;
	pair = &net->pairs[queue_index / 2];
	if (queue_index % 2 == 0)
		return vmm_net_receive(pair, queue);
	return vmm_net_transmit(pair, queue);
}

static int activate(void *userdata)
{
	struct vmm_virtio_net *net = userdata;
	int r;

	r = vmm_net_set_guest_offloads(net, vmm_virtio_features(net->device) & GUEST_OFFLOADS);
	if (r < 0)
		return r;
	return vmm_net_set_pairs(net, 1);
}

static int reset(void *userdata)
{
	struct vmm_virtio_net *net = userdata;

	for (unsigned int i = 0; i < net->n_pairs; i++)
		vmm_net_receive_reset(&net->pairs[i]);
	vmm_net_set_pairs(net, 0);
	__atomic_fetch_and(&net->status, (uint16_t)~STATUS_ANNOUNCE, __ATOMIC_RELAXED);
	/* The driver sets out anew: what broke the back end may be over. */
	__atomic_store_n(&net->backend_failed, false, __ATOMIC_RELAXED);
	vmm_net_wake_all(net);
	return 0;
}

static int queue_reset(void *userdata, unsigned int queue_index)
{
	struct vmm_virtio_net *net = userdata;

	if (queue_index % 2 == 0 && queue_index / 2 < net->n_pairs)
		vmm_net_receive_reset(&net->pairs[queue_index / 2]);
	return 0;
}

static int queue_enable(void *userdata, unsigned int queue_index)
{
	vmm_net_wake_all(userdata);
	return 0;
}

static int pause_device(void *userdata)
{
	struct vmm_virtio_net *net = userdata;

	for (unsigned int i = 0; i < net->n_pairs; i++) {
		struct pair *pair = &net->pairs[i];

		vmm_net_receive_pause(
			pair, vmm_virtio_queue_finishing(net->device, receive_queue(pair)));
	}
	return 0;
}

static void resume_device(void *userdata)
{
	vmm_net_wake_all(userdata);
}

static const struct vmm_virtio_ops device_ops = {
	.process = process,
	.activate = activate,
	.reset = reset,
	.queue_reset = queue_reset,
	.queue_enable = queue_enable,
	.pause = pause_device,
	.resume = resume_device,
	.read_config = read_config,
};

/* ---- in the pairs' threads ---- */

/* Waits for what the pair can use of the back end now. */
static void update_events(struct pair *pair)
{
	uint32_t events = (pair->want_receive ? (uint32_t)EPOLLIN : 0) |
			  (pair->want_transmit ? (uint32_t)EPOLLOUT : 0);

	if (!pair->backend || events == pair->backend_events)
		return;
	if (vmm_loop_source_set_events(pair->backend, events) == 0)
		pair->backend_events = events;
}

static int serve(struct pair *pair, bool receive, bool transmit)
{
	struct vmm_virtio_device *device = pair->net->device;

	if (receive)
		vmm_virtio_process(device, receive_queue(pair));
	if (transmit)
		vmm_virtio_process(device, transmit_queue(pair));
	update_events(pair);
	return 0;
}

static int on_receive_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	return serve(userdata, true, false);
}

static int on_transmit_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	return serve(userdata, false, true);
}

static int on_backend(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct pair *pair = userdata;

	/*
	 * A live queue sets these again. Where none is, the back end waits, too: its hang-up is
	 * reported in any case, but it is the queue's use of it that finds out what it means.
	 */
	bool receive = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
	bool transmit = events & (EPOLLOUT | EPOLLHUP | EPOLLERR);

	if (receive)
		pair->want_receive = false;
	if (transmit)
		pair->want_transmit = false;
	serve(pair, receive, transmit);
	if (events & (EPOLLHUP | EPOLLERR) && !pair->want_receive && !pair->want_transmit)
		vmm_net_backend_failed(pair->net);
	return 0;
}

static int on_wake(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct pair *pair = userdata;

	update_link(pair->net);
	pair->want_receive = pair->want_transmit = false;
	return serve(pair, true, true);
}

static int on_control_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_net *net = userdata;

	vmm_virtio_process(net->device, vmm_virtio_n_queues(net->device) - 1);
	return 0;
}

/* ---- life ---- */

static int pair_init(struct pair *pair, const struct vmm_virtio_net_config *config,
	struct vmm_loop *loop, unsigned int queue_size)
{
	struct vmm_virtio_net *net = pair->net;
	uint64_t now = vmm_base_now_nsec();
	int fd, r;

	r = vmm_net_window_init(&pair->window, queue_size);
	if (r < 0)
		return r;
	r = vmm_net_batch_init(&pair->batch, queue_size);
	if (r < 0)
		return r;
	pair->overflow = malloc(VMM_NET_MAX_BYTES);
	if (!pair->overflow)
		return -ENOMEM;
	r = vmm_ratelimit_init(&pair->receive_limit, &config->receive_limits, now);
	if (r < 0)
		return r;
	r = vmm_ratelimit_init(&pair->transmit_limit, &config->transmit_limits, now);
	if (r < 0)
		return r;

	r = vmm_loop_add_event(loop, on_wake, pair, &pair->wake);
	if (r < 0)
		return r;
	r = vmm_loop_add_fd(loop, vmm_virtio_kick_fd(net->device, receive_queue(pair)), EPOLLIN,
		on_receive_kick, pair, &pair->receive_kick);
	if (r < 0)
		return r;
	r = vmm_loop_add_fd(loop, vmm_virtio_kick_fd(net->device, transmit_queue(pair)), EPOLLIN,
		on_transmit_kick, pair, &pair->transmit_kick);
	if (r < 0)
		return r;
	/* A limit holds a frame back: the kick of its queue finds it again. */
	r = vmm_loop_add_timer(loop, on_receive_kick, pair, &pair->receive_timer);
	if (r < 0)
		return r;
	r = vmm_loop_add_timer(loop, on_transmit_kick, pair, &pair->transmit_timer);
	if (r < 0)
		return r;
	if (!net->backend.ops->fd)
		return 0;
	fd = net->backend.ops->fd(net->backend.userdata, pair->index);
	if (fd < 0)
		return fd;
	return vmm_loop_add_fd(loop, fd, 0, on_backend, pair, &pair->backend);
}

static void pair_finish(struct pair *pair)
{
	vmm_loop_source_free(pair->receive_kick);
	vmm_loop_source_free(pair->transmit_kick);
	vmm_loop_source_free(pair->backend);
	vmm_loop_source_free(pair->wake);
	vmm_loop_source_free(pair->receive_timer);
	vmm_loop_source_free(pair->transmit_timer);
	vmm_net_window_finish(&pair->window);
	vmm_net_batch_finish(&pair->batch);
	free(pair->overflow);
}

static uint64_t features_to_offer(const struct vmm_virtio_net_config *config, unsigned int n_pairs)
{
	const struct vmm_net_backend *backend = &config->backend;
	unsigned int offloads = 0;
	uint64_t features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET | F_MAC | F_STATUS |
			    F_CTRL_VQ | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE;

	if (backend->ops->offloads && !config->no_offloads)
		offloads = backend->ops->offloads(backend->userdata);
	if (offloads & VMM_NET_CSUM) {
		features |= F_CSUM | F_GUEST_CSUM | F_CTRL_GUEST_OFFLOADS;
		if (offloads & VMM_NET_TSO4)
			features |= F_HOST_TSO4 | F_GUEST_TSO4;
		if (offloads & VMM_NET_TSO6)
			features |= F_HOST_TSO6 | F_GUEST_TSO6;
		if (offloads & VMM_NET_ECN && offloads & (VMM_NET_TSO4 | VMM_NET_TSO6))
			features |= F_HOST_ECN | F_GUEST_ECN;
	}
	if (!config->no_mergeable_buffers)
		features |= F_MRG_RXBUF;
	if (config->mtu)
		features |= F_MTU;
	if (n_pairs > 1)
		features |= F_MQ;
	return features;
}

static int device_new(struct vmm_virtio_net *net, const struct vmm_virtio_net_config *config,
	unsigned int queue_size)
{
	uint16_t sizes[VMM_NET_MAX_PAIRS * 2 + 1];
	unsigned int n_queues = net->n_pairs * 2 + 1;
	struct vmm_virtio_device_config device_config = {
		.device_type = DEVICE_TYPE_NET,
		.pci_class_code = CLASS_ETHERNET,
		.features = features_to_offer(config, net->n_pairs),
		.n_queues = (uint16_t)n_queues,
		.queue_sizes = sizes,
		.lock_per_queue = true,
		.config_size_bytes = sizeof(struct net_config),
		.mem = config->mem,
		.ops = &device_ops,
		.userdata = net,
	};

	for (unsigned int i = 0; i < n_queues; i++)
		sizes[i] = (uint16_t)queue_size;
	return vmm_virtio_device_new(&device_config, &net->device);
}

static bool config_is_good(const struct vmm_virtio_net_config *config)
{
	static const uint8_t zero[6];
	unsigned int size = config->queue_size;

	return config->mem && config->backend.ops && config->n_loops > 0 &&
	       config->n_pairs <= VMM_NET_MAX_PAIRS && size <= VMM_NET_MAX_QUEUE_SIZE &&
	       (size & (size - 1)) == 0 && !(config->mac[0] & 1) &&
	       memcmp(config->mac, zero, sizeof(zero)) != 0 &&
	       (config->mtu == 0 || config->mtu >= 68);
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_net, vmm_virtio_net_free);

int vmm_virtio_net_new(const struct vmm_virtio_net_config *config, struct vmm_virtio_net **ret_net)
{
	CLEANUP(vmm_virtio_net_free_p) struct vmm_virtio_net *net = NULL;
	unsigned int queue_size = config->queue_size ? config->queue_size : 256;
	int r;

	if (!config_is_good(config))
		return -EINVAL;
	net = malloc(sizeof(*net));
	if (!net)
		return -ENOMEM;
	*net = (struct vmm_virtio_net){
		.backend = config->backend,
		.n_pairs = config->n_pairs ? config->n_pairs : 1,
		.mtu = config->mtu,
		.link_up = !config->link_down,
		.status = config->link_down ? 0 : STATUS_LINK_UP,
	};
	memcpy(&net->mac, config->mac, sizeof(config->mac));
	net->pairs = calloc(net->n_pairs, sizeof(net->pairs[0]));
	if (!net->pairs)
		return -ENOMEM;
	r = device_new(net, config, queue_size);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < net->n_pairs; i++) {
		net->pairs[i].net = net;
		net->pairs[i].index = i;
		r = pair_init(
			&net->pairs[i], config, config->loops[i % config->n_loops], queue_size);
		if (r < 0)
			return r;
	}
	r = vmm_loop_add_fd(config->loops[0], vmm_virtio_kick_fd(net->device, net->n_pairs * 2),
		EPOLLIN, on_control_kick, net, &net->control_kick);
	if (r < 0)
		return r;
	*ret_net = TAKE_PTR(net);
	return 0;
}

struct vmm_virtio_net *vmm_virtio_net_free(struct vmm_virtio_net *net)
{
	if (!net)
		return NULL;
	vmm_loop_source_free(net->control_kick);
	for (unsigned int i = 0; net->pairs && i < net->n_pairs; i++)
		pair_finish(&net->pairs[i]);
	free(net->pairs);
	vmm_virtio_device_free(net->device);
	free(net);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_net_device(struct vmm_virtio_net *net)
{
	return net->device;
}

int vmm_virtio_net_set_limits(struct vmm_virtio_net *net,
	const struct vmm_ratelimit_config *receive_limits,
	const struct vmm_ratelimit_config *transmit_limits)
{
	uint64_t now = vmm_base_now_nsec();
	struct vmm_ratelimit scratch;
	int r;

	r = vmm_ratelimit_init(&scratch, receive_limits, now);
	if (r == 0)
		r = vmm_ratelimit_init(&scratch, transmit_limits, now);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < net->n_pairs; i++) {
		struct pair *pair = &net->pairs[i];

		vmm_virtio_lock(net->device, receive_queue(pair));
		vmm_ratelimit_update(&pair->receive_limit, receive_limits, now);
		vmm_virtio_unlock(net->device, receive_queue(pair));
		vmm_virtio_lock(net->device, transmit_queue(pair));
		vmm_ratelimit_update(&pair->transmit_limit, transmit_limits, now);
		vmm_virtio_unlock(net->device, transmit_queue(pair));
	}
	vmm_net_wake_all(net);
	return 0;
}

void vmm_virtio_net_set_link(struct vmm_virtio_net *net, bool up)
{
	__atomic_store_n(&net->link_up, up, __ATOMIC_RELAXED);
	if (up)
		__atomic_store_n(&net->backend_failed, false, __ATOMIC_RELAXED);
	update_link(net);
	vmm_net_wake_all(net);
}

void vmm_virtio_net_announce(struct vmm_virtio_net *net)
{
	if (!(vmm_virtio_features(net->device) & F_GUEST_ANNOUNCE))
		return;
	vmm_virtio_config_begin(net->device);
	__atomic_fetch_or(&net->status, STATUS_ANNOUNCE, __ATOMIC_RELAXED);
	vmm_virtio_config_end(net->device, true);
}

void vmm_virtio_net_wake(struct vmm_virtio_net *net, unsigned int pair)
{
	if (pair < net->n_pairs)
		vmm_loop_event_signal(net->pairs[pair].wake);
}

void vmm_virtio_net_get_status(struct vmm_virtio_net *net, struct vmm_virtio_net_status *ret_status)
{
	uint64_t mac = __atomic_load_n(&net->mac, __ATOMIC_RELAXED);
	struct vmm_virtio_net_status status = {
		.link_up = vmm_net_link_is_up(net),
		.backend_failed = __atomic_load_n(&net->backend_failed, __ATOMIC_RELAXED),
		.n_pairs = __atomic_load_n(&net->n_pairs_used, __ATOMIC_RELAXED),
	};

	memcpy(status.mac, &mac, sizeof(status.mac));
	for (unsigned int i = 0; i < net->n_pairs; i++) {
		const struct pair *pair = &net->pairs[i];

		status.n_received += __atomic_load_n(&pair->n_received, __ATOMIC_RELAXED);
		status.received_bytes += __atomic_load_n(&pair->received_bytes, __ATOMIC_RELAXED);
		status.n_transmitted += __atomic_load_n(&pair->n_transmitted, __ATOMIC_RELAXED);
		status.transmitted_bytes +=
			__atomic_load_n(&pair->transmitted_bytes, __ATOMIC_RELAXED);
		status.n_receive_dropped +=
			__atomic_load_n(&pair->n_receive_dropped, __ATOMIC_RELAXED);
		status.n_transmit_dropped +=
			__atomic_load_n(&pair->n_transmit_dropped, __ATOMIC_RELAXED);
		status.n_limited += __atomic_load_n(&pair->n_limited, __ATOMIC_RELAXED);
	}
	*ret_status = status;
}
