/* What test guests share.  A guest includes this first and then has its `main`, entered
 * in 32-bit protected mode, flat, ring 0, paging off, interrupts off, with the GDT and IDT
 * below.  It says "ok" by `jmp pass`; CAUGHT and EQUAL say "FAIL what" and stop.
 *
 * Build and run:
 *   gcc -c -o x.o x.S && ld -T link.ld -o x.64 x.o && objcopy -O elf32-i386 x.64 x.elf
 *   lodge run --kernel x.elf --test-devices --no-reboot --debugcon stdio
 *   qemu-system-x86_64 -kernel x.elf -cpu max -display none -no-reboot \
 *       -debugcon stdio -device isa-debug-exit,iobase=0xf4
 * The exit status is 1 when all went well, 3 when not.
 *
 * TRY ... CAUGHT vector, error, "what": the instructions between must raise just this.
 * From whatever ring and mode it comes, control is then in ring 0 behind CAUGHT, with the
 * stack of TRY; ex_cr2, ex_eip, ex_cs, ex_flags tell more.  Behind `call enter_long` the
 * code is 64-bit and the macros work the same.  Code of a ring 3 ends by `int $BACK`. */

#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define CODE16 0x20
#define DATA16 0x28
#define UCODE32 (0x30 | 3)
#define UDATA (0x38 | 3)
#define UCODE64 (0x40 | 3)
#define TSS 0x48
#define TSS_B 0x58 /* another task, empty */
#define FREE 0x68  /* to 0xf8: the test's own */

#define CR0_TS 8
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_PG 0x80000000
#define CR4_VME 1
#define CR4_DE 8
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define CR4_PGE 0x80
#define CR4_PCIDE 0x20000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define EFER 0xc0000080

#define BACK 0x30

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

/* ---- macros */

	.macro TRY
	movl $77f, ex_resume
	movl %esp, ex_sp
	movl $-1, ex_vec
	.endm
	.macro CAUGHT vec, err, what
	movl $78f, %esi
	jmp fail
78:	.asciz "\what"
77:	movl $0, ex_resume
	movl $78b, %esi
	cmpl $\vec, ex_vec
	jne fail
	cmpl $\err, ex_err
	jne fail
	.endm
	/* EQUAL value, memory or register, "what": 32 bits, no blanks in them; uses esi */
	.macro EQUAL a, b, what
	movl $78f, %esi
	cmpl \a, \b
	jne fail
	jmp 79f
78:	.asciz "\what"
79:
	.endm
	/* To ring 3; the first in 32-, the second in 64-bit code. */
	.macro USER32 to
	push $UDATA
	pop %ds
	push $UDATA
	pop %es
	push $UDATA
	push $user_stack_top
	push $2
	push $UCODE32
	push $\to
	iret
	.endm
	.macro USER64 to
	push $UDATA
	push $user_stack_top
	push $2
	push $UCODE64
	push $\to
	iretq
	.endm
	/* Gate n of the 32-bit IDT; type 0x8e: interrupt, 0xee: the same for ring 3; uses eax, edi. */
	.macro GATE32 n, to, type
	movl $\to, %eax
	movw %ax, idt32 + \n * 8
	shrl $16, %eax
	movw %ax, idt32 + \n * 8 + 6
	movb $\type, idt32 + \n * 8 + 5
	.endm
	.macro GATE64 n, to, type, ist
	movl $\to, %eax
	movw %ax, idt64 + \n * 16
	shrl $16, %eax
	movw %ax, idt64 + \n * 16 + 6
	movb $\ist, idt64 + \n * 16 + 4
	movb $\type, idt64 + \n * 16 + 5
	.endm

/* ---- start */

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	mov $stack_top, %esp
	lgdt gdtr
	ljmp $CODE32, $1f
1:	mov $DATA32, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov $tss, %eax
	mov $gdt + TSS, %edi
	call set_base
	mov $tss_b, %eax
	mov $gdt + TSS_B, %edi
	call set_base
	mov $TSS, %eax
	ltr %ax
	call make_idts
	lidt idtr32
	jmp main

/* The base of the descriptor at edi becomes eax. */
set_base:
	mov %ax, 2(%edi)
	shr $16, %eax
	mov %al, 4(%edi)
	mov %ah, 7(%edi)
	ret

make_idts:
	xor %ecx, %ecx
1:	mov $stubs32, %eax
	lea idt32(, %ecx, 8), %edi
	mov $8, %edx
	call make_gate
	movw $CODE32, 2(%edi)
	mov $stubs64, %eax
	lea idt64(, %ecx, 8), %edi
	lea (%edi, %ecx, 8), %edi
	call make_gate
	movw $CODE64, 2(%edi)
	inc %ecx
	cmp $64, %ecx
	jb 1b
	movb $0xee, idt32 + BACK * 8 + 5
	movb $0xee, idt64 + BACK * 16 + 5
	ret
make_gate: /* stub ecx of those at eax, 16 bytes each */
	mov %ecx, %ebx
	shl $4, %ebx
	add %ebx, %eax
	mov %ax, (%edi)
	shr $16, %eax
	mov %ax, 6(%edi)
	movb $0x8e, 5(%edi)
	ret

/* ---- the end; these bytes do the same in 32- and in 64-bit code */

pass:	mov $text_ok, %esi
	xor %ebx, %ebx
	jmp finish
fail:	push %esi
	mov $text_fail, %esi
	call puts
	pop %esi
	call puts
	mov $text_newline, %esi
	mov $1, %ebx
finish:	call puts
	mov %ebx, %eax
	mov $0xf4, %edx
	out %eax, %dx
1:	hlt
	jmp 1b
puts:	lodsb
	test %al, %al
	jz 1f
	out %al, $0xe9
	jmp puts
1:	ret
unexpected:
	mov ex_digits(, %ebx, 4), %eax
	mov %eax, text_vector
	mov $text_unexpected, %esi
	jmp fail

/* ---- exceptions: vector and error code on the stack, then the frame */

	.balign 16
stubs32:
	.set n, 0
	.rept 64
	.balign 16
	.if n != 8 && (n < 10 || n > 14) && n != 17
	push $0
	.endif
	push $n
	jmp caught32
	.set n, n + 1
	.endr
caught32:
	push %eax
	mov $DATA32, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov 4(%esp), %eax
	mov %eax, ex_vec
	mov 8(%esp), %eax
	mov %eax, ex_err
	mov 12(%esp), %eax
	mov %eax, ex_eip
	mov 16(%esp), %eax
	mov %eax, ex_cs
	mov 20(%esp), %eax
	mov %eax, ex_flags
	mov %esp, ex_frame
	addl $12, ex_frame
	mov %cr2, %eax
	mov %eax, ex_cr2
	pop %eax
	cmpl $0, ex_resume
	je 1f
	mov ex_sp, %esp
	jmp *ex_resume
1:	mov ex_vec, %ebx
	jmp unexpected

	.code64
	.balign 16
stubs64:
	.set n, 0
	.rept 64
	.balign 16
	.if n != 8 && (n < 10 || n > 14) && n != 17
	push $0
	.endif
	push $n
	jmp caught64
	.set n, n + 1
	.endr
caught64:
	push %rax
	mov $DATA32, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov 8(%rsp), %eax
	mov %eax, ex_vec
	mov 16(%rsp), %eax
	mov %eax, ex_err
	mov 24(%rsp), %rax
	mov %rax, ex_eip
	mov 32(%rsp), %eax
	mov %eax, ex_cs
	mov 40(%rsp), %eax
	mov %eax, ex_flags
	lea 24(%rsp), %rax
	mov %rax, ex_frame
	mov %cr2, %rax
	mov %rax, ex_cr2
	pop %rax
	cmpl $0, ex_resume
	je 1f
	mov ex_sp, %esp
	mov ex_resume, %esi
	jmp *%rsi
1:	mov ex_vec, %ebx
	jmp unexpected

/* ---- long mode: 1 GiB mapped one to one for everybody, the first 2 MiB by pt */

	.code32
enter_long:
	pop %ebp
	mov $pdpt + 7, %eax
	mov %eax, pml4
	mov $pd + 7, %eax
	mov %eax, pdpt
	mov $0x87, %eax
	xor %ecx, %ecx
1:	mov %eax, pd(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $512, %ecx
	jb 1b
	mov $pt + 7, %eax
	mov %eax, pd
	mov $7, %eax
	xor %ecx, %ecx
1:	mov %eax, pt(, %ecx, 8)
	add $0x1000, %eax
	inc %ecx
	cmp $512, %ecx
	jb 1b
	mov %cr4, %eax
	or $CR4_PAE, %eax
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $EFER, %ecx
	mov $0x901, %eax
	xor %edx, %edx
	wrmsr
	mov %cr0, %eax
	or $CR0_PG | CR0_WP, %eax
	mov %eax, %cr0
	movl $stack0_top, tss + 4
	movl $0, tss + 8
	movl $ist1_top, tss + 36
	lidt idtr64
	ljmp $CODE64, $1f
	.code64
1:	jmp *%rbp
	.code32

/* ---- data */

	.data
	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
	.quad 0x00009b000000ffff, 0x000093000000ffff
	.quad 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
	.quad 0x0000890000002068, 0, 0x0000890000000067, 0
	.fill 18, 8, 0
gdt_end:
gdtr:	.word gdt_end - gdt - 1
	.long gdt, 0
idtr32:	.word 64 * 8 - 1
	.long idt32, 0
idtr64:	.word 64 * 16 - 1
	.long idt64, 0
text_ok:
	.asciz "ok\n"
text_fail:
	.asciz "FAIL "
text_newline:
	.asciz "\n"
text_unexpected:
	.ascii "unexpected exception "
text_vector:
	.long 0
	.byte 0
	.balign 4
ex_digits:
	.set n, 0
	.rept 64
	.byte '0' + n / 10, '0' + n % 10, 0, 0
	.set n, n + 1
	.endr
	.balign 8
ex_resume: .quad 0
ex_sp:	.quad 0
ex_vec:	.quad 0
ex_err:	.quad 0
ex_eip:	.quad 0
ex_cs:	.quad 0
ex_flags: .quad 0
ex_frame: .quad 0
ex_cr2:	.quad 0
	.balign 16
tss:	.long 0, stack0_top, DATA32
	.fill 0x66 - 12, 1, 0
	.word 0x68
	.fill 0x2000, 1, 0xff /* ports: none for ring 3 */
	.byte 0xff
	.balign 16
tss_b:	.fill 0x68, 1, 0

	.bss
	.balign 4096
idt32:	.skip 64 * 8
	.balign 4096
idt64:	.skip 64 * 16
	.balign 4096
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4096
pt:	.skip 4096
page_a:	.skip 4096 /* the test's own */
page_b:	.skip 4096
page_c:	.skip 4096
page_d:	.skip 4096
stack:	.skip 8192
stack_top:
	.skip 4096
stack0_top:
	.skip 4096
ist1_top:
	.skip 4096
user_stack_top:
	.text
	.code32
