/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * exercise: a guest that is a good driver of all it finds on virtio-pci, with MSI-X: disks,
 * networks, entropy, the balloon and the socket device. It runs at CPL 3 with the bench guest's
 * entry and driver, and no interrupt ever reaches it: that they were sent is the worker's business.
 * It says what it has done in a line each, and "exercised" at the end.
 */
#include "../perf/guest/guest.h"

#define QUEUE_SIZE 16
#define PAGE 4096
#define SPIN 2000000000ull

enum { NET = 1, BLK = 2, RNG = 4, BALLOON = 5, VSOCK = 19 };

static uint8_t *buffer; /* a page; what a device writes to follows it */

void guest_main(void);

/* ---- what virtio.c asks of its program ---- */

void end_run(const char *why)
{
	print(why);
	print("\n");
	for (;;)
		__asm__ volatile("pause");
}

const char *command_line(void)
{
	return "";
}

/* ---- PCI: MSI-X ---- */

static uint32_t pci_read(unsigned int slot, unsigned int offset)
{
	uint32_t value;

	__asm__ volatile("outl %0, %1"
			 :
			 : "a"(0x80000000u | slot << 11 | (offset & 0xfc)), "Nd"((uint16_t)0xcf8));
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)0xcfc));
	return value;
}

static void pci_write(unsigned int slot, unsigned int offset, uint32_t value)
{
	pci_read(slot, offset);
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"((uint16_t)0xcfc));
}

static uint8_t pci_read8(unsigned int slot, unsigned int offset)
{
	return (uint8_t)(pci_read(slot, offset) >> (offset % 4 * 8));
}

struct msix {
	unsigned int slot, capability;
	volatile uint32_t *table;
	volatile uint32_t *pending;
};

/* 32: there is none. */
static unsigned int slot_of(unsigned int type, unsigned int index)
{
	unsigned int slot = 0;

	for (; slot < 32; slot++)
		if (pci_read(slot, 0) == (0x1af4u | (0x1040u + type) << 16) && index-- == 0)
			break;
	return slot;
}

static volatile uint8_t *bar_of(unsigned int slot, uint32_t where)
{
	uint32_t low = pci_read(slot, 0x10 + (where & 7) * 4);
	uint64_t address = low & ~UINT32_C(0xf);

	/* The driver has mapped it: there is one BAR. */
	if ((low & 6) == 4)
		address |= (uint64_t)pci_read(slot, 0x14 + (where & 7) * 4) << 32;
	return (volatile uint8_t *)(address + (where & ~UINT32_C(7)));
}

static void msix_find(struct msix *msix, unsigned int type, unsigned int index)
{
	unsigned int slot = slot_of(type, index), at = pci_read8(slot, 0x34);

	while (at && pci_read8(slot, at) != 0x11)
		at = pci_read8(slot, at + 1);
	if (!at)
		end_run("no MSI-X");
	*msix = (struct msix){ slot, at, (volatile uint32_t *)bar_of(slot, pci_read(slot, at + 4)),
		(volatile uint32_t *)bar_of(slot, pci_read(slot, at + 8)) };
}

/* Entry 0 for all queues: on, or masked. */
static void msix_set(struct msix *msix, bool masked)
{
	msix->table[0] = 0xfee00000;
	msix->table[1] = 0;
	msix->table[2] = 0x41;
	msix->table[3] = masked;
	pci_write(msix->slot, msix->capability,
		(pci_read(msix->slot, msix->capability) & 0xffff) | 0x80000000u);
}

/* ---- requests ---- */

static void queue(struct device *device, unsigned int index, struct virtqueue *ret)
{
	volatile uint8_t *common = device->common;

	device_queue(device, index, QUEUE_SIZE, ret);
	ret->avail->flags = 0; /* each used buffer is worth an interrupt */
	*(volatile uint16_t *)(common + 26) = 0;
}

static void await(struct virtqueue *used, const char *what)
{
	uint16_t head;

	for (uint64_t i = 0; i < SPIN; i++)
		if (queue_used(used, &head))
			return;
	end_run(what);
}

static void describe(
	struct virtqueue *to, unsigned int at, void *address, uint32_t length, uint16_t flags)
{
	to->descs[at] = (struct desc){ (uint64_t)address, length, flags, (uint16_t)(at + 1) };
}

/* One chain: out, then into; either may be empty. */
static void request(struct virtqueue *to, void *out, uint32_t n_out, void *in, uint32_t n_in)
{
	unsigned int n = 0;

	if (n_out)
		describe(to, n++, out, n_out, n_in ? DESC_NEXT : 0);
	if (n_in)
		describe(to, n, in, n_in, DESC_WRITE);
	queue_add(to, 0);
	queue_kick(to);
}

/* ---- disks ---- */

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* The status ends what the device writes. */
static void blk_request(
	struct virtqueue *to, uint32_t type, void *out, uint32_t n_out, uint32_t n_in)
{
	struct blk_header *header = (struct blk_header *)buffer;

	*header = (struct blk_header){ .type = type };
	describe(to, 0, header, sizeof(*header), DESC_NEXT);
	if (n_out)
		describe(to, 1, out, n_out, DESC_NEXT);
	describe(to, n_out ? 2 : 1, buffer + PAGE, n_in + 1, DESC_WRITE);
	buffer[PAGE + n_in] = 0xff;
	queue_add(to, 0);
	queue_kick(to);
	await(to, "FAILED: a disk's request");
	if (buffer[PAGE + n_in] != 0)
		end_run("FAILED: a disk's answer");
}

static void discard(struct virtqueue *to)
{
	struct {
		uint64_t sector;
		uint32_t n_sectors, flags;
	} *range = (void *)(buffer + 64);

	*range = (typeof(*range)){ 8, 8, 0 };
	blk_request(to, 11, range, sizeof(*range), 0);
	blk_request(to, 13, range, sizeof(*range), 0);
	range->flags = 1;
	blk_request(to, 13, range, sizeof(*range), 0);
}

static void use_disk(unsigned int index)
{
	struct device device;
	struct virtqueue to;
	struct msix msix;

	device_find(&device, BLK, index);
	msix_find(&msix, BLK, index);
	device_start(&device, UINT64_C(1) << 9 | 1 << 13 | 1 << 14);
	msix_set(&msix, false);
	queue(&device, 0, &to);
	device_ok(&device);
	blk_request(&to, 1, buffer + 512, 512, 0);
	blk_request(&to, 0, NULL, 0, 512);
	blk_request(&to, 4, NULL, 0, 0);
	if (device.features >> 13 & 1)
		discard(&to);
	/* Masked, an interrupt is kept until it is unmasked. */
	msix_set(&msix, true);
	blk_request(&to, 0, NULL, 0, 512);
	while (!(msix.pending[0] & 1))
		;
	msix_set(&msix, false);
	blk_request(&to, 0, NULL, 0, 512);
	print("disk\n");
}

/* ---- networks ---- */

/* With one kick, once the device has settled down. */
static void send_two_together(struct virtqueue *transmit)
{
	for (unsigned int i = 0; i < 1000000; i++)
		__asm__ volatile("pause");
	for (unsigned int i = 0; i < 2; i++) {
		describe(transmit, i, buffer, 12 + 64, 0);
		queue_add(transmit, (uint16_t)i);
	}
	queue_kick(transmit);
	await(transmit, "FAILED: the first of two frames");
	await(transmit, "FAILED: the second of two frames");
}

/* Five frames, and more until one comes in: each may be the answer to one of them. */
static void use_network(unsigned int index)
{
	uint8_t class[] = { 0, 0, 0 };
	struct virtqueue receive, transmit, control;
	struct device device;
	struct msix msix;
	uint16_t head;
	bool has_pairs;

	device_find(&device, NET, index);
	msix_find(&msix, NET, index);
	device_start(&device, UINT64_C(1) | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 11 | 1 << 17 | 1 << 22);
	has_pairs = device.features >> 22 & 1;
	msix_set(&msix, false);
	queue(&device, 0, &receive);
	queue(&device, 1, &transmit);
	if (has_pairs) {
		queue(&device, 2, &control);
		queue(&device, 3, &control);
	}
	if (device.features >> 17 & 1)
		queue(&device, has_pairs ? 4 : 2, &control);
	device_ok(&device);
	request(&receive, NULL, 0, buffer + PAGE, 2048);
	memset(buffer, 0, 128);
	memset(buffer + 12, 0xff, 6);
	buffer[12 + 6] = 2;
	send_two_together(&transmit);
	for (unsigned int n = 0; n < 3 || !queue_used(&receive, &head); n++) {
		request(&transmit, buffer, 12 + 64, NULL, 0);
		await(&transmit, "FAILED: a frame out");
		for (unsigned int i = 0; i < 100000; i++)
			__asm__ volatile("pause");
	}
	/* VIRTIO_NET_CTRL_GUEST_OFFLOADS: none; VIRTIO_NET_CTRL_MQ: two pairs, and one again. */
	if (device.features >> 2 & 1) {
		memset(buffer, 0, 64);
		buffer[0] = 5;
		request(&control, buffer, 10, buffer + PAGE, 1);
		await(&control, "FAILED: offloads");
	}
	for (unsigned int n_pairs = 2; has_pairs && n_pairs > 0; n_pairs--) {
		class[0] = 4;
		class[2] = (uint8_t)n_pairs;
		memset(buffer, 0, 64);
		memcpy(buffer, class, sizeof(class));
		request(&control, buffer, 4, buffer + PAGE, 1);
		await(&control, "FAILED: pairs");
	}
	print("network\n");
}

/* ---- entropy, balloon ---- */

static void use_rng(void)
{
	struct device device;
	struct virtqueue to;
	struct msix msix;

	device_find(&device, RNG, 0);
	msix_find(&msix, RNG, 0);
	device_start(&device, 0);
	msix_set(&msix, false);
	queue(&device, 0, &to);
	device_ok(&device);
	request(&to, NULL, 0, buffer + PAGE, 64);
	await(&to, "FAILED: entropy");
	print("rng\n");
}

static void use_balloon(void)
{
	uint32_t *pages = (uint32_t *)buffer;
	struct virtqueue inflate, deflate, stats;
	struct device device;

	device_find(&device, BALLOON, 0);
	device_start(&device, 1 << 1);
	queue(&device, 0, &inflate);
	queue(&device, 1, &deflate);
	queue(&device, 2, &stats);
	device_ok(&device);
	/* Below the image, where nothing lies. */
	for (uint32_t i = 0; i < 16; i++)
		pages[i] = 0x100 + i;
	request(&inflate, buffer, 64, NULL, 0);
	await(&inflate, "FAILED: inflation");
	request(&deflate, buffer, 64, NULL, 0);
	await(&deflate, "FAILED: deflation");
	request(&stats, buffer, 10, NULL, 0);
	print("balloon\n");
}

/* ---- the watchdog ---- */

/* An i6300esb, that is fed once. */
static void use_watchdog(void)
{
	volatile uint8_t *registers;
	unsigned int slot = 0;

	while (slot < 32 && pci_read(slot, 0) != 0x25ab8086)
		slot++;
	if (slot == 32)
		end_run("FAILED: no watchdog");
	pci_write(slot, 4, pci_read(slot, 4) | 2);
	registers = bar_of(slot, 0);
	pci_write(slot, 0x68, 2);
	for (unsigned int i = 0; i < 2; i++)
		*(volatile uint16_t *)(registers + 12) = i ? 0x86 : 0x80;
	*(volatile uint16_t *)(registers + 12) = 0x100;
	pci_write(slot, 0x68, 0);
	print("watchdog\n");
}

/* ---- sockets ---- */

struct vsock_header {
	uint64_t source, target;
	uint32_t source_port, target_port, length;
	uint16_t type, op;
	uint32_t flags, allocated, forwarded;
} __attribute__((packed));

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT, OP_CREDIT_REQUEST };

static struct virtqueue vsock_receive, vsock_transmit;
static uint32_t n_taken; /* bytes of streams */

static void vsock_send(
	uint32_t port, uint32_t target_port, uint16_t op, uint32_t flags, const char *data)
{
	struct vsock_header *header = (struct vsock_header *)buffer;
	uint32_t length = 0;

	while (data && data[length]) {
		buffer[sizeof(*header) + length] = (uint8_t)data[length];
		length++;
	}
	*header = (struct vsock_header){ 3, 2, port, target_port, length, 1, op, flags, 65536,
		n_taken };
	request(&vsock_transmit, buffer, (uint32_t)sizeof(*header) + length, NULL, 0);
	await(&vsock_transmit, "FAILED: a packet out");
}

/* The next packet; its buffer goes back with the next call. */
static const struct vsock_header *vsock_next(void)
{
	const struct vsock_header *header = (struct vsock_header *)(buffer + PAGE);

	request(&vsock_receive, NULL, 0, buffer + PAGE, 2048);
	await(&vsock_receive, "FAILED: a packet in");
	if (header->op == OP_RW)
		n_taken += header->length;
	return header;
}

static void vsock_await(uint16_t op)
{
	while (vsock_next()->op != op)
		;
}

/* Says "READY=1" to the worker; greets somebody of the host; then whoever comes gets back what it
 * says. */
static void use_sockets(void)
{
	struct virtqueue events;
	struct device device;
	struct msix msix;
	uint32_t port;

	device_find(&device, VSOCK, 0);
	msix_find(&msix, VSOCK, 0);
	device_start(&device, 0);
	msix_set(&msix, false);
	queue(&device, 0, &vsock_receive);
	queue(&device, 1, &vsock_transmit);
	queue(&device, 2, &events);
	device_ok(&device);

	vsock_send(1000, 0xfffffff0, OP_REQUEST, 0, NULL);
	vsock_await(OP_RESPONSE);
	vsock_send(1000, 0xfffffff0, OP_RW, 0, "READY=1\n");
	vsock_send(1000, 0xfffffff0, OP_SHUTDOWN, 3, NULL);
	vsock_await(OP_RST);

	vsock_send(1001, 7, OP_REQUEST, 0, NULL);
	vsock_await(OP_RESPONSE);
	vsock_send(1001, 7, OP_RW, 0, "hello");
	vsock_await(OP_RW);
	vsock_send(1001, 7, OP_SHUTDOWN, 2, NULL);
	vsock_send(1001, 7, OP_SHUTDOWN, 3, NULL);
	vsock_await(OP_RST);
	vsock_send(1002, 0xfffffff0, OP_REQUEST, 0, NULL);
	vsock_await(OP_RESPONSE);
	print("connected\n");

	n_taken = 0;
	vsock_await(OP_REQUEST);
	port = ((struct vsock_header *)(buffer + PAGE))->source_port;
	vsock_send(9, port, OP_RESPONSE, 0, NULL);
	vsock_await(OP_RW);
	vsock_send(9, port, OP_CREDIT, 0, NULL);
	vsock_send(9, port, OP_RW, 0, "back");
	vsock_await(OP_SHUTDOWN);
	vsock_send(9, port, OP_RST, 0, NULL);
	print("sockets\n");
}

static void reset(unsigned int type)
{
	struct device device;

	device_find(&device, type, 0);
	device_start(&device, 0);
}

void guest_main(void)
{
	buffer = arena(2 * PAGE, PAGE);
	for (unsigned int i = 0; slot_of(BLK, i) < 32; i++)
		use_disk(i);
	/* Each a second time: a reset of a device that is in use. */
	for (unsigned int i = 0; i < 2; i++) {
		use_rng();
		use_balloon();
	}
	use_watchdog();
	use_sockets();
	/* With a connection that is open. */
	reset(VSOCK);
	use_network(0);
	use_network(1);
	use_disk(0);
	use_network(0);
	end_run("exercised");
}
