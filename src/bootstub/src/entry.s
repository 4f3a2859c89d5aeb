/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the ways in and out have in common, in front of each head: constants,
 * and macros for 32-bit code. BASE is a register that has the address of FIRST,
 * the first byte in memory.
 */
	.set	COM1, 0x3f8
	.set	BP_SCRATCH, 0x1e4
	.set	EARLY_STACK, 0x4000
	.set	STACK, 0x10000
	.set	VECTOR, 10		/* bytes of code for an exception */

/*
 * The address of startup_32, ESI being that of the boot_params: their scratch
 * word is the only memory that is known yet. ESP is lost.
 */
	.macro	find_base base
	leal	(BP_SCRATCH + 4)(%esi), %esp
	call	1f
1:	popl	\base
	subl	$(1b - startup_32), \base
	.endm

/* From now on selectors are those of `gdt`; SCRATCH is lost. */
	.macro	use_gdt base, first, scratch
	leal	(gdt - \first)(\base), \scratch
	movl	\scratch, (gdt_ptr + 2 - \first)(\base)
	lgdt	(gdt_ptr - \first)(\base)
	.endm

/* All segments but the code's are flat; SCRATCH is lost. */
	.macro	flat_segments scratch
	movl	$0x18, \scratch
	movl	\scratch, %ds
	movl	\scratch, %es
	movl	\scratch, %fs
	movl	\scratch, %gs
	movl	\scratch, %ss
	.endm

/* On with what the 32-bit boot protocol wants, ESI being set; in 64 bits, too. */
	.macro	enter_kernel at
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*\at
	.endm

/* A text to screen and serial port, then nothing more. By no subroutine: there may be no memory for one. */
	.macro	say_and_halt text, base, first
	leal	(\text - \first)(\base), %esi
	movl	$0xb8000, %edi
1:	lodsb
	testb	%al, %al
	jz	4f
	movb	%al, %bl
	movb	$0x07, %ah
	stosw
	movl	$0x10000, %ecx		/* no waiting for ever */
	movl	$(COM1 + 5), %edx
2:	inb	%dx, %al
	testb	$0x20, %al
	loopz	2b
	movb	%bl, %al
	movl	$COM1, %edx
	outb	%al, %dx
	jmp	1b
4:	hlt
	jmp	4b
	.endm

/* Descriptors as the 32-bit boot protocol has them, and what LGDT wants: in 64 bits, an address of eight bytes. */
	.macro	flat_gdt name
	.balign	16
\name:	.quad	0
	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x10: code, 32 bits */
	.quad	0x00cf93000000ffff	/* 0x18: data */
\name\()_ptr:
	.word	4 * 8 - 1
	.quad	0
	.endm

/* The code of each of the CPU's own exceptions: with its number and an error code on the stack to `fault`. */
	.macro	exceptions
	.balign	16
vectors:
	.set	vector, 0
	.rept	32
1:	/* double fault, TSS, segments, #GP, #PF, #AC, #CP, #VC, #SX push a code */
	.if !((0x60227d00 >> vector) & 1)
	push	$0
	.endif
	push	$vector
	jmp	fault
	.org	1b + VECTOR
	.set	vector, vector + 1
	.endr
	.endm
