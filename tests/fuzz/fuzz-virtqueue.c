/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: virtqueue, both formats. The input is the registers, what the device does, and guest
 * memory as a driver could have left it; some of what the device does is the driver changing
 * memory meanwhile.
 *
 *   0     bit 0 packed, 1 event index, 2 indirect, 3 event suppression and used ring elsewhere
 *   1     queue size
 *   2-3   where the queue goes on (available, used)
 *   4-67  operations, a byte each
 *   68-   memory from guest address 0 on
 */
#include <string.h>

#include <vmmcore/virtqueue.h>

#include "base/util.h"
#include "fuzz.h"

/* Two regions side by side, a hole, and read-only memory. */
#define REGION_BYTES UINT64_C(0x1000)
#define ROM_GPA UINT64_C(0x4000)
#define N_OPS 64
#define HEADER (4 + N_OPS)
#define MAX_CHAINS 256

#define DESC_GPA 0x000
#define AVAIL_GPA 0x400
#define USED_GPA 0x500

static struct vmm_mem *mem;
static uint8_t *regions[3];

static void make_memory(void)
{
	static const uint64_t gpas[] = { 0, REGION_BYTES, ROM_GPA };

	FUZZ_CHECK(vmm_mem_new(&mem) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(gpas); i++) {
		struct vmm_mem_config config = {
			.gpa = gpas[i],
			.size_bytes = REGION_BYTES,
			.backing = VMM_MEM_ANONYMOUS,
			.read_only = gpas[i] == ROM_GPA,
		};

		FUZZ_CHECK(vmm_mem_add(mem, &config) == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(gpas); i++)
		regions[i] = vmm_mem_pointer(mem, gpas[i], REGION_BYTES, 1, false);
}

static bool is_inside(const struct iovec *iov, const uint8_t *region)
{
	const uint8_t *base = iov->iov_base;

	return base >= region && base < region + REGION_BYTES &&
	       iov->iov_len <= (size_t)(region + REGION_BYTES - base);
}

/* Regions may lie side by side in the host too, and then be joined. */
static bool is_memory(const struct iovec *iov, bool writing)
{
	const uint8_t *base = iov->iov_base;
	size_t n = writing ? 2 : 3;

	for (size_t i = 0; i < n; i++)
		if (is_inside(iov, regions[i]))
			return true;
	return regions[1] == regions[0] + REGION_BYTES && base >= regions[0] &&
	       base + iov->iov_len <= regions[1] + REGION_BYTES;
}

static void check_chain(const struct vmm_virtqueue_chain *chain, uint32_t size)
{
	uint64_t readable = 0, writable = 0;
	uint8_t bytes[64];
	struct iovec part[8];

	FUZZ_CHECK(chain->n_descriptors >= 1 && chain->n_descriptors <= size);
	for (uint32_t i = 0; i < chain->n_readable; i++) {
		FUZZ_CHECK(is_memory(&chain->readable[i], false));
		readable += chain->readable[i].iov_len;
	}
	for (uint32_t i = 0; i < chain->n_writable; i++) {
		FUZZ_CHECK(is_memory(&chain->writable[i], true));
		writable += chain->writable[i].iov_len;
	}
	FUZZ_CHECK(readable == chain->readable_bytes && writable == chain->writable_bytes);
	FUZZ_CHECK(vmm_virtqueue_chain_read(chain, 3, bytes, sizeof(bytes)) <= readable);
	FUZZ_CHECK(vmm_virtqueue_slice(chain->readable, chain->n_readable, readable / 2,
			   readable - readable / 2, part, ARRAY_SIZE(part)) != -ERANGE);
	FUZZ_CHECK(
		vmm_virtqueue_chain_write(chain, writable / 2, bytes, sizeof(bytes)) <= writable);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vmm_virtqueue_chain chains[MAX_CHAINS];
	static struct iovec iov[128];
	struct vmm_virtqueue_config config = { .desc_gpa = DESC_GPA, .driver_gpa = AVAIL_GPA };
	struct vmm_virtqueue_state state;
	struct vmm_virtqueue *queue;
	size_t n_chains = 0, image;
	bool broken = false;

	if (size < HEADER)
		return 0;
	if (!mem)
		make_memory();
	image = MIN(size - HEADER, (size_t)(2 * REGION_BYTES));
	memset(regions[0], 0, REGION_BYTES);
	memset(regions[1], 0, REGION_BYTES);
	memcpy(regions[0], data + HEADER, MIN(image, (size_t)REGION_BYTES));
	if (image > REGION_BYTES)
		memcpy(regions[1], data + HEADER + REGION_BYTES, image - REGION_BYTES);

	config.size = data[1];
	config.device_gpa = data[0] & 8 ? (uint64_t)data[0] << 8 : USED_GPA;
	config.features = (data[0] & 1 ? VMM_VIRTIO_F_RING_PACKED : 0) |
			  (data[0] & 2 ? VMM_VIRTIO_F_EVENT_IDX : 0) |
			  (data[0] & 4 ? VMM_VIRTIO_F_INDIRECT_DESC : 0);
	state = (struct vmm_virtqueue_state){ .avail = data[2], .used = data[3] };
	if (data[0] & 1) {
		state.avail |= data[0] & 0x10 ? 0 : 0x8000;
		state.used |= data[0] & 0x20 ? 0 : 0x8000;
	}

	FUZZ_CHECK(vmm_virtqueue_new(mem, &queue) == 0);
	vmm_virtqueue_activate(queue, &config, &state);
	FUZZ_CHECK(vmm_virtqueue_is_active(queue) == !vmm_virtqueue_fault(queue));

	for (size_t i = 0; i < N_OPS; i++) {
		uint8_t op = data[4 + i];
		int r;

		switch (op >> 5) {
		case 0:
		case 1:
			if (n_chains == MAX_CHAINS)
				break;
			r = vmm_virtqueue_pop(
				queue, iov, op & 0x20 ? ARRAY_SIZE(iov) : op, &chains[n_chains]);
			FUZZ_CHECK(!broken || r == -VMM_EGUEST);
			broken = r == -VMM_EGUEST;
			FUZZ_CHECK(!broken || vmm_virtqueue_fault(queue));
			if (r == 1)
				check_chain(&chains[n_chains++], config.size);
			break;
		case 2:
		case 3:
			if (n_chains == 0)
				break;
			vmm_virtqueue_fill(queue, &chains[0], op & 0x1f);
			memmove(&chains[0], &chains[1], --n_chains * sizeof(chains[0]));
			if (op & 0x20)
				vmm_virtqueue_flush(queue);
			break;
		case 4:
			if (n_chains > 0 && (op & 1))
				vmm_virtqueue_undo_pop(queue, &chains[--n_chains]);
			vmm_virtqueue_should_notify(queue);
			if (op & 2)
				FUZZ_CHECK(vmm_virtqueue_forget_memory(queue) == 0);
			if (op & 4) {
				vmm_virtqueue_break(queue, "the device says so");
			}
			break;
		case 5:
			if (op & 1)
				vmm_virtqueue_enable_notifications(queue);
			else
				vmm_virtqueue_disable_notifications(queue);
			break;
		case 6: /* the driver makes more available */
			regions[0][AVAIL_GPA + 2] += op & 0x1f;
			break;
		default: /* and changes descriptors */
			regions[0][(op & 0x1f) * 7] ^= op;
			break;
		}
		FUZZ_CHECK(vmm_virtqueue_n_in_flight(queue) == n_chains);
		FUZZ_CHECK(n_chains <= config.size);
	}
	vmm_virtqueue_get_state(queue);
	vmm_virtqueue_free(queue);
	return 0;
}
