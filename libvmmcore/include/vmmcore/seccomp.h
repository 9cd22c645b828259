/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * seccomp: a readable policy of system calls, compiled to a BPF filter, and its installation.
 *
 * A policy is an allow-list. What no line names is denied, in the manner (mode) chosen when the
 * filter is installed. Only native x86-64 calls exist: another architecture's (int 0x80) and x32
 * calls end the process in every mode.
 *
 *     # A line is a rule: a system call, conditions, an action. Lines for the same call are
 *     # tried from the top; the first whose conditions all hold decides.
 *     read                                               # eventfds, the tap
 *     ioctl: arg1 & 0xffffffff in { KVM_RUN, KVM_IRQFD }  # the lower half is what counts
 *     mmap: arg2 & PROT_EXEC == 0 and arg3 == MAP_PRIVATE | MAP_ANONYMOUS
 *     socket -> errno EAFNOSUPPORT
 *
 *   rule      = call [ ":" condition { "and" condition } ] [ "->" action ]
 *   condition = ("arg0".."arg5") [ "&" value ] ( "==" value | "!=" value | "in" set )
 *   set       = "{" value { "," value } "}"
 *   value     = item { "|" item }          item = number (decimal, 0x..., 0...) or constant
 *   action    = "allow" | "deny" | "kill" | "log" | "errno" (constant or number)
 *
 * Arguments are 64 bits wide, as the kernel sees them; a mask limits a comparison. The constants
 * known are those of seccomp/constants.c. "#" starts a comment.
 *
 * Hostile inputs and what happens: each is refused with one message that names file, line and
 * reason, by -EINVAL:
 *
 *   text longer than VMM_SECCOMP_MAX_TEXT_BYTES, a NUL or other control byte, a byte that is not
 *   ASCII outside of a comment, unknown call, constant, action or word, number above 2^64 - 1,
 *   argument index above 5, value that its mask makes impossible, rule behind one that always
 *   decides, more rules, conditions or values than the limits below, no rule at all.
 *   A filter longer than BPF_MAXINSNS is refused when compiled, by -E2BIG.
 *
 * Threads: any; objects are not shared. vmm_seccomp_install() acts on the calling thread, or on
 * all of the process.
 */
#ifndef VMMCORE_SECCOMP_H
#define VMMCORE_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_SECCOMP_MAX_TEXT_BYTES (256 * 1024)
#define VMM_SECCOMP_MAX_RULES 512
#define VMM_SECCOMP_MAX_CONDITIONS 8 /* of a rule */
#define VMM_SECCOMP_MAX_VALUES 64    /* of a set */
#define VMM_SECCOMP_MAX_INSNS 4096   /* BPF_MAXINSNS */

struct sock_filter;  /* <linux/filter.h> */
struct seccomp_data; /* <linux/seccomp.h> */
struct vmm_seccomp_policy;

/* What happens to a call that the policy denies. */
enum vmm_seccomp_mode {
	VMM_SECCOMP_KILL = 0, /* the process dies by SIGSYS */
	VMM_SECCOMP_LOG,      /* allowed, and logged by the kernel: for diagnosis */
	VMM_SECCOMP_ERRNO,    /* fails with EPERM */
};

struct vmm_seccomp_error {
	unsigned int line; /* from 1; 0: the file as a whole */
	char message[256]; /* "FILE:LINE: reason" */
};

/*
 * Parses text (need not end in NUL). name is for messages. 0, -ENOMEM, or -EINVAL with *ret_error
 * filled. ret_error may be NULL.
 */
VMM_PUBLIC int vmm_seccomp_parse(const char *name, const char *text, size_t n_bytes,
	struct vmm_seccomp_policy **ret_policy, struct vmm_seccomp_error *ret_error);

/* Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_seccomp_policy *vmm_seccomp_policy_free(struct vmm_seccomp_policy *policy);

/* The name of a native x86-64 call, static storage; NULL for a number that is none. */
VMM_PUBLIC const char *vmm_seccomp_call_name(unsigned int nr);

/* How many different system calls it names, and how many rules. */
VMM_PUBLIC size_t vmm_seccomp_policy_n_calls(const struct vmm_seccomp_policy *policy);
VMM_PUBLIC size_t vmm_seccomp_policy_n_rules(const struct vmm_seccomp_policy *policy);

/*
 * Compiles into filter, which has room for n_filter instructions. The last instruction is the
 * denial, for mode VMM_SECCOMP_KILL. Returns the number of instructions, -E2BIG or -ENOMEM.
 */
VMM_PUBLIC int vmm_seccomp_compile(
	const struct vmm_seccomp_policy *policy, struct sock_filter *filter, size_t n_filter);

/*
 * What the filter, in this mode, answers to *call: *ret_action as SECCOMP_RET_... with its data.
 * 0, or -EINVAL for what is no valid filter.
 */
VMM_PUBLIC int vmm_seccomp_simulate(const struct sock_filter *filter, size_t n_filter,
	enum vmm_seccomp_mode mode, const struct seccomp_data *call, uint32_t *ret_action);

/*
 * Sets no_new_privs and installs a filter made by vmm_seccomp_compile() in the calling thread, or
 * in all threads of the process at once. 0, -EINVAL for what is no such filter, -ESRCH where
 * another thread cannot be included, or the errno of prctl() and seccomp(). Allocates nothing;
 * modes other than VMM_SECCOMP_KILL take 32 KiB of stack.
 */
VMM_PUBLIC int vmm_seccomp_install(const struct sock_filter *filter, size_t n_filter,
	enum vmm_seccomp_mode mode, bool all_threads);

VMM_END_DECLS

#endif
