/* Multiboot 1, and what both versions share. */
#include "hosts/metal/multiboot.h"

enum { MAGIC = 0x2badb002, MAGIC2 = 0x36d76289, HAS_LINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MAP = 1 << 6 };
enum { FLAGS = 0, LINE = 16, MODULES_N = 20, MODULES = 24, MAP_LEN = 44, MAP_ADDR = 48, SCREEN = 0xb8000 };

static const u8 *at(u32 pa) { return (const u8 *)(u64)pa; }

/* Firmware cuts its memory into many pieces; those in a row are one. */
void multiboot_ram(struct multiboot *m, u64 base, u64 len)
{
	struct range *last = m->nram ? &m->ram[m->nram - 1] : NULL;

	if (!len || base + len < base)
		return;
	if (last && last->base + last->len == base)
		last->len += len;
	else if (m->nram < MB_RANGES)
		m->ram[m->nram++] = (struct range){ base, len };
}

void multiboot_module(struct multiboot *m, u32 base, u32 end)
{
	if (end > base && m->nmodule < MB_MODULES)
		m->module[m->nmodule++] = (struct range){ base, end - base };
}

void multiboot_line(struct multiboot *m, const char *s, size_t most)
{
	size_t n = 0;

	for (; n < most && s[n] && n < MB_LINE - 1; n++)
		m->line[n] = s[n];
	m->line[n] = 0;
}

/* Each entry begins with its size, which does not count itself. */
void multiboot_map(struct multiboot *m, const u8 *map, u32 n)
{
	for (u64 i = 0; i + 24 <= n && ld32(map + i) >= 20; i += (u64)ld32(map + i) + 4)
		if (ld32(map + i + 20) == 1)
			multiboot_ram(m, ld64(map + i + 4), ld64(map + i + 12));
}

static void read1(struct multiboot *m, const u8 *p)
{
	u32 flags = ld32(p + FLAGS);

	m->screen = SCREEN;
	if (flags & HAS_LINE)
		multiboot_line(m, (const char *)at(ld32(p + LINE)), MB_LINE);
	for (u32 i = 0; flags & HAS_MODULES && i < ld32(p + MODULES_N) && i < MB_MODULES; i++)
		multiboot_module(m, ld32(at(ld32(p + MODULES)) + 16 * i), ld32(at(ld32(p + MODULES)) + 16 * i + 4));
	if (flags & HAS_MAP)
		multiboot_map(m, at(ld32(p + MAP_ADDR)), ld32(p + MAP_LEN));
}

void multiboot_read(struct multiboot *m, u32 magic, u64 info)
{
	const u8 *p = (const u8 *)info;

	if (magic == MAGIC)
		read1(m, p);
	else if (magic == MAGIC2)
		multiboot2_read(m, p, ld32(p));
	else
		host_panic("not started by a Multiboot loader");
	if (!m->nram)
		host_panic("the boot loader gave no memory map");
}
