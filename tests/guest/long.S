/* 64-bit mode: exception frames, IST, canonical addresses, SYSCALL, SYSRET, SYSENTER,
 * SWAPGS, FS and GS bases, NT and IRET, system segments. */
#include "guest.h"
#define SYSRET_BASE UCODE32 /* SYSRET to +16: UCODE64, SS +8: UDATA */

main:
	call enter_long
	.code64
	mov $stack_top - 5, %rsp /* frames are aligned to 16 */
	TRY
	ud2
	CAUGHT 6, 0, "ud2"
	mov ex_frame, %eax
	EQUAL $stack_top-16-40, %eax, "aligned frame"
	mov ex_frame, %edi
	EQUAL $stack_top-5, 24(%rdi), "RSP in the frame"
	EQUAL $DATA32, 32(%rdi), "SS in the frame"
	mov $stack_top, %rsp
	GATE64 6, stubs64+6*16, 0x8e, 1
	TRY
	ud2
	CAUGHT 6, 0, "ud2 on an IST stack"
	EQUAL $ist1_top-40, ex_frame, "IST 1"
	GATE64 6, stubs64+6*16, 0x8e, 0
	TRY
	USER64 1f
1:	ud2
	CAUGHT 6, 0, "ud2 of ring 3"
	EQUAL $stack0_top-40, ex_frame, "RSP0"
	EQUAL $UCODE64, ex_cs, "CS"

	/* canonical addresses */
	mov $1, %eax
	shl $47, %rax
	TRY
	mov (%rax), %ebx
	CAUGHT 13, 0, "data address not canonical"
	TRY
	mov -4(%rax), %rbx
	CAUGHT 13, 0, "crossing into the hole"
	GATE64 12, stubs64+12*16, 0x8e, 1
	mov $1, %eax
	shl $47, %rax
	TRY
	mov %rax, %rsp
	pop %rbx
	CAUGHT 12, 0, "stack not canonical"
	mov $1, %eax
	shl $47, %rax
	TRY
	jmp *%rax
	CAUGHT 13, 0, "jump out of the canonical space"
	mov $0xc0000082, %ecx
	xor %eax, %eax
	mov $0x8000, %edx
	TRY
	wrmsr
	CAUGHT 13, 0, "LSTAR not canonical"
	TRY
	movq $0, page_a
	movl $0x80000000, page_a + 4
	movw $0x8000, page_a + 8
	lgdt page_a
	CAUGHT 13, 0, "LGDT not canonical"
	TRY
	pushf
	orl $0x4000, (%rsp)
	popf
	push $DATA32
	push $stack_top
	push $2
	push $CODE64
	push $1f
	iretq
1:
	CAUGHT 13, 0, "IRET with NT"
	pushq $2
	popf

	/* SYSCALL: SS is the descriptor behind CS; what CS's says does not count */
	mov $0xc0000081, %ecx
	xor %eax, %eax
	mov $SYSRET_BASE << 16 | CODE32, %edx
	wrmsr
	inc %ecx
	mov $entry, %eax
	xor %edx, %edx
	wrmsr
	mov $0xc0000084, %ecx
	mov $0x400, %eax /* DF */
	wrmsr
	TRY
	USER64 1f
1:	std
	mov $7, %edi
	syscall
2:	pushf
	pop %rbx
	cld
	int $BACK
	CAUGHT BACK, 0, "SYSCALL and SYSRET"
	EQUAL $2b, %ecx, "return address"
	EQUAL $8, %edi, "the entry ran"
	EQUAL $CODE32, %ebp, "CS of the entry"
	EQUAL $DATA32, %r9d, "SS of the entry"
	and $0x400, %ebx
	EQUAL $0x400, %ebx, "DF comes back"
	EQUAL $0, %r8d, "DF is masked in the entry"
	EQUAL $UCODE64, ex_cs, "ring 3's CS"
	jmp 3f
entry:	inc %edi
	mov %cs, %ebp
	mov %ss, %r9d
	mov %rsp, %r10
	mov $stack_top, %rsp
	pushf
	pop %r8
	mov %r10, %rsp
	and $0x400, %r8d
	sysretq
3:
	/* FS, GS, SWAPGS */
	mov $0xc0000101, %ecx
	mov $page_a, %eax
	xor %edx, %edx
	wrmsr
	inc %ecx
	mov $page_b, %eax
	wrmsr
	movl $0xaaaa, page_a
	movl $0xbbbb, page_b
	mov %gs:0, %eax
	EQUAL $0xaaaa, %eax, "GS base"
	swapgs
	mov %gs:0, %eax
	EQUAL $0xbbbb, %eax, "SWAPGS"
	TRY
	USER64 1f
1:	swapgs
	CAUGHT 13, 0, "SWAPGS in ring 3"
	mov $DATA32, %eax
	mov %eax, %fs
	mov %fs:page_a, %eax
	EQUAL $0xaaaa, %eax, "FS loaded: base 0"
	jmp pass
