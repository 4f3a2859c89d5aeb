/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The real-mode part of the tiny test kernel: boot sector, setup_header of
 * x86 boot protocol 2.15 and the code that goes to protected mode.
 *
 * GENERATION says which kind of kernel build the header looks like:
 *   5  the image builder patches the header (Linux 5.10): setup_sects,
 *      syssize, handover_offset and kernel_info_offset are 0 and root_dev
 *      holds rubbish
 *   6  all fields are assembled, the image ends in a CRC-32 (Linux 6.12)
 *   7  all fields are assembled, no CRC-32 (Linux 7.2)
 *
 * The ZO_* values come from zoffset.h, made from vmlinux by build.sh.
 */
#include "zoffset.h"

#ifndef GENERATION
# define GENERATION	6
#endif

#if GENERATION == 5
# define RELEASE	"5.10.0-tiny"
# define FILLER		0
# define SETUP_SECTS	0
# define SYSSIZE	0
# define ROOT_DEV	0x0102
# define KERNEL_INFO	0
#else
# if GENERATION == 7
#  define RELEASE	"7.2.0-tiny"
# else
#  define RELEASE	"6.12.0-tiny"
# endif
# define FILLER		0xff
# define SETUP_SECTS	setup_sects - 1
# define SYSSIZE	ZO__edata / 16
# define ROOT_DEV	0
# define KERNEL_INFO	ZO_kernel_info
#endif

#define COM1		0x3f8
#define STACK_SIZE	1024
#define SIGNATURE	0x5a5aaa55	/* as the setup of a Linux kernel */

/* Offsets in boot_params, the "zero page" */
#define BP_E820_COUNT	0x1e8
#define BP_HDR		0x1f1
#define BP_CODE32	0x214
#define BP_E820_TABLE	0x2d0
#define E820_MAX	128

/* Memory that unpacking the payload in place would need, as kernels count it. */
extra = (ZO_z_output_len >> 8) + 131072
	.if ZO_z_output_len > ZO_z_input_len
extract_offset = ZO_z_output_len + extra - ZO_z_input_len
	.else
extract_offset = extra
	.endif
	.if ZO__ehead - ZO_startup_32 > extract_offset
extract_offset = ZO__ehead - ZO_startup_32
	.endif
min_extract_offset = (extract_offset + 4095) & ~4095
init_size_value = ZO__end - ZO_startup_32 + min_extract_offset

	.code16

/* ---- boot sector: runs only when the image is started as a floppy ------- */
	.section .bstext, "ax", @progbits
#if GENERATION == 5
	ljmp	$0x07c0, $1f
1:	movw	%cs, %ax
	movw	%ax, %ds
	cld
	movw	$no_floppy, %si
2:	lodsb
	testb	%al, %al
	jz	3f
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	jmp	2b
3:	hlt
	jmp	3b
no_floppy:
	.asciz	"tiny: this is no boot sector, use a boot loader\r\n"
#endif
	.org	0x1ef, FILLER

/* ---- the setup header ---------------------------------------------------- */
	.section .header, "a", @progbits
sentinel:	.byte	0xff, 0xff
	.globl	hdr
hdr:					/* 0x1f1 */
		.byte	SETUP_SECTS
root_flags:	.word	1		/* read only */
syssize:	.long	SYSSIZE
ram_size:	.word	0
vid_mode:	.word	0xffff		/* normal */
root_dev:	.word	ROOT_DEV
boot_flag:	.word	0xaa55
	.globl	_start
_start:					/* 0x200 */
		.byte	0xeb, entry - jump_end
jump_end:
		.ascii	"HdrS"
		.word	0x020f
realmode_swtch:	.long	0
start_sys_seg:	.word	0x1000
		.word	kernel_version - 512
type_of_loader:	.byte	0
loadflags:	.byte	0x01		/* LOADED_HIGH */
setup_move_size: .word	0x8000
code32_start:	.long	0x100000
ramdisk_image:	.long	0
ramdisk_size:	.long	0
bootsect_kludge: .long	0
heap_end_ptr:	.word	_end + STACK_SIZE - 512
ext_loader_ver:	.byte	0
ext_loader_type: .byte	0
cmd_line_ptr:	.long	0
initrd_addr_max: .long	0x7fffffff
kernel_alignment: .long	0x200000
relocatable_kernel: .byte 1
min_alignment:	.byte	21
xloadflags:	.word	0x0001		/* XLF_KERNEL_64 */
cmdline_size:	.long	2047
hardware_subarch: .long	0
hardware_subarch_data: .quad 0
payload_offset:	.long	ZO_input_data
payload_length:	.long	ZO_z_input_len
setup_data:	.quad	0
pref_address:	.quad	0x1000000
init_size:	.long	init_size_value
handover_offset: .long	0
kernel_info_offset: .long KERNEL_INFO

/* ---- entry: CS = DS + 0x20, interrupts as the loader left them ----------- */
	.section .entrytext, "ax", @progbits
entry:					/* 0x26c */
	cli
	cld
	movw	%ds, %ax
	movw	%ax, %es
	movw	%ax, %ss
	movl	$(_end + STACK_SIZE), %esp
	pushw	%ax			/* make CS equal to DS */
	pushw	$1f
	lretw
1:	cmpl	$SIGNATURE, signature
	jne	incomplete
	movw	$__bss_start, %di
	movw	$_end, %cx
	subw	%di, %cx
	xorl	%eax, %eax
	rep stosb
	sti
	jmp	main
incomplete:
	movw	$msg_incomplete, %si
	call	puts
2:	hlt
	jmp	2b

	.section .text, "ax", @progbits
main:
	call	serial_init
	movw	$msg_ok, %si
	call	puts

	/* The header, as long as its own jump says it is, into the zero page. */
	movw	$hdr, %si
	movw	$(boot_params + BP_HDR), %di
	movzbw	_start + 1, %cx
	addw	$(jump_end - hdr), %cx
	rep movsb

	call	get_e820
	call	enable_a20
	jmp	go_protected

/* Memory map by INT 15h, E820h. */
get_e820:
	xorl	%ebx, %ebx
	movw	$(boot_params + BP_E820_TABLE), %di
1:	movl	$0xe820, %eax
	movl	$20, %ecx
	movl	$0x534d4150, %edx	/* "SMAP" */
	int	$0x15
	jc	3f
	cmpl	$0x534d4150, %eax
	jne	4f
	cmpl	$20, %ecx
	jb	2f
	addw	$20, %di
	incb	boot_params + BP_E820_COUNT
	cmpb	$E820_MAX, boot_params + BP_E820_COUNT
	jae	3f
2:	testl	%ebx, %ebx
	jnz	1b
3:	ret
4:	movb	$0, boot_params + BP_E820_COUNT
	ret

/* Address line 20 on: by the BIOS, then by port 0x92 if that has it off. */
enable_a20:
	movw	$0x2401, %ax
	int	$0x15
	inb	$0x92, %al
	testb	$2, %al
	jnz	1f
	orb	$2, %al
	andb	$0xfe, %al		/* bit 0 would reset the machine */
	outb	%al, $0x92
1:	ret

go_protected:
	cli
	movb	$0xff, %al		/* all interrupts masked, NMI too */
	outb	%al, $0xa1
	outb	%al, $0x21
	movb	$0x80, %al
	outb	%al, $0x70

	xorl	%ebx, %ebx		/* EBX = linear address of setup */
	movw	%ds, %bx
	shll	$4, %ebx
	leal	gdt(%ebx), %eax
	movl	%eax, gdt_ptr + 2
	leal	boot_params(%ebx), %esi
	leal	in_protected(%ebx), %edx
	movl	boot_params + BP_CODE32, %eax
	lidtl	idt_ptr
	lgdtl	gdt_ptr
	movl	%cr0, %ecx
	orb	$1, %cl
	movl	%ecx, %cr0
	pushl	$0x10
	pushl	%edx
	lretl

/* SI: text. The only output is the first serial port. */
puts:
	lodsb
	testb	%al, %al
	jz	1f
	call	putc
	jmp	puts
1:	ret

putc:
	movb	%al, %ah
	xorw	%cx, %cx		/* do not wait for ever */
	movw	$(COM1 + 5), %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	loopz	1b
	movb	%ah, %al
	movw	$COM1, %dx
	outb	%al, %dx
	ret

/* 115200 baud, 8n1 */
serial_init:
	movw	$uart_setup, %si
1:	lodsw
	testw	%ax, %ax
	js	2f
	movzbw	%ah, %dx
	addw	$COM1, %dx
	outb	%al, %dx
	jmp	1b
2:	ret

	.section .text32, "ax", @progbits
	.code32
in_protected:				/* EBX: setup, ESI: zero page, EAX: kernel */
	movl	$0x18, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	movl	%ecx, %fs
	movl	%ecx, %gs
	movl	%ecx, %ss
	addl	%ebx, %esp
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%eax

	.section .rodata, "a", @progbits
	.globl	kernel_version
kernel_version:	.asciz	RELEASE " (kimage@testdata) #1"
msg_ok:		.asciz	"tiny: setup ok\r\n"
msg_incomplete:	.asciz	"tiny: setup is not wholly loaded\r\n"
uart_setup:				/* value, register */
	.byte	0x00, 1,  0x80, 3,  0x01, 0,  0x00, 1,  0x03, 3,  0x07, 2,  0x03, 4
	.byte	0xff, 0xff

	.section .data, "aw", @progbits
	.balign	16
gdt:	.quad	0
	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x10: code, 4 GiB, flat */
	.quad	0x00cf93000000ffff	/* 0x18: data, 4 GiB, flat */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	0
idt_ptr:
	.word	0
	.long	0

	.section .signature, "a", @progbits
signature:	.long	SIGNATURE

	.section .bss, "aw", @nobits
	.balign	16
boot_params:	.skip	4096

	.ident	"kimage test data, setup"
	.section .note.GNU-stack, "", @progbits
