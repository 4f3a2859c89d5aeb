@ SPDX-License-Identifier: Apache-2.0 OR MIT
@
@ The loop of inflate.rs that looks at neither end, for ARMv5 and newer: no word is read but at a multiple of 4. Its entries
@ and its limits are described there.
@
@   r0 input, at a multiple of 2   r1 output                      r2 bits that come next   r3 how many, in its lowest byte
@   r4 entry, then distance        r5, r6 the tables              r7, r8 for a while       r9 length
@   r10 mask of the first look     r11 first byte of all output   r12, lr the last places that need no look at the ends

	.syntax unified
	.arm

	.equ	LENGTH, 1 << 13
	.equ	END, 1 << 14
	.equ	MORE, 1 << 15
	.equ	LITLEN_BITS, 10
	.equ	DISTANCE_MASK, 255

	.section .text.inflate_quick, "ax"
	.global	inflate_quick
	.type	inflate_quick, %function

	@ There are less than 16 bits. These are for what is next, whatever it is.
	.macro	fill
	ldrh	r7, [r0], #2
	orr	r2, r2, r7, lsl r3
	add	r3, r3, #16
	.endm

	.macro	consume	count
	mov	r2, r2, lsr \count
	sub	r3, r3, \count
	.endm

	@ The next symbol. Only literals come here without a look at the ends since there were less than 16 bits.
	.macro	next
	tst	r3, #0x30
	bne	symbol
	b	filled
	.endm

inflate_quick:				@ r0: see `Quick`
	stmdb	sp!, {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}
	ldmia	r0, {r0, r1, r2, r3, r5, r6, r10, r11, r12, lr}
	tst	r3, #0x30
	bne	symbol
filled:
	cmp	r0, r12
	cmpls	r1, lr
	bhi	done
	fill
symbol:
	and	r7, r10, r2, lsl #2
	ldr	r4, [r5, r7]
	cmp	r4, #0
	bge	1f
literal:
	mov	r7, r4, lsr #16
	strb	r7, [r1], #1
	consume	r4
	next

1:	cmp	r0, r12
	cmpls	r1, lr
	bhi	done
	tst	r4, #LENGTH
	beq	special
	mov	r9, r4, lsr #16
	consume	r4
distance:
	tst	r3, #0x30
	bne	2f
	fill
2:	and	r7, r2, #DISTANCE_MASK
	ldr	r4, [r6, r7, lsl #2]
	tst	r4, #MORE
	bne	long_distance
3:	consume	r4
	and	r8, r4, #0xf00
	tst	r3, #0x30
	bne	4f
	fill
4:	mov	r7, r8, lsr #8		@ extra bits
	mvn	r8, #0
	bic	r8, r2, r8, lsl r7
	add	r4, r8, r4, lsr #16
	consume	r7
	subs	r8, r1, r4
	cmphs	r8, r11
	blo	bad
	cmp	r9, #16
	bhs	long_match

	@ Byte by byte: it may overlap itself. The odd ones come first.
bytes:
	rsb	r7, r9, #0
	and	r7, r7, #3
	add	pc, pc, r7, lsl #3
	nop
5:	ldrb	r7, [r8], #1
	strb	r7, [r1], #1
	ldrb	r7, [r8], #1
	strb	r7, [r1], #1
	ldrb	r7, [r8], #1
	strb	r7, [r1], #1
	ldrb	r7, [r8], #1
	strb	r7, [r1], #1
	subs	r9, r9, #4
	bgt	5b
	next

long_match:
	tst	r4, #3
	beq	words
	cmp	r4, #1
	bne	bytes

	@ All of it is one byte.
	ldrb	r7, [r8]
	orr	r7, r7, r7, lsl #8
	orr	r7, r7, r7, lsl #16
6:	tst	r1, #3
	strbne	r7, [r1], #1
	subne	r9, r9, #1
	bne	6b
	mov	r4, r7
	mov	r8, r7
	str	r5, [sp, #-4]!
	mov	r5, r7
	subs	r9, r9, #16
7:	stmiahs	r1!, {r4, r5, r7, r8}
	subshs	r9, r9, #16
	bhs	7b
	ldr	r5, [sp], #4
	tst	r9, #8
	stmiane	r1!, {r4, r7}
	tst	r9, #4
	strne	r7, [r1], #4
	tst	r9, #2
	strhne	r7, [r1], #2
	tst	r9, #1
	strbne	r7, [r1], #1
	next

	@ What is copied lies as its copy does.
words:
	tst	r1, #3
	ldrbne	r7, [r8], #1
	strbne	r7, [r1], #1
	subne	r9, r9, #1
	bne	words
	cmp	r4, #16
	blo	9f
	stmdb	sp!, {r5, r6}
	subs	r9, r9, #16
8:	ldmiahs	r8!, {r4, r5, r6, r7}
	stmiahs	r1!, {r4, r5, r6, r7}
	subshs	r9, r9, #16
	bhs	8b
	ldmia	sp!, {r5, r6}
	adds	r9, r9, #16
	bne	bytes
	next
9:	subs	r9, r9, #4
	ldrhs	r7, [r8], #4
	strhs	r7, [r1], #4
	bhs	9b
	adds	r9, r9, #4
	bne	bytes
	next

	@ A length with its extra bits apart, or one more look.
special:
	tst	r4, #END
	bne	done
	mov	r7, r4, lsl #20
	mov	r7, r7, lsr #28		@ extra bits, or those of the second look
	mvn	r8, #0
	tst	r4, #MORE
	beq	1f
	cmp	r4, #MORE		@ no code
	beq	done
	mvn	r8, r8, lsl r7
	and	r8, r8, r2, lsr #LITLEN_BITS
	add	r8, r8, r4, lsr #16
	ldr	r4, [r5, r8, lsl #2]
	cmp	r4, #0
	blt	literal
	tst	r4, #MORE | END
	bne	done
	mov	r7, r4, lsl #20
	mov	r7, r7, lsr #28
	mvn	r8, #0
1:	mov	r9, r7
	consume	r4
	tst	r3, #0x30
	bne	2f
	fill
2:	bic	r8, r2, r8, lsl r9
	consume	r9
	add	r9, r8, r4, lsr #16
	b	distance

long_distance:
	cmp	r4, #MORE
	beq	bad
	mov	r7, r4, lsl #20
	mov	r7, r7, lsr #28
	mvn	r8, #0
	mvn	r8, r8, lsl r7
	and	r8, r8, r2, lsr #8
	add	r8, r8, r4, lsr #16
	ldr	r4, [r6, r8, lsl #2]
	tst	r4, #MORE
	beq	3b

bad:	mov	r0, #0
	add	sp, sp, #4
	ldmia	sp!, {r4, r5, r6, r7, r8, r9, r10, r11, pc}

done:	and	r3, r3, #255
	ldr	r7, [sp], #4
	stmia	r7, {r0, r1, r2, r3}
	mov	r0, #1
	ldmia	sp!, {r4, r5, r6, r7, r8, r9, r10, r11, pc}
