/* What the boot loader tells (Multiboot 0.6.96, section 3.3). */
#ifndef HOSTS_METAL_MULTIBOOT_H
#define HOSTS_METAL_MULTIBOOT_H

#include "core/host.h"
#include "hosts/metal/frames.h"

enum { MB_RANGES = 64, MB_MODULES = 16, MB_LINE = 512 };
struct multiboot {
	unsigned nram, nmodule;
	struct range ram[MB_RANGES];
	struct range module[MB_MODULES];
	char line[MB_LINE];        /* the command line, cut off where it is longer */
};

/* Copies all of it out.  Panics where there is no memory map. */
void multiboot_read(struct multiboot *, u32 magic, u64 info);

#endif
