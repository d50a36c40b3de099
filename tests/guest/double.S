/* What becomes of an exception while another is delivered: which pairs make a double
 * fault, and which are served one after the other. */
#include "guest.h"

main:
	/* #GP whose gate is not present: contributory twice */
	movb $0x0e, idt32 + 13 * 8 + 5
	TRY
	mov $0x100, %eax
	mov %eax, %gs
	CAUGHT 8, 0, "#GP, then #NP"
	movb $0x8e, idt32 + 13 * 8 + 5
	/* #UD whose gate is not present: benign first */
	movb $0x0e, idt32 + 6 * 8 + 5
	TRY
	ud2
	CAUGHT 11, 6*8+3, "#UD, then #NP with EXT"
	movb $0x8e, idt32 + 6 * 8 + 5
	/* INT n whose gate is not present: no EXT */
	movb $0x0e, idt32 + 0x31 * 8 + 5
	TRY
1:	int $0x31
	CAUGHT 11, 0x31*8+2, "INT n, then #NP"
	EQUAL $1b, ex_eip, "at INT"
	/* a gate to data */
	movw $DATA32, idt32 + 0x32 * 8 + 2
	TRY
	int $0x32
	CAUGHT 13, DATA32, "gate to a data segment"
	movw $CODE32, idt32 + 0x32 * 8 + 2
	/* behind the IDT's limit */
	TRY
	int $0x80
	CAUGHT 13, 0x80*8+2, "behind the IDT"

	call enter_long
	.code64
	GATE64 8, stubs64+8*16, 0x8e, 1
	GATE64 14, stubs64+14*16, 0x8e, 0
	/* RSP0's page is away: #PF of ring 3, then #PF again */
	mov $stack0_top - 4096, %ebx
	shr $9, %ebx
	andq $~1, pt(%ebx)
	invlpg stack0_top - 4096
	TRY
	USER64 1f
1:	mov 0x7ffffff0, %eax
	CAUGHT 8, 0, "#PF, then #PF"
	/* #UD of ring 3, then #PF: served, on a stack that is there */
	GATE64 14, stubs64+14*16, 0x8e, 1
	TRY
	USER64 1f
1:	ud2
	CAUGHT 14, 2, "#UD, then #PF"
	EQUAL $stack0_top-8, ex_cr2, "where it pushed"
	jmp pass
