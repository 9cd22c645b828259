/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * replay: gives a fuzz target each file that is named, or that lies in a directory that is named,
 * and says how many there were. A run without any is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "fuzz.h"

#define MAX_INPUT_BYTES (16 << 20)

static unsigned int n_inputs;

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "re");
	uint8_t *data = malloc(MAX_INPUT_BYTES);
	uint8_t *exact;
	size_t size;

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	size = fread(data, 1, MAX_INPUT_BYTES, file);
	fclose(file);
	/* In an allocation of its own size, so that a sanitizer sees what reads beyond it. */
	exact = malloc(size ? size : 1);
	if (!exact)
		exit(EXIT_FAILURE);
	memcpy(exact, data, size);
	free(data);
	fprintf(stderr, "%s: %zu bytes\n", path, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	n_inputs++;
}

static void replay_directory(const char *path)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, alphasort);

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	for (int i = 0; i < n; i++) {
		char *file = NULL;

		if (names[i]->d_name[0] != '.') {
			if (asprintf(&file, "%s/%s", path, names[i]->d_name) < 0)
				exit(EXIT_FAILURE);
			replay_file(file);
			free(file);
		}
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat status;

		if (stat(argv[i], &status) < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return EXIT_FAILURE;
		}
		if (S_ISDIR(status.st_mode))
			replay_directory(argv[i]);
		else
			replay_file(argv[i]);
	}
	printf("%u passed, 0 failed, 0 skipped\n", n_inputs);
	return n_inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
