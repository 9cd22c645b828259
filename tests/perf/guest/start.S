/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The way of the bench guest from its PVH entry (32-bit, paging off, ebx = start_info) to C code
 * in long mode at CPL 3, where hosts that emulate CPL 0 run it natively too. The fewer
 * instructions before that, the better: the tables are laid out by the assembler.
 *
 * At CPL 3 all ports are open (I/O bitmap of the TSS) and the lower 4 GiB are mapped one to one, with
 * 2 MiB pages since some hosts that emulate CPL 0 know no larger ones; map_gib() adds to that.
 * int3 halts at CPL 0 until an interrupt that never comes; any other exception is a triple
 * fault, which ends the run.
 */
	.section .note, "a", @note
	.align 4
	.long 4			/* size of the name */
	.long 4			/* size of the descriptor */
	.long 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start32

	.set CODE0, 0x08
	.set DATA0, 0x10
	.set DATA3, 0x18 | 3
	.set CODE3, 0x20 | 3
	.set TSS, 0x28
	.set IO_BITMAP_BYTES, 8192

	.text
	.code32
	.global start32
start32:
	movl $tss, %eax
	movw %ax, gdt_tss + 2
	shrl $16, %eax
	movb %al, gdt_tss + 4
	movb %ah, gdt_tss + 7
	movl $halt, %eax
	movw %ax, idt_breakpoint
	shrl $16, %eax
	movw %ax, idt_breakpoint + 6
	lgdt gdt_pointer
	lidt idt_pointer

	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x620, %eax	/* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $0xc0000080, %ecx	/* EFER */
	rdmsr
	orl $0x100, %eax	/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000003, %eax	/* PG, MP, PE */
	movl %eax, %cr0
	ljmp $CODE0, $start64

	.code64
start64:
	movl $stack0_end, %esp
	movl $TSS, %eax
	ltr %ax
	movl $DATA3, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %ebx, %edi		/* guest_main(start_info) */
	pushq $DATA3
	pushq $stack_end - 8
	pushq $2		/* RFLAGS */
	pushq $CODE3
	pushq $guest_main
	iretq

halt:
	hlt
	jmp halt

	.data
	.align 16
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* CODE0: 64-bit */
	.quad 0x00cf93000000ffff	/* DATA0 */
	.quad 0x00cff3000000ffff	/* DATA3 */
	.quad 0x00affb000000ffff	/* CODE3: 64-bit */
gdt_tss:
	.quad 0x0000890000000000 | (tss_end - tss - 1)
	.quad 0
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.align 16
idt:
	.zero 3 * 16
idt_breakpoint:
	.word 0			/* offset, low */
	.word CODE0
	.word 0xee00		/* interrupt gate, DPL 3 */
	.word 0			/* offset, middle */
	.quad 0
idt_end:
idt_pointer:
	.word idt_end - idt - 1
	.long idt

	.align 16
tss:
	.long 0
	.quad stack0_end	/* RSP0 */
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
	.global pdpt
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
	.align 16
	.zero 4096
stack0_end:
	.zero 65536
stack_end:
