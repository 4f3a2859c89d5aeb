/* Sections as kernels have them, and some that nobody should have. Section types are in quotes: @ and % begin comments
   and registers on some CPUs. */
#ifdef __x86_64__
#define WORD .quad
#else
#define WORD .long
#endif
	.section .note.a,"a","note"
	.long 4,4,1
	.asciz "abc"
	.long 7
	.section .empty,"aw","progbits"
	.section .emptyn,"aw","nobits"
	.text
	.globl _start
_start:	nop
	.section .rodata,"a"
	.long 5
	.data
	.globl datum
datum:	WORD _start
	.bss
	.skip 100
	.section .outside,"a"
	.ascii "outside"
	.section .mod,"","progbits"
	.ascii "modinfo"
	.section .odd,"","progbits"
	.balign 32
	.ascii "x"
	.section .comment
	.asciz "hi"
