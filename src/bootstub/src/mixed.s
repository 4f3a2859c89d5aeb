/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * For 32-bit firmware that starts a 64-bit kernel: an EFI program in the image
 * (.compat, or the handover protocol), which loads the image for its own boot
 * stub, as a boot loader does, and enters that by the 32-bit boot protocol.
 */
	.section .head.text, "ax", @progbits
	.code32
	.globl	startup_32, moved
startup_32:			/* where this program begins */
moved:				/* where the boot stub that it has loaded begins */
	hlt
	jmp	startup_32

/* By the handover protocol, a C function: handle, system table, boot_params. */
	.balign	16
	.globl	efi_handover_entry
efi_handover_entry:
	pushl	%ebx
	pushl	%edi
	call	1f
1:	popl	%ebx
	subl	$(1b - startup_32), %ebx
	call	relocate_self
	popl	%edi
	popl	%ebx
	jmp	efi_handover
	/* Where 64-bit firmware would enter: "unsupported", for it has a better way in. */
	.org	efi_handover_entry + 0x200
	xorl	%eax, %eax
	movb	$7, %al
	.byte	0x48			/* in 64 bits, of RAX: 0x8000000000000003 */
	rorl	$1, %eax
	ret
