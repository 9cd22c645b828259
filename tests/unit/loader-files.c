/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "loader-files.h"

struct vmm_mem *mem;
struct vmm_loader_result result;
struct vmm_loader_error error;

void setup(void)
{
	struct vmm_mem_config config = {
		.size_bytes = MEMORY_BYTES,
		.backing = VMM_MEM_ANONYMOUS,
	};

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

void teardown(void)
{
	mem = vmm_mem_free(mem);
}

int file_of(const void *data, size_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, data, size_bytes), 0);
	return fd;
}

struct elf_file good_elf(void)
{
	struct elf_file file = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = ELF_CODE_GPA,
			.e_phoff = offsetof(struct elf_file, programs),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3,
		},
		.programs = {
			{
				.p_type = PT_LOAD,
				.p_offset = offsetof(struct elf_file, code),
				.p_paddr = ELF_CODE_GPA,
				.p_filesz = sizeof(file.code),
				.p_memsz = 0x2000,
			},
			{
				.p_type = PT_LOAD,
				.p_paddr = ELF_BSS_GPA,
				.p_memsz = 0x10000,
			},
			{
				.p_type = PT_NOTE,
				.p_offset = ELF_NOTES_OFFSET,
				.p_filesz = sizeof(file.notes),
				.p_align = 4,
			},
		},
		.notes = {
			.other = { .n_namesz = 6, .n_descsz = 4, .n_type = 257 },
			.other_name = "Linux",
			.pvh = { .n_namesz = 4, .n_descsz = 8, .n_type = 18 },
			.pvh_name = "Xen",
			.pvh_entry = ELF_PVH_ENTRY,
		},
	};

	for (size_t i = 0; i < sizeof(file.code); i++)
		file.code[i] = (uint8_t)(i * 7 + 1);
	return file;
}

struct setup_header *bz_header(struct bz_file *file)
{
	return (struct setup_header *)(file->bytes + 0x1f1);
}

struct bz_file good_bz(void)
{
	struct bz_file file = { .bytes = { 'M', 'Z' } };
	struct setup_header header = {
		.setup_sects = BZ_SETUP_SECTS,
		.syssize = BZ_KERNEL_BYTES / 16,
		.boot_flag = 0xaa55,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 255,
		.payload_offset = 0x2d0,
		.payload_length = 0x2000,
		.pref_address = BZ_PREF_GPA,
		.init_size = BZ_INIT_BYTES,
		.setup_data = 0x1234, /* the file has no say in it */
	};

	memcpy(file.bytes + 0x1f1, &header, 0x268 - 0x1f1);
	for (size_t i = BZ_KERNEL_OFFSET; i < sizeof(file.bytes); i++)
		file.bytes[i] = (uint8_t)(i * 5 + 3);
	return file;
}

int load(const void *file, size_t size_bytes, struct vmm_loader_config *config)
{
	struct vmm_loader_config own = { .cmdline = "console=ttyS0" };
	int r;

	if (!config)
		config = &own;
	memset(&result, 0, sizeof(result));
	memset(&error, 0, sizeof(error));
	config->kernel_fd = file_of(file, size_bytes);
	r = vmm_loader_load(mem, config, &result, &error);
	close(config->kernel_fd);
	if (r < 0)
		ck_assert_msg(error.text[0] != '\0', "no text for error %d", r);
	else
		ck_assert_msg(error.text[0] == '\0', "text without an error: %s", error.text);
	return r;
}

void check_memory(uint64_t gpa, const void *expected, size_t size_bytes)
{
	void *found = malloc(size_bytes);

	ck_assert_int_eq(vmm_mem_read(mem, gpa, found, size_bytes), 0);
	ck_assert_msg(memcmp(found, expected, size_bytes) == 0, "memory differs at 0x%llx",
		(unsigned long long)gpa);
	free(found);
}
