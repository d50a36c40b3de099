#include "hosts/metal/drivers/ata.h"

enum { KIND = 0, CAPABILITY = 49, BLOCKS_28 = 60, COMMANDS = 83, BLOCKS_48 = 100, SIZES = 106, WORDS = 117, TRIM = 169 };

/* 7.16: words, each with its own bits that say whether it counts. */
bool ata_read(struct ata_facts *f, const u8 *id)
{
	u16 commands = ld16(id + 2 * COMMANDS), sizes = ld16(id + 2 * SIZES);
	bool valid = commands >> 14 == 1;

	*f = (struct ata_facts){ .block = 512, .wide = valid && commands >> 10 & 1 };
	if (ld16(id + 2 * KIND) & 1 << 15 || !(ld16(id + 2 * CAPABILITY) & 1 << 9))
		return false; /* a packet device, or one without LBA */
	f->blocks = f->wide ? ld64(id + 2 * BLOCKS_48) & 0xffffffffffff : ld32(id + 2 * BLOCKS_28) & 0xfffffff;
	f->can_flush = valid && commands & (1 << 12 | 1 << 13);
	f->can_trim = ld16(id + 2 * TRIM) & 1;
	if (sizes >> 14 == 1 && sizes & 1 << 12)
		f->block = ld32(id + 2 * WORDS) * 2;
	return f->block >= 512 && f->block <= PAGE_SIZE && !(f->block & (f->block - 1));
}
