/* vmx_enter(u64 r[16], u64 *host_rsp, bool launched): VMLAUNCH or VMRESUME, interrupts off.
 *
 * The processor exchanges RSP, RIP, RFLAGS and the system's registers; the rest is done here:
 * general registers by r[] (by number; RSP is the VMCS's).  An exit comes back with the stack
 * as it was, at vmx_exit_point. */
#include "engines/leave.inc"
#define HOST_RSP 0x6c14

	.text
	.globl vmx_enter, vmx_exit_point
vmx_enter:
	push_kept
	push %rdi
	cmp %rsp, (%rsi)
	je 1f
	mov $HOST_RSP, %eax
	mov %rsp, (%rsi)
	vmwrite %rsp, %rax
1:	test %dl, %dl /* no instruction below changes flags */
	mov 0 * 8(%rdi), %rax
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
	jz 2f
	vmresume
	jmp 3f
2:	vmlaunch
3:	pop %rdi /* it refused, and changed nothing */
	xor %eax, %eax
	jmp 4f
vmx_exit_point:
	xchg %rdi, (%rsp)
	mov %rax, 0 * 8(%rdi)
	mov %rcx, 1 * 8(%rdi)
	mov %rdx, 2 * 8(%rdi)
	mov %rbx, 3 * 8(%rdi)
	mov %rbp, 5 * 8(%rdi)
	mov %rsi, 6 * 8(%rdi)
	mov %r8, 8 * 8(%rdi)
	mov %r9, 9 * 8(%rdi)
	mov %r10, 10 * 8(%rdi)
	mov %r11, 11 * 8(%rdi)
	mov %r12, 12 * 8(%rdi)
	mov %r13, 13 * 8(%rdi)
	mov %r14, 14 * 8(%rdi)
	mov %r15, 15 * 8(%rdi)
	pop %rax
	mov %rax, 7 * 8(%rdi)
	mov $1, %eax
4:	leave_guest
	.section .note.GNU-stack, "", @progbits
