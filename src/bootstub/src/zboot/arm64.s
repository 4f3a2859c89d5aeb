/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The firmware enters here: handle in x0, system table in x1. */
	.set	RELATIVE, 1027		/* R_AARCH64_RELATIVE */

	.section .head.text, "ax", @progbits
	.globl	efi_pe_entry
efi_pe_entry:
	/* Pointers in data hold what they were linked to: they are moved. */
	adrp	x2, _rela
	add	x2, x2, :lo12:_rela
	adrp	x3, _rela_end
	add	x3, x3, :lo12:_rela_end
	adrp	x4, _start
	add	x4, x4, :lo12:_start
1:	cmp	x2, x3
	b.hs	efi_main
	ldp	x5, x6, [x2], #16	/* r_offset, r_info */
	ldr	x7, [x2], #8		/* r_addend */
	cmp	x6, #RELATIVE
	b.ne	2f
	add	x7, x7, x4
	str	x7, [x4, x5]
	b	1b
	/* The build makes no other. */
2:	wfi
	b	2b
