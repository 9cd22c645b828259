/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm-seccomp-compile POLICY HEADER NAME: compiles a policy to a C header that defines
 * NAME[], an array of struct sock_filter, for vmm_seccomp_install(). A program of the build.
 */
#include <linux/filter.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "seccomp/policy.h"

static void close_file_p(FILE **file)
{
	if (*file)
		fclose(*file);
}

static void policy_p(struct vmm_seccomp_policy **policy)
{
	vmm_seccomp_policy_free(*policy);
}

static int read_text(const char *path, char *text, size_t room, size_t *ret_length)
{
	CLEANUP(close_file_p) FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	*ret_length = fread(text, 1, room, file);
	return ferror(file) ? -EIO : 0;
}

static int write_header(
	const char *path, const char *name, const struct sock_filter *filter, size_t n_filter)
{
	FILE *file = fopen(path, "we");
	int r = 0;

	if (!file)
		return -errno;
	fprintf(file, "/* Made by vmm-seccomp-compile. */\n#include <linux/filter.h>\n\n");
	fprintf(file, "static const struct sock_filter %s[] = {\n", name);
	for (size_t i = 0; i < n_filter; i++)
		fprintf(file, "\t{ 0x%02x, %u, %u, 0x%08x },\n", filter[i].code, filter[i].jt,
			filter[i].jf, filter[i].k);
	fprintf(file, "};\n");
	if (ferror(file))
		r = -EIO;
	if (fclose(file) != 0)
		r = -errno;
	return r;
}

int main(int argc, char *argv[])
{
	static struct sock_filter filter[BPF_MAXINSNS];
	static char text[VMM_SECCOMP_MAX_TEXT_BYTES + 1];
	CLEANUP(policy_p) struct vmm_seccomp_policy *policy = NULL;
	struct vmm_seccomp_error error = { 0 };
	const char *base;
	size_t length = 0;
	int r, n;

	if (argc != 4) {
		fprintf(stderr, "usage: %s POLICY HEADER NAME\n", argv[0]);
		return EXIT_FAILURE;
	}
	r = read_text(argv[1], text, sizeof(text), &length);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return EXIT_FAILURE;
	}
	base = strrchr(argv[1], '/');
	r = vmm_seccomp_parse(base ? base + 1 : argv[1], text, length, &policy, &error);
	if (r < 0) {
		fprintf(stderr, "%s\n", r == -EINVAL ? error.message : strerror(-r));
		return EXIT_FAILURE;
	}
	n = vmm_seccomp_compile(policy, filter, ARRAY_SIZE(filter));
	if (n < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-n));
		return EXIT_FAILURE;
	}
	r = write_header(argv[2], argv[3], filter, (size_t)n);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[2], strerror(-r));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
