/* Debug registers and TF: single steps, instruction, data and I/O breakpoints, RF, the
 * shadow of MOV SS, general detect, DR6, DR4 and DR5. */
#include "guest.h"
#define BS 0x4000
	.macro DR6_IS val, what
	mov %dr6, %eax
	and $0xe00f, %eax
	EQUAL $\val, %eax, "\what"
	xor %eax, %eax
	mov %eax, %dr6
	.endm
	.macro SET_TF
	pushf
	orl $0x100, (%esp)
	popf
	.endm

main:
	xor %eax, %eax
	mov %eax, %dr6
	mov %dr6, %eax
	EQUAL $0xffff0ff0, %eax, "DR6's fixed bits"
	xor %eax, %eax
	mov %eax, %dr7
	mov %dr7, %eax
	EQUAL $0x400, %eax, "DR7's fixed bit"

	TRY
	SET_TF
	nop
1:	nop
	CAUGHT 1, 0, "single step"
	EQUAL $1b, ex_eip, "one instruction behind POPF"
	DR6_IS BS, "DR6.BS"
	/* MOV SS holds the trap back over one instruction */
	mov $DATA32, %ebx
	TRY
	SET_TF
	mov %ebx, %ss
	nop
1:	nop
	CAUGHT 1, 0, "single step and MOV SS"
	EQUAL $1b, ex_eip, "one more instruction"
	DR6_IS BS, "DR6.BS behind MOV SS"
	/* REP: after each iteration */
	mov $5, %ecx
	mov $page_a, %edi
	TRY
	SET_TF
1:	rep stosb
	CAUGHT 1, 0, "single step in REP"
	EQUAL $1b, ex_eip, "REP goes on"
	EQUAL $4, %ecx, "one iteration"
	xor %eax, %eax
	mov %eax, %dr6

	/* instruction breakpoint: before the instruction; RF */
	mov $2f, %eax
	mov %eax, %dr0
	mov $0x402, %eax
	mov %eax, %dr7
	xor %ebx, %ebx
	TRY
	nop
2:	inc %ebx
	CAUGHT 1, 0, "instruction breakpoint"
	EQUAL $2b, ex_eip, "at the instruction"
	EQUAL $0, %ebx, "not executed"
	DR6_IS 1, "DR6.B0"
	/* IRET with RF steps over it once */
	mov $2f, %eax
	mov %eax, %dr0
	pushf
	orl $0x10000, (%esp)
	push $CODE32
	push $2f
	iret
2:	inc %ebx
	EQUAL $1, %ebx, "RF"
	xor %eax, %eax
	mov %eax, %dr7

	/* data: 4 bytes at page_a + 4, writes; 1 byte at page_a + 16, both */
	mov $page_a + 4, %eax
	mov %eax, %dr1
	mov $page_a + 16, %eax
	mov %eax, %dr2
	mov $0x03d00400 + 0x28, %eax
	mov %eax, %dr7
	mov page_a + 4, %eax
	movl $0, page_a
	TRY
	movw $0, page_a + 7
1:	nop
	CAUGHT 1, 0, "data breakpoint"
	EQUAL $1b, ex_eip, "behind the write"
	DR6_IS 2, "DR6.B1"
	TRY
	mov page_a + 13, %eax
1:	nop
	CAUGHT 1, 0, "data breakpoint on a read"
	EQUAL $1b, ex_eip, "behind the read"
	DR6_IS 4, "DR6.B2"
	TRY
	push page_a + 16
	CAUGHT 1, 0, "PUSH of watched memory"
	DR6_IS 4, "DR6.B2 of PUSH"
	mov $DATA32, %ebx
	mov %ebx, page_a + 32
	mov $page_a + 32, %eax
	mov %eax, %dr2
	TRY
	mov page_a + 32, %ss
	nop
1:	nop
	CAUGHT 1, 0, "MOV SS from watched memory"
	EQUAL $1b, ex_eip, "held back"
	DR6_IS 4, "DR6.B2 held back"

	/* ports, with CR4.DE */
	mov %cr4, %eax
	or $CR4_DE, %eax
	mov %eax, %cr4
	mov $0x80, %eax
	mov %eax, %dr3
	mov $0x20000480, %eax
	mov %eax, %dr7
	TRY
	out %al, $0x80
1:	nop
	CAUGHT 1, 0, "I/O breakpoint"
	EQUAL $1b, ex_eip, "behind OUT"
	DR6_IS 8, "DR6.B3"
	TRY
	mov %dr4, %eax
	CAUGHT 6, 0, "DR4 with CR4.DE"
	mov %cr4, %eax
	and $~CR4_DE, %eax
	mov %eax, %cr4
	mov %dr5, %eax
	EQUAL $0x20000480, %eax, "DR5 is DR7"

	/* general detect */
	mov $0x2400, %eax
	mov %eax, %dr7
	TRY
1:	mov %dr0, %eax
	CAUGHT 1, 0, "general detect"
	EQUAL $1b, ex_eip, "a fault"
	mov %dr7, %eax
	EQUAL $0x400, %eax, "GD is cleared"
	DR6_IS 0x2000, "DR6.BD"
	TRY
	.byte 0xf1
1:	nop
	CAUGHT 1, 0, "INT1"
	EQUAL $1b, ex_eip, "INT1 is a trap"
	jmp pass
