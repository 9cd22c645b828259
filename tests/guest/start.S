/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * start: the way of a test guest from its PVH entry (32-bit, paging off, ebx = start_info) to
 * guest_begin() in long mode, and what C cannot say: interrupt entries, the start of further
 * CPUs, the way to CPL 3.
 *
 * The lower 4 GiB are mapped one to one with 2 MiB pages, open to CPL 3, as are all ports.
 */
	.set CODE0, 0x10
	.set DATA0, 0x18
	.set DATA3, 0x20 | 3
	.set CODE3, 0x28 | 3
	.set TSS, 0x30
	.set IO_BITMAP_BYTES, 8192
	.set N_VECTORS, 64
	.set LAPIC_EOI, 0xfee000b0
	.set STACK_BYTES, 16384

	.section .note, "a", @note
	.align 4
	.long 4			/* size of the name */
	.long 4			/* size of the descriptor */
	.long 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start32

	.text
	.code32
	.global start32
start32:
	movl %ebx, start_info
	movl $stacks + STACK_BYTES, %esp
	movl $tss, %eax
	movw %ax, gdt_tss + 2
	shrl $16, %eax
	movb %al, gdt_tss + 4
	movb %ah, gdt_tss + 7
	lgdt gdt_pointer
	call enter_long_mode
	ljmp $CODE0, $1f
	.code64
1:	movl $TSS, %eax
	ltr %ax
	movl start_info, %edi
	call guest_begin
	ud2

	/* Paging and EFER, from 32-bit code; a far jump follows. Changes eax, ecx, edx. */
	.code32
enter_long_mode:
	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax		/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx	/* EFER */
	rdmsr
	orl $0x100, %eax	/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax	/* PG, PE */
	movl %eax, %cr0
	ret

	/*
	 * Where SIPI sends a further CPU: copied to a page below 1 MiB, in real mode, cs:ip is
	 * that page. Its number counts up in ap_count, which chooses its stack.
	 */
	.global ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl ap_gdt_pointer - ap_trampoline
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x08, $ap_start32
	.align 8
ap_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
ap_trampoline_end:

	.code32
ap_start32:
	movl $DATA0, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $1, %eax
	lock xaddl %eax, ap_count
	incl %eax
	movl %eax, %ebx
	/* Stack 0 is the first CPU's. */
	imull $STACK_BYTES, %eax, %eax
	addl $stacks + STACK_BYTES, %eax
	movl %eax, %esp
	call enter_long_mode
	ljmp $CODE0, $1f
	.code64
1:	movl %ebx, %edi
	call guest_ap_begin
	ud2

	/* void enter_user(void (*function)(void)): there, for good; interrupts stay possible. */
	.global enter_user
enter_user:
	movl $DATA3, %eax
	movl %eax, %ds
	movl %eax, %es
	pushq $DATA3
	pushq $user_stack_end - 8
	pushq $0x202		/* RFLAGS: IF */
	pushq $CODE3
	pushq %rdi
	iretq

	/* Vectors 0 to 31 end the guest with 0x40 + vector, the others count and end the interrupt. */
	.macro exception_entry vector
	.align 16
	movb $0x40 + \vector, %al
	outb %al, $0xf4
	jmp stop_here
	.endm
	.macro interrupt_entry vector
	.align 64
	pushq %rax
	movl $LAPIC_EOI, %eax
	lock incl interrupt_counts + 4 * \vector
	movl $0, (%rax)
	popq %rax
	iretq
	.endm

	.align 16
	.global exception_entries
exception_entries:
	.set vector, 0
	.rept 32
	exception_entry vector
	.set vector, vector + 1
	.endr

	.align 64
	.global interrupt_entries, interrupt_entries_end
interrupt_entries:
	.set vector, 32
	.rept N_VECTORS - 32
	interrupt_entry vector
	.set vector, vector + 1
	.endr
	.align 64
interrupt_entries_end:

	.global stop_here
stop_here:
	cli
	hlt
	jmp stop_here

	.data
	.align 16
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08: 32-bit code, for further CPUs */
	.quad 0x00af9b000000ffff	/* CODE0: 64-bit */
	.quad 0x00cf93000000ffff	/* DATA0 */
	.quad 0x00cff3000000ffff	/* DATA3 */
	.quad 0x00affb000000ffff	/* CODE3: 64-bit */
gdt_tss:
	.quad 0x0000890000000000 | (tss_end - tss - 1)
	.quad 0
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.align 16
tss:
	.long 0
	.quad interrupt_stack_end	/* RSP0 */
	.zero 90
	.word io_bitmap - tss
io_bitmap:
	.zero IO_BITMAP_BYTES
	.byte 0xff
tss_end:

	.align 4096
pml4:
	.quad pdpt + 0x7	/* present, writable, user */
	.zero 511 * 8
pdpt:
	.quad pd + 0x7, pd + 0x1007, pd + 0x2007, pd + 0x3007
	.zero 508 * 8
pd:
	.set page, 0
	.rept 2048
	.quad (page << 21) | 0x87	/* the same, as 2 MiB page */
	.set page, page + 1
	.endr

	.bss
	.global interrupt_counts, ap_count
	.align 16
interrupt_counts:
	.zero 4 * N_VECTORS
ap_count:
	.long 0
start_info:
	.long 0
	.align 16
	.zero 4096
interrupt_stack_end:
	.zero 16384
user_stack_end:
	/* One a CPU. */
stacks:
	.zero 64 * STACK_BYTES

	.section .note.GNU-stack, "", @progbits
