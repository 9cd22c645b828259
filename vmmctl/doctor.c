/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * doctor: what of this host stands in the way of machines, or between them: said with what to do
 * about it. Reads files below --root, and asks systemd which of our units have failed; never vmmd.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "ctl.h"

enum level {
	LEVEL_OK,
	LEVEL_NOTE,    /* good to know */
	LEVEL_WARNING, /* machines run, and not as well or as far apart as they could */
	LEVEL_ERROR,   /* machines do not run, or others have a say in them */
};

static const char *const level_names[] = { "ok", "note", "warning", "error" };

struct doctor {
	const char *root;
	struct value findings; /* array of objects */
	enum level worst;
};

__attribute__((format(printf, 5, 6))) static void find(struct doctor *doctor, const char *check,
	enum level level, const char *advice, const char *format, ...)
{
	struct value finding = value_object();
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	value_set(&finding, "check", value_string(check));
	value_set(&finding, "level", value_string(level_names[level]));
	value_set(&finding, "text", value_string(text));
	value_set(&finding, "advice", value_string(advice));
	value_append(&doctor->findings, finding);
	doctor->worst = MAX(doctor->worst, level);
}

/* ---- files ---- */

static char *below_root(const struct doctor *doctor, const char *path)
{
	return must_printf("%s%s", doctor->root, path);
}

/* The file's beginning without the line's end; false where it cannot be read. */
static bool read_setting(const struct doctor *doctor, const char *path, char *text, size_t size)
{
	CLEANUP(free_p) char *full = below_root(doctor, path);
	CLEANUP(close_p) int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	return true;
}

static bool is_there(const struct doctor *doctor, const char *path)
{
	CLEANUP(free_p) char *full = below_root(doctor, path);

	return access(full, F_OK) == 0;
}

/* ---- checks ---- */

static void check_kvm(struct doctor *doctor)
{
	CLEANUP(free_p) char *path = below_root(doctor, "/dev/kvm");
	CLEANUP(close_p) int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int error = fd < 0 ? errno : 0, version;

	if (error == ENOENT || error == ENXIO || error == ENODEV) {
		find(doctor, "kvm", LEVEL_ERROR,
			"Load kvm_intel or kvm_amd. If that is refused, switch virtualization on in "
			"the firmware, or nested virtualization on the host around this one.",
			"/dev/kvm is missing: %s", strerror(error));
	} else if (error == EACCES && geteuid() != 0) {
		find(doctor, "kvm", LEVEL_NOTE, "Ask again as root. Only vmmd opens it.",
			"/dev/kvm is there; whether it works is for root to see");
	} else if (fd < 0) {
		find(doctor, "kvm", LEVEL_ERROR,
			"In a container it takes a rule for the device: c 10:232 rw.",
			"/dev/kvm is refused: %s", strerror(error));
	} else if ((version = ioctl(fd, KVM_GET_API_VERSION, 0)) != KVM_API_VERSION) {
		find(doctor, "kvm", LEVEL_ERROR, "Remove what has taken its place.",
			"/dev/kvm is not KVM: %s",
			version < 0 ? strerror(errno) : "another version of its interface");
	} else {
		find(doctor, "kvm", LEVEL_OK, "", "/dev/kvm works");
	}
}

static void check_smt(struct doctor *doctor)
{
	char text[64];

	if (!read_setting(doctor, "/sys/devices/system/cpu/smt/active", text, sizeof(text)))
		return;
	if (strcmp(text, "0") == 0)
		find(doctor, "smt", LEVEL_OK, "", "no CPU shares its core with another");
	else
		find(doctor, "smt", LEVEL_WARNING,
			"Where guests do not trust each other: nosmt on the host's command line, or "
			"AllowedCPUs= in [Service] with whole cores for each machine.",
			"SMT is on: guests on two threads of a core can spy on each other");
}

static void check_vulnerability(struct doctor *doctor, const char *name, unsigned int *n_ok)
{
	CLEANUP(free_p)
	char *path = must_printf("/sys/devices/system/cpu/vulnerabilities/%s", name);
	char text[512];

	if (!read_setting(doctor, path, text, sizeof(text)))
		return;
	if (strncmp(text, "Vulnerable", 10) == 0 || strstr(text, "KVM: Vulnerable"))
		find(doctor, "mitigations", LEVEL_WARNING,
			"Update kernel and microcode, and take mitigations=off from the host's "
			"command line if it is there.",
			"%s: %s", name, text);
	else if (strstr(text, "SMT vulnerable"))
		find(doctor, "mitigations", LEVEL_WARNING, "As for SMT.", "%s: %s", name, text);
	else
		++*n_ok;
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void check_mitigations(struct doctor *doctor)
{
	CLEANUP(free_p) char *path = below_root(doctor, "/sys/devices/system/cpu/vulnerabilities");
	struct dirent **entries;
	unsigned int n_ok = 0;
	int n = scandir(path, &entries, is_visible, compare_entries);

	if (n < 0) {
		find(doctor, "mitigations", LEVEL_NOTE, "",
			"the kernel does not say what its CPUs are vulnerable to");
		return;
	}
	for (int i = 0; i < n; i++) {
		check_vulnerability(doctor, entries[i]->d_name, &n_ok);
		free(entries[i]);
	}
	free(entries);
	if (n_ok == (unsigned int)n)
		find(doctor, "mitigations", LEVEL_OK, "",
			"%u known vulnerabilities of CPUs are absent or mitigated", n_ok);
}

static void check_ksm(struct doctor *doctor)
{
	char text[64];

	if (read_setting(doctor, "/sys/kernel/mm/ksm/run", text, sizeof(text)) &&
		strcmp(text, "1") == 0)
		find(doctor, "ksm", LEVEL_WARNING, "echo 2 >/sys/kernel/mm/ksm/run",
			"equal pages of different machines may be merged, which guests can measure");
}

/* The options of the second version's mount point; false: there is none. */
static bool cgroup_options(const struct doctor *doctor, char *options, size_t size)
{
	static char mounts[256 << 10];
	char *line, *rest = mounts;

	if (!read_setting(doctor, "/proc/self/mounts", mounts, sizeof(mounts)))
		return false;
	while ((line = strsep(&rest, "\n"))) {
		char type[32], text[512];

		if (sscanf(line, "%*s %*s %31s %511s", type, text) == 2 &&
			strcmp(type, "cgroup2") == 0) {
			snprintf(options, size, "%s", text);
			return true;
		}
	}
	return false;
}

/*
 * With this mitigation KVM makes a kernel thread for each VM, and moves it into the cgroup of its
 * maker: a wait for all CPUs, unless the cgroups' mount has "favordynmods".
 */
static void check_start_time(struct doctor *doctor)
{
	char nx[64], multihit[128], options[512];
	bool is_affected;

	if (!read_setting(doctor, "/sys/module/kvm/parameters/nx_huge_pages", nx, sizeof(nx)) ||
		nx[0] != 'Y')
		return;
	if (!cgroup_options(doctor, options, sizeof(options)) || strstr(options, "favordynmods"))
		return;
	is_affected = !read_setting(doctor, "/sys/devices/system/cpu/vulnerabilities/itlb_multihit",
			      multihit, sizeof(multihit)) ||
		      strncmp(multihit, "Not affected", 12) != 0;
	find(doctor, "start-time", LEVEL_NOTE,
		is_affected
			? "mount -o remount,favordynmods /sys/fs/cgroup"
			: "mount -o remount,favordynmods /sys/fs/cgroup; or kvm.nx_huge_pages=never "
			  "on the host's command line, as this CPU does not need it.",
		"each start of a machine may wait some ten milliseconds for the host's cgroups");
}

static void check_huge_pages(struct doctor *doctor)
{
	char text[256], meminfo[8192];
	unsigned long total = 0;
	const char *line;

	if (read_setting(
		    doctor, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)) &&
		strstr(text, "[never]"))
		find(doctor, "huge-pages", LEVEL_NOTE,
			"echo madvise >/sys/kernel/mm/transparent_hugepage/enabled",
			"transparent huge pages are off: guests that use much memory are slower");
	if (!read_setting(doctor, "/proc/meminfo", meminfo, sizeof(meminfo)))
		return;
	line = strstr(meminfo, "HugePages_Total:");
	if (line && sscanf(line, "HugePages_Total: %lu", &total) == 1 && total > 0)
		find(doctor, "huge-pages", LEVEL_OK, "", "%lu huge pages are reserved", total);
	else
		find(doctor, "huge-pages", LEVEL_NOTE,
			"Only for machines with HugePages= in [Machine]: sysctl vm.nr_hugepages=N",
			"no huge pages are reserved");
}

static void check_systemd(struct doctor *doctor)
{
	if (is_there(doctor, "/run/systemd/system"))
		find(doctor, "systemd", LEVEL_OK, "", "systemd runs");
	else
		find(doctor, "systemd", LEVEL_WARNING,
			"vmmd --spawn=direct starts machines itself. Limits, restarts and starts at "
			"boot take systemd.",
			"systemd does not run here: there are no units");
}

static void check_kernel(struct doctor *doctor)
{
	char text[512];

	if (read_setting(doctor, "/sys/kernel/security/lsm", text, sizeof(text)) &&
		!strstr(text, "landlock"))
		find(doctor, "landlock", LEVEL_NOTE, "Add landlock to lsm= on the command line.",
			"Landlock is off: workers go without that layer");
	if (read_setting(doctor, "/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) &&
		strcmp(text, "0") != 0)
		find(doctor, "io-uring", LEVEL_NOTE, "sysctl kernel.io_uring_disabled=0",
			"io_uring is off: drives are served by threads, which is slower");
	if (read_setting(doctor, "/proc/sys/user/max_user_namespaces", text, sizeof(text)) &&
		strcmp(text, "0") == 0)
		find(doctor, "user-namespaces", LEVEL_WARNING,
			"sysctl user.max_user_namespaces=15000",
			"there are no user namespaces, which units of machines ask for");
}

/* Who may write what decides about machines may do as root does. */
static void check_path(struct doctor *doctor, const char *path, mode_t forbidden, bool is_needed)
{
	CLEANUP(free_p) char *full = below_root(doctor, path);
	struct stat st;

	if (lstat(full, &st) < 0) {
		if (errno != ENOENT)
			find(doctor, "permissions", LEVEL_NOTE, "Ask again as root.", "%s: %s",
				path, strerror(errno));
		else if (is_needed)
			find(doctor, "permissions", LEVEL_WARNING,
				"systemd-tmpfiles --create vmmd.conf", "%s is missing", path);
		return;
	}
	if (S_ISLNK(st.st_mode))
		find(doctor, "permissions", LEVEL_WARNING,
			"Put in its place what it points to, or see that root alone owns that.",
			"%s is a symbolic link", path);
	else if (st.st_uid != 0)
		find(doctor, "permissions", LEVEL_ERROR, "chown root it.", "%s belongs to uid %u",
			path, st.st_uid);
	else if (st.st_mode & forbidden)
		find(doctor, "permissions", LEVEL_ERROR,
			forbidden == 077 ? "chmod go= it." : "chmod go-w it.",
			"%s has the mode %04o: others have a say in machines", path,
			st.st_mode & 07777);
}

static void check_permissions(struct doctor *doctor)
{
	static const char *const directories[] = { "/etc/vmm", "/run/vmm", "/usr/lib/vmm" };
	size_t n_before = doctor->findings.n_items;

	check_path(doctor, "/etc/vmm", 022, true);
	check_path(doctor, "/run/vmm", 022, false);
	check_path(doctor, "/usr/lib/vmm", 022, false);
	check_path(doctor, "/run/vmmd", 022, true);
	check_path(doctor, "/run/vmmd/root", 022, false);
	check_path(doctor, "/run/vmmd/machine", 077, false);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		CLEANUP(free_p) char *full = below_root(doctor, directories[i]);
		struct dirent **entries;
		int n = scandir(full, &entries, is_visible, compare_entries);

		for (int j = 0; j < n; j++) {
			CLEANUP(free_p)
			char *path = must_printf("%s/%s", directories[i], entries[j]->d_name);

			check_path(doctor, path, 022, false);
			free(entries[j]);
		}
		if (n >= 0)
			free(entries);
	}
	if (doctor->findings.n_items == n_before)
		find(doctor, "permissions", LEVEL_OK, "",
			"only root has a say in what machines are");
}

/* ---- units ---- */

static void find_failed(struct doctor *doctor, const char *unit)
{
	static const char machine[] = "vmm@";
	const char *suffix = strrchr(unit, '.');
	CLEANUP(free_p) char *advice = NULL;

	if (strncmp(unit, machine, strlen(machine)) == 0 && suffix) {
		const char *name = unit + strlen(machine);
		int n = (int)(suffix - name);

		advice = must_printf("vmmctl status %.*s and vmmctl logs %.*s say why; then vmmctl "
				     "start %.*s, or systemctl reset-failed %s to leave it.",
			n, name, n, name, n, name, unit);
		find(doctor, "units", LEVEL_WARNING, advice, "the machine %.*s has failed", n,
			name);
		return;
	}
	advice =
		must_printf("systemctl status %s says why; then systemctl restart %s.", unit, unit);
	/* Without these two no machine starts. */
	find(doctor, "units", strncmp(unit, "vmmd.", 5) == 0 ? LEVEL_ERROR : LEVEL_WARNING, advice,
		"%s has failed", unit);
}

static void check_units(struct doctor *doctor)
{
	sd_bus_message *reply = NULL;
	struct value units = {};
	sd_bus *bus = NULL;
	int r;

	/* The bus is this host's, whatever --root is. */
	if (doctor->root[0])
		return;
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
			"org.freedesktop.systemd1.Manager", "ListUnitsByPatterns", NULL, &reply,
			"asas", 1, "failed", 3, "vmm@*", "vmm-*", "vmmd.*");
	if (r >= 0)
		r = value_read(reply, &units);
	for (size_t i = 0; r >= 0 && i < units.n_items; i++) {
		const struct value *unit = &units.items[i];

		if (unit->n_items > 0 && unit->items[0].type == VALUE_STRING)
			find_failed(doctor, unit->items[0].string);
	}
	/* Where it does not run, check_systemd() has said so. */
	if (r < 0 && is_there(doctor, "/run/systemd/system"))
		find(doctor, "units", LEVEL_NOTE, "systemctl --failed lists what has failed.",
			"systemd cannot be asked about units: %s", strerror(-r));
	else if (r >= 0 && units.n_items == 0)
		find(doctor, "units", LEVEL_OK, "", "no machine and nothing of vmmd has failed");
	value_finish(&units);
	sd_bus_message_unref(reply);
	sd_bus_flush_close_unref(bus);
}

/* ---- the verb ---- */

static void print_findings(const struct ctl *ctl, const struct value *findings)
{
	static const char *const colors[] = { COLOR_GREEN, COLOR_GREY, COLOR_YELLOW, COLOR_RED };

	for (size_t i = 0; i < findings->n_items; i++) {
		const struct value *finding = &findings->items[i];
		const char *level = value_get_string(finding, "level");
		const char *advice = value_get_string(finding, "advice");
		size_t number = 0;

		while (number + 1 < ARRAY_SIZE(level_names) &&
			strcmp(level_names[number], level) != 0)
			number++;
		if (ctl->quiet && number < LEVEL_WARNING)
			continue;
		printf("%s%-8s%s %s: ", ctl->colors ? colors[number] : "", level,
			ctl->colors ? COLOR_OFF : "", value_get_string(finding, "check"));
		print_escaped(stdout, value_get_string(finding, "text"));
		putchar('\n');
		if (advice[0])
			printf("         %s\n", advice);
	}
}

int verb_doctor(struct ctl *ctl, char **arguments)
{
	static void (*const checks[])(struct doctor * doctor) = {
		check_kvm,
		check_systemd,
		check_units,
		check_permissions,
		check_smt,
		check_mitigations,
		check_ksm,
		check_kernel,
		check_start_time,
		check_huge_pages,
	};
	struct doctor doctor = { .root = ctl->root ? ctl->root : "", .findings = value_array() };

	if (ctl->host) {
		ctl_error("doctor looks at this host only: use ssh");
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&doctor);
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &doctor.findings);
	else
		print_findings(ctl, &doctor.findings);
	value_finish(&doctor.findings);
	return doctor.worst == LEVEL_ERROR ? 1 : 0;
}
