/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * seccomp: an interpreter of the classic BPF that the kernel takes for filters, as far as our
 * programs go. Jumps only lead forward, so it ends.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/util.h"
#include "seccomp/policy.h"

static int load(const struct seccomp_data *call, uint32_t offset, uint32_t *ret_value)
{
	if (!IS_ALIGNED(offset, sizeof(*ret_value)) || offset > sizeof(*call) - sizeof(*ret_value))
		return -EINVAL;
	memcpy(ret_value, (const uint8_t *)call + offset, sizeof(*ret_value));
	return 0;
}

/* The distance that insn jumps, or -EINVAL. */
static int64_t jump(const struct sock_filter *insn, uint32_t accumulator)
{
	switch (insn->code) {
	case BPF_JMP | BPF_JA:
		return insn->k;
	case BPF_JMP | BPF_JEQ | BPF_K:
		return accumulator == insn->k ? insn->jt : insn->jf;
	case BPF_JMP | BPF_JGE | BPF_K:
		return accumulator >= insn->k ? insn->jt : insn->jf;
	case BPF_JMP | BPF_JGT | BPF_K:
		return accumulator > insn->k ? insn->jt : insn->jf;
	case BPF_JMP | BPF_JSET | BPF_K:
		return accumulator & insn->k ? insn->jt : insn->jf;
	default:
		return -EINVAL;
	}
}

int vmm_seccomp_simulate(const struct sock_filter *filter, size_t n_filter,
	enum vmm_seccomp_mode mode, const struct seccomp_data *call, uint32_t *ret_action)
{
	uint32_t accumulator = 0;
	int r;

	if (n_filter > BPF_MAXINSNS)
		return -EINVAL;
	for (size_t at = 0; at < n_filter; at++) {
		const struct sock_filter *insn = &filter[at];
		int64_t distance;

		switch (insn->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			r = load(call, insn->k, &accumulator);
			if (r < 0)
				return r;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			accumulator &= insn->k;
			break;
		case BPF_RET | BPF_K:
			*ret_action = at == n_filter - 1 ? vmm_seccomp_mode_action(mode) : insn->k;
			return 0;
		default:
			distance = jump(insn, accumulator);
			if (distance < 0 || (uint64_t)distance >= n_filter - at - 1)
				return -EINVAL;
			at += (size_t)distance;
			break;
		}
	}
	return -EINVAL;
}
