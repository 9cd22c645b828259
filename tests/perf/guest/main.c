/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bench guest: command line, numbers, choice of the bench. Runs at CPL 3. */
#include "guest.h"

struct hvm_start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules_gpa, cmdline_gpa, rsdp_gpa;
};

static const struct hvm_start_info *start_info;

void guest_main(const struct hvm_start_info *info);

void print_number(const char *name, uint64_t value)
{
	char digits[21];
	size_t at = sizeof(digits);

	digits[--at] = 0;
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	print(" ");
	print(name);
	print("=");
	print(&digits[at]);
}

/* No handler: an invalid opcode becomes a triple fault, and the machine is over. */
void __attribute__((noreturn)) end_run(const char *why)
{
	print(why);
	print("\n");
	/* Halted, so that the monitor can still be looked at. */
	for (;;)
		__asm__ volatile("int3");
}

const char *command_line(void)
{
	return start_info->cmdline_gpa ? (const char *)start_info->cmdline_gpa : "";
}

/* The text behind "name=", or NULL. */
static const char *find_option(const char *name)
{
	const char *at = command_line();

	while (*at) {
		size_t i = 0;

		while (*at == ' ')
			at++;
		while (name[i] && at[i] == name[i])
			i++;
		if (!name[i] && at[i] == '=')
			return at + i + 1;
		while (*at && *at != ' ')
			at++;
	}
	return NULL;
}

uint64_t option(const char *name, uint64_t otherwise)
{
	const char *text = find_option(name);
	uint64_t value = 0;

	if (!text)
		return otherwise;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

bool option_is(const char *name, const char *value)
{
	const char *text = find_option(name);

	if (!text)
		return false;
	while (*value && *text == *value)
		text++, value++;
	return !*value && (!*text || *text == ' ');
}

static void bench_exits(void)
{
	uint64_t n = option("n", 10000);

	print("BEGIN\n");
	for (uint64_t i = 0; i < n; i++)
		outb(0x80, 0);
	print("END");
	print_number("n", n);
	end_run("");
}

void guest_main(const struct hvm_start_info *info)
{
	start_info = info;
	if (option_is("bench", "blk"))
		bench_blk();
	if (option_is("bench", "net"))
		bench_net();
	if (option_is("bench", "vsock"))
		bench_vsock();
	if (option_is("bench", "exits"))
		bench_exits();
	if (option_is("bench", "idle")) {
		print("BEGIN\n");
		__asm__ volatile("int3");
	}
	end_run("no such bench");
}
