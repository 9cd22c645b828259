/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-net with two queue pairs over a network in memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-net.h>

#include "lib/vmm-machine.h"
#include "target-net.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)
#define REQUEST_BYTES 80
#define MAX_FRAMES 64
#define HEADER_BYTES sizeof(struct net_frame_header)

struct frame {
	size_t size;
	uint8_t *data; /* owned */
};

/* What waits to be taken, oldest first. */
struct frames {
	struct frame frames[MAX_FRAMES];
	unsigned int n;
};

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_net *net;
static struct vmm_loop *loop;
static struct frames to_guest[NET_PAIRS], from_guest;
static unsigned int offloads_now, pairs_now;
static uint8_t last_sent[REQUEST_BYTES];

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s\n", what);
	exit(EXIT_FAILURE);
}

static void put(struct frames *frames, const void *data, size_t size)
{
	struct frame frame = { .size = size, .data = malloc(size) };

	must(frames->n < MAX_FRAMES && frame.data, "too many frames");
	memcpy(frame.data, data, size);
	frames->frames[frames->n++] = frame;
}

static void drop_first(struct frames *frames)
{
	free(frames->frames[0].data);
	frames->n--;
	memmove(frames->frames, frames->frames + 1, frames->n * sizeof(frames->frames[0]));
}

static ssize_t receive(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	const struct frame *frame = &to_guest[pair].frames[0];
	size_t done = 0;

	if (to_guest[pair].n == 0)
		return -EAGAIN;
	for (size_t i = 0; i < n_iov && done < frame->size; i++) {
		size_t n = frame->size - done;

		if (n > iov[i].iov_len)
			n = iov[i].iov_len;
		memcpy(iov[i].iov_base, frame->data + done, n);
		done += n;
	}
	drop_first(&to_guest[pair]);
	return (ssize_t)done;
}

static int send(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	static uint8_t frame[VMM_NET_MAX_BYTES];
	size_t size = 0;

	for (size_t i = 0; i < n_iov; i++) {
		must(size + iov[i].iov_len <= sizeof(frame), "a frame is too long");
		memcpy(frame + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	if (from_guest.n == MAX_FRAMES)
		drop_first(&from_guest);
	put(&from_guest, frame, size);
	return 0;
}

static unsigned int offloads(void *userdata)
{
	return VMM_NET_ALL_OFFLOADS;
}

static int set_offloads(void *userdata, unsigned int now)
{
	offloads_now = now;
	return 0;
}

static int set_pairs(void *userdata, unsigned int n_pairs)
{
	pairs_now = n_pairs;
	return 0;
}

static const struct vmm_net_ops ops = {
	.receive = receive,
	.send = send,
	.offloads = offloads,
	.set_offloads = set_offloads,
	.set_pairs = set_pairs,
};

static void process(void *userdata)
{
	for (int i = 0; i < 2; i++)
		must(vmm_loop_step(loop, 0) >= 0, "the loop failed");
}

static struct machine *open_net(bool pci)
{
	struct vmm_virtio_net_config config = {
		.backend = { &ops, NULL },
		.n_loops = 1,
		.n_pairs = NET_PAIRS,
		.mac = NET_MAC,
		.mtu = NET_MTU,
	};

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	must(vmm_loop_new(&loop) == 0, "a loop cannot be made");
	config.mem = machine.mem;
	config.loops = &loop;
	must(vmm_virtio_net_new(&config, &net) == 0, "virtio-net cannot be made");
	machine.own_threads = true;
	machine.run_more = process;
	vmm_machine_attach(&machine, vmm_virtio_net_device(net), pci);
	from_guest.n = to_guest[0].n = to_guest[1].n = 0;
	return &machine.machine;
}

/* A frame that is another each time. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	static uint8_t seed;

	seed++;
	memset(last_sent, 0, HEADER_BYTES);
	for (unsigned int i = HEADER_BYTES; i < REQUEST_BYTES; i++)
		last_sent[i] = (uint8_t)(seed + i);
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t len = i == 0 ? HEADER_BYTES : REQUEST_BYTES - HEADER_BYTES;

		c->gpas[i] = vdriver_alloc(&c->d, len);
		memcpy(c->m->ram + c->gpas[i], last_sent + (i ? HEADER_BYTES : 0), len);
		buffers[i] = (struct vring_buffer){ c->gpas[i], len, false };
	}
	return 2;
}

static bool took(const void *data, size_t size)
{
	const struct frame *frame = &from_guest.frames[0];
	bool same;

	if (from_guest.n == 0)
		return false;
	same = frame->size == size && memcmp(frame->data, data, size) == 0;
	drop_first(&from_guest);
	return same;
}

static bool verify(struct conf *c, uint32_t len)
{
	/* Of several that were sent in a row the last one is known. */
	while (from_guest.n > 1)
		drop_first(&from_guest);
	c->n_done++;
	return len == 0 && took(last_sent, sizeof(last_sent));
}

static bool host(unsigned int event, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	switch (event) {
	case NET_HOST_GIVE:
		put(&to_guest[bytes[0]], bytes + 1, size - 1);
		vmm_virtio_net_wake(net, bytes[0]);
		return true;
	case NET_HOST_TOOK:
		return took(data, size);
	case NET_HOST_NOTHING:
		return from_guest.n == 0;
	case NET_HOST_LINK:
		vmm_virtio_net_set_link(net, bytes[0]);
		return true;
	case NET_HOST_ANNOUNCE:
		vmm_virtio_net_announce(net);
		return true;
	case NET_HOST_OFFLOADS:
		return (offloads_now & (VMM_NET_CSUM | VMM_NET_TSO4 | VMM_NET_TSO6)) == bytes[0];
	case NET_HOST_IN_USE:
		return pairs_now == bytes[0];
	default:
		return false;
	}
}

static void change_config(void)
{
	struct vmm_virtio_net_status status;

	vmm_virtio_net_get_status(net, &status);
	vmm_virtio_net_set_link(net, !status.link_up);
}

const struct target target_net = {
	.name = "net",
	.type = 1,
	.n_queues = 2 * NET_PAIRS + 1,
	.work_queue = 1,
	.config_bytes = 12,
	.features = 0xffffff,
	.open = open_net,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};
