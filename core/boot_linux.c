/* Linux, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst), and by
 * the 32-bit one for kernels without a 64-bit entry.
 *
 * When the place has unpacked the bzImage's payload, that ELF file is loaded
 * and entered directly; the kernel's own unpacker is slow in a guest. */
#include "core/boot.h"
#include "core/map.h"

enum { /* the zero page: struct boot_params */
	BP_EXT_RAMDISK = 0x0c0, BP_EXT_RAMDISK_SIZE = 0x0c4, BP_EXT_CMDLINE = 0x0c8,
	BP_RSDP = 0x070, BP_E820_N = 0x1e8, BP_E820 = 0x2d0, BP_SIZE = 4096,
};
enum { /* the setup header, at the same offset in the file and in the zero page */
	H_SETUP_SECTS = 0x1f1, H_SYSSIZE = 0x1f4, H_FLAG = 0x1fe, H_END = 0x201,
	H_MAGIC = 0x202, H_VERSION = 0x206, H_TYPE = 0x210, H_LOADFLAGS = 0x211,
	H_RAMDISK = 0x218, H_RAMDISK_SIZE = 0x21c, H_CMDLINE = 0x228, H_INITRD_MAX = 0x22c,
	H_ALIGN = 0x230, H_RELOCATABLE = 0x234, H_XLOAD = 0x236, H_CMDLINE_SIZE = 0x238,
	H_PREF = 0x258, H_INIT_SIZE = 0x260, H_LAST = 0x290, H_NEEDED = 0x264,
};
enum { LOADED_HIGH = 1, XLF_KERNEL_64 = 1, XLF_ABOVE_4G = 2 };
#define HDRS 0x53726448u

struct image {
	const u8 *p;
	size_t n, setup;         /* where the protected-mode kernel begins */
	const char *name;
	unsigned version, xload;
};

/* A header in a file shorter than the zero page counts as none. */
static bool is_bzimage(struct span k)
{
	const u8 *p = k.p;

	return k.n >= H_NEEDED && ld16(p + H_FLAG) == 0xaa55 && ld32(p + H_MAGIC) == HDRS;
}

static int open_image(struct image *k, struct span f, const char *name)
{
	const u8 *p = f.p;
	unsigned sects = p[H_SETUP_SECTS] ? p[H_SETUP_SECTS] : 4;
	u64 sys = (u64)ld32(p + H_SYSSIZE) * 16;

	*k = (struct image){ p, f.n, (sects + 1) * 512, name, ld16(p + H_VERSION), 0 };
	if (k->version < 0x206 || !(p[H_LOADFLAGS] & LOADED_HIGH))
		return fail(E_UNSUP, "%s: a Linux kernel with boot protocol %u.%02u, older than "
			    "2.06: use one from 2.6.22 or later", name, k->version >> 8,
			    k->version & 0xff);
	if (k->setup >= f.n || sys > f.n - k->setup + 15)
		return fail(E_INVAL, "%s: truncated: setup says %llu MiB, the file has %llu MiB",
			    name, (unsigned long long)((sys + k->setup + MiB - 1) / MiB),
			    (unsigned long long)(f.n / MiB));
	if (k->version >= 0x20c)
		k->xload = ld16(p + H_XLOAD);
	return 0;
}

/* ---- the zero page */

static void put_e820(const struct boot *b, u8 *bp)
{
	bp[BP_E820_N] = (u8)b->ne820;
	for (unsigned i = 0; i < b->ne820; i++) {
		u8 *e = bp + BP_E820 + 20 * i;

		st64(e, b->e820[i].base);
		st64(e + 8, b->e820[i].len);
		st32(e + 16, b->e820[i].type);
	}
}

/* What a header would say, for a vmlinux that has none. */
static void made_up_header(u8 *bp)
{
	st16(bp + H_FLAG, 0xaa55);
	st32(bp + H_MAGIC, HDRS);
	st16(bp + H_VERSION, 0x20c);
	bp[H_LOADFLAGS] = LOADED_HIGH;
	st32(bp + H_INITRD_MAX, 0x7fffffff);
	st32(bp + H_ALIGN, 2 * MiB);
	st16(bp + H_XLOAD, XLF_KERNEL_64 | XLF_ABOVE_4G);
	st32(bp + H_CMDLINE_SIZE, 2047);
}

static void put_header(u8 *bp, const u8 *setup, size_t n)
{
	size_t end = (size_t)H_MAGIC + setup[H_END];

	if (end > H_LAST)
		end = H_LAST;
	if (end > n)
		end = n;
	if (end > H_SETUP_SECTS)
		memcpy(bp + H_SETUP_SECTS, setup + H_SETUP_SECTS, end - H_SETUP_SECTS);
}

/* As high as the kernel can reach it. */
static int put_initrd(struct boot *b, u8 *bp)
{
	const struct span *f = &b->cfg->initrd;
	gpa below = (gpa)ld32(bp + H_INITRD_MAX) + 1, at;
	int err;

	if (!f->n)
		return 0;
	if (f->n > MAP_HOLE && ld16(bp + H_XLOAD) & XLF_ABOVE_4G)
		below = ~0ull;
	err = boot_put_file(b, f, below, "initrd", &at);
	if (err)
		return err;
	st32(bp + H_RAMDISK, (u32)at);
	st32(bp + BP_EXT_RAMDISK, (u32)(at >> 32));
	st32(bp + H_RAMDISK_SIZE, (u32)f->n);
	st32(bp + BP_EXT_RAMDISK_SIZE, (u32)((u64)f->n >> 32));
	return 0;
}

static int put_cmdline(struct boot *b, u8 *bp)
{
	u32 max = ld32(bp + H_CMDLINE_SIZE);
	size_t n = strlen(b->cfg->cmdline);
	gpa at;

	if (max && n > max)
		return fail(E_INVAL, "%s: the command line has %zu bytes, this kernel takes %u",
			    b->cfg->kernel_name, n, max);
	at = boot_put_string(b, b->cfg->cmdline, "", "the command line");
	if (!at)
		return E_NOSPC;
	st32(bp + H_CMDLINE, (u32)at);
	return 0;
}

int linux_enter(struct boot *b, const u8 *setup, size_t n, u64 entry, bool wide)
{
	u8 bp[BP_SIZE] = { 0 };
	gpa at = boot_alloc_low(b, BP_SIZE, PAGE_SIZE, "the zero page");
	int err;

	if (!at)
		return E_NOSPC;
	if (setup)
		put_header(bp, setup, n);
	else
		made_up_header(bp);
	bp[H_TYPE] = 0xff;       /* a loader without a number */
	put_e820(b, bp);
	st64(bp + BP_RSDP, b->rsdp);
	err = put_initrd(b, bp);
	if (!err)
		err = put_cmdline(b, bp);
	if (err)
		return err;
	boot_put(b, at, bp, BP_SIZE, BP_SIZE);
	err = wide ? boot_cpu_long(b, entry) : boot_cpu_protected(b, (u32)entry);
	b->vm->vcpu[0]->x86.r[RSI] = at;
	return err;
}

/* ---- loading */

static int load_vmlinux(struct boot *b, const struct image *k)
{
	struct elf e;
	int err = elf_open(&e, b->cfg->vmlinux, k->name);

	if (!err)
		err = elf_load(b, &e);
	return err ? err : linux_enter(b, k->p, k->n, elf_entry(&e), e.wide);
}

/* The bzImage's own entry: at 1 MiB, or where a relocatable one would rather be;
 * it unpacks itself there, inside init_size. */
static int load_packed(struct boot *b, const struct image *k)
{
	u64 at = MAP_HIGH, size = k->n - k->setup;
	bool wide = k->xload & XLF_KERNEL_64;
	int err;

	if (k->version >= 0x20a) {
		if (k->p[H_RELOCATABLE])
			at = ld64(k->p + H_PREF);
		size = max_u64(size, ld32(k->p + H_INIT_SIZE));
	}
	if (at >= MAP_4G)
		return fail(E_INVAL, "%s: damaged: wants to be loaded at 0x%llx", k->name,
			    (unsigned long long)at);
	err = boot_claim(b, at, size, "kernel");
	if (err)
		return err;
	boot_put(b, at, k->p + k->setup, k->n - k->setup, 0);
	return linux_enter(b, k->p, k->n, at + (wide ? 0x200 : 0), wide);
}

int boot_linux(struct boot *b)
{
	struct image k;
	int err;

	if (!is_bzimage(b->cfg->kernel))
		return E_NOENT;
	err = open_image(&k, b->cfg->kernel, b->cfg->kernel_name);
	if (err)
		return err;
	if (b->cfg->vmlinux.n && elf_is(b->cfg->vmlinux))
		return load_vmlinux(b, &k);
	return load_packed(b, &k);
}
