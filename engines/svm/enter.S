/* svm_enter(u64 r[16], u64 guest, u64 host): VMRUN, with the global interrupt flag clear.
 *
 * guest and host are physical addresses of control blocks.  VMRUN exchanges RAX, RSP, RIP,
 * RFLAGS and the system's registers; the rest is done here: general registers by r[] (by
 * number; RAX and RSP are the control block's), and by VMLOAD and VMSAVE what system calls,
 * FS, GS, TR and LDTR consist of.  So nothing of the guest's is left in a register when
 * interrupts are let in again: an NMI finds its stack by TR. */
#include "engines/leave.inc"
	.text
	.globl svm_enter
svm_enter:
	push_kept
	push %rdi
	push %rdx
	mov %rsi, %rax
	mov 1 * 8(%rdi), %rcx
	mov 2 * 8(%rdi), %rdx
	mov 3 * 8(%rdi), %rbx
	mov 5 * 8(%rdi), %rbp
	mov 6 * 8(%rdi), %rsi
	mov 8 * 8(%rdi), %r8
	mov 9 * 8(%rdi), %r9
	mov 10 * 8(%rdi), %r10
	mov 11 * 8(%rdi), %r11
	mov 12 * 8(%rdi), %r12
	mov 13 * 8(%rdi), %r13
	mov 14 * 8(%rdi), %r14
	mov 15 * 8(%rdi), %r15
	mov 7 * 8(%rdi), %rdi
	vmload %rax
	vmrun %rax
	vmsave %rax
	mov 8(%rsp), %rax
	mov %rcx, 1 * 8(%rax)
	mov %rdx, 2 * 8(%rax)
	mov %rbx, 3 * 8(%rax)
	mov %rbp, 5 * 8(%rax)
	mov %rsi, 6 * 8(%rax)
	mov %rdi, 7 * 8(%rax)
	mov %r8, 8 * 8(%rax)
	mov %r9, 9 * 8(%rax)
	mov %r10, 10 * 8(%rax)
	mov %r11, 11 * 8(%rax)
	mov %r12, 12 * 8(%rax)
	mov %r13, 13 * 8(%rax)
	mov %r14, 14 * 8(%rax)
	mov %r15, 15 * 8(%rax)
	mov (%rsp), %rax
	vmload %rax
	add $16, %rsp
	leave_guest
	.section .note.GNU-stack, "", @progbits
