/* How enter.S of svm and of vmx return from a guest, to who pushed RBX, RBP and R12 to R15. */
#ifndef ENGINES_LEAVE_H
#define ENGINES_LEAVE_H

	.macro leave_guest
	xor %ecx, %ecx /* what the guest left is not to be speculated with */
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.endm

#endif
