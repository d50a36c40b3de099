/* Decoder and emulator: random bytes as instructions, in a mode, with registers,
 * tables and memory of the input's choice; of devices there is the local APIC alone.
 *
 * Input: mode, control registers' free bits, flags, registers, patches to memory
 * (descriptors, gates, page tables), when interrupts come; the rest is code.
 * Nothing may crash or hang, and the state must stay one that a processor can have. */
#include "core/dev/irqchips.h"
#include "core/x86/emul.h"
#include "core/x86/insn.h"
#include "core/x86/vec.h"
#include "tests/unit/x86.h"

#include <stdlib.h>
#include <string.h>

enum { RAM = 0x40000, AT = 0x8000, STEPS = 64, LONGEST = 15, STAYS = 8 };
enum preset { REAL, V86, PROT16, PROT32, PAGED32, PAE32, COMPAT, LONG };

struct input {
	const u8 *p, *end;
};

static u64 next(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << i * 8;
	return v;
}

static void must(bool good)
{
	if (!good)
		abort();
}

/* ---- the decoder: never beyond its bytes, and more bytes change nothing */

static void decode_all(enum mode mode, const u8 *p, unsigned n)
{
	struct insn whole = {0}, part = {0};
	int done = decode(&whole, mode, p, n);

	must(done == 0 || (done == -1 && n < LONGEST));
	must(done || (whole.len && whole.len <= LONGEST && whole.exec));
	for (unsigned k = 0; k <= n; k++) {
		u8 *exact = malloc(k ? k : 1);
		int r;

		memcpy(exact, p, k);
		r = decode(&part, mode, exact, k);
		must(r == 0 || r == -1);
		must(r || (part.len == whole.len && part.exec == whole.exec && part.len <= k &&
			   part.imm == whole.imm && part.disp == whole.disp));
		must(!r || done || k < whole.len || k < LONGEST);
		free(exact);
	}
}

/* ---- a state to start from */

static u64 word(struct input *in)
{
	static const u64 edge[] = {
		0, 1, ~0ull, AT, AT + 0xfff, STACK0, STACK3, RAM - 4, GDT, IDT, TSS, PT, 0x7fffffff,
		0x80000000, 0xffffffff, 0x7fffffffffff, 0x800000000000, 1ull << 63, 0xfee00000, 0x1ffffc,
	};
	u8 b = (u8)next(in, 1);

	return b < countof(edge) ? edge[b] : b < 128 ? (u64)(s8)(b << 1) : next(in, b & 8 ? 8 : 4);
}

/* 32-bit tables: one directory, one table of the RAM and what is behind it. */
static void pages32(struct vm *vm, bool pae)
{
	u64 pt = pae ? PT : 0x14000;

	for (u64 i = 0; i < 64; i++)
		x86_put(vm, pt + i * (pae ? 8 : 4), i << 12 | 7, pae ? 8 : 4);
	if (pae) {
		x86_put(vm, PDPT, PD | 1, 8);
		x86_put(vm, PD, PT | 7, 8);
	} else {
		x86_put(vm, PD, pt | 7, 4);
		x86_put(vm, PD + 4, 7 | 0x80, 4);
	}
}

static void real_segments(struct vcpu *v, u32 attr)
{
	for (unsigned s = 0; s < 6; s++)
		v->x86.seg[s] = (struct seg){.base = s == CS ? AT : 0x800u * s, .sel = (u16)(s == CS ? AT >> 4 :
					     0x80u * s), .limit = 0xffff, .attr = attr};
	v->x86.rip = 0;
	v->x86.r[RSP] = 0x7000;
}

static void preset(struct vcpu *v, enum preset p, bool user)
{
	struct x86 *x = &v->x86;

	if (p >= COMPAT)
		x86_long(v);
	else if (p != REAL)
		x86_protected(v);
	for (unsigned n = 0; n < 256; n++)
		if (p != REAL)
			x86_gate(v->vm, n, p >= COMPAT ? S_CODE64 : S_CODE0, AT + 0x100 + n, n & 1 ? 15 : 14, n & 3,
				 p >= COMPAT && n == 8, p >= COMPAT);
	if (p == PAGED32 || p == PAE32) {
		pages32(v->vm, p == PAE32);
		x->cr3 = p == PAE32 ? PDPT : PD;
		x->pdpte[0] = PD | 1;
		x->cr4 = p == PAE32 ? CR4_PAE : CR4_PSE;
		x->cr0 |= CR0_PG;
	}
	if (p != REAL && p != V86)
		x86_ring(v, user ? 3 : 0, p == LONG);
	if (p == PROT16)
		x86_segment(v, CS, S_CODE16);
	if (p == REAL)
		real_segments(v, 0x93);
	if (p == V86) {
		real_segments(v, 0xf3);
		x->rflags |= FLAG_VM;
	}
}

/* What the mode leaves free. */
static void choose(struct vcpu *v, struct input *in, enum preset p)
{
	struct x86 *x = &v->x86;
	u64 flags = next(in, 4), cr4 = next(in, 4), on = next(in, 1);

	x->cr0 |= (on & 1 ? CR0_MP : 0) | (on & 2 ? CR0_TS : 0) | (on & 4 ? CR0_AM : 0) |
		  (on & 8 ? CR0_EM : 0) | (on & 16 && p != REAL ? CR0_WP : 0);
	x->cr4 |= cr4 & (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PGE | CR4_MCE | CR4_OSFXSR |
			 CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP | CR4_SMEP | CR4_SMAP);
	if (x->cr4 & CR4_OSXSAVE)
		x->xcr0 = on & 32 ? 7 : on & 64 ? 3 : 1;
	x->rflags |= FLAG_1 | (flags & (FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
					FLAG_RF | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID));
	if (on & 128)
		for (unsigned i = 0; i < 4; i++)
			x->dr[i] = word(in);
	if (on & 128)
		x->dr7 = (next(in, 4) & 0xffff00ff) | 0x400;
	for (u64 regs = next(in, 2); regs; regs &= regs - 1) {
		u64 w = word(in);

		x->r[__builtin_ctzll(regs)] = p == LONG ? w : (u32)w;
	}
	for (u64 segs = next(in, 1) & 0x3f; segs; segs &= segs - 1) {
		struct seg *s = &x->seg[__builtin_ctzll(segs)];

		s->base = (u32)word(in);
		s->limit = (u32)word(in);
	}
	x->gdtr.limit = (u16)(next(in, 1) << 4 | 15) ^ 0x7f0;
	x->star = word(in), x->lstar = AT + 64;
	x->sysenter_cs = next(in, 1), x->sysenter_esp = STACK0, x->sysenter_eip = AT + 128;
}

static void patch(struct vm *vm, struct input *in)
{
	static const u32 near[] = {GDT, IDT, TSS, TSS2, PML4, PDPT, PD, PT, LDT, AT, AT + 0x1000, STACK0 - 64};

	for (unsigned n = (unsigned)next(in, 1) & 15; n; n--) {
		u64 at = near[next(in, 1) % countof(near)] + next(in, 1) * 4;

		x86_put(vm, at, next(in, 8), 8);
	}
}

/* ---- running */

static void check(struct vcpu *v)
{
	const struct x86 *x = &v->x86;
	u64 f = rflags_get(v);

	must((f & FLAG_1) && !(f & (1u << 3 | 1u << 5 | 1u << 15)) && f >> 22 == 0);
	must(!(x->cr0 & CR0_PG) || x->cr0 & CR0_PE);
	must(!!(x->efer & EFER_LMA) == (x->efer & EFER_LME && x->cr0 & CR0_PG));
	must(!(x->efer & EFER_LMA) || x->cr4 & CR4_PAE);
	must(v->emul.long64 || x->rip <= 0xffffffff);
	must(v->emul.cpl <= 3 && v->emul.mode <= MODE_64 && x->zero == 0);
	must(!v->emul.long64 == (v->emul.mode != MODE_64));
	must(!(x->xcr0 & ~7ull) && x->xcr0 & 1);
}

static void run(struct vcpu *v, u64 irqs, u8 vector)
{
	/* a long REP, or a loop of one instruction, shows in a few steps what it has to */
	for (unsigned n = 0, stays = 0; n < STEPS && stays < STAYS; n++) {
		u64 rip = v->x86.rip;
		bool due = n < 64 && irqs >> n & 1;
		enum done d = DONE_NEXT;

		if (due && vector & 1 && emul_can_nmi(v))
			d = emul_nmi(v);
		else if (due && emul_can_irq(v))
			d = emul_interrupt(v, vector | 32);
		if (d != DONE_SHUTDOWN)
			d = emul_step(v);
		check(v);
		fake_now += 100;
		stays += v->x86.rip == rip;
		if (d == DONE_SHUTDOWN)
			return;
	}
}

static struct vcpu *machine(void)
{
	static struct vcpu *v;
	struct vm *vm;

	if (v)
		return v;
	fake_reset();
	vm = fake_vm(1, RAM);
	must(!lapic_init(vm));
	v = vm->vcpu[0];
	return v;
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	struct input in = {p, p + n};
	struct vcpu *v = machine();
	u8 how = (u8)next(&in, 1), vector = (u8)next(&in, 1);
	u64 irqs = next(&in, 2) << (vector >> 5), left;

	memset(fake_ram(v->vm), 0, RAM);
	fake_log_clear();
	fake_now = SEC;
	vm_reset(v->vm);
	preset(v, how & 7, how & 8);
	choose(v, &in, how & 7);
	patch(v->vm, &in);
	left = (u64)(in.end - in.p);
	for (unsigned mode = MODE_16; mode <= MODE_64; mode++)
		decode_all(mode, in.p, left < LONGEST ? (unsigned)left : LONGEST);
	v->x86.rip += how & 16 ? 0xff8 : 0; /* over the page's end */
	left = min_u64(left, 512);
	memcpy(fake_ram(v->vm) + AT + (how & 16 ? 0xff8 : 0), in.p, left);
	ram_written(v->vm, 0, RAM);
	for (unsigned i = 0; how & 32 && i < XSAVE_SIZE; i++) /* wild numbers in the x87 and vectors */
		if (i < 24 || i >= 32)
			v->x86.xsave[i] = i < 4 || (i >= XSAVE_HDR && i < XSAVE_YMM) ? v->x86.xsave[i] :
					  (u8)(i * 167 + vector);
	emul_sync_in(v);
	run(v, irqs, vector);
	return 0;
}
