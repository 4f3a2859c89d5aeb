/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The ways in and out of the stub for CPUs of 32 bits, from the 486 on: what
 * head.s does, without page tables. Here, paging is off from first to last.
 *
 * In:   startup_32 (from the setup, GRUB, kexec): prepare(), as in head.s.
 * Then: moved, in the copy, which clears its memory and calls Rust's unpack().
 * Out:  into the kernel, by the 32-bit boot protocol.
 *
 * EBX is the address of startup_32 throughout; C functions leave it alone.
 */
	.set	BP_SCRATCH, 0x1e4
	.set	EARLY_STACK, 0x4000
	.set	STACK, 0x10000
	.set	VECTOR, 10		/* bytes of code for an exception */

	.section .head.text, "ax", @progbits
	.code32
	.globl	startup_32
startup_32:			/* ESI: boot_params; paging off, CS and DS flat */
	cld
	cli
	/* The only memory that is known yet is the boot_params' scratch word. */
	leal	(BP_SCRATCH + 4)(%esi), %esp
	call	1f
1:	popl	%ebx
	subl	$(1b - startup_32), %ebx
	leal	(gdt - startup_32)(%ebx), %eax
	movl	%eax, (gdt_ptr + 2 - startup_32)(%ebx)
	lgdt	(gdt_ptr - startup_32)(%ebx)
	movl	$0x18, %eax
	movl	%eax, %ss
	leal	(early_stack_end - startup_32)(%ebx), %esp
	call	begin
	pushl	$0			/* there are no page tables */
	pushl	%ebx
	pushl	%esi
	call	prepare
	/* EAX: where the copy of startup_32 is */
	leal	(moved - startup_32)(%eax), %ecx
	jmp	*%ecx

/* Segments of our own, addresses, exceptions; the stack is ours. */
begin:
	popl	%ebp
	pushl	$0
	popfl
	leal	(gdt - startup_32)(%ebx), %eax
	movl	%eax, (gdt_ptr + 2 - startup_32)(%ebx)
	lgdt	(gdt_ptr - startup_32)(%ebx)
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	call	relocate_self
	/* A gate for each of the CPU's own exceptions, to the short stubs below. */
	leal	(idt - startup_32)(%ebx), %edi
	leal	(vectors - startup_32)(%ebx), %eax
	movl	$32, %ecx
1:	movw	%ax, (%edi)
	movw	$0x10, 2(%edi)
	movw	$0x8e00, 4(%edi)
	movl	%eax, %edx
	shrl	$16, %edx
	movw	%dx, 6(%edi)
	addl	$8, %edi
	addl	$VECTOR, %eax
	decl	%ecx
	jnz	1b
	leal	(idt - startup_32)(%ebx), %eax
	movl	%eax, (idt_ptr + 2 - startup_32)(%ebx)
	lidt	(idt_ptr - startup_32)(%ebx)
	pushl	$0x10
	pushl	%ebp
	lretl

/*
 * Begins to run the copy. EFI comes here too, when boot services have ended.
 * ESI: boot_params, EAX: where the copy of startup_32 is.
 */
	.globl	moved
moved:
	cld
	cli
	movl	%eax, %ebx
	xorl	%eax, %eax
	leal	(_edata - startup_32)(%ebx), %edi
	leal	(_end - startup_32)(%ebx), %ecx
	subl	%edi, %ecx
	shrl	$2, %ecx
	rep stosl
	leal	(stack_end - startup_32)(%ebx), %esp
	call	begin
	pushl	%ebx
	pushl	%esi
	call	unpack
	/* EAX: the kernel's entry point */
	lidt	(no_idt - startup_32)(%ebx)
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%eax

	.balign	16
vectors:
	.set	vector, 0
	.rept	32
1:	/* double fault, TSS, segments, #GP, #PF, #AC, #CP, #VC, #SX push a code */
	.if !((0x60227d00 >> vector) & 1)
	pushl	$0
	.endif
	pushl	$vector
	jmp	fault
	.org	1b + VECTOR
	.set	vector, vector + 1
	.endr

	.balign	16
fault:				/* on the stack: vector, error code, EIP */
	movl	%cr2, %eax
	pushl	%eax
	call	1f
1:	popl	%eax
	subl	$(1b - startup_32), %eax
	pushl	%eax
	movl	%esp, %eax
	pushl	%eax
	cld
	call	exception
1:	hlt
	jmp	1b

	.section .data.head, "aw", @progbits
	/* As the 32-bit boot protocol has them. */
	.balign	16
gdt:	.quad	0
	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x10: code, 32 bits */
	.quad	0x00cf93000000ffff	/* 0x18: data */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	0
idt_ptr:
	.word	32 * 8 - 1
	.long	0
no_idt:
	.word	0
	.long	0

	.section .early, "aw", @nobits
	.balign	16
idt:	.skip	32 * 8
	.skip	EARLY_STACK
early_stack_end:

	.section .bss.stack, "aw", @nobits
	.balign	16
	.skip	STACK
stack_end:
