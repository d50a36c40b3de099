/* 4-level paging: accessed and dirty bits, not present, write protection with and without
 * CR0.WP, user pages, NX, SMEP, SMAP, reserved bits, 2 MiB pages, error codes, CR2. */
#include "guest.h"

main:
	call enter_long
	.code64
	/* indexes into pt: page_a is below 2 MiB */
	mov $page_a, %ebx
	shr $9, %ebx
	lea pt(%ebx), %ebx      /* rbx: &pte of page_a; page_b's is 8 further */

	movl $page_a, %eax
	or $7, %eax
	mov %rax, (%rbx)
	invlpg page_a
	mov page_a, %eax
	mov (%rbx), %eax
	and $0xfff, %eax
	EQUAL $0x27, %eax, "accessed after a read"
	movl $1, page_a
	mov (%rbx), %eax
	and $0xfff, %eax
	EQUAL $0x67, %eax, "dirty after a write"
	mov pd, %eax
	and $0xfff, %eax
	EQUAL $0x27, %eax, "accessed in the directory"

	andq $~1, (%rbx)
	invlpg page_a
	TRY
	mov page_a + 8, %eax
	CAUGHT 14, 0, "read of no page"
	EQUAL $page_a+8, ex_cr2, "cr2"
	TRY
	mov %eax, page_a + 4092
	CAUGHT 14, 2, "write to no page"
	TRY
	mov %rax, page_a - 4
	CAUGHT 14, 2, "write across into no page"
	EQUAL $page_a, ex_cr2, "cr2 of the second page"

	movl $page_a + 5, %eax
	mov %rax, (%rbx)
	invlpg page_a
	TRY
	movb $0, page_a
	CAUGHT 14, 3, "write to a read-only page"
	mov %cr0, %rax
	and $~CR0_WP, %eax
	mov %rax, %cr0
	movb $0, page_a
	or $CR0_WP, %eax
	mov %rax, %cr0
	TRY
	movb $0, page_a
	CAUGHT 14, 3, "write protection on again"

	/* from ring 3 */
	movl $page_a + 3, %eax
	mov %rax, (%rbx)
	invlpg page_a
	TRY
	USER64 1f
1:	mov page_a, %eax
	CAUGHT 14, 5, "user read of a supervisor page"
	movl $page_a + 5, %eax
	mov %rax, (%rbx)
	invlpg page_a
	TRY
	USER64 1f
1:	mov page_a, %eax
	lock incl page_a
	CAUGHT 14, 7, "user write to a read-only page"

	/* execution */
	movl $page_a + 7, %eax
	bts $63, %rax
	mov %rax, (%rbx)
	invlpg page_a
	movb $0xc3, page_a
	TRY
	mov $page_a, %eax
	call *%rax
	CAUGHT 14, 0x11, "no-execute page"
	EQUAL $page_a, ex_eip, "rip of the fetch"
	movl $page_a + 7, %eax
	mov %rax, (%rbx)
	invlpg page_a
	mov $page_a, %eax
	call *%rax

	/* reserved bits: a physical address of 51 bits */
	movl $page_a + 7, %eax
	bts $51, %rax
	mov %rax, (%rbx)
	invlpg page_a
	TRY
	mov page_a, %eax
	CAUGHT 14, 9, "reserved bit"
	movl $0x40000087 + 0x2000, %eax
	mov %rax, pd + 511 * 8
	TRY
	mov 511 * 0x200000, %eax
	CAUGHT 14, 9, "reserved bit of a large page"

	/* large page: A and D in the directory's entry */
	movl $0x3fe00087, %eax
	mov %rax, pd + 511 * 8
	mov $511 * 0x200000, %edi
	invlpg (%rdi)
	mov %eax, 0x123456(%rdi)
	mov pd + 511 * 8, %eax
	EQUAL $0x3fe000e7, %eax, "dirty in a large page's entry"

	/* SMEP and SMAP: 7.EBX bits 7 and 20 */
	mov $7, %eax
	xor %ecx, %ecx
	push %rbx
	cpuid
	mov %ebx, %edx
	pop %rbx
	and $0x100080, %edx
	EQUAL $0x100080, %edx, "SMEP and SMAP are offered"
	/* supervisor pages for what follows, but for page_a */
	xor %ecx, %ecx
1:	andq $~4, pt(, %rcx, 8)
	inc %ecx
	cmp $512, %ecx
	jb 1b
	movl $page_a + 7, %eax
	mov %rax, (%rbx)
	mov %cr4, %rax
	or $CR4_SMEP, %eax
	mov %rax, %cr4
	mov page_a, %eax
	TRY
	mov $page_a, %eax
	call *%rax
	CAUGHT 14, 0x11, "SMEP"
	mov %cr4, %rax
	or $CR4_SMAP, %eax
	mov %rax, %cr4
	TRY
	mov page_a, %eax
	CAUGHT 14, 1, "SMAP, read"
	TRY
	movb $0xc3, page_a
	CAUGHT 14, 3, "SMAP, write"
	stac
	movb $0xc3, page_a
	clac
	TRY
	movb $0xc3, page_a
	CAUGHT 14, 3, "SMAP after clac"
	/* descriptor tables are read as if AC were 0: an LDT in the user's page */
	lea page_a, %rax
	movl $0x00000fff, gdt + FREE
	mov %ax, gdt + FREE + 2
	shr $16, %eax
	mov %al, gdt + FREE + 4
	movb $0x82, gdt + FREE + 5
	mov $FREE, %eax
	lldt %ax
	stac
	TRY
	mov $0x14, %eax
	mov %eax, %fs
	CAUGHT 14, 1, "SMAP, implicit"
	clac
	jmp pass
