/* ELF kernels: reading the file (System V ABI, ch. 4 and 5), loading its
 * segments where p_paddr says, and the two ways into one that no other loader
 * took: the PVH entry (Xen's "x86/HVM direct boot ABI", note 18), or the 64-bit
 * Linux protocol for a bare x86-64 vmlinux. */
#include "core/boot.h"
#include "core/map.h"

enum { EM_386 = 3, EM_X86_64 = 62 };
enum { ELF_SEGMENTS = 64 };
enum { NOTE_PHYS32_ENTRY = 18 };

bool elf_is(struct span f)
{
	return f.n >= 20 && ld32(f.p) == 0x464c457f;
}

int elf_open(struct elf *e, struct span f, const char *name)
{
	const u8 *p = f.p;
	bool wide = f.n > 4 && p[4] == 2;
	unsigned machine;

	if (!elf_is(f) || f.n < (wide ? 64u : 52u))
		return fail(E_INVAL, "%s: truncated: an ELF header of %zu bytes", name, f.n);
	machine = ld16(p + 18);
	if (p[5] != 1 || (machine != EM_386 && machine != EM_X86_64))
		return fail(E_INVAL, "%s: is for another machine (ELF machine %u), needs x86",
			    name, machine);
	*e = (struct elf){ .p = p, .n = f.n, .wide = wide };
	e->entry = wide ? ld64(p + 24) : ld32(p + 24);
	e->phoff = wide ? ld64(p + 32) : ld32(p + 28);
	e->phsize = ld16(p + (wide ? 54 : 42));
	e->phnum = ld16(p + (wide ? 56 : 44));
	if (!e->phnum)
		return fail(E_INVAL, "%s: an ELF file without segments: not linked yet", name);
	if (e->phnum > ELF_SEGMENTS || e->phsize < (wide ? 56 : 32))
		return fail(E_INVAL, "%s: damaged ELF header: %u segments of %u bytes each",
			    name, e->phnum, e->phsize);
	if (e->phoff > f.n || (u64)e->phnum * e->phsize > f.n - e->phoff)
		return fail(E_INVAL, "%s: truncated: the segment table is beyond the file's "
			    "%zu bytes", name, f.n);
	return 0;
}

void elf_phdr(const struct elf *e, unsigned i, struct elf_phdr *h)
{
	const u8 *p = e->p + e->phoff + (u64)i * e->phsize;

	if (e->wide)
		*h = (struct elf_phdr){ ld32(p), ld64(p + 8), ld64(p + 16), ld64(p + 24),
					ld64(p + 32), ld64(p + 40), ld64(p + 48) };
	else
		*h = (struct elf_phdr){ ld32(p), ld32(p + 4), ld32(p + 8), ld32(p + 12),
					ld32(p + 16), ld32(p + 20), ld32(p + 28) };
}

static bool in_file(const struct elf *e, const struct elf_phdr *h)
{
	return h->off <= e->n && h->filesz <= e->n - h->off;
}

int elf_load(struct boot *b, const struct elf *e)
{
	const char *name = b->cfg->kernel_name;
	struct elf_phdr h;
	unsigned loaded = 0;
	int err;

	for (unsigned i = 0; i < e->phnum; i++) {
		elf_phdr(e, i, &h);
		if (h.type != PT_LOAD || !h.memsz)
			continue;
		if (h.filesz > h.memsz)
			return fail(E_INVAL, "%s: damaged: segment %u has more file than memory",
				    name, i);
		if (!in_file(e, &h))
			return fail(E_INVAL, "%s: truncated: segment %u ends at %llu MiB, the "
				    "file has %zu MiB", name, i, (unsigned long long)
				    ((h.off + h.filesz) / MiB), e->n / MiB);
		err = boot_claim(b, h.paddr, h.memsz, "kernel");
		if (err)
			return err;
		boot_put(b, h.paddr, e->p + h.off, h.filesz, h.memsz);
		loaded++;
	}
	if (!loaded)
		return fail(E_INVAL, "%s: an ELF file with nothing to load", name);
	return 0;
}

u64 elf_entry(const struct elf *e)
{
	struct elf_phdr h;

	for (unsigned i = 0; i < e->phnum; i++) {
		elf_phdr(e, i, &h);
		if (h.type == PT_LOAD && e->entry >= h.vaddr && e->entry - h.vaddr < h.memsz)
			return e->entry - h.vaddr + h.paddr;
	}
	return e->entry;
}

/* ---- PVH */

static u64 up(u64 n, u64 align)
{
	return (n + align - 1) & ~(align - 1);
}

/* The entry in one PT_NOTE segment: name size, descriptor size, type, name, descriptor. */
static bool note_entry(const u8 *p, u64 n, u64 align, u32 *entry)
{
	while (n >= 12) {
		u64 name = ld32(p), desc = ld32(p + 4), at = 12 + up(name, align);
		u32 type = ld32(p + 8);

		if (at > n || desc > n - at)
			return false;
		if (type == NOTE_PHYS32_ENTRY && name == 4 && !memcmp(p + 12, "Xen", 4) &&
		    desc >= 4) {
			*entry = ld32(p + at);
			return true;
		}
		at += up(desc, align);
		if (at > n)
			return false;
		p += at;
		n -= at;
	}
	return false;
}

static bool pvh_entry(const struct elf *e, u32 *entry)
{
	struct elf_phdr h;

	for (unsigned i = 0; i < e->phnum; i++) {
		elf_phdr(e, i, &h);
		if (h.type != PT_NOTE || !in_file(e, &h))
			continue;
		if (note_entry(e->p + h.off, h.filesz, 4, entry) ||
		    (h.align == 8 && note_entry(e->p + h.off, h.filesz, 8, entry)))
			return true;
	}
	return false;
}

enum { HVM_INFO_LEN = 56, HVM_MODULE_LEN = 32, HVM_MAP_LEN = 24 };

/* The memory map, hvm_memmap_table_entry[]. */
static gpa pvh_map(struct boot *b)
{
	u8 e[HVM_MAP_LEN * BOOT_E820] = { 0 };
	gpa at = boot_alloc_low(b, sizeof(e), 16, "the memory map");

	if (!at)
		return 0;
	for (unsigned i = 0; i < b->ne820; i++) {
		st64(e + i * HVM_MAP_LEN, b->e820[i].base);
		st64(e + i * HVM_MAP_LEN + 8, b->e820[i].len);
		st32(e + i * HVM_MAP_LEN + 16, b->e820[i].type);
	}
	boot_put(b, at, e, sizeof(e), sizeof(e));
	return at;
}

static int pvh_module(struct boot *b, const struct span *f, const char *cmdline, const char *what,
		      u8 m[HVM_MODULE_LEN])
{
	gpa at, line;
	int err = boot_put_file(b, f, MAP_4G, what, &at);

	if (err)
		return err;
	line = boot_put_string(b, cmdline, "", "a module's command line");
	if (!line)
		return E_NOSPC;
	st64(m, at);
	st64(m + 8, f->n);
	st64(m + 16, line);
	st64(m + 24, 0);
	return 0;
}

/* Modules, the initrd first; *at stays 0 if there are none. */
static int pvh_modules(struct boot *b, unsigned *count, gpa *at)
{
	const struct pc_config *cfg = b->cfg;
	u8 m[HVM_MODULE_LEN * (PC_MODULES + 1)];
	unsigned n = 0;
	int err = 0;

	if (cfg->initrd.n)
		err = pvh_module(b, &cfg->initrd, "", "initrd", m + HVM_MODULE_LEN * n++);
	for (unsigned i = 0; i < cfg->nmodule && i < PC_MODULES && !err; i++)
		err = pvh_module(b, &cfg->module[i].data, cfg->module[i].cmdline, "a module",
				 m + HVM_MODULE_LEN * n++);
	*count = n;
	if (err || !n)
		return err;
	*at = boot_alloc_low(b, HVM_MODULE_LEN * n, 16, "the module list");
	if (!*at)
		return E_NOSPC;
	boot_put(b, *at, m, HVM_MODULE_LEN * n, HVM_MODULE_LEN * n);
	return 0;
}

static int pvh_enter(struct boot *b, u32 entry)
{
	u8 s[HVM_INFO_LEN] = { 0 };
	gpa info, map, line, list = 0;
	unsigned n;
	int err = pvh_modules(b, &n, &list);

	if (err)
		return err;
	map = pvh_map(b);
	line = boot_put_string(b, b->cfg->cmdline, "", "the command line");
	info = boot_alloc_low(b, sizeof(s), 16, "hvm_start_info");
	if (!map || !line || !info)
		return E_NOSPC;
	st32(s, 0x336ec578);
	st32(s + 4, 1);           /* version */
	st32(s + 12, n);
	st64(s + 16, list);
	st64(s + 24, line);
	st64(s + 32, b->rsdp);
	st64(s + 40, map);
	st32(s + 48, b->ne820);
	boot_put(b, info, s, sizeof(s), sizeof(s));
	err = boot_cpu_protected(b, entry);
	b->vm->vcpu[0]->x86.r[RBX] = info;
	return err;
}

int boot_elf(struct boot *b)
{
	struct elf e;
	u32 entry;
	int err;

	if (!elf_is(b->cfg->kernel))
		return E_NOENT;
	err = elf_open(&e, b->cfg->kernel, b->cfg->kernel_name);
	if (err)
		return err;
	if (pvh_entry(&e, &entry)) {
		err = elf_load(b, &e);
		return err ? err : pvh_enter(b, entry);
	}
	if (!e.wide)
		return fail(E_UNSUP, "%s: a 32-bit ELF file with neither a PVH note nor a "
			    "Multiboot header: no way into it is known", b->cfg->kernel_name);
	err = elf_load(b, &e);
	return err ? err : linux_enter(b, NULL, 0, elf_entry(&e), true);
}
