/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * killed: which thread of a worker made which forbidden system call, for the machine's log. The
 * worker dies of it by SIGSYS and can say nothing any more; the kernel's audit record (type 1326,
 * AUDIT_SECCOMP) has it, in the journal or the kernel's own log. A short-lived child looks for
 * it, since reading either may take long.
 */
#ifndef VMMD_KILLED_H
#define VMMD_KILLED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct machine;

struct killed_record {
	char thread[64]; /* its name; what is not printable is '?' */
	int64_t call;    /* the number of the system call */
};

/* machine->last_leader died by SIGSYS. Says so, with what is known, within a few seconds. */
void killed_explain(struct machine *machine);

/*
 * The text of an audit record, from the journal or the kernel's log. True where it is about a
 * system call of this process that was denied with SIGSYS. Public for the unit test.
 */
bool killed_parse(const char *text, pid_t pid, struct killed_record *ret);

#endif
