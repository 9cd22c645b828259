/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hash: FNV-1a of 64 bits, for addresses and names that are made of others and must stay what they
 * are from one version to the next. No secret and no defence: who chooses the text can choose the
 * hash.
 *
 * Threads: no state.
 */
#ifndef VMMD_HASH_H
#define VMMD_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The hash of nothing, with which each begins. */
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

/* hash with one value more: a byte, or what no byte is, where two texts must not run together. */
static inline uint64_t hash_step(uint64_t hash, unsigned value)
{
	return (hash ^ value) * UINT64_C(0x100000001b3);
}

static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < n; i++)
		hash = hash_step(hash, at[i]);
	return hash;
}

/* Without the NUL at its end. */
static inline uint64_t hash_text(uint64_t hash, const char *text)
{
	for (const char *c = text; *c; c++)
		hash = hash_step(hash, (unsigned char)*c);
	return hash;
}

#endif
