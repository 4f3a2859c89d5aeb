/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What every program for 32-bit firmware begins with. EBX is the address of startup_32. */
	.section .head.text, "ax", @progbits
	.code32
/*
 * R_386_RELATIVE is all there is. The words have what was added to them
 * before, in the copy, too: relocated_to is the address that they are for.
 */
relocate_self:
	leal	(_rela - startup_32)(%ebx), %edi
	leal	(_rela_end - startup_32)(%ebx), %ecx
	movl	%ebx, %edx
	xchgl	%edx, (relocated_to - startup_32)(%ebx)
	negl	%edx
	addl	%ebx, %edx
1:	cmpl	%ecx, %edi
	jae	2f
	movl	(%edi), %eax
	addl	%edx, (%ebx, %eax)
	addl	$8, %edi
	jmp	1b
2:	ret

/* The firmware's way in, a C function: our handle and the system table. */
	.globl	efi_pe_entry
efi_pe_entry:
	pushl	%ebx
	pushl	%edi
	call	1f
1:	popl	%ebx
	subl	$(1b - startup_32), %ebx
	call	relocate_self
	popl	%edi
	popl	%ebx
	jmp	efi_main

	.section .data.head, "aw", @progbits
	.balign	4
relocated_to:
	.long	0
