/* Code that changes: in its own block, across a page, through another mapping, by MOVS, by a
 * LOCKed instruction, and data beside running code. */
#include "guest.h"

main:
	/* the very next instruction */
	mov $1, %ebx
	movb $0x43, 1f      /* inc %ebx over a NOP */
1:	nop
	EQUAL $2, %ebx, "next instruction"
	/* a loop that changes an immediate 1000 times */
	xor %ebx, %ebx
	mov $1000, %ecx
2:	mov $0, %eax        /* b8 imm32 */
	add %eax, %ebx
	incl 2b + 1
	loop 2b
	EQUAL $499500, %ebx, "immediate in a loop"
	/* made by MOVS, run, made anew */
	mov $3, %edx
3:	mov $code_a, %esi
	call copy_and_run
	EQUAL $0xa, %eax, "copied code a"
	mov $code_b, %esi
	call copy_and_run
	EQUAL $0xb, %eax, "copied code b"
	dec %edx
	jnz 3b
	/* by a LOCKed instruction */
	mov $code_a, %esi
	call copy_and_run
	lock xorl $0xa ^ 0xc, page_a + 1
	call page_a
	EQUAL $0xc, %eax, "LOCK XOR"
	mov $0xd, %ecx
	xchg %ecx, page_a + 1
	call page_a
	EQUAL $0xd, %eax, "XCHG"
	/* an instruction over two pages; each half written in turn */
	movb $0xb8, page_b - 1
	movl $0x11, page_b
	movb $0xc3, page_b + 4
	mov $page_b - 1, %edi
	call *%edi
	EQUAL $0x11, %eax, "over two pages"
	movb $0x22, page_b
	call *%edi
	EQUAL $0x22, %eax, "second page written"
	movb $0xb9, page_b - 1
	mov $0x33, %eax
	call *%edi
	EQUAL $0x33, %eax, "first page written"
	EQUAL $0x22, %ecx, "now MOV ECX"
	/* data beside code */
	mov $code_a, %esi
	call copy_and_run
	mov $20000, %ecx
	xor %ebx, %ebx
4:	incl page_a + 64
	call page_a
	add %eax, %ebx
	loop 4b
	EQUAL $200000, %ebx, "data beside code"
	EQUAL $20000, page_a+64, "the data"
	/* old code reached by a jump that was taken before, after it and its neighbours have
	 * been looked at again */
	movb $0xe9, page_a
	movl $page_a + 32 - (page_a + 5), page_a + 1 /* jmp page_a + 32 */
	movl $0x000001b8, page_a + 32        /* mov $1, %eax; ret */
	movw $0xc300, page_a + 36
	movb $0xe9, page_b
	movl $page_a + 32 - (page_b + 5), page_b + 1
	mov $3, %ecx
5:	call page_a
	call page_b
	loop 5b
	movb $2, page_a + 33
	call page_b
	EQUAL $2, %eax, "changed behind a jump from another page"
	call page_a
	EQUAL $2, %eax, "changed behind a jump"
	/* through another mapping, in long mode */
	call enter_long
	.code64
	movb $0xb8, page_a
	movl $0xa, page_a + 1
	movb $0xc3, page_a + 5
	mov $page_c, %ebx
	shr $9, %ebx
	movl $page_a + 7, pt(%ebx)
	invlpg page_c
	mov $page_a, %edi
	call *%rdi
	EQUAL $0xa, %eax, "before"
	movb $0x44, page_c + 1
	call *%rdi
	EQUAL $0x44, %eax, "written through an alias"
	jmp pass
	.code32
copy_and_run:
	mov $page_a, %edi
	mov $6, %ecx
	rep movsb
	call page_a
	ret
	.data
code_a:	.byte 0xb8, 0xa, 0, 0, 0, 0xc3
code_b:	.byte 0xb8, 0xb, 0, 0, 0, 0xc3
