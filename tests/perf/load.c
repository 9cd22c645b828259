/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * perf: loading a kernel of 50 MiB, an ELF file that is in the page cache, into fresh guest memory,
 * beside a plain pread() of as much into memory of the same kind, in rounds that take turns.
 * Prints a line a figure: name, milliseconds, median and lowest of the rounds.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vmmcore/loader.h>

#define KERNEL_BYTES (UINT64_C(50) << 20)
#define RAM_BYTES (UINT64_C(128) << 20)
#define N_ROUNDS 21

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "load: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static double now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Four segments, as a kernel has, and no note. */
static int make_kernel(void)
{
	static const unsigned int n = 4;
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr programs[4];
	} file = { .header = {
			   .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			   .e_type = ET_EXEC,
			   .e_machine = EM_X86_64,
			   .e_entry = 0x1000000,
			   .e_phoff = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = n,
		   } };
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	char *block = malloc(1 << 20);

	must(fd >= 0 && block, "file");
	for (unsigned int i = 0; i < n; i++)
		file.programs[i] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_offset = 0x1000 + i * (KERNEL_BYTES / n),
			.p_paddr = 0x1000000 + i * (KERNEL_BYTES / n),
			.p_filesz = KERNEL_BYTES / n,
			.p_memsz = KERNEL_BYTES / n,
		};
	must(pwrite(fd, &file, sizeof(file), 0) == sizeof(file), "header");
	memset(block, 0x5a, 1 << 20);
	for (uint64_t at = 0; at < KERNEL_BYTES; at += 1 << 20)
		must(pwrite(fd, block, 1 << 20, (off_t)(0x1000 + at)) == 1 << 20, "data");
	free(block);
	return fd;
}

static struct vmm_mem *make_memory(void)
{
	struct vmm_mem *mem;

	must(vmm_mem_new(&mem) == 0 && vmm_loader_add_ram(mem, RAM_BYTES, NULL) == 0, "memory");
	return mem;
}

static double load(int fd)
{
	struct vmm_loader_config config = { .kernel_fd = fd };
	struct vmm_loader_result result;
	struct vmm_mem *mem = make_memory();
	double start = now_msec();

	must(vmm_loader_load(mem, &config, &result, NULL) == 0, "load");
	start = now_msec() - start;
	vmm_mem_free(mem);
	return start;
}

static double read_plainly(int fd)
{
	struct vmm_mem *mem = make_memory();
	struct vmm_mem_region region;
	uint64_t at = 0;
	double start;

	must(vmm_mem_get_region(mem, 0, &region) == 0, "region");
	start = now_msec();
	while (at < KERNEL_BYTES) {
		ssize_t n = pread(fd, (char *)region.host + 0x1000000 + at, KERNEL_BYTES - at,
			(off_t)(0x1000 + at));

		must(n > 0, "pread");
		at += (uint64_t)n;
	}
	start = now_msec() - start;
	vmm_mem_free(mem);
	return start;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *name, double *samples)
{
	qsort(samples, N_ROUNDS, sizeof(samples[0]), by_value);
	printf("%s %.3f %.3f\n", name, samples[N_ROUNDS / 2], samples[0]);
}

int main(void)
{
	static double loads[N_ROUNDS], reads[N_ROUNDS];
	int fd = make_kernel();

	for (int i = 0; i < N_ROUNDS; i++) {
		loads[i] = load(fd);
		reads[i] = read_plainly(fd);
	}
	report("load-elf-50MiB", loads);
	report("load-plain-read", reads);
	close(fd);
	return EXIT_SUCCESS;
}
