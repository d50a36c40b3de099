/* The native side's way in and out of a vector.
 *
 * stub_begin..stub_end is copied to STUB_BASE: everything in it is reached by
 * absolute 32-bit addresses or relative to itself.  enter() is called like a C
 * function; it loads the whole user-visible state from STATE_IN and jumps to the
 * instruction.  What comes behind the instruction jumps to the exit, which stores
 * the state to STATE_OUT and returns to enter()'s caller.  Signals take the other
 * way: real_sigentry stores what the kernel does not, then the C handler reads
 * the rest from the ucontext, and the last lines returns to enter()'s caller, with
 * no sigreturn. */
#include "tests/cpu/layout.h"

#define IN(f)  (STATE_IN + CPU_##f)
#define OUT(f) (STATE_OUT + CPU_##f)

/* Stores selectors and segment bases, gives the host's back; clobbers rax. */
.macro segments_out
	mov %es, OUT(SEL)
	mov %ds, OUT(SEL)+6
	mov %fs, OUT(SEL)+8
	mov %gs, OUT(SEL)+10
	rdfsbase %rax
	mov %rax, OUT(FSBASE)
	rdgsbase %rax
	mov %rax, OUT(GSBASE)
	xor %eax, %eax
	cmpw $0, OUT(SEL)
	je 1f
	mov %eax, %es
1:	cmpw $0, OUT(SEL)+6
	je 1f
	mov %eax, %ds
1:	cmpw $0, OUT(SEL)+8
	je 1f
	mov %eax, %fs
1:	cmpw $0, OUT(SEL)+10
	je 1f
	mov %eax, %gs
1:	mov IN(HOSTFS), %rax
	wrfsbase %rax
	xor %eax, %eax
	wrgsbase %rax
.endm

	.text
	.globl stub_begin, stub_end, stub_exit
stub_begin:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, IN(HOSTRSP)
	rdfsbase %rax
	mov %rax, IN(HOSTFS)
	mov $7, %eax
	xor %edx, %edx
	xrstor64 IN(XSAVE)
	cmpl $0, IN(LEGACY)
	jne 1f
	mov IN(FSBASE), %rax
	wrfsbase %rax
	mov IN(GSBASE), %rax
	wrgsbase %rax
	jmp 2f
1:	mov IN(SEL), %es
	mov IN(SEL)+6, %ds
	mov IN(SEL)+8, %fs
	mov IN(SEL)+10, %gs
	mov IN(SEL)+4, %ss
2:	mov $IN(RFLAGS), %esp
	popfq
	mov IN(R)+0, %rax
	mov IN(R)+8, %rcx
	mov IN(R)+16, %rdx
	mov IN(R)+24, %rbx
	mov IN(R)+32, %rsp
	mov IN(R)+40, %rbp
	mov IN(R)+48, %rsi
	mov IN(R)+56, %rdi
	mov IN(R)+64, %r8
	mov IN(R)+72, %r9
	mov IN(R)+80, %r10
	mov IN(R)+88, %r11
	mov IN(R)+96, %r12
	mov IN(R)+104, %r13
	mov IN(R)+112, %r14
	mov IN(R)+120, %r15
	jmp *IN(LAST)
	.globl stub_near, stub_far
stub_near:
	jmp *IN(RIP)
stub_far:                               /* 16- and 32-bit code */
	ljmpl *IN(FAR)

	.balign 16
stub_exit:
	mov %rax, OUT(R)+0
	mov %rcx, OUT(R)+8
	mov %rdx, OUT(R)+16
	mov %rbx, OUT(R)+24
	mov %rsp, OUT(R)+32
	mov %rbp, OUT(R)+40
	mov %rsi, OUT(R)+48
	mov %rdi, OUT(R)+56
	mov %r8, OUT(R)+64
	mov %r9, OUT(R)+72
	mov %r10, OUT(R)+80
	mov %r11, OUT(R)+88
	mov %r12, OUT(R)+96
	mov %r13, OUT(R)+104
	mov %r14, OUT(R)+112
	mov %r15, OUT(R)+120
	mov $OUT(RFLAGS)+8, %esp
	pushfq
	pushq $2
	popfq
	movw %ss, OUT(SEL)+4
	mov $7, %eax
	xor %edx, %edx
	xsave64 OUT(XSAVE)
	segments_out
	cmpw $SEL_DS, OUT(SEL)+4
	je 1f
	mov $SEL_DS, %eax
	mov %eax, %ss
1:	movl $1, OUT(FRESH)
	mov IN(HOSTRSP), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	fninit
	ldmxcsr default_mxcsr(%rip)
	vzeroupper
	ret
default_mxcsr:
	.long 0x1f80
stub_end:

	/* rdi signal, rsi info, rdx ucontext; on the alternate stack, but FS base, DS, ES and
	 * AC are still the vector's */
	.globl real_sigentry
real_sigentry:
	cmp $14, %edi                   /* SIGALRM ends only a vector that hangs: */
	jne 1f
	mov 168(%rdx), %rax             /*  gregs[REG_RIP] is in the code pages */
	sub $CODE_BASE, %rax
	cmp $CODE_SPAN, %rax
	jb 2f
	add $CODE_BASE, %rax            /*  (16-bit code: an offset) */
	cmp $CODE_SPAN, %rax
	jae 3f
2:	incl OUT(ALARMS)                /*  for the second time */
	cmpl $2, OUT(ALARMS)
	jae 1f
3:	ret
1:	cmpl $0, IN(RUNNING)
	je real_crash
	pushq $2
	popfq
	segments_out
	mov $SEL_DS, %eax               /* the kernel keeps any SS that works */
	mov %eax, %ss
	call real_signal
	movl $0, OUT(FRESH)
	mov IN(HOSTRSP), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.section .note.GNU-stack,"",@progbits
