/* Segments: SDM vol. 3 ch. 3 and 5, and vol. 1 section 3.3. */
#include "core/x86/seg.h"
#include "core/x86/far.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"

static bool bad(struct vcpu *v, enum sreg s)
{
	raise_code(v, s == SS ? VEC_SS : VEC_GP, 0);
	v->emul.need_device = false;
	return false;
}

static bool type_ok(const struct seg *g, unsigned access)
{
	if ((g->attr & SEG_NULL) || !(g->attr & SEG_P))
		return false;
	if (access & ACC_WRITE)
		return (g->attr & (SEG_CODE | SEG_RW)) == SEG_RW;
	return !(access & ACC_READ) || (g->attr & (SEG_CODE | SEG_RW)) != SEG_CODE;
}

bool seg_limit_ok(const struct seg *g, u64 off, u64 size)
{
	u64 last = off + size - 1;

	if ((g->attr & (SEG_CODE | SEG_CE)) == SEG_CE) /* expand-down */
		return off > g->limit && last <= (g->attr & SEG_DB ? 0xffffffff : 0xffff);
	if (g->limit == 0xffffffff && !g->base) /* flat: what lies across the end wraps */
		return true;
	return last <= g->limit;
}

bool seg_linear(struct vcpu *v, enum sreg s, u64 off, unsigned size, unsigned access, u64 *lin)
{
	const struct seg *g = &v->x86.seg[s];

	if (v->emul.long64) {
		*lin = s == FS || s == GS ? g->base + off : off;
		if (canonical(*lin) && canonical(*lin + size - 1))
			return true;
		return bad(v, s);
	}
	if ((v->x86.cr0 & CR0_PE) && !(v->x86.rflags & FLAG_VM) && !type_ok(g, access))
		return bad(v, s);
	if (!seg_limit_ok(g, off, size))
		return bad(v, s);
	*lin = (u32)(g->base + off);
	return true;
}

/* ---- descriptors */

void seg_unpack(struct seg *g, u16 sel, u64 raw)
{
	g->sel = sel;
	g->base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
	g->limit = (u32)((raw & 0xffff) | (raw >> 32 & 0xf0000));
	g->attr = (u32)(raw >> 40) & 0xf0ff;
	if (g->attr & SEG_G)
		g->limit = g->limit << 12 | 0xfff;
}

bool seg_address(struct vcpu *v, u16 sel, unsigned size, u64 *a)
{
	const struct x86 *x = &v->x86;
	u32 off = sel & ~7u;

	if (sel & 4) {
		if (x->ldtr.attr & SEG_NULL || off + size - 1 > x->ldtr.limit)
			return false;
		*a = x->ldtr.base + off;
	} else {
		if (off + size - 1 > x->gdtr.limit)
			return false;
		*a = x->gdtr.base + off;
	}
	return true;
}

enum done seg_fetch(struct vcpu *v, u16 sel, enum vector vec, struct seg *g, u64 raw[2])
{
	u32 err = (sel & ~3u) | v->emul.ext;
	u64 a;

	raw[1] = 0;
	if (!seg_address(v, sel, 8, &a))
		return raise_code(v, vec, err);
	if (!mem_read_sys(v, a, 8, &raw[0]))
		return mem_done(v);
	seg_unpack(g, sel, raw[0]);
	if ((v->x86.efer & EFER_LMA) && !(g->attr & SEG_S)) {
		if (!seg_address(v, sel, 16, &a))
			return raise_code(v, vec, err);
		if (!mem_read_sys(v, a + 8, 8, &raw[1]))
			return mem_done(v);
		if (raw[1] >> 40 & 0x1f)
			return raise_code(v, vec, err);
		g->base |= raw[1] << 32;
	}
	return DONE_NEXT;
}

enum done seg_accessed(struct vcpu *v, struct seg *g)
{
	u64 a;

	if ((g->attr & SEG_A) || !seg_address(v, g->sel, 8, &a))
		return DONE_NEXT;
	g->attr |= SEG_A;
	return mem_write_sys(v, a + 5, 1, g->attr & 0xff) ? DONE_NEXT : mem_done(v);
}

/* ---- loading */

void seg_load_real(struct vcpu *v, enum sreg s, u16 sel)
{
	struct seg *g = &v->x86.seg[s];

	g->sel = sel;
	g->base = (u32)sel << 4;
	if ((v->x86.cr0 & CR0_PE) && (v->x86.rflags & FLAG_VM)) {
		g->limit = 0xffff;
		g->attr = SEG_P | 3 << SEG_DPL_SHIFT | SEG_S | SEG_RW | SEG_A;
		return;
	}
	/* Real mode leaves limit, D and G as they were: "unreal mode". */
	g->attr = (g->attr & (SEG_DB | SEG_G)) | SEG_P | SEG_S | SEG_RW | SEG_A |
		  (s == CS ? SEG_CODE : 0);
}

void seg_null(struct vcpu *v, enum sreg s, u16 sel)
{
	v->x86.seg[s] = (struct seg){.sel = sel, .attr = SEG_NULL};
}

static enum done load_null(struct vcpu *v, enum sreg s, u16 sel)
{
	if (s == SS) {
		if (!v->emul.long64 || v->emul.cpl == 3 || (sel & 3) != v->emul.cpl)
			return raise_gp(v);
		seg_null(v, s, sel);
		v->x86.seg[SS].attr |= (u32)v->emul.cpl << SEG_DPL_SHIFT;
		return DONE_NEXT;
	}
	seg_null(v, s, sel);
	return DONE_NEXT;
}

enum done seg_check_ss(struct vcpu *v, const struct seg *g, unsigned cpl, enum vector vec)
{
	u32 err = (g->sel & ~3u) | v->emul.ext;

	if ((g->attr & (SEG_S | SEG_CODE | SEG_RW)) != (SEG_S | SEG_RW) ||
	    (g->sel & 3) != cpl || seg_dpl(g) != cpl)
		return raise_code(v, vec, err);
	if (!(g->attr & SEG_P))
		return raise_code(v, VEC_SS, err);
	return DONE_NEXT;
}

enum done seg_check_data(struct vcpu *v, const struct seg *g, unsigned cpl, enum vector vec)
{
	u32 err = (g->sel & ~3u) | v->emul.ext;
	bool conforming = (g->attr & (SEG_CODE | SEG_CE)) == (SEG_CODE | SEG_CE);

	if (!(g->attr & SEG_S) || (g->attr & (SEG_CODE | SEG_RW)) == SEG_CODE)
		return raise_code(v, vec, err);
	if (!conforming && ((g->sel & 3u) > seg_dpl(g) || cpl > seg_dpl(g)))
		return raise_code(v, vec, err);
	if (!(g->attr & SEG_P))
		return raise_code(v, VEC_NP, err);
	return DONE_NEXT;
}

enum done seg_load(struct vcpu *v, enum sreg s, u16 sel)
{
	struct seg g;
	u64 raw[2];
	enum done d;

	if (!(v->x86.cr0 & CR0_PE) || (v->x86.rflags & FLAG_VM)) {
		seg_load_real(v, s, sel);
		return DONE_NEXT;
	}
	if (!(sel & ~3))
		return load_null(v, s, sel);
	if ((d = seg_fetch(v, sel, VEC_GP, &g, raw)) != DONE_NEXT)
		return d;
	d = s == SS ? seg_check_ss(v, &g, v->emul.cpl, VEC_GP) :
		      seg_check_data(v, &g, v->emul.cpl, VEC_GP);
	if (d != DONE_NEXT || (d = seg_accessed(v, &g)) != DONE_NEXT)
		return d;
	v->x86.seg[s] = g;
	return DONE_NEXT;
}

void seg_mode(struct vcpu *v)
{
	struct x86 *x = &v->x86;
	struct emul *e = &v->emul;
	bool pe = x->cr0 & CR0_PE, vm = pe && (x->rflags & FLAG_VM);
	bool lma = x->efer & EFER_LMA;

	e->cpl = !pe ? 0 : vm ? 3 : (u8)seg_dpl(&x->seg[SS]);
	e->long64 = lma && !vm && (x->seg[CS].attr & SEG_L);
	e->mode = e->long64 ? MODE_64 : !vm && (x->seg[CS].attr & SEG_DB) ? MODE_32 : MODE_16;
	e->asize = e->long64 ? 8 : e->mode == MODE_32 ? 4 : 2;
	tlb_mode(v);
}
