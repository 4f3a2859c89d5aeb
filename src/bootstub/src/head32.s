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
	.section .head.text, "ax", @progbits
	.code32
	.globl	startup_32
startup_32:			/* ESI: boot_params; paging off, CS and DS flat */
	cld
	cli
	find_base %ebx
	use_gdt	%ebx, startup_32, %eax
	flat_segments %eax
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
	use_gdt	%ebx, startup_32, %eax
	flat_segments %eax
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
	enter_kernel %eax

	exceptions

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
	flat_gdt gdt
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
