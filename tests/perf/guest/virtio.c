/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The bench guest: a virtio driver (VIRTIO 1.2) that polls. It takes virtio-mmio devices from
 * "virtio_mmio.device=SIZE@ADDRESS:IRQ" on the command line, as Linux does, and where there are
 * none virtio-pci devices from bus 0, whose BARs must have been placed already.
 */
#include "guest.h"

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8

#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)

/* virtio-mmio registers, 4.2.2 */
enum {
	MMIO_MAGIC = 0x000,
	MMIO_VERSION = 0x004,
	MMIO_DEVICE_ID = 0x008,
	MMIO_DEVICE_FEATURES = 0x010,
	MMIO_DEVICE_FEATURES_SEL = 0x014,
	MMIO_DRIVER_FEATURES = 0x020,
	MMIO_DRIVER_FEATURES_SEL = 0x024,
	MMIO_QUEUE_SEL = 0x030,
	MMIO_QUEUE_NUM_MAX = 0x034,
	MMIO_QUEUE_NUM = 0x038,
	MMIO_QUEUE_READY = 0x044,
	MMIO_QUEUE_NOTIFY = 0x050,
	MMIO_STATUS = 0x070,
	MMIO_QUEUE_DESC = 0x080,
	MMIO_QUEUE_DRIVER = 0x090,
	MMIO_QUEUE_DEVICE = 0x0a0,
	MMIO_CONFIG = 0x100,
};

/* struct virtio_pci_common_cfg, 4.1.4.3 */
enum {
	PCI_DEVICE_FEATURE_SELECT = 0,
	PCI_DEVICE_FEATURE = 4,
	PCI_DRIVER_FEATURE_SELECT = 8,
	PCI_DRIVER_FEATURE = 12,
	PCI_STATUS = 20,
	PCI_QUEUE_SELECT = 22,
	PCI_QUEUE_SIZE = 24,
	PCI_QUEUE_ENABLE = 28,
	PCI_QUEUE_NOTIFY_OFF = 30,
	PCI_QUEUE_DESC = 32,
	PCI_QUEUE_DRIVER = 40,
	PCI_QUEUE_DEVICE = 48,
};

static uint32_t read32(volatile uint8_t *at)
{
	return *(volatile uint32_t *)at;
}

static void write32(volatile uint8_t *at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static uint16_t read16(volatile uint8_t *at)
{
	return *(volatile uint16_t *)at;
}

static void write16(volatile uint8_t *at, uint16_t value)
{
	*(volatile uint16_t *)at = value;
}

static void write64(volatile uint8_t *at, uint64_t value)
{
	write32(at, (uint32_t)value);
	write32(at + 4, (uint32_t)(value >> 32));
}

/* ---- virtio-mmio ---- */

static uint64_t parse_hex(const char **text)
{
	uint64_t value = 0;

	if ((*text)[0] == '0' && (*text)[1] == 'x')
		*text += 2;
	for (;; (*text)++) {
		char c = **text;

		if (c >= '0' && c <= '9')
			value = value * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}

static bool find_mmio(struct device *device, unsigned int type, unsigned int index)
{
	static const char name[] = "virtio_mmio.device=";

	for (const char *at = command_line(); *at; at++) {
		volatile uint8_t *mmio;
		size_t i = 0;

		while (name[i] && at[i] == name[i])
			i++;
		if (name[i])
			continue;
		for (at += i; *at && *at != '@'; at++)
			;
		if (!*at)
			break;
		at++;
		mmio = (volatile uint8_t *)parse_hex(&at);
		if (read32(mmio + MMIO_VERSION) != 2 || read32(mmio + MMIO_DEVICE_ID) != type)
			continue;
		if (index-- > 0)
			continue;
		*device = (struct device){ .mmio = mmio, .config = mmio + MMIO_CONFIG };
		return true;
	}
	return false;
}

/* ---- virtio-pci ---- */

static void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static uint32_t pci_read(unsigned int slot, unsigned int offset)
{
	outl(0xcf8, 0x80000000u | slot << 11 | (offset & 0xfc));
	return inl(0xcfc);
}

static void pci_write(unsigned int slot, unsigned int offset, uint32_t value)
{
	outl(0xcf8, 0x80000000u | slot << 11 | (offset & 0xfc));
	outl(0xcfc, value);
}

static uint8_t pci_read8(unsigned int slot, unsigned int offset)
{
	return (uint8_t)(pci_read(slot, offset) >> (offset % 4 * 8));
}

/* The page directory pointers of start.S: at CPL 3 they are as writable as all memory. */
extern uint64_t pdpt[512];

/* Maps the GiB that address lies in one to one. What was not present needs no flush. */
static void map_gib(uint64_t address)
{
	uint64_t gib = address >> 30;
	uint64_t *pd;

	if (gib >= 512)
		end_run("BAR above 512 GiB");
	if (pdpt[gib])
		return;
	pd = arena(4096, 4096);
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = gib << 30 | i << 21 | 0x87;
	pdpt[gib] = (uint64_t)pd | 0x7;
}

static volatile uint8_t *bar_address(unsigned int slot, unsigned int bar)
{
	uint32_t low = pci_read(slot, 0x10 + bar * 4);
	uint64_t address = low & ~UINT32_C(0xf);

	if ((low & 6) == 4)
		address |= (uint64_t)pci_read(slot, 0x14 + bar * 4) << 32;
	map_gib(address);
	return (volatile uint8_t *)address;
}

static void take_capabilities(struct device *device, unsigned int slot)
{
	unsigned int at = pci_read8(slot, 0x34);

	while (at) {
		if (pci_read8(slot, at) == 0x09) {
			unsigned int type = pci_read8(slot, at + 3);
			volatile uint8_t *where =
				bar_address(slot, pci_read8(slot, at + 4)) + pci_read(slot, at + 8);

			if (type == 1)
				device->common = where;
			else if (type == 4)
				device->config = where;
			else if (type == 2) {
				device->notify = where;
				device->notify_multiplier = pci_read(slot, at + 16);
			}
		}
		at = pci_read8(slot, at + 1);
	}
}

static bool find_pci(struct device *device, unsigned int type, unsigned int index)
{
	for (unsigned int slot = 0; slot < 32; slot++) {
		uint32_t id = pci_read(slot, 0);

		if (id != (0x1af4u | (0x1040u + type) << 16))
			continue;
		if (index-- > 0)
			continue;
		pci_write(slot, 4, pci_read(slot, 4) | 6); /* memory space, bus master */
		*device = (struct device){ 0 };
		take_capabilities(device, slot);
		return device->common && device->notify;
	}
	return false;
}

/* ---- either ---- */

void device_find(struct device *device, unsigned int type, unsigned int index)
{
	if (!find_mmio(device, type, index) && !find_pci(device, type, index))
		end_run("no such device");
}

static void set_status(struct device *device, uint8_t status)
{
	if (device->common)
		device->common[PCI_STATUS] = status;
	else
		write32(device->mmio + MMIO_STATUS, status);
}

static uint8_t get_status(struct device *device)
{
	return device->common ? device->common[PCI_STATUS]
			      : (uint8_t)read32(device->mmio + MMIO_STATUS);
}

static uint32_t offered_features(struct device *device, uint32_t word)
{
	if (device->common) {
		write32(device->common + PCI_DEVICE_FEATURE_SELECT, word);
		return read32(device->common + PCI_DEVICE_FEATURE);
	}
	write32(device->mmio + MMIO_DEVICE_FEATURES_SEL, word);
	return read32(device->mmio + MMIO_DEVICE_FEATURES);
}

static void accept_features(struct device *device, uint32_t word, uint32_t features)
{
	if (device->common) {
		write32(device->common + PCI_DRIVER_FEATURE_SELECT, word);
		write32(device->common + PCI_DRIVER_FEATURE, features);
	} else {
		write32(device->mmio + MMIO_DRIVER_FEATURES_SEL, word);
		write32(device->mmio + MMIO_DRIVER_FEATURES, features);
	}
}

void device_start(struct device *device, uint64_t wanted)
{
	uint64_t offered;

	set_status(device, 0);
	while (get_status(device) != 0)
		;
	set_status(device, STATUS_ACKNOWLEDGE);
	set_status(device, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	offered = offered_features(device, 0) | (uint64_t)offered_features(device, 1) << 32;
	device->features = offered & (wanted | F_VERSION_1);
	accept_features(device, 0, (uint32_t)device->features);
	accept_features(device, 1, (uint32_t)(device->features >> 32));
	set_status(device, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(get_status(device) & STATUS_FEATURES_OK))
		end_run("features refused");
}

void device_ok(struct device *device)
{
	set_status(
		device, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

static void queue_registers_mmio(struct device *device, unsigned int index, struct virtqueue *queue)
{
	volatile uint8_t *mmio = device->mmio;

	write32(mmio + MMIO_QUEUE_SEL, index);
	if (read32(mmio + MMIO_QUEUE_NUM_MAX) < queue->size)
		end_run("queue too small");
	write32(mmio + MMIO_QUEUE_NUM, queue->size);
	write64(mmio + MMIO_QUEUE_DESC, (uint64_t)queue->descs);
	write64(mmio + MMIO_QUEUE_DRIVER, (uint64_t)queue->avail);
	write64(mmio + MMIO_QUEUE_DEVICE, (uint64_t)queue->used);
	write32(mmio + MMIO_QUEUE_READY, 1);
	queue->doorbell = mmio + MMIO_QUEUE_NOTIFY;
	queue->doorbell_32 = true;
}

static void queue_registers_pci(struct device *device, unsigned int index, struct virtqueue *queue)
{
	volatile uint8_t *common = device->common;

	write16(common + PCI_QUEUE_SELECT, (uint16_t)index);
	if (read16(common + PCI_QUEUE_SIZE) < queue->size)
		end_run("queue too small");
	write16(common + PCI_QUEUE_SIZE, queue->size);
	write64(common + PCI_QUEUE_DESC, (uint64_t)queue->descs);
	write64(common + PCI_QUEUE_DRIVER, (uint64_t)queue->avail);
	write64(common + PCI_QUEUE_DEVICE, (uint64_t)queue->used);
	write16(common + PCI_QUEUE_ENABLE, 1);
	queue->doorbell =
		device->notify + read16(common + PCI_QUEUE_NOTIFY_OFF) * device->notify_multiplier;
}

void device_queue(struct device *device, unsigned int index, uint16_t size, struct virtqueue *ret)
{
	*ret = (struct virtqueue){
		.size = size,
		.descs = arena(size * sizeof(struct desc), 4096),
		.avail = arena(6 + 2u * size, 4096),
		.used = arena(6 + 8u * size, 4096),
		.doorbell_value = index,
		.event_idx = device->features & F_EVENT_IDX,
	};
	ret->avail->flags = ret->event_idx ? 0 : 1; /* no interrupt */
	ret->avail->idx = 0;
	ret->used->idx = 0;
	/* used_event: as far away as can be, so that no interrupt is asked for. */
	ret->avail->entries[size] = UINT16_C(0x8000);
	if (device->common)
		queue_registers_pci(device, index, ret);
	else
		queue_registers_mmio(device, index, ret);
}

void queue_add(struct virtqueue *queue, uint16_t head)
{
	queue->avail->entries[queue->next_avail % queue->size] = head;
	queue->next_avail++;
}

void queue_kick(struct virtqueue *queue)
{
	uint16_t before = queue->avail_idx;
	bool wanted;

	__atomic_store_n(&queue->avail->idx, queue->next_avail, __ATOMIC_SEQ_CST);
	queue->avail_idx = queue->next_avail;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (queue->event_idx) {
		uint16_t event = *(volatile uint16_t *)&queue->used->entries[4u * queue->size];

		wanted = (uint16_t)(queue->next_avail - event - 1) <
			 (uint16_t)(queue->next_avail - before);
		/* Interrupts stay half a ring of indexes away. */
		queue->avail->entries[queue->size] = (uint16_t)(queue->last_used + 0x8000);
	} else {
		wanted = !(*(volatile uint16_t *)&queue->used->flags & 1);
	}
	if (!wanted)
		return;
	if (queue->doorbell_32)
		*(volatile uint32_t *)queue->doorbell = queue->doorbell_value;
	else
		*(volatile uint16_t *)queue->doorbell = (uint16_t)queue->doorbell_value;
}

bool queue_used(struct virtqueue *queue, uint16_t *ret_head)
{
	uint16_t idx = __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE);

	if (idx == queue->last_used)
		return false;
	*ret_head =
		*(volatile uint16_t *)&queue->used->entries[queue->last_used % queue->size * 4u];
	queue->last_used++;
	return true;
}
