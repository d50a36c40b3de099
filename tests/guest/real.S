/* Real mode: segments, wrap, INT through the vector table, #DE and limits there, unreal
 * mode, and back to protected mode. */
#include "guest.h"
#define AT 0x7000 /* the real-mode part runs here */

main:
	mov $real, %esi
	mov $AT, %edi
	mov $real_end - real, %ecx
	rep movsb
	movl $int60 - real + AT, 0x60 * 4
	movl $fault - real + AT, 0 * 4
	movl $fault - real + AT, 13 * 4
	movl $0x12345678, 0x200000
	movl $0, count
	mov %esp, saved
	lidt real_idtr
	ljmp $CODE16, $AT
back:	mov $DATA32, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov saved, %esp
	lidt idtr32
	mov 0x6000, %eax
	EQUAL $0x60, %eax, "INT 60h"
	mov 0x6004, %eax
	EQUAL $2, %eax, "two faults"
	mov 0x6008, %eax
	EQUAL $0x12345678, %eax, "unreal mode"
	mov 0x600c, %eax
	EQUAL $0x1234, %eax, "flags word pushed"
	mov 0x6010, %eax
	EQUAL $0xbeef, %eax, "CS: segment override"
	mov 0x6014, %eax
	EQUAL $0x55aa, %eax, "above 1 MiB with FFFF:10"
	mov 0x6018, %eax
	EQUAL $0xcafe, %eax, "far call and return"
	jmp pass

	.code16
real:	mov $DATA16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %cr0, %eax
	and $~1, %al
	mov %eax, %cr0
	ljmp $0, $1f - real + AT
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x5000, %sp
	mov %ax, %es
	movl $0, 0x6004
	int $0x60
	/* faults: divide, and a word over the end of the segment */
	xor %cx, %cx
	movw $2, 0x6020     /* length of what faults */
	div %cx
	movw $3, 0x6020
	mov 0xffff, %ax     /* a1 ff ff */
	/* unreal: limit 4 GiB from protected mode stays */
	lgdtl %cs:gdtr_copy - real + AT
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	mov $DATA32, %bx
	mov %bx, %ds
	and $~1, %al
	mov %eax, %cr0
	xor %ax, %ax
	mov %ax, %ds
	mov $0x200000, %esi
	mov (%esi), %ebx
	mov %ebx, 0x6008
	/* flags as pushed: 16 bits */
	mov $0x5000, %sp
	pushw $0x1234
	xor %eax, %eax
	pop %ax
	mov %eax, 0x600c
	xor %eax, %eax
	mov %cs:word - real + AT, %ax
	mov %eax, 0x6010
	mov $0xffff, %bx
	mov %bx, %es
	movw $0x55aa, %es:0x510 /* 0x100500 */
	xor %eax, %eax
	mov $0x100500, %esi
	mov (%esi), %ax
	mov %eax, 0x6014
	lcall $AT >> 4, $far - real
	mov %eax, 0x6018
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $CODE32, $back
far:	mov $0xcafe, %eax
	lret
int60:	movl $0x60, 0x6000
	iret
fault:	incl 0x6004
	push %bp
	mov %sp, %bp
	mov 0x6020, %ax
	add %ax, 2(%bp)
	pop %bp
	iret
word:	.word 0xbeef
gdtr_copy:
	.word 0xff
	.long gdt
real_end:
	.code32
	.data
real_idtr:
	.word 0x3ff
	.long 0
saved:	.long 0
count:	.long 0
