/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: virtio-vsock: packets of any shape, and a host whose ends of connections send, take
 * nothing, close half or whole, are refused, or answered late; and clients of the mux, some of
 * which still ask when it is freed. Checked: no more connections than allowed, and none is left
 * after a reset.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <vmmcore/virtio-vsock.h>

#include "base/util.h"
#include "device-script.h"

#define MAX_CONNECTIONS 8
#define N_ENDS 16

static struct vmm_virtio_vsock *vsock;
static struct vmm_vsock_mux *mux;
static struct vmm_loop *loop;
static int ends[N_ENDS]; /* of the host */
static unsigned int next_end;
static uint64_t pending_id;
static struct sockaddr_un address;
static socklen_t address_bytes;

static void keep(int fd)
{
	vmm_base_close(ends[next_end]);
	ends[next_end] = fd;
	next_end = (next_end + 1) % N_ENDS;
}

static int make_ends(enum vmm_vsock_type type)
{
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX,
			   (type == VMM_VSOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) |
				   SOCK_CLOEXEC | SOCK_NONBLOCK,
			   0, fds) == 0);
	keep(fds[0]);
	return fds[1];
}

static int guest_connects(void *userdata, const struct vmm_vsock_request *request)
{
	if (request->port % 4 == 1)
		return -ECONNREFUSED;
	if (request->port % 4 == 2) {
		pending_id = request->id;
		return VMM_VSOCK_PENDING;
	}
	return make_ends(request->type);
}

static const struct vmm_vsock_ops ops = { .connect = guest_connects };

static void process(void)
{
	struct vmm_virtio_vsock_status status;

	for (int i = 0; i < 4; i++)
		FUZZ_CHECK(vmm_loop_step(loop, 0) >= 0);
	vmm_virtio_vsock_get_status(vsock, &status);
	FUZZ_CHECK(status.n_connections <= MAX_CONNECTIONS);
}

static void opened(void *userdata, bool established)
{
}

static void client_says(uint8_t arg)
{
	static const char *const lines[] = { "CONNECT 1024\n", "CONNECT 99999999999\n", "CONNECT",
		" 80\n", "CONNECT -1\n", "\n", "CONNECT 7\nand more" };
	const char *line = lines[arg % ARRAY_SIZE(lines)];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	FUZZ_CHECK(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&address, address_bytes) == 0)
		send(fd, line, strlen(line), MSG_NOSIGNAL);
	keep(fd);
}

static void set_limits(uint8_t arg)
{
	struct vmm_ratelimit_config limits = { .bytes = { .rate = 1 + arg * 100u } };

	FUZZ_CHECK(vmm_virtio_vsock_set_limits(
			   vsock, arg & 1 ? &limits : NULL, arg & 2 ? &limits : NULL) == 0);
}

static void event(uint8_t code, uint8_t arg)
{
	static char data[32768];
	int *end = &ends[arg % N_ENDS];
	uint32_t host_port;

	switch (code % 9) {
	case 0:
		send(*end, data, 1 + (arg >> 4) * 2000u, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 1:
		recv(*end, data, sizeof(data), MSG_DONTWAIT);
		break;
	case 2:
		shutdown(*end, arg & 0x80 ? SHUT_RD : SHUT_WR);
		break;
	case 3:
		vmm_base_close(*end);
		*end = -EBADF;
		break;
	case 4:
		vmm_virtio_vsock_open(vsock, arg, arg & 1 ? VMM_VSOCK_STREAM : VMM_VSOCK_SEQPACKET,
			make_ends(arg & 1 ? VMM_VSOCK_STREAM : VMM_VSOCK_SEQPACKET), opened, NULL,
			&host_port);
		break;
	case 5:
		vmm_virtio_vsock_answer(
			vsock, pending_id, arg & 1 ? -ECONNREFUSED : make_ends(VMM_VSOCK_STREAM));
		break;
	case 6:
		client_says(arg);
		break;
	case 7:
		set_limits(arg);
		break;
	case 8:
		if (vmm_virtio_pause(vmm_virtio_vsock_device(vsock), NULL, NULL) == 0)
			vmm_virtio_resume(vmm_virtio_vsock_device(vsock));
		break;
	}
}

static const struct fuzz_device device = {
	.n_queues = 3,
	.queue_size = 16,
	.process = process,
	.event = event,
};

/* Of each input one of its own: its ports begin with the same number. */
static void make_device(struct driver *driver)
{
	struct vmm_virtio_vsock_config config = {
		.mem = driver->mem,
		.guest_cid = 3,
		.ops = &ops,
		.queue_size = 16,
		.max_connections = MAX_CONNECTIONS,
		.buffer_bytes = 4096,
	};
	int listen_fd;

	config.loop = loop;
	FUZZ_CHECK(vmm_virtio_vsock_new(&config, &vsock) == 0);
	driver_attach(driver, vmm_virtio_vsock_device(vsock));
	/* An abstract address that the kernel chooses. */
	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	FUZZ_CHECK(bind(listen_fd, (const struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	FUZZ_CHECK(listen(listen_fd, 8) == 0);
	address_bytes = sizeof(address);
	FUZZ_CHECK(getsockname(listen_fd, (struct sockaddr *)&address, &address_bytes) == 0);
	FUZZ_CHECK(vmm_vsock_mux_new(vsock, listen_fd, &mux) == 0);
	vmm_base_close(listen_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct driver *driver;
	struct vmm_virtio_vsock_status status;

	if (!driver) {
		driver = fuzz_driver();
		FUZZ_CHECK(vmm_loop_new(&loop) == 0);
		for (unsigned int i = 0; i < N_ENDS; i++)
			ends[i] = -EBADF;
	}
	make_device(driver);
	pending_id = 0;
	next_end = 0;
	set_limits(0);
	fuzz_device_run(&device, data, size);
	/* What no guest hears now is left to the mux. */
	client_says(0);
	process();
	for (unsigned int i = 0; i < N_ENDS; i++) {
		vmm_base_close(ends[i]);
		ends[i] = -EBADF;
	}
	process();
	vmm_virtio_vsock_get_status(vsock, &status);
	FUZZ_CHECK(status.n_connections == 0);
	mux = vmm_vsock_mux_free(mux);
	driver_detach(driver);
	vsock = vmm_virtio_vsock_free(vsock);
	return 0;
}
