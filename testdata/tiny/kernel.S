/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A tiny x86-64 kernel, as a developer of one would have it: an ELF file that
 * is entered by the 64-bit boot protocol (RSI: boot_params, memory mapped to
 * itself). It says on the serial port and on the screen what it was given,
 * and switches the machine off.
 *
 * Linked for physical addresses from 2 MiB on; the virtual ones are higher.
 *
 * With -DTPM it also says what a TPM's register 11 holds (SHA-256), as
 * `kimage measure` writes it. The TPM's interface is that of the TCG PC
 * Client Platform TPM Profile, 6.5.2: FIFO registers of locality 0.
 */
#define COM1		0x3f8
#ifdef TPM
#define TPM_ACCESS	0xfed40000	/* one byte */
#define TPM_STS		0xfed40018	/* four */
#define TPM_FIFO	0xfed40024	/* one at a time */
#define ACTIVE		0x20		/* of TPM_ACCESS */
#define REQUEST_USE	0x02
#define COMMAND_READY	0x40		/* of TPM_STS */
#define TPM_GO		0x20
#define DATA_AVAIL	0x10
/* Header, counter, selection of one bank, count of values, length of the one */
#define ANSWER_HEAD	(10 + 4 + 10 + 4 + 2)
#endif

/* boot_params */
#define ORIG_X		0x00
#define ORIG_Y		0x01
#define VIDEO_MODE	0x06
#define VIDEO_COLS	0x07
#define VIDEO_LINES	0x0e
#define EXT_RAMDISK	0xc0
#define EXT_RAMDISK_SIZE 0xc4
#define EXT_CMDLINE	0xc8
#define E820_COUNT	0x1e8
#define BOOT_FLAG	0x1fe
#define RAMDISK		0x218
#define RAMDISK_SIZE	0x21c
#define CMDLINE		0x228
#define E820_TABLE	0x2d0

	.section .text, "ax", @progbits
	.code64
	.globl	_start
_start:
	cld
	cli
	leaq	stack_end(%rip), %rsp
	movq	%rsi, %rbp		/* RBP: boot_params */
	call	screen_init

	leaq	msg_hello(%rip), %rsi
	call	puts
	leaq	_start(%rip), %rax
	call	put_hex
	call	newline

	/* Data that is not zero, data that is, and the last byte of both. */
	leaq	msg_data(%rip), %rsi
	call	puts
	leaq	msg_good(%rip), %rsi
	cmpq	$0x12345678, data_first(%rip)
	jne	1f
	leaq	bss_first(%rip), %rdi
	leaq	bss_end(%rip), %rcx
	subq	%rdi, %rcx
	xorl	%eax, %eax
	repe scasb
	je	2f
1:	leaq	msg_bad(%rip), %rsi
2:	call	puts

	leaq	msg_params(%rip), %rsi
	call	puts
	leaq	msg_good(%rip), %rsi
	cmpw	$0xaa55, BOOT_FLAG(%rbp)
	je	1f
	leaq	msg_bad(%rip), %rsi
1:	call	puts

	leaq	msg_cmdline(%rip), %rsi
	call	puts
	movl	CMDLINE(%rbp), %esi
	movl	EXT_CMDLINE(%rbp), %eax
	shlq	$32, %rax
	orq	%rax, %rsi
	jz	1f
	call	puts
1:	call	newline

	/* Usable memory where we are? */
	leaq	msg_map(%rip), %rsi
	call	puts
	movzbl	E820_COUNT(%rbp), %ecx
	leaq	E820_TABLE(%rbp), %rdi
	leaq	_start(%rip), %rdx
1:	leaq	msg_bad(%rip), %rsi
	subl	$1, %ecx
	js	3f
	cmpl	$1, 16(%rdi)
	jne	2f
	movq	(%rdi), %rax
	cmpq	%rax, %rdx
	jb	2f
	addq	8(%rdi), %rax
	leaq	msg_good(%rip), %rsi
	cmpq	%rax, %rdx
	jb	3f
2:	addq	$20, %rdi
	jmp	1b
3:	call	puts

	movl	RAMDISK(%rbp), %ebx
	movl	EXT_RAMDISK(%rbp), %eax
	shlq	$32, %rax
	orq	%rax, %rbx
	movl	RAMDISK_SIZE(%rbp), %ecx
	movl	EXT_RAMDISK_SIZE(%rbp), %eax
	shlq	$32, %rax
	orq	%rax, %rcx
	jz	2f
	leaq	msg_ramdisk(%rip), %rsi
	call	puts
	movq	%rbx, %rax
	call	put_hex
	leaq	msg_size(%rip), %rsi
	call	puts
	movq	%rcx, %rax
	call	put_dec
	leaq	msg_sum(%rip), %rsi
	call	puts
	xorl	%eax, %eax
	xorl	%edx, %edx
1:	movb	(%rbx), %dl
	addq	%rdx, %rax
	incq	%rbx
	decq	%rcx
	jnz	1b
	call	put_dec
	call	newline
2:
#ifdef TPM
	call	tpm
#endif
	leaq	msg_done(%rip), %rsi
	call	puts

/* QEMU's ACPI power button; where there is none, a fault without handlers. */
	movl	$0x604, %edx
	movl	$0x2000, %eax
	outw	%ax, %dx
	movl	$0x100000, %ecx
1:	pause
	loop	1b
	lidt	no_idt(%rip)
	ud2

#ifdef TPM
tpm:
	movl	$TPM_ACCESS, %edi
	cmpb	$0xff, (%rdi)
	je	tpm_none
	movb	$REQUEST_USE, (%rdi)
	movb	$ACTIVE, %al
	call	tpm_wait
	movl	$TPM_STS, %edi
	movl	$COMMAND_READY, (%rdi)
	movb	$COMMAND_READY, %al
	call	tpm_wait
	leaq	pcr_read(%rip), %rsi
	movl	$(pcr_read_end - pcr_read), %ecx
	movl	$TPM_FIFO, %ebx
1:	lodsb
	movb	%al, (%rbx)
	loop	1b
	movl	$TPM_GO, (%rdi)
	movb	$DATA_AVAIL, %al
	call	tpm_wait
	movl	$ANSWER_HEAD, %ecx
1:	movb	(%rbx), %al
	loop	1b
	cmpb	$32, %al		/* else it has no such bank */
	jne	tpm_none
	leaq	msg_pcr(%rip), %rsi
	call	puts
	movl	$32, %ecx
1:	movzbl	(%rbx), %edx
	rorl	$4, %edx
	call	hex_digit
	roll	$4, %edx
	call	hex_digit
	loop	1b
	jmp	newline

tpm_wait:				/* for AL in (RDI); not for ever */
	movl	$0x1000000, %ecx
1:	testb	%al, (%rdi)
	jnz	2f
	pause
	loop	1b
	popq	%rax
	jmp	tpm_none
2:	ret

tpm_none:
	leaq	msg_no_tpm(%rip), %rsi
	jmp	puts

#endif
/* The functions below keep all registers but flags. */

newline:
	pushq	%rsi
	leaq	msg_newline(%rip), %rsi
	call	puts
	popq	%rsi
	ret

puts:					/* RSI: text */
	pushq	%rsi
	pushq	%rax
1:	lodsb
	testb	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	popq	%rax
	popq	%rsi
	ret

put_hex:				/* RAX, sixteen digits */
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	movq	%rax, %rdx
	movl	$16, %ecx
1:	rolq	$4, %rdx
	call	hex_digit
	loop	1b
	popq	%rdx
	popq	%rcx
	popq	%rax
	ret

hex_digit:				/* the low digit of RDX */
	movl	%edx, %eax
	andl	$15, %eax
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	1f
	addb	$'a' - '9' - 1, %al
1:	jmp	putc

put_dec:				/* RAX, unsigned */
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rdi
	xorl	%ecx, %ecx
	movl	$10, %edi
1:	xorl	%edx, %edx
	divq	%rdi
	pushq	%rdx
	incl	%ecx
	testq	%rax, %rax
	jnz	1b
2:	popq	%rax
	addb	$'0', %al
	call	putc
	decl	%ecx
	jnz	2b
	popq	%rdi
	popq	%rdx
	popq	%rcx
	popq	%rax
	ret

putc:					/* AL, to the serial port and the screen */
	cmpb	$'\n', %al
	jne	1f
	movb	$'\r', %al
	call	serial_putc
	movb	$'\n', %al
1:	call	serial_putc
	jmp	screen_putc

serial_putc:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	movb	%al, %ah
	movl	$0x100000, %ecx		/* do not wait for ever */
	movl	$(COM1 + 5), %edx
1:	inb	%dx, %al
	testb	$0x20, %al
	loopz	1b
	movb	%ah, %al
	movl	$COM1, %edx
	outb	%al, %dx
	popq	%rdx
	popq	%rcx
	popq	%rax
	ret

/* The screen that boot_params tell of, where it is in text mode. */
screen_init:
	movzbl	VIDEO_COLS(%rbp), %eax
	movzbl	VIDEO_LINES(%rbp), %ecx
	movl	%eax, cols(%rip)
	imull	%eax, %ecx
	movl	%ecx, cells(%rip)
	movl	$0xb8000, %edx
	cmpb	$7, VIDEO_MODE(%rbp)
	jne	1f
	movl	$0xb0000, %edx
1:	movl	%edx, screen(%rip)
	movzbl	ORIG_Y(%rbp), %ecx
	imull	%eax, %ecx
	movzbl	ORIG_X(%rbp), %eax
	addl	%eax, %ecx
	movl	%ecx, position(%rip)
	ret

screen_putc:				/* AL */
	cmpl	$0, cells(%rip)
	je	9f
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	movl	position(%rip), %ecx
	cmpb	$'\n', %al
	jne	1f
	movl	%ecx, %eax		/* to the start of the next row */
	xorl	%edx, %edx
	divl	cols(%rip)
	incl	%eax
	mull	cols(%rip)
	movl	%eax, %ecx
	movb	$0, %al
1:	cmpl	cells(%rip), %ecx
	jb	2f
	movl	screen(%rip), %edi	/* scroll by one row */
	movl	cols(%rip), %edx
	leaq	(%rdi, %rdx, 2), %rsi
	movl	cells(%rip), %ecx
	subl	%edx, %ecx
	pushq	%rcx
	rep movsw
	movl	%edx, %ecx
	pushq	%rax
	movl	$0x0720, %eax
	rep stosw
	popq	%rax
	popq	%rcx
2:	testb	%al, %al
	jz	3f
	movl	screen(%rip), %edi
	movb	$0x07, %ah
	movw	%ax, (%rdi, %rcx, 2)
	incl	%ecx
3:	movl	%ecx, position(%rip)
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
9:	ret

	.section .rodata, "a", @progbits
msg_hello:	.asciz	"tiny: hello from 64 bits, at 0x"
msg_data:	.asciz	"tiny: data: "
msg_params:	.asciz	"tiny: boot parameters: "
msg_cmdline:	.asciz	"tiny: command line: "
msg_map:	.asciz	"tiny: memory map: "
msg_ramdisk:	.asciz	"tiny: ramdisk at 0x"
msg_size:	.asciz	", size "
msg_sum:	.asciz	", sum of bytes "
msg_good:	.asciz	"good\n"
msg_bad:	.asciz	"BAD\n"
msg_done:	.asciz	"TINY-BOOT-OK\n"
#ifdef TPM
msg_pcr:	.asciz	"11:sha256="
msg_no_tpm:	.asciz	"tiny: no TPM\n"
pcr_read:	.byte	0x80, 1, 0, 0, 0, 20	/* TPM2_PCR_Read, no sessions */
		.byte	0, 0, 1, 0x7e
		.byte	0, 0, 0, 1, 0, 0xb, 3	/* of SHA-256 ... */
		.byte	0, 8, 0			/* ... the register 11 */
pcr_read_end:
#endif
msg_newline:	.asciz	"\n"
no_idt:		.word	0
		.quad	0

	.section .data, "aw", @progbits
	.balign	8
data_first:	.quad	0x12345678

	.section .bss, "aw", @nobits
	.balign	16
cols:		.skip	4
cells:		.skip	4
screen:		.skip	4
position:	.skip	4
bss_first:
		.skip	0x10000
bss_end:
		.skip	4096
stack_end:

	/* What kind of kernel it is, for who looks for notes. */
	.section .note.tiny, "a", @note
	.long	5, 4, 1
	.asciz	"tiny"
	.balign	4
	.long	1
	.section .note.GNU-stack, "", @progbits
