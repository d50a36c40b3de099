/* thread_switch(u64 *save, u64 to): goes on where the thread with the stack pointer `to`
 * stopped; what the ABI says a call preserves is on the stacks. */
	.text
	.globl thread_switch, thread_start
thread_switch:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
/* A new thread's first turn. */
thread_start:
	xor %ebp, %ebp
	call thread_main
	ud2
	.section .note.GNU-stack, "", @progbits
