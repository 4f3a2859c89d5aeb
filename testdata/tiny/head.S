/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The protected-mode part of the tiny test kernel. It has the symbols and
 * the sections of a linked Linux decompressor, but does not unpack its
 * payload: it says what the loader handed over and switches the machine off.
 *
 * The code runs wherever it was loaded (below 4 GiB).
 */
#define COM1		0x3f8
#define VGA		0xb8000
#define COLS		80
#define ROWS		25

/* Offsets in boot_params, the "zero page" */
#define BP_SCRATCH	0x1e4
#define BP_E820_COUNT	0x1e8
#define BP_RAMDISK	0x218
#define BP_RAMDISK_SIZE	0x21c
#define BP_CMDLINE	0x228

#define RVA(x)	((x) - startup_32)	/* for code in .head.text */
#define T(x)	((x) - anchor)(%ebx)	/* for code in .text */

	.section .head.text, "ax", @progbits
	.code32
	.globl	startup_32
startup_32:				/* ESI: zero page */
	cld
	cli
	leal	(BP_SCRATCH + 4)(%esi), %esp	/* room for one return address */
	call	1f
1:	popl	%ebx
	subl	$RVA(1b), %ebx
	xorl	%ebp, %ebp

/* EBX: where startup_32 is, ESI: zero page, EBP: 1 if entered at startup_64 */
common_32:
	leal	RVA(gdt)(%ebx), %eax
	movl	%eax, RVA(gdt_ptr + 2)(%ebx)
	lgdt	RVA(gdt_ptr)(%ebx)
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	leal	RVA(stack_end)(%ebx), %esp

	leal	RVA(_bss)(%ebx), %edi
	leal	RVA(_ebss)(%ebx), %ecx
	subl	%edi, %ecx
	xorl	%eax, %eax
	rep stosb

	pushl	%ebp
	pushl	%ebx
	pushl	%esi
	call	main

	.org	0x200
	.code64
	.globl	startup_64
startup_64:				/* RSI: zero page */
	cld
	cli
	leaq	startup_32(%rip), %rbx
	movq	%rbx, %rax
	orq	%rsi, %rax
	shrq	$32, %rax
	jnz	too_high

	/* Back to 32 bits: compatibility mode, then paging and long mode off. */
	leaq	stack_end(%rip), %rsp
	leaq	gdt(%rip), %rax
	movq	%rax, gdt_ptr + 2(%rip)
	lgdt	gdt_ptr(%rip)
	movq	%cr4, %rax
	btrq	$17, %rax		/* PCIDE must go before paging does */
	movq	%rax, %cr4
	leaq	1f(%rip), %rax
	pushq	$0x10
	pushq	%rax
	lretq
	.code32
1:	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax	/* PG */
	movl	%eax, %cr0
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	btrl	$8, %eax
	wrmsr
	xorl	%eax, %eax		/* PAE and all the others */
	movl	%eax, %cr4
	movl	$1, %ebp
	jmp	common_32

	.code64
too_high:
	leaq	msg_too_high(%rip), %rsi
	movl	$COM1, %edx
1:	lodsb
	testb	%al, %al
	jz	2f
	outb	%al, %dx
	jmp	1b
2:	hlt
	jmp	2b

/* ---- the payload, as the kernel's mkpiggy describes it ------------------- */
	.section .rodata..compressed, "a", @progbits
	.globl	z_input_len, z_output_len, input_data, input_data_end
z_input_len = Z_INPUT_LEN
z_output_len = Z_OUTPUT_LEN
input_data:
	.incbin	"payload-x86.gz"
input_data_end:

	.section .rodata, "a", @progbits
	.globl	input_len, output_len
input_len:	.long	Z_INPUT_LEN
output_len:	.long	Z_OUTPUT_LEN

/* ---- the "decompressor" -------------------------------------------------- */
	.section .text, "ax", @progbits
	.code32
main:					/* (zero page, load address, from 64 bits) */
	call	anchor
anchor:	popl	%ebx			/* EBX = anchor from here on */
	movl	4(%esp), %ebp		/* EBP = zero page */
	call	serial_init
	call	vga_clear

	cmpl	$0, 12(%esp)
	je	1f
	leal	T(msg_from_64), %esi
	call	puts
1:	leal	T(msg_hello), %esi
	call	puts

	leal	T(msg_loaded), %esi
	call	puts
	movl	8(%esp), %eax
	call	put_hex
	call	newline

	leal	T(msg_cmdline), %esi
	call	puts
	movl	BP_CMDLINE(%ebp), %esi
	testl	%esi, %esi
	jz	2f
	call	puts
2:	call	newline

	leal	T(msg_e820), %esi
	call	puts
	movzbl	BP_E820_COUNT(%ebp), %eax
	call	put_dec
	call	newline

	movl	BP_RAMDISK(%ebp), %edi
	testl	%edi, %edi
	jz	3f
	leal	T(msg_ramdisk), %esi
	call	puts
	movl	%edi, %eax
	call	put_hex
	leal	T(msg_size), %esi
	call	puts
	movl	BP_RAMDISK_SIZE(%ebp), %eax
	call	put_dec
	call	newline

	/* The last word of the payload must be the length it unpacks to. */
3:	leal	T(msg_payload), %esi
	call	puts
	movl	T(input_len), %eax
	call	put_dec
	leal	T(msg_unpacked), %esi
	call	puts
	movl	T(output_len), %eax
	call	put_dec
	leal	T(input_data), %edi
	addl	T(input_len), %edi
	leal	T(msg_good), %esi
	cmpl	-4(%edi), %eax
	je	4f
	leal	T(msg_bad), %esi
4:	call	puts

	leal	T(msg_done), %esi
	call	puts

/* QEMU's isa-debug-exit, then its ACPI power button; then give up. */
power_off:
	movb	$0x10, %al		/* QEMU's exit status becomes 33 */
	outb	%al, $0xf4
	movl	$0x604, %edx
	movl	$0x2000, %eax
	outw	%ax, %dx
1:	cli
	hlt
	jmp	1b

/* The functions below keep all registers. */

newline:
	pushl	%eax
	movb	$'\n', %al
	call	putc
	popl	%eax
	ret

puts:					/* ESI: text */
	pushal
1:	lodsb
	testb	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	popal
	ret

put_hex:				/* EAX, eight digits */
	pushal
	movl	%eax, %edx
	movl	$8, %ecx
1:	roll	$4, %edx
	movl	%edx, %eax
	andl	$15, %eax
	movzbl	(digits - anchor)(%ebx,%eax), %eax
	call	putc
	decl	%ecx
	jnz	1b
	popal
	ret

put_dec:				/* EAX, unsigned */
	pushal
	xorl	%ecx, %ecx
	movl	$10, %edi
1:	xorl	%edx, %edx
	divl	%edi
	pushl	%edx
	incl	%ecx
	testl	%eax, %eax
	jnz	1b
2:	popl	%eax
	addb	$'0', %al
	call	putc
	decl	%ecx
	jnz	2b
	popal
	ret

putc:					/* AL, to the serial port and the screen */
	pushal
	cmpb	$'\n', %al
	jne	1f
	movb	$'\r', %al
	call	serial_putc
	movb	$'\n', %al
1:	call	serial_putc
	call	vga_putc
	popal
	ret

serial_putc:				/* AL */
	pushal
	movb	%al, %ah
	movl	$0x100000, %ecx		/* do not wait for ever */
	movl	$(COM1 + 5), %edx
1:	inb	%dx, %al
	testb	$0x20, %al
	loopz	1b
	movb	%ah, %al
	movl	$COM1, %edx
	outb	%al, %dx
	popal
	ret

serial_init:				/* 115200 baud, 8n1 */
	pushal
	leal	T(uart_setup), %esi
1:	lodsw
	testw	%ax, %ax
	js	2f
	movzbl	%ah, %edx
	addl	$COM1, %edx
	outb	%al, %dx
	jmp	1b
2:	popal
	ret

vga_clear:
	pushal
	movl	$VGA, %edi
	movl	$(COLS * ROWS), %ecx
	movl	$0x0720, %eax
	rep stosw
	popal
	ret

vga_putc:				/* AL; vga_pos counts characters */
	pushal
	movl	T(vga_pos), %ecx
	cmpb	$'\n', %al
	je	1f
	movb	$0x07, %ah
	movw	%ax, VGA(,%ecx,2)
	incl	%ecx
	jmp	2f
1:	movl	%ecx, %eax		/* to the start of the next row */
	xorl	%edx, %edx
	movl	$COLS, %edi
	divl	%edi
	incl	%eax
	mull	%edi
	movl	%eax, %ecx
2:	cmpl	$(COLS * ROWS), %ecx
	jb	3f
	movl	$(VGA + COLS * 2), %esi	/* scroll by one row */
	movl	$VGA, %edi
	movl	$(COLS * (ROWS - 1)), %ecx
	rep movsw
	movl	$COLS, %ecx
	movl	$0x0720, %eax
	rep stosw
	movl	$(COLS * (ROWS - 1)), %ecx
3:	movl	%ecx, T(vga_pos)
	popal
	ret

	.section .rodata, "a", @progbits
msg_hello:	.asciz	"tiny: hello from protected mode\n"
msg_from_64:	.asciz	"tiny: entered at startup_64\n"
msg_too_high:	.asciz	"tiny: cannot run above 4 GiB\r\n"
msg_loaded:	.asciz	"tiny: loaded at 0x"
msg_cmdline:	.asciz	"tiny: command line: "
msg_e820:	.asciz	"tiny: e820 entries: "
msg_ramdisk:	.asciz	"tiny: ramdisk at 0x"
msg_size:	.asciz	", size "
msg_payload:	.asciz	"tiny: payload size "
msg_unpacked:	.asciz	", unpacks to "
msg_good:	.asciz	", last word agrees\n"
msg_bad:	.asciz	", last word differs\n"
msg_done:	.asciz	"TINY-BOOT-OK\n"
digits:		.ascii	"0123456789abcdef"
uart_setup:				/* value, register */
	.byte	0x00, 1,  0x80, 3,  0x01, 0,  0x00, 1,  0x03, 3,  0x07, 2,  0x03, 4
	.byte	0xff, 0xff

/* What header field kernel_info_offset points to. */
	.balign	16
	.globl	kernel_info
kernel_info:
	.ascii	"LToP"
	.long	kernel_info_var - kernel_info
	.long	kernel_info_end - kernel_info
	.long	0x80000009		/* highest setup_data type known */
kernel_info_var:
kernel_info_end:

	.section .data, "aw", @progbits
	.balign	16
gdt:	.quad	0
	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x10: code, 4 GiB, flat */
	.quad	0x00cf93000000ffff	/* 0x18: data, 4 GiB, flat */
gdt_end:
gdt_ptr:				/* long enough for a 64-bit lgdt */
	.word	gdt_end - gdt - 1
	.quad	0

	.section .bss, "aw", @nobits
	.balign	16
vga_pos:	.skip	4
	.balign	16
	.skip	2048
stack_end:

	.ident	"kimage test data, vmlinux"
	.section .note.GNU-stack, "", @progbits
