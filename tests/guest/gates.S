/* Call gates, returns between rings, INT n by ring, conforming code: 32-bit, then 64-bit. */
#include "guest.h"

main:
	/* FREE: gate for ring 3 to ring 0 with two parameters; +8: to ring 0 only;
	 * +16: conforming code; +24: not present; +32: 16-bit gate; +40: to ring 3's code */
	mov $inner, %eax
	mov $CODE32 << 16, %ebx
	mov %ax, %bx
	mov %ebx, gdt + FREE
	mov %ebx, gdt + FREE + 8
	mov %ebx, gdt + FREE + 24
	mov $0xec02, %ax
	mov %eax, gdt + FREE + 4
	mov $0x8c00, %ax
	mov %eax, gdt + FREE + 12
	mov $0x6c00, %ax
	mov %eax, gdt + FREE + 28
	movl $0x0000ffff, gdt + FREE + 16
	movl $0x00cf9f00, gdt + FREE + 20

	TRY
	USER32 1f
1:	push $0x22222222
	push $0x11111111
	lcall $FREE | 3, $0xdead
after:	mov %esp, %ecx
	mov %fs, %edi
	int $BACK
	CAUGHT BACK, 0, "call gate and back"
	EQUAL $0x11111111, %ebx, "parameter 1"
	EQUAL $0x22222222, %edx, "parameter 2"
	EQUAL $user_stack_top, %ecx, "the outer stack after RET 8"
	EQUAL $UCODE32, ex_cs, "back in ring 3"
	EQUAL $after, inner_rip, "return address"
	EQUAL $0, %edi, "FS of ring 0 taken away"

	TRY
	USER32 1f
1:	lcall $(FREE + 8) | 3, $0
	CAUGHT 13, FREE+8, "gate's DPL"
	TRY
	USER32 1f
1:	lcall $(FREE + 24) | 3, $0
	CAUGHT 11, FREE+24, "gate not present"
	TRY
	USER32 1f
1:	ljmp $FREE | 3, $0
	CAUGHT 13, CODE32, "JMP through a gate changes no ring"
	TRY
	USER32 1f
1:	ljmp $CODE32, $1b
	CAUGHT 13, CODE32, "JMP to ring 0"
	TRY
	USER32 1f
1:	ljmp $FREE + 16, $1f
1:	mov %cs, %eax
	int $BACK
	CAUGHT BACK, 0, "conforming code"
	EQUAL $FREE+19, %eax, "CPL stays 3"
	TRY
	USER32 1f
1:	int $0x31
	CAUGHT 13, 0x18a, "INT n looks at the gate's DPL"
	EQUAL $1b, ex_eip, "and faults at INT"
	TRY
	int $0x31
	CAUGHT 0x31, 0, "ring 0 may"
	TRY
	USER32 1f
1:	push $CODE32
	push $1b
	lret
	CAUGHT 13, CODE32, "RET inwards"
	TRY
	USER32 1f
1:	cli
	CAUGHT 13, 0, "CLI in ring 3"
	TRY
	USER32 1f
1:	in $0x80, %al
	CAUGHT 13, 0, "IN in ring 3"
	andb $~1, tss + 0x68 + 0x10
	TRY
	USER32 1f
1:	in $0x80, %al
	int $BACK
	CAUGHT BACK, 0, "IN with the map's leave"
	TRY
	USER32 1f
1:	in $0x80, %ax
	CAUGHT 13, 0, "IN of two ports, one forbidden"

	/* 64-bit */
	call enter_long
	.code64
	mov $inner64, %eax
	mov %ax, gdt + FREE
	movw $CODE64, gdt + FREE + 2
	movw $0xec00, gdt + FREE + 4
	shr $16, %eax
	mov %ax, gdt + FREE + 6
	movq $0, gdt + FREE + 8
	TRY
	USER64 1f
1:	mov %rsp, %rdi
	lcall *far64
	mov %cs, %eax
	int $BACK
	CAUGHT BACK, 0, "64-bit call gate and back"
	EQUAL $CODE64, %edx, "ring 0's code"
	EQUAL $0, %ecx, "a null SS"
	EQUAL $UCODE64, %eax, "ring 3 again"
	EQUAL $user_stack_top, saved_sp, "RSP in the frame"
	TRY
	USER64 1f
1:	lcall *far_direct
	CAUGHT 13, CODE64, "direct CALL to ring 0"
	movb $0x1f, gdt + FREE + 13
	TRY
	USER64 1f
1:	lcall *far64
	CAUGHT 13, FREE, "type of the gate's upper half"
	/* compatibility mode and back */
	TRY
	push $UDATA
	push $user_stack_top
	push $2
	push $UCODE32
	push $1f
	iretq
	.code32
1:	mov $0x7fffffff, %eax
	inc %eax
	int $BACK
	.code64
	CAUGHT BACK, 0, "compatibility mode"
	EQUAL $UCODE32, ex_cs, "its CS"
	EQUAL $0x80000000, %eax, "INC there, REX here"
	jmp pass
inner64:
	mov %cs, %edx
	mov %ss, %ecx
	mov 16(%rsp), %rax
	mov %eax, saved_sp
	lretq
	.code32

inner:	mov 8(%esp), %ebx
	mov 12(%esp), %edx
	mov (%esp), %eax
	mov %eax, inner_rip
	mov $DATA32, %eax
	mov %eax, %fs
	mov %esp, %eax
	lret $8

	.data
inner_rip: .long 0
saved_sp: .quad 0
far64:	.long 0
	.word FREE | 3
far_direct:
	.long 0
	.word CODE64
