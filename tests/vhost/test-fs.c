/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with a file system: virtiofsd, to which this program speaks FUSE as a guest's kernel
 * does. Files go through it in both directions and are compared with the host's.
 */
#include <vmmcore/virtio-vhost.h>

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "lib/driver.h"
#include "peer.h"
#include "unit.h"

#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"
#define SECOND_NSEC UINT64_C(1000000000)
#define TAG "a share"
#define REQUEST_QUEUE 1
#define CHUNK_BYTES 65536
#define FILE_BYTES (8 * CHUNK_BYTES)

/* Where a request is built. */
#define IN_GPA DRIVER_DATA_GPA
#define IN_DATA_GPA (DRIVER_DATA_GPA + 0x10000)
#define OUT_GPA (DRIVER_DATA_GPA + 0x40000)
#define OUT_DATA_GPA (DRIVER_DATA_GPA + 0x50000)

static struct driver driver;
static struct peer peer;
static struct vmm_virtio_vhost *vhost;
static char share[128];
static uint64_t unique;

static void start_virtiofsd(void)
{
	char socket[160], source[160];
	const char *argv[] = { VIRTIOFSD, socket, "-o", source, "-o", "sandbox=chroot", "-o",
		"log_level=err", NULL };

	snprintf(socket, sizeof(socket), "--socket-path=%s", peer.socket);
	snprintf(source, sizeof(source), "source=%s", share);
	peer_start(&peer, argv);
}

/* It serves one connection, so the first one has to be the one. */
static int wait_connect(void *userdata)
{
	return peer_wait_connect(userdata);
}

static void make_file(const char *name, uint32_t seed)
{
	static uint32_t words[FILE_BYTES / 4];
	char path[256];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = (uint32_t)i * 2654435761u + seed;
	snprintf(path, sizeof(path), "%s/%s", share, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, words, sizeof(words)), sizeof(words));
	close(fd);
}

static void set_up(void)
{
	peer_init(&peer);
	snprintf(share, sizeof(share), "%s/share", peer.folder);
	ck_assert_int_eq(mkdir(share, 0755), 0);
	make_file("from-the-host", 4711);
	driver_init_shared(&driver);
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	driver_finish(&driver);
	peer_finish(&peer);
}

static void make(enum vmm_vhost_rings rings, uint64_t reconnect_nsec)
{
	struct vmm_virtio_vhost_config config = {
		.mem = driver.mem,
		.device_type = VMM_VHOST_FS,
		.tag = TAG,
		.connect = wait_connect,
		.userdata = &peer,
		.rings = rings,
		.reconnect_nsec = reconnect_nsec,
	};

	start_virtiofsd();
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), 0);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
}

/*
 * One FUSE request: what is at IN_GPA behind the header, data at IN_DATA_GPA, and room for the
 * answer. Returns its error, 0 or a negative errno.
 */
static int request(uint32_t opcode, uint64_t node, uint32_t in_bytes, uint32_t in_data_bytes,
	uint32_t out_bytes, uint32_t out_data_bytes)
{
	struct fuse_in_header *in = driver_pointer(&driver, IN_GPA, sizeof(*in));
	struct fuse_out_header *out = driver_pointer(&driver, OUT_GPA, sizeof(*out));
	struct vring_buffer buffers[] = {
		{ IN_GPA, (uint32_t)sizeof(*in) + in_bytes, false },
		{ IN_DATA_GPA, in_data_bytes, false },
		{ OUT_GPA, (uint32_t)sizeof(*out) + out_bytes, true },
		{ OUT_DATA_GPA, out_data_bytes, true },
	};
	struct vring_buffer used[4];
	unsigned int n = 0;
	uint32_t len;

	*in = (struct fuse_in_header){
		.len = (uint32_t)sizeof(*in) + in_bytes + in_data_bytes,
		.opcode = opcode,
		.unique = ++unique,
		.nodeid = node,
	};
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < 4; i++)
		if (buffers[i].len > 0)
			used[n++] = buffers[i];
	driver_add(&driver, REQUEST_QUEUE, used, n, 0);
	ck_assert(driver_wait_used(&driver, REQUEST_QUEUE, NULL, &len));
	ck_assert_uint_eq(out->unique, unique);
	return out->error;
}

static void *in_body(void)
{
	return driver_pointer(&driver, IN_GPA + sizeof(struct fuse_in_header), 4096);
}

static void *out_body(void)
{
	return driver_pointer(&driver, OUT_GPA + sizeof(struct fuse_out_header), 4096);
}

static void mount_share(uint64_t features)
{
	struct fuse_init_in init = { .major = 7, .minor = 31, .max_readahead = 65536 };
	struct fuse_init_out answer;

	ck_assert(driver_start(&driver, features, 2, 128));
	memcpy(in_body(), &init, sizeof(init));
	ck_assert_int_eq(
		request(FUSE_INIT, 0, offsetof(struct fuse_init_in, flags) + 4, 0, 64, 0), 0);
	memcpy(&answer, out_body(), 64);
	ck_assert_uint_eq(answer.major, 7);
}

static uint64_t open_file(const char *name)
{
	struct fuse_open_in how = { .flags = O_RDONLY };
	struct fuse_entry_out entry;
	struct fuse_open_out opened;

	strcpy(in_body(), name);
	ck_assert_int_eq(
		request(FUSE_LOOKUP, FUSE_ROOT_ID, (uint32_t)strlen(name) + 1, 0, sizeof(entry), 0),
		0);
	memcpy(&entry, out_body(), sizeof(entry));
	ck_assert_uint_eq(entry.attr.size, FILE_BYTES);
	memcpy(in_body(), &how, sizeof(how));
	ck_assert_int_eq(request(FUSE_OPEN, entry.nodeid, sizeof(how), 0, sizeof(opened), 0), 0);
	memcpy(&opened, out_body(), sizeof(opened));
	return opened.fh;
}

static void read_and_compare(const char *name, uint32_t seed)
{
	uint64_t fh = open_file(name);

	for (unsigned int chunk = 0; chunk < FILE_BYTES / CHUNK_BYTES; chunk++) {
		struct fuse_read_in how = {
			.fh = fh,
			.offset = (uint64_t)chunk * CHUNK_BYTES,
			.size = CHUNK_BYTES,
		};
		const uint32_t *words = driver_pointer(&driver, OUT_DATA_GPA, CHUNK_BYTES);

		memcpy(in_body(), &how, sizeof(how));
		ck_assert_int_eq(request(FUSE_READ, 2, sizeof(how), 0, 0, CHUNK_BYTES), 0);
		for (uint32_t i = 0; i < CHUNK_BYTES / 4; i++)
			ck_assert_uint_eq(
				words[i], (chunk * (CHUNK_BYTES / 4) + i) * 2654435761u + seed);
	}
}

static void write_file(const char *name, uint32_t seed)
{
	struct fuse_create_in create = { .flags = O_WRONLY | O_CREAT, .mode = S_IFREG | 0644 };
	struct fuse_open_out opened;
	struct fuse_entry_out entry;

	memcpy(in_body(), &create, sizeof(create));
	strcpy((char *)in_body() + sizeof(create), name);
	ck_assert_int_eq(
		request(FUSE_CREATE, FUSE_ROOT_ID, (uint32_t)(sizeof(create) + strlen(name) + 1), 0,
			sizeof(entry) + sizeof(opened), 0),
		0);
	memcpy(&entry, out_body(), sizeof(entry));
	memcpy(&opened, (char *)out_body() + sizeof(entry), sizeof(opened));
	for (unsigned int chunk = 0; chunk < FILE_BYTES / CHUNK_BYTES; chunk++) {
		struct fuse_write_in how = {
			.fh = opened.fh,
			.offset = (uint64_t)chunk * CHUNK_BYTES,
			.size = CHUNK_BYTES,
		};
		uint32_t *words = driver_pointer(&driver, IN_DATA_GPA, CHUNK_BYTES);

		for (uint32_t i = 0; i < CHUNK_BYTES / 4; i++)
			words[i] = (chunk * (CHUNK_BYTES / 4) + i) * 2654435761u + seed;
		memcpy(in_body(), &how, sizeof(how));
		ck_assert_int_eq(request(FUSE_WRITE, entry.nodeid, sizeof(how), CHUNK_BYTES,
					 sizeof(struct fuse_write_out), 0),
			0);
	}
}

static const struct {
	enum vmm_vhost_rings rings;
	uint64_t features;
} ways[] = {
	{ VMM_VHOST_RINGS_DIRECT, 0 },
	{ VMM_VHOST_RINGS_RELAYED, VMM_VIRTIO_F_INDIRECT_DESC },
	{ VMM_VHOST_RINGS_RELAYED, VMM_VIRTIO_F_RING_PACKED },
};

START_TEST(test_files)
{
	char tag[VMM_VHOST_FS_TAG_BYTES] = "";
	uint32_t n_queues = 0;

	make(ways[_i].rings, 0);
	/* It has no configuration space: ours is seen. */
	for (uint32_t i = 0; i < sizeof(tag); i++)
		driver_config_read(&driver, i, &tag[i], 1);
	driver_config_read(&driver, sizeof(tag), &n_queues, sizeof(n_queues));
	ck_assert_str_eq(tag, TAG);
	ck_assert_uint_eq(n_queues, 1);
	mount_share(ways[_i].features);
	read_and_compare("from-the-host", 4711);
	write_file("from-the-guest", 815);
	read_and_compare("from-the-guest", 815);
	strcpy(in_body(), "nothing");
	ck_assert_int_eq(request(FUSE_LOOKUP, FUSE_ROOT_ID, 8, 0, 128, 0), -ENOENT);
}
END_TEST

/* A session does not outlive its back end; the device does. */
START_TEST(test_killed)
{
	struct vmm_virtio_vhost_status status;

	make(VMM_VHOST_RINGS_AUTO, SECOND_NSEC / 5);
	mount_share(0);
	read_and_compare("from-the-host", 4711);
	peer_kill(&peer);
	unlink(peer.socket);
	while (!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET))
		usleep(1000);
	start_virtiofsd();
	do {
		usleep(1000);
		vmm_virtio_vhost_get_status(vhost, &status);
	} while (!status.connected);
	mount_share(0);
	read_and_compare("from-the-host", 4711);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost-user file systems");
	TCase *tcase = unit_case(suite, "virtiofsd");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!peer_exists(VIRTIOFSD))
		return 77;
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, test_files, 0, ARRAY_SIZE(ways));
	tcase_add_test(tcase, test_killed);
	return unit_run(suite);
}
