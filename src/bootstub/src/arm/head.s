@ SPDX-License-Identifier: Apache-2.0 OR MIT
@
@ The way in and out of the ARM boot stub, and all that has to do with caches: ARMv5TE to ARMv7 (and ARMv8 in 32 bits).
@
@ A boot loader enters at the first byte: MMU and data cache off, r1 machine number, r2 list of tags or device tree
@ (Documentation/arch/arm/booting.rst). The image may lie anywhere.
@
@ Registers that hold for all of it:
@   r4 the image, where it lies now     r5 the kernel's place         r7 machine number    r8 tags or device tree
@   r9 what CPU it is, and flags        r10 start of the memory       r11 the copy of the stub that unpacks

	.syntax unified
	.arm

	@ What is in r9: the way of the caches, and flags.
	.equ	BY_READING, 4		@ ARMv5TE: all of the cache is read full of something else
	.equ	BY_TESTING, 5		@ ARMv5TEJ: "test, clean and invalidate" until it is done
	.equ	BY_COMMAND, 6		@ ARMv6: one command for all
	.equ	BY_ADDRESS, 7		@ ARMv7: line by line
	.equ	WAY, 15
	.equ	HYP, 0x100		@ entered in HYP mode
	.equ	CACHED, 0x200		@ caches are on

	@ The parameter block, and its words (../../../stub/arm.rs).
	.equ	BLOCK, 0x40
	.equ	UNPACKED_LEN, BLOCK + 5 * 4
	.equ	IMAGE_LEN, BLOCK + 9 * 4
	.equ	STUB_LEN, BLOCK + 11 * 4
	.equ	STUB_MEMORY, BLOCK + 12 * 4
	.equ	DECIDED, BLOCK + 16 * 4	@ kernel, place of the image, memory, copy of the stub; then whether caches can go on at once

	.equ	TREE_MAX, 16 << 20	@ a longer one is none

	.section .head.text, "ax"
	.global	_start
_start:
	.rept	8
	mov	r0, r0
	.endr
	b	entered
	.word	0x016f2818		@ magic number of a zImage
	.word	0			@ its start and, from the packer, its end
	.word	0
	.word	0x04030201		@ byte order: the packer turns it for kernels that run big-endian
	.word	0x45454545
	.word	SIZE_TABLE
	.org	BLOCK
parameters:
	.space	11 * 4
	.word	_edata - _start
	.word	_end - _start
	.space	11 * 4
	.equ	SIZE_TABLE, . - _start
	.space	7 * 4			@ from the packer
	.balign	32
vectors:				@ of HYP mode: all of them are its calls
	b	.
	b	.
	b	.
	b	.
	b	.
	b	hyp_call
	b	.
	b	.

	@ r12 = 0: go on to the kernel in HYP mode. Else these vectors are there from now on.
hyp_call:
	teq	r12, #0
	moveq	pc, r5
	mcr	p15, 4, r12, c12, c0, 0	@ HVBAR
	.inst	0xe160006e		@ eret

bss_end:
	.word	_bss_end - _start

entered:
	mov	r7, r1
	mov	r8, r2
	mov	r9, #0
	mrs	r0, cpsr
	and	r1, r0, #0x1f
	bic	r0, r0, #0x1f
	orr	r0, r0, #0xd3		@ supervisor mode, no interrupts
	cmp	r1, #0x1a
	bne	1f
	mov	r9, #HYP
	adr	r1, vectors
	mcr	p15, 4, r1, c12, c0, 0	@ HVBAR
	mov	r1, #0
	mcr	p15, 4, r1, c1, c1, 0	@ HCR: nothing below traps
	mcr	p15, 4, r1, c1, c1, 3	@ HSTR
	msr	spsr_cxsf, r0
	adr	lr, 2f
	.inst	0xe12ef30e		@ msr ELR_hyp, lr
	.inst	0xe160006e		@ eret
1:	msr	cpsr_c, r0
2:	bl	find_cpu
	adr	r4, _start
	ldr	r0, [r4, #IMAGE_LEN]
	add	r0, r0, r4

	@ An appended device tree: what is behind it is free.
	ldr	r1, [r0]
	ldr	r2, [r0, #4]
	ldr	r3, tree_magic
	teq	r1, r3
	movne	r2, #0
	eor	r1, r2, r2, ror #16	@ its length is big-endian
	bic	r1, r1, #0xff0000
	mov	r2, r2, ror #8
	eor	r2, r2, r1, lsr #8
	cmp	r2, #TREE_MAX
	addls	r0, r0, r2
	ldr	r1, [r4, #STUB_MEMORY]
	add	r0, r0, #256
	add	sp, r0, r1
	bic	sp, sp, #63

	mov	r0, r4
	mov	r1, r8
	add	r2, r4, #DECIDED
	bl	decide			@ how much to move, in r0
	add	r1, r4, #DECIDED
	ldm	r1, {r5, r6, r10, r11, r12}
	teq	r12, #0
	beq	1f
	mov	r12, r0
	bl	cache_on
	mov	r0, r12
	ldr	r6, [r4, #DECIDED + 4]
1:	teq	r0, #0
	beq	3f

	@ The image moves up, its end first. Up to 31 bytes more are copied.
	add	r0, r0, #31
	bic	r0, r0, #31
	add	r1, r4, r0
	add	r2, r6, r0
2:	ldmdb	r1!, {r0, r3, r4, r5, r10, r11, r12, lr}
	stmdb	r2!, {r0, r3, r4, r5, r10, r11, r12, lr}
	cmp	r2, r6
	bhi	2b
3:	mov	r4, r6

	@ The stub alone is copied behind it, where memory for its variables is.
	add	r1, r4, #DECIDED
	ldm	r1, {r5, r6, r10, r11}
	ldr	r6, [r4, #STUB_LEN]
	mov	r0, r4
	mov	r1, r11
	add	r6, r6, r11
4:	ldmia	r0!, {r2, r3, r12, lr}
	stmia	r1!, {r2, r3, r12, lr}
	cmp	r1, r6
	blo	4b
	mov	r0, r11
	mov	r1, r6
	bl	clean
	adr	r0, _start
	adr	r12, vectors
	sub	r12, r12, r0
	add	r12, r12, r11
	tst	r9, #HYP
	beq	5f
	.inst	0xe1400070		@ hvc #0
5:	adr	r1, copied
	sub	r1, r1, r0
	add	pc, r1, r11

tree_magic:
	.word	0xedfe0dd0

	@ In the copy.
copied:
	ldr	r0, bss_end
	add	r0, r0, r11
	mov	r1, r6
	mov	r2, #0
1:	cmp	r1, r0
	strlo	r2, [r1], #4
	blo	1b
	ldr	r0, [r11, #STUB_MEMORY]
	add	sp, r11, r0
	tst	r9, #CACHED
	bleq	cache_on
	mov	r0, r4
	mov	r1, r8
	mov	r2, r5
	mov	r3, r11
	bl	unpack			@ what the kernel gets in r2, in r0; the end of what was written, in r1
	mov	r8, r0
	mov	r6, r1
	ldr	r1, [r4, #UNPACKED_LEN]
	mov	r0, r5
	add	r1, r1, r5
	bl	clean
	mov	r0, r4
	mov	r1, r6
	bl	clean
	bl	cache_off
	mov	r0, #0
	mov	r1, r7
	mov	r2, r8
	tst	r9, #HYP
	moveq	pc, r5
	mov	r12, #0
	.inst	0xe1400070		@ hvc #0

	@ Says in r9 how the caches of this CPU are cleaned, by its main ID and cache type registers.
find_cpu:
	mrc	p15, 0, r0, c0, c0, 0
	and	r1, r0, #0xf0000
	cmp	r1, #0xf0000
	beq	2f
	cmp	r1, #0x70000
	orreq	r9, r9, #BY_COMMAND
	moveq	pc, lr
	cmp	r1, #0x60000
	orreq	r9, r9, #BY_TESTING
	moveq	pc, lr
	cmp	r1, #0x50000
1:	bne	1b			@ older: the compiler's code is not for it
	mov	r1, r0, lsr #24
	cmp	r1, #0x56		@ Marvell's have the test
	orreq	r9, r9, #BY_TESTING
	orrne	r9, r9, #BY_READING
	mov	pc, lr
2:	mrc	p15, 0, r0, c0, c0, 1
	mov	r0, r0, lsr #29
	cmp	r0, #4			@ the format of ARMv7
	orrne	r9, r9, #BY_COMMAND
	movne	pc, lr
	orr	r9, r9, #BY_ADDRESS
	mrc	p15, 0, r0, c1, c0, 0
	orr	r0, r0, #0x20		@ barriers by CP15
	mcr	p15, 0, r0, c1, c0, 0
	mov	pc, lr

	@ Writes page tables of sections below the kernel, each address for itself, and turns MMU and caches on. Memory:
	@ 256 MiB from its start, and 64 MiB from where the image is. All else is a device. Changes r6, and keeps r12.
cache_on:
	mov	r3, lr
	sub	r0, r5, #0x4000
	bic	r0, r0, #0xff
	bic	r0, r0, #0x3f00
	and	r6, r9, #WAY
	cmp	r6, #BY_COMMAND
	ldr	r1, device		@ all may read and write; bit 4 must be set before ARMv6, and forbids to execute since
	movlo	r6, #0x0c		@ what makes memory of it: C and B
	movhs	r6, #0x1c
	mov	r2, r0
1:	sub	lr, r1, r10
	cmp	lr, #256 << 20
	mov	lr, r4, lsr #20
	rsb	lr, lr, r1, lsr #20
	cmphs	lr, #64
	mov	lr, r1
	eorlo	lr, lr, r6
	str	lr, [r2], #4
	adds	r1, r1, #1 << 20
	bcc	1b
	and	r6, r9, #WAY
	cmp	r6, #BY_COMMAND
	mov	r1, #0
	mcr	p15, 0, r1, c7, c10, 4	@ what was written is in memory
	mcr	p15, 0, r1, c7, c5, 0	@ nothing is in the instruction cache
	mcr	p15, 0, r1, c8, c7, 0	@ nor among translations
	mcrhs	p15, 0, r1, c2, c0, 2	@ TTBCR: one table, of the short format
	mcr	p15, 0, r0, c2, c0, 0
	mov	r1, #1			@ domain 0 goes by the tables
	mcr	p15, 0, r1, c3, c0, 0
	mrc	p15, 0, r1, c1, c0, 0
	orr	r1, r1, #0x1000		@ I
	orr	r1, r1, #0x3d		@ M, C; before ARMv6 the write buffer and two that must be set
	bic	r1, r1, #2		@ A
	bichs	r1, r1, #0x30000000	@ TRE, AFE
	orrhs	r1, r1, #0x400000	@ U
	orrhs	r1, r1, #0x800		@ Z
	mcr	p15, 0, r1, c1, c0, 0
	mrc	p15, 0, r1, c1, c0, 0
	mov	r2, #0
	mcrhs	p15, 0, r2, c7, c5, 4
	orr	r9, r9, #CACHED
	sub	pc, r3, r1, lsr #32	@ waits for what was read

device:
	.word	0xc12

	@ What was written from r0 to r1 is in memory, and instructions are read from there.
clean:
	and	r2, r9, #WAY
	mov	r3, #0
	cmp	r2, #BY_COMMAND
	beq	2f
	blo	3f
	mrc	p15, 0, r2, c0, c0, 1	@ the shortest line of all data caches: 4 bytes and how often doubled
	mov	r2, r2, lsr #16
	and	r2, r2, #15
	mov	r3, #4
	mov	r2, r3, lsl r2
	sub	r3, r2, #1
	bic	r0, r0, r3
1:	mcr	p15, 0, r0, c7, c14, 1
	add	r0, r0, r2
	cmp	r0, r1
	blo	1b
	mov	r3, #0
	mcr	p15, 0, r3, c7, c10, 4
	mcr	p15, 0, r3, c7, c5, 0
	mcr	p15, 0, r3, c7, c5, 6	@ predicted branches
	mcr	p15, 0, r3, c7, c10, 4
	mcr	p15, 0, r3, c7, c5, 4
	mov	pc, lr
2:	mcr	p15, 0, r3, c7, c14, 0
	mcr	p15, 0, r3, c7, c5, 0
	mcr	p15, 0, r3, c7, c15, 0
	mcr	p15, 0, r3, c7, c10, 4
	mcr	p15, 0, r3, c7, c5, 4
	mov	pc, lr
3:	cmp	r2, #BY_TESTING
	bne	5f
4:	mrc	p15, 0, apsr_nzcv, c7, c14, 3
	bne	4b
	b	7f
	@ Reads twice what the largest data cache of these holds (XScale: 32 KiB), in its lines of 32 bytes.
5:	bic	r0, pc, #31
	add	r1, r0, #64 << 10
6:	ldr	r2, [r0], #32
	cmp	r0, r1
	blo	6b
	mcr	p15, 0, r3, c7, c6, 0
7:	mcr	p15, 0, r3, c7, c5, 0
	mcr	p15, 0, r3, c7, c10, 4
	mov	pc, lr

cache_off:
	and	r2, r9, #WAY
	cmp	r2, #BY_ADDRESS
	mrc	p15, 0, r0, c1, c0, 0
	bic	r0, r0, #5		@ M, C
	mov	r1, #0
	beq	1f
	cmp	r2, #BY_COMMAND
	biclo	r0, r0, #8		@ the write buffer
	mcr	p15, 0, r0, c1, c0, 0
	mcr	p15, 0, r1, c7, c7, 0
	mcr	p15, 0, r1, c8, c7, 0
	mov	pc, lr
1:	mcr	p15, 0, r0, c1, c0, 0
	mcr	p15, 0, r1, c7, c5, 4
	mcr	p15, 0, r1, c8, c7, 0
	mcr	p15, 0, r1, c7, c5, 6
	mcr	p15, 0, r1, c7, c10, 4
	mcr	p15, 0, r1, c7, c5, 4
	mov	pc, lr
