/* Runs trials in the emulator: a VM of 1 MiB whose page tables put memory where
 * the native side has it, in user mode. */
#include "tests/cpu/trial.h"
#include "core/vm.h"
#include "engines/bt/bt.h"
#include "tests/unit/fake.h"
#include "core/x86/ops.h"
#include "core/x86/sys.h"
#include "engines/bt/scan.h"
#include "engines/bt/shadow_parts.h"
#include "engines/interp/interp.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Physical: page tables from 0x1000, descriptor tables (linear: KERNEL + physical,
 * for the supervisor), data pages, code pages. */
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT_DATA = 0x4000, PT_CODE = 0x5000,
       KPDPT = 0x6000, KPD = 0x7000, GDT = 0x8000, LDT = 0x8100, TSS = 0x9000,
       IDT = 0xb000, HANDLERS = 0xc000, HANDLER = 16, STACK_TOP = 0xf000,
       DATA = 0x10000, CODE = 0x20000, RAM_SIZE = 1 << 20 };
#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_US 4ull
#define PTE_PS 0x80ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_NX (1ull << 63)
#define CPU_SEG 0x0040f50000000000 /* read-only, expand-down; the limit is the CPU's number */
#define KERNEL 0xffff800000000000ull

static struct vm *vm;
static struct vcpu *vcpu;
static u8 *ram;
static bool translated; /* by the translator, not the emulator alone */
static u32 used_at, used_n;  /* of the code pages, what is not int3 */
static bool everywhere;      /* it may be anywhere: they are writable */

static void paging(void)
{
	u64 dir = PTE_P | PTE_W | PTE_US | PTE_A;

	st64(ram + PML4, PDPT | dir);
	st64(ram + PDPT, PD | dir);
	st64(ram + PD + (DATA_BASE >> 21) * 8, PT_DATA | dir);
	st64(ram + PD + (CODE_BASE >> 21) * 8, PT_CODE | dir);
	st64(ram + PML4 + 256 * 8, KPDPT | dir);
	st64(ram + KPDPT, KPD | dir);
	st64(ram + KPD, PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
	for (u64 i = 0; i < NPAGES; i++)
		st64(ram + PT_DATA + (data_page[i] >> 12) * 8,
		     (DATA + i * PAGE_SIZE) | PTE_P | (i == 2 ? 0 : PTE_W) | PTE_US | PTE_A |
			     PTE_D | PTE_NX);
	for (u64 i = 0; i < 2; i++)
		st64(ram + PT_CODE + i * 8, (CODE + i * PAGE_SIZE) | PTE_P | PTE_US | PTE_A |
					      (everywhere ? PTE_W : 0));
}

static struct seg segment(u16 sel)
{
	enum { USER = SEG_P | 3 << SEG_DPL_SHIFT | SEG_S | SEG_RW | SEG_A };
	switch (sel) {
	case SEL_CS64: return (struct seg){0, ~0u, USER | SEG_CODE | SEG_L | SEG_G, sel};
	case SEL_CS32: return (struct seg){0, ~0u, USER | SEG_CODE | SEG_DB | SEG_G, sel};
	case SEL_DS: return (struct seg){0, ~0u, USER | SEG_DB | SEG_G, sel};
	case SEL_CODE16: return (struct seg){CODE_BASE, CODE_SPAN - 1, USER | SEG_CODE, sel};
	case SEL_DATA16: return (struct seg){DATA_BASE, 0xffff, USER, sel};
	case SEL_SMALL: return (struct seg){DATA_BASE + 0x100, 0xfff, USER | SEG_DB, sel};
	case SEL_BIG: return (struct seg){DATA_BASE - 0x1000, ~0u, USER | SEG_DB | SEG_G, sel};
	case SEL_DOWN: return (struct seg){DATA_BASE, 0x7ff, USER | SEG_CE | SEG_DB, sel};
	case SEL_ABSENT: return (struct seg){0, ~0u, (USER & ~SEG_P) | SEG_DB | SEG_G, sel};
	case SEL_RODATA: return (struct seg){0, ~0u, (USER & ~SEG_RW) | SEG_DB | SEG_G, sel};
	case SEL_XCODE: return (struct seg){0, ~0u, (USER & ~SEG_RW) | SEG_CODE | SEG_DB | SEG_G, sel};
	case SEL_LIMIT: return (struct seg){0, DATA_BASE + 0xfff, USER | SEG_DB | SEG_G, sel};
	}
	return (struct seg){0, 0, SEG_NULL | 3 << SEG_DPL_SHIFT, sel};
}

/* The GDT as Linux has it for user mode, the LDT as real.c asked for it. */
static void descriptors(void)
{
	static const u64 gdt[16] = {
		0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff,
		0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff, 0,
		0x00008b0000004087, 0xffffffff, 0x0000820000000047, 0xffffffff, 0, 0, 0, CPU_SEG,
	};
	memcpy(ram + GDT, gdt, sizeof gdt);
	st16(ram + TSS + 0x66, 0xffff); /* no I/O bitmap */
	for (u16 i = 0; i < SEL_LDT_N; i++) {
		struct seg s = segment(i << 3 | 7);
		u64 limit = s.attr & SEG_G ? s.limit >> 12 : s.limit;
		st64(ram + LDT + 8 * i,
		     (limit & 0xffff) | (limit & 0xf0000) << 32 | (s.base & 0xffffff) << 16 |
			     s.base >> 24 << 56 | (u64)(s.attr & 0xf0ff) << 40 | 1ull << 52);
	}
}

/* Each vector's handler is HLT. */
static void handlers(void)
{
	for (u64 v = 0; v < 256; v++) {
		u64 to = KERNEL + HANDLERS + v * HANDLER, dpl = v == VEC_BP ? 3 : 0;

		ram[HANDLERS + v * HANDLER] = 0xf4;
		st64(ram + IDT + 16 * v, (to & 0xffff) | 0x10 << 16 | (0x8e00 | dpl << 13) << 32 | to >> 16 << 48);
		st64(ram + IDT + 16 * v + 8, to >> 32);
	}
	st64(ram + TSS + 4, KERNEL + STACK_TOP);
}

bool emulated_by_bt(void) { return translated; }

void emulated_init(bool code_writable)
{
	everywhere = code_writable;
	vm = fake_vm(1, RAM_SIZE);
	vcpu = vm->vcpu[0];
	ram = fake_ram(vm);
	paging();
	descriptors();
	handlers();
	memset(ram + CODE, 0xcc, CODE_SPAN);
	translated = !strcmp(getenv("ENGINE") ?: "interp", "bt");
	if (!translated && !code_writable) /* no blocks: the emulator needs no engine */
		return;
	vm->engine = translated ? &engine_bt : &engine_interp;
	if (vm->engine->vcpu_init(vcpu))
		abort();
}

static void load_state(const struct trial *t)
{
	struct x86 *x = &vcpu->x86;

	memcpy(x->r, t->in.r, sizeof x->r);
	x->rip = t->in.rip;
	x->rflags = t->in.rflags;
	x->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	x->cr3 = PML4;
	x->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |
		 CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP | CR4_MCE;
	x->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	x->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	x->cr2 = 0;
	x->shadow = false;
	for (int i = 0; i < 6; i++)
		x->seg[i] = segment(t->in.sel[i]);
	if (t->mode == 64) {
		x->seg[FS].base = t->in.fsbase;
		x->seg[GS].base = t->in.gsbase;
	}
	x->tr = (struct seg){KERNEL + TSS, 0x67, SEG_P | 11, 0x40};
	x->gdtr = (struct dtr){KERNEL + GDT, 0x7f};
	x->ldtr = (struct seg){KERNEL + LDT, 8 * SEL_LDT_N - 1, SEG_P | 2, 0x50};
	memcpy(x->xsave, t->in.xsave, XSAVE_SIZE);
	vcpu->valid = X86_ALL;
	vcpu->dirty = X86_ALL;
}

static void load_memory(const struct trial *t, const struct outcome *o)
{
	u8 *code = ram + CODE;

	memset(code + used_at, 0xcc, used_n);
	used_at = everywhere ? 0 : t->at;
	used_n = trial_place(t, code);
	used_n = everywhere ? CODE_SPAN : used_n;
	ram_written(vm, CODE, CODE_SPAN);
	if (t->form.map == M_0F && t->form.op == 0x03) /* LSL of Linux's processor number segment */
		st64(ram + GDT + 15 * 8, CPU_SEG | (u64)sched_getcpu());
	for (int i = 0; i < NPAGES; i++)
		memcpy(ram + DATA + i * PAGE_SIZE, o->mem[i], PAGE_SIZE);
}

static void store_state(const struct trial *t, struct outcome *o)
{
	const struct x86 *x = &vcpu->x86;

	memcpy(o->cpu.r, x->r, sizeof x->r);
	o->cpu.rip = x->rip;
	o->cpu.rflags = x->rflags;
	for (int i = 0; i < 6; i++)
		o->cpu.sel[i] = x->seg[i].sel;
	o->cpu.fsbase = x->seg[FS].base;
	o->cpu.gsbase = x->seg[GS].base;
	memcpy(o->cpu.xsave, x->xsave, XSAVE_SIZE);
	xsave_canon(o->cpu.xsave);
	for (int i = 0; i < NPAGES; i++)
		memcpy(o->mem[i], ram + DATA + i * PAGE_SIZE, PAGE_SIZE);
}

void emulated_run(const struct trial *t, struct outcome *o)
{
	enum done d;
	int rounds = 0;

	load_state(t);
	load_memory(t, o);
	emul_sync_in(vcpu);
	vcpu->emul.devices = true;
	do /* repeated string instructions may stop to let interrupts in */
		d = translated && t->mode != 16 && !debug_armed(vcpu) ? bt_one(vcpu) : emul_exec(vcpu);
	while (d <= DONE_BRANCH && vcpu->x86.rip == t->in.rip && ++rounds < 100000);
	emul_sync_out(vcpu);
	store_state(t, o);
	o->vec = VEC_NONE;
	o->err = o->cr2 = 0;
	if (d == DONE_FAULT) {
		o->vec = vcpu->emul.fault.vector;
		o->err = vcpu->emul.fault.has_error ? vcpu->emul.fault.error : 0;
		o->cr2 = o->vec == VEC_PF ? vcpu->emul.fault.cr2 : 0;
		if (o->cr2 >> 47)
			o->err |= PF_P; /* as Linux pretends for the kernel's half */
	} else if (d > DONE_BRANCH || rounds >= 100000) {
		o->vec = VEC_HANG;
		o->err = d;
	}
}

/* ---- blocks */

static bool pushes_error(unsigned vec)
{
	return vec == VEC_DF || (vec >= VEC_TS && vec <= VEC_PF) || vec == VEC_AC;
}

/* By the engine, until a handler halts. */
static bool halts(void)
{
	struct exit x = {0};

	for (unsigned n = 0; n < 1000000; n++) {
		vm->engine->run(vcpu, &x);
		if (x.why == EXIT_HALT)
			return true;
		if (x.why == EXIT_STEP && emul_step(vcpu) == DONE_HALT)
			return true;
		if (x.why == EXIT_RESET)
			return false;
	}
	return false;
}

/* What the handler finds, as real.c's judge() sees it: arriving where nothing can be fetched,
 * or at int3, is no fault. */
static void from_frame(const struct trial *t, struct outcome *o)
{
	const u8 *sp = ram + (vcpu->x86.r[RSP] - KERNEL);
	struct cpu *c = &o->cpu;

	o->vec = (u8)((vcpu->x86.rip - KERNEL - HANDLERS) / HANDLER);
	if (pushes_error(o->vec)) {
		o->err = ld32(sp);
		sp += 8;
	}
	c->rip = ld64(sp);
	c->sel[CS] = ld16(sp + 8);
	c->rflags = ld64(sp + 16);
	c->r[RSP] = ld64(sp + 24);
	c->sel[SS] = ld16(sp + 32);
	if (o->vec == VEC_PF && o->err & PF_I && (c->rip != t->in.rip || c->sel[CS] != t->in.sel[CS]))
		o->vec = VEC_NONE;
	if (o->vec == VEC_BP)
		c->rip--, o->vec = VEC_NONE;
	if (o->vec == VEC_NONE && c->rip == trial_way_out())
		c->rip = t->in.rip + t->form.len;
	o->cr2 = o->vec == VEC_PF ? vcpu->x86.cr2 : 0;
	if (o->cr2 >> 47)
		o->err |= PF_P;
	if (o->vec == VEC_NONE)
		o->err = 0;
}

void emulated_block(const struct trial *t, struct outcome *o)
{
	load_state(t);
	vcpu->x86.idtr = (struct dtr){KERNEL + IDT, 0xfff};
	load_memory(t, o);
	o->err = o->cr2 = 0;
	if (!halts()) {
		o->vec = VEC_HANG;
		return;
	}
	vm->engine->sync(vcpu, X86_ALL);
	store_state(t, o);
	from_frame(t, o);
}

void emulated_code(u8 code[CODE_SPAN]) { memcpy(code, ram + CODE, CODE_SPAN); }

/* The manual leaves more of a shift's flags undefined than differ.c says, by its count. */
static bool shifts(const struct insn *i)
{
	return (i->map == MAP_1B && ((i->op & 0xfe) == 0xc0 || (i->op & 0xfc) == 0xd0)) ||
	       (i->map == MAP_0F && (i->op & 0xf6) == 0xa4);
}

struct flow emulated_flow(const u8 *p, unsigned n)
{
	struct flow f = {0};
	struct plan plan = {0};

	f.undefined = decode(&plan.i, MODE_64, p, n) || plan.i.exec == op_ud || plan.i.exec == op_too_long;
	if (f.undefined)
		return f;
	scan(vcpu, &plan);
	f.reads = plan.reads;
	f.kills = plan.kills;
	f.vague = flags_undefined(&plan.i) | (shifts(&plan.i) ? FLAGS_ARITH : 0);
	return f;
}
