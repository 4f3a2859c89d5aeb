/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The real-mode setup: boot sector (empty: the packer puts a PE header there
 * if it wants one), the header of boot protocol 2.15, and the way from a BIOS
 * to protected mode. Documentation/arch/x86/boot.rst, zero-page.rst.
 *
 * Fields that depend on the kernel are 0 here and written by the packer.
 */
	.set	STACK_SIZE, 1024
	.set	LOADED_HIGH, 1
	.set	CAN_USE_HEAP, 0x80
	.set	KERNEL_64, 1			/* xloadflags */
	.set	OLD_CMDLINE_MAGIC, 0xa33f

	/* boot_params */
	.set	BP_ORIG_X, 0x00
	.set	BP_EXT_MEM_K, 0x02
	.set	BP_VIDEO_PAGE, 0x04
	.set	BP_VIDEO_MODE, 0x06
	.set	BP_VIDEO_COLS, 0x07
	.set	BP_EGA_BX, 0x0a
	.set	BP_VIDEO_LINES, 0x0e
	.set	BP_IS_VGA, 0x0f
	.set	BP_POINTS, 0x10
	.set	BP_IST, 0x60
	.set	BP_ALT_MEM_K, 0x1e0
	.set	BP_E820_COUNT, 0x1e8
	.set	BP_KBD_STATUS, 0x1eb
	.set	BP_HDR, 0x1f1
	.set	BP_CODE32, 0x214
	.set	BP_CMD_LINE_PTR, 0x228
	.set	BP_E820_TABLE, 0x2d0
	.set	E820_MAX, 128

	.code16

	.section .bstext, "a", @progbits
	.skip	0x1ef, 0

	.section .header, "a", @progbits
sentinel:	.byte	0xff, 0xff	/* cleared by loaders that know it */
	.globl	hdr
hdr:					/* 0x1f1 */
setup_sects:	.byte	0
root_flags:	.word	1		/* mount the root read-only first */
syssize:	.long	0
ram_size:	.word	0
vid_mode:	.word	0xffff		/* normal */
root_dev:	.word	0
boot_flag:	.word	0xaa55
	.globl	_start
_start:					/* 0x200 */
	.byte	0xeb, entry - 1f
1:
header:		.ascii	"HdrS"
version:	.word	0x020f
realmode_swtch:	.word	0, 0
start_sys_seg:	.word	0x1000		/* obsolete */
kernel_version:	.word	0
type_of_loader:	.byte	0
loadflags:	.byte	LOADED_HIGH
setup_move_size: .word	0x8000
code32_start:	.long	0x100000
ramdisk_image:	.long	0
ramdisk_size:	.long	0
bootsect_kludge: .long	0
heap_end_ptr:	.word	_end + STACK_SIZE - 512
ext_loader_ver:	.byte	0
ext_loader_type: .byte	0
cmd_line_ptr:	.long	0
initrd_addr_max: .long	0x7fffffff
kernel_alignment: .long	0
relocatable_kernel: .byte 0
min_alignment:	.byte	0
xloadflags:	.word	0
cmdline_size:	.long	2047
hardware_subarch: .long	0
hardware_subarch_data: .quad 0
payload_offset:	.long	0
payload_length:	.long	0
setup_data:	.quad	0
pref_address:	.quad	0
init_size:	.long	0
handover_offset: .long	0
kernel_info_offset: .long 0
hdr_end:

/* ---- entry: CS = DS + 0x20, SS and SP as the loader left them ------------ */
	.section .entrytext, "ax", @progbits
entry:					/* 0x26c */
	cli
	cld
	movw	%ds, %ax
	movw	%ax, %es
	/* The loader's stack, when it is in our segment; else one of our own. */
	movw	%ss, %cx
	movw	%sp, %dx
	cmpw	%ax, %cx
	je	2f
	movw	$_end, %dx
	testb	$CAN_USE_HEAP, loadflags
	jz	1f
	movw	heap_end_ptr, %dx
1:	addw	$STACK_SIZE, %dx
	jnc	2f
	xorw	%dx, %dx
2:	andw	$0xfffc, %dx
	jnz	3f
	movw	$0xfffc, %dx
3:	movw	%ax, %ss
	movzwl	%dx, %esp
	pushw	%ax			/* CS equal to DS */
	pushw	$4f
	lretw
4:	cmpl	$0x5a5aaa55, signature
	jne	incomplete
	movw	$__bss_start, %di
	movw	$_end, %cx
	subw	%di, %cx
	xorl	%eax, %eax
	shrw	$2, %cx
	rep stosl
	sti
	jmp	main

incomplete:
	movw	$msg_incomplete, %si
fail:					/* SI: text */
	call	puts
1:	hlt
	jmp	1b

	.section .text, "ax", @progbits
main:
	/* What the loader wrote goes on, as much as there is of it. */
	movw	$hdr, %si
	movw	$(boot_params + BP_HDR), %di
	movw	$(hdr_end - hdr), %cx
	rep movsb
	call	old_command_line
	call	check_cpu
	call	get_ist
	call	tell_bios
	call	get_memory
	call	get_keyboard
	call	get_video
	jmp	go_protected

/* Before protocol 2.02, the command line's place was said at 0x90020. */
old_command_line:
	cmpl	$0, boot_params + BP_CMD_LINE_PTR
	jne	1f
	pushw	$0x9000
	popw	%fs
	cmpw	$OLD_CMDLINE_MAGIC, %fs:0x20
	jne	1f
	movzwl	%fs:0x22, %eax
	/* Inside of this segment, or in its old place */
	movw	$0x9000, %bx
	cmpw	setup_move_size, %ax
	jae	2f
	movw	%ds, %bx
2:	movzwl	%bx, %ebx
	shll	$4, %ebx
	addl	%ebx, %eax
	movl	%eax, boot_params + BP_CMD_LINE_PTR
1:	ret

/* CPUID there? Long mode, if the kernel is entered in it? BP: the CPU's family, 0 when there is no CPUID. */
check_cpu:
	xorw	%bp, %bp
	pushfl
	popl	%eax
	movl	%eax, %ecx
	xorl	$0x200000, %eax		/* EFLAGS.ID */
	pushl	%eax
	popfl
	pushfl
	popl	%eax
	xorl	%ecx, %eax
	pushl	%ecx
	popfl
	testl	$0x200000, %eax
	jz	1f
	movl	$1, %eax
	cpuid
	movb	%ah, %al
	andw	$0xf, %ax
	movw	%ax, %bp
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	1f
	movl	$0x80000001, %eax
	cpuid
	btl	$29, %edx
	jc	2f
1:	movw	$msg_cpu, %si
	testb	$KERNEL_64, xloadflags
	jnz	fail
2:	ret

/* The BIOS may wish to know that we go to long mode. */
tell_bios:
	testb	$KERNEL_64, xloadflags
	jz	2b
	movw	$0xec00, %ax
	movw	$2, %bx
	jmp	bios15

/* INT 15h; a BIOS may spoil every register, and carry says whether it knew. */
bios15:
	stc
	pushal
	pushw	%ds
	pushw	%es
	int	$0x15
	popw	%es
	popw	%ds
	movw	%sp, %bp
	movw	%ax, 28(%bp)		/* the saved EAX, EBX, ECX, EDX */
	movw	%bx, 16(%bp)
	movw	%cx, 24(%bp)
	movw	%dx, 20(%bp)
	popal
	ret

get_memory:
	call	get_e820
	/* E801: KiB from 1 to 16 MiB, and 64-KiB blocks above */
	xorw	%cx, %cx
	xorw	%dx, %dx
	movw	$0xe801, %ax
	call	bios15
	jc	3f
	testw	%cx, %cx
	jnz	1f
	testw	%dx, %dx
	jz	2f
1:	movw	%cx, %ax		/* some answer in the other pair */
	movw	%dx, %bx
2:	cmpw	$15 * 1024, %ax
	ja	3f
	movzwl	%ax, %eax
	jne	4f
	movzwl	%bx, %ebx
	shll	$6, %ebx
	addl	%ebx, %eax
4:	movl	%eax, boot_params + BP_ALT_MEM_K
	/* 88: KiB from 1 MiB on, up to 64 MiB */
3:	movb	$0x88, %ah
	call	bios15
	jc	5f
	movw	%ax, boot_params + BP_EXT_MEM_K
5:	ret

get_e820:
	xorl	%ebx, %ebx
	movw	$(boot_params + BP_E820_TABLE), %di
	xorl	%ebp, %ebp		/* entries */
1:	movl	$0xe820, %eax
	movl	$20, %ecx
	movl	$0x534d4150, %edx	/* "SMAP" */
	stc
	pushw	%bp
	pushw	%di
	pushw	%ds
	pushw	%es
	int	$0x15
	popw	%es
	popw	%ds
	popw	%di
	popw	%bp
	jc	3f
	cmpl	$0x534d4150, %eax
	jne	2f
	addw	$20, %di
	incw	%bp
	cmpw	$E820_MAX, %bp
	jae	3f
	testl	%ebx, %ebx
	jnz	1b
	jmp	3f
2:	xorw	%bp, %bp		/* it lost its way: none of it counts */
3:	movw	%bp, %ax
	movb	%al, boot_params + BP_E820_COUNT
	ret

get_keyboard:
	movb	$0x02, %ah		/* shift flags */
	int	$0x16
	movb	%al, boot_params + BP_KBD_STATUS
	movw	$0x0305, %ax		/* fastest repetition */
	xorw	%bx, %bx
	int	$0x16
	ret

/* Intel SpeedStep; only CPUs from the Pentium II on are asked. BP: the family. */
get_ist:
	cmpw	$6, %bp
	jb	1f
	movl	$0xe980, %eax
	movl	$0x47534943, %edx
	stc
	pushw	%ds
	pushw	%es
	int	$0x15
	popw	%es
	popw	%ds
	jc	1f
	movl	%eax, boot_params + BP_IST
	movl	%ebx, boot_params + BP_IST + 4
	movl	%ecx, boot_params + BP_IST + 8
	movl	%edx, boot_params + BP_IST + 12
1:	ret

/* What the screen is like now: the mode is left as it is. */
get_video:
	movb	$0x03, %ah
	xorw	%bx, %bx
	int	$0x10
	movb	%dl, boot_params + BP_ORIG_X
	movb	%dh, boot_params + BP_ORIG_X + 1
	movb	$0x0f, %ah
	int	$0x10
	andb	$0x7f, %al
	movb	%al, boot_params + BP_VIDEO_MODE
	movb	%ah, boot_params + BP_VIDEO_COLS
	movzbw	%bh, %bx
	movw	%bx, boot_params + BP_VIDEO_PAGE
	movw	$0x1200, %ax		/* EGA or better? */
	movw	$0x0010, %bx
	int	$0x10
	movw	%bx, boot_params + BP_EGA_BX
	movb	$25, boot_params + BP_VIDEO_LINES
	cmpb	$0x10, %bl
	je	1f
	movw	$0x1a00, %ax		/* VGA? */
	int	$0x10
	cmpb	$0x1a, %al
	jne	2f
	movb	$1, boot_params + BP_IS_VGA
2:	xorw	%ax, %ax
	movw	%ax, %fs
	movw	%fs:0x485, %ax
	movw	%ax, boot_params + BP_POINTS
	movb	%fs:0x484, %al
	incb	%al
	movb	%al, boot_params + BP_VIDEO_LINES
1:	ret

/* ---- to protected mode --------------------------------------------------- */
go_protected:
	/* A loader's own hook; it must end with interrupts and NMI off. */
	cmpl	$0, realmode_swtch
	je	1f
	lcallw	*realmode_swtch
	jmp	2f
1:	cli
	movb	$0x80, %al
	outb	%al, $0x70
	outb	%al, $0x80
2:	call	enable_a20
	xorb	%al, %al		/* coprocessor */
	outb	%al, $0xf0
	outb	%al, $0x80
	outb	%al, $0xf1
	outb	%al, $0x80
	movb	$0xff, %al		/* all interrupts of both controllers */
	outb	%al, $0xa1
	outb	%al, $0x80
	movb	$0xfb, %al		/* but the cascade */
	outb	%al, $0x21
	outb	%al, $0x80

	xorl	%ebx, %ebx		/* EBX = linear address of our segment */
	movw	%ds, %bx
	shll	$4, %ebx
	leal	gdt(%ebx), %eax
	movl	%eax, gdt_ptr + 2
	leal	boot_params(%ebx), %esi
	leal	in_protected(%ebx), %edx
	movl	boot_params + BP_CODE32, %eax
	lidtl	no_idt
	lgdtl	gdt_ptr
	xorl	%edi, %edi
	movl	%cr0, %ecx
	orb	$1, %cl
	movl	%ecx, %cr0
	pushl	$0x10
	pushl	%edx
	lretl

/* Address line 20: may be on; then by the BIOS, the keyboard controller, port 92h. */
enable_a20:
	movl	$255, %ebp
1:	call	test_a20
	jne	9f
	movw	$0x2401, %ax
	call	bios15
	call	test_a20
	jne	9f
	call	keyboard_ready
	movb	$0xd1, %al
	outb	%al, $0x64
	call	keyboard_ready
	movb	$0xdf, %al
	outb	%al, $0x60
	call	keyboard_ready
	movb	$0xff, %al
	outb	%al, $0x64
	call	keyboard_ready
	call	wait_a20
	jne	9f
	inb	$0x92, %al
	orb	$2, %al
	andb	$0xfe, %al		/* bit 0 would reset the machine */
	outb	%al, $0x92
	call	wait_a20
	jne	9f
	decl	%ebp
	jnz	1b
	movw	$msg_a20, %si
	jmp	fail
9:	ret

keyboard_ready:
	movl	$100000, %ecx
1:	outb	%al, $0x80
	inb	$0x64, %al
	testb	$1, %al
	jz	2f
	inb	$0x60, %al		/* nobody waits for this byte */
	jmp	3f
2:	testb	$2, %al
	jz	4f
3:	decl	%ecx
	jnz	1b
4:	ret

wait_a20:
	movl	$0x10000, %ecx
1:	call	test_a20
	jne	2f
	outb	%al, $0x80
	decl	%ecx
	jnz	1b
	cmpl	%ecx, %ecx		/* still off */
2:	ret

/* Not equal: on. Writes at 0x200 and looks at 0x100200. */
test_a20:
	pushl	%eax
	pushw	%cx
	xorw	%ax, %ax
	movw	%ax, %fs
	decw	%ax
	movw	%ax, %gs
	movl	%fs:0x200, %eax
	pushl	%eax
	movw	$32, %cx
1:	incl	%eax
	movl	%eax, %fs:0x200
	outb	%al, $0x80
	cmpl	%gs:0x210, %eax
	jne	2f
	decw	%cx
	jnz	1b
	cmpw	%cx, %cx
2:	popl	%eax			/* mov and pop leave the flags */
	movl	%eax, %fs:0x200
	popw	%cx
	popl	%eax
	ret

	.section .text32, "ax", @progbits
	.code32
in_protected:				/* ESI: boot_params, EAX: protected-mode part */
	movl	$0x18, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	movl	%ecx, %fs
	movl	%ecx, %gs
	movl	%ecx, %ss
	addl	%ebx, %esp		/* the same stack */
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%eax

	.section .rodata, "a", @progbits
msg_incomplete:	.asciz	"kimage: the boot loader did not load the whole setup\r\n"
msg_cpu:	.asciz	"kimage: this kernel needs a 64-bit (x86-64) CPU\r\n"
msg_a20:	.asciz	"kimage: address line A20 cannot be switched on\r\n"

	/* The kernel's version, for loaders and people: written by the packer. */
	.globl	version_text, version_text_end
version_text:	.skip	256
version_text_end:

	.section .data, "aw", @progbits
	.balign	16
gdt:	.quad	0
	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x10: code, 4 GiB, flat */
	.quad	0x00cf93000000ffff	/* 0x18: data, 4 GiB, flat */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	0
no_idt:
	.word	0
	.long	0

	.section .signature, "a", @progbits
signature:	.long	0x5a5aaa55

	.section .bss, "aw", @nobits
	.balign	16
boot_params:	.skip	4096
