/* Multiboot 1 (specification 0.6.96): ELF files, or the header's address fields;
 * memory map, command line, modules and loader name are passed on. */
#include "core/boot.h"
#include "core/map.h"

#define MB_MAGIC 0x1badb002u
#define MB_EAX 0x2badb002u
enum { MB_SEARCH = 8192, MB_HEADER = 32 };
enum { /* header flags */
	MB_PAGE_ALIGN = 1 << 0, MB_MEMORY = 1 << 1, MB_VIDEO = 1 << 2,
	MB_REQUIRED = 0xffff, MB_ADDRESSES = 1 << 16,
};
enum { /* info: offsets and flags */
	MI_FLAGS = 0, MI_LOWER = 4, MI_UPPER = 8, MI_CMDLINE = 16, MI_MODS_N = 20, MI_MODS = 24,
	MI_MAP_LEN = 44, MI_MAP = 48, MI_LOADER = 64, MI_SIZE = 120,
	MI_HAS_MEM = 1 << 0, MI_HAS_CMDLINE = 1 << 2, MI_HAS_MODS = 1 << 3,
	MI_HAS_MAP = 1 << 6, MI_HAS_LOADER = 1 << 9,
};
enum { MAP_ENTRY = 24, MOD_ENTRY = 16 };

/* Offset of the header, or false. */
static bool find_header(struct span f, size_t *at)
{
	const u8 *p = f.p;
	size_t end = f.n < MB_SEARCH ? f.n : MB_SEARCH;

	for (*at = 0; *at + 12 <= end; *at += 4)
		if (ld32(p + *at) == MB_MAGIC &&
		    !(u32)(MB_MAGIC + ld32(p + *at + 4) + ld32(p + *at + 8)))
			return true;
	return false;
}

/* The a.out kludge: load_addr..load_end_addr from the file, bss up to bss_end_addr. */
static int load_flat(struct boot *b, size_t at, u32 *entry)
{
	const char *name = b->cfg->kernel_name;
	const struct span *f = &b->cfg->kernel;
	const u8 *h = (const u8 *)f->p + at;
	u32 header, load, load_end, bss_end;
	u64 off, n, len;
	int err;

	if (f->n - at < MB_HEADER)
		return fail(E_INVAL, "%s: truncated: inside the Multiboot header", name);
	header = ld32(h + 12);
	load = ld32(h + 16);
	load_end = ld32(h + 20);
	bss_end = ld32(h + 24);
	*entry = ld32(h + 28);
	if (load > header || header - load > at)
		return fail(E_INVAL, "%s: damaged Multiboot header: load address 0x%x does not "
			    "go with header address 0x%x", name, load, header);
	off = at - (header - load);
	n = load_end ? (u64)load_end - load : f->n - off;
	if (load_end && load_end < load)
		return fail(E_INVAL, "%s: damaged Multiboot header: ends before it begins", name);
	if (n > f->n - off)
		return fail(E_INVAL, "%s: truncated: Multiboot header says %llu KiB, the file "
			    "has %zu KiB", name, (unsigned long long)(n / KiB), f->n / KiB);
	len = bss_end > load ? max_u64(n, (u64)bss_end - load) : n;
	err = boot_claim(b, load, len, "kernel");
	if (!err)
		boot_put(b, load, (const u8 *)f->p + off, n, len);
	return err;
}

static int load_elf(struct boot *b, u32 *entry)
{
	struct elf e;
	int err;

	if (!elf_is(b->cfg->kernel))
		return fail(E_INVAL, "%s: a Multiboot header without addresses in a file that "
			    "is not ELF", b->cfg->kernel_name);
	err = elf_open(&e, b->cfg->kernel, b->cfg->kernel_name);
	if (err)
		return err;
	if (elf_entry(&e) >= MAP_4G)
		return fail(E_INVAL, "%s: Multiboot entry 0x%llx is above 4 GiB",
			    b->cfg->kernel_name, (unsigned long long)elf_entry(&e));
	*entry = (u32)elf_entry(&e);
	return elf_load(b, &e);
}

/* ---- the information */

static gpa put_map(struct boot *b, u32 *len)
{
	u8 map[MAP_ENTRY * BOOT_E820] = { 0 };
	gpa at;

	*len = MAP_ENTRY * b->ne820;
	at = boot_alloc_low(b, *len, 16, "the memory map");
	if (!at)
		return 0;
	for (unsigned i = 0; i < b->ne820; i++) {
		u8 *e = map + MAP_ENTRY * i;

		st32(e, MAP_ENTRY - 4);
		st64(e + 4, b->e820[i].base);
		st64(e + 12, b->e820[i].len);
		st32(e + 20, b->e820[i].type);
	}
	boot_put(b, at, map, *len, *len);
	return at;
}

static int put_module(struct boot *b, const struct span *f, const char *cmdline, u8 *m)
{
	gpa at, line;
	int err = boot_put_file(b, f, MAP_4G, "a module", &at);

	if (err)
		return err;
	line = boot_put_string(b, cmdline, "", "a module's command line");
	if (!line)
		return E_NOSPC;
	st32(m, (u32)at);
	st32(m + 4, (u32)(at + f->n));
	st32(m + 8, (u32)line);
	st32(m + 12, 0);
	return 0;
}

static int put_modules(struct boot *b, u8 *info)
{
	const struct pc_config *cfg = b->cfg;
	u8 m[MOD_ENTRY * (PC_MODULES + 1)];
	unsigned n = 0;
	gpa at;
	int err = 0;

	if (cfg->initrd.n)
		err = put_module(b, &cfg->initrd, "initrd", m + MOD_ENTRY * n++);
	for (unsigned i = 0; i < cfg->nmodule && i < PC_MODULES && !err; i++)
		err = put_module(b, &cfg->module[i].data, cfg->module[i].cmdline,
				 m + MOD_ENTRY * n++);
	if (err || !n)
		return err;
	at = boot_alloc_low(b, MOD_ENTRY * n, 16, "the module list");
	if (!at)
		return E_NOSPC;
	boot_put(b, at, m, MOD_ENTRY * n, MOD_ENTRY * n);
	st32(info + MI_MODS_N, n);
	st32(info + MI_MODS, (u32)at);
	return 0;
}

static gpa put_cmdline(struct boot *b)
{
	const struct pc_config *cfg = b->cfg;
	size_t n = strlen(cfg->kernel_name), m = strlen(cfg->cmdline);
	gpa at = boot_alloc_low(b, n + m + 2, 16, "the command line");

	if (!at)
		return 0;
	boot_put(b, at, cfg->kernel_name, n, n + m + 2);
	if (m) {
		boot_put(b, at + n, " ", 1, 1);
		boot_put(b, at + n + 1, cfg->cmdline, m, m);
	}
	return at;
}

static int put_info(struct boot *b, gpa *at)
{
	u64 low = ram_top_low(b->cfg->ram, MAP_HOLE);
	u8 info[MI_SIZE] = { 0 };
	gpa map, line, loader;
	u32 map_len;
	int err = put_modules(b, info);

	if (err)
		return err;
	map = put_map(b, &map_len);
	line = put_cmdline(b);
	loader = boot_put_string(b, "lodge", "", "the loader's name");
	*at = boot_alloc_low(b, MI_SIZE, 16, "Multiboot information");
	if (!map || !line || !loader || !*at)
		return E_NOSPC;
	st32(info + MI_FLAGS, MI_HAS_MEM | MI_HAS_CMDLINE | MI_HAS_MODS | MI_HAS_MAP |
	     MI_HAS_LOADER);
	st32(info + MI_LOWER, MAP_EBDA / KiB);
	st32(info + MI_UPPER, (u32)((low - MAP_HIGH) / KiB));
	st32(info + MI_CMDLINE, (u32)line);
	st32(info + MI_MAP_LEN, map_len);
	st32(info + MI_MAP, (u32)map);
	st32(info + MI_LOADER, (u32)loader);
	boot_put(b, *at, info, MI_SIZE, MI_SIZE);
	return 0;
}

int boot_multiboot(struct boot *b)
{
	const char *name = b->cfg->kernel_name;
	size_t at;
	u32 flags, entry = 0;
	gpa info;
	int err;

	if (!find_header(b->cfg->kernel, &at))
		return E_NOENT;
	flags = ld32((const u8 *)b->cfg->kernel.p + at + 4);
	if (flags & MB_VIDEO)
		return fail(E_UNSUP, "%s: its Multiboot header demands a video mode (flag 2), "
			    "and this machine has no display", name);
	if (flags & MB_REQUIRED & ~(MB_PAGE_ALIGN | MB_MEMORY))
		return fail(E_UNSUP, "%s: its Multiboot header demands features that are not "
			    "known here (flags 0x%x)", name, flags);
	err = flags & MB_ADDRESSES ? load_flat(b, at, &entry) : load_elf(b, &entry);
	if (!err)
		err = put_info(b, &info);
	if (!err)
		err = boot_cpu_protected(b, entry);
	if (err)
		return err;
	b->vm->vcpu[0]->x86.r[RAX] = MB_EAX;
	b->vm->vcpu[0]->x86.r[RBX] = info;
	return 0;
}
