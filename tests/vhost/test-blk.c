/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with disks: qemu-storage-daemon, and the back end of the examples (whose program is
 * in VHOST_USER_BLK), under load, killed again and again.
 */
#include <vmmcore/virtio-vhost.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "lib/blk-driver.h"
#include "load.h"
#include "peer.h"
#include "unit.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define MSEC_NSEC UINT64_C(1000000)
#define N_KILLS 20

static struct driver driver;
static struct peer peer;
static struct load load;
static struct vmm_virtio_vhost *vhost;
static char image[128];

static void start_qsd(void)
{
	char file[256], export[256];
	const char *argv[] = { "qemu-storage-daemon", "--blockdev", file, "--blockdev",
		"driver=raw,node-name=d,file=f", "--export", export, NULL };

	snprintf(file, sizeof(file), "driver=file,node-name=f,filename=%s", image);
	snprintf(export, sizeof(export),
		"type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=%s,writable=on,"
		"num-queues=2",
		peer.socket);
	peer_start(&peer, argv);
}

/*
 * As vmm-drive@.service has it: what is allocated in an image is only in its server's memory for a
 * while, so each write goes through. Small clusters: there is much to allocate.
 */
static void start_qcow2(void)
{
	char file[256], export[256], command[256];
	const char *argv[] = { "qemu-storage-daemon", "--blockdev", file, "--blockdev",
		"driver=qcow2,node-name=d,file=f", "--export", export, NULL };

	snprintf(file, sizeof(file), "driver=file,node-name=f,filename=%s/disk.qcow2", peer.folder);
	snprintf(export, sizeof(export),
		"type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=%s,writable=on,"
		"num-queues=2,writethrough=on",
		peer.socket);
	if (access(strrchr(file, '=') + 1, F_OK) < 0) {
		snprintf(command, sizeof(command),
			"qemu-img create -q -f qcow2 -o cluster_size=4096 %s %u",
			strrchr(file, '=') + 1, LOAD_BLOCKS * LOAD_BLOCK_BYTES);
		ck_assert_int_eq(system(command), 0);
	}
	peer_start(&peer, argv);
}

static void start_ours(void)
{
	const char *argv[] = { getenv("VHOST_USER_BLK"), peer.socket, image, "2", NULL };

	peer_start(&peer, argv);
}

/* By the first connection, with the socket passed, as a socket unit does it. */
static void start_activated(void)
{
	const char *argv[] = { "systemd-socket-activate", "-l", peer.socket,
		getenv("VHOST_USER_BLK"), "-", image, "2", NULL };

	peer_start(&peer, argv);
}

static void (*start_peer)(void);

static void set_up(void)
{
	int fd;

	peer_init(&peer);
	snprintf(image, sizeof(image), "%s/disk.raw", peer.folder);
	fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)LOAD_BLOCKS * LOAD_BLOCK_BYTES), 0);
	close(fd);
	driver_init_shared(&driver);
}

static void set_up_qsd(void)
{
	start_peer = start_qsd;
	set_up();
}

static void set_up_qcow2(void)
{
	start_peer = start_qcow2;
	set_up();
}

static void set_up_ours(void)
{
	start_peer = start_ours;
	set_up();
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	driver_finish(&driver);
	peer_finish(&peer);
}

static struct vmm_virtio_vhost_config blk_config(void)
{
	return (struct vmm_virtio_vhost_config){
		.mem = driver.mem,
		.device_type = VMM_VHOST_BLK,
		.connect = peer_connect,
		.userdata = &peer,
		.retry_nsec = 10 * MSEC_NSEC,
	};
}

static void make(const struct vmm_virtio_vhost_config *config)
{
	int fd;

	start_peer();
	fd = peer_wait_connect(&peer);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(vmm_virtio_vhost_new(config, &vhost), 0);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
}

static struct vmm_virtio_vhost_status get_status(void)
{
	struct vmm_virtio_vhost_status status;

	vmm_virtio_vhost_get_status(vhost, &status);
	return status;
}

#define RING_FEATURES (VMM_VIRTIO_F_INDIRECT_DESC | VMM_VIRTIO_F_EVENT_IDX)

static const struct {
	enum vmm_vhost_rings rings;
	uint64_t features;
} ways[] = {
	{ VMM_VHOST_RINGS_DIRECT, VMM_VIRTIO_F_INDIRECT_DESC },
	{ VMM_VHOST_RINGS_DIRECT, RING_FEATURES },
	{ VMM_VHOST_RINGS_RELAYED, RING_FEATURES },
	{ VMM_VHOST_RINGS_RELAYED, 0 },
	{ VMM_VHOST_RINGS_RELAYED, RING_FEATURES | VMM_VIRTIO_F_RING_PACKED },
};

#define BLK_F_ALL UINT64_C(0xffffff)
#define BLK_F_FLUSH (UINT64_C(1) << 9)
#define BLK_F_CONFIG_WCE (UINT64_C(1) << 11)

/* Load, a reset in the middle of it, a pause in the middle of it, and all is as it was written. */
START_TEST(test_load)
{
	struct vmm_virtio_vhost_config config = blk_config();
	uint64_t capacity;
	bool may_take_back;
	uint16_t n_queues;

	config.rings = ways[_i].rings;
	make(&config);
	driver_config_read(&driver, 0, &capacity, sizeof(capacity));
	ck_assert_uint_eq(capacity, LOAD_BLOCKS * LOAD_BLOCK_BYTES / 512);
	driver_config_read(&driver, 34, &n_queues, sizeof(n_queues));
	ck_assert_uint_eq(n_queues, 2);
	/* A driver is to flush, whatever the back end says of its cache in the configuration. */
	ck_assert_uint_ne(driver_offered(&driver) & BLK_F_FLUSH, 0);
	ck_assert_uint_eq(driver_offered(&driver) & BLK_F_CONFIG_WCE, 0);
	ck_assert(driver_start(&driver, BLK_F_ALL | ways[_i].features, 2, 256));
	load_init(&load, &driver, 2, 4711);
	ck_assert(load_run(&load, SECOND_NSEC / 2));

	/*
	 * A ring taken back from qemu-storage-daemon 7.2: it goes on with what is in flight, writes
	 * to the eventfd that it has closed ("vu_panic"), and gives up. Only the relay keeps it
	 * from a ring that is not its own any more.
	 */
	may_take_back = get_status().relayed || start_peer != start_qsd;
	for (unsigned int i = 0; i < 5 && may_take_back; i++) {
		while (vmm_virtio_pause(vmm_virtio_vhost_device(vhost), NULL, NULL) == -EALREADY)
			usleep(1000);
		while (!vmm_virtio_is_paused(vmm_virtio_vhost_device(vhost)))
			usleep(100);
		vmm_virtio_resume(vmm_virtio_vhost_device(vhost));
		ck_assert(load_run(&load, SECOND_NSEC / 20));
	}
	ck_assert(load_finish(&load));
	ck_assert_uint_gt(load.n_done, LOAD_BLOCKS);

	/* Once more, with requests in flight that nobody hears of again. */
	for (unsigned int i = 0; i < LOAD_SLOTS && may_take_back; i++) {
		struct vring_buffer data = { .gpa = DRIVER_DATA_GPA, .len = 4096, .write = true };

		driver.rings[0].next_desc = (uint16_t)(4 * i);
		blk_start(&driver, 0, i, BLK_IN, 0, &data, 1, false);
	}
	ck_assert(driver_start(&driver, BLK_F_ALL | ways[_i].features, 2, 128));
	ck_assert_uint_eq(blk_read(&driver, 8, DRIVER_DATA_GPA, 4096), BLK_OK);
	ck_assert_uint_eq(get_status().n_connected, 1);
}
END_TEST

static bool is_over;

/*
 * Kills the back end at any moment, and starts another. The last one dies with the thread that
 * started it, so that stays until all is over.
 */
static void *kill_again_and_again(void *unused)
{
	unsigned int seed = 1;

	for (unsigned int i = 0; i < N_KILLS; i++) {
		uint64_t n = get_status().n_connected;

		usleep(20000 + (useconds_t)rand_r(&seed) % 150000);
		peer_kill(&peer);
		usleep((useconds_t)rand_r(&seed) % 30000);
		start_peer();
		while (get_status().n_connected == n)
			usleep(1000);
	}
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
		usleep(10000);
	return unused;
}

START_TEST(test_killed_under_load)
{
	struct vmm_virtio_vhost_config config = blk_config();
	pthread_t killer;

	config.reconnect_nsec = 60 * SECOND_NSEC;
	make(&config);
	ck_assert(get_status().relayed);
	ck_assert(driver_start(
		&driver, BLK_F_ALL | RING_FEATURES | (_i ? VMM_VIRTIO_F_RING_PACKED : 0), 2, 256));
	load_init(&load, &driver, 2, 815);
	ck_assert_int_eq(pthread_create(&killer, NULL, kill_again_and_again, NULL), 0);
	while (get_status().n_connected < N_KILLS + 1 && load.n_errors == 0)
		ck_assert(load_run(&load, SECOND_NSEC / 10));
	ck_assert(load_run(&load, SECOND_NSEC / 10));
	ck_assert(load_finish(&load));
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
	pthread_join(killer, NULL);
	printf("%llu requests were in flight in %u kills\n",
		(unsigned long long)get_status().n_resubmitted, N_KILLS);
	/* Else nothing was shown. */
	ck_assert_uint_gt(get_status().n_resubmitted, N_KILLS);
	ck_assert_uint_eq(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET, 0);
}
END_TEST

/* It never comes back: errors by the deadline; and after a reset all is well if it is there. */
START_TEST(test_deadline)
{
	struct vmm_virtio_vhost_config config = blk_config();
	uint64_t begin_nsec;

	config.reconnect_nsec = 300 * MSEC_NSEC;
	make(&config);
	ck_assert(driver_start(&driver, BLK_F_ALL | RING_FEATURES, 2, 256));
	ck_assert_uint_eq(blk_read(&driver, 0, DRIVER_DATA_GPA, 4096), BLK_OK);
	peer_kill(&peer);
	begin_nsec = vmm_base_now_nsec();
	ck_assert_uint_eq(blk_read(&driver, 0, DRIVER_DATA_GPA, 4096), BLK_IOERR);
	ck_assert_uint_gt(vmm_base_now_nsec() - begin_nsec, 250 * MSEC_NSEC);
	ck_assert_uint_ne(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET, 0);
	ck_assert(get_status().failed);
	ck_assert_uint_eq(blk_read(&driver, 0, DRIVER_DATA_GPA, 4096), BLK_IOERR);

	start_peer();
	while (!get_status().connected)
		usleep(1000);
	ck_assert(driver_start(&driver, BLK_F_ALL | RING_FEATURES, 2, 256));
	ck_assert_uint_eq(blk_read(&driver, 0, DRIVER_DATA_GPA, 4096), BLK_OK);
}
END_TEST

/* The last one: no wait at all, direct. The device fails, and its reset does not hang. */
START_TEST(test_without_recovery)
{
	struct vmm_virtio_vhost_config config = blk_config();

	config.rings = VMM_VHOST_RINGS_DIRECT;
	make(&config);
	ck_assert(!get_status().relayed);
	ck_assert(driver_start(&driver, BLK_F_ALL, 2, 256));
	ck_assert_uint_eq(blk_read(&driver, 0, DRIVER_DATA_GPA, 4096), BLK_OK);
	peer_kill(&peer);
	while (!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET))
		usleep(1000);
	driver_reset(&driver);
	ck_assert_uint_eq(driver_status(&driver), 0);
}
END_TEST

START_TEST(test_socket_activation)
{
	struct vmm_virtio_vhost_config config = blk_config();
	uint32_t *word = driver_pointer(&driver, DRIVER_DATA_GPA, 4096);

	start_peer = start_activated;
	make(&config);
	ck_assert(driver_start(&driver, BLK_F_ALL, 2, 256));
	*word = 4711;
	ck_assert_uint_eq(blk_write(&driver, 8, DRIVER_DATA_GPA, 4096), BLK_OK);
	*word = 0;
	ck_assert_uint_eq(blk_read(&driver, 8, DRIVER_DATA_GPA, 4096), BLK_OK);
	ck_assert_uint_eq(*word, 4711);
	/* The socket is that of the unit, not one that the program made. */
	ck_assert_int_ne(access("-", F_OK), 0);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, test_load, 0, ARRAY_SIZE(ways));
	tcase_add_loop_test(tcase, test_killed_under_load, 0, 2);
	tcase_add_test(tcase, test_deadline);
	tcase_add_test(tcase, test_without_recovery);
}

int main(void)
{
	Suite *suite = suite_create("vhost-user disks");
	TCase *tcase;

	/* What a failed test printed is not lost with its process. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!peer_exists("qemu-storage-daemon"))
		return 77;
	tcase = unit_case(suite, "qemu-storage-daemon");
	tcase_add_checked_fixture(tcase, set_up_qsd, tear_down);
	add_tests(tcase);
	tcase = unit_case(suite, "qemu-storage-daemon with qcow2");
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up_qcow2, tear_down);
	tcase_add_loop_test(tcase, test_killed_under_load, 0, 2);
	if (getenv("VHOST_USER_BLK")) {
		tcase = unit_case(suite, "vhost-user-blk of the examples");
		tcase_add_checked_fixture(tcase, set_up_ours, tear_down);
		add_tests(tcase);
		if (peer_exists("systemd-socket-activate"))
			tcase_add_test(tcase, test_socket_activation);
	}
	return unit_run(suite);
}
