/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include <vmmcore/pci.h>

#include "base/util.h"
#include "unit.h"

#define ECAM UINT64_C(0xe0000000)
#define WINDOW32 UINT64_C(0xc0000000)
#define WINDOW32_BYTES UINT64_C(0x100000)
#define WINDOW64 UINT64_C(0x1000000000)
#define WINDOW64_BYTES UINT64_C(0x1000000000)

static struct vmm_bus *mmio;
static struct vmm_bus *pio;
static struct vmm_pci_bus *bus;
static struct vmm_pci_function *function;
static uint64_t bar_gpa[VMM_PCI_N_BARS];
static bool bar_mapped[VMM_PCI_N_BARS];
static int n_routes, n_released;
static struct vmm_msi_message route;
static bool routed;
static int route_result;

static void bar_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	memset(data, (int)(intptr_t)userdata, length);
}

static const struct vmm_bus_ops bar_ops = { .read = bar_read };

static void bar_moved(void *userdata, unsigned int bar, bool mapped, uint64_t gpa)
{
	bar_mapped[bar] = mapped;
	bar_gpa[bar] = gpa;
}

static const struct vmm_pci_ops ops = { .bar_moved = bar_moved };

static int set_route(
	void *userdata, unsigned int vector, int fd, const struct vmm_msi_message *message)
{
	n_routes++;
	if (message && route_result < 0)
		return route_result;
	routed = message != NULL;
	if (message)
		route = *message;
	return 0;
}

static void release(void *userdata, unsigned int vector, int fd)
{
	ck_assert(!routed);
	n_released++;
}

static const struct vmm_msi_ops msi_ops = { .set_route = set_route, .release = release };

static struct vmm_pci_function_config function_config(void)
{
	return (struct vmm_pci_function_config){
		.vendor_id = 0x1234,
		.device_id = 0x5678,
		.subsystem_vendor_id = 0x9abc,
		.subsystem_id = 0xdef0,
		.class_code = 0x010203,
		.revision = 4,
		.bars[0] = { .size_bytes = 0x4000, .ops = &bar_ops, .userdata = (void *)0x10 },
		.bars[2] = { .size_bytes = 0x10000,
			.is_64bit = true,
			.prefetchable = true,
			.ops = &bar_ops,
			.userdata = (void *)0x12 },
		.n_vectors = 3,
		.msix_bar = 1,
		.msi = { &msi_ops, NULL },
		.ops = &ops,
	};
}

static void setup(void)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_bus_config bus_config = {
		.ecam_gpa = ECAM,
		.window32_gpa = WINDOW32,
		.window32_bytes = WINDOW32_BYTES,
		.window64_gpa = WINDOW64,
		.window64_bytes = WINDOW64_BYTES,
	};

	n_routes = n_released = route_result = 0;
	routed = false;
	memset(bar_mapped, 0, sizeof(bar_mapped));
	ck_assert_int_eq(vmm_bus_new(&mmio), 0);
	ck_assert_int_eq(vmm_bus_new(&pio), 0);
	bus_config.mmio = mmio;
	bus_config.pio = pio;
	ck_assert_int_eq(vmm_pci_bus_new(&bus_config, &bus), 0);
	ck_assert_int_eq(vmm_pci_function_new(&config, &function), 0);
	ck_assert_int_eq(vmm_pci_bus_add(bus, function, 5), 5);
}

static void teardown(void)
{
	function = vmm_pci_function_free(function);
	ck_assert_int_eq(n_released, 3);
	bus = vmm_pci_bus_free(bus);
	pio = vmm_bus_free(pio);
	mmio = vmm_bus_free(mmio);
}

static uint32_t read_config(unsigned int slot, unsigned int offset, size_t size)
{
	uint32_t value = 0;

	vmm_bus_read(mmio, ECAM + (slot << 15) + offset, &value, size);
	return value;
}

static void write_config(unsigned int slot, unsigned int offset, uint32_t value, size_t size)
{
	vmm_bus_write(mmio, ECAM + (slot << 15) + offset, &value, size);
}

static uint8_t read_memory(uint64_t gpa)
{
	uint8_t value = 0;

	vmm_bus_read(mmio, gpa, &value, 1);
	return value;
}

static uint32_t table_read(unsigned int vector, unsigned int field)
{
	uint32_t value = 0;
	uint64_t gpa = read_config(5, 0x14, 4) & ~15u;

	vmm_bus_read(mmio, gpa + 16 * vector + 4 * field, &value, 4);
	return value;
}

static void table_write(unsigned int vector, unsigned int field, uint32_t value)
{
	uint64_t gpa = read_config(5, 0x14, 4) & ~15u;

	vmm_bus_write(mmio, gpa + 16 * vector + 4 * field, &value, 4);
}

START_TEST(identity)
{
	ck_assert_uint_eq(read_config(0, 0, 4), 0x00081b36);
	ck_assert_uint_eq(read_config(0, 8, 4), 0x06000000);
	ck_assert_uint_eq(read_config(5, 0, 4), 0x56781234);
	ck_assert_uint_eq(read_config(5, 2, 2), 0x5678);
	ck_assert_uint_eq(read_config(5, 8, 4), 0x01020304);
	ck_assert_uint_eq(read_config(5, 0x0e, 1), 0);
	ck_assert_uint_eq(read_config(5, 0x2c, 4), 0xdef09abc);
	ck_assert_uint_eq(read_config(5, 0x3d, 1), 0);
	ck_assert_uint_eq(read_config(5, 6, 2), 0x10);
	ck_assert_uint_eq(vmm_pci_bus_slots(bus), 1u | 1u << 5);
}
END_TEST

START_TEST(accesses_that_reach_nothing)
{
	static const struct {
		uint64_t offset;
		size_t size;
	} bad[] = {
		{ 1u << 15, 4 },                /* an empty slot */
		{ (5u << 15) + (1u << 12), 4 }, /* another function */
		{ (5u << 15) + 256, 4 },
		{ (5u << 15) + 4092, 4 },
		{ (5u << 15) + 1, 2 },
		{ (5u << 15) + 2, 4 },
		{ 5u << 15, 8 },
		{ 5u << 15, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t value = 0;

		vmm_bus_read(mmio, ECAM + bad[i].offset, &value, bad[i].size);
		ck_assert_uint_eq(value, UINT64_MAX >> (64 - 8 * bad[i].size));
		value = 0;
		vmm_bus_write(mmio, ECAM + bad[i].offset, &value, bad[i].size);
	}
	ck_assert_uint_eq(read_config(5, 0, 4), 0x56781234);
}
END_TEST

static uint32_t port_read(uint32_t address, unsigned int data_offset, size_t size)
{
	uint32_t value = 0;

	vmm_bus_write(pio, 0xcf8, &address, 4);
	vmm_bus_read(pio, 0xcfc + data_offset, &value, size);
	return value;
}

START_TEST(ports)
{
	uint32_t value = 0x80002800 | 0x3c;
	uint8_t byte = 0x55;

	ck_assert_uint_eq(port_read(0x80002800, 0, 4), 0x56781234);
	ck_assert_uint_eq(port_read(0x80002800, 2, 2), 0x5678);
	ck_assert_uint_eq(port_read(0x80002800, 3, 1), 0x56);
	ck_assert_uint_eq(port_read(0x80002800, 1, 2), 0xffff);
	ck_assert_uint_eq(port_read(0x00002800, 0, 4), UINT32_MAX);
	ck_assert_uint_eq(port_read(0x80012800, 0, 4), UINT32_MAX);
	ck_assert_uint_eq(port_read(0x80002900, 0, 4), UINT32_MAX);
	ck_assert_uint_eq(port_read(0x80003000, 0, 4), UINT32_MAX);
	vmm_bus_write(pio, 0xcf8, &value, 4);
	/* 0xcf9 is no part of it. */
	vmm_bus_write(pio, 0xcf9, &byte, 1);
	vmm_bus_write(pio, 0xcfc, &byte, 1);
	ck_assert_uint_eq(read_config(5, 0x3c, 1), 0x55);
	value = 0;
	vmm_bus_read(pio, 0xcf8, &value, 4);
	ck_assert_uint_eq(value, 0x8000283c);
}
END_TEST

START_TEST(read_only_bits_stay)
{
	for (unsigned int offset = 0; offset < 0x100; offset += 4) {
		uint32_t before = read_config(5, offset, 4), after;

		if (offset == 4 || (offset >= 0x10 && offset < 0x28))
			continue;
		write_config(5, offset, ~before, 4);
		after = read_config(5, offset, 4);
		if (offset == 0x0c || offset == 0x3c)
			ck_assert_uint_eq(after, (before & ~0xffu) | (~before & 0xff));
		else if (offset == 0x40)
			ck_assert_uint_eq(after, before | 0xc0000000);
		else
			ck_assert_uint_eq(after, before);
	}
	write_config(5, 4, UINT32_MAX, 4);
	ck_assert_uint_eq(read_config(5, 4, 4), 0x00100406);
}
END_TEST

START_TEST(bars_are_sized_and_moved)
{
	uint32_t first = read_config(5, 0x10, 4);
	uint32_t low = read_config(5, 0x18, 4), high = read_config(5, 0x1c, 4);

	/* Addresses from the windows, before anybody asked. */
	ck_assert_uint_ge(first, WINDOW32);
	ck_assert_uint_eq(first & 0x3fff, 0);
	ck_assert_uint_eq(low & 15, 0xc);
	ck_assert_uint_eq(((uint64_t)high << 32 | (low & ~15u)), WINDOW64);
	ck_assert(!bar_mapped[0]);
	ck_assert_uint_eq(read_memory(first), 0xff);

	write_config(5, 0x10, UINT32_MAX, 4);
	ck_assert_uint_eq(read_config(5, 0x10, 4), 0xffffc000);
	write_config(5, 0x18, UINT32_MAX, 4);
	write_config(5, 0x1c, UINT32_MAX, 4);
	ck_assert_uint_eq(read_config(5, 0x18, 4), 0xffff000c);
	ck_assert_uint_eq(read_config(5, 0x1c, 4), UINT32_MAX);
	ck_assert_uint_eq(read_config(5, 0x20, 4), 0);
	write_config(5, 0x10, first, 4);
	write_config(5, 0x18, low, 4);
	write_config(5, 0x1c, high, 4);

	write_config(5, 4, 2, 2);
	ck_assert(bar_mapped[0]);
	ck_assert(bar_mapped[2]);
	ck_assert_uint_eq(bar_gpa[2], WINDOW64);
	ck_assert_uint_eq(read_memory(first), 0x10);
	ck_assert_uint_eq(read_memory(first + 0x3fff), 0x10);
	ck_assert_uint_eq(read_memory(WINDOW64 + 0xffff), 0x12);

	write_config(5, 0x10, WINDOW32 + 0x80000, 4);
	ck_assert_uint_eq(read_memory(first), 0xff);
	ck_assert_uint_eq(read_memory(WINDOW32 + 0x80000), 0x10);
	write_config(5, 0x1c, 0x11, 4);
	ck_assert_uint_eq(read_memory(UINT64_C(0x1100000000)), 0x12);
	write_config(5, 4, 0, 2);
	ck_assert(!bar_mapped[0]);
	ck_assert_uint_eq(read_memory(WINDOW32 + 0x80000), 0xff);
}
END_TEST

START_TEST(absurd_bars_are_not_mapped)
{
	static const uint64_t bad[] = { 0, 0x1000, ECAM, WINDOW32 - 0x10000,
		WINDOW32 + WINDOW32_BYTES, UINT64_C(0xfffffffffff00000),
		UINT64_C(0xffffffffffff0000), WINDOW64 + WINDOW64_BYTES,
		UINT64_C(0x8000000000000000) };

	write_config(5, 4, 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_config(5, 0x18, (uint32_t)bad[i], 4);
		write_config(5, 0x1c, (uint32_t)(bad[i] >> 32), 4);
		ck_assert(!bar_mapped[2]);
		write_config(5, 0x18, (uint32_t)WINDOW64, 4);
		write_config(5, 0x1c, (uint32_t)(WINDOW64 >> 32), 4);
		ck_assert(bar_mapped[2]);
	}
	write_config(5, 0x10, ECAM, 4);
	ck_assert(!bar_mapped[0]);
	ck_assert_uint_eq(read_config(5, 0, 4), 0x56781234);
}
END_TEST

START_TEST(overlapping_bars_wait)
{
	uint32_t first = read_config(5, 0x10, 4);

	write_config(5, 4, 2, 2);
	/* BAR 2 onto BAR 0: it has to wait until that one moves away. */
	write_config(5, 0x18, first, 4);
	write_config(5, 0x1c, 0, 4);
	ck_assert(!bar_mapped[2]);
	ck_assert(bar_mapped[0]);
	write_config(5, 0x10, WINDOW32 + 0xc0000, 4);
	ck_assert(bar_mapped[0]);
	/* Where MSI-X's BAR is in the way still, it moves, too. */
	write_config(5, 0x14, WINDOW32 + 0xd0000, 4);
	ck_assert(bar_mapped[2]);
	ck_assert_uint_eq(read_memory(first & ~0xffffu), 0x12);
}
END_TEST

START_TEST(functions_get_distinct_addresses)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_function *more[40] = { NULL };
	size_t n = 0;
	int r;

	while ((r = vmm_pci_function_new(&config, &more[n])) == 0) {
		r = vmm_pci_bus_add(bus, more[n], VMM_PCI_SLOT_ANY);
		if (r < 0)
			break;
		write_config((unsigned int)r, 4, 2, 2);
		n++;
	}
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_eq(n, 30);
	ck_assert_uint_eq(vmm_pci_bus_slots(bus), UINT32_MAX);
	for (unsigned int slot = 1; slot < 32; slot++) {
		write_config(slot, 4, 2, 2);
		ck_assert_uint_eq(read_memory(read_config(slot, 0x10, 4)), 0x10);
	}
	for (size_t i = 0; i <= n; i++)
		vmm_pci_function_free(more[i]);
	ck_assert_uint_eq(vmm_pci_bus_slots(bus), 1u | 1u << 5);
	n_released = 0;
}
END_TEST

START_TEST(window_can_be_full)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_function *big = NULL;

	config.bars[0].size_bytes = WINDOW32_BYTES;
	ck_assert_int_eq(vmm_pci_function_new(&config, &big), 0);
	ck_assert_int_eq(vmm_pci_bus_add(bus, big, 6), -ENOSPC);
	ck_assert_uint_eq(vmm_pci_bus_slots(bus), 1u | 1u << 5);
	vmm_pci_function_free(big);
	n_released = 0;
}
END_TEST

START_TEST(slots)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_function *other = NULL;

	ck_assert_int_eq(vmm_pci_function_new(&config, &other), 0);
	ck_assert_int_eq(vmm_pci_bus_add(bus, other, 5), -EBUSY);
	ck_assert_int_eq(vmm_pci_bus_add(bus, other, 32), -EINVAL);
	ck_assert_int_eq(vmm_pci_bus_add(bus, function, 6), -EINVAL);
	ck_assert_int_eq(vmm_pci_bus_add(bus, other, VMM_PCI_SLOT_ANY), 1);
	vmm_pci_bus_remove(other);
	vmm_pci_bus_remove(other);
	ck_assert_uint_eq(read_config(1, 0, 4), UINT32_MAX);
	ck_assert_int_eq(vmm_pci_bus_add(bus, other, 31), 31);
	vmm_pci_function_free(other);
	ck_assert_uint_eq(read_config(31, 0, 4), UINT32_MAX);
	n_released = 0;
}
END_TEST

START_TEST(msix)
{
	int fd = vmm_pci_msix_fd(function, 1);
	uint32_t cap = read_config(5, 0x34, 1);
	uint64_t wide = 0;

	ck_assert_uint_eq(read_config(5, cap, 1), 0x11);
	ck_assert_uint_eq(read_config(5, cap + 2, 2), 2);
	ck_assert_uint_eq(read_config(5, cap + 4, 4), 1);
	ck_assert_uint_eq(read_config(5, cap + 8, 4), 2048 | 1);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_pci_msix_fd(function, 3), -EBADF);

	write_config(5, 4, 2, 2);
	ck_assert_uint_eq(table_read(1, 3), 1);
	table_write(1, 0, 0xfee01000);
	table_write(1, 1, 0x1);
	table_write(1, 2, 0x4041);
	table_write(1, 3, 0xfffffffe);
	ck_assert_uint_eq(table_read(1, 3), 0);
	/* Unmasked, but MSI-X is off. */
	ck_assert(!routed);
	write_config(5, cap + 2, 0x8000, 2);
	ck_assert(routed);
	ck_assert_uint_eq(route.address, UINT64_C(0x1fee01000));
	ck_assert_uint_eq(route.data, 0x4041);
	ck_assert_int_eq(n_routes, 1);
	/* The same again costs nothing. */
	table_write(1, 2, 0x4041);
	write_config(5, cap + 2, 0x8000, 2);
	ck_assert_int_eq(n_routes, 1);
	table_write(1, 2, 0x4042);
	ck_assert_uint_eq(route.data, 0x4042);
	/* Masked as a function, as a vector, off. */
	write_config(5, cap + 2, 0xc000, 2);
	ck_assert(!routed);
	write_config(5, cap + 2, 0x8000, 2);
	ck_assert(routed);
	table_write(1, 3, 1);
	ck_assert(!routed);
	table_write(1, 3, 0);
	ck_assert(routed);
	write_config(5, cap + 2, 0, 2);
	ck_assert(!routed);

	/* Odd accesses. */
	write_config(5, 0x14, WINDOW32 + 0xe0000, 4);
	ck_assert_uint_eq(read_memory(WINDOW32 + 0xe0000), 0xff);
	vmm_bus_read(mmio, WINDOW32 + 0xe0000 + 16, &wide, 8);
	ck_assert_uint_eq(wide, UINT64_C(0x1fee01000));
	vmm_bus_read(mmio, WINDOW32 + 0xe0000 + 20, &wide, 8);
	ck_assert_uint_eq(wide, UINT64_MAX);
	ck_assert_uint_eq(table_read(3, 0), 0);
	table_write(3, 0, 1);
	table_write(200, 0, 1);
}
END_TEST

START_TEST(msix_without_a_route_stays_pending)
{
	uint32_t cap = read_config(5, 0x34, 1);
	int fd = vmm_pci_msix_fd(function, 0);
	uint32_t pending = 0;

	write_config(5, 4, 2, 2);
	write_config(5, cap + 2, 0x8000, 2);
	route_result = -ENOSPC;
	table_write(0, 3, 0);
	ck_assert(!routed);
	ck_assert_int_eq(eventfd_write(fd, 1), 0);
	vmm_bus_read(mmio, (read_config(5, 0x14, 4) & ~15u) + 2048, &pending, 4);
	ck_assert_uint_eq(pending, 1);
	route_result = 0;
	table_write(0, 3, 0);
	ck_assert(routed);
}
END_TEST

START_TEST(reset)
{
	uint32_t cap = read_config(5, 0x34, 1);
	uint32_t bar = read_config(5, 0x10, 4);

	write_config(5, 4, 6, 2);
	write_config(5, cap + 2, 0x8000, 2);
	table_write(0, 2, 7);
	table_write(0, 3, 0);
	ck_assert(routed);
	vmm_pci_function_reset(function);
	ck_assert(!routed);
	ck_assert(!bar_mapped[0]);
	ck_assert_uint_eq(read_config(5, 4, 2), 0);
	ck_assert_uint_eq(read_config(5, cap + 2, 2), 2);
	ck_assert_uint_eq(read_config(5, 0x10, 4), bar);
	write_config(5, 4, 2, 2);
	ck_assert_uint_eq(table_read(0, 2), 0);
	ck_assert_uint_eq(table_read(0, 3), 1);
}
END_TEST

START_TEST(capabilities)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_function *other = NULL;
	uint8_t data[100] = { 0, 0, 0xaa }, writable[100] = { 0xff, 0xff, 0, 0xff };
	int first, second;

	ck_assert_int_eq(vmm_pci_function_new(&config, &other), 0);
	first = vmm_pci_add_capability(other, 9, data, writable, 5);
	second = vmm_pci_add_capability(other, 9, data, NULL, 100);
	ck_assert_int_eq(first, 0x4c);
	ck_assert_int_eq(second, 0x54);
	ck_assert_int_eq(vmm_pci_add_capability(other, 9, data, NULL, 100), -ENOSPC);
	ck_assert_int_eq(vmm_pci_add_capability(other, 9, data, NULL, 1), -ENOSPC);
	ck_assert_int_eq(vmm_pci_bus_add(bus, other, 7), 7);
	ck_assert_uint_eq(read_config(7, 0x34, 1), 0x40);
	ck_assert_uint_eq(read_config(7, 0x41, 1), (unsigned int)first);
	ck_assert_uint_eq(read_config(7, (unsigned int)first + 1, 1), (unsigned int)second);
	ck_assert_uint_eq(read_config(7, (unsigned int)second + 1, 1), 0);
	write_config(7, (unsigned int)first, UINT32_MAX, 4);
	ck_assert_uint_eq(
		read_config(7, (unsigned int)first, 4), 0xffaa0009 | (unsigned int)second << 8);
	vmm_pci_function_free(other);
	n_released = 0;
}
END_TEST

START_TEST(bad_arguments)
{
	struct vmm_pci_function_config bad[6];
	struct vmm_pci_bus_config bus_config = { .mmio = mmio, .ecam_gpa = ECAM + 4096 };
	struct vmm_pci_function *other = NULL;
	struct vmm_pci_bus *other_bus = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = function_config();
	bad[0].bars[0].size_bytes = 8;
	bad[1].bars[0].size_bytes = 0x3000;
	bad[2].msix_bar = 0;
	bad[3].msix_bar = 3;
	bad[4].bars[5] = (struct vmm_pci_bar){ 0x1000, true, false, &bar_ops, NULL };
	bad[5].n_vectors = VMM_PCI_MAX_VECTORS + 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(vmm_pci_function_new(&bad[i], &other), -EINVAL);
	ck_assert_int_eq(vmm_pci_bus_new(&bus_config, &other_bus), -EINVAL);
	bus_config.ecam_gpa = ECAM;
	ck_assert_int_eq(vmm_pci_bus_new(&bus_config, &other_bus), -EEXIST);
	bus_config.window32_gpa = UINT32_MAX;
	bus_config.window32_bytes = 4096;
	ck_assert_int_eq(vmm_pci_bus_new(&bus_config, &other_bus), -EINVAL);
	ck_assert_ptr_null(other_bus);
}
END_TEST

/* vCPUs that move BARs and read configuration space while functions come and go. */
static bool stop;

static void *guest(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		seed = seed * 1103515245 + 12345;
		write_config(6, 4, seed >> 16 & 2, 2);
		write_config(6, 0x10, (uint32_t)WINDOW32 + (seed >> 8 & 0xfc000), 4);
		read_config(6, 0, 4);
		read_memory(WINDOW32 + (seed >> 8 & 0xfffff));
		table_write(1, 3, seed >> 20 & 1);
	}
	return NULL;
}

START_TEST(functions_come_and_go_under_load)
{
	struct vmm_pci_function_config config = function_config();
	struct vmm_pci_function *others[200];
	pthread_t threads[2];

	config.ops = NULL;
	config.msi.ops = NULL;
	stop = false;
	write_config(5, 4, 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, guest, (void *)(i + 1));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		int r;

		ck_assert_int_eq(vmm_pci_function_new(&config, &others[i]), 0);
		r = vmm_pci_bus_add(bus, others[i], 6);
		ck_assert_int_eq(r, 6);
		sched_yield();
		vmm_pci_bus_remove(others[i]);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	/* Only now has every accessing thread left the bus. */
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		vmm_pci_function_free(others[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pci");
	TCase *t = unit_case(suite, "pci");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, identity);
	tcase_add_test(t, accesses_that_reach_nothing);
	tcase_add_test(t, ports);
	tcase_add_test(t, read_only_bits_stay);
	tcase_add_test(t, bars_are_sized_and_moved);
	tcase_add_test(t, absurd_bars_are_not_mapped);
	tcase_add_test(t, overlapping_bars_wait);
	tcase_add_test(t, functions_get_distinct_addresses);
	tcase_add_test(t, window_can_be_full);
	tcase_add_test(t, slots);
	tcase_add_test(t, msix);
	tcase_add_test(t, msix_without_a_route_stays_pending);
	tcase_add_test(t, reset);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, bad_arguments);
	tcase_add_test(t, functions_come_and_go_under_load);
	return unit_run(suite);
}
