/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pread FILE: one thread reads a file from begin to end, several times, 128 KiB at a time into as
 * much memory as the bench guest has buffers for: what block I/O that copies in one thread can
 * reach. Prints MiB a second and the seconds of processor time a GiB.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"

#define READ_BYTES (128 << 10)
#define N_BUFFERS 32
#define TOTAL_BYTES (UINT64_C(2) << 30)

static char buffers[N_BUFFERS][READ_BYTES];

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	uint64_t start_nsec, done = 0, offset = 0;
	struct timespec begin, end;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < READ_BYTES) {
		fprintf(stderr, "usage: pread FILE, of 128 KiB or more\n");
		return EXIT_FAILURE;
	}
	memset(buffers, 1, sizeof(buffers));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	start_nsec = vmm_base_now_nsec();
	while (done < TOTAL_BYTES) {
		if (offset + READ_BYTES > (uint64_t)st.st_size)
			offset = 0;
		if (pread(fd, buffers[done / READ_BYTES % N_BUFFERS], READ_BYTES, (off_t)offset) !=
			READ_BYTES) {
			perror(argv[1]);
			return EXIT_FAILURE;
		}
		offset += READ_BYTES;
		done += READ_BYTES;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	printf("%.1f %.4f\n",
		(double)(done >> 20) * 1e9 / (double)(vmm_base_now_nsec() - start_nsec),
		((double)(end.tv_sec - begin.tv_sec) +
			(double)(end.tv_nsec - begin.tv_nsec) / 1e9) /
			(double)(done >> 30));
	return EXIT_SUCCESS;
}
