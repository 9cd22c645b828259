/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: virtio-net with two pairs: frames, headers and commands of any shape, over a back end that
 * gives frames with any header, takes none for a while, or fails. Frames that come together may go
 * through a ring of io_uring as a tap's do, to a socket that is full now and then. Checked: what
 * the back end gets has a header that is consistent, what leaves the ring is what it was given, in
 * order, and no more was negotiated than was offered.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmmcore/virtio-net.h>

#include "device-script.h"
#include "virtio-net/net-internal.h"

#define N_PAIRS 2
#define MAX_WAITING 8
#define HEADER VMM_NET_HEADER_BYTES

static struct vmm_virtio_net *net;
static struct vmm_loop *loop;
static bool is_busy, has_failed;
static struct {
	uint8_t kind; /* of the header, and of the size */
	uint8_t size;
} waiting[MAX_WAITING];
static unsigned int n_waiting;

/* A ring as a tap has, and the other end of its socket. NULL: not used, or the host has none. */
static struct net_uring *ring;
static int ring_fds[2] = { -EBADF, -EBADF };
static bool is_full; /* nobody takes what is sent */

static void end_ring(void)
{
	if (ring_fds[0] < 0)
		return;
	ring = vmm_net_uring_free(ring);
	close(ring_fds[0]);
	close(ring_fds[1]);
	ring_fds[0] = ring_fds[1] = -EBADF;
}

/* waits: a socket of which the kernel, and not its caller, waits until there is room. */
static void make_ring(bool waits)
{
	int room = 8 << 10;

	end_ring();
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ring_fds) == 0);
	FUZZ_CHECK(setsockopt(ring_fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0);
	FUZZ_CHECK(waits || fcntl(ring_fds[0], F_SETFL, O_NONBLOCK) == 0);
	if (vmm_net_uring_new(ring_fds[0], &ring) < 0)
		ring = NULL;
}

static void drain(void)
{
	static uint8_t frame[HEADER + VMM_NET_MAX_FRAME_BYTES];

	while (recv(ring_fds[1], frame, sizeof(frame), MSG_DONTWAIT) >= 0)
		continue;
}

/* The next frame that has left the ring is that. Its content may have changed: it is the guest's.
 */
static void check_sent(const struct vmm_net_frame *frame)
{
	static uint8_t got[HEADER + VMM_NET_MAX_FRAME_BYTES];
	size_t size = 0;

	for (size_t i = 0; i < frame->n_iov; i++)
		size += frame->iov[i].iov_len;
	FUZZ_CHECK(recv(ring_fds[1], got, sizeof(got), MSG_DONTWAIT) == (ssize_t)size);
	FUZZ_CHECK(memcmp(got, frame->iov[0].iov_base, HEADER) == 0);
}

/* Headers that a back end may give, and some that it should not. */
static void make_header(uint8_t kind, uint8_t header[HEADER])
{
	static const uint8_t gso_types[] = { 0, 1, 4, 0x81, 3, 0x80 };

	memset(header, 0, HEADER);
	header[0] = kind & 3;
	header[1] = gso_types[(kind >> 2) % sizeof(gso_types)];
	header[2] = 54;
	header[4] = 100;
}

static ssize_t receive(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	static uint8_t frame[VMM_NET_MAX_BYTES];
	size_t size, done = 0;

	if (has_failed)
		return -EIO;
	if (n_waiting == 0)
		return -EAGAIN;
	n_waiting--;
	/* From nothing to the largest. */
	size = waiting[n_waiting].size * (waiting[n_waiting].kind & 0x80 ? 258u : 8u);
	if (size > sizeof(frame))
		size = sizeof(frame);
	make_header(waiting[n_waiting].kind, frame);
	for (size_t i = 0; i < n_iov && done < size; i++) {
		size_t n = size - done < iov[i].iov_len ? size - done : iov[i].iov_len;

		memcpy(iov[i].iov_base, frame + done, n);
		done += n;
	}
	return (ssize_t)done;
}

static int send_one(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	uint8_t header[HEADER];
	size_t size = 0;

	if (has_failed)
		return -EIO;
	if (is_busy)
		return -EAGAIN;
	FUZZ_CHECK(n_iov > 0 && iov[0].iov_len == HEADER);
	memcpy(header, iov[0].iov_base, HEADER);
	for (size_t i = 1; i < n_iov; i++) {
		volatile uint8_t last;

		size += iov[i].iov_len;
		if (iov[i].iov_len > 0)
			last = ((const uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1];
		(void)last;
	}
	FUZZ_CHECK(size >= 14 && size <= VMM_NET_MAX_FRAME_BYTES);
	FUZZ_CHECK((header[0] & ~1) == 0);
	FUZZ_CHECK(header[2] + 256u * header[3] <= size);
	if (header[0])
		FUZZ_CHECK(header[6] + 256u * header[7] + header[8] + 256u * header[9] + 2 <= size);
	if (header[1])
		FUZZ_CHECK(header[0] && header[4] + 256u * header[5] > 0);
	return 0;
}

/* The ring takes all, or none of them. */
static void send_by_ring(struct vmm_net_frame *frames, size_t n_frames)
{
	size_t n;

	n = vmm_net_uring_send(ring, frames, n_frames);
	FUZZ_CHECK(n == 0 || n == n_frames);
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK(frames[i].result <= 0 && frames[i].result != -EINPROGRESS);
		if (frames[i].result == 0 && !is_full)
			check_sent(&frames[i]);
	}
	if (!is_full)
		FUZZ_CHECK(recv(ring_fds[1], &(char){ 0 }, 1, MSG_DONTWAIT) < 0);
}

static size_t send_many(
	void *userdata, unsigned int pair, struct vmm_net_frame *frames, size_t n_frames)
{
	FUZZ_CHECK(n_frames > 1 && n_frames <= VMM_NET_MAX_BATCH);
	for (size_t i = 0; i < n_frames; i++) {
		frames[i].result = send_one(userdata, pair, frames[i].iov, frames[i].n_iov);
		if (frames[i].result == -EAGAIN)
			return i;
	}
	if (ring && !has_failed)
		send_by_ring(frames, n_frames);
	return n_frames;
}

static unsigned int offloads(void *userdata)
{
	return VMM_NET_ALL_OFFLOADS;
}

static int set_offloads(void *userdata, unsigned int now)
{
	FUZZ_CHECK((now & ~VMM_NET_ALL_OFFLOADS) == 0);
	return 0;
}

static int set_pairs(void *userdata, unsigned int n_pairs)
{
	FUZZ_CHECK(n_pairs >= 1 && n_pairs <= N_PAIRS);
	/* With one pair a device starts, which the script counts on. */
	return has_failed && n_pairs > 1 ? -EIO : 0;
}

static const struct vmm_net_ops ops = {
	.receive = receive,
	.send = send_one,
	.offloads = offloads,
	.set_offloads = set_offloads,
	.set_pairs = set_pairs,
	.send_many = send_many,
};

static void process(void)
{
	struct vmm_virtio_net_status status;

	for (int i = 0; i < 4; i++)
		FUZZ_CHECK(vmm_loop_step(loop, 0) >= 0);
	vmm_virtio_net_get_status(net, &status);
	FUZZ_CHECK(status.n_pairs <= N_PAIRS);
	FUZZ_CHECK((status.mac[0] & 1) == 0);
}

static void set_limits(uint8_t arg)
{
	struct vmm_ratelimit_config limits = { .ops = { .rate = arg, .burst = 1 } };

	FUZZ_CHECK(vmm_virtio_net_set_limits(
			   net, arg & 1 ? &limits : NULL, arg & 2 ? &limits : NULL) == 0);
}

static void event(uint8_t code, uint8_t arg)
{
	switch (code % 8) {
	case 0:
	case 1:
		if (n_waiting < MAX_WAITING) {
			waiting[n_waiting].kind = code;
			waiting[n_waiting++].size = arg;
		}
		vmm_virtio_net_wake(net, arg % N_PAIRS);
		break;
	case 2:
		vmm_virtio_net_set_link(net, arg & 1);
		break;
	case 3:
		vmm_virtio_net_announce(net);
		break;
	case 4:
		is_busy = arg & 1;
		is_full = arg & 2;
		if (arg & 4)
			make_ring(arg & 8);
		if (!is_full)
			drain();
		vmm_virtio_net_wake(net, 0);
		break;
	case 5:
		has_failed = arg & 1;
		vmm_virtio_net_wake(net, 0);
		break;
	case 6:
		set_limits(arg);
		break;
	case 7:
		if (vmm_virtio_pause(vmm_virtio_net_device(net), NULL, NULL) == 0)
			vmm_virtio_resume(vmm_virtio_net_device(net));
		break;
	}
}

static const struct fuzz_device device = {
	.n_queues = 2 * N_PAIRS + 1,
	.queue_size = 16,
	.process = process,
	.event = event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!net) {
		struct driver *driver = fuzz_driver();
		struct vmm_virtio_net_config config = {
			.mem = driver->mem,
			.backend = { &ops, NULL },
			.n_loops = 1,
			.n_pairs = N_PAIRS,
			.queue_size = 16,
			.mac = { 0x52, 0x54, 0, 1, 2, 3 },
			.mtu = 1500,
		};

		FUZZ_CHECK(vmm_loop_new(&loop) == 0);
		config.loops = &loop;
		FUZZ_CHECK(vmm_virtio_net_new(&config, &net) == 0);
		driver_attach(driver, vmm_virtio_net_device(net));
	}
	n_waiting = 0;
	is_busy = has_failed = is_full = false;
	end_ring();
	set_limits(0);
	vmm_virtio_net_set_link(net, true);
	fuzz_device_run(&device, data, size);
	process();
	return 0;
}
