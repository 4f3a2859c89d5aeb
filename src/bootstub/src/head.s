/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The ways in and out of the stub. Boot protocol: Documentation/arch/x86/boot.rst.
 *
 * In:   startup_32 (from the setup, GRUB), startup_64 (kexec, EFI loaders).
 *       Both end in Rust's prepare(), still where the loader put the image:
 *       it checks the memory before anything is copied, copies the stub and
 *       the payload behind the kernel's place, and says where that is.
 * Then: moved, in the copy, which clears its memory and calls Rust's unpack().
 * Out:  into the kernel, in 64 or 32 bits.
 */
	.set	PAGES, 20

	.section .head.text, "ax", @progbits
	.code32
	.globl	startup_32
startup_32:			/* ESI: boot_params; paging off, CS and DS flat */
	cld
	cli
	find_base %ebp
	use_gdt	%ebp, startup_32, %eax
	flat_segments %eax
	leal	(early_stack_end - startup_32)(%ebp), %esp

	/* CPUID? Where there is none, EFLAGS.ID stays 0. */
	pushl	$0x200000
	popfl
	pushfl
	popl	%eax
	pushl	$0
	popfl
	btl	$21, %eax
	jnc	no_long_mode
	/* Long mode and SSE2, which every x86-64 CPU has? */
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	no_long_mode
	movl	$0x80000001, %eax
	cpuid
	btl	$29, %edx
	jnc	no_long_mode

	/* 0 to 4 GiB mapped to itself, in pages of 2 MiB: 1 + 1 + 4 tables. */
	/* The file has zeros there. */
	leal	(pages - startup_32)(%ebp), %ebx
	leal	0x1003(%ebx), %eax
	movl	%eax, (%ebx)
	leal	0x1000(%ebx), %edi
	movl	$4, %ecx
2:	addl	$0x1000, %eax
	movl	%eax, (%edi)
	addl	$8, %edi
	decl	%ecx
	jnz	2b
	leal	0x2000(%ebx), %edi
	movl	$0x83, %eax		/* present, writable, 2 MiB */
	movl	$1024, %ecx
	xorl	%edx, %edx		/* who comes here again without a reset finds NX there */
3:	movl	%eax, (%edi)
	movl	%edx, 4(%edi)
	addl	$0x200000, %eax
	movl	%eax, 8(%edi)
	movl	%edx, 12(%edi)
	addl	$0x200000, %eax
	addl	$16, %edi
	decl	%ecx
	jnz	3b

	movl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	%ebx, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	btsl	$8, %eax
	wrmsr
	pushl	$0x10
	leal	(from_32 - startup_32)(%ebp), %eax
	pushl	%eax
	movl	$0x80000001, %eax	/* PG, PE */
	movl	%eax, %cr0
	lretl

no_long_mode:
	say_and_halt msg_no_long_mode, %ebp, startup_32

/* ---- in the room that is left: what both ways in need ------------------- */
	.code64
load_gdt:
	leaq	gdt(%rip), %rax
	movq	%rax, gdt_ptr + 2(%rip)
	lgdt	gdt_ptr(%rip)
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	popq	%rax
	pushq	$0x10
	pushq	%rax
	lretq

/* The compiler uses SSE; EM off, MP on, FXSR and its exceptions on. WP on: what is read-only is so for us, too. */
enable_sse:
	movq	%cr0, %rax
	andl	$0xfffffff3, %eax
	orl	$0x10002, %eax
	movq	%rax, %cr0
	movq	%cr4, %rax
	orl	$0x600, %eax
	movq	%rax, %cr4
	fninit
	ret

/* R_X86_64_RELATIVE is all there is; the addend decides, so twice is once. */
	.globl	relocate_self
relocate_self:
	leaq	startup_32(%rip), %rdx
	leaq	_rela(%rip), %rdi
	leaq	_rela_end(%rip), %rcx
1:	cmpq	%rcx, %rdi
	jae	2f
	movq	(%rdi), %rax
	movq	16(%rdi), %r8
	addq	%rdx, %r8
	movq	%r8, (%rdx, %rax)
	addq	$24, %rdi
	jmp	1b
2:	ret

/* A gate for each of the CPU's own exceptions, to the short stubs below. */
	.globl	set_idt
set_idt:
	leaq	idt(%rip), %rdi
	leaq	vectors(%rip), %rax
	movl	$32, %ecx
1:	movw	%ax, (%rdi)
	movw	$0x10, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	movq	%rax, %rdx
	shrq	$16, %rdx
	movw	%dx, 6(%rdi)
	shrq	$16, %rdx
	movl	%edx, 8(%rdi)
	movl	$0, 12(%rdi)
	addq	$16, %rdi
	addq	$VECTOR, %rax
	decl	%ecx
	jnz	1b
	leaq	idt(%rip), %rax
	movq	%rax, idt_ptr + 2(%rip)
	lidt	idt_ptr(%rip)
	ret

	.org	0x200
	.code64
	.globl	startup_64
startup_64:			/* RSI: boot_params; 64 bits, mapped to itself */
	cld
	cli
	leaq	early_stack_end(%rip), %rsp
	call	load_gdt
	xorl	%edx, %edx
	jmp	enter

from_32:
	movl	%esi, %esi		/* the upper halves are undefined */
	movl	%ebp, %ebp
	movl	%esp, %esp
	call	load_gdt
	leaq	pages(%rip), %rdx	/* these tables are our own */

enter:				/* RSI: boot_params, RDX: our page tables or 0 */
	movq	%rsi, %r15
	movq	%rdx, %r14
	call	enable_sse
	call	relocate_self
	call	set_idt
	movq	%r15, %rdi
	leaq	startup_32(%rip), %rsi
	movq	%r14, %rdx
	call	prepare
	/* RAX: where the copy of startup_32 is */
	leaq	moved(%rip), %rcx
	leaq	startup_32(%rip), %rdx
	subq	%rdx, %rcx
	addq	%rax, %rcx
	movq	%r15, %rdi
	jmp	*%rcx

/*
 * The firmware's way in, as a C function of its own kind. RCX: our handle,
 * RDX: the system table; RDI and RSI are its own.
 */
	.globl	efi_pe_entry
efi_pe_entry:
	pushq	%rdi
	pushq	%rcx
	pushq	%rdx
	call	relocate_self
	popq	%rdx
	popq	%rcx
	popq	%rdi
	jmp	efi_main

/*
 * Begins to run the copy. EFI comes here too, when boot services have ended.
 * RDI: boot_params; RAX, RSP: of no interest.
 */
	.globl	moved
moved:
	cld
	cli
	movq	%rdi, %r15
	/* Page tables are cleared as they are taken, the others are filled first. */
	xorl	%eax, %eax
	leaq	_cleared(%rip), %rdi
	leaq	_end(%rip), %rcx
	subq	%rdi, %rcx
	shrq	$3, %rcx
	rep stosq
	leaq	stack_end(%rip), %rsp
	call	load_gdt
	call	enable_sse
	call	relocate_self
	call	set_idt
	movq	%r15, %rdi
	leaq	startup_32(%rip), %rsi
	call	unpack
	/* RAX: the kernel's entry point, RDX: 1 for the 32-bit protocol */
	lidt	no_idt(%rip)
	movq	%r15, %rsi
	testl	%edx, %edx
	jnz	leave_64
	enter_kernel %rax

leave_64:
	leaq	gdt32(%rip), %rcx
	movq	%rcx, gdt32_ptr + 2(%rip)
	lgdt	gdt32_ptr(%rip)
	leaq	1f(%rip), %rcx
	pushq	$0x10
	pushq	%rcx
	movl	%eax, %edi
	lretq
	.code32
1:	flat_segments %eax
	movl	%cr0, %eax
	andl	$0x7ffeffff, %eax	/* PG, WP */
	movl	%eax, %cr0
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$0xfffff6ff, %eax	/* EFER.LME, NXE */
	wrmsr
	xorl	%eax, %eax
	movl	%eax, %cr4
	movl	%edi, %eax
	enter_kernel %eax

	.code64
	exceptions

	.balign	16
fault:				/* on the stack: vector, error code, RIP */
	movq	%cr2, %rax
	pushq	%rax
	leaq	startup_32(%rip), %rax
	pushq	%rax
	movq	%rsp, %rdi
	andq	$-16, %rsp
	cld
	call	exception
1:	hlt
	jmp	1b

	.section .data.head, "aw", @progbits
msg_no_long_mode:
	.asciz	"kimage: this kernel needs a 64-bit (x86-64) CPU\r\n"

	.balign	16
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x08: code, 32 bits */
	.quad	0x00af9b000000ffff	/* 0x10: code, 64 bits */
	.quad	0x00cf93000000ffff	/* 0x18: data */
gdt_ptr:
	.word	4 * 8 - 1
	.quad	0
	flat_gdt gdt32
idt_ptr:
	.word	32 * 16 - 1
	.quad	0
no_idt:
	.word	0
	.quad	0

	/* Page tables first: they are aligned to pages. */
	.section .early.pages, "aw", @nobits
	.balign	4096
	.globl	pages, pages_end
pages:
	.skip	PAGES * 4096
pages_end:
	.section .early, "aw", @nobits
	.balign	16
idt:	.skip	32 * 16
	.skip	EARLY_STACK
early_stack_end:

	.section .bss.stack, "aw", @nobits
	.balign	16
	.skip	STACK
stack_end:
