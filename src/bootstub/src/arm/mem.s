@ SPDX-License-Identifier: Apache-2.0 OR MIT
@
@ Copying, filling and comparing. All but comparing is fast where both are at a multiple of 4.

	.syntax unified
	.arm
	.section .text.memcpy, "ax"
	.global	memcpy, __aeabi_memcpy, __aeabi_memcpy4, __aeabi_memcpy8
	.type	memcpy, %function
	.type	__aeabi_memcpy, %function
	.type	__aeabi_memcpy4, %function
	.type	__aeabi_memcpy8, %function
memcpy:
__aeabi_memcpy:
__aeabi_memcpy4:
__aeabi_memcpy8:
	@ Keeps r0, which C's returns.
	mov	r12, r0
	orr	r3, r0, r1
	tst	r3, #3
	bne	3f
	subs	r2, r2, #32
	blo	2f
	stmdb	sp!, {r4, r5, r6, r7, r8, r9, lr}
1:	ldmia	r1!, {r3, r4, r5, r6, r7, r8, r9, lr}
	stmia	r12!, {r3, r4, r5, r6, r7, r8, r9, lr}
	subs	r2, r2, #32
	bhs	1b
	ldmia	sp!, {r4, r5, r6, r7, r8, r9, lr}
2:	adds	r2, r2, #28
	bcc	8f
7:	ldr	r3, [r1], #4
	str	r3, [r12], #4
	subs	r2, r2, #4
	bcs	7b
8:	adds	r2, r2, #4
	bne	6f
	bx	lr
3:	subs	r2, r2, #4
	blo	5f
4:	ldrb	r3, [r1], #1
	strb	r3, [r12], #1
	ldrb	r3, [r1], #1
	strb	r3, [r12], #1
	ldrb	r3, [r1], #1
	strb	r3, [r12], #1
	ldrb	r3, [r1], #1
	strb	r3, [r12], #1
	subs	r2, r2, #4
	bhs	4b
5:	adds	r2, r2, #4
	bxeq	lr
6:	ldrb	r3, [r1], #1
	strb	r3, [r12], #1
	subs	r2, r2, #1
	bne	6b
	bx	lr

	.section .text.memmove, "ax"
	.global	memmove, __aeabi_memmove, __aeabi_memmove4, __aeabi_memmove8
	.type	memmove, %function
	.type	__aeabi_memmove, %function
	.type	__aeabi_memmove4, %function
	.type	__aeabi_memmove8, %function
memmove:
__aeabi_memmove:
__aeabi_memmove4:
__aeabi_memmove8:
	sub	r3, r0, r1
	cmp	r3, r2
	bhs	memcpy
	add	r1, r1, r2
	add	r12, r0, r2
1:	subs	r2, r2, #1
	bxlo	lr
	ldrb	r3, [r1, #-1]!
	strb	r3, [r12, #-1]!
	b	1b

	.section .text.memset, "ax"
	.global	memset, __aeabi_memset, __aeabi_memset4, __aeabi_memset8
	.type	memset, %function
	.type	__aeabi_memset, %function
	.type	__aeabi_memset4, %function
	.type	__aeabi_memset8, %function
	.global	__aeabi_memclr, __aeabi_memclr4, __aeabi_memclr8
	.type	__aeabi_memclr, %function
	.type	__aeabi_memclr4, %function
	.type	__aeabi_memclr8, %function
__aeabi_memclr:
__aeabi_memclr4:
__aeabi_memclr8:
	mov	r2, r1
	mov	r1, #0
	b	memset
	@ EABI's has length and value the other way round.
__aeabi_memset:
__aeabi_memset4:
__aeabi_memset8:
	mov	r3, r1
	mov	r1, r2
	mov	r2, r3
memset:
	mov	r12, r0
	and	r1, r1, #255
	tst	r0, #3
	bne	2f
	orr	r1, r1, r1, lsl #8
	orr	r1, r1, r1, lsl #16
1:	subs	r2, r2, #4
	strhs	r1, [r12], #4
	bhi	1b
	bxeq	lr
	add	r2, r2, #4
2:	subs	r2, r2, #1
	strbhs	r1, [r12], #1
	bhi	2b
	bx	lr

	.section .text.memcmp, "ax"
	.global	memcmp, bcmp
	.type	memcmp, %function
	.type	bcmp, %function
memcmp:
bcmp:
	subs	r2, r2, #1
	movlo	r0, #0
	bxlo	lr
	ldrb	r3, [r0], #1
	ldrb	r12, [r1], #1
	subs	r3, r3, r12
	beq	memcmp
	mov	r0, r3
	bx	lr

	@ The sum of the words from r0 to r1, of which there are a multiple of 8, and the sum of these sums; both are added to
	@ r2 and r3. In r0 and r1.
	.section .text.summed, "ax"
	.global	summed_words
	.type	summed_words, %function
summed_words:
	stmdb	sp!, {r4, r5, r6, r7, r8, r9, r10, lr}
1:	cmp	r0, r1
	beq	2f
	ldmia	r0!, {r4, r5, r6, r7, r8, r9, r10, r12}
	add	r2, r2, r4
	add	r3, r3, r2
	add	r2, r2, r5
	add	r3, r3, r2
	add	r2, r2, r6
	add	r3, r3, r2
	add	r2, r2, r7
	add	r3, r3, r2
	add	r2, r2, r8
	add	r3, r3, r2
	add	r2, r2, r9
	add	r3, r3, r2
	add	r2, r2, r10
	add	r3, r3, r2
	add	r2, r2, r12
	add	r3, r3, r2
	b	1b
2:	mov	r0, r2
	mov	r1, r3
	ldmia	sp!, {r4, r5, r6, r7, r8, r9, r10, pc}
