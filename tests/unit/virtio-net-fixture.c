/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-net-fixture.h"

const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
struct driver driver;
struct vmm_loop *loop;
struct loopback *cable;
struct vmm_virtio_net *net;
pthread_t loop_thread;
bool loop_runs;

static void *run_loop(void *userdata)
{
	ck_assert_int_eq(vmm_loop_run(loop), 0);
	return NULL;
}

struct vmm_virtio_net_config base_config(struct vmm_net_backend backend)
{
	struct vmm_virtio_net_config config = {
		.mem = driver.mem,
		.backend = backend,
		.loops = &loop,
		.n_loops = 1,
	};

	memcpy(config.mac, mac, sizeof(mac));
	return config;
}

void begin(const struct vmm_virtio_net_config *config, uint64_t features)
{
	unsigned int n_queues = (config->n_pairs ? config->n_pairs : 1) * 2 + 1;

	ck_assert_int_eq(vmm_virtio_net_new(config, &net), 0);
	driver_attach(&driver, vmm_virtio_net_device(net));
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	loop_runs = true;
	ck_assert(driver_start(&driver, features, n_queues, 64));
}

void begin_loopback(uint64_t features)
{
	struct vmm_virtio_net_config config = base_config(loopback_backend(cable));

	begin(&config, features);
}

void setup(void)
{
	driver_init(&driver);
	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	cable = loopback_new();
	net = NULL;
	loop_runs = false;
}

void teardown(void)
{
	if (loop_runs) {
		vmm_loop_quit(loop, 0);
		ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	}
	if (net)
		driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	loopback_free(cable);
	loop = vmm_loop_free(loop);
	driver_finish(&driver);
}

struct vmm_virtio_net_status status(void)
{
	struct vmm_virtio_net_status result;

	vmm_virtio_net_get_status(net, &result);
	return result;
}

void read_config(uint8_t config[12])
{
	for (uint32_t i = 0; i < 12; i++)
		driver_config_read(&driver, i, &config[i], 1);
}

void give_buffers(unsigned int n, uint32_t size)
{
	for (unsigned int i = 0; i < n; i++) {
		struct vring_buffer buffer = { RX_GPA + i * UINT64_C(65536), size, true };

		driver_add(&driver, RECEIVE, &buffer, 1, 0);
	}
}

void transmit(uint32_t size, uint8_t seed)
{
	uint8_t *frame = driver_pointer(&driver, TX_GPA, HEADER + size);
	struct vring_buffer pieces[] = {
		{ TX_GPA, HEADER, false },
		{ TX_GPA + HEADER, size, false },
	};

	memset(frame, 0, HEADER);
	for (uint32_t i = 0; i < size; i++)
		frame[HEADER + i] = (uint8_t)(seed + i * 7);
	driver_add(&driver, TRANSMIT, pieces, 2, 0);
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
}

void expect(uint32_t size, uint8_t seed, uint32_t buffer_size, unsigned int n)
{
	uint32_t left = size + HEADER, at = 0, length;
	unsigned int n_buffers = (left + buffer_size - 1) / buffer_size;

	for (unsigned int i = 0; i < n_buffers; i++) {
		const uint8_t *data =
			driver_pointer(&driver, RX_GPA + (n + i) * UINT64_C(65536), buffer_size);

		ck_assert(driver_wait_used(&driver, RECEIVE, NULL, &length));
		ck_assert_uint_eq(length, MIN(left, buffer_size));
		if (i == 0)
			ck_assert_uint_eq(data[10] | data[11] << 8, n_buffers);
		for (uint32_t j = i == 0 ? HEADER : 0; j < length; j++, at++)
			ck_assert_uint_eq(data[j], (uint8_t)(seed + at * 7));
		left -= length;
	}
}
