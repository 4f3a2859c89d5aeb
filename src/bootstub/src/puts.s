/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Text to a PC's screen and serial port, in real mode: of the setup, and of the boot sector. */
	.set	COM1, 0x3f8

	.section .text, "ax", @progbits
	.code16
/* SI: text, to the screen and the first serial port */
puts:
	lodsb
	testb	%al, %al
	jz	3f
	movb	%al, %bl
	movw	$0x1000, %cx		/* no waiting for ever */
	movw	$(COM1 + 5), %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	loopz	1b
	movb	%bl, %al
	movw	$COM1, %dx
	outb	%al, %dx
	movb	$0x0e, %ah
	movw	$7, %bx
	pushw	%si
	int	$0x10
	popw	%si
	jmp	puts
3:	ret
