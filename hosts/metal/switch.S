/* thread_switch(u64 *save, u64 to): goes on where the thread with the stack pointer `to`
 * stopped; what the ABI says a call preserves is on the stacks. */
#include "engines/kept.inc"
	.text
	.globl thread_switch, thread_start
thread_switch:
	push_kept
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop_kept
	ret
/* A new thread's first turn. */
thread_start:
	xor %ebp, %ebp
	call thread_main
	ud2
	.section .note.GNU-stack, "", @progbits
