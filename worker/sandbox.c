/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* sandbox: see sandbox.h. */
#include "worker/sandbox.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "policy/seccomp/io-filter.h"
#include "policy/seccomp/loop-filter.h"
#include "policy/seccomp/net-filter.h"
#include "policy/seccomp/plug-filter.h"
#include "policy/seccomp/vcpu-filter.h"
#include "policy/seccomp/vhost-filter.h"
#include "policy/seccomp/vsock-filter.h"
#include "worker/machine.h"

/* Beyond the three standard ones: hand-over, journal, notify, network namespace. */
#define MAX_KEPT_FDS (VMM_HANDOVER_MAX_FDS + 8)

#define MAX_FDS 8192

int sandbox_init(struct sandbox *sandbox)
{
	static const struct {
		const char *name;
		enum vmm_seccomp_mode mode;
	} modes[] = {
		{ "kill", VMM_SECCOMP_KILL },
		{ "errno", VMM_SECCOMP_ERRNO },
		{ "log", VMM_SECCOMP_LOG },
	};
	const char *name = getenv("VMMD_SECCOMP");

	*sandbox = (struct sandbox){ .mode = VMM_SECCOMP_KILL, .netns_fd = -EBADF };
	if (!name || !*name)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(name, modes[i].name) == 0) {
			sandbox->mode = modes[i].mode;
			return 0;
		}
	return -EINVAL;
}

/* ---- descriptors ---- */

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int close_gap(int first, int last)
{
	if (first > last)
		return 0;
	return close_range((unsigned int)first, (unsigned int)last, 0) < 0 ? -errno : 0;
}

/* Closes everything that is not this worker's, whoever left it open. */
static int close_strays(struct machine *machine)
{
	int kept[MAX_KEPT_FDS] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
	size_t n_kept = 3;
	int next = 0, r;

	if (machine->log.journal_fd >= 0)
		kept[n_kept++] = machine->log.journal_fd;
	if (machine->log.console_fd >= 0)
		kept[n_kept++] = machine->log.console_fd;
	if (machine->notify.fd >= 0)
		kept[n_kept++] = machine->notify.fd;
	if (machine->sandbox.netns_fd >= 0)
		kept[n_kept++] = machine->sandbox.netns_fd;
	for (size_t i = 0; i < machine->handover.n_fds; i++)
		if (machine->handover.fds[i] >= 0)
			kept[n_kept++] = machine->handover.fds[i];
	qsort(kept, n_kept, sizeof(kept[0]), compare_fds);
	for (size_t i = 0; i < n_kept; i++) {
		r = close_gap(next, kept[i] - 1);
		if (r < 0)
			return r;
		next = kept[i] + 1;
	}
	return close_gap(next, INT32_MAX);
}

/* ---- root ---- */

/* A directory that is sure to be there, to put the new root on. */
static int mount_empty_root(const char **ret_path)
{
	static const char *const paths[] = { "/proc", "/run", "/tmp", "/dev" };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (mount("none", paths[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			    "size=4k,nr_inodes=1,mode=0555") == 0) {
			*ret_path = paths[i];
			return 0;
		}
	return -errno;
}

/*
 * Of a process in a chroot: its root is no mount, so that nothing can be put in its place, nor be
 * kept from showing in the host's mounts. So the new root hangs nowhere. The host's mounts stay in
 * the namespace then, where no path leads to them.
 */
static int enter_detached_root(void)
{
	CLEANUP(close_p) int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	CLEANUP(close_p) int root = -EBADF;

	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	root = fsmount(context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (root < 0 || fchdir(root) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

static int enter_empty_root(void)
{
	const char *path = NULL;
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno == EINVAL ? enter_detached_root() : -errno;
	r = mount_empty_root(&path);
	if (r < 0)
		return r;
	if (chdir(path) < 0)
		return -errno;
	/* Stacks the old root on the new one, and takes it away from there. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	if (mount(NULL, "/", NULL,
		    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

/*
 * What no program can get back. While the process may change that set, which takes CAP_SETPCAP:
 * as root, and in a new user namespace again. Without, and with no_new_privs, nothing can be
 * gained from it any more. Not by libcap-ng, which asks /proc what there is. The first that fails
 * is behind the last that the kernel has, or says that none may be dropped.
 */
static void drop_bounding_set(void)
{
	for (int i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
		;
}

static int become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (setresgid(gid, gid, gid) < 0)
		return -errno;
	if (setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/*
 * No user of the host has a name in it, so that nothing of the host can be owned from there. It
 * comes with capabilities that count in it alone, and they are dropped with the rest. Hosts that
 * keep these namespaces for root, or have none left, go without.
 */
static int enter_user_namespace(void)
{
	if (unshare(CLONE_NEWUSER) == 0) {
		drop_bounding_set();
		return 0;
	}
	return errno == EPERM || errno == ENOSPC || errno == EUSERS || errno == EINVAL ||
			       errno == ENOSYS
		       ? 0
		       : -errno;
}

/* Namespaces of its own; for the network that of all workers, where vmmd gave one. */
static int enter_namespaces(struct sandbox *sandbox)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

	if (sandbox->netns_fd < 0)
		flags |= CLONE_NEWNET;
	else if (setns(sandbox->netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	return unshare(flags) < 0 ? -errno : 0;
}

static int leave_host(struct machine *machine)
{
	const struct vmm_spec *spec = machine->spec;
	int r;

	if (geteuid() != 0)
		return spec->uid == 0 || spec->uid == geteuid()
			       ? 0
			       : machine_fail_host(
					 machine, -EPERM, "sandbox: becoming uid %u", spec->uid);
	r = enter_namespaces(&machine->sandbox);
	if (r < 0)
		return machine_fail_host(machine, r, "sandbox: entering namespaces");
	r = enter_empty_root();
	if (r < 0)
		return machine_fail_host(machine, r, "sandbox: changing the root directory");
	if (spec->uid == 0)
		return 0;
	r = become(spec->uid, spec->gid);
	if (r < 0)
		return machine_fail_host(machine, r, "sandbox: becoming uid %u", spec->uid);
	r = enter_user_namespace();
	return r < 0 ? machine_fail_host(machine, r, "sandbox: making a user namespace") : 0;
}

/* ---- capabilities ---- */

/*
 * 1 or 0. libcap-ng has no question for these sets alone: it asks once for each capability and each
 * of the two sets that are no longer of interest.
 */
static int has_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (sets[i].effective | sets[i].permitted | sets[i].inheritable)
			return 1;
	return 0;
}

static int drop_capabilities(void)
{
	int r = has_capabilities();

	/* A unit leaves none, and may forbid the call that would take them. */
	if (r <= 0)
		return r;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = has_capabilities();
	return r > 0 ? -EPERM : r;
}

/* ---- the rest ---- */

static int limit_resources(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit files;

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	/* As many as the largest machine takes, for each queue has descriptors; never more. */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_max = MIN(files.rlim_max, (rlim_t)MAX_FDS);
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* struct landlock_ruleset_attr as of version 6, which older headers do not have. */
struct landlock_rules {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

/*
 * No path can be opened, made, removed or executed any more, no TCP port bound or connected to, and
 * no abstract unix socket or process outside be reached (Documentation/userspace-api/landlock.rst).
 * Kernels without Landlock, or where it is switched off, go on without.
 */
static int enter_landlock(void)
{
	/* Rights each version added: 13 in the first, then refer, truncate, ioctl on devices. */
	static const uint64_t rights[] = { 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff };
	struct landlock_rules rules;
	size_t size;
	CLEANUP(close_p) int fd = -EBADF;
	long version;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	rules = (struct landlock_rules){
		.handled_access_fs = rights[MIN((size_t)version, ARRAY_SIZE(rights)) - 1],
		.handled_access_net = version >= 4 ? 3 : 0, /* bind, connect */
		.scoped = version >= 6 ? 3 : 0,             /* abstract sockets, signals */
	};
	size = version >= 6   ? sizeof(rules)
	       : version >= 4 ? offsetof(struct landlock_rules, scoped)
			      : offsetof(struct landlock_rules, handled_access_net);
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}

int sandbox_enter(struct machine *machine)
{
	static const struct {
		const char *what;
		int (*enter)(void);
	} steps[] = {
		{ "dropping capabilities", drop_capabilities },
		{ "limiting resources", limit_resources },
		{ "Landlock", enter_landlock },
	};
	int r;

	r = close_strays(machine);
	if (r < 0)
		return machine_fail_host(machine, r, "sandbox: closing descriptors");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return machine_fail_host(machine, -errno, "sandbox: no new privileges");
	drop_bounding_set();
	r = leave_host(machine);
	if (r != 0)
		return r;
	machine->sandbox.netns_fd = vmm_base_close(machine->sandbox.netns_fd);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		r = steps[i].enter();
		if (r < 0)
			return machine_fail_host(machine, r, "sandbox: %s", steps[i].what);
	}
	return 0;
}

int sandbox_enter_thread(const struct sandbox *sandbox, enum sandbox_thread kind)
{
	static const struct {
		const struct sock_filter *filter;
		size_t n_filter;
	} filters[SANDBOX_N_THREADS] = {
		[SANDBOX_LOOP] = { seccomp_loop, ARRAY_SIZE(seccomp_loop) },
		[SANDBOX_VCPU] = { seccomp_vcpu, ARRAY_SIZE(seccomp_vcpu) },
		[SANDBOX_IO] = { seccomp_io, ARRAY_SIZE(seccomp_io) },
		[SANDBOX_NET] = { seccomp_net, ARRAY_SIZE(seccomp_net) },
		[SANDBOX_PLUG] = { seccomp_plug, ARRAY_SIZE(seccomp_plug) },
		[SANDBOX_VHOST] = { seccomp_vhost, ARRAY_SIZE(seccomp_vhost) },
		[SANDBOX_VSOCK] = { seccomp_vsock, ARRAY_SIZE(seccomp_vsock) },
	};

	return vmm_seccomp_install(
		filters[kind].filter, filters[kind].n_filter, sandbox->mode, false);
}

int sandbox_seal(struct machine *machine)
{
	int r = sandbox_enter_thread(&machine->sandbox, SANDBOX_LOOP);

	return r < 0 ? machine_fail_host(machine, r, "sandbox: filtering system calls") : 0;
}
