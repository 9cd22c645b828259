/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtqueue-fixture.h"

struct vmm_mem *mem;
struct vmm_virtqueue *queue;
struct vring ring;
struct iovec iov[64];
struct vmm_virtqueue_chain chain;

uint8_t *ram(void)
{
	return vmm_mem_pointer(mem, 0, RAM_A_BYTES, 1, true);
}

void setup(void)
{
	static const struct vmm_mem_config regions[] = {
		{ .gpa = 0, .size_bytes = RAM_A_BYTES },
		{ .gpa = RAM_B_GPA, .size_bytes = RAM_B_BYTES },
		{ .gpa = ROM_GPA, .size_bytes = ROM_BYTES, .read_only = true },
	};

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		ck_assert_int_eq(vmm_mem_add(mem, &regions[i]), 0);
	ck_assert_int_eq(vmm_virtqueue_new(mem, &queue), 0);
}

void teardown(void)
{
	queue = vmm_virtqueue_free(queue);
	mem = vmm_mem_free(mem);
}

struct vmm_virtqueue_config config_of(uint64_t features)
{
	return (struct vmm_virtqueue_config){
		.size = ring.size,
		.desc_gpa = ring.desc_gpa,
		.driver_gpa = ring.driver_gpa,
		.device_gpa = ring.device_gpa,
		.features = features | (ring.packed ? VMM_VIRTIO_F_RING_PACKED : 0),
	};
}

void start(uint16_t size, bool packed, uint64_t features)
{
	struct vmm_virtqueue_config config;

	vring_init(&ring, ram(), RING_GPA, size, packed);
	config = config_of(features);
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	ck_assert(vmm_virtqueue_is_active(queue));
	ck_assert_uint_eq(vmm_virtqueue_size(queue), size);
}

int pop(void)
{
	return vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &chain);
}

void expect_used(uint32_t id, uint32_t len)
{
	uint32_t got_id, got_len;

	ck_assert(vring_get_used(&ring, &got_id, &got_len));
	ck_assert_uint_eq(got_id, id);
	ck_assert_uint_eq(got_len, len);
}

void expect_nothing_used(void)
{
	uint32_t id, len;

	ck_assert(!vring_get_used(&ring, &id, &len));
}
