/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What loaders and the packer find in every stub; in front of the head's own data. */
	.section .data.head, "aw", @progbits
	/* For loaders: which types of setup_data the kernel knows. */
	.balign	16
	.globl	kernel_info, kernel_info_end
kernel_info:
	.ascii	"LToP"
	.long	16
	.long	16
	.long	0
kernel_info_end:

	/* Written by the packer: parameters.rs. */
	.balign	16
	.globl	parameters
parameters:
	.ascii	"kimage\0\001"
	.skip	23 * 8

	/* Written by the packer: the setup's header, zeros behind it. EFI loaders */
	/* that copy an image's sections alone (systemd-stub 258) leave out its own. */
	.globl	setup_header
setup_header:
	.skip	0x290 - 0x1f1

	/* What prepare() decided, for unpack() in the copy: the kernel's address, */
	/* how far it is moved in virtual memory, whether by chance; where the */
	/* payload is. */
	.balign	8
	.globl	decided
decided:
	.quad	0, 0, 0, 0
