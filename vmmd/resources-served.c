/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * resources: connections to what another process serves: a socket that the .vm file names, or a
 * unit of ours, of which is seen first what it has got to serve.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "error.h"
#include "image.h"
#include "links.h"
#include "resources-open.h"
#include "serve.h"

#define SERVE_TRIES 3 /* of a source that is exchanged meanwhile */

int opener_connect(struct opener *opener, const char *key, struct config_where where,
	const char *path, const char *unit)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct stat st;
	int r;

	/* One that is not there yet may come with the machine. */
	if (opener->mode == RESOURCES_CHECK) {
		if (stat(path, &st) < 0)
			return 0;
		if (S_ISSOCK(st.st_mode))
			return opener_judge_links(opener, key, where, path, links_check(path, &st));
		return opener_refuse(
			opener, -VMMD_E_BAD_CONFIGURATION, key, where, "\"%s\" is no socket", path);
	}
	r = backend_connect(path,
		opener->mode == RESOURCES_TAKE_BACKEND ? RESOURCES_AGAIN_PATIENCE_MSEC
						       : RESOURCES_START_PATIENCE_MSEC,
		&fd);
	if (r == -EXDEV)
		return opener_judge_links(opener, key, where, path, r);
	if (r == -ENOTSOCK)
		return opener_refuse(
			opener, -VMMD_E_BAD_CONFIGURATION, key, where, "\"%s\" is no socket", path);
	if (r < 0 && unit)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where,
			"the unit %s.socket does not listen: %s; systemctl daemon-reload makes it",
			unit, strerror(-r));
	if (r < 0) {
		r = opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where,
			"\"%s\": %s: its back end does not listen", path, strerror(-r));
		/* It may be there when the unit is started again. */
		opener->result->exit_status = VMM_WORKER_EXIT_FAILURE;
		return r;
	}
	opener_add_fd(opener, &fd);
	return 0;
}

/* A device that a unit of ours serves. */
struct served {
	enum vmm_device_kind kind;
	const char *device;
	const char *path_key, *unit_key; /* whose mistake it is */
	const struct config_string *path;
	int open_flags;
	enum config_format format;
};

/* Where it is asked for, and what it is called. */
static int name_unit(struct opener *opener, const char *key, struct config_where where,
	enum vmm_device_kind kind, const char *device, char socket[PATH_MAX], char unit[160])
{
	const char *dir = opener->order->backend_dir;
	int r;

	if (!dir)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, key, where,
			"needs a unit of its own, and vmmd runs without systemd (--spawn=direct); "
			"Socket= of a back end that you start works here too");
	r = backend_unit_socket(dir, kind, opener->config->name, device, socket, PATH_MAX);
	if (r < 0)
		return opener_refuse(
			opener, -VMMD_E_BAD_CONFIGURATION, key, where, "%s", strerror(-r));
	snprintf(unit, 160, "vmm-%s@%s:%s", backend_unit_kind(kind), opener->config->name, device);
	return 0;
}

/* Holds what a unit is to serve, as it is now: whether it may, and that it is the same, is seen by
 * it. */
static int open_source(struct opener *opener, const struct served *served, int *ret_fd)
{
	const struct config_string *path = served->path;
	CLEANUP(close_p) int fd = open(path->value, O_PATH | O_CLOEXEC | served->open_flags);
	const char *what = NULL;
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOTDIR && (served->open_flags & O_DIRECTORY))
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->path_key,
			path->where, "\"%s\" is no directory", path->value);
	if (fd < 0 || fstat(fd, &st) < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->path_key,
			path->where, "\"%s\": %s", path->value, strerror(errno));
	if (!(served->open_flags & O_DIRECTORY) && !S_ISREG(st.st_mode))
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->path_key,
			path->where, "\"%s\" %s", path->value, opener_file_type(st.st_mode));
	r = opener_judge_links(
		opener, served->path_key, path->where, path->value, links_check(path->value, &st));
	if (r < 0)
		return r;
	if (served->format != CONFIG_FORMAT_RAW)
		r = image_check(fd, served->format, &what);
	if (r < 0)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->path_key,
			path->where, "\"%s\"%s %s", path->value, what ? "" : ":",
			what ? what : strerror(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * systemd mounts the file or directory by its path, for a process that was perhaps there before the
 * file was exchanged by its owner, as is their right: then a new one is asked for, and all is
 * looked at again.
 */
static int open_served(struct opener *opener, const struct served *served)
{
	bool again = opener->mode == RESOURCES_TAKE_BACKEND;
	char socket[PATH_MAX], unit[160];
	int r;

	for (unsigned int i = 0; i < SERVE_TRIES; i++) {
		CLEANUP(close_p) int source_fd = -EBADF, fd = -EBADF;

		r = open_source(opener, served, &source_fd);
		if (r >= 0)
			r = name_unit(opener, served->unit_key, served->path->where, served->kind,
				served->device, socket, unit);
		if (r < 0 || opener->mode == RESOURCES_CHECK)
			return r;
		r = served_connect(socket, source_fd,
			again ? RESOURCES_AGAIN_PATIENCE_MSEC : RESOURCES_START_PATIENCE_MSEC,
			again ? SERVE_AGAIN_PATIENCE_MSEC : SERVE_PATIENCE_MSEC, &fd);
		if (r >= 0) {
			opener_add_fd(opener, &fd);
			return 0;
		}
		if (r != -ESTALE)
			break;
	}
	if (r == -ESTALE)
		return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->path_key,
			served->path->where,
			"\"%s\" is not what the unit %s.service has got to serve: it was exchanged "
			"meanwhile, or the unit is made for another; systemctl daemon-reload makes it",
			served->path->value, unit);
	if (r == -ECONNRESET || r == -ETIMEDOUT || r == -EPROTO) {
		r = opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->unit_key,
			served->path->where,
			"the unit %s.service does not start: %s; journalctl -u %s.service may say why",
			unit, strerror(-r), unit);
		opener->result->exit_status = VMM_WORKER_EXIT_FAILURE;
		return r;
	}
	return opener_refuse(opener, -VMMD_E_BAD_CONFIGURATION, served->unit_key,
		served->path->where,
		"the unit %s.socket does not listen: %s; systemctl daemon-reload makes it", unit,
		strerror(-r));
}

int opener_take_image(struct opener *opener, const struct config_drive *drive)
{
	const struct served served = {
		.kind = VMM_DEVICE_DRIVE,
		.device = drive->name.value,
		.path_key = "[Drive] Path=",
		.unit_key = "[Drive] Format=",
		.path = &drive->path,
		.format = (enum config_format)drive->format.value,
	};

	return open_served(opener, &served);
}

int opener_take_share(struct opener *opener, const struct config_share *share)
{
	const struct served served = {
		.kind = VMM_DEVICE_SHARE,
		.device = share->tag.value,
		.path_key = "[Share] Path=",
		.unit_key = "[Share] Path=",
		.path = &share->path,
		.open_flags = O_DIRECTORY,
	};

	if (share->socket.value)
		return opener_connect(
			opener, "[Share] Socket=", share->socket.where, share->socket.value, NULL);
	return open_served(opener, &served);
}

int opener_take_user_network(struct opener *opener, const struct config_network *network)
{
	static const char *const key = "[Network] User=";
	char socket[PATH_MAX], unit[160];
	int r;

	r = name_unit(opener, key, network->user.where, VMM_DEVICE_NETWORK, network->name.value,
		socket, unit);
	return r < 0 ? r : opener_connect(opener, key, network->user.where, socket, unit);
}
