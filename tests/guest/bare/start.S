/* The first instructions of every CPU: from PVH's 32-bit entry, or from a start-up IPI's
 * real mode, to long mode on one flat map of 4 GiB; exceptions and interrupts. */
	.section .note.pvh, "a", @note
	.long	4, 8, 18
	.asciz	"Xen"
	.quad	start

	.set	CODE64, 8
	.set	DATA, 16
	.set	CODE32, 24
	.set	STACK, 16384
	.set	CPUS, 16

	.text
	.code32
	.globl start
start:	cli
	cld
	movl	%ebx, start_info
	movl	$stacks + STACK, %esp
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
	movl	$1, %eax		/* which CPU this is: they come in any order */
	lock xaddl %eax, cpus_up
	movl	%eax, %ebx
	incl	%eax
	imull	$STACK, %eax, %eax
	leal	stacks(%eax), %esp
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
	movl	%ebx, %edi
	call	other_main
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

	/* 256 vectors: exceptions but for the NMI go to trap(), which does not return; the
	 * others to interrupt() */
	.code64
	.balign	16
	.globl vectors
vectors:
	.set	v, 0
	.rept	256
	.balign	16
	pushq	$v
	.if	v < 32 && v != 2
	jmp	trapped
	.else
	jmp	interrupted
	.endif
	.set	v, v + 1
	.endr
trapped:
	movq	%rsp, %rdi
	andq	$-16, %rsp
	call	trap
	ud2
interrupted:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	subq	$8, %rsp
	movq	80(%rsp), %rdi
	cld
	call	interrupt
	addq	$8, %rsp
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$8, %rsp
	iretq

	.data
	.balign	8
gdt:	.quad	0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cf9a000000ffff
gdt_ptr:
	.word	31
	.long	gdt
	.globl idt, idt_ptr, start_info
idt_ptr:
	.word	256 * 16 - 1
	.quad	idt
start_info:
	.long	0, 0
	.globl cpus_up
cpus_up:
	.long	1

	.bss
	.balign	4096
pds:	.skip	4 * 4096
pdpt:	.skip	4096
pml4:	.skip	4096
idt:	.skip	256 * 16
stacks:	.skip	CPUS * STACK
