# A ROM that says "ready", then echoes what comes on the first serial port, until
#   q  powers off by ACPI       e  ends by the debug-exit device with status 7 (3 << 1 | 1)
#   r  resets by port 0xcf9     d  says "hi" on the debug console
#   t  a triple fault           w  writes W without end
# Build: as --32 echo.S, ld -m elf_i386 --oformat binary -Ttext 0; the last 16 bytes
# of its 64 KiB are the reset vector.
	.code16
	.globl _start
_start:
	movw	$ready, %si
	movw	%cs, %ax
	movw	%ax, %ds
1:	lodsb
	testb	%al, %al
	jz	next
	call	put
	jmp	1b

next:	movw	$0x3fd, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	next
	movw	$0x3f8, %dx
	inb	%dx, %al
	call	put
	cmpb	$'q', %al
	je	off
	cmpb	$'e', %al
	je	exit
	cmpb	$'r', %al
	je	reset
	cmpb	$'d', %al
	je	debug
	cmpb	$'t', %al
	je	triple
	cmpb	$'w', %al
	je	wild
	jmp	next

put:	movb	%al, %ah
	movw	$0x3fd, %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	jz	1b
	movb	%ah, %al
	movw	$0x3f8, %dx
	outb	%al, %dx
	ret

off:	movw	$0x604, %dx
	movw	$(5 << 10 | 1 << 13), %ax
	outw	%ax, %dx
	jmp	next
exit:	movb	$3, %al
	outb	%al, $0xf4
	jmp	next
reset:	movw	$0xcf9, %dx
	movb	$6, %al
	outb	%al, %dx
	jmp	next
debug:	movb	$'h', %al
	outb	%al, $0xe9
	movb	$'i', %al
	outb	%al, $0xe9
	jmp	next
triple:	lidt	none
	int3
wild:	movb	$'W', %al
	call	put
	jmp	wild

ready:	.asciz "ready\r\n"
none:	.word 0, 0, 0
	.org 0xfff0
	ljmp	$0xf000, $_start
	.org 0x10000
