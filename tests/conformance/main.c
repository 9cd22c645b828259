/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * conformance: runs the cases and prints the table of clauses.
 *
 * usage: conformance [--device NAME]... [--match TEXT] [--failed] [--wait MSEC] [--seconds N]
 *        conformance --list
 *
 * A line a case: pass, fail or na (not applicable to any target), clause, text, on how many
 * targets it ran. --failed prints only the clause and text of what failed, for mutate. Ends with
 * "N passed, N failed, 0 skipped".
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"
#include "targets.h"

#define EXIT_NOT_APPLICABLE 77

static const struct conf_group *const groups[] = {
	&device_group,
	&queue_group,
	&split_group,
	&packed_group,
	&notify_group,
	&mmio_group,
	&pci_group,
	&pci_common_group,
	&blk_group,
	&rng_group,
	&net_group,
	&net_frames_group,
	&vsock_group,
	&vsock_data_group,
	&console_group,
	&balloon_group,
	&mem_group,
	&pmem_group,
};

static bool only_failed;
static unsigned int case_seconds = 60; /* after which a case has failed */

_Noreturn void conf_fail(struct conf *c, const char *file, int line, const char *what)
{
	const char *name = strrchr(file, '/');

	if (!only_failed)
		printf("     %s, %s, %s: %s:%d: not true: %s\n", c->target->name,
			c->d.pci ? "pci" : "mmio", c->packed ? "packed" : "split",
			name ? name + 1 : file, line, what);
	fflush(stdout);
	_exit(EXIT_FAILURE);
}

_Noreturn void conf_not_applicable(struct conf *c, const char *reason)
{
	c->reason = reason;
	longjmp(c->not_applicable, 1);
}

static bool probe(struct conf *c, bool pci)
{
	return pci ? vdriver_probe_pci(&c->d, c->m, MACHINE_PCI_SLOT)
		   : vdriver_probe_mmio(&c->d, c->m);
}

/* Returns whether the case was applicable. */
static bool run_once(
	const struct conf_case *what, const struct target *target, bool pci, bool packed)
{
	static struct conf conf;

	conf = (struct conf){ .target = target, .packed = packed };
	conf.m = target->open(pci);
	if (!probe(&conf, pci))
		conf_fail(&conf, __FILE__, __LINE__, "there is a device");
	if (setjmp(conf.not_applicable) != 0)
		return false;
	what->run(&conf);
	return true;
}

/* In a process of its own. */
static _Noreturn void run_all_ways(const struct conf_case *what, const struct target *target)
{
	bool any = false;

	alarm(case_seconds);
	for (int pci = 0; pci < 2; pci++)
		for (int packed = 0; packed < 2; packed++)
			if ((what->scope & (pci ? ON_PCI : ON_MMIO)) &&
				(what->scope & (packed ? PACKED : SPLIT)))
				any |= run_once(what, target, pci, packed);
	fflush(stdout);
	_exit(any ? EXIT_SUCCESS : EXIT_NOT_APPLICABLE);
}

/* 0, EXIT_NOT_APPLICABLE, or failed. */
static int run_case(const struct conf_case *what, const struct target *target)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(EXIT_FAILURE);
	}
	if (pid == 0)
		run_all_ways(what, target);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && !only_failed)
		printf("     %s: ended by signal %d\n", target->name, WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static bool is_chosen(const struct target *target, char *const *names, int n_names)
{
	for (int i = 0; i < n_names; i++)
		if (strcmp(names[i], target->name) == 0)
			return true;
	return n_names == 0;
}

struct count {
	unsigned int passed, failed, not_applicable;
};

static void run_on_targets(
	const struct conf_case *what, char *const *names, int n_names, struct count *count)
{
	unsigned int n_passed = 0, n_failed = 0;

	for (size_t t = 0; t < n_targets; t++) {
		int r;

		if ((what->type && what->type != targets[t]->type) ||
			!is_chosen(targets[t], names, n_names))
			continue;
		r = run_case(what, targets[t]);
		if (r == EXIT_SUCCESS)
			n_passed++;
		else if (r != EXIT_NOT_APPLICABLE)
			n_failed++;
	}
	if (n_failed > 0)
		count->failed++;
	else if (n_passed > 0)
		count->passed++;
	else
		count->not_applicable++;
	if (!only_failed)
		printf("%s %-12s %s (%u)\n",
			n_failed > 0   ? "fail"
			: n_passed > 0 ? "pass"
				       : "na  ",
			what->clause, what->text, n_failed > 0 ? n_failed : n_passed);
	else if (n_failed > 0)
		printf("%s %s\n", what->clause, what->text);
}

static int list(void)
{
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (size_t i = 0; i < groups[g]->n_cases; i++)
			printf("%s %s\n", groups[g]->cases[i].clause, groups[g]->cases[i].text);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "match", required_argument, NULL, 'm' },
		{ "wait", required_argument, NULL, 'w' },
		{ "failed", no_argument, NULL, 'f' },
		{ "list", no_argument, NULL, 'l' },
		{ "seconds", required_argument, NULL, 's' },
		{ 0 },
	};
	char *names[16];
	int n_names = 0, option;
	const char *match = "";
	struct count count = { 0 };

	vdriver_wait_nsec = UINT64_C(2000000000);
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'd' && n_names < 16)
			names[n_names++] = optarg;
		else if (option == 'm')
			match = optarg;
		else if (option == 'w')
			vdriver_wait_nsec = strtoull(optarg, NULL, 10) * 1000000;
		else if (option == 's')
			case_seconds = (unsigned int)strtoul(optarg, NULL, 10);
		else if (option == 'f')
			only_failed = true;
		else if (option == 'l')
			return list();
		else
			return 2;
	}
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (size_t i = 0; i < groups[g]->n_cases; i++) {
			const struct conf_case *what = &groups[g]->cases[i];

			if (strstr(what->clause, match) || strstr(what->text, match))
				run_on_targets(what, names, n_names, &count);
		}
	if (!only_failed)
		/* What no device has to do is nothing that was left out. */
		printf("%u not applicable\n%u passed, %u failed, 0 skipped\n", count.not_applicable,
			count.passed, count.failed);
	return count.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
