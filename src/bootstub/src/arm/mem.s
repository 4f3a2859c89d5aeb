@ SPDX-License-Identifier: Apache-2.0 OR MIT
@
@ Copying, filling and comparing. All but comparing is fast where both are at a multiple of 4.

	.syntax unified
	.arm
	.section .text.memcpy, "ax"
	.global	memcpy, __aeabi_memcpy, __aeabi_memcpy4, __aeabi_memcpy8
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
	.global	__aeabi_memclr, __aeabi_memclr4, __aeabi_memclr8
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
