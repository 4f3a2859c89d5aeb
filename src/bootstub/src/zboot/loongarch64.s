/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The firmware enters here: handle in a0, system table in a1. */
	.set	RELATIVE, 3		/* R_LARCH_RELATIVE */

	.section .head.text, "ax", @progbits
	.globl	efi_pe_entry
efi_pe_entry:
	/* Pointers in data hold what they were linked to: they are moved. */
	la.pcrel	$a2, _rela
	la.pcrel	$a3, _rela_end
	la.pcrel	$a4, _start
	ori	$t0, $zero, RELATIVE
1:	bltu	$a2, $a3, 2f
	b	efi_main
2:	ld.d	$a5, $a2, 0		/* r_offset */
	ld.d	$a6, $a2, 8		/* r_info */
	ld.d	$a7, $a2, 16		/* r_addend */
	addi.d	$a2, $a2, 24
	bne	$a6, $t0, 3f
	add.d	$a5, $a5, $a4
	add.d	$a7, $a7, $a4
	st.d	$a7, $a5, 0
	b	1b
	/* The build makes no other. */
3:	idle	0
	b	3b
