/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What every guest on start.S and virtio.c needs: output, memory, and what compilers call. */
#include "guest.h"

static uint64_t arena_next = ARENA_GPA;

void print(const char *text)
{
	for (; *text; text++)
		outb(0x3f8, (uint8_t)*text);
}

void arena_reset(void)
{
	arena_next = ARENA_GPA;
}

void *arena(size_t size, size_t alignment)
{
	uint64_t at = (arena_next + alignment - 1) & ~(uint64_t)(alignment - 1);

	arena_next = at + size;
	return (void *)at;
}

void *memset(void *to, int byte, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
	return to;
}

/* One exit to the monitor an iteration: a port that nothing decodes. */
