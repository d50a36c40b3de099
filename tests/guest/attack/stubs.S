/* Exceptions end an attempt(), wherever it was; interrupts are counted.  Both on stacks of their own. */
	.text
	.globl attempt
attempt:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rsp, attempt_sp
	subq	$8, %rsp
	call	*%rax
	movq	attempt_sp, %rsp
	movl	$256, %eax
resume:	cld
	cli
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	/* by IRET, so that an NMI's is over, too */
failed:
	movl	$16, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	movl	%ecx, %ss
	pushq	$16
	pushq	attempt_sp
	pushq	$2
	pushq	$8
	pushq	$resume
	iretq

	.globl user_enter
user_enter:			/* rip, rsp, flags, cs */
	pushq	$35
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rdi
	movl	$35, %eax
	movl	%eax, %ds
	movl	%eax, %es
	iretq

	.balign	16
	.globl stub_vectors
stub_vectors:
	.set	v, 0
	.rept	256
	.balign	16
	.if	v < 32
	movl	$v, %eax
	jmp	failed
	.else
	pushq	%rax
	jmp	counted
	.endif
	.set	v, v + 1
	.endr
counted:
	movl	$0xfee000b0, %eax
	movl	$0, (%rax)
	lock incq came
	popq	%rax
	iretq

	.bss
	.balign	4096
	.skip	4096
	.globl ist_trap, ist_irq
ist_trap:
	.skip	4096
ist_irq:
	.globl attempt_sp, came
attempt_sp:	.skip	8
came:	.skip	8
