/* What the boot loader tells, by Multiboot 1 (0.6.96, section 3.3) or 2 (2.0, section 3.6). */
#ifndef HOSTS_METAL_MULTIBOOT_H
#define HOSTS_METAL_MULTIBOOT_H

#include "core/host.h"
#include "hosts/metal/frames.h"

enum { MB_RANGES = 128, MB_MODULES = 16, MB_LINE = 512, MB_RSDP = 36 };
enum { MB2_LEAST = 8, MB2_MOST = 1 * MiB };  /* bytes of Multiboot 2's information */
struct multiboot {
	unsigned nram, nmodule;
	struct range ram[MB_RANGES];
	struct range module[MB_MODULES];
	char line[MB_LINE];        /* the command line, cut off where it is longer */
	u8 rsdp[MB_RSDP];          /* ACPI's root pointer, nrsdp bytes; 0: to be looked for */
	unsigned nrsdp;
	u64 screen;                /* of 80 by 25 characters; 0: none */
};

/* Copies all of it out: the loader's memory is nobody's afterwards.  Panics where there is
 * no memory map. */
void multiboot_read(struct multiboot *, u32 magic, u64 info);

/* The parts that only look at bytes; nothing they are given is taken on trust. */
void multiboot_ram(struct multiboot *, u64 base, u64 len);             /* one usable range more */
void multiboot_module(struct multiboot *, u32 base, u32 end);
void multiboot_line(struct multiboot *, const char *, size_t most);
void multiboot_map(struct multiboot *, const u8 *map, u32 n);          /* Multiboot 1's */
void multiboot2_read(struct multiboot *, const u8 *info, u32 n);       /* all of Multiboot 2 */

#endif
