/* 32-bit code that can be translated: paging or not, compatibility mode or not, its segments begin at 0
 * and end at 4 GiB, so that an offset is a linear address and no limit is ever met. */
#include "engines/bt/parts.h"

/* Data, writable, upwards. */
static bool whole(const struct seg *g)
{
	const u32 kind = SEG_NULL | SEG_P | SEG_S | SEG_CODE | SEG_CE | SEG_RW;

	return g->limit == ~0u && (g->attr & kind) == (SEG_P | SEG_S | SEG_RW);
}

u8 flat_mode_32(const struct vcpu *v)
{
	const struct seg *s = v->x86.seg;

	if (v->emul.mode != MODE_32 || !(v->x86.cr0 & CR0_PE) || s[CS].base || s[CS].limit != ~0u || s[DS].base ||
	    s[SS].base || !whole(&s[DS]) || !whole(&s[SS]) || !(s[SS].attr & SEG_DB))
		return FLAT_NONE;
	return (u8)(FLAT_32 | (whole(&s[FS]) ? FLAT_FS : 0) | (whole(&s[GS]) ? FLAT_GS : 0));
}
