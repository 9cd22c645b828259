/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * resources: the opening itself, which runs in a child. Says of each failure the file, line
 * and key that it comes from.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/util.h"
#include "error.h"
#include "links.h"
#include "macvtap.h"
#include "resources-open.h"
#include "tap.h"

/* The system call filters and sector sizes of all: a drive is whole sectors. */
enum {
	SECTOR_BYTES = 512,
	LOCK_RETRY_USEC = 10000,
	PMEM_BYTES = 2 << 20,
};

int opener_refuse(struct opener *opener, int error, const char *key, struct config_where where,
	const char *format, ...)
{
	char line[16] = "";
	va_list ap;
	int n;

	if (where.line > 0)
		snprintf(line, sizeof(line), ":%u", where.line);
	n = snprintf(opener->text, opener->text_size,
		"%s%s: %s: ", config_file_of(opener->config, where), line, key);
	va_start(ap, format);
	if (n > 0 && (size_t)n < opener->text_size)
		vsnprintf(opener->text + n, opener->text_size - (size_t)n, format, ap);
	va_end(ap);
	opener->result->error = error;
	opener->result->exit_status = VMM_WORKER_EXIT_CONFIG;
	return error;
}

void opener_add_fd(struct opener *opener, int *fd)
{
	assert(opener->result->n_fds < RESOURCES_MAX_FDS);
	opener->result->fds[opener->result->n_fds++] = TAKE_FD(*fd);
}

const char *opener_file_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "is a directory";
	case S_IFIFO:
		return "is a pipe";
	case S_IFSOCK:
		return "is a socket";
	case S_IFCHR:
		return "is a character device";
	case S_IFBLK:
		return "is a block device";
	default:
		return "is not a regular file";
	}
}

int opener_judge_links(
	struct opener *opener, const char *key, struct config_where where, const char *path, int r)
{
	if (r == -EXDEV)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where,
			"\"%s\" leads to what is somebody else's by a symbolic link that is not "
			"root's",
			path);
	if (r < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where, "\"%s\": %s",
			path, strerror(-r));
	return 0;
}

/*
 * Opens what is a regular file or, if allowed, a block device, and nothing else: opening a
 * device of another kind may already do something. Looked at before and after.
 */
static int open_file(struct opener *opener, const char *key, const struct config_string *path,
	int flags, bool block, int *ret_fd, struct stat *ret_st)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct stat st;
	int r;

	if (stat(path->value, &st) < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\": %s", path->value, strerror(errno));
	if (!S_ISREG(st.st_mode) && !(block && S_ISBLK(st.st_mode)))
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\" %s", path->value, opener_file_type(st.st_mode));
	/* A block device that is mounted, or open for itself elsewhere, is not to be written. */
	if (S_ISBLK(st.st_mode) && (flags & O_ACCMODE) == O_RDWR && opener->mode != RESOURCES_CHECK)
		flags |= O_EXCL;
	/* May wait, for a file server or a lease: that is what the child and its time are for. */
	fd = open(path->value, flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == EBUSY)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\" is mounted or in use", path->value);
	if (fd < 0 && errno == EINVAL && (flags & O_DIRECT))
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\" is on a file system that cannot do Cache=direct", path->value);
	if (fd < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\": %s", path->value, strerror(errno));
	if (fstat(fd, ret_st) < 0 || (ret_st->st_mode & S_IFMT) != (st.st_mode & S_IFMT))
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, path->where,
			"\"%s\" has just changed", path->value);
	r = opener_judge_links(
		opener, key, path->where, path->value, links_check(path->value, ret_st));
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_kvm(struct opener *opener)
{
	CLEANUP(close_p) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	const char *reason = NULL;
	int version;

	if (fd < 0) {
		reason = strerror(errno);
	} else {
		version = ioctl(fd, KVM_GET_API_VERSION, 0);
		if (version < 0)
			reason = strerror(errno);
		else if (version != KVM_API_VERSION)
			reason = "has another version of the interface";
	}
	if (reason) {
		snprintf(opener->text, opener->text_size,
			"/dev/kvm: %s: this host offers no virtualization", reason);
		opener->result->error = -VMMD_E_KVM_UNAVAILABLE;
		opener->result->exit_status = VMM_WORKER_EXIT_CONFIG;
		return -VMMD_E_KVM_UNAVAILABLE;
	}
	opener_add_fd(opener, &fd);
	return 0;
}

static int check_memory(struct opener *opener)
{
	const struct config_number *memory = &opener->config->machine.memory_bytes;
	struct sysinfo info;
	uint64_t host_bytes;

	if (sysinfo(&info) < 0)
		return 0;
	host_bytes = (uint64_t)info.totalram * info.mem_unit;
	if (memory->value <= host_bytes)
		return 0;
	return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, "[Machine] Memory=", memory->where,
		"%ju MiB, more than the %ju MiB that this host has",
		(uintmax_t)(memory->value >> 20), (uintmax_t)(host_bytes >> 20));
}

static int open_boot(struct opener *opener)
{
	const struct config_boot *boot = &opener->config->boot;
	CLEANUP(close_p) int kernel_fd = -EBADF, initrd_fd = -EBADF;
	struct stat st;
	int r;

	r = open_file(opener, "[Boot] Kernel=", &boot->kernel, O_RDONLY, false, &kernel_fd, &st);
	if (r < 0)
		return r;
	if (st.st_size == 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Boot] Kernel=", boot->kernel.where, "\"%s\" is empty",
			boot->kernel.value);
	opener_add_fd(opener, &kernel_fd);
	if (!boot->initrd.value)
		return 0;
	r = open_file(opener, "[Boot] Initrd=", &boot->initrd, O_RDONLY, false, &initrd_fd, &st);
	if (r < 0)
		return r;
	if (st.st_size == 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Boot] Initrd=", boot->initrd.where, "\"%s\" is empty",
			boot->initrd.value);
	if ((uint64_t)st.st_size >= opener->config->machine.memory_bytes.value)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Boot] Initrd=", boot->initrd.where, "\"%s\" is larger than the memory",
			boot->initrd.value);
	opener_add_fd(opener, &initrd_fd);
	return 0;
}

/* 1: somebody else has it. */
static int try_lock(int fd, struct flock lock, bool take)
{
	if (fcntl(fd, take ? F_OFD_SETLK : F_OFD_GETLK, &lock) == 0)
		return !take && lock.l_type != F_UNLCK;
	return errno == EAGAIN || errno == EACCES ? 1 : -errno;
}

/*
 * A lock of the open file description: it goes with the descriptor, and ends with the worker; or a
 * moment later, as the kernel takes a ring of io_uring apart in the background. A machine that is
 * started again at once waits for that.
 */
static int lock_drive(struct opener *opener, const struct config_drive *drive, int fd)
{
	const struct flock lock = {
		.l_type = drive->read_only.value ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	uint64_t deadline_nsec =
		vmm_base_now_nsec() + opener->order->lock_patience_msec * UINT64_C(1000000);
	int r;

	while ((r = try_lock(fd, lock, opener->mode != RESOURCES_CHECK)) > 0 &&
		vmm_base_now_nsec() < deadline_nsec)
		usleep(LOCK_RETRY_USEC);
	if (r == 0)
		return 0;
	if (r < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Drive] Path=", drive->path.where, "\"%s\" cannot be locked: %s",
			drive->path.value, strerror(-r));
	return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, "[Drive] Path=", drive->path.where,
		"\"%s\" is in use by another machine or program", drive->path.value);
}

/* The kernel's vhost. name: of the device and of its module, but for a letter. */
static int open_vhost(
	struct opener *opener, const char *key, struct config_where where, const char *name)
{
	CLEANUP(close_p) int fd = -EBADF;
	char path[32];

	snprintf(path, sizeof(path), "/dev/vhost-%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where,
			"%s: %s: modprobe vhost_%s", path, strerror(errno), name);
	if (opener->mode != RESOURCES_CHECK)
		opener_add_fd(opener, &fd);
	return 0;
}

static int open_vsock(struct opener *opener, const struct config_vsock *vsock)
{
	if (!vsock->enabled.value || !vsock->vhost.value)
		return 0;
	return open_vhost(opener, "[Vsock] Vhost=", vsock->vhost.where, "vsock");
}

/* ---- drives and networks ---- */

static int open_drive(struct opener *opener, const struct config_drive *drive)
{
	int flags = drive->read_only.value ? O_RDONLY : O_RDWR;
	CLEANUP(close_p) int fd = -EBADF;
	uint64_t size;
	struct stat st;
	int r;

	if (drive->socket.value)
		return opener_connect(
			opener, "[Drive] Socket=", drive->socket.where, drive->socket.value, NULL);
	if (config_drive_has_unit(drive))
		return opener_take_image(opener, drive);
	if (drive->cache.value == CONFIG_CACHE_DIRECT)
		flags |= O_DIRECT;
	r = open_file(opener, "[Drive] Path=", &drive->path, flags,
		drive->device.value != CONFIG_DEVICE_PMEM, &fd, &st);
	if (r < 0)
		return r;
	size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Drive] Path=", drive->path.where, "\"%s\": %s", drive->path.value,
			strerror(errno));
	if (size == 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Drive] Path=", drive->path.where, "\"%s\" is empty", drive->path.value);
	if (size % SECTOR_BYTES != 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Drive] Path=", drive->path.where,
			"\"%s\" has %ju bytes, which are not whole sectors of %d",
			drive->path.value, (uintmax_t)size, SECTOR_BYTES);
	if (drive->device.value == CONFIG_DEVICE_PMEM && size % PMEM_BYTES != 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Drive] Path=", drive->path.where,
			"\"%s\" has %ju bytes, and Device=pmem takes whole 2M", drive->path.value,
			(uintmax_t)size);
	r = lock_drive(opener, drive, fd);
	if (r < 0)
		return r;
	opener_add_fd(opener, &fd);
	return 0;
}

static int open_macvtap(
	struct opener *opener, const struct config_network *network, int fds[CONFIG_MAX_PAIRS])
{
	const struct macvtap_order order = {
		.run_dir = opener->order->run_dir,
		.machine = opener->config->name,
		.network = network,
		.is_start = opener->mode == RESOURCES_TAKE,
	};
	char reason[160];
	int r;

	if (opener->mode == RESOURCES_CHECK)
		r = macvtap_check(network, reason, sizeof(reason));
	else
		r = macvtap_open(
			&order, fds, &opener->links[opener->n_links], reason, sizeof(reason));
	if (r < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			"[Network] MACVTap=", network->macvtap.where, "%s", reason);
	opener->n_links += opener->mode != RESOURCES_CHECK;
	return 0;
}

static int open_tap(
	struct opener *opener, const struct config_network *network, int fds[CONFIG_MAX_PAIRS])
{
	char reason[160];
	int r;

	if (opener->mode == RESOURCES_CHECK)
		r = tap_check(network, reason, sizeof(reason));
	else
		r = tap_open(opener->order->run_dir, opener->config->name, network, fds, reason,
			sizeof(reason));
	if (r < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION,
			network->zone.value ? "[Network] Zone=" : "[Network]",
			network->zone.value ? network->zone.where : network->where, "\"%s\": %s",
			network->name.value, reason);
	return 0;
}

static int open_network(struct opener *opener, const struct config_network *network)
{
	size_t n = opener->mode == RESOURCES_CHECK ? 0 : (size_t)network->queues.value;
	int fds[CONFIG_MAX_PAIRS];
	int r;

	if (network->user.value)
		return opener_take_user_network(opener, network);
	if (network->socket.value)
		return opener_connect(opener, "[Network] Socket=", network->socket.where,
			network->socket.value, NULL);
	r = network->macvtap.value ? open_macvtap(opener, network, fds)
				   : open_tap(opener, network, fds);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		opener_add_fd(opener, &fds[i]);
	/* One for each pair of queues; to see whether there is any, one is enough. */
	for (size_t i = 0; network->vhost.value && i < MAX(n, (size_t)1) && r >= 0; i++)
		r = open_vhost(opener, "[Network] Vhost=", network->vhost.where, "net");
	return r;
}

/* What there is one of. */
static int open_machine(struct opener *opener)
{
	int r;

	r = open_kvm(opener);
	if (r >= 0)
		r = check_memory(opener);
	return r < 0 ? r : open_boot(opener);
}

/* Only what has a back end: nothing else is opened for a worker that asks. */
static int open_backend(struct opener *opener)
{
	const struct vm_config *config = opener->config;
	const char *device = opener->order->device;
	enum vmm_device_kind kind = opener->order->kind;

	for (size_t i = 0; kind == VMM_DEVICE_DRIVE && i < config->n_drives; i++)
		if (strcmp(config->drives[i].name.value, device) == 0 &&
			(config->drives[i].socket.value ||
				config_drive_has_unit(&config->drives[i])))
			return open_drive(opener, &config->drives[i]);
	for (size_t i = 0; kind == VMM_DEVICE_NETWORK && i < config->n_networks; i++)
		if (strcmp(config->networks[i].name.value, device) == 0 &&
			config->networks[i].socket.value)
			return open_network(opener, &config->networks[i]);
	for (size_t i = 0; kind == VMM_DEVICE_SHARE && i < config->n_shares; i++)
		if (strcmp(config->shares[i].tag.value, device) == 0)
			return opener_take_share(opener, &config->shares[i]);
	return opener_refuse(opener, -VMMD_E_NO_SUCH_DEVICE, "its devices", (struct config_where){},
		"\"%.64s\" has no back end there", device);
}

static int open_all(struct opener *opener)
{
	const struct vm_config *config = opener->config;
	int r = 0;

	if (opener->mode == RESOURCES_TAKE_BACKEND)
		return open_backend(opener);
	if (opener->mode != RESOURCES_TAKE_DEVICES)
		r = open_machine(opener);
	for (size_t i = 0; r >= 0 && i < config->n_drives; i++)
		r = open_drive(opener, &config->drives[i]);
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++)
		r = open_network(opener, &config->networks[i]);
	for (size_t i = 0; r >= 0 && i < config->n_shares; i++)
		r = opener_take_share(opener, &config->shares[i]);
	if (r >= 0 && opener->mode != RESOURCES_TAKE_DEVICES)
		r = open_vsock(opener, &config->vsock);
	return r;
}

int resources_take(const struct vm_config *config, const struct resources_order *order,
	struct resources_result *result, char *text, size_t text_size)
{
	struct opener opener = {
		.config = config,
		.order = order,
		.mode = order->mode,
		.result = result,
		.text = text,
		.text_size = text_size,
	};
	int r;

	*result = (struct resources_result){};
	text[0] = 0;
	r = open_all(&opener);
	if (r < 0 || order->mode == RESOURCES_CHECK) {
		for (size_t i = 0; i < result->n_fds; i++)
			vmm_base_close(result->fds[i]);
		result->n_fds = 0;
		while (opener.n_links > 0)
			macvtap_delete(opener.links[--opener.n_links]);
	}
	return r;
}
