/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * From a disk to a bzImage's setup, by a BIOS. A floppy (its geometry stands
 * in the boot sector), a hard disk with INT 13h extensions, a CD or DVD
 * without emulation (El Torito): all sectors are counted in 512 bytes from
 * the disk's first. Needs a 386.
 *
 * Documentation/arch/x86/boot.rst; Phoenix, "Enhanced Disk Drive
 * Specification" 1.1; "El Torito" 1.0.
 *
 *	0x00500		the BIOS's own, and a packet for it
 *	0x07c00		the boot sector; the stack ends here
 *	0x08000		the loader, what it is to load, texts
 *	0x10000		the setup; its heap and stack end at 0x1e000
 *	0x1e000		the command line
 *	0x20000		what was read, on its way above 1 MiB
 */
	.set	PACKET, 0x7e00		/* of INT 13h: 16 bytes */
	.set	DRIVE, 0x7e16		/* as the BIOS counts them */
	.set	SHIFT, 0x7e17		/* from sectors of 512 bytes to those of the disk */
	.set	DRIVE_INFO, 0x7e20	/* 30 bytes */
	.set	LOADER, 0x8000
	.set	SETUP, 0x1000		/* as a segment */
	.set	HEAP_END, 0xe000
	.set	CMDLINE, 0xe000		/* in the segment of the setup */
	.set	CMDLINE_MAX, 0x1000
	.set	BUFFER, 0x2000		/* as a segment */
	.set	CHUNK, 60 << 10		/* 30 blocks of a CD, 120 sectors: all BIOSes read that many */
	.set	MAP_ENTRY, 0x7e40	/* 20 bytes */

	/* in the setup */
	.set	HEADER, 0x202
	.set	TYPE_OF_LOADER, 0x210
	.set	LOADFLAGS, 0x211
	.set	RAMDISK_IMAGE, 0x218
	.set	RAMDISK_SIZE, 0x21c
	.set	HEAP_END_PTR, 0x224
	.set	CMD_LINE_PTR, 0x228
	.set	CAN_USE_HEAP, 0x80

	.code16
/* ---- the boot sector ------------------------------------------------------ */
	.section .boot, "ax", @progbits
	.globl	boot
boot:	.byte	0xeb, code - boot - 2, 0x90
	/* The parameters of a FAT file system, where it begins with this sector. */
	.org	boot + 0x18
sectors_per_track: .word 0
heads:	.word	0
	.org	boot + 0x5a
	.globl	code
code:	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$boot, %sp
	sti
	ljmp	$0, $1f
1:	movb	%dl, DRIVE
	movb	%al, SHIFT
	testb	%dl, %dl
	jns	1f			/* a floppy */
	/* Of a CD, the sectors are larger. */
	movw	$DRIVE_INFO, %si
	movw	$30, (%si)
	movb	$0x48, %ah
	int	$0x13
	jc	1f
	cmpw	$2048, DRIVE_INFO + 24
	jne	1f
	movb	$2, SHIFT
1:	movl	loader_lba, %eax
	movw	loader_sectors, %cx
	movw	$LOADER, %bx
	call	read
	jmp	LOADER

/* EAX: first sector; CX: how many, none of them behind 64 KiB of ES:BX, where they go. */
read:	pushal
	pushw	%es
	testb	$0x80, DRIVE
	jz	by_geometry
	movw	$PACKET, %si
	movw	$16, (%si)
	movw	%bx, 4(%si)
	movw	%es, 6(%si)
	movw	%cx, %bx
	movb	SHIFT, %cl
	shrl	%cl, %eax
	movl	%eax, 8(%si)
	movl	$0, 12(%si)
	movw	$1, %ax			/* the last one may not be whole */
	shlw	%cl, %ax
	decw	%ax
	addw	%bx, %ax
	shrw	%cl, %ax
	movw	$5, %di
	movw	%ax, %cx
1:	movw	%cx, 2(%si)		/* how many were read comes back here */
	movb	$0x42, %ah
	call	int13
	jc	1b
	jmp	9f

by_geometry:
	movw	%cx, %bp		/* how many are left; BX is a multiple of 16 */
	shrw	$4, %bx
	movw	%es, %dx
	addw	%bx, %dx
	movw	%dx, %es
1:	movw	$5, %di
2:	pushl	%eax
	xorl	%edx, %edx
	movzwl	sectors_per_track, %ecx
	divl	%ecx			/* EAX: track, DX: sector of it, from 0 */
	movw	%cx, %si		/* as many as are left of the track */
	subw	%dx, %si
	cmpw	%bp, %si
	jbe	3f
	movw	%bp, %si
3:	leaw	1(%edx), %cx
	xorl	%edx, %edx
	movzwl	heads, %ebx
	divl	%ebx			/* AX: cylinder, DX: head */
	movb	%dl, %dh
	movb	%al, %ch
	shlb	$6, %ah
	orb	%ah, %cl
	xorw	%bx, %bx
	movw	%si, %ax
	movb	$2, %ah
	call	int13
	popl	%eax
	jc	2b
	movzwl	%si, %esi
	addl	%esi, %eax
	subw	%si, %bp
	shlw	$5, %si
	movw	%es, %dx
	addw	%si, %dx
	movw	%dx, %es
	testw	%bp, %bp
	jnz	1b
9:	popw	%es
	popal
	ret

/* INT 13h; after an error the drive is reset, and carry set. DI: how often that may be. */
int13:	movb	DRIVE, %dl
	pushw	%si
	pushw	%di
	pushw	%bp
	int	$0x13
	popw	%bp
	popw	%di
	popw	%si
	jnc	1f
	xorw	%ax, %ax
	int	$0x13
	decw	%di
	stc
	jnz	1f
	movw	$msg_read, %si
fail:	call	puts
2:	hlt
	jmp	2b
1:	ret

/* puts is here */
	.section .boot_data, "aw", @progbits
msg_read:	.asciz	"kimage: read error\r\n"
	.globl	loader_lba, loader_sectors
loader_lba:	.long	0		/* written by the packer */
loader_sectors:	.word	0
	.globl	boot_end
boot_end:

/* ---- the loader ----------------------------------------------------------- */
	.section .loader, "awx", @progbits
	jmp	main

	.balign	4
	.globl	parameters
parameters:				/* written by the packer; all in bytes but the first sectors */
	.ascii	"KIMGDISK"
kernel_lba:	.long	0
kernel_size:	.long	0
setup_size:	.long	0
memory_end:	.long	0		/* what the kernel needs of the memory above 1 MiB ends here */
initrd_lba:	.long	0
initrd_size:	.long	0
initrd_max:	.long	0		/* the last byte where it may be */
cmdline_at:	.word	0		/* addresses of what stands behind _edata */
msg_memory_at:	.word	0

main:	movw	$msg_loading, %si
	call	puts
	call	find_memory
	movw	msg_memory_at, %si
	cmpb	$0, is_enough
	je	fail
	cmpl	$0, initrd_at
	jne	1f
	cmpl	$0, initrd_size
	jne	fail

	/* The setup, which is in what is read first. */
1:	movl	kernel_lba, %eax
	movl	kernel_size, %ebp
	call	read_chunk
	pushw	%ds
	pushw	$SETUP
	popw	%es
	movl	setup_size, %ecx
	movl	%ecx, %edx
	pushw	$BUFFER
	popw	%ds
	xorl	%esi, %esi
	xorl	%edi, %edi
	shrw	$2, %cx
	rep movsl
	popw	%ds
	movw	$msg_changed, %si
	cmpl	$0x53726448, %es:HEADER	/* "HdrS" */
	jne	fail
	movl	$0x100000, %edi
	call	move_chunk
	call	load

	movl	initrd_lba, %eax
	movl	initrd_size, %ebp
	movl	initrd_at, %edi
	call	load

	/* What a loader tells the setup */
	movb	$0xff, %es:TYPE_OF_LOADER
	orb	$CAN_USE_HEAP, %es:LOADFLAGS
	movw	$(HEAP_END - 0x200), %es:HEAP_END_PTR
	movl	$(SETUP * 16 + CMDLINE), %es:CMD_LINE_PTR
	movl	initrd_at, %eax
	movl	%eax, %es:RAMDISK_IMAGE
	movl	initrd_size, %eax
	movl	%eax, %es:RAMDISK_SIZE
	movw	cmdline_at, %si
	movw	$CMDLINE, %di
	movw	$CMDLINE_MAX, %cx
	rep movsb

	/* A floppy's motor would run on. */
	testb	$0x80, DRIVE
	jnz	2f
	movw	$0x3f2, %dx
	xorb	%al, %al
	outb	%al, %dx
2:	cli
	movw	%es, %ax
	movw	%ax, %ds
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movw	$HEAP_END, %sp
	ljmp	$(SETUP + 0x20), $0

/* EAX: sector; EBP: bytes; EDI: to; EDX: 0. */
load:	testl	%ebp, %ebp
	jz	1f
	call	read_chunk
	call	move_chunk
	jmp	load
1:	ret

/* Reads the next of EBP bytes from sector EAX on: ECX of them, at most CHUNK. */
read_chunk:
	movl	$CHUNK, %ecx
	cmpl	%ebp, %ecx
	jbe	1f
	movl	%ebp, %ecx
1:	pushal
	pushw	%es
	addl	$511, %ecx
	shrl	$9, %ecx
	pushw	$BUFFER
	popw	%es
	xorw	%bx, %bx
	call	read
	popw	%es
	popal
	addl	$(CHUNK >> 9), %eax
	subl	%ecx, %ebp
	movl	%ecx, chunk
	ret

/* Moves what was read, but for the first EDX bytes, to EDI, which is behind it then; EDX is 0. */
move_chunk:
	pushal
	pushw	%es
	movl	chunk, %ecx
	subl	%edx, %ecx
	movl	%ecx, %ebx
	jz	1f
	leal	(BUFFER * 16)(%edx), %eax
	movw	%ax, move_from + 2
	shrl	$16, %eax
	movb	%al, move_from + 4
	movl	%edi, %eax
	movw	%ax, move_to + 2
	shrl	$16, %eax
	movb	%al, move_to + 4
	movb	%ah, move_to + 7
	incl	%ecx
	shrl	$1, %ecx		/* words */
	pushw	%ds
	popw	%es
	movw	$move_gdt, %si
	pushl	%ebx
	movb	$0x87, %ah
	int	$0x15
	popl	%ebx
	movw	$msg_move, %si
	jc	fail
1:	popw	%es
	movl	%ebx, chunk
	popal
	addl	chunk, %edi
	xorl	%edx, %edx
	ret

/* Is there memory enough for the kernel, and where does the RAM disk go? */
find_memory:
	xorl	%ebx, %ebx
1:	movl	$0xe820, %eax
	movl	$20, %ecx
	movl	$0x534d4150, %edx	/* "SMAP" */
	movw	$MAP_ENTRY, %di
	stc
	int	$0x15
	pushw	%ss			/* zero */
	popw	%es
	jc	3f
	cmpl	$0x534d4150, %eax
	jne	3f
	cmpl	$1, MAP_ENTRY + 16	/* RAM */
	jne	2f
	cmpl	$0, MAP_ENTRY + 4	/* above 4 GiB */
	jne	2f
	movl	MAP_ENTRY, %eax
	movl	MAP_ENTRY + 8, %edx
	addl	%eax, %edx
	jc	5f
	cmpl	$0, MAP_ENTRY + 12
	je	6f
5:	movl	$0xffffffff, %edx
6:	call	region
2:	incw	has_map
	testl	%ebx, %ebx
	jnz	1b
3:	cmpw	$0, has_map
	jne	9f
	/* E801: KiB from 1 to 16 MiB, and blocks of 64 KiB above */
	xorw	%cx, %cx
	xorw	%dx, %dx
	movw	$0xe801, %ax
	int	$0x15
	jc	7f
	testw	%cx, %cx
	jz	4f
	movw	%cx, %ax
	movw	%dx, %bx
4:	movzwl	%bx, %edx
	shll	$16, %edx
	addl	$0x1000000, %edx
	cmpw	$15 << 10, %ax
	je	8f
	jmp	4f
	/* 88: KiB from 1 MiB on */
7:	movb	$0x88, %ah
	int	$0x15
4:	movzwl	%ax, %edx
	shll	$10, %edx
	addl	$0x100000, %edx
8:	movl	$0x100000, %eax

/* There is memory from EAX to EDX. */
region:	pushal
	movl	memory_end, %ecx
	cmpl	$0x100000, %eax
	ja	1f
	cmpl	%ecx, %edx
	jb	1f
	movb	$1, is_enough
1:	cmpl	%eax, %ecx		/* the first byte that is free */
	jae	2f
	movl	%eax, %ecx
2:	movl	initrd_max, %eax
	cmpl	%eax, %edx
	jbe	3f
	leal	1(%eax), %edx
3:	subl	initrd_size, %edx
	jb	4f
	andl	$0xfffff000, %edx
	cmpl	%ecx, %edx
	jb	4f
	cmpl	initrd_at, %edx
	jbe	4f
	movl	%edx, initrd_at
4:	popal
9:	ret

msg_loading:	.asciz	"kimage: loading the kernel\r\n"
msg_changed:	.asciz	"kimage: the kernel is not where it was: make the disk anew\r\n"
msg_move:	.asciz	"kimage: the BIOS does not move data above 1 MiB\r\n"

	.balign	4
chunk:		.long	0
initrd_at:	.long	0
has_map:	.word	0
is_enough:	.byte	0
	.balign	8
move_gdt:	.quad	0, 0
move_from:	.quad	0x000093000000ffff
move_to:	.quad	0x000093000000ffff
	.quad	0, 0
