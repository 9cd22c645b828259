/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-net: the network device of VIRTIO 1.2, 5.1, with one or more queue pairs and a control
 * queue, over any back end.
 *
 * Queue 2n receives and queue 2n + 1 transmits for pair n; the control queue is the last. Frames
 * go straight between the guest's buffers and the back end's system calls. Nothing is allocated
 * after vmm_virtio_net_new().
 *
 * The back end is a small table of functions: vmm_net_ops. Two are included: a tap (frames with
 * their offload headers, one descriptor a pair) and a stream socket that carries each frame behind
 * its length, as passt's does, for networking without any privilege. examples/loopback.c is
 * another.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                            | result                               |
 *   |--------------------------------------------------|--------------------------------------|
 *   | transmit: shorter than the header, or empty      | dropped, counted                     |
 *   | transmit: header with an offload that was not    | dropped, counted                     |
 *   |   negotiated, an unknown type, a checksum or     |                                      |
 *   |   segment that begins behind the frame           |                                      |
 *   | transmit: longer than VMM_NET_MAX_FRAME_BYTES    | dropped, counted                     |
 *   | transmit: more iovecs than queue size and 64     | the queue breaks, NEEDS_RESET        |
 *   | receive: buffer too small for its header         | the queue breaks, NEEDS_RESET        |
 *   | receive: buffers too small for the frame         | that frame is dropped, counted       |
 *   | control: unknown or malformed command            | its acknowledgement says so          |
 *   | control: no room for the acknowledgement         | the queue breaks, NEEDS_RESET        |
 *   | control: 0 or too many pairs, multicast address  | refused in the acknowledgement       |
 *   | back end: frame shorter or longer than possible, | dropped, counted                     |
 *   |   or than the MTU, or with an offload that the   |                                      |
 *   |   driver does not take                           |                                      |
 *   | back end: fails                                  | the link goes down, until the driver |
 *   |                                                  | or set_link() brings it up again     |
 *
 * Threads: the device is served by the threads of its loops: all functions but _set_limits(),
 * _set_link(), _announce() and _get_status() are called while those do not run.
 */
#ifndef VMMCORE_VIRTIO_NET_H
#define VMMCORE_VIRTIO_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <vmmcore/base.h>
#include <vmmcore/loop.h>
#include <vmmcore/mem.h>
#include <vmmcore/ratelimit.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_NET_MAX_PAIRS 16
#define VMM_NET_MAX_QUEUE_SIZE 1024

/* A frame of 64 KiB of IP and what may stand before it, and the header. */
#define VMM_NET_MAX_FRAME_BYTES (65536 + 18)
#define VMM_NET_HEADER_BYTES 12
#define VMM_NET_MAX_BYTES (VMM_NET_HEADER_BYTES + VMM_NET_MAX_FRAME_BYTES)

/* Back ends */

/* What a back end can do with frames of the guest, and wants to be able to give it. */
enum vmm_net_offload {
	VMM_NET_CSUM = 1u << 0, /* checksum is left to be filled in */
	VMM_NET_TSO4 = 1u << 1, /* TCP over IPv4 in segments of up to 64 KiB; with CSUM */
	VMM_NET_TSO6 = 1u << 2,
	VMM_NET_ECN = 1u << 3,
};
#define VMM_NET_ALL_OFFLOADS 0xfu

#define VMM_NET_MAX_BATCH 32

struct vmm_net_frame {
	const struct iovec *iov;
	size_t n_iov;
	int result; /* 0: taken; a negative errno: dropped */
};

/*
 * Called in the thread of the pair's loop. A frame is VMM_NET_HEADER_BYTES of struct
 * virtio_net_hdr_v1 (little-endian, num_buffers not looked at) and what goes over the wire. The
 * iovecs may only be given to the kernel or to memcpy. All but receive and send may be NULL.
 */
struct vmm_net_ops {
	/* The next frame into iov: its bytes with the header; -EAGAIN: none now. */
	ssize_t (*receive)(
		void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov);

	/* 0: taken. -EAGAIN: not now, it will be offered again. Else it is dropped. */
	int (*send)(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov);

	/*
	 * The descriptor that is readable when receive gives something, writable when send takes
	 * something. Borrowed. Without it, vmm_virtio_net_wake() has to be called.
	 */
	int (*fd)(void *userdata, unsigned int pair);

	/* Set of vmm_net_offload. Before the device is made; NULL: none. */
	unsigned int (*offloads)(void *userdata);

	/* What the guest can take now. 0 or a negative errno. */
	int (*set_offloads)(void *userdata, unsigned int offloads);

	/* Pairs 0 to n - 1 are in use now. 0 or a negative errno. */
	int (*set_pairs)(void *userdata, unsigned int n_pairs);

	/*
	 * send for up to VMM_NET_MAX_BATCH frames that the driver gave together, in their order.
	 * How many, from the first on, it is done with, and their results; the others will be
	 * offered again. NULL: send does it.
	 */
	size_t (*send_many)(
		void *userdata, unsigned int pair, struct vmm_net_frame *frames, size_t n_frames);
};

struct vmm_net_backend {
	const struct vmm_net_ops *ops; /* borrowed */
	void *userdata;                /* borrowed */
};

/*
 * Taps, one descriptor of IFF_TAP | IFF_NO_PI | IFF_VNET_HDR (and IFF_MULTI_QUEUE) a pair. They
 * are duplicated, made non-blocking, and their header size is set. -EINVAL, -EBADFD where it
 * is no such tap, -ENOMEM, errno of ioctl.
 */
struct vmm_net_tap;

VMM_PUBLIC int vmm_net_tap_new(const int *fds, unsigned int n_fds, struct vmm_net_tap **ret_tap);
VMM_PUBLIC struct vmm_net_tap *vmm_net_tap_free(struct vmm_net_tap *tap);
VMM_PUBLIC struct vmm_net_backend vmm_net_tap_backend(struct vmm_net_tap *tap);

/*
 * From now on frames that come together go to the tap in one system call, through a ring of
 * io_uring a descriptor, which can do nothing but that: see vmmcore/uring.h. Before the device
 * is made. 0; or a negative errno where the host refuses one, and it stays a call a frame, as it
 * becomes for a descriptor whose tap takes a frame no more at once (TUNSETSNDBUF): that frame is
 * dropped, from then on the queue waits.
 */
VMM_PUBLIC int vmm_net_tap_use_rings(struct vmm_net_tap *tap);

/*
 * A connected stream socket: each frame behind its length, 32 bits, big-endian. One pair, no
 * offloads. It is duplicated and made non-blocking. A peer that sends a length out of bounds, or
 * goes away, is a back end that failed. -ENOMEM, errno of fcntl.
 */
struct vmm_net_stream;

VMM_PUBLIC int vmm_net_stream_new(int fd, struct vmm_net_stream **ret_stream);
VMM_PUBLIC struct vmm_net_stream *vmm_net_stream_free(struct vmm_net_stream *stream);
VMM_PUBLIC struct vmm_net_backend vmm_net_stream_backend(struct vmm_net_stream *stream);

/* The device */

struct vmm_virtio_net;

/* Zero is the default of each member but mem, backend, loops and mac. */
struct vmm_virtio_net_config {
	struct vmm_mem *mem;            /* borrowed, outlives the device */
	struct vmm_net_backend backend; /* outlives the device */
	/*
	 * Pair n is served by loops[n % n_loops], the control queue by loops[0]. Borrowed, they
	 * outlive the device.
	 */
	struct vmm_loop *const *loops;
	unsigned int n_loops;
	unsigned int n_pairs;    /* 0: 1 */
	unsigned int queue_size; /* power of two; 0: 256 */
	uint8_t mac[6];          /* unicast, not zero */
	uint16_t mtu;            /* 0: not offered; at least 68 */
	bool no_offloads;
	bool no_mergeable_buffers;
	bool link_down;
	struct vmm_ratelimit_config receive_limits, transmit_limits; /* a pair; zero: none */
};

/* -EINVAL, -ENOMEM, -EBADF for a back end's descriptor, errno of eventfd and epoll. */
VMM_PUBLIC int vmm_virtio_net_new(
	const struct vmm_virtio_net_config *config, struct vmm_virtio_net **ret_net);

/* The transport is gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_net *vmm_virtio_net_free(struct vmm_virtio_net *net);

/* For a transport, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_net_device(struct vmm_virtio_net *net);

/* NULL: no limits. -EINVAL changes nothing. In effect at once. */
VMM_PUBLIC int vmm_virtio_net_set_limits(struct vmm_virtio_net *net,
	const struct vmm_ratelimit_config *receive_limits,
	const struct vmm_ratelimit_config *transmit_limits);

/* What the driver sees of the link. While it is down, frames of both ways are dropped. */
VMM_PUBLIC void vmm_virtio_net_set_link(struct vmm_virtio_net *net, bool up);

/* Asks the guest to announce its addresses to the network, as after a move to another host. */
VMM_PUBLIC void vmm_virtio_net_announce(struct vmm_virtio_net *net);

/* For back ends without a descriptor: receive or send may do something now. Any thread. */
VMM_PUBLIC void vmm_virtio_net_wake(struct vmm_virtio_net *net, unsigned int pair);

struct vmm_virtio_net_status {
	bool link_up;
	bool backend_failed;
	unsigned int n_pairs;                /* in use */
	uint8_t mac[6];                      /* as the driver set it last */
	uint64_t n_received, received_bytes; /* by the guest; without headers */
	uint64_t n_transmitted, transmitted_bytes;
	uint64_t n_receive_dropped, n_transmit_dropped;
	uint64_t n_limited; /* times that the limits held a queue back */
};

VMM_PUBLIC void vmm_virtio_net_get_status(
	struct vmm_virtio_net *net, struct vmm_virtio_net_status *ret_status);

VMM_END_DECLS

#endif
