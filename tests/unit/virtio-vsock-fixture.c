/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-vsock-fixture.h"

struct driver driver;
static struct vmm_loop *loop;
struct vmm_virtio_vsock *vsock;
static pthread_t loop_thread;
static unsigned int next_rx;
int host_fds[8192];
unsigned int n_host_fds;
bool refusing, pending;
uint64_t pending_id;
int socket_type = SOCK_STREAM;
uint32_t buffer_bytes;

static int connect_socketpair(void *userdata, const struct vmm_vsock_request *request)
{
	int fds[2];

	if (refusing)
		return -ECONNREFUSED;
	if (pending) {
		__atomic_store_n(&pending_id, request->id, __ATOMIC_RELEASE);
		return VMM_VSOCK_PENDING;
	}
	if (socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	host_fds[n_host_fds++] = fds[1];
	return fds[0];
}

static const struct vmm_vsock_ops vsock_ops = { .connect = connect_socketpair };

static void *run_loop(void *userdata)
{
	ck_assert_int_eq(vmm_loop_run(loop), 0);
	return NULL;
}

void give_buffer(void)
{
	struct vring_buffer buffer = { RX_GPA + next_rx++ % N_RX * RX_STRIDE, RX_BYTES, true };

	driver_add(&driver, RECEIVE, &buffer, 1, 0);
}

void start_driver(unsigned int n_buffers)
{
	next_rx = 0;
	ck_assert(driver_start(&driver, F_STREAM | F_SEQPACKET, 3, N_RX));
	while (n_buffers-- > 0)
		give_buffer();
}

void begin(unsigned int n_buffers)
{
	struct vmm_virtio_vsock_config config = {
		.mem = driver.mem,
		.loop = loop,
		.guest_cid = GUEST_CID,
		.ops = &vsock_ops,
		.buffer_bytes = buffer_bytes,
	};

	ck_assert_int_eq(vmm_virtio_vsock_new(&config, &vsock), 0);
	driver_attach(&driver, vmm_virtio_vsock_device(vsock));
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	start_driver(n_buffers);
}

void setup(void)
{
	driver_init(&driver);
	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	vsock = NULL;
	n_host_fds = 0;
	refusing = pending = false;
	pending_id = 0;
	socket_type = SOCK_STREAM;
	buffer_bytes = BUFFER_BYTES;
}

void stop_loop(void)
{
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
}

void resume_loop(void)
{
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
}

void teardown(void)
{
	if (vsock) {
		stop_loop();
		driver_detach(&driver);
	}
	vsock = vmm_virtio_vsock_free(vsock);
	loop = vmm_loop_free(loop);
	driver_finish(&driver);
	while (n_host_fds > 0)
		close(host_fds[--n_host_fds]);
}

struct vmm_virtio_vsock_status status(void)
{
	struct vmm_virtio_vsock_status result;

	vmm_virtio_vsock_get_status(vsock, &result);
	return result;
}

struct header packet(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct header){
		.src_cid = GUEST_CID,
		.dst_cid = VMM_VSOCK_CID_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VMM_VSOCK_STREAM,
		.op = op,
		.buf_alloc = 262144,
	};
}

void send_packet(const struct header *header, uint8_t seed)
{
	uint8_t *at = driver_pointer(&driver, TX_GPA, sizeof(*header) + header->len);
	struct vring_buffer pieces[] = {
		{ TX_GPA, sizeof(*header), false },
		{ TX_GPA + sizeof(*header), header->len, false },
	};

	memcpy(at, header, sizeof(*header));
	for (uint32_t i = 0; i < header->len; i++)
		at[sizeof(*header) + i] = (uint8_t)(seed + i);
	driver_add(&driver, TRANSMIT, pieces, header->len > 0 ? 2 : 1, 0);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}

void send_op(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
	struct header header = packet(guest_port, host_port, op);

	header.flags = flags;
	send_packet(&header, 0);
}

unsigned int first_used;

struct header receive_packet(const uint8_t **ret_data)
{
	static uint8_t copy[RX_BYTES];
	struct header header;
	uint32_t length;

	ck_assert(driver_wait_used(&driver, RECEIVE, NULL, &length));
	memcpy(copy, driver_pointer(&driver, RX_GPA + first_used++ % N_RX * RX_STRIDE, RX_BYTES),
		RX_BYTES);
	memcpy(&header, copy, sizeof(header));
	ck_assert_uint_eq(length, sizeof(header) + header.len);
	ck_assert_uint_eq(header.src_cid, VMM_VSOCK_CID_HOST);
	ck_assert_uint_eq(header.dst_cid, GUEST_CID);
	if (ret_data)
		*ret_data = copy + sizeof(header);
	give_buffer();
	return header;
}

struct header expect_op(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	struct header header = receive_packet(NULL);

	ck_assert_uint_eq(header.op, op);
	ck_assert_uint_eq(header.src_port, host_port);
	ck_assert_uint_eq(header.dst_port, guest_port);
	return header;
}

bool is_used(unsigned int queue)
{
	return driver.rings[queue].used[1] != driver.rings[queue].last_used;
}

void expect_nothing(void)
{
	usleep(20000);
	ck_assert(!is_used(RECEIVE));
}

int establish(uint32_t guest_port, uint32_t host_port)
{
	struct header header;

	send_op(guest_port, host_port, REQUEST, 0);
	header = expect_op(guest_port, host_port, RESPONSE);
	ck_assert_uint_eq(header.buf_alloc, BUFFER_BYTES);
	return host_fds[n_host_fds - 1];
}

void begin_fully(void)
{
	first_used = 0;
	begin(N_RX);
}

static struct sockaddr_un mux_address;
static socklen_t mux_address_bytes;

struct vmm_vsock_mux *mux_begin(void)
{
	struct vmm_vsock_mux *mux;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Abstract, and chosen by the kernel. */
	mux_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	mux_address_bytes = sizeof(mux_address);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&mux_address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&mux_address, &mux_address_bytes), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	stop_loop();
	ck_assert_int_eq(vmm_vsock_mux_new(vsock, fd, &mux), 0);
	resume_loop();
	close(fd);
	return mux;
}

int mux_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&mux_address, mux_address_bytes), 0);
	return fd;
}

void mux_end(struct vmm_vsock_mux *mux)
{
	stop_loop();
	vmm_vsock_mux_free(mux);
	resume_loop();
}
