/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-systemd: what systemd's properties say of a unit. */
#ifndef VMMD_SPAWN_SYSTEMD_H
#define VMMD_SPAWN_SYSTEMD_H

#include <systemd/sd-bus.h>

#include "machine.h"

struct unit_facts {
	char active_state[24];
	char sub_state[32];
	char result[24];
	char user[40];
	char status_text[VMM_TEXT_SIZE];
	uint32_t main_pid;
	uint32_t job_id; /* of systemd; 0: none */
	uint32_t n_restarts;
	uint32_t uid;
	bool uid_known;
	int32_t exec_code; /* CLD_EXITED, CLD_KILLED, ... */
	int32_t exec_status;
};

/* "vmm@NAME.service": true and the name. */
bool unit_name_machine(const char *unit, char name[VMM_NAME_SIZE]);

/* Reads a{sv}, as GetAll and PropertiesChanged have it, over what is there. */
int unit_facts_read(struct unit_facts *facts, sd_bus_message *message);

enum unit_state unit_facts_state(const struct unit_facts *facts);
const char *unit_facts_result(const struct unit_facts *facts);
int unit_facts_exit_status(const struct unit_facts *facts);

#endif
