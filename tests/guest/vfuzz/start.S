/* The first instructions of both CPUs: from PVH's 32-bit entry, or from a start-up IPI's
 * real mode, to long mode on one flat map of 4 GiB; and the exceptions. */
	.section .note.pvh, "a", @note
	.long	4, 8, 18
	.asciz	"Xen"
	.quad	start

	.set	CODE64, 8
	.set	DATA, 16
	.set	CODE32, 24

	.text
	.code32
	.globl start
start:	cli
	cld
	movl	%ebx, start_info
	movl	$stack0, %esp
	/* the map: 4 tables of 512 pages of 2 MiB */
	movl	$pds, %edi
	movl	$0x83, %eax
1:	movl	%eax, (%edi)
	movl	$0, 4(%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	jnc	1b
	movl	$pds + 3, %eax
	xorl	%ecx, %ecx
2:	movl	%eax, pdpt(, %ecx, 8)
	addl	$4096, %eax
	incl	%ecx
	cmpl	$4, %ecx
	jb	2b
	movl	$pdpt + 3, pml4
	call	longmode
	ljmp	$CODE64, $first
	.globl other
other:	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$stack1, %esp
	call	longmode
	ljmp	$CODE64, $second

longmode:
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	lgdtl	gdt_ptr
	movl	%cr0, %eax
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	ret

	.code64
first:	call	segments
	call	main
	ud2
second:	call	segments
	call	second_main
	ud2
segments:
	movl	$DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	lidt	idt_ptr
	ret

	/* copied to a page below 1 MiB; runs at the start of it */
	.code16
	.globl trampoline, trampoline_end
trampoline:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	gdt_copy - trampoline
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$CODE32, $other
gdt_copy:
	.word	31
	.long	gdt
trampoline_end:

	/* 32 exceptions: their number goes to trap(); an NMI is nothing here, as a
	 * message-signalled interrupt may well be one */
	.code64
	.balign	16
	.globl vectors
vectors:
	.set	v, 0
	.rept	32
	.balign	16
	.if	v == 2
	iretq
	.else
	pushq	$v
	jmp	trapped
	.endif
	.set	v, v + 1
	.endr
trapped:
	movq	%rsp, %rdi
	andq	$-16, %rsp
	call	trap
	ud2

	.data
	.balign	8
gdt:	.quad	0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cf9a000000ffff
gdt_ptr:
	.word	31
	.long	gdt
	.globl idt, idt_ptr, start_info
idt_ptr:
	.word	32 * 16 - 1
	.quad	idt
start_info:
	.long	0, 0

	.bss
	.balign	4096
pds:	.skip	4 * 4096
pdpt:	.skip	4096
pml4:	.skip	4096
idt:	.skip	32 * 16
	.skip	16384
stack0:	.skip	16384
stack1:
