/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtqueue-fixture.h"

START_TEST(chain_gives_readable_then_writable)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 16, false },
		{ DATA_GPA + 0x100, 0, false },
		{ DATA_GPA + 0x200, 32, false },
		{ DATA_GPA + 0x1000, 512, true },
		{ DATA_GPA + 0x2000, 1, true },
	};
	uint16_t id;

	start(SIZE, _i, 0);
	ck_assert_int_eq(pop(), 0);
	id = vring_add(&ring, buffers, ARRAY_SIZE(buffers));
	ck_assert(!vmm_virtqueue_is_empty(queue));
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 2);
	ck_assert_uint_eq(chain.n_writable, 2);
	ck_assert_uint_eq(chain.readable_bytes, 48);
	ck_assert_uint_eq(chain.writable_bytes, 513);
	ck_assert_ptr_eq(chain.readable[0].iov_base, ram() + DATA_GPA);
	ck_assert_ptr_eq(chain.readable[1].iov_base, ram() + DATA_GPA + 0x200);
	ck_assert_ptr_eq(chain.writable[0].iov_base, ram() + DATA_GPA + 0x1000);
	ck_assert_uint_eq(chain.writable[1].iov_len, 1);
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 1);
	ck_assert(vmm_virtqueue_is_empty(queue));
	expect_nothing_used();

	vmm_virtqueue_push(queue, &chain, 513);
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
	expect_used(id, 513);
	expect_nothing_used();
	ck_assert_int_eq(pop(), 0);
}
END_TEST

START_TEST(chain_of_one_kind_only)
{
	const struct vring_buffer readable = { DATA_GPA, 16, false };
	const struct vring_buffer writable = { DATA_GPA, 16, true };

	start(SIZE, _i, 0);
	vring_add(&ring, &readable, 1);
	vring_add(&ring, &writable, 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 1);
	ck_assert_uint_eq(chain.n_writable, 0);
	ck_assert_uint_eq(chain.writable_bytes, 0);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_readable, 0);
	ck_assert_uint_eq(chain.n_writable, 1);
	ck_assert_uint_eq(chain.readable_bytes, 0);
	ck_assert_uint_eq(chain.writable_bytes, 16);
}
END_TEST

/* Many times around the ring, with chains of all lengths, completed out of order. */
START_TEST(ring_wraps)
{
	static const uint16_t packed_sizes[] = { SIZE, 7 };
	uint16_t sizes[] = { SIZE, 4 };
	struct vmm_virtqueue_chain popped[3];

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint16_t size = _i ? packed_sizes[s] : sizes[s];

		start(size, _i, VMM_VIRTIO_F_INDIRECT_DESC);
		for (unsigned int round = 0; round < (s ? 2000 : 35000); round++) {
			struct vring_buffer buffers[4];
			unsigned int n_chains = 1 + round % 3;
			uint16_t ids[3];

			for (unsigned int c = 0; c < n_chains; c++) {
				unsigned int n = n_chains == 1 ? 1 + round / 3 % 4 : 1;

				for (unsigned int i = 0; i < n; i++)
					buffers[i] = (struct vring_buffer){ DATA_GPA + 0x100 * c,
						8 + c, i > 0 };
				ids[c] = round % 5 == 0
						 ? vring_add_indirect(&ring, buffers, n, 0x10000)
						 : vring_add(&ring, buffers, n);
			}
			for (unsigned int c = 0; c < n_chains; c++)
				ck_assert_int_eq(
					vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &popped[c]),
					1);
			for (unsigned int c = n_chains; c-- > 0;)
				vmm_virtqueue_fill(queue, &popped[c], c);
			expect_nothing_used();
			vmm_virtqueue_flush(queue);
			for (unsigned int c = n_chains; c-- > 0;)
				expect_used(ids[c], c);
			ck_assert_int_eq(pop(), 0);
		}
	}
}
END_TEST

START_TEST(largest_queue)
{
	const struct vring_buffer buffer = { 0x100, 4, false };
	struct vmm_virtqueue_config config;
	struct vmm_mem_config region = { .gpa = 0x10000000, .size_bytes = 0x200000 };
	uint8_t *base;

	/* Laid out in a region of its own: ram() is too small. */
	ck_assert_int_eq(vmm_mem_add(mem, &region), 0);
	base = vmm_mem_pointer(mem, region.gpa, region.size_bytes, 1, true);
	vring_init(&ring, base, 0, VMM_VIRTQUEUE_MAX_SIZE, _i);
	config = config_of(VMM_VIRTIO_F_EVENT_IDX);
	config.desc_gpa += region.gpa;
	config.driver_gpa += region.gpa;
	config.device_gpa += region.gpa;
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++)
			vring_add(&ring, &buffer, 1);
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++) {
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
		ck_assert_int_eq(pop(), 0);
		for (int i = 0; i < VMM_VIRTQUEUE_MAX_SIZE; i++)
			expect_used((uint32_t)i, 0);
	}
}
END_TEST

START_TEST(indirect_chain)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 16, false },
		{ DATA_GPA + 0x100, 24, true },
		{ DATA_GPA + 0x200, 32, true },
	};
	/* Aligned, unaligned, and across the regions. */
	static const uint64_t tables[] = { 0x10000, 0x10003, RAM_B_GPA - 24 };
	uint8_t *across = ram();

	start(SIZE, _i, VMM_VIRTIO_F_INDIRECT_DESC);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint16_t id = vring_add_indirect(&ring, buffers, 3, 0x10000);
		uint8_t table[48];

		memcpy(table, across + 0x10000, sizeof(table));
		ck_assert_int_eq(vmm_mem_write(mem, tables[i], table, sizeof(table)), 0);
		if (_i)
			ring.ring[(ring.next_avail + SIZE - 1) % SIZE].addr = tables[i];
		else
			ring.desc[id].addr = tables[i];
		ck_assert_int_eq(pop(), 1);
		ck_assert_uint_eq(chain.n_readable, 1);
		ck_assert_uint_eq(chain.n_writable, 2);
		ck_assert_uint_eq(chain.readable_bytes, 16);
		ck_assert_uint_eq(chain.writable_bytes, 56);
		ck_assert_uint_eq(chain.n_descriptors, 1);
		vmm_virtqueue_push(queue, &chain, 1);
		expect_used(id, 1);
	}
}
END_TEST

START_TEST(buffer_across_regions)
{
	const struct vring_buffer buffer = { RAM_B_GPA - 10, 30, true };
	uint8_t data[30], back[30];

	start(SIZE, _i, 0);
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.writable_bytes, 30);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + 1);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&chain, 0, data, sizeof(data)), 30);
	ck_assert_int_eq(vmm_mem_read(mem, RAM_B_GPA - 10, back, sizeof(back)), 0);
	ck_assert_mem_eq(data, back, sizeof(data));
}
END_TEST

START_TEST(too_few_iovecs_takes_nothing)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, true },
	};

	start(SIZE, _i, 0);
	vring_add(&ring, buffers, 3);
	for (size_t n = 0; n < 3; n++)
		ck_assert_int_eq(vmm_virtqueue_pop(queue, iov, n, &chain), -ENOBUFS);
	ck_assert_ptr_null(vmm_virtqueue_fault(queue));
	ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
	ck_assert_int_eq(vmm_virtqueue_pop(queue, iov, 3, &chain), 1);
	ck_assert_uint_eq(chain.n_readable, 2);
}
END_TEST

START_TEST(undo_gives_chains_back)
{
	const struct vring_buffer buffers[] = {
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, false },
		{ DATA_GPA, 1, true },
	};
	struct vmm_virtqueue_chain popped[4];

	start(7 + !_i, _i, 0); /* 7: no power of two where the format allows that */
	for (int round = 0; round < 20; round++) {
		uint16_t ids[2];

		ids[0] = vring_add(&ring, buffers, 3);
		ids[1] = vring_add(&ring, buffers, 2);
		for (int again = 0; again < 3; again++) {
			for (int i = 0; i < 2; i++) {
				ck_assert_int_eq(
					vmm_virtqueue_pop(queue, iov, ARRAY_SIZE(iov), &popped[i]),
					1);
				ck_assert_uint_eq(popped[i].id, ids[i]);
			}
			ck_assert_int_eq(pop(), 0);
			if (again == 2)
				break;
			vmm_virtqueue_undo_pop(queue, &popped[1]);
			vmm_virtqueue_undo_pop(queue, &popped[0]);
			ck_assert_uint_eq(vmm_virtqueue_n_in_flight(queue), 0);
		}
		vmm_virtqueue_push(queue, &popped[0], 7);
		vmm_virtqueue_push(queue, &popped[1], 8);
		expect_used(ids[0], 7);
		expect_used(ids[1], 8);
	}
}
END_TEST

START_TEST(interrupt_flag)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	start(SIZE, _i, 0);
	ck_assert(!vmm_virtqueue_should_notify(queue));
	for (int on = 1; on >= 0; on--) {
		vring_set_interrupts(&ring, on);
		vring_add(&ring, &buffer, 1);
		ck_assert_int_eq(pop(), 1);
		ck_assert(!vmm_virtqueue_should_notify(queue));
		vmm_virtqueue_push(queue, &chain, 0);
		ck_assert_int_eq(vmm_virtqueue_should_notify(queue), on);
		ck_assert(!vmm_virtqueue_should_notify(queue));
	}
}
END_TEST

/* An interrupt comes exactly when the used position passes the event, all around the indexes. */
START_TEST(interrupt_event_index)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	uint32_t used = 0; /* chains pushed so far */

	start(SIZE, _i, VMM_VIRTIO_F_EVENT_IDX);
	for (unsigned int round = 0; round < 20000; round++) {
		unsigned int n = 1 + round % 5;
		unsigned int ahead = round / 5 % 8; /* event: after so many more */
		uint32_t event = used + ahead, id, len;

		if (_i)
			vring_set_used_event(&ring, event % SIZE, event / SIZE % 2 == 0);
		else
			vring_set_used_event(&ring, (uint16_t)event, false);
		for (unsigned int i = 0; i < n; i++) {
			vring_add(&ring, &buffer, 1);
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
		used += n;
		ck_assert_int_eq(vmm_virtqueue_should_notify(queue), ahead < n);
		while (vring_get_used(&ring, &id, &len))
			;
	}
}
END_TEST

START_TEST(many_pushes_always_pass_the_event)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	uint32_t id, len;

	start(SIZE, _i, VMM_VIRTIO_F_EVENT_IDX);
	for (unsigned int i = 0; i < 65536; i++) {
		vring_add(&ring, &buffer, 1);
		ck_assert_int_eq(pop(), 1);
		vmm_virtqueue_push(queue, &chain, 0);
		while (vring_get_used(&ring, &id, &len))
			;
	}
	ck_assert(vmm_virtqueue_should_notify(queue));
}
END_TEST

START_TEST(kick_suppression)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	bool event_idx = _i & 1, packed = _i & 2;

	start(SIZE, packed, event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	for (int round = 0; round < 100; round++) {
		/* Enabled and drained: the next chain is wanted. */
		ck_assert(!vmm_virtqueue_enable_notifications(queue));
		vring_add(&ring, &buffer, 1);
		ck_assert(vring_kick_wanted(&ring, event_idx, 1));

		vmm_virtqueue_disable_notifications(queue);
		vring_add(&ring, &buffer, 1);
		ck_assert(!vring_kick_wanted(&ring, event_idx, 1));

		/* What came in between is reported, not lost. */
		ck_assert(vmm_virtqueue_enable_notifications(queue));
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(pop(), 1);
			vmm_virtqueue_push(queue, &chain, 0);
		}
	}
}
END_TEST

START_TEST(fresh_queue_wants_kicks)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	bool event_idx = _i & 1, packed = _i & 2;

	start(SIZE, packed, event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	vring_add(&ring, &buffer, 1);
	ck_assert(vring_kick_wanted(&ring, event_idx, 1));
}
END_TEST

START_TEST(state_goes_on)
{
	const struct vring_buffer buffers[] = { { DATA_GPA, 1, false }, { DATA_GPA, 1, true } };
	struct vmm_virtqueue_config config;
	struct vmm_virtqueue_state state;

	start(7 + !_i, _i, 0);
	config = config_of(0);
	for (int round = 0; round < 30; round++) {
		uint16_t id = vring_add(&ring, buffers, 2);

		ck_assert_int_eq(pop(), 1);
		vmm_virtqueue_push(queue, &chain, 5);
		expect_used(id, 5);
		state = vmm_virtqueue_get_state(queue);
		vmm_virtqueue_deactivate(queue);
		ck_assert_int_eq(pop(), 0);
		ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, &state), 0);
	}
}
END_TEST

START_TEST(registers_are_frozen)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };
	struct vmm_virtqueue_config config;

	vring_init(&ring, ram(), RING_GPA, SIZE, _i);
	config = config_of(0);
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	memset(&config, 0xff, sizeof(config));
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
}
END_TEST

START_TEST(inactive_queue_is_quiet)
{
	const struct vring_buffer buffer = { DATA_GPA, 1, false };

	ck_assert_int_eq(pop(), 0);
	start(SIZE, _i, 0);
	vring_add(&ring, &buffer, 1);
	ck_assert_int_eq(pop(), 1);
	vmm_virtqueue_deactivate(queue);
	ck_assert_int_eq(pop(), 0);
	vmm_virtqueue_push(queue, &chain, 1);
	vmm_virtqueue_undo_pop(queue, &chain);
	ck_assert(!vmm_virtqueue_should_notify(queue));
	ck_assert(!vmm_virtqueue_enable_notifications(queue));
	vmm_virtqueue_disable_notifications(queue);
	ck_assert(vmm_virtqueue_is_empty(queue));
	ck_assert_uint_eq(vmm_virtqueue_size(queue), 0);
	expect_nothing_used();
}
END_TEST

START_TEST(removed_memory_ends_the_queue)
{
	struct vmm_virtqueue_config config;

	start(SIZE, _i, 0);
	ck_assert_int_eq(vmm_virtqueue_forget_memory(queue), 0);
	config = config_of(0);
	config.device_gpa = RAM_B_GPA;
	ck_assert_int_eq(vmm_virtqueue_activate(queue, &config, NULL), 0);
	ck_assert_int_eq(vmm_mem_remove(mem, RAM_B_GPA), 0);
	ck_assert_int_eq(vmm_virtqueue_forget_memory(queue), -VMM_EGUEST);
	ck_assert_ptr_nonnull(vmm_virtqueue_fault(queue));
	ck_assert_int_eq(pop(), 0);
}
END_TEST

START_TEST(copies_and_slices)
{
	uint8_t bytes[64], data[64];
	struct iovec parts[] = { { bytes, 10 }, { bytes + 10, 0 }, { bytes + 20, 5 },
		{ bytes + 30, 20 } };
	struct vmm_virtqueue_chain c = {
		.readable = parts,
		.n_readable = 3,
		.writable = parts + 3,
		.n_writable = 1,
		.readable_bytes = 15,
		.writable_bytes = 20,
	};
	struct iovec out[4];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 0, data, 64), 15);
	ck_assert_uint_eq(data[9], 9);
	ck_assert_uint_eq(data[10], 20);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 12, data, 2), 2);
	ck_assert_uint_eq(data[0], 22);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, 15, data, 1), 0);
	ck_assert_uint_eq(vmm_virtqueue_chain_read(&c, UINT64_MAX, data, 1), 0);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&c, 19, "xy", 2), 1);
	ck_assert_uint_eq(bytes[49], 'x');
	ck_assert_uint_eq(bytes[50], 50);
	ck_assert_uint_eq(vmm_virtqueue_chain_write(&c, 20, "z", 1), 0);

	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 5, 12, out, 4), 3);
	ck_assert_ptr_eq(out[0].iov_base, bytes + 5);
	ck_assert_uint_eq(out[0].iov_len, 5);
	ck_assert_uint_eq(out[1].iov_len, 5);
	ck_assert_ptr_eq(out[2].iov_base, bytes + 30);
	ck_assert_uint_eq(out[2].iov_len, 2);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 5, 12, out, 2), -ENOBUFS);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 0, 35, out, 4), 3);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 0, 36, out, 4), -ERANGE);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 35, 0, out, 4), 0);
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, UINT64_MAX, 1, out, 4), -ERANGE);
	/* In place. */
	ck_assert_int_eq(vmm_virtqueue_slice(parts, 4, 11, 14, parts, 4), 2);
	ck_assert_ptr_eq(parts[0].iov_base, bytes + 21);
	ck_assert_uint_eq(parts[0].iov_len, 4);
	ck_assert_uint_eq(parts[1].iov_len, 10);
}
END_TEST

/* A driver in another thread, sleeping only when no kick was wanted: nothing is ever lost. */
#define N_RACE 4000
static sem_t kicks, interrupts;
static bool race_event_idx;

/* Like an eventfd: all signals that came are one. */
static void wait_for(sem_t *signals)
{
	while (sem_wait(signals) < 0)
		ck_assert_int_eq(errno, EINTR);
	while (sem_trywait(signals) == 0)
		;
}

static void *race_driver(void *arg)
{
	const struct vring_buffer buffer = { DATA_GPA, 4, true };
	unsigned int n_sent = 0, n_done = 0;
	uint32_t id, len;

	while (n_done < N_RACE) {
		while (n_sent < N_RACE && n_sent - n_done < SIZE) {
			vring_add(&ring, &buffer, 1);
			n_sent++;
			if (vring_kick_wanted(&ring, race_event_idx, 1))
				sem_post(&kicks);
		}
		if (vring_get_used(&ring, &id, &len)) {
			n_done++;
			continue;
		}
		/* Ask for an interrupt, look again, then sleep. */
		if (race_event_idx) {
			vring_set_used_event(&ring, ring.packed ? ring.next_used : ring.last_used,
				ring.used_wrap);
			vring_fence();
			if (vring_get_used(&ring, &id, &len)) {
				n_done++;
				continue;
			}
		}
		wait_for(&interrupts);
	}
	return NULL;
}

START_TEST(no_wake_up_is_lost)
{
	pthread_t thread;
	unsigned int n = 0;
	int r;

	race_event_idx = _i & 1;
	sem_init(&kicks, 0, 0);
	sem_init(&interrupts, 0, 0);
	start(SIZE, _i & 2, race_event_idx ? VMM_VIRTIO_F_EVENT_IDX : 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_driver, NULL), 0);
	while (n < N_RACE) {
		wait_for(&kicks);
		do {
			vmm_virtqueue_disable_notifications(queue);
			while ((r = pop()) > 0) {
				vmm_virtqueue_push(queue, &chain, 0);
				n++;
				if (vmm_virtqueue_should_notify(queue))
					sem_post(&interrupts);
			}
			ck_assert_int_eq(r, 0);
		} while (vmm_virtqueue_enable_notifications(queue));
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(n, N_RACE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *t = unit_case(suite, "queue");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, chain_gives_readable_then_writable, 0, 2);
	tcase_add_loop_test(t, chain_of_one_kind_only, 0, 2);
	tcase_add_loop_test(t, ring_wraps, 0, 2);
	tcase_add_loop_test(t, largest_queue, 0, 2);
	tcase_add_loop_test(t, indirect_chain, 0, 2);
	tcase_add_loop_test(t, buffer_across_regions, 0, 2);
	tcase_add_loop_test(t, too_few_iovecs_takes_nothing, 0, 2);
	tcase_add_loop_test(t, undo_gives_chains_back, 0, 2);
	tcase_add_loop_test(t, interrupt_flag, 0, 2);
	tcase_add_loop_test(t, interrupt_event_index, 0, 2);
	tcase_add_loop_test(t, many_pushes_always_pass_the_event, 0, 2);
	tcase_add_loop_test(t, kick_suppression, 0, 4);
	tcase_add_loop_test(t, fresh_queue_wants_kicks, 0, 4);
	tcase_add_loop_test(t, state_goes_on, 0, 2);
	tcase_add_loop_test(t, registers_are_frozen, 0, 2);
	tcase_add_loop_test(t, inactive_queue_is_quiet, 0, 2);
	tcase_add_loop_test(t, removed_memory_ends_the_queue, 0, 2);
	tcase_add_loop_test(t, no_wake_up_is_lost, 0, 4);

	t = unit_case(suite, "hostile");
	tcase_add_checked_fixture(t, setup, teardown);
	add_hostile_tests(t);

	t = unit_case(suite, "chains");
	tcase_add_test(t, copies_and_slices);
	return unit_run(suite);
}
