/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the packer fills in: ../../../stub/parameters.rs */
	.section .data.parameters, "aw", @progbits
	.balign	8
	.globl	parameters
parameters:
	.ascii	"kimage\0\001"
	.fill	23 * 8, 1, 0
