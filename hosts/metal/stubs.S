/* Exceptions and interrupts: one stub each, then trap() with all of it in a struct frame. */
#include "hosts/metal/boot.h"

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set n, 0
	.rept 256
	.balign 16
	.if n != 8 && (n < 10 || n > 14) && n != 17 && n != 21 && n != 29 && n != 30
	push $0
	.endif
	push $n
	jmp enter
	.set n, n + 1
	.endr

enter:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call trap
	mov %rbp, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq
	.section .note.GNU-stack, "", @progbits
