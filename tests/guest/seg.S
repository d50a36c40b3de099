/* Segments in 32-bit protected mode: limits, expand-down, types, privileges, null
 * selectors, the accessed bit, 16-bit code, LAR, LSL, VERR, VERW, ARPL. */
#include "guest.h"

main:
	/* 0x68: data, base 0x200000, limit 0xfff; 0x70: expand-down above 0xffff; 0x78: code that
	 * cannot be read; 0x80: read-only; 0x88: not present */
	movl $0x00000fff, gdt + FREE
	movl $0x00409220, gdt + FREE + 4
	movl $0x0000000f, gdt + FREE + 8
	movl $0x00c09600, gdt + FREE + 12
	movl $0x0000ffff, gdt + FREE + 16
	movl $0x00cf9800, gdt + FREE + 20
	movl $0x0000ffff, gdt + FREE + 24
	movl $0x00cf9000, gdt + FREE + 28
	movl $0x0000ffff, gdt + FREE + 32
	movl $0x00cf1200, gdt + FREE + 36

	mov $FREE, %eax
	mov %eax, %fs
	EQUAL $0x00409320, gdt+FREE+4, "accessed bit"
	movl $0x12345678, 0x200ffc
	mov %fs:0xffc, %eax
	EQUAL $0x12345678, %eax, "base"
	TRY
	mov %fs:0xffd, %eax
	CAUGHT 13, 0, "over the limit"
	TRY
	mov %fs:0xffffffff, %eax
	CAUGHT 13, 0, "around the end"

	mov $FREE + 8, %eax
	mov %eax, %gs
	TRY
	mov %gs:0xffff, %al
	CAUGHT 13, 0, "below an expand-down limit"
	mov %gs:0x10000, %al
	mov %gs:0xfffffffc, %eax

	TRY
	mov $FREE + 16, %eax
	mov %eax, %ds
	CAUGHT 13, FREE+16, "execute-only code as data"
	mov $FREE + 24, %eax
	mov %eax, %gs
	mov %gs:0, %eax
	TRY
	mov %eax, %gs:0
	CAUGHT 13, 0, "write to read-only data"
	TRY
	mov $FREE + 24, %eax
	mov %eax, %ss
	CAUGHT 13, FREE+24, "read-only stack"
	TRY
	mov $FREE + 32, %eax
	mov %eax, %gs
	CAUGHT 11, FREE+32, "data not present"
	TRY
	mov $FREE + 32, %eax
	mov %eax, %ss
	CAUGHT 12, FREE+32, "stack not present"
	TRY
	mov $UDATA, %eax
	mov %eax, %ss
	CAUGHT 13, UDATA & ~3, "stack of ring 3"
	TRY
	xor %eax, %eax
	mov %eax, %ss
	CAUGHT 13, 0, "null stack"
	TRY
	mov $0x100, %eax
	mov %eax, %gs
	CAUGHT 13, 0x100, "behind the GDT"
	TRY
	mov $4, %eax
	mov %eax, %gs
	CAUGHT 13, 4, "no LDT"
	xor %eax, %eax
	mov %eax, %gs
	TRY
	mov %gs:0, %eax
	CAUGHT 13, 0, "null segment used"
	TRY
	movb $0, %cs:page_a
	CAUGHT 13, 0, "write to code"
	TRY
	mov $0xfffffffe, %ebp
	lea tss, %eax
	mov %ss:2(%ebp), %ebx
	mov $CODE32, %eax
	.byte 0x8e, 0xc8 /* mov %eax, %cs */
	CAUGHT 6, 0, "mov to cs"

	/* 16-bit code and a 16-bit stack */
	mov %esp, %ebx
	mov $DATA16, %eax
	mov %eax, %ss
	mov $0xffff0000, %esp
	pushw $0x1234
	mov %esp, %ecx
	mov $DATA32, %eax
	mov %eax, %ss
	mov %ebx, %esp
	EQUAL $0xfffffffe, %ecx, "16-bit stack wraps"
	movw $0, 0xfffe

	mov $CODE32, %eax
	lar %eax, %ebx
	setz %cl
	and $0xf0ff00, %ebx
	EQUAL $0x00c09b00, %ebx, "lar"
	lsl %eax, %ebx
	EQUAL $0xffffffff, %ebx, "lsl"
	mov $FREE, %eax
	lsl %eax, %ebx
	EQUAL $0xfff, %ebx, "lsl in bytes"
	mov $0x200, %eax
	lsl %eax, %ebx
	setnz %cl
	movzbl %cl, %ecx
	EQUAL $1, %ecx, "lsl of nothing"
	mov $FREE + 24, %eax
	verr %ax
	setz %cl
	verw %ax
	setnz %ch
	movzwl %cx, %ecx
	EQUAL $0x101, %ecx, "verr, verw of read-only"
	mov $0x10, %ax
	mov $3, %bx
	arpl %bx, %ax
	movzwl %ax, %eax
	EQUAL $0x13, %eax, "arpl"
	jmp pass
