/* Where upcall_go() begins in ring 3: the function, and back with its answer. */
#include "hosts/metal/boot.h"
	.text
	.globl entry
entry:
	call upcalled
	mov %rax, %rdi
	xor %eax, %eax         /* SYS_RETURN */
	int $VECTOR_CALL
	ud2
	.section .note.GNU-stack, "", @progbits
