/* MMX: the registers are the mantissas of the x87 registers, by their physical
 * numbers; every MMX instruction makes TOP 0 and all tags valid (SDM vol. 3,
 * 13.2).  Arithmetic is done by stubs, moves here. */
#include "core/x86/exec_vec.h"

enum done mmx_gate(struct vcpu *v)
{
	if (v->x86.cr0 & CR0_EM)
		return raise_ud(v);
	return x87_gate(v);
}

void mmx_enter(struct x86 *x)
{
	x87_set_top(x, 0);
	x->xsave[FX_FTW] = 0xff;
}

static enum done mm_rm(struct vcpu *v, const struct insn *i, const u8 **p)
{
	enum done done = mmx_gate(v);

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i)) {
		*p = v->emul.native->src.low;
		if ((done = vec_fetch(v, i, vec_row(i)->msize)) != DONE_NEXT)
			return done;
	}
	mmx_enter(&v->x86);
	if (!is_mem(i))
		*p = mm(v, i->rm & 7);
	return DONE_NEXT;
}

/* Arithmetic, and shifts by an immediate, which have their operand in rm. */
enum done exec_mmx(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);
	unsigned d = vec_row(i)->kind == K_MMX_SHIFT ? i->rm & 7 : i->reg & 7;
	const u8 *s;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if ((done = mm_rm(v, i, &s)) != DONE_NEXT)
		return done;
	stub(mm(v, d), NULL, s, NULL, &v->emul.native->io);
	mmx_written(v, d);
	return DONE_NEXT;
}

enum done exec_mmx_to_gpr(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);
	const u8 *s;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if ((done = mm_rm(v, i, &s)) != DONE_NEXT)
		return done;
	stub(NULL, NULL, s, NULL, &v->emul.native->io);
	v->x86.r[i->reg] = (u32)v->emul.native->io.gpr;
	return DONE_NEXT;
}

static void mm_set(struct vcpu *v, unsigned r, u64 x)
{
	st64(mm(v, r & 7), x);
	mmx_written(v, r & 7);
}

enum done exec_mm_movd(struct vcpu *v, const struct insn *i)
{
	bool wide = wide_gpr(v, i);
	enum done done = mmx_gate(v);
	u64 x;

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i)) {
		if ((done = vec_fetch(v, i, wide ? 8 : 4)) != DONE_NEXT)
			return done;
		x = ld64(v->emul.native->src.low);
	} else {
		x = v->x86.r[i->rm];
	}
	mmx_enter(&v->x86);
	mm_set(v, i->reg, wide ? x : (u32)x);
	return DONE_NEXT;
}

/* A store that faults leaves TOP as it was, as AMD's processors do (Intel's may have
 * made it 0 already), so the register is found by its number behind TOP. */
static enum done mm_put(struct vcpu *v, const struct insn *i, unsigned n)
{
	unsigned top = ld16(v->x86.xsave + FX_FSW) >> FSW_TOP_SHIFT & 7;
	enum done done;
	u8 x[8];

	st64(x, ld64(mm(v, (i->reg - top) & 7)));
	if ((done = vec_put(v, i, x, n)) == DONE_NEXT)
		mmx_enter(&v->x86);
	return done;
}

enum done exec_mm_movd_store(struct vcpu *v, const struct insn *i)
{
	bool wide = wide_gpr(v, i);
	enum done done = mmx_gate(v);

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i))
		return mm_put(v, i, wide ? 8 : 4);
	mmx_enter(&v->x86);
	v->x86.r[i->rm] = wide ? ld64(mm(v, i->reg & 7)) : ld32(mm(v, i->reg & 7));
	return DONE_NEXT;
}

enum done exec_mm_movq(struct vcpu *v, const struct insn *i)
{
	const u8 *s;
	enum done done = mm_rm(v, i, &s);

	if (done == DONE_NEXT)
		mm_set(v, i->reg, ld64(s));
	return done;
}

/* MOVQ and MOVNTQ */
enum done exec_mm_movq_store(struct vcpu *v, const struct insn *i)
{
	enum done done = mmx_gate(v);

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i))
		return mm_put(v, i, 8);
	mmx_enter(&v->x86);
	mm_set(v, i->rm, ld64(mm(v, i->reg & 7)));
	return DONE_NEXT;
}

enum done exec_movq2dq(struct vcpu *v, const struct insn *i)
{
	enum done done;

	if (!sse_enabled(v))
		return vec_denied(v, i);
	if ((done = mmx_gate(v)) != DONE_NEXT)
		return done;
	mmx_enter(&v->x86);
	st64(xmm(v, i->reg), ld64(mm(v, i->rm & 7)));
	st64(xmm(v, i->reg) + 8, 0);
	return DONE_NEXT;
}

enum done exec_movdq2q(struct vcpu *v, const struct insn *i)
{
	enum done done;

	if (!sse_enabled(v))
		return vec_denied(v, i);
	if ((done = mmx_gate(v)) != DONE_NEXT)
		return done;
	mmx_enter(&v->x86);
	mm_set(v, i->reg, ld64(xmm(v, i->rm)));
	return DONE_NEXT;
}

enum done exec_mm_pinsrw(struct vcpu *v, const struct insn *i)
{
	enum done done = mmx_gate(v);
	u16 x = (u16)v->x86.r[i->rm & 15];

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i)) {
		if ((done = vec_fetch(v, i, 2)) != DONE_NEXT)
			return done;
		x = ld16(v->emul.native->src.low);
	}
	mmx_enter(&v->x86);
	st16(mm(v, i->reg & 7) + 2 * (i->imm & 3), x);
	mmx_written(v, i->reg & 7);
	return DONE_NEXT;
}

enum done exec_mm_pextrw(struct vcpu *v, const struct insn *i)
{
	enum done done = mmx_gate(v);

	if (done != DONE_NEXT)
		return done;
	mmx_enter(&v->x86);
	v->x86.r[i->reg] = ld16(mm(v, i->rm & 7) + 2 * (i->imm & 3));
	return DONE_NEXT;
}

enum done exec_mm_maskmov(struct vcpu *v, const struct insn *i)
{
	enum done done = mmx_gate(v);
	u8 x[8], mask[8];

	if (done != DONE_NEXT)
		return done;
	mmx_enter(&v->x86);
	st64(x, ld64(mm(v, i->reg & 7)));
	st64(mask, ld64(mm(v, i->rm & 7)));
	return mask_move(v, i, x, mask, 8);
}

enum done exec_emms(struct vcpu *v, const struct insn *i)
{
	enum done done = mmx_gate(v);

	if (done != DONE_NEXT)
		return done;
	x87_set_top(&v->x86, 0);
	v->x86.xsave[FX_FTW] = 0;
	return DONE_NEXT;
}
