/* PCID and global pages: what a change of CR3, INVLPG and INVPCID throw away and keep. */
#include "guest.h"

main:
	call enter_long
	.code64
	mov $1, %eax
	cpuid
	bt $17, %ecx
	mov $text_none, %esi
	jnc fail
	mov $page_a, %ebx
	shr $9, %ebx
	lea pt(%ebx), %ebx
	movl $0x11, page_a
	movl $0x22, page_b
	mov %cr4, %rax
	or $CR4_PCIDE | CR4_PGE, %eax
	mov %rax, %cr4

	/* page_a by PCID 1, then remapped: PCID 2 must see the change, 1 again after a flush */
	mov $pml4 + 1, %eax
	mov %rax, %cr3
	mov page_a, %eax
	EQUAL $0x11, %eax, "before"
	movl $page_b + 7, (%rbx)
	mov $pml4 + 2, %eax
	mov %rax, %cr3
	mov page_a, %eax
	EQUAL $0x22, %eax, "another PCID"
	mov $pml4 + 1, %eax
	mov %rax, %cr3
	mov page_a, %eax
	EQUAL $0x22, %eax, "mov to CR3 flushes its PCID"

	/* INVLPG works for the present PCID */
	movl $page_a + 7, (%rbx)
	invlpg page_a
	mov page_a, %eax
	EQUAL $0x11, %eax, "invlpg"

	/* bit 63: kept or not, but INVPCID of one address must do */
	movl $page_b + 7, (%rbx)
	movq $1, inv
	movq $page_a, inv + 8
	xor %eax, %eax
	invpcid inv, %rax
	mov $pml4 + 2, %eax
	bts $63, %rax
	mov %rax, %cr3
	mov $pml4 + 1, %eax
	bts $63, %rax
	mov %rax, %cr3
	mov page_a, %eax
	EQUAL $0x22, %eax, "invpcid of an address"
	movl $page_a + 7, (%rbx)
	mov $1, %eax
	invpcid inv, %rax
	mov page_a, %eax
	EQUAL $0x11, %eax, "invpcid of a PCID"

	/* a global page: dropped by INVLPG, by INVPCID 2, by CR4.PGE */
	movl $page_a + 0x107, (%rbx)
	invlpg page_a
	mov page_a, %eax
	movl $page_b + 0x107, (%rbx)
	invlpg page_a
	mov page_a, %eax
	EQUAL $0x22, %eax, "invlpg of a global page"
	movl $page_a + 0x107, (%rbx)
	mov $2, %eax
	movq $0, inv
	invpcid inv, %rax
	mov page_a, %eax
	EQUAL $0x11, %eax, "invpcid of everything"
	movl $page_b + 0x107, (%rbx)
	mov %cr4, %rax
	and $~CR4_PGE, %eax
	mov %rax, %cr4
	mov page_a, %eax
	EQUAL $0x22, %eax, "CR4.PGE off"

	/* what must fault */
	TRY
	mov $4, %eax
	invpcid inv, %rax
	CAUGHT 13, 0, "invpcid type 4"
	movq $0x1000, inv
	TRY
	mov $1, %eax
	invpcid inv, %rax
	CAUGHT 13, 0, "invpcid of PCID 4096"
	TRY
	mov %cr0, %rax
	btr $31, %rax
	mov %rax, %cr0
	CAUGHT 13, 0, "paging off with PCIDs"
	mov $pml4 + 5, %eax
	mov %rax, %cr3
	mov %cr4, %rax
	and $~CR4_PCIDE, %eax
	mov %rax, %cr4
	TRY
	or $CR4_PCIDE, %eax
	mov %rax, %cr4
	CAUGHT 13, 0, "PCIDs on with CR3[11:0] not 0"
	TRY
	mov $pml4, %eax
	bts $63, %rax
	mov %rax, %cr3
	CAUGHT 13, 0, "bit 63 without PCIDs"
	jmp pass
text_none:
	.asciz "no PCID"
	.data
	.balign 16
inv:	.quad 0, 0
