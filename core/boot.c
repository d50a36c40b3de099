/* What every loader needs: the memory map, room in it, and the first vCPU's
 * registers.  Claims are kept in a small table; memory is taken from the top of
 * a usable range downwards, so that kernels find their low memory free. */
#include "core/boot.h"
#include "core/map.h"

unsigned boot_e820(u64 ram, struct e820 map[BOOT_E820])
{
	u64 low = ram_top_low(ram, MAP_HOLE);
	unsigned n = 0;

	map[n++] = (struct e820){ 0, MAP_EBDA, E820_RAM };
	map[n++] = (struct e820){ MAP_EBDA, MAP_VGA - MAP_EBDA, E820_RESERVED };
	map[n++] = (struct e820){ MAP_GENERATION, MAP_HIGH - MAP_GENERATION, E820_RESERVED };
	if (low > MAP_HIGH)
		map[n++] = (struct e820){ MAP_HIGH, low - MAP_HIGH, E820_RAM };
	map[n++] = (struct e820){ MAP_ECAM, MAP_ECAM_LEN, E820_RESERVED };
	if (ram > low)
		map[n++] = (struct e820){ MAP_4G, ram - low, E820_RAM };
	return n;
}

void boot_init(struct boot *b, struct vm *vm, const struct pc_config *cfg)
{
	memset(b, 0, sizeof(*b));
	b->vm = vm;
	b->cfg = cfg;
	b->ne820 = boot_e820(cfg->ram, b->e820);
}

static bool usable(const struct boot *b, gpa base, u64 len)
{
	for (unsigned i = 0; i < b->ne820; i++) {
		const struct e820 *e = &b->e820[i];

		if (e->type == E820_RAM && base >= e->base && len <= e->len &&
		    base - e->base <= e->len - len)
			return true;
	}
	return false;
}

static u64 mib(u64 n)
{
	return n / MiB + !!(n % MiB);
}

int boot_claim(struct boot *b, gpa base, u64 len, const char *what)
{
	if (!len)
		return 0;
	if (!usable(b, base, len))
		return fail(E_NOSPC, "%s: does not fit: %s needs %llu MiB at %llu MiB (0x%llx), "
			    "guest has %llu MiB of memory: give more with --memory",
			    b->cfg->kernel_name, what, (unsigned long long)mib(len),
			    (unsigned long long)(base / MiB), (unsigned long long)base,
			    (unsigned long long)(b->cfg->ram / MiB));
	if (b->nclaim == BOOT_CLAIMS)
		return fail(E_INVAL, "%s: has too many parts", b->cfg->kernel_name);
	b->claim[b->nclaim++] = (struct claim){ base, base + len };
	return 0;
}

/* The highest free place in [lo, hi), or 0: below each claim that is in the way. */
static gpa find_room(const struct boot *b, gpa lo, gpa hi, u64 len, u64 align)
{
	for (;;) {
		const struct claim *hit = NULL;
		gpa at;

		if (hi < lo || hi - lo < len)
			return 0;
		at = (hi - len) & ~(align - 1);
		if (at < lo)
			return 0;
		for (unsigned i = 0; i < b->nclaim && !hit; i++)
			if (b->claim[i].base < at + len && at < b->claim[i].end)
				hit = &b->claim[i];
		if (!hit)
			return at;
		hi = hit->base;
	}
}

gpa boot_alloc(struct boot *b, u64 len, u64 align, gpa below)
{
	for (unsigned i = b->ne820; i-- && b->nclaim < BOOT_CLAIMS;) {
		const struct e820 *e = &b->e820[i];
		gpa lo = max_u64(e->base, PAGE_SIZE); /* page 0 is the BIOS's */
		gpa at;

		if (e->type != E820_RAM)
			continue;
		at = find_room(b, lo, min_u64(e->base + e->len, below), len, align);
		if (at) {
			b->claim[b->nclaim++] = (struct claim){ at, at + len };
			return at;
		}
	}
	return 0;
}

gpa boot_alloc_low(struct boot *b, u64 len, u64 align, const char *what)
{
	gpa at = boot_alloc(b, len, align, MAP_EBDA);

	if (!at)
		at = boot_alloc(b, len, align, MAP_4G);
	if (!at)
		fail(E_NOSPC, "%s: does not fit: no %llu KiB left for %s in %llu MiB of memory: "
		     "give more with --memory", b->cfg->kernel_name,
		     (unsigned long long)(len / KiB + !!(len % KiB)), what,
		     (unsigned long long)(b->cfg->ram / MiB));
	return at;
}

static void fill(struct boot *b, gpa at, const void *from, u64 n)
{
	const struct pc_config *cfg = b->cfg;
	void *to;

	if (!n)
		return;
	to = ram_ptr(b->vm, at, n, true);
	assert(to); /* a claim lies in one block of RAM */
	if (cfg->fill)
		cfg->fill(cfg->fill_arg, to, from, n);
	else if (from)
		memcpy(to, from, n);
	else
		memset(to, 0, n);
	ram_written(b->vm, at, n);
}

void boot_put(struct boot *b, gpa at, const void *p, u64 n, u64 len)
{
	fill(b, at, p, n);
	if (len > n)
		fill(b, at + n, NULL, len - n);
}

gpa boot_put_string(struct boot *b, const char *first, const char *second, const char *what)
{
	size_t n = strlen(first), m = strlen(second);
	gpa at = boot_alloc_low(b, n + m + 1, 16, what);

	if (!at)
		return 0;
	boot_put(b, at, first, n, n);
	boot_put(b, at + n, second, m, m + 1);
	return at;
}

int boot_put_file(struct boot *b, const struct span *file, gpa below, const char *what, gpa *at)
{
	u64 len = (file->n + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);

	*at = boot_alloc(b, max_u64(len, PAGE_SIZE), PAGE_SIZE, below);
	if (!*at)
		return fail(E_NOSPC, "%s: does not fit: %s of %llu MiB beside the kernel, guest "
			    "has %llu MiB of memory: give more with --memory",
			    b->cfg->kernel_name, what, (unsigned long long)mib(file->n),
			    (unsigned long long)(b->cfg->ram / MiB));
	boot_put(b, *at, file->p, file->n, max_u64(len, PAGE_SIZE));
	return 0;
}

/* ---- registers */

enum { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TR = 0x20, GDT_LEN = 0x28 };

/* An 8-byte descriptor with base 0. */
static u64 descriptor(u32 limit, u32 attr)
{
	u32 raw = attr & SEG_G ? limit >> 12 : limit;

	return (raw & 0xffff) | (u64)(attr & 0xf0ff) << 40 | (u64)(raw >> 16 & 15) << 48;
}

static void flat(struct seg *s, u16 sel, u32 attr)
{
	*s = (struct seg){ .limit = 0xffffffff, .attr = attr, .sel = sel };
}

static int enter(struct boot *b, u64 rip, u32 code)
{
	u32 data = SEG_A | SEG_RW | SEG_S | SEG_P | SEG_DB | SEG_G;
	u64 gdt[GDT_LEN / 8] = { 0, 0, descriptor(0xffffffff, code),
				 descriptor(0xffffffff, data), descriptor(0x67, SEG_P | 11) };
	struct vcpu *v = b->vm->vcpu[0];
	struct x86 *x = &v->x86;
	gpa at = boot_alloc_low(b, sizeof(gdt), 16, "the descriptor table");

	if (!at)
		return E_NOSPC;
	boot_put(b, at, gdt, sizeof(gdt), sizeof(gdt));
	x->gdtr = (struct dtr){ at, sizeof(gdt) - 1 };
	x->idtr = (struct dtr){ 0, 0 };
	flat(&x->seg[CS], BOOT_CS, code);
	for (unsigned s = ES; s <= GS; s++)
		if (s != CS)
			flat(&x->seg[s], BOOT_DS, data);
	x->tr = (struct seg){ .limit = 0x67, .attr = SEG_P | 11, .sel = BOOT_TR };
	x->ldtr = (struct seg){ .attr = SEG_NULL };
	memset(x->r, 0, sizeof(x->r));
	x->rip = rip;
	x->rflags = FLAG_1;
	x->cr0 = CR0_PE | CR0_ET;
	x->cr3 = x->cr4 = x->efer = 0;
	v->valid |= X86_ALL;
	v->dirty |= X86_ALL;
	return 0;
}

int boot_cpu_protected(struct boot *b, u32 eip)
{
	return enter(b, eip, SEG_A | SEG_RW | SEG_CODE | SEG_S | SEG_P | SEG_DB | SEG_G);
}

/* Four gigabytes one to one: PML4, one PDPT, four directories of 2 MiB pages. */
static gpa identity(struct boot *b)
{
	enum { PRESENT = 1, WRITE = 2, LARGE = 0x80, TABLES = 6 };
	gpa at = boot_alloc_low(b, TABLES * PAGE_SIZE, PAGE_SIZE, "page tables");
	u64 e;

	if (!at)
		return 0;
	boot_put(b, at, NULL, 0, TABLES * PAGE_SIZE);
	e = (at + PAGE_SIZE) | PRESENT | WRITE;
	boot_put(b, at, &e, 8, 8);
	for (unsigned i = 0; i < 4; i++) {
		e = (at + (2 + i) * PAGE_SIZE) | PRESENT | WRITE;
		boot_put(b, at + PAGE_SIZE + 8 * i, &e, 8, 8);
	}
	for (unsigned i = 0; i < 2048; i++) {
		e = (u64)i << 21 | PRESENT | WRITE | LARGE;
		boot_put(b, at + 2 * PAGE_SIZE + 8 * i, &e, 8, 8);
	}
	return at;
}

int boot_cpu_long(struct boot *b, u64 rip)
{
	struct x86 *x = &b->vm->vcpu[0]->x86;
	gpa tables = identity(b);
	int err;

	if (!tables)
		return E_NOSPC;
	err = enter(b, rip, SEG_A | SEG_RW | SEG_CODE | SEG_S | SEG_P | SEG_L | SEG_G);
	if (err)
		return err;
	x->cr3 = tables;
	x->cr4 = CR4_PAE;
	x->efer = EFER_LME | EFER_LMA;
	x->cr0 |= CR0_PG;
	return 0;
}

int boot_load(struct boot *b)
{
	int err;

	if (!b->cfg->kernel.p)
		return boot_rom(b);
	err = boot_linux(b);
	if (err == E_NOENT)
		err = boot_multiboot(b);
	if (err == E_NOENT)
		err = boot_elf(b);
	if (err == E_NOENT)
		err = fail(E_INVAL, "%s: not a kernel: no bzImage header, ELF, or Multiboot "
			   "header found", b->cfg->kernel_name);
	return err;
}
