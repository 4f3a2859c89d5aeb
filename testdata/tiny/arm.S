/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A tiny ARM zImage: the header, the extension table and the sections of a
 * linked Linux decompressor. It does not unpack its payload but says on the
 * PL011 of `qemu-system-arm -M virt` what the loader handed over, and
 * switches the machine off.
 *
 * The code runs wherever it was loaded. It uses no memory at all: an
 * appended device tree lies where .bss would be.
 */
	.syntax	unified
	.arch	armv7-a
	.arch_extension virt
	.arm

#define UART		0x09000000
#define DTB_MAGIC	0xedfe0dd0	/* d0 0d fe ed read as little-endian */

	.section .start, "ax", %progbits
	.globl	start, _magic_header
	.type	start, %function
start:
	.rept	8
	mov	r0, r0
	.endr
	b	main
_magic_header:				/* 0x24 */
	.word	_magic_sig
	.word	_magic_start
	.word	_magic_end
	.word	0x04030201		/* tells the byte order */
	.word	0x45454545		/* an extension table is there: */
	.word	_magic_table

	.text
main:					/* r0: 0, r1: machine, r2: device tree */
	mov	r10, r2
	ldr	r4, =UART
	mov	r0, #0x70		/* 8n1, FIFOs on */
	str	r0, [r4, #0x2c]
	ldr	r0, =0x301		/* UART, transmitter, receiver on */
	str	r0, [r4, #0x30]
	ldr	r9, =DTB_MAGIC

	adr	r0, msg_hello
	bl	puts

	adr	r0, msg_no_dtb		/* the one in r2 */
	cmp	r10, #0
	beq	1f
	tst	r10, #3
	bne	1f
	ldr	r1, [r10]
	cmp	r1, r9
	adreq	r0, msg_dtb
1:	bl	puts

	adr	r1, start_offset	/* the one at _edata */
	ldr	r0, [r1]
	sub	r2, r1, r0
	ldr	r0, [r1, #4]
	ldr	r1, [r2, r0]
	cmp	r1, r9
	adr	r0, msg_no_appended
	adreq	r0, msg_appended
	bl	puts

	adr	r0, msg_done
	bl	puts

	ldr	r0, =0x84000008		/* PSCI SYSTEM_OFF */
	hvc	#0
2:	wfi
	b	2b

puts:					/* r0: text, r4: UART; spoils r0 to r3 */
	ldrb	r1, [r0], #1
	cmp	r1, #0
	bxeq	lr
	mov	r3, #0x100000		/* do not wait for ever */
1:	ldr	r2, [r4, #0x18]
	tst	r2, #0x20		/* transmit FIFO full */
	beq	2f
	subs	r3, r3, #1
	bne	1b
2:	str	r1, [r4]
	b	puts

start_offset:	.word	start_offset	/* linked at 0 */
edata_offset:	.word	_edata
	.ltorg
msg_hello:	.asciz	"tiny arm: hello\r\n"
msg_dtb:	.asciz	"tiny arm: device tree from the loader\r\n"
msg_no_dtb:	.asciz	"tiny arm: no device tree from the loader\r\n"
msg_appended:	.asciz	"tiny arm: device tree appended\r\n"
msg_no_appended: .asciz	"tiny arm: no device tree appended\r\n"
msg_done:	.asciz	"TINY-BOOT-OK\r\n"
	.balign	4

/* A list of tagged values; the first word of each counts its words. */
	.section .table, "aw", %progbits
	.word	6
	.word	0x5a534c4b		/* "KLSZ" */
	.word	__piggy_size_addr	/* where the unpacked size stands */
	.word	_kernel_bss_size
	.word	0x8000			/* TEXT_OFFSET */
	.word	65536			/* MALLOC_SIZE */
	.word	0

	.section .rodata, "a", %progbits
	.asciz	"kimage test data, no decompressor"

	.section .piggydata, "a", %progbits
	.globl	input_data, input_data_end
input_data:
	.incbin	"payload-arm.gz"
input_data_end:

	.bss
	.balign	8
	.skip	64

	.section .stack, "aw", %nobits
	.skip	4096

	.ident	"kimage test data, arm-vmlinux"
	.section .note.GNU-stack, "", %progbits
