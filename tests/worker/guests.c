/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guests: see guests.h. The code is assembled by hand; the comments say what it is. */
#include "guests.h"

#include <check.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmmcore/acpi.h>
#include <vmmcore/platform.h>
#include <vmmcore/serial.h>

#define LOAD_GPA 0x100000

static void append(struct guest *guest, const void *code, size_t size)
{
	ck_assert_uint_le(guest->size + size, sizeof(guest->code));
	memcpy(guest->code + guest->size, code, size);
	guest->size += size;
}

#define CODE(guest, ...)                                                                           \
	append(guest, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void set_dx(struct guest *guest, uint16_t port)
{
	CODE(guest, 0x66, 0xba, port & 0xff, port >> 8); /* mov dx, port */
}

void guest_outb(struct guest *guest, uint16_t port, uint8_t value)
{
	set_dx(guest, port);
	CODE(guest, 0xb0, value); /* mov al, value */
	CODE(guest, 0xee);        /* out dx, al */
}

void guest_print(struct guest *guest, const char *text)
{
	for (; *text; text++)
		guest_outb(guest, VMM_SERIAL_COM1_PORT, (uint8_t)*text);
}

void guest_spin(struct guest *guest)
{
	CODE(guest, 0xeb, 0xfe); /* jmp $ */
}

void guest_triple_fault(struct guest *guest)
{
	/* An empty IDT: call over its six zero bytes leaves their address on the stack. */
	CODE(guest, 0xbc, 0, 0x80, 0x10, 0);             /* mov esp, 0x108000 */
	CODE(guest, 0xe8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* call +6; limit 0, base 0 */
	CODE(guest, 0x58);                               /* pop eax */
	CODE(guest, 0x0f, 0x01, 0x18);                   /* lidt [eax] */
	CODE(guest, 0x0f, 0x0b);                         /* ud2 */
	guest_spin(guest);
}

void guest_dump(struct guest *guest, uint32_t gpa, uint32_t n)
{
	CODE(guest, 0xbe, gpa & 0xff, gpa >> 8 & 0xff, gpa >> 16 & 0xff, gpa >> 24); /* mov esi */
	CODE(guest, 0xb9, n & 0xff, n >> 8 & 0xff, n >> 16 & 0xff, n >> 24);         /* mov ecx */
	set_dx(guest, VMM_SERIAL_COM1_PORT);
	CODE(guest, 0xfc, 0xf3, 0x6e); /* cld; rep outsb */
}

void guest_poweroff(struct guest *guest)
{
	guest_outb(guest, VMM_GED_PORT, 5 << 2 | 0x20);
	guest_spin(guest);
}

void guest_reset(struct guest *guest)
{
	guest_outb(guest, VMM_GED_PORT + 2, VMM_GED_RESET_VALUE);
	guest_spin(guest);
}

void guest_panic(struct guest *guest)
{
	guest_outb(guest, VMM_PVPANIC_PORT, VMM_PVPANIC_PANICKED);
	guest_spin(guest);
}

void guest_echo(struct guest *guest)
{
	CODE(guest, 0x66, 0xba, 0xfd, 0x03); /* 0: mov dx, 0x3fd (LSR) */
	CODE(guest, 0xec);                   /* 4: in al, dx */
	CODE(guest, 0xa8, 0x01);             /* 5: test al, 1 (data ready) */
	CODE(guest, 0x74, 0xf7);             /* 7: jz 0 */
	CODE(guest, 0x66, 0xba, 0xf8, 0x03); /* 9: mov dx, 0x3f8 */
	CODE(guest, 0xec);                   /* 13: in al, dx */
	CODE(guest, 0x84, 0xc0);             /* 14: test al, al */
	CODE(guest, 0x74, 0x03);             /* 16: jz 21 */
	CODE(guest, 0xee);                   /* 18: out dx, al */
	CODE(guest, 0xeb, 0xeb);             /* 19: jmp 0 */
}

void guest_wait_button(struct guest *guest, unsigned int n)
{
	for (; n > 0; n--) {
		guest_print(guest, ".");
		set_dx(guest, VMM_GED_PORT + 4);         /* events pending */
		CODE(guest, 0xed);                       /* in eax, dx */
		CODE(guest, 0xa8, VMM_GED_POWER_BUTTON); /* test al, 1 */
		CODE(guest, 0x74, 0xfb);                 /* jz to the in */
	}
}

void guest_wait_ctrl_alt_del(struct guest *guest)
{
	guest_outb(guest, VMM_I8042_COMMAND_PORT, 0x60); /* write the configuration byte: */
	guest_outb(guest, VMM_I8042_DATA_PORT, 0x41);    /* interrupt and translation on */
	guest_outb(guest, VMM_I8042_COMMAND_PORT, 0xae); /* enable the keyboard */
	guest_outb(guest, VMM_I8042_DATA_PORT, 0xf4);    /* keyboard: start scanning */
	guest_print(guest, "k");
	/* Set 1 make codes: 0x1d, 0x38, (0xe0) 0x53 */
	CODE(guest, 0xe4, 0x64); /* 0: in al, 0x64 */
	CODE(guest, 0xa8, 0x01); /* 2: test al, 1 */
	CODE(guest, 0x74, 0xfa); /* 4: jz 0 */
	CODE(guest, 0xe4, 0x60); /* 6: in al, 0x60 */
	CODE(guest, 0x3c, 0x53); /* 8: cmp al, 0x53 (del) */
	CODE(guest, 0x75, 0xf4); /* 10: jne 0 */
}

void guest_hotplug(struct guest *guest)
{
	set_dx(guest, VMM_GED_PORT + 0x08); /* 0: slots that were plugged */
	CODE(guest, 0xed);                  /* 4: in eax, dx */
	CODE(guest, 0x85, 0xc0);            /* 5: test eax, eax */
	CODE(guest, 0x74, 0x07);            /* 7: jz 16 */
	guest_outb(guest, VMM_SERIAL_COM1_PORT, '+');
	set_dx(guest, VMM_GED_PORT + 0x0c); /* 16: slots to be given up */
	CODE(guest, 0xed);                  /* 20: in eax, dx */
	CODE(guest, 0x85, 0xc0);            /* 21: test eax, eax */
	CODE(guest, 0x74, 0xe7);            /* 23: jz 0 */
	set_dx(guest, VMM_GED_PORT + 0x10); /* 25: eject */
	CODE(guest, 0xef);                  /* 29: out dx, eax */
	guest_outb(guest, VMM_SERIAL_COM1_PORT, '-');
	CODE(guest, 0xeb, 0xd9); /* 37: jmp 0 */
}

void guest_eject_all(struct guest *guest)
{
	set_dx(guest, VMM_GED_PORT + 0x10);
	CODE(guest, 0xb8, 0xff, 0xff, 0xff, 0xff); /* mov eax, ~0 */
	CODE(guest, 0xef);                         /* out dx, eax */
}

void guest_flood(struct guest *guest, char c, uint32_t n)
{
	set_dx(guest, VMM_SERIAL_COM1_PORT);
	CODE(guest, 0xb0, (uint8_t)c);                                       /* mov al, c */
	CODE(guest, 0xb9, n & 0xff, n >> 8 & 0xff, n >> 16 & 0xff, n >> 24); /* mov ecx, n */
	CODE(guest, 0xee);                                                   /* out dx, al */
	CODE(guest, 0xe2, 0xfd);                                             /* loop to the out */
}

void guest_print_for_ever(struct guest *guest, char c)
{
	set_dx(guest, VMM_SERIAL_COM1_PORT);
	CODE(guest, 0xb0, (uint8_t)c); /* mov al, c */
	CODE(guest, 0xee);             /* out dx, al */
	CODE(guest, 0xeb, 0xfd);       /* jmp to the out */
}

int guest_open(const struct guest *guest)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[2];
		Elf64_Nhdr note;
		char name[4];
		uint32_t entry;
		uint8_t code[sizeof(guest->code)];
	} file = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = LOAD_GPA,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
		.note = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = LOAD_GPA,
	};
	size_t note_offset = (size_t)((char *)&file.note - (char *)&file);
	size_t code_offset = (size_t)((char *)file.code - (char *)&file);
	int fd = memfd_create("guest", MFD_CLOEXEC);

	memcpy(file.code, guest->code, guest->size);
	file.segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = code_offset,
		.p_paddr = LOAD_GPA,
		.p_filesz = guest->size,
		.p_memsz = guest->size,
	};
	file.segments[1] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = note_offset,
		.p_filesz = code_offset - note_offset,
		.p_memsz = code_offset - note_offset,
		.p_align = 4,
	};
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, &file, sizeof(file)), sizeof(file));
	return fd;
}
