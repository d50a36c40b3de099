/* Virtual-8086 mode: entering by IRET, segments, IOPL-sensitive instructions, ports, INT n
 * without and with CR4.VME, exceptions' stack frame. */
#include "guest.h"
#define AT 0x7000

	/* Runs the 16-bit code at label in virtual-8086 mode with these flags. */
	.macro V86 code, flags
	pushl $0x400        /* GS FS DS ES */
	pushl $0x300
	pushl $0x200
	pushl $0x100
	pushl $0x500        /* SS */
	pushl $0x1000
	pushl $\flags
	pushl $AT >> 4
	pushl $\code - v86
	iret
	.endm
#define VM 0x20002
#define IOPL3 0x3000

main:
	mov $v86, %esi
	mov $AT, %edi
	mov $v86_end - v86, %ecx
	rep movsb
	movl $0x11112222, 0x2010
	TRY
	V86 code1, VM+IOPL3
	CAUGHT BACK, 0, "INT with IOPL 3"
	EQUAL $0x2222, %eax, "DS base"
	EQUAL $0x5000+0xffe, %ebx, "the stack"
	mov ex_flags, %ecx
	and $VM, %ecx
	EQUAL $VM, %ecx, "VM in the frame"
	EQUAL $AT>>4, ex_cs, "CS in the frame"
	mov ex_frame, %edi
	EQUAL $0x1000, 12(%edi), "SP in the frame"
	EQUAL $0x500, 16(%edi), "SS in the frame"
	EQUAL $0x100, 20(%edi), "ES in the frame"
	EQUAL $0x200, 24(%edi), "DS in the frame"
	EQUAL $0x300, 28(%edi), "FS in the frame"
	EQUAL $0x400, 32(%edi), "GS in the frame"
	TRY
	V86 code1, VM
	CAUGHT 13, 0, "INT with IOPL 0"
	TRY
	V86 code_cli, VM
	CAUGHT 13, 0, "CLI with IOPL 0"
	TRY
	V86 code_pushf, VM
	CAUGHT 13, 0, "PUSHF with IOPL 0"
	TRY
	V86 code_hlt, VM+IOPL3
	CAUGHT 13, 0, "HLT"
	TRY
	V86 code_in, VM+IOPL3
	CAUGHT 13, 0, "IN looks at the map, whatever IOPL is"
	andb $~1, tss + 0x68 + 0x10
	TRY
	V86 code_in, VM
	CAUGHT 13, 0, "the INT behind IN"
	EQUAL $code_in-v86+2, ex_eip, "IN went through"
	TRY
	V86 code_lldt, VM+IOPL3
	CAUGHT 6, 0, "LLDT"
	TRY
	V86 code_limit, VM+IOPL3
	CAUGHT 13, 0, "limit of 64 KiB"
	movb $0xee, idt32 + 3 * 8 + 5
	TRY
	V86 code_int3, VM
	CAUGHT 3, 0, "INT3 is not looked at"

	/* VME: INT 21h through the table at 0, INT 30h not */
	mov %cr4, %eax
	or $CR4_VME, %eax
	mov %eax, %cr4
	movw $0x88, tss + 0x66
	mov $tss + 0x68, %edi
	mov $32 / 4, %ecx
	xor %eax, %eax
	rep stosl
	movb $1, tss + 0x68 + BACK / 8
	movl $int21 - v86 + (AT << 12), 0x21 * 4
	TRY
	V86 code_vme, VM+0x80000 /* VIF */
	CAUGHT 13, 0, "INT 30h is not redirected"
	and $~0xfd, %edx
	EQUAL $0x3202, %edx, "flags that the handler sees"
	and $~0xfd, %ecx
	EQUAL $0x3002, %ecx, "PUSHF after CLI"
	EQUAL $0x21, %ebx, "INT 21h redirected"
	jmp pass

	.code16
v86:
code1:	xor %eax, %eax
	mov 0x10, %ax
	xor %ebx, %ebx
	mov %ss, %bx
	shl $4, %ebx
	push %ax
	add %sp, %bx
	pop %ax
	int $BACK
code_cli:
	cli
code_pushf:
	pushf
code_hlt:
	hlt
code_in:
	in $0x80, %al
	int $BACK
code_lldt:
	lldt %ax
code_limit:
	mov 0xffff, %ax
code_int3:
	int3
code_vme:
	xor %ebx, %ebx
	xor %ecx, %ecx
	xor %edx, %edx
	int $0x21
	cli
	pushf
	pop %cx
	sti
	int $BACK
int21:	mov $0x21, %bx
	pop %ax
	pop %si
	pop %dx
	push %dx
	push %si
	push %ax
	iret
v86_end:
	.code32
