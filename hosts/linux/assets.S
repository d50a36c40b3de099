/* The image scripts, inside the program: it needs no folder of its own. */
	.section .rodata
	.macro	asset name, file
	.global	asset_\name, asset_\name\()_end
asset_\name:
	.incbin	"images/\file"
asset_\name\()_end:
	.byte	0
	.endm

	asset	fetch, fetch.sh
	asset	tiny, tiny.sh
	asset	tiny_init, tiny.init
	asset	tiny_udhcpc, tiny.udhcpc
	asset	debian, debian.sh
	asset	debian_setup, debian.setup

	.section .note.GNU-stack, "", @progbits
