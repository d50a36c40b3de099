/* 32-bit paging: 4 KiB and 4 MiB pages, PSE-36, accessed and dirty bits, user rights; then
 * PAE: page-directory-pointer registers, NX, reserved bits. */
#include "guest.h"

main:
	/* directory in pml4: 4 MiB pages one to one; page_d a table for 4..8 MiB */
	mov $0x87, %eax
	xor %ecx, %ecx
1:	mov %eax, pml4(, %ecx, 4)
	add $0x400000, %eax
	inc %ecx
	cmp $16, %ecx
	jb 1b
	movl $page_d + 7, pml4 + 4
	mov %cr4, %eax
	or $CR4_PSE, %eax
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $CR0_PG | CR0_WP, %eax
	mov %eax, %cr0

	TRY
	mov 0x400123, %eax
	CAUGHT 14, 0, "no table entry"
	EQUAL $0x400123, ex_cr2, "cr2"
	movl $page_a + 7, page_d
	movl $0x12345678, page_a
	mov 0x400000, %eax
	EQUAL $0x12345678, %eax, "4 KiB page"
	EQUAL $page_a+0x27, page_d, "accessed"
	EQUAL $page_d+0x27, pml4+4, "accessed in the directory"
	incl 0x400000
	EQUAL $page_a+0x67, page_d, "dirty"
	movl $page_a + 3, page_d
	invlpg 0x400000
	TRY
	USER32 1f
1:	mov 0x400000, %eax
	CAUGHT 14, 5, "user read of a supervisor page"
	movl $page_a + 5, page_d
	invlpg 0x400000
	TRY
	movl $0, 0x400000
	CAUGHT 14, 3, "CR0.WP"
	TRY
	USER32 1f
1:	mov 0x400000, %eax
	movl $0, 0x400000
	CAUGHT 14, 7, "user write to a read-only page"

	movl $0x00400087 + 0x200000, pml4 + 8 /* bit 21 */
	invlpg 0x800000
	TRY
	mov 0x800000, %eax
	CAUGHT 14, 9, "reserved bit of a 4 MiB page"
	movl $0x00400087, pml4 + 8
	invlpg 0x800000
	movl $0xabcd, 0x800010
	EQUAL $0x004000e7, pml4+8, "dirty 4 MiB page"
	movl $page_a + 7, page_d
	movl $0x00c00000 + 7, page_d + 4 /* the same memory through a table: 0x401000 */
	movl $0x400000 + 7, page_d + 4
	invlpg 0x401000
	EQUAL $0xabcd, 0x401010, "4 MiB page's memory"

	/* PAE, from paging off */
	mov %cr0, %eax
	btr $31, %eax
	mov %eax, %cr0
	mov $0x87, %eax
	xor %ecx, %ecx
1:	mov %eax, pd(, %ecx, 8)
	movl $0, pd + 4(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $512, %ecx
	jb 1b
	movl $pd + 1, pdpt + 0x20 /* the table may lie at any multiple of 32 */
	movl $pd + 1, pdpt + 0x38
	mov %cr4, %eax
	or $CR4_PAE, %eax
	mov %eax, %cr4
	mov $pdpt + 0x20, %eax
	mov %eax, %cr3
	mov $EFER, %ecx
	xor %edx, %edx
	mov $0x800, %eax
	wrmsr
	mov %cr0, %eax
	bts $31, %eax
	mov %eax, %cr0
	mov 0xc0000000 + page_a, %ebx
	EQUAL page_a, %ebx, "the fourth gigabyte"
	TRY
	mov 0x40000000, %eax
	CAUGHT 14, 0, "no second gigabyte"
	movl $pd + 1, pdpt + 0x28
	TRY
	mov 0x40000000, %eax
	CAUGHT 14, 0, "pointers are registers"
	mov %cr3, %eax
	mov %eax, %cr3
	mov 0x40000000, %eax
	movl $pd + 3, pdpt + 0x30 /* R/W is reserved in a pointer */
	TRY
	mov %cr3, %eax
	mov %eax, %cr3
	CAUGHT 13, 0, "reserved bits of a pointer"
	movl $0x80000000, pd + 4 + 2 * 8
	mov $0x400000, %eax
	invlpg (%eax)
	movb $0xc3, (%eax)
	TRY
	call *%eax
	CAUGHT 14, 0x11, "no-execute"
	movl $0x00100000, pd + 4 + 3 * 8
	invlpg 0x600000
	TRY
	mov 0x600000, %eax
	CAUGHT 14, 9, "reserved bits above the address"
	jmp pass
