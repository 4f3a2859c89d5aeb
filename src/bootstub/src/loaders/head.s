/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The ways in of loaders that do not know Linux, in front of a bzImage. They
 * are told apart by what they leave in EAX and EBX; fill() makes boot_params
 * of what each passes, and the bzImage goes on by the 32-bit boot protocol.
 * Who knows Linux' 64-bit protocol (VMMs that load ELF files) gets by at once.
 *
 * Multiboot 0.6.96, Multiboot2 2.0, xen/include/public/arch-x86/hvm/start_info.h
 */
	.set	ROOM, 0x20000		/* as in main.rs */
	.set	PVH, 0x336ec578
	.set	SETUP_SECTS, 0x1f1

	.section .head.text, "ax", @progbits
	.code32
	.globl	start
start:
	/* Modules at page boundaries, a memory map, and where all goes: so */
	/* that nobody asks for the class of the ELF file around it. */
	.set	MULTIBOOT, 0x1badb002
	.set	MULTIBOOT_FLAGS, 0x10003
multiboot:
	.long	MULTIBOOT
	.long	MULTIBOOT_FLAGS
	.long	-(MULTIBOOT + MULTIBOOT_FLAGS)
	/* Written by the packer: header, first byte, behind the last one of */
	/* the file, of the memory; entry. */
	.globl	multiboot_addresses
multiboot_addresses:
	.long	0, 0, 0, 0, 0

	.set	MULTIBOOT2, 0xe85250d6
	.balign	8
multiboot2:
	.long	MULTIBOOT2
	.long	0
	.long	multiboot2_end - multiboot2
	.long	-(MULTIBOOT2 + 0 + (multiboot2_end - multiboot2))
	/* A screen with pixels is welcome, whatever it is like. */
	.word	5, 1
	.long	20, 0, 0, 0
	.balign	8
	/* Modules at page boundaries. */
	.word	6, 0
	.long	8
	.word	0, 0
	.long	8
multiboot2_end:

	/* Written by the packer; places count from the first byte. */
	.balign	16
	.globl	loader_parameters
loader_parameters:
	.ascii	"kimage\0L"
	.long	0			/* the bzImage */
	.long	0			/* free memory behind all, ROOM bytes */
setup_at = loader_parameters + 8
room_at = loader_parameters + 12

	.globl	entry
entry:				/* 32 or 64 bits? */
	.byte	0x31, 0xc9		/* xorl %ecx, %ecx */
	.byte	0x41, 0xf8		/* 32: incl %ecx; 64: a prefix; clc */
	.byte	0xe3, entry_64 - 1f	/* jrcxz */
1:	jmp	2f

	.code64
entry_64:			/* RSI: boot_params */
	leaq	start(%rip), %rax
	movl	setup_at(%rip), %ecx
	addq	%rcx, %rax
	movzbl	SETUP_SECTS(%rax), %ecx
	incl	%ecx
	shll	$9, %ecx
	leaq	0x200(%rax, %rcx), %rax
	jmp	*%rax

	.code32
	.globl	entry_pvh
entry_pvh:			/* EBX: start_info */
	movl	$PVH, %eax
2:	cld
	cli
	.byte	0xbd			/* movl $start, %ebp */
	.globl	start_address
start_address:
	.long	0			/* written by the packer */

	use_gdt	%ebp, start, %ecx
	movl	(room_at - start)(%ebp), %edi
	addl	%ebp, %edi
	leal	ROOM(%edi), %esp
	flat_segments %ecx
	/* The room is above all else: without it there is no stack. */
	movl	$PVH, -4(%esp)
	cmpl	$PVH, -4(%esp)
	jne	no_memory
	leal	(1f - start)(%ebp), %ecx
	pushl	$0x10
	pushl	%ecx
	lretl
1:	pushl	$0
	popfl

	/* R_386_RELATIVE is all there is. */
	leal	(_rel - start)(%ebp), %ecx
	leal	(_rel_end - start)(%ebp), %edx
3:	cmpl	%edx, %ecx
	jae	4f
	pushl	%edx
	movl	(%ecx), %edx
	addl	%ebp, (%ebp, %edx)
	popl	%edx
	addl	$8, %ecx
	jmp	3b
4:
	movl	(setup_at - start)(%ebp), %ecx
	addl	%ebp, %ecx
	subl	$8, %esp		/* aligned to 16 at the call */
	pushl	%edi
	pushl	%ecx
	pushl	%ebp
	pushl	%esi
	pushl	%ebx
	pushl	%eax
	call	fill
	/* EAX: boot_params, EDX: where the bzImage is entered */
	movl	%eax, %esi
	movl	%edx, %eax
	enter_kernel %eax

no_memory:
	say_and_halt msg_no_memory, %ebp, start

msg_no_memory:
	.asciz	"kimage: not enough RAM for this kernel\r\n"

	flat_gdt gdt
