/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* manager: .vm files that clients define: written whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "error.h"
#include "log.h"
#include "machine.h"
#include "manager.h"

static const char *directory(enum define_where where)
{
	return where == DEFINE_ETC ? "/etc/vmm" : "/run/vmm";
}

/* The text as the file of that name would hold it. */
static int verify(
	const char *path, const char *name, const char *text, size_t size, char **ret_text)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	const struct config_message *error;
	int r;

	r = config_load_text(text, size, path, name, &messages, &config);
	error = config_messages_first_error(&messages);
	if (r < 0 && error) {
		config_message_format(error, ret_text);
		r = -VMMD_E_BAD_CONFIGURATION;
	}
	config_messages_finish(&messages);
	vm_config_free(config);
	return r;
}

static void unlink_temporary(int dir_fd, const char *file)
{
	int saved = errno;

	unlinkat(dir_fd, file, 0);
	errno = saved;
}

/* Beside its place, then renamed over it; on the disk before it counts. */
static int write_file(
	const char *dir, const char *name, const char *text, size_t size, bool replace)
{
	CLEANUP(close_p) int dir_fd = -EBADF, fd = -EBADF;
	char temporary[64], file[64];
	int r;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	snprintf(temporary, sizeof(temporary), ".%s.vm.new", name);
	snprintf(file, sizeof(file), "%s.vm", name);
	unlinkat(dir_fd, temporary, 0);
	fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* Whatever the mask of the daemon: as readable as other units of configuration. */
	r = fchmod(fd, 0644) < 0 ? -errno : vmm_base_write_full(fd, text, size);
	if (r >= 0 && fsync(fd) < 0)
		r = -errno;
	if (r >= 0 &&
		renameat2(dir_fd, temporary, dir_fd, file, replace ? 0 : RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0) {
		unlink_temporary(dir_fd, temporary);
		return r;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int manager_define(struct manager *manager, const char *name, enum define_where where,
	const char *text, size_t size, bool replace, char **ret_text)
{
	CLEANUP(free_p) char *dir = NULL, *path = NULL, *found = NULL;
	struct machine *machine;
	int r;

	if (!config_name_valid(name))
		return error_say(ret_text, -EINVAL,
			"\"%.64s\" is not a machine's name: a-z, 0-9 and inside also -, at most %d "
			"characters",
			name, CONFIG_MAX_NAME);
	if (asprintf(&dir, "%s%s", manager->root, directory(where)) < 0) {
		dir = NULL;
		return -ENOMEM;
	}
	if (asprintf(&path, "%s/%s.vm", dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = verify(path, name, text, size, ret_text);
	if (r < 0)
		return r;
	machine = manager_find(manager, name);
	/* One that was there anywhere may not be hidden by a transient one, nor the other way. */
	if (where == DEFINE_TRANSIENT || !replace)
		if (config_find(manager->root, name, &found) == 0 ||
			(machine && machine_is_active(machine)))
			return error_say(ret_text, -VMMD_E_MACHINE_EXISTS,
				"there is a machine \"%s\"%s%s", name,
				found ? ", defined by " : " that runs", found ? found : "");
	if (!machine && manager->n_machines >= MANAGER_MAX_MACHINES)
		return error_say(ret_text, -VMMD_E_LIMITS_EXCEEDED, "more than %d machines",
			MANAGER_MAX_MACHINES);
	r = write_file(dir, name, text, size, replace && where == DEFINE_ETC);
	if (r < 0)
		return error_say(ret_text, r == -EEXIST ? -VMMD_E_MACHINE_EXISTS : r, "%s: %s",
			path, strerror(-r));
	r = manager_ensure(manager, name, &machine);
	if (r >= 0)
		r = machine_load(machine);
	if (r >= 0)
		log_line(LOG_INFO,
			&(struct log_about){
				.name = name, .id = LOG_ID_CONFIG_CHANGED, .event = "defined" },
			"defined by %s", path);
	return r;
}

int manager_undefine(struct manager *manager, const char *name, char **ret_text)
{
	CLEANUP(free_p) char *path = NULL;
	struct machine *machine;
	int r;

	r = manager_get(manager, name, &machine, ret_text);
	if (r < 0)
		return r;
	if (machine_is_active(machine) || machine->job)
		return error_say(ret_text, -VMMD_E_MACHINE_BUSY, "%s runs; stop it first", name);
	if (asprintf(&path, "%s%s/%s.vm", manager->root, directory(DEFINE_ETC), name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (unlink(path) < 0) {
		if (errno == ENOENT && machine->config_path)
			return error_say(ret_text, -VMMD_E_NO_SUCH_MACHINE,
				"%s is defined by %s, which is not for vmmd to remove", name,
				machine->config_path);
		return error_say(ret_text, -errno, "%s: %s", path, strerror(errno));
	}
	log_line(LOG_INFO,
		&(struct log_about){
			.name = name, .id = LOG_ID_CONFIG_CHANGED, .event = "undefined" },
		"%s removed", path);
	/* A failure of the past goes with it. */
	if (machine->unit_state == UNIT_FAILED)
		machine_set_unit(machine, UNIT_INACTIVE, 0);
	return machine_load(machine);
}

void manager_remove_transient(struct manager *manager, struct machine *machine)
{
	if (!machine->transient || !machine->config_path)
		return;
	if (unlink(machine->config_path) < 0 && errno != ENOENT)
		log_warning("%s: %s", machine->config_path, strerror(errno));
	machine->was_run = true;
	machine_load(machine);
}
