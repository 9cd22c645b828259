/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * bus: org.vmmd1 on a bus. Without one, vmmd goes on serving workers and tries again every two
 * seconds. The interfaces are those of dbus/ *.xml; a test compares.
 *
 * The userdata of every method and property is the struct bus; what it is about is found by
 * path or name each time, since a method may run again after polkit has answered.
 */
#ifndef VMMD_BUS_H
#define VMMD_BUS_H

#include <systemd/sd-bus.h>

#include "machine.h"

#define BUS_NAME "org.vmmd1"
#define BUS_PATH "/org/vmmd1"
#define BUS_MACHINES BUS_PATH "/machine"
#define BUS_JOBS BUS_PATH "/job"
#define BUS_MANAGER_INTERFACE "org.vmmd1.Manager"
#define BUS_MACHINE_INTERFACE "org.vmmd1.Machine"
#define BUS_JOB_INTERFACE "org.vmmd1.Job"

enum {
	BUS_MAX_QUERIES = 128, /* of polkit, under way */
	BUS_MAX_QUERIES_A_SENDER = 8,
	BUS_MAX_QUERIES_A_USER = 32, /* of all connections together */
	BUS_MAX_REQUESTS = 512,      /* that wait for a worker, a unit or a file */
	BUS_MAX_OPEN_REQUESTS = 384, /* of these, by those whom nobody has let do anything */
};

struct polkit_query;
struct job;

struct bus {
	struct manager *manager;      /* borrowed, outlives us */
	char *address;                /* owned; NULL: the system bus */
	sd_bus *bus;                  /* owned; NULL: not connected */
	sd_event_source *retry;       /* owned */
	bool told;                    /* that there is no bus */
	struct polkit_query *queries; /* owned */
	unsigned n_queries;
	unsigned n_requests;
	uint64_t n_calls;                   /* of methods and properties, ever */
	const struct polkit_query *granted; /* the query whose request runs again just now */
};

/* address: as $DBUS_SYSTEM_BUS_ADDRESS, "system", "session", or NULL for "system". */
int bus_new(struct manager *manager, const char *address, struct bus **ret);
/* After the manager, whose last answers go out through it. */
struct bus *bus_free(struct bus *bus);

/* Connects and takes the name. A failure is retried later; only that the name is taken is
 * final: -EEXIST. */
int bus_connect(struct bus *bus);

/* manager-dbus.c, machine-dbus.c, job-dbus.c */
extern const sd_bus_vtable manager_vtable[];
extern const sd_bus_vtable machine_vtable[];
extern const sd_bus_vtable job_vtable[];
extern const struct manager_observer bus_observer;

int machine_object_find(sd_bus *sdbus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error);
int machine_node_enumerator(
	sd_bus *sdbus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error);
int job_object_find(sd_bus *sdbus, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error);
int job_node_enumerator(
	sd_bus *sdbus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error);

/* Paths are the caller's to free. */
int machine_path(const char *name, char **ret);
int job_path(uint32_t id, char **ret);
struct machine *machine_of_path(struct manager *manager, const char *path);
void machine_emit_changes(struct bus *bus, struct machine *machine, unsigned changes);
void machine_emit_device(struct bus *bus, struct machine *machine, enum vmm_device_kind kind,
	const char *id, bool attached);
void job_emit_added(struct bus *bus, struct job *job);
void job_emit_removed(struct bus *bus, struct job *job, const char *result);

/* Methods that the Manager has with a name and the Machine without. */
int method_start(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_stop(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_reboot(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_pause(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_resume(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_kill(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_get_stats(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_open_console(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* methods-devices.c, device-attach.c */
int method_list_devices(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_set_limits(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_resize_drive(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_attach_drive(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_detach_drive(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_attach_network(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_detach_network(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* methods-guest.c */
int method_connect_vsock(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_get_memory(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_set_memory(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_resize_console(sd_bus_message *message, void *userdata, sd_bus_error *error);

/*
 * The name that a method is about: its first argument on the Manager, the path on a Machine.
 * The text belongs to the message or to buffer.
 */
int method_machine_name(struct bus *bus, sd_bus_message *message, char buffer[VMM_NAME_SIZE],
	const char **ret_name, sd_bus_error *error);
/*
 * That name, what types says after it as sd_bus_message_read() takes it (NULL for nothing), and
 * flags of which none is known yet.
 */
int method_arguments(struct bus *bus, sd_bus_message *message, char buffer[VMM_NAME_SIZE],
	const char **ret_name, sd_bus_error *error, const char *types, ...);
/* InvalidArgs where flags has other bits than known. */
int method_check_flags(uint64_t flags, uint64_t known, sd_bus_error *error);

/* machined.c: after any change. */
void machined_follow(struct bus *bus, struct machine *machine);

/* describe.c: JSON objects; *ret is the caller's. */
int describe_manager(const struct manager *manager, char **ret);
int describe_machine(const struct machine *machine, char **ret);

/* bus-error.c. Takes over and frees text. Returns what a method handler returns. */
int bus_error_set(sd_bus_error *error, int code, char *text);

/*
 * polkit.c. 1: the caller of message may do action; go on. 0: polkit was asked, and handler
 * will run again with the same message: return 1. Negative: refused, with error set.
 */
int polkit_check(struct bus *bus, sd_bus_message *message, const char *action, const char *machine,
	const char *verb, sd_bus_message_handler_t handler, sd_bus_error *error);
void polkit_cancel_all(struct bus *bus);

#define ACTION_MANAGE_MACHINES "org.vmmd1.manage-machines"
#define ACTION_CONSOLE "org.vmmd1.console"
#define ACTION_MANAGE_CONFIG "org.vmmd1.manage-config"

#endif
