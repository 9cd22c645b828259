/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-vsock; the host's ends of connections are sockets here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmmcore/virtio-vsock.h>

#include "lib/vmm-machine.h"
#include "target-vsock.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)
#define HEADER_BYTES 44

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_vsock *vsock;
static struct vmm_loop *loop;
static int host_fd = -EBADF;
static unsigned int n_asked;
static uint32_t last_guest_port, n_requests;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s\n", what);
	exit(EXIT_FAILURE);
}

/* A connected pair: one end stays here, the other is returned. */
static int make_ends(enum vmm_vsock_type type)
{
	int socket_type = type == VMM_VSOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	int fds[2];

	must(socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0,
		"no socket");
	if (host_fd >= 0)
		close(host_fd);
	host_fd = fds[0];
	return fds[1];
}

static int guest_connects(void *userdata, const struct vmm_vsock_request *request)
{
	n_asked++;
	last_guest_port = request->guest_port;
	if (request->port == VSOCK_SLOW_PORT)
		return VMM_VSOCK_PENDING;
	if (request->port != VSOCK_PORT)
		return -ECONNREFUSED;
	return make_ends(request->type);
}

static const struct vmm_vsock_ops ops = { .connect = guest_connects };

static void process(void *userdata)
{
	for (int i = 0; i < 2; i++)
		must(vmm_loop_step(loop, 0) >= 0, "the loop failed");
}

static struct machine *open_vsock(bool pci)
{
	struct vmm_virtio_vsock_config config = {
		.guest_cid = VSOCK_GUEST_CID,
		.ops = &ops,
		.buffer_bytes = VSOCK_BUFFER_BYTES,
	};

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	must(vmm_loop_new(&loop) == 0, "a loop cannot be made");
	config.mem = machine.mem;
	config.loop = loop;
	must(vmm_virtio_vsock_new(&config, &vsock) == 0, "virtio-vsock cannot be made");
	machine.own_threads = true;
	machine.run_more = process;
	vmm_machine_attach(&machine, vmm_virtio_vsock_device(vsock), pci);
	if (host_fd >= 0)
		close(host_fd);
	host_fd = -EBADF;
	n_asked = n_requests = 0;
	return &machine.machine;
}

/* In turn a request for a connection, which the host thinks about, and its reset. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	struct {
		uint64_t src_cid, dst_cid;
		uint32_t src_port, dst_port, len;
		uint16_t type, op;
		uint32_t flags, buf_alloc, fwd_cnt;
	} header = {
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = n_requests / 2,
		.dst_port = VSOCK_SLOW_PORT,
		.type = VMM_VSOCK_STREAM,
		.op = n_requests % 2 ? 3 : 1,
		.buf_alloc = 4096,
	};

	c->gpas[0] = vdriver_alloc(&c->d, HEADER_BYTES);
	memcpy(c->m->ram + c->gpas[0], &header, HEADER_BYTES);
	buffers[0] = (struct vring_buffer){ c->gpas[0], HEADER_BYTES, false };
	n_requests++;
	return 1;
}

static bool verify(struct conf *c, uint32_t len)
{
	struct vmm_virtio_vsock_status status;

	vmm_virtio_vsock_get_status(vsock, &status);
	c->n_done++;
	if (len != 0)
		return false;
	if (n_requests % 2)
		return n_asked > 0 && last_guest_port == n_requests / 2;
	return status.n_connections == 0;
}

static bool host_connects(const uint8_t *data)
{
	enum vmm_vsock_type type = (enum vmm_vsock_type)data[4];
	uint32_t port, host_port;

	memcpy(&port, data, sizeof(port));
	return vmm_virtio_vsock_open(vsock, port, type, make_ends(type), NULL, NULL, &host_port) ==
	       0;
}

static bool got(const void *data, size_t size)
{
	static uint8_t bytes[VSOCK_BUFFER_BYTES];
	ssize_t n = recv(host_fd, bytes, size, MSG_DONTWAIT | MSG_TRUNC);

	return n == (ssize_t)size && memcmp(bytes, data, size) == 0;
}

static bool host(unsigned int event, const void *data, size_t size)
{
	struct vmm_virtio_vsock_status status;
	uint8_t byte;

	switch (event) {
	case VSOCK_HOST_CONNECT:
		return host_connects(data);
	case VSOCK_HOST_SEND:
		return send(host_fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
	case VSOCK_HOST_GOT:
		return got(data, size);
	case VSOCK_HOST_SHUT_OUT:
		return shutdown(host_fd, SHUT_WR) == 0;
	case VSOCK_HOST_CLOSE:
		close(host_fd);
		host_fd = -EBADF;
		return true;
	case VSOCK_HOST_AT_END:
		return recv(host_fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
	case VSOCK_HOST_IS_OPEN:
		vmm_virtio_vsock_get_status(vsock, &status);
		return status.n_connections > 0;
	default:
		return false;
	}
}

const struct target target_vsock = {
	.name = "vsock",
	.type = 19,
	.n_queues = 3,
	.work_queue = 1,
	.config_bytes = 8,
	.features = 0xffffff,
	.open = open_vsock,
	.request = request,
	.verify = verify,
	.host = host,
};
