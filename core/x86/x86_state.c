/* A processor's part of a saved state: struct x86 field by field, and what of the
 * emulator's own is architecture (how a shadow came about, pending debug traps).
 *
 * Loaded values are judged: what no guest could have brought about is refused, so that
 * no engine meets a processor that cannot be. */
#include "core/state.h"
#include "core/x86/cpuid.h"
#include "core/x86/sys.h"
#include "core/x86/exec_vec.h"

static void words(struct state *s, u64 *p, unsigned n)
{
	for (; n--; p++)
		state_u64(s, p);
}

static void segment(struct state *s, struct seg *g)
{
	state_u16(s, &g->sel);
	state_u64(s, &g->base);
	state_u32(s, &g->limit);
	state_u32(s, &g->attr);
}

static void table(struct state *s, struct dtr *t)
{
	state_u64(s, &t->base);
	state_u16(s, &t->limit);
}

static void system_registers(struct state *s, struct x86 *x)
{
	for (unsigned i = 0; i < countof(x->seg); i++)
		segment(s, &x->seg[i]);
	segment(s, &x->ldtr);
	segment(s, &x->tr);
	table(s, &x->gdtr);
	table(s, &x->idtr);
	u64 *const reg[] = {&x->cr0, &x->cr2, &x->cr3, &x->cr4, &x->efer, &x->dr6, &x->dr7, &x->xcr0};
	for (unsigned i = 0; i < countof(reg); i++)
		state_u64(s, reg[i]);
	words(s, x->pdpte, countof(x->pdpte));
	words(s, x->dr, countof(x->dr));
}

static void msrs(struct state *s, struct x86 *x)
{
	u64 *const reg[] = {
		&x->star, &x->lstar, &x->cstar, &x->sfmask, &x->kernel_gs_base, &x->tsc_aux,
		&x->sysenter_cs, &x->sysenter_esp, &x->sysenter_eip, &x->pat, &x->misc_enable,
		&x->spec_ctrl, &x->tsc_offset, &x->tsc_adjust, &x->mtrr_def_type, &x->mcg_status,
		&x->kvm_clock, &x->kvm_wall_clock,
	};

	for (unsigned i = 0; i < countof(reg); i++)
		state_u64(s, reg[i]);
	words(s, x->kvm_pv, countof(x->kvm_pv));
	words(s, x->mtrr_fix, countof(x->mtrr_fix));
	words(s, x->mtrr_base, countof(x->mtrr_base));
	words(s, x->mtrr_mask, countof(x->mtrr_mask));
}

/* ---- judgement: NULL, or what is impossible */

static const char *wrong_control(const struct vcpu *v)
{
	const struct x86 *x = &v->x86;
	const u64 cr0 = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM |
			CR0_NW | CR0_CD | CR0_PG;
	const u64 efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	bool lma = x->efer & EFER_LMA, pg = x->cr0 & CR0_PG;

	if (x->cr0 & ~cr0 || (pg && !(x->cr0 & CR0_PE)) || (x->cr0 & CR0_NW && !(x->cr0 & CR0_CD)))
		return "impossible CR0";
	if (x->efer & ~efer || lma != (pg && x->efer & EFER_LME))
		return "impossible EFER";
	if (x->cr4 & ~cr4_mask(v) || (lma && !(x->cr4 & CR4_PAE)) || (x->cr4 & CR4_PCIDE && !lma))
		return "impossible CR4";
	if (x->cr3 >> v->emul.cpuid->phys_bits && lma)
		return "impossible CR3";
	if (x->xcr0 & ~v->emul.cpuid->xcr0 || !(x->xcr0 & XCR0_X87) ||
	    (x->xcr0 & XCR0_AVX && !(x->xcr0 & XCR0_SSE)))
		return "impossible XCR0";
	return x->dr6 >> 32 || x->dr7 >> 32 ? "impossible debug registers" : NULL;
}

static bool sane_segment(const struct seg *g)
{
	return !(g->attr & ~(u32)(0xf0ff | SEG_NULL)) && canonical(g->base);
}

static const char *wrong_segment(const struct x86 *x)
{
	const struct seg *cs = &x->seg[CS];
	bool lma = x->efer & EFER_LMA, ok = sane_segment(&x->ldtr) && sane_segment(&x->tr) &&
		   canonical(x->gdtr.base) && canonical(x->idtr.base);

	for (unsigned i = 0; i < countof(x->seg); i++)
		ok &= sane_segment(&x->seg[i]);
	if (lma && cs->attr & SEG_L && cs->attr & SEG_DB)
		ok = false;
	if (x->rflags & FLAG_VM && (lma || !(x->cr0 & CR0_PE)))
		ok = false;
	return ok ? NULL : "impossible segments";
}

static const char *wrong_msr(const struct x86 *x)
{
	const u64 address[] = {x->lstar, x->cstar, x->kernel_gs_base, x->sysenter_esp, x->sysenter_eip};

	for (unsigned i = 0; i < countof(address); i++)
		if (!canonical(address[i]))
			return "an MSR that is no address";
	for (unsigned i = 0; i < 64; i += 8)
		if ((x->pat >> i & 0xff) > 7 || !(0xf3 >> (x->pat >> i & 7) & 1))
			return "impossible PAT";
	return (x->sfmask | x->tsc_aux | x->sysenter_cs) >> 32 ? "an MSR with reserved bits" : NULL;
}

static const char *wrong_general(const struct x86 *x)
{
	const u64 known = FLAGS_ARITH | FLAG_1 | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
			  FLAG_RF | FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
	bool long64 = x->efer & EFER_LMA && x->seg[CS].attr & SEG_L;

	if (x->rflags & ~known || !(x->rflags & FLAG_1))
		return "impossible flags";
	return x->rip >> 32 && !long64 ? "impossible instruction pointer" : NULL;
}

static const char *wrong_vector(const struct vcpu *v)
{
	const u8 *h = v->x86.xsave + XSAVE_HDR;

	if (ld64(h) & ~7ull)
		return "register sets that lodge does not know";
	for (unsigned i = 8; i < 64; i += 8)
		if (ld64(h + i))
			return "impossible head of the vector registers";
	return ld32(v->x86.xsave + FX_MXCSR) & ~MXCSR_VALID ? "impossible MXCSR" : NULL;
}

const char *x86_wrong(const struct vcpu *v)
{
	const char *what = wrong_control(v);

	if (!what)
		what = wrong_segment(&v->x86);
	if (!what)
		what = wrong_msr(&v->x86);
	if (!what)
		what = wrong_general(&v->x86);
	return what ? what : wrong_vector(v);
}

void x86_state(struct vcpu *v, struct state *s)
{
	struct x86 *x = &v->x86;
	const char *what;

	words(s, x->r, countof(x->r));
	state_u64(s, &x->rip);
	state_u64(s, &x->rflags);
	system_registers(s, x);
	msrs(s, x);
	state_bool(s, &x->shadow);
	state_bool(s, &x->nmi_masked);
	state_bool(s, &v->emul.shadow_ss);
	state_u64(s, &v->emul.db_pending);
	state_bytes(s, x->xsave, XSAVE_SIZE);
	if (!s->load || s->bad)
		return;
	v->emul.db_pending &= 0x600f;
	what = x86_wrong(v);
	if (what)
		state_bad(s, what);
}
