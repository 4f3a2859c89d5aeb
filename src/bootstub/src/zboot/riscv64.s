/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The firmware enters here: handle in a0, system table in a1. */
	.set	RELATIVE, 3		/* R_RISCV_RELATIVE */

	.section .head.text, "ax", @progbits
	.globl	efi_pe_entry
efi_pe_entry:
	/* Pointers in data hold what they were linked to: they are moved. */
	lla	a2, _rela
	lla	a3, _rela_end
	lla	a4, _start
	li	t0, RELATIVE
1:	bltu	a2, a3, 2f
	tail	efi_main
2:	ld	a5, 0(a2)		/* r_offset */
	ld	a6, 8(a2)		/* r_info */
	ld	a7, 16(a2)		/* r_addend */
	addi	a2, a2, 24
	bne	a6, t0, 3f
	add	a5, a5, a4
	add	a7, a7, a4
	sd	a7, 0(a5)
	j	1b
	/* The build makes no other. */
3:	wfi
	j	3b
