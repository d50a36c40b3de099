/* Multiboot 2: a list of tags, each a type, a size and what belongs to it, on multiples of
 * eight bytes. */
#include "hosts/metal/multiboot.h"

enum { TAG_END = 0, TAG_LINE = 1, TAG_MODULE = 3, TAG_MAP = 6, TAG_SCREEN = 8, TAG_ACPI_OLD = 14, TAG_ACPI_NEW = 15,
       TAG_EFI_MAP = 17 };
enum { TAG_HEAD = 8, SCREEN_TEXT = 2, COLUMNS = 80, ROWS = 25 };
enum { EFI_LOADER_CODE = 1, EFI_BOOT_DATA = 4, EFI_FREE = 7 };

static void line(struct multiboot *m, const u8 *t, u32 n)
{
	multiboot_line(m, (const char *)t + TAG_HEAD, n - TAG_HEAD);
}

static void module(struct multiboot *m, const u8 *t, u32 n)
{
	multiboot_module(m, ld32(t + 8), ld32(t + 12));
}

static void map(struct multiboot *m, const u8 *t, u32 n)
{
	u32 size = ld32(t + 8);

	for (u64 i = 16; size >= 24 && i + size <= n; i += size)
		if (ld32(t + i + 16) == 1)
			multiboot_ram(m, ld64(t + i), ld64(t + i + 8));
}

/* UEFI 2.10, 7.2.3: what was the loader's and the boot services' is free by now. */
static void efi_map(struct multiboot *m, const u8 *t, u32 n)
{
	u32 size = ld32(t + 8);

	for (u64 i = 16; size >= 40 && i + size <= n; i += size) {
		u32 type = ld32(t + i);
		u64 pages = ld64(t + i + 24);

		if ((type == EFI_FREE || (type >= EFI_LOADER_CODE && type <= EFI_BOOT_DATA)) && pages < 1ull << 52)
			multiboot_ram(m, ld64(t + i + 8), pages * PAGE_SIZE);
	}
}

static void screen(struct multiboot *m, const u8 *t, u32 n)
{
	if (t[29] == SCREEN_TEXT && ld32(t + 20) == COLUMNS && ld32(t + 24) >= ROWS && ld64(t + 8) < MiB)
		m->screen = ld64(t + 8) & ~(u64)(PAGE_SIZE - 1);
}

/* The newer form is longer, and the better one. */
static void rsdp(struct multiboot *m, const u8 *t, u32 n)
{
	n = (u32)min_u64(n - TAG_HEAD, MB_RSDP);
	if (n <= m->nrsdp)
		return;
	memcpy(m->rsdp, t + TAG_HEAD, n);
	m->nrsdp = n;
}

static const struct {
	u32 type, least;     /* bytes, with the head */
	void (*read)(struct multiboot *, const u8 *tag, u32 n);
} tags[] = {
	{ TAG_LINE, 8, line }, { TAG_MODULE, 16, module }, { TAG_MAP, 16, map }, { TAG_SCREEN, 30, screen },
	{ TAG_ACPI_OLD, 28, rsdp }, { TAG_ACPI_NEW, 44, rsdp },
};

static void tag(struct multiboot *m, const u8 *t, u32 type, u32 n)
{
	for (unsigned i = 0; i < countof(tags); i++)
		if (tags[i].type == type && n >= tags[i].least)
			tags[i].read(m, t, n);
}

/* Two maps would be one too many: UEFI's counts where the loader made none of it. */
void multiboot2_read(struct multiboot *m, const u8 *info, u32 n)
{
	const u8 *efi = NULL;
	u64 at = 8;

	n = n < MB2_LEAST || n > MB2_MOST ? 0 : n;
	while (at + TAG_HEAD <= n) {
		u32 type = ld32(info + at), size = ld32(info + at + 4);

		if (type == TAG_END || size < TAG_HEAD || size > n - at)
			break;
		if (type == TAG_EFI_MAP && size >= 16)
			efi = info + at;
		tag(m, info + at, type, size);
		at += (size + 7ull) & ~7ull;
	}
	if (efi && !m->nram)
		efi_map(m, efi, ld32(efi + 4));
}
