/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vsock: the device, its queues and its loop. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

#define DEVICE_TYPE_VSOCK 19
#define CLASS_OTHER_NETWORK 0x028000
#define REQUEST_SECONDS 2

#define F_STREAM (UINT64_C(1) << 0)
#define F_SEQPACKET (UINT64_C(1) << 1)

static_assert(sizeof(struct vsock_header) == HEADER_BYTES, "virtio_vsock_hdr");

/* ---- operations, under the data lock ---- */

/* What a reset left behind goes in the loop's thread, before anything else happens there. */
static void finish_reset(struct vmm_virtio_vsock *vsock)
{
	if (!vsock->reset_pending)
		return;
	vsock->reset_pending = false;
	vsock->n_orphans = 0;
	vmm_vsock_remove_all(vsock);
}

static int receive(struct vmm_virtio_vsock *vsock, struct vmm_virtqueue *queue)
{
	int r = vmm_vsock_receive(vsock, queue);

	/* Orphans that held the transmit queue up have gone out. */
	if (vsock->transmit_waits && vsock->n_orphans < MAX_ORPHANS)
		vmm_loop_event_signal(vsock->wake);
	return r;
}

/* Where it is not the receive queue's own turn. */
static void serve_guest(struct vmm_virtio_vsock *vsock)
{
	struct vmm_virtqueue *queue = vmm_virtio_queue(vsock->device, QUEUE_RECEIVE);

	if (!queue)
		return;
	if (receive(vsock, queue) < 0)
		vmm_virtio_fail(vsock->device);
	vmm_virtio_notify(vsock->device, QUEUE_RECEIVE);
}

static int process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_vsock *vsock = userdata;
	int r;

	finish_reset(vsock);
	switch (queue_index) {
	case QUEUE_RECEIVE:
		vsock->wants_buffers = false;
		vmm_vsock_feed(vsock);
		return receive(vsock, queue);
	case QUEUE_TRANSMIT:
		r = vmm_vsock_transmit(vsock, queue);
		if (r >= 0)
			serve_guest(vsock);
		return r;
	default: /* events: only for a transport that was reset, which this one never is */
		return 0;
	}
}

static int reset(void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vsock->reset_pending = true;
	vmm_loop_event_signal(vsock->wake);
	return 0;
}

static int activate(void *userdata)
{
	return 0;
}

static int queue_reset(void *userdata, unsigned int queue_index)
{
	return 0;
}

static void resume_device(void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vmm_loop_event_signal(vsock->wake);
}

static const struct vmm_virtio_ops device_ops = {
	.process = process,
	.activate = activate,
	.reset = reset,
	.queue_reset = queue_reset,
	.resume = resume_device,
};

/* ---- in the loop ---- */

static int on_receive_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vmm_virtio_process(vsock->device, QUEUE_RECEIVE);
	return 0;
}

static int on_transmit_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vmm_virtio_process(vsock->device, QUEUE_TRANSMIT);
	return 0;
}

/* The sockets' epoll set. While no queue is live nobody reads them, and the set is not watched. */
static int on_sockets(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;
	bool live;

	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	finish_reset(vsock);
	live = vmm_virtio_queue(vsock->device, QUEUE_RECEIVE);
	if (live)
		serve_guest(vsock);
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	return live ? 0 : vmm_loop_source_set_events(vsock->sockets, 0);
}

/* Something changed: reset, resume, a limit. */
static int on_wake(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	finish_reset(vsock);
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	vmm_virtio_process(vsock->device, QUEUE_RECEIVE);
	vmm_virtio_process(vsock->device, QUEUE_TRANSMIT);
	return vmm_loop_source_set_events(vsock->sockets, EPOLLIN);
}

static int on_timer(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_virtio_vsock *vsock = userdata;

	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	finish_reset(vsock);
	vmm_vsock_expire(vsock);
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	return on_wake(source, events, userdata);
}

/* ---- connections from the host ---- */

static bool type_is_offered(struct vmm_virtio_vsock *vsock, enum vmm_vsock_type type)
{
	if (type == VMM_VSOCK_STREAM)
		return true;
	return type == VMM_VSOCK_SEQPACKET && vmm_virtio_features(vsock->device) & F_SEQPACKET;
}

static int open_locked(struct vmm_virtio_vsock *vsock, uint32_t port, enum vmm_vsock_type type,
	struct connection **ret_connection)
{
	struct connection *connection;

	finish_reset(vsock);
	if (!vmm_virtio_is_active(vsock->device))
		return -ENOTCONN;
	if (!type_is_offered(vsock, type))
		return -EPROTONOSUPPORT;
	if (vsock->n_connections == vsock->n_connections_room)
		return -EMFILE;
	connection = vmm_vsock_add(vsock, port, vmm_vsock_unused_host_port(vsock, port), type);
	connection->state = STATE_REQUESTED;
	vmm_vsock_owe(vsock, connection, OWE_REQUEST);
	vmm_vsock_set_deadline(vsock, connection, REQUEST_SECONDS);
	*ret_connection = connection;
	return 0;
}

int vmm_virtio_vsock_open(struct vmm_virtio_vsock *vsock, uint32_t port, enum vmm_vsock_type type,
	int fd, vmm_vsock_opened opened, void *userdata, uint32_t *ret_host_port)
{
	CLEANUP(close_p) int owned_fd = fd;
	struct connection *connection;
	int r;

	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	r = open_locked(vsock, port, type, &connection);
	if (r == 0) {
		connection->fd = TAKE_FD(owned_fd);
		connection->opened = opened;
		connection->userdata = userdata;
		*ret_host_port = connection->host_port;
		serve_guest(vsock);
	}
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	return r;
}

int vmm_virtio_vsock_answer(struct vmm_virtio_vsock *vsock, uint64_t id, int fd)
{
	CLEANUP(close_p) int owned_fd = fd < 0 ? -EBADF : fd;
	struct connection *connection;
	int r = 0;

	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	finish_reset(vsock);
	connection = vmm_vsock_by_id(vsock, id);
	if (!connection || connection->state != STATE_CONNECTING) {
		r = -ENOENT;
	} else if (fd < 0) {
		count(&vsock->n_refused, 1);
		vmm_vsock_abort(vsock, connection);
	} else {
		connection->fd = TAKE_FD(owned_fd);
		vmm_vsock_owe(vsock, connection, OWE_RESPONSE);
		vmm_vsock_establish(vsock, connection);
	}
	serve_guest(vsock);
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	return r;
}

void vmm_vsock_cancel(struct vmm_virtio_vsock *vsock, const void *userdata)
{
	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	for (uint32_t i = 0; i < vsock->n_ever_used; i++) {
		struct connection *connection = &vsock->connections[i];

		if (connection->state == STATE_REQUESTED && connection->userdata == userdata)
			vmm_vsock_abort(vsock, connection);
	}
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
}

/* ---- life ---- */

static uint32_t round_up_to_power_of_two(uint32_t n)
{
	return n <= 1 ? 1 : UINT32_C(1) << (32 - __builtin_clz(n - 1));
}

static int tables_init(struct vmm_virtio_vsock *vsock, unsigned int queue_size)
{
	size_t n_buckets = round_up_to_power_of_two(vsock->n_connections_room * 2);
	size_t buffers_bytes = vmm_vsock_buffers_bytes(vsock);
	void *buffers;

	vsock->connections = calloc(vsock->n_connections_room, sizeof(vsock->connections[0]));
	vsock->hash = calloc(n_buckets, sizeof(vsock->hash[0]));
	vsock->hash_mask = (uint32_t)n_buckets - 1;
	vsock->iov_room = queue_size + 64;
	vsock->iov = calloc(vsock->iov_room * 2, sizeof(vsock->iov[0]));
	if (!vsock->connections || !vsock->hash || !vsock->iov)
		return -ENOMEM;
	buffers = mmap(NULL, buffers_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buffers == MAP_FAILED)
		return -errno;
	vsock->buffers = buffers;
	madvise(buffers, buffers_bytes, MADV_DONTDUMP);
	return 0;
}

static int device_new(struct vmm_virtio_vsock *vsock, const struct vmm_virtio_vsock_config *config,
	uint16_t queue_size)
{
	uint16_t sizes[] = { queue_size, queue_size, 16 };
	struct vmm_virtio_device_config device_config = {
		.device_type = DEVICE_TYPE_VSOCK,
		.pci_class_code = CLASS_OTHER_NETWORK,
		.features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET | F_STREAM |
			    (config->no_seqpacket ? 0 : F_SEQPACKET),
		.n_queues = ARRAY_SIZE(sizes),
		.queue_sizes = sizes,
		.config_space = &vsock->guest_cid, /* struct virtio_vsock_config, 5.10.4 */
		.config_size_bytes = sizeof(vsock->guest_cid),
		.mem = config->mem,
		.ops = &device_ops,
		.userdata = vsock,
	};

	return vmm_virtio_device_new(&device_config, &vsock->device);
}

static int sources_init(struct vmm_virtio_vsock *vsock)
{
	struct vmm_loop *loop = vsock->loop;
	int r;

	vsock->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (vsock->epoll_fd < 0)
		return -errno;
	r = vmm_loop_add_event(loop, on_wake, vsock, &vsock->wake);
	if (r < 0)
		return r;
	r = vmm_loop_add_timer(loop, on_timer, vsock, &vsock->timer);
	if (r < 0)
		return r;
	r = vmm_loop_add_fd(loop, vsock->epoll_fd, EPOLLIN, on_sockets, vsock, &vsock->sockets);
	if (r < 0)
		return r;
	r = vmm_loop_add_fd(loop, vmm_virtio_kick_fd(vsock->device, QUEUE_RECEIVE), EPOLLIN,
		on_receive_kick, vsock, &vsock->receive_kick);
	if (r < 0)
		return r;
	return vmm_loop_add_fd(loop, vmm_virtio_kick_fd(vsock->device, QUEUE_TRANSMIT), EPOLLIN,
		on_transmit_kick, vsock, &vsock->transmit_kick);
}

static bool is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool config_is_good(const struct vmm_virtio_vsock_config *config)
{
	return config->mem && config->loop && config->guest_cid >= VMM_VSOCK_MIN_CID &&
	       config->guest_cid < UINT32_MAX &&
	       (config->queue_size == 0 ||
		       (is_power_of_two(config->queue_size) && config->queue_size <= 1024)) &&
	       config->max_connections <= VMM_VSOCK_MAX_CONNECTIONS &&
	       (config->buffer_bytes == 0 ||
		       (is_power_of_two(config->buffer_bytes) && config->buffer_bytes >= 4096 &&
			       config->buffer_bytes <= 1 << 20));
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_vsock, vmm_virtio_vsock_free);

int vmm_virtio_vsock_new(
	const struct vmm_virtio_vsock_config *config, struct vmm_virtio_vsock **ret_vsock)
{
	CLEANUP(vmm_virtio_vsock_free_p) struct vmm_virtio_vsock *vsock = NULL;
	unsigned int queue_size = config->queue_size ? config->queue_size : 256;
	uint64_t now = vmm_base_now_nsec();
	int r;

	if (!config_is_good(config))
		return -EINVAL;
	vsock = malloc(sizeof(*vsock));
	if (!vsock)
		return -ENOMEM;
	*vsock = (struct vmm_virtio_vsock){
		.loop = config->loop,
		.guest_cid = config->guest_cid,
		.ops = config->ops,
		.ops_userdata = config->userdata,
		.buffer_bytes = config->buffer_bytes ? config->buffer_bytes : 64 << 10,
		.n_connections_room = config->max_connections ? config->max_connections : 4096,
		.epoll_fd = -EBADF,
	};
	r = vmm_ratelimit_init(&vsock->receive_limit, &config->receive_limits, now);
	if (r < 0)
		return r;
	r = vmm_ratelimit_init(&vsock->transmit_limit, &config->transmit_limits, now);
	if (r < 0)
		return r;
	r = tables_init(vsock, queue_size);
	if (r < 0)
		return r;
	r = device_new(vsock, config, (uint16_t)queue_size);
	if (r < 0)
		return r;
	r = sources_init(vsock);
	if (r < 0)
		return r;
	*ret_vsock = TAKE_PTR(vsock);
	return 0;
}

struct vmm_virtio_vsock *vmm_virtio_vsock_free(struct vmm_virtio_vsock *vsock)
{
	if (!vsock)
		return NULL;
	vmm_vsock_remove_all(vsock);
	vmm_loop_source_free(vsock->receive_kick);
	vmm_loop_source_free(vsock->transmit_kick);
	vmm_loop_source_free(vsock->sockets);
	vmm_loop_source_free(vsock->timer);
	vmm_loop_source_free(vsock->wake);
	vmm_base_close(vsock->epoll_fd);
	vmm_virtio_device_free(vsock->device);
	if (vsock->buffers)
		munmap(vsock->buffers, vmm_vsock_buffers_bytes(vsock));
	free(vsock->connections);
	free(vsock->hash);
	free(vsock->iov);
	free(vsock);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_vsock_device(struct vmm_virtio_vsock *vsock)
{
	return vsock->device;
}

int vmm_virtio_vsock_set_limits(struct vmm_virtio_vsock *vsock,
	const struct vmm_ratelimit_config *receive_limits,
	const struct vmm_ratelimit_config *transmit_limits)
{
	uint64_t now = vmm_base_now_nsec();
	struct vmm_ratelimit scratch;
	int r;

	r = vmm_ratelimit_init(&scratch, transmit_limits, now);
	if (r < 0)
		return r;
	vmm_virtio_lock(vsock->device, QUEUE_RECEIVE);
	r = vmm_ratelimit_update(&vsock->receive_limit, receive_limits, now);
	if (r == 0)
		vmm_ratelimit_update(&vsock->transmit_limit, transmit_limits, now);
	vmm_virtio_unlock(vsock->device, QUEUE_RECEIVE);
	vmm_loop_event_signal(vsock->wake);
	return r;
}

void vmm_virtio_vsock_get_status(
	struct vmm_virtio_vsock *vsock, struct vmm_virtio_vsock_status *ret_status)
{
	*ret_status = (struct vmm_virtio_vsock_status){
		.n_connections = __atomic_load_n(&vsock->n_connections, __ATOMIC_RELAXED),
		.n_opened = __atomic_load_n(&vsock->n_opened, __ATOMIC_RELAXED),
		.n_refused = __atomic_load_n(&vsock->n_refused, __ATOMIC_RELAXED),
		.n_reset = __atomic_load_n(&vsock->n_reset, __ATOMIC_RELAXED),
		.n_dropped = __atomic_load_n(&vsock->n_dropped, __ATOMIC_RELAXED),
		.received_bytes = __atomic_load_n(&vsock->received_bytes, __ATOMIC_RELAXED),
		.transmitted_bytes = __atomic_load_n(&vsock->transmitted_bytes, __ATOMIC_RELAXED),
	};
}
