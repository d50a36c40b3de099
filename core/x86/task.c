/* Hardware task switches, 16- and 32-bit TSS (SDM vol. 3 ch. 8).
 *
 * Until TR is loaded a fault belongs to the old task and nothing has changed;
 * from there on it belongs to the new one, so rip stays where the new TSS put
 * it (fault.trap). */
#include "core/x86/far.h"
#include "core/x86/flags.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"

#define TRY(x) \
	do { \
		enum done d_ = (x); \
		if (d_ != DONE_NEXT) \
			return d_; \
	} while (0)

/* A TSS of either width, as numbers. */
struct task {
	u64 cr3, eip, eflags, r[8], sel[6], ldt, trap;
};

struct layout {
	u8 cr3, eip, gpr, seg, nseg, ldt, trap, size, step, limit;
};
static const struct layout layout32 = {
	.cr3 = 0x1c, .eip = 0x20, .gpr = 0x28, .seg = 0x48, .nseg = 6, .ldt = 0x60,
	.trap = 0x64, .size = 4, .step = 4, .limit = 0x67,
};
static const struct layout layout16 = {
	.eip = 0x0e, .gpr = 0x12, .seg = 0x22, .nseg = 4, .ldt = 0x2a,
	.size = 2, .step = 2, .limit = 0x2b,
};

static const struct layout *layout(const struct seg *tss)
{
	return tss->attr & 8 ? &layout32 : &layout16;
}

static enum done fault_tss(struct vcpu *v, enum vector vec, u16 sel)
{
	return raise_code(v, vec, (sel & ~3u) | v->emul.ext);
}

/* Finds the new TSS and judges its descriptor. */
static enum done find(struct vcpu *v, u16 sel, unsigned how, struct seg *tss)
{
	enum vector bad = how == TASK_IRET ? VEC_TS : VEC_GP;
	unsigned want = how == TASK_IRET ? SEG_BUSY : 0;
	u64 raw[2];

	if ((sel & 4) || !(sel & ~3))
		return fault_tss(v, bad, sel);
	TRY(seg_fetch(v, sel, bad, tss, raw));
	if ((tss->attr & (SEG_S | 7)) != (1 | want))
		return fault_tss(v, bad, sel);
	if (!(tss->attr & SEG_P))
		return fault_tss(v, VEC_NP, sel);
	if (tss->limit < layout(tss)->limit)
		return fault_tss(v, VEC_TS, sel);
	return DONE_NEXT;
}

static bool get(struct vcpu *v, const struct seg *tss, unsigned at, unsigned size, u64 *val)
{
	return mem_read_sys(v, (u32)(tss->base + at), size, val);
}

static bool put(struct vcpu *v, const struct seg *tss, unsigned at, unsigned size, u64 val)
{
	return mem_write_sys(v, (u32)(tss->base + at), size, val);
}

static bool load(struct vcpu *v, const struct seg *tss, struct task *t)
{
	const struct layout *l = layout(tss);

	*t = (struct task){0};
	if ((l->cr3 && !get(v, tss, l->cr3, 4, &t->cr3)) ||
	    !get(v, tss, l->eip, l->size, &t->eip) ||
	    !get(v, tss, l->eip + l->step, l->size, &t->eflags) ||
	    !get(v, tss, l->ldt, 2, &t->ldt) || (l->trap && !get(v, tss, l->trap, 2, &t->trap)))
		return false;
	for (unsigned i = 0; i < 8; i++) {
		if (!get(v, tss, l->gpr + i * l->step, l->size, &t->r[i]))
			return false;
		if (l == &layout16)
			t->r[i] |= 0xffff0000;
	}
	for (unsigned i = 0; i < l->nseg; i++)
		if (!get(v, tss, l->seg + i * l->step, 2, &t->sel[i]))
			return false;
	return true;
}

static bool save(struct vcpu *v, const struct seg *tss, u64 flags)
{
	const struct layout *l = layout(tss);

	if (!put(v, tss, l->eip, l->size, v->x86.rip) ||
	    !put(v, tss, l->eip + l->step, l->size, flags))
		return false;
	for (unsigned i = 0; i < 8; i++)
		if (!put(v, tss, l->gpr + i * l->step, l->size, v->x86.r[i]))
			return false;
	for (unsigned i = 0; i < l->nseg; i++)
		if (!put(v, tss, l->seg + i * l->step, 2, v->x86.seg[i].sel))
			return false;
	return true;
}

static bool writable(struct vcpu *v, const struct seg *tss)
{
	return mem_probe(v, (u32)tss->base, layout(tss)->limit + 1u, ACC_WRITE | ACC_SYSTEM);
}

static bool set_busy(struct vcpu *v, u16 sel, bool busy)
{
	u64 a, type;

	if (!seg_address(v, sel, 8, &a))
		return true;
	if (!mem_read_sys(v, a + 5, 1, &type))
		return false;
	return mem_write_sys(v, a + 5, 1, busy ? type | SEG_BUSY : type & ~(u64)SEG_BUSY);
}

/* ---- the new task's segments; faults belong to it */

static enum done load_ldt(struct vcpu *v, u16 sel)
{
	struct seg g;
	u64 raw[2];

	v->x86.ldtr = (struct seg){.sel = sel, .attr = SEG_NULL};
	if (!(sel & ~3))
		return DONE_NEXT;
	if (sel & 4)
		return fault_tss(v, VEC_TS, sel);
	TRY(seg_fetch(v, sel, VEC_TS, &g, raw));
	if ((g.attr & (SEG_S | 15)) != SYS_LDT || !(g.attr & SEG_P))
		return fault_tss(v, VEC_TS, sel);
	v->x86.ldtr = g;
	return DONE_NEXT;
}

static enum done load_code(struct vcpu *v, u16 sel)
{
	unsigned cpl = sel & 3;
	struct seg cs;
	u64 raw[2];

	if (!(sel & ~3))
		return fault_tss(v, VEC_TS, sel);
	TRY(seg_fetch(v, sel, VEC_TS, &cs, raw));
	if (!is_code(&cs) || (conforming(&cs) ? seg_dpl(&cs) > cpl : seg_dpl(&cs) != cpl))
		return fault_tss(v, VEC_TS, sel);
	if (!(cs.attr & SEG_P))
		return fault_tss(v, VEC_NP, sel);
	TRY(seg_accessed(v, &cs));
	v->x86.seg[CS] = cs;
	return DONE_NEXT;
}

static enum done load_stack(struct vcpu *v, u16 sel, unsigned cpl)
{
	struct seg ss;
	u64 raw[2];

	if (!(sel & ~3))
		return fault_tss(v, VEC_TS, sel);
	TRY(seg_fetch(v, sel, VEC_TS, &ss, raw));
	TRY(seg_check_ss(v, &ss, cpl, VEC_TS));
	TRY(seg_accessed(v, &ss));
	v->x86.seg[SS] = ss;
	return DONE_NEXT;
}

static enum done load_data(struct vcpu *v, enum sreg s, u16 sel)
{
	struct seg g;
	u64 raw[2];

	if (!(sel & ~3))
		return DONE_NEXT;
	TRY(seg_fetch(v, sel, VEC_TS, &g, raw));
	TRY(seg_check_data(v, &g, v->emul.cpl, VEC_TS));
	TRY(seg_accessed(v, &g));
	v->x86.seg[s] = g;
	return DONE_NEXT;
}

static enum done load_segments(struct vcpu *v, const struct task *t)
{
	static const u8 data[] = {ES, DS, FS, GS};
	unsigned cpl = t->sel[CS] & 3;

	TRY(load_ldt(v, (u16)t->ldt));
	if (v->x86.rflags & FLAG_VM) {
		for (unsigned i = 0; i < 6; i++)
			seg_load_real(v, i, (u16)t->sel[i]);
		v->x86.seg[CS].attr |= SEG_CODE;
		return DONE_NEXT;
	}
	TRY(load_code(v, (u16)t->sel[CS]));
	TRY(load_stack(v, (u16)t->sel[SS], cpl));
	seg_mode(v);
	for (unsigned i = 0; i < countof(data); i++)
		TRY(load_data(v, data[i], (u16)t->sel[data[i]]));
	return DONE_NEXT;
}

/* Registers and selectors without their descriptors: what a fault from here on sees. */
static void commit(struct vcpu *v, const struct seg *tss, const struct task *t, unsigned how)
{
	struct x86 *x = &v->x86;
	unsigned cpl = t->eflags & FLAG_VM ? 3 : t->sel[CS] & 3;
	u64 flags = t->eflags | FLAG_1;

	if (how == TASK_CALL || how == TASK_INT)
		flags |= FLAG_NT;
	x->tr = *tss;
	x->tr.attr |= SEG_BUSY;
	x->cr0 |= CR0_TS;
	x->dr7 &= ~0x155ull;
	if (layout(tss)->cr3 && (x->cr0 & CR0_PG) && x->cr3 != t->cr3) {
		u64 old = x->cr3;

		if (!(x->cr4 & CR4_PAE) || pdpte_load(v, t->cr3)) {
			x->cr3 = t->cr3;
			tlb_new_cr3(v, old, false);
		}
	}
	for (unsigned i = 0; i < 8; i++)
		x->r[i] = t->r[i];
	for (unsigned i = 0; i < 6; i++)
		seg_null(v, i, (u16)t->sel[i]);
	x->seg[SS].attr |= cpl << SEG_DPL_SHIFT;
	x->rip = t->eip;
	rflags_set(v, flags & 0x3f7fd7);
	seg_mode(v);
}

static enum done enter(struct vcpu *v, const struct seg *tss, const struct task *t,
		       bool has_error, u32 error)
{
	unsigned size = layout(tss)->size;
	struct stack s;

	TRY(load_segments(v, t));
	seg_mode(v);
	if (has_error) {
		stack_here(v, &s);
		if (!stack_push(v, &s, size, error))
			return mem_done(v);
		stack_commit(v, &s);
	}
	TRY(code_rip(v, &v->x86.seg[CS], v->x86.rip));
	if (t->trap & 1)
		v->emul.db_pending |= 1u << 15; /* DR6.BT */
	return DONE_BRANCH;
}

enum done task_switch(struct vcpu *v, u16 sel, unsigned how, bool has_error, u32 error)
{
	struct seg tss, old = v->x86.tr;
	u64 flags = rflags_get(v);
	struct task t;
	enum done d;

	TRY(find(v, sel, how, &tss));
	if (!writable(v, &old) || !writable(v, &tss) || !load(v, &tss, &t))
		return mem_done(v);
	if (how == TASK_IRET)
		flags &= ~(u64)FLAG_NT;
	if ((how == TASK_JMP || how == TASK_IRET) && !set_busy(v, old.sel, false))
		return mem_done(v);
	if (!save(v, &old, flags))
		return mem_done(v);
	if ((how == TASK_CALL || how == TASK_INT) && !put(v, &tss, 0, 2, old.sel))
		return mem_done(v);
	if (how != TASK_IRET && !set_busy(v, sel, true))
		return mem_done(v);
	commit(v, &tss, &t, how);
	d = enter(v, &tss, &t, has_error, error);
	if (d == DONE_FAULT)
		v->emul.fault.trap = true;
	return d;
}
