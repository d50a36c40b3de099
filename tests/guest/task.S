/* Hardware tasks: JMP, CALL and IRET between 32-bit TSSs, task gates for an exception with
 * error code and for double faults, a 16-bit TSS, faults in the new task. */
#include "guest.h"

main:
	call fill_b
	movl $task1, tss_b + 0x20
	mov $0x1111, %ebx
	lcall $TSS_B, $0
	EQUAL $0x1111, %ebx, "registers come back"
	EQUAL $0x77, result, "the other task ran"
	EQUAL $TSS, tss_b, "back link"
	str %ax
	movzwl %ax, %eax
	EQUAL $TSS, %eax, "TR"
	movzbl gdt + TSS_B + 5, %eax
	EQUAL $0x89, %eax, "no longer busy"
	mov %cr0, %eax
	and $CR0_TS, %eax
	EQUAL $CR0_TS, %eax, "CR0.TS"
	clts
	EQUAL $task1_end, tss_b+0x20, "its EIP saved behind IRET"

	TRY
	ljmp $TSS, $0
	CAUGHT 13, TSS, "jump to a busy task"
	/* wrong in the new task: its DS */
	call fill_b
	movl $task1, tss_b + 0x20
	movl $TSS, tss_b + 0x54
	TRY
	ljmp $TSS_B, $0
	CAUGHT 10, TSS, "bad DS in a new task"
	EQUAL $task1, ex_eip, "the fault belongs to the new task"
	str %ax
	movzwl %ax, %eax
	EQUAL $TSS_B, %eax, "TR is the new one"
	call back_to_first

	/* too short */
	call fill_b
	movb $0x66, gdt + TSS_B
	TRY
	ljmp $TSS_B, $0
	CAUGHT 10, TSS_B, "TSS too short"
	movb $0x67, gdt + TSS_B

	/* a task gate for #GP: the error code is on the new stack */
	call fill_b
	movl $task2, tss_b + 0x20
	movl $TSS_B << 16, idt32 + 13 * 8
	movl $0x8500, idt32 + 13 * 8 + 4
	mov $0x100, %eax
1:	mov %eax, %gs
	EQUAL $0x100, result, "error code of a task gate"
	EQUAL $0, %eax, "restarted with the saved registers as changed"

	/* a task gate for double faults */
	call fill_b
	movl $task3, tss_b + 0x20
	movl $TSS_B << 16, idt32 + 8 * 8
	movl $0x8500, idt32 + 8 * 8 + 4
	movb $0, idt32 + 13 * 8 + 5
	mov $0x100, %eax
1:	mov %eax, %gs
	EQUAL $0x8888, result, "task gate for a double fault"

	/* 16-bit TSS */
	mov $gdt + TSS_B, %edi
	movw $0x2b, (%edi)
	movb $0x81, 5(%edi)
	mov $tss_b, %edi
	mov $0x68 / 4, %ecx
	xor %eax, %eax
	rep stosl
	/* its IP has 16 bits: code below 64 KiB */
	mov $far16, %esi
	mov $0x8000, %edi
	mov $far16_end - far16, %ecx
	rep movsb
	movw $0x8000, tss_b + 0x0e
	movw $2, tss_b + 0x10
	movw $0x4321, tss_b + 0x12
	movw $0x9000, tss_b + 0x1a
	movw $DATA32, tss_b + 0x22
	movw $CODE32, tss_b + 0x24
	movw $DATA32, tss_b + 0x26
	movw $DATA32, tss_b + 0x28
	lcall $TSS_B, $0
	EQUAL $0x4321, result, "16-bit task"
	jmp pass

far16:	movzwl %ax, %eax
	mov %eax, result
	iret
far16_end:

task1:	movl $0x77, result
	iret
task1_end:
	hlt
task2:	pop result
	movl $0, tss + 0x28 /* the other task's eax */
	iret
task3:	pop %eax
	addl $0x8888, %eax
	mov %eax, result
	movl $0, tss + 0x28
	iret

fill_b:	mov $tss_b, %edi
	mov $0x68 / 4, %ecx
	xor %eax, %eax
	rep stosl
	movl $ist1_top, tss_b + 0x38
	movl $2, tss_b + 0x24
	movl $DATA32, tss_b + 0x48
	movl $CODE32, tss_b + 0x4c
	movl $DATA32, tss_b + 0x50
	movl $DATA32, tss_b + 0x54
	ret
/* We are task B by JMP, with the first task's TSS free; become the first again. */
back_to_first:
	movb $0x89, gdt + TSS_B + 5
	movb $0x89, gdt + TSS + 5
	mov $TSS, %eax
	ltr %ax
	clts
	ret
	.data
result:	.long 0
