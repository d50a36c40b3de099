#include "hosts/metal/multiboot.h"

enum { MAGIC = 0x2badb002, HAS_LINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MAP = 1 << 6 };
enum { FLAGS = 0, LINE = 16, MODULES_N = 20, MODULES = 24, MAP_LEN = 44, MAP_ADDR = 48 };

static const u8 *at(u32 pa) { return (const u8 *)(u64)pa; }

static void read_line(struct multiboot *m, const char *s)
{
	unsigned n = 0;

	for (; s[n] && n < MB_LINE - 1; n++)
		m->line[n] = s[n];
	m->line[n] = 0;
}

static void read_modules(struct multiboot *m, const u8 *list, u32 n)
{
	for (; n && m->nmodule < MB_MODULES; n--, list += 16)
		if (ld32(list + 4) > ld32(list))
			m->module[m->nmodule++] = (struct range){ ld32(list), ld32(list + 4) - ld32(list) };
}

/* Each entry begins with its size, which does not count itself. */
static void read_map(struct multiboot *m, const u8 *map, u32 len)
{
	for (u32 i = 0; i + 24 <= len && ld32(map + i) >= 20; i += ld32(map + i) + 4) {
		struct range r = { ld64(map + i + 4), ld64(map + i + 12) };

		if (ld32(map + i + 20) == 1 && r.len && r.base + r.len > r.base && m->nram < MB_RANGES)
			m->ram[m->nram++] = r;
	}
}

void multiboot_read(struct multiboot *m, u32 magic, u64 info)
{
	const u8 *p = (const u8 *)info;
	u32 flags = magic == MAGIC ? ld32(p + FLAGS) : 0;

	if (magic != MAGIC)
		host_panic("not started by a Multiboot loader");
	if (flags & HAS_LINE)
		read_line(m, (const char *)at(ld32(p + LINE)));
	if (flags & HAS_MODULES)
		read_modules(m, at(ld32(p + MODULES)), ld32(p + MODULES_N));
	if (flags & HAS_MAP)
		read_map(m, at(ld32(p + MAP_ADDR)), ld32(p + MAP_LEN));
	if (!m->nram)
		host_panic("the boot loader gave no memory map");
}
