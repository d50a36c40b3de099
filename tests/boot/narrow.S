/* A 32-bit program for a 64-bit kernel: stack, calls, absolute addresses, one-byte INC and DEC, and a segment
 * of its own in GS.  Says "narrow ok" when the sums are right.  as --32, ld -m elf_i386 */
	.globl _start
_start:
	mov	$243, %eax		/* set_thread_area */
	mov	$area, %ebx
	int	$0x80
	test	%eax, %eax
	jnz	bad
	mov	area, %eax
	lea	3(,%eax,8), %eax
	mov	%eax, %gs
	mov	%gs:0, %eax		/* by offset alone */
	cmp	$0x12345678, %eax
	jne	bad
	mov	$-4, %ecx
	cmpl	$0x12345678, %gs:4(%ecx)	/* wraps */
	jne	bad
	mov	$2000000, %ecx
	xor	%edi, %edi
again:	push	%ecx
	call	step
	add	$4, %esp
	dec	%ecx
	jnz	again
	mov	%edi, %eax
	mov	%eax, sum
	cmpl	$0xa9966b40, sum		/* 2000000 * 2000001 / 2 + 2000000 * 2, low half */
	jne	bad
	mov	$9, %edx
	mov	$ok, %ecx
	call	say
	xor	%ebx, %ebx
	jmp	out
bad:	mov	$1, %ebx
out:	mov	$1, %eax
	int	$0x80

step:	push	%ebp
	mov	%esp, %ebp
	add	8(%ebp), %edi
	inc	%edi
	inc	%edi
	leave
	ret

say:	push	%ebx
	mov	$1, %ebx
	mov	$4, %eax
	int	$0x80
	pop	%ebx
	ret

	.data
ok:	.ascii	"narrow ok"
	.balign	4
sum:	.long	0
tls:	.long	0x12345678
area:	.long	-1, tls, 0xfffff, 0x51	/* 32 bits, pages, usable */
