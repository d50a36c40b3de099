/* From the boot loader to C: Multiboot 1 (version 0.6.96) and 2 leave 32-bit protected mode,
 * paging off, EAX a magic number and EBX the address of what they tell, under UEFI too.  Here
 * begins 64-bit mode on page tables that map 4 GiB one to one and live until paging_init().
 *
 * Further processors (smp.c) come from real mode by the code between ap_start and ap_end,
 * which is copied below 1 MiB, and go the same way. */
#include "hosts/metal/boot.h"

#define CR0_PE 1
#define CR0_PG_WP_NE_MP 0x80010022
#define CR4_BOOT 0x620 /* PAE, OSFXSR, OSXMMEXCPT */
#define MSR_EFER 0xc0000080
#define EFER_BOOT 0x900 /* LME, NXE */

	.section .multiboot, "a"
	.balign 4
	.set flags, 3 /* modules on page boundaries, a memory map */
	.long 0x1badb002, flags, -(0x1badb002 + flags)

	.balign 8
mb2:	.long 0xe85250d6, 0, mb2_end - mb2, -(0xe85250d6 + mb2_end - mb2)
	.short 1, 0
	.long 12, 6 /* without a memory map it need not begin */
	.balign 8
	.short 4, 1
	.long 12, 2 /* a text screen is welcome */
	.balign 8
	.short 6, 0
	.long 8     /* modules on page boundaries */
	.short 0, 0
	.long 8
mb2_end:

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	mov $boot_stack_top, %esp
	mov %eax, %ebp
	mov %ebx, %esi
	call make_tables
	mov $boot_pml4, %edx
	call enter_long
	ljmp $GDT_CODE, $1f
	.code64
1:	call load_data
	mov %ebp, %edi
	call metal_main
2:	hlt
	jmp 2b

/* 4 GiB in pages of 2 MiB, for as long as there is nothing better. */
	.code32
make_tables:
	movl $boot_pdpt + 3, boot_pml4
	mov $boot_pd + 3, %eax
	xor %ecx, %ecx
1:	mov %eax, boot_pdpt(, %ecx, 8)
	add $0x1000, %eax
	inc %ecx
	cmp $4, %ecx
	jb 1b
	mov $0x83, %eax
	xor %ecx, %ecx
1:	mov %eax, boot_pd(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $2048, %ecx
	jb 1b
	ret

/* Page tables at EDX.  Returns in compatibility mode, with the GDT of 64-bit mode. */
enter_long:
	mov $CR4_BOOT, %eax
	mov %eax, %cr4
	mov %edx, %cr3
	mov $MSR_EFER, %ecx
	mov $EFER_BOOT, %eax
	xor %edx, %edx
	wrmsr
	mov %cr0, %eax
	and $0x9ffffffb, %eax /* caches on, no emulation */
	or $CR0_PG_WP_NE_MP, %eax
	mov %eax, %cr0
	lgdt boot_gdtr
	ret

	.code64
load_data:
	mov $GDT_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	ret

/* ---- further processors.  16-bit code at AP_BASE; each takes its stack from the slot. */
	.code16
	.globl ap_start, ap_end
ap_start:
	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	lgdtl AP_BASE + (ap_gdtr - ap_start)
	mov %cr0, %eax
	or $CR0_PE, %eax
	mov %eax, %cr0
	ljmpl $GDT_CODE32, $ap_protected
ap_gdtr:
	.word gdt_end - boot_gdt - 1
	.long boot_gdt
ap_end:
	.code32
ap_protected:
	mov $GDT_DATA, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov ap_stack, %esp
	mov ap_pml4, %edx
	call enter_long
	ljmp $GDT_CODE, $1f
	.code64
1:	call load_data
	mov ap_stack(%rip), %rsp
	call smp_main
2:	hlt
	jmp 2b

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
gdt_end:
boot_gdtr:
	.word gdt_end - boot_gdt - 1
	.quad boot_gdt

	.bss
	.balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd: .skip 4 * 4096
	.balign BOOT_STACK
boot_stack: .skip BOOT_STACK
boot_stack_top:
	.globl ap_stack, ap_pml4
	.balign 8
ap_stack: .quad 0
ap_pml4: .quad 0
	.section .note.GNU-stack, "", @progbits
