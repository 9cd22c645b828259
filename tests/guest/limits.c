/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * limits: a guest of a worker that asks of all its virtio-mmio devices at once more than their
 * limits admit, and tells by letters how much went by (limits.h). It says "go" when its sockets can
 * be connected to; a connection to VSOCK_PORT is sent to and read from for ever. At CPL 3, where
 * the processor runs it without help.
 */
#define QUEUE_SIZE 64

#include "limits.h"
#include "mmio.h"

#define N_DEVICES 7
#define N_SLOTS 16 /* chains a queue */
#define SLOT_BYTES 4224
#define DESCRIPTORS_A_SLOT 3 /* that of a disk's request */

#define NET_HEADER_BYTES 12
#define RNG_REQUEST_BYTES 64
#define CONSOLE_WRITE_BYTES 120
#define DISK_READ_BYTES 4096
#define VSOCK_PAYLOAD_BYTES 2048
#define VSOCK_BUFFER_BYTES 262144
#define STREAM 1

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW };

struct packet {
	uint64_t source_cid, target_cid;
	uint32_t source_port, target_port, length;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct queue {
	uintptr_t device;
	uint16_t number, seen;
	enum limit limit;
	uint64_t amount; /* since the last letter */
	struct ring ring;
	uint8_t data[N_SLOTS][SLOT_BYTES] __attribute__((aligned(64)));
};

static struct queue queues[N_LIMITS];

/* Of the connection. */
static struct packet peer;   /* the last that came */
static uint32_t taken, sent; /* bytes */
static uint32_t idle_slots[N_SLOTS], n_idle;
static int is_connected;

static void offer(struct queue *queue, unsigned int slot)
{
	offer_chain_to(
		queue->device, queue->number, &queue->ring, (uint16_t)(slot * DESCRIPTORS_A_SLOT));
}

/* A slot of one descriptor. */
static void fill(struct queue *queue, unsigned int slot, uint32_t bytes, uint16_t flags)
{
	queue->ring.descriptors[slot * DESCRIPTORS_A_SLOT] =
		(struct descriptor){ (uintptr_t)queue->data[slot], bytes, flags, 0 };
}

static void fill_read(struct queue *queue, unsigned int slot)
{
	struct descriptor *descriptors = &queue->ring.descriptors[slot * DESCRIPTORS_A_SLOT];
	uint16_t head = (uint16_t)(slot * DESCRIPTORS_A_SLOT);
	uint8_t *data = queue->data[slot];

	/* The header is zero: a read of the first sector. */
	descriptors[0] = (struct descriptor){ (uintptr_t)data, 16, D_NEXT, head + 1 };
	descriptors[1] = (struct descriptor){ (uintptr_t)data + 32, DISK_READ_BYTES,
		D_NEXT | D_WRITE, head + 2 };
	descriptors[2] =
		(struct descriptor){ (uintptr_t)data + 32 + DISK_READ_BYTES, 1, D_WRITE, 0 };
}

static void went_by(struct queue *queue, uint64_t amount)
{
	unsigned int lap = limit_rates[queue->limit] / LAPS_A_SECOND;

	queue->amount += amount;
	while (queue->amount >= lap) {
		queue->amount -= lap;
		out8(0x3f8, (uint8_t)(FIRST_LETTER + queue->limit));
	}
}

/* ---- the socket ---- */

static void send_packet(struct queue *queue, unsigned int slot, uint16_t op, uint32_t length)
{
	struct packet *packet = (struct packet *)queue->data[slot];

	*packet = (struct packet){
		.source_cid = peer.target_cid,
		.target_cid = peer.source_cid,
		.source_port = peer.target_port,
		.target_port = peer.source_port,
		.length = length,
		.type = STREAM,
		.op = op,
		.buf_alloc = VSOCK_BUFFER_BYTES,
		.fwd_cnt = taken,
	};
	sent += length;
	fill(queue, slot, (uint32_t)sizeof(*packet) + length, 0);
	offer(queue, slot);
}

/* What the host has room for. Each packet carries our credit too, and there is always a next one.
 */
static void send_more(void)
{
	struct queue *queue = &queues[VSOCK_TRANSMIT_BYTES];

	while (is_connected && n_idle > 0 &&
		peer.buf_alloc - (sent - peer.fwd_cnt) >= VSOCK_PAYLOAD_BYTES)
		send_packet(queue, idle_slots[--n_idle], OP_RW, VSOCK_PAYLOAD_BYTES);
}

static void take_packet(struct queue *queue, unsigned int slot)
{
	__builtin_memcpy(&peer, queue->data[slot], sizeof(peer));
	EXPECT(peer.op != OP_RST && peer.op != OP_SHUTDOWN);
	if (peer.op == OP_REQUEST) {
		EXPECT(peer.target_port == VSOCK_PORT && !is_connected && n_idle > 0);
		send_packet(&queues[VSOCK_TRANSMIT_BYTES], idle_slots[--n_idle], OP_RESPONSE, 0);
		is_connected = 1;
	} else if (peer.op == OP_RW) {
		taken += peer.length;
		went_by(queue, peer.length);
	}
}

/* ---- all ---- */

static void completed(struct queue *queue, unsigned int slot, uint32_t length)
{
	switch (queue->limit) {
	case VSOCK_RECEIVE_BYTES:
		take_packet(queue, slot);
		break;
	case VSOCK_TRANSMIT_BYTES:
		went_by(queue, ((struct packet *)queue->data[slot])->length);
		idle_slots[n_idle++] = slot;
		return;
	case DISK_BYTES:
	case DISK_OPS:
		EXPECT(queue->data[slot][32 + DISK_READ_BYTES] == 0);
		went_by(queue, queue->limit == DISK_OPS ? 1 : DISK_READ_BYTES);
		break;
	case RECEIVE_BYTES:
		EXPECT(length == NET_HEADER_BYTES + FRAME_BYTES);
		went_by(queue, FRAME_BYTES);
		break;
	case TRANSMIT_BYTES:
		went_by(queue, FRAME_BYTES);
		break;
	case RECEIVE_PACKETS:
	case TRANSMIT_PACKETS:
		went_by(queue, 1);
		break;
	case RNG_BYTES:
		went_by(queue, length);
		break;
	case CONSOLE_BYTES:
		went_by(queue, CONSOLE_WRITE_BYTES);
		break;
	default:
		EXPECT(0);
	}
	offer(queue, slot);
}

static void serve(struct queue *queue)
{
	while (queue->seen != queue->ring.used.index) {
		unsigned int at = queue->seen++ % QUEUE_SIZE;

		__asm__ volatile("" : : : "memory");
		completed(queue, queue->ring.used.ring[at].id / DESCRIPTORS_A_SLOT,
			queue->ring.used.ring[at].length);
	}
}

static void run(void)
{
	for (;;) {
		for (unsigned int i = 0; i < N_LIMITS; i++)
			serve(&queues[i]);
		send_more();
		__builtin_ia32_pause();
	}
}

static void add_queue(uintptr_t device, uint16_t number, enum limit limit)
{
	struct queue *queue = &queues[limit];

	queue->device = device;
	queue->number = number;
	queue->limit = limit;
	queue->ring.available.flags = 1; /* no interrupts */
	set_up_queue(device, number, &queue->ring);
}

static void start(uintptr_t device, unsigned int nth)
{
	begin_device(device, 0);
	switch (read32(device + R_DEVICE_ID)) {
	case TYPE_BLK:
		add_queue(device, 0, nth ? DISK_OPS : DISK_BYTES);
		break;
	case TYPE_NET:
		add_queue(device, 0, nth ? RECEIVE_PACKETS : RECEIVE_BYTES);
		add_queue(device, 1, nth ? TRANSMIT_PACKETS : TRANSMIT_BYTES);
		break;
	case TYPE_VSOCK:
		add_queue(device, 0, VSOCK_RECEIVE_BYTES);
		add_queue(device, 1, VSOCK_TRANSMIT_BYTES);
		break;
	case TYPE_RNG:
		add_queue(device, 0, RNG_BYTES);
		break;
	case TYPE_CONSOLE:
		add_queue(device, 1, CONSOLE_BYTES);
		break;
	default:
		EXPECT(0);
	}
	complete_device(device);
}

static void fill_slot(struct queue *queue, unsigned int slot)
{
	switch (queue->limit) {
	case VSOCK_TRANSMIT_BYTES:
		idle_slots[n_idle++] = slot;
		return;
	case DISK_BYTES:
	case DISK_OPS:
		fill_read(queue, slot);
		break;
	case TRANSMIT_BYTES:
	case TRANSMIT_PACKETS:
		fill(queue, slot, NET_HEADER_BYTES + FRAME_BYTES, 0);
		break;
	case CONSOLE_BYTES:
		for (unsigned int i = 0; i < CONSOLE_WRITE_BYTES; i++)
			queue->data[slot][i] = '.';
		fill(queue, slot, CONSOLE_WRITE_BYTES, 0);
		break;
	case RNG_BYTES:
		fill(queue, slot, RNG_REQUEST_BYTES, D_WRITE);
		break;
	default:
		fill(queue, slot, SLOT_BYTES, D_WRITE);
	}
	offer(queue, slot);
}

void guest_main(const char *cmdline)
{
	static unsigned int n_of_type[32];

	for (unsigned int i = 0; i < N_DEVICES; i++) {
		uint32_t type = read32(DEVICES + i * STRIDE + R_DEVICE_ID);

		EXPECT(type < 32);
		start(DEVICES + i * STRIDE, n_of_type[type]++);
	}
	for (unsigned int i = 0; i < N_LIMITS; i++) {
		if (i == CONSOLE_BYTES)
			print("go\n"); /* nobody would find it among the rest */
		for (unsigned int slot = 0; slot < N_SLOTS; slot++)
			fill_slot(&queues[i], slot);
	}
	enter_user(run);
}
