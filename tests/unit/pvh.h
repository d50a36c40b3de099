/* An ELF file with a PVH note: the least that boots, an endless loop. */
#ifndef TESTS_UNIT_PVH_H
#define TESTS_UNIT_PVH_H

#include <string.h>

#include "core/base.h"
#include "core/host.h"

static struct span pvh_kernel(void)
{
	static u8 f[0x200];
	u8 *note = f + 0x100;

	memset(f, 0, sizeof(f));
	memcpy(f, "\177ELF\1\1\1", 7);
	st16(f + 18, 3), st32(f + 28, 52), st16(f + 42, 32), st16(f + 44, 2);
	st32(f + 52, 1), st32(f + 64, MiB), st32(f + 68, 0x200), st32(f + 72, 0x200);
	st32(f + 84, 4), st32(f + 88, 0x100), st32(f + 100, 20), st32(f + 104, 20);
	st32(note, 4), st32(note + 4, 4), st32(note + 8, 18), memcpy(note + 12, "Xen", 4);
	st32(note + 16, MiB + 0x180);
	st16(f + 0x180, 0xfeeb);
	return (struct span){ f, sizeof(f) };
}

#endif
