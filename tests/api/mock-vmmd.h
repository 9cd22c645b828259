/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mock-vmmd: what its files share: the machines, which are in mock-vmmd.c; calls that change them,
 * in mock-methods.c; and what lies inside of them, in mock-guest.c.
 */
#ifndef VMM_TESTS_MOCK_VMMD_H
#define VMM_TESTS_MOCK_VMMD_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define MANAGER_PATH "/org/vmmd1"
#define MANAGER "org.vmmd1.Manager"
#define MACHINE "org.vmmd1.Machine"

struct machine {
	const char *name, *description, *state, *guest, *result, *text;
	int exit_status;
	unsigned leader, cpus, restarts;
	uint64_t memory, since_sec; /* seconds ago; 0: never */
	bool removed, transient;
	uint64_t timestamp;
	char path[64];
	char unit[48];
	char config_path[64];
	int slave_fd;
	uint64_t target; /* of the memory; 0: all of it */
};

extern sd_event *event;
extern unsigned last_job;

/* NULL: there is none. */
struct machine *find(const char *name);
int get_machine(const char *name, struct machine **ret, sd_bus_error *error);
/* The machine that a call that changes something is for, which the message begins with. */
int get_touchable(sd_bus_message *message, struct machine **ret, sd_bus_error *error);
/* A new one, or one of that name anew. */
struct machine *add(const char *name, bool transient);
/* Tells the bus of the properties that change. */
void changed(struct machine *machine);
void set_state(struct machine *machine, const char *state);
void end_job(unsigned id, const char *machine, const char *result);
/* After that time the machine has the state (NULL: as before), and the job (0: none) ends. */
void do_later(struct machine *machine, uint64_t msec, const char *state, const char *result,
	unsigned job);

/* mock-methods.c */
int on_start(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_stop(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_reboot(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_simple(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_set_limits(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_resize(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_attach(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_detach(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_kill(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_define(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_run(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* mock-guest.c */
int on_console(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_stats(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_memory(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_set_memory(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_devices(sd_bus_message *message, void *userdata, sd_bus_error *error);
int on_connect(sd_bus_message *message, void *userdata, sd_bus_error *error);

#endif
