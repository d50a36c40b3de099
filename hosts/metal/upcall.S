/* Into ring 3 and back.
 *
 * upcall_go(u64 *rsp, u64 *stack, u64 user_rsp, what, a, b): what is called in ring 3 finds what, a and b as
 * arguments.  *rsp and the TSS's *stack become this stack's pointer: interrupts and calls from there begin here.
 * upcall_end(u64 rsp, u64 answer): upcall_go() returns with the answer, whatever is on the stack meanwhile. */
#include "engines/kept.inc"
#include "hosts/metal/boot.h"
	.text
	.globl upcall_go, upcall_end
upcall_go:
	push_kept
	mov %rsp, (%rdi)
	mov %rsp, (%rsi)
	push $(GDT_USER_DATA | 3)
	push %rdx
	push $0x202
	push $(GDT_USER_CODE | 3)
	push $ring3_entry
	mov %rcx, %rdi
	mov %r8, %rsi
	mov %r9, %rdx
	xor %eax, %eax
	xor %ebx, %ebx
	xor %ecx, %ecx
	xor %ebp, %ebp
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	iretq
upcall_end:
	mov %rdi, %rsp
	mov %rsi, %rax
	pop_kept
	ret
	.section .note.GNU-stack, "", @progbits
