/* Far transfers of control: JMP, CALL, RET and IRET over segments, through call
 * gates and between rings (SDM vol. 2, the instructions' pages; vol. 3, 5.8).
 *
 * Every check and every memory access comes before the first change of the
 * vCPU, so a fault leaves it as it was. */
#include "core/x86/cpuid.h"
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

static bool real_or_vm(const struct vcpu *v)
{
	return !(v->x86.cr0 & CR0_PE) || (v->x86.rflags & FLAG_VM);
}

static u64 mask_of(unsigned osize)
{
	return osize == 8 ? ~0ull : osize == 4 ? 0xffffffff : 0xffff;
}

/* ---- stacks */

void stack_make(struct stack *s, const struct seg *ss, u64 sp, bool flat)
{
	*s = (struct stack){.ss = *ss, .flat = flat};
	s->mask = flat ? ~0ull : ss->attr & SEG_DB ? 0xffffffff : 0xffff;
	s->sp = sp & s->mask;
}

void stack_here(const struct vcpu *v, struct stack *s)
{
	stack_make(s, &v->x86.seg[SS], v->x86.r[RSP], v->emul.long64);
	s->error = v->emul.ext;
}

static bool stack_linear(struct vcpu *v, const struct stack *s, u64 sp, unsigned size, u64 *a)
{
	bool ok;

	if (s->flat) {
		*a = sp;
		ok = canonical(sp) && canonical(sp + size - 1);
	} else {
		*a = (u32)(s->ss.base + sp);
		ok = !(s->ss.attr & SEG_NULL) && seg_limit_ok(&s->ss, sp, size);
	}
	if (!ok) {
		raise_code(v, VEC_SS, s->error);
		v->emul.need_device = false;
	}
	return ok;
}

bool stack_push(struct vcpu *v, struct stack *s, unsigned size, u64 val)
{
	u64 sp = (s->sp - size) & s->mask, a;

	if (!stack_linear(v, s, sp, size, &a))
		return false;
	if (!(s->system ? mem_write_sys(v, a, size, val) : mem_write(v, a, size, val)))
		return false;
	s->sp = sp;
	return true;
}

bool stack_pop(struct vcpu *v, struct stack *s, unsigned size, u64 *val)
{
	u64 a;

	if (!stack_linear(v, s, s->sp, size, &a) || !mem_read(v, a, size, val))
		return false;
	s->sp = (s->sp + size) & s->mask;
	return true;
}

/* A selector's slot, of which no more than the selector is read. */
static bool pop_selector(struct vcpu *v, struct stack *s, unsigned size, u64 *sel)
{
	u64 a;

	if (!stack_linear(v, s, s->sp, 2, &a) || !mem_read(v, a, 2, sel))
		return false;
	s->sp = (s->sp + size) & s->mask;
	return true;
}

static void set_sp(struct vcpu *v, u64 mask, u64 sp)
{
	u64 *rsp = &v->x86.r[RSP];

	*rsp = mask == 0xffff ? (*rsp & ~mask) | (sp & mask) : sp & mask;
}

void stack_commit(struct vcpu *v, const struct stack *s)
{
	set_sp(v, s->mask, s->sp);
}

static enum done bad_tss(struct vcpu *v)
{
	return raise_code(v, VEC_TS, (v->x86.tr.sel & ~3u) | v->emul.ext);
}

static enum done stack_long(struct vcpu *v, unsigned cpl, unsigned ist, struct stack *s)
{
	unsigned at = ist ? 36 + (ist - 1) * 8 : 4 + cpl * 8;
	struct seg ss = {.sel = (u16)cpl, .attr = SEG_NULL | cpl << SEG_DPL_SHIFT};
	u64 sp;

	if (at + 7 > v->x86.tr.limit)
		return bad_tss(v);
	if (!mem_read_sys(v, v->x86.tr.base + at, 8, &sp))
		return mem_done(v);
	if (cpl == v->emul.cpl)
		ss = v->x86.seg[SS]; /* an IST stack of the same ring */
	stack_make(s, &ss, sp, true);
	s->system = true;
	s->error = v->emul.ext;
	return DONE_NEXT;
}

enum done stack_of_ring(struct vcpu *v, unsigned cpl, unsigned ist, struct stack *s)
{
	const struct seg *tr = &v->x86.tr;
	bool wide = tr->attr & 8;
	unsigned at = wide ? 4 + cpl * 8 : 2 + cpl * 4, size = wide ? 4 : 2;
	u64 sp, sel, raw[2];
	struct seg ss;

	if (v->x86.efer & EFER_LMA)
		return stack_long(v, cpl, ist, s);
	if (at + size + 1 > tr->limit)
		return bad_tss(v);
	if (!mem_read_sys(v, tr->base + at, size, &sp) ||
	    !mem_read_sys(v, tr->base + at + size, 2, &sel))
		return mem_done(v);
	if (!(sel & ~3ull))
		return raise_code(v, VEC_TS, v->emul.ext);
	TRY(seg_fetch(v, (u16)sel, VEC_TS, &ss, raw));
	TRY(seg_check_ss(v, &ss, cpl, VEC_TS));
	TRY(seg_accessed(v, &ss));
	stack_make(s, &ss, sp, false);
	s->system = true;
	s->error = ((u32)sel & ~3u) | v->emul.ext;
	return DONE_NEXT;
}

/* ---- code segments */

/* A 64-bit offset is cut to 32 bits on the way to code that is not 64-bit. */
enum done code_rip(struct vcpu *v, const struct seg *cs, u64 rip)
{
	if (code_is64(v, cs) ? !canonical(rip) : (u32)rip > cs->limit)
		return raise_code(v, VEC_GP, v->emul.ext);
	return DONE_NEXT;
}

void code_commit(struct vcpu *v, const struct seg *cs, u64 rip, unsigned cpl)
{
	v->x86.seg[CS] = *cs;
	v->x86.seg[CS].sel = (u16)((cs->sel & ~3u) | cpl);
	v->x86.rip = code_is64(v, cs) ? rip : (u32)rip;
	seg_mode(v);
}

static enum done fault_sel(struct vcpu *v, enum vector vec, u16 sel)
{
	return raise_code(v, vec, (sel & ~3u) | v->emul.ext);
}

/* A code segment named by the program itself, not by a gate. */
static enum done check_direct(struct vcpu *v, const struct seg *cs)
{
	unsigned cpl = v->emul.cpl;

	if (conforming(cs) ? seg_dpl(cs) > cpl : (cs->sel & 3u) > cpl || seg_dpl(cs) != cpl)
		return fault_sel(v, VEC_GP, cs->sel);
	if ((v->x86.efer & EFER_LMA) && (cs->attr & SEG_L) && (cs->attr & SEG_DB))
		return fault_sel(v, VEC_GP, cs->sel);
	return cs->attr & SEG_P ? DONE_NEXT : fault_sel(v, VEC_NP, cs->sel);
}

static enum done fetch_code(struct vcpu *v, u16 sel, struct seg *cs, u64 raw[2])
{
	if (!(sel & ~3))
		return raise_code(v, VEC_GP, v->emul.ext);
	return seg_fetch(v, sel, VEC_GP, cs, raw);
}

/* What a gate descriptor says. */
struct gate {
	u16 sel;
	u64 rip;
	unsigned params, osize;
};

static enum done gate_check(struct vcpu *v, const struct seg *g, u16 sel)
{
	if (seg_dpl(g) < v->emul.cpl || seg_dpl(g) < (sel & 3u))
		return fault_sel(v, VEC_GP, sel);
	return g->attr & SEG_P ? DONE_NEXT : fault_sel(v, VEC_NP, sel);
}

static enum done gate_code(struct vcpu *v, unsigned type, const u64 raw[2], struct gate *g,
			   struct seg *cs)
{
	bool lma = v->x86.efer & EFER_LMA;
	u64 craw[2];

	g->sel = (u16)(raw[0] >> 16);
	g->rip = (raw[0] & 0xffff) | (raw[0] >> 32 & 0xffff0000) | (lma ? raw[1] << 32 : 0);
	g->params = raw[0] >> 32 & 31;
	g->osize = lma ? 8 : type == SYS_CALL32 ? 4 : 2;
	g->rip &= mask_of(g->osize);
	TRY(fetch_code(v, g->sel, cs, craw));
	if (!is_code(cs) || seg_dpl(cs) > v->emul.cpl)
		return fault_sel(v, VEC_GP, g->sel);
	if (lma && (cs->attr & (SEG_L | SEG_DB)) != SEG_L)
		return fault_sel(v, VEC_GP, g->sel);
	return cs->attr & SEG_P ? DONE_NEXT : fault_sel(v, VEC_NP, g->sel);
}

/* ---- JMP */

static enum done jmp_real(struct vcpu *v, u16 sel, u64 off)
{
	if (off > v->x86.seg[CS].limit)
		return raise_gp(v);
	seg_load_real(v, CS, sel);
	v->x86.rip = off;
	seg_mode(v);
	return DONE_BRANCH;
}

static enum done jmp_code(struct vcpu *v, struct seg *cs, u64 rip)
{
	TRY(code_rip(v, cs, rip));
	TRY(seg_accessed(v, cs));
	code_commit(v, cs, rip, v->emul.cpl);
	return DONE_BRANCH;
}

static enum done jmp_system(struct vcpu *v, u16 sel, const struct seg *d, const u64 raw[2])
{
	unsigned type = d->attr & 15;
	bool lma = v->x86.efer & EFER_LMA;
	struct gate g;
	struct seg cs;

	if (type == SYS_CALL32 || (!lma && type == SYS_CALL16)) {
		TRY(gate_check(v, d, sel));
		TRY(gate_code(v, type, raw, &g, &cs));
		if (!conforming(&cs) && seg_dpl(&cs) != v->emul.cpl)
			return fault_sel(v, VEC_GP, g.sel);
		return jmp_code(v, &cs, g.rip);
	}
	if (lma || (type != SYS_TASK && type != SYS_TSS16 && type != SYS_TSS32))
		return fault_sel(v, VEC_GP, sel);
	TRY(gate_check(v, d, sel));
	if (type == SYS_TASK)
		sel = (u16)(raw[0] >> 16);
	return task_switch(v, sel, TASK_JMP, false, 0);
}

enum done far_jmp(struct vcpu *v, u16 sel, u64 off, unsigned osize)
{
	struct seg cs;
	u64 raw[2];

	off &= mask_of(osize);
	if (real_or_vm(v))
		return jmp_real(v, sel, off);
	TRY(fetch_code(v, sel, &cs, raw));
	if (!(cs.attr & SEG_S))
		return jmp_system(v, sel, &cs, raw);
	if (!is_code(&cs))
		return fault_sel(v, VEC_GP, sel);
	TRY(check_direct(v, &cs));
	return jmp_code(v, &cs, off);
}

/* ---- CALL */

static enum done call_real(struct vcpu *v, u16 sel, u64 off, unsigned osize)
{
	struct stack s;

	if (off > v->x86.seg[CS].limit)
		return raise_gp(v);
	stack_here(v, &s);
	if (!stack_push(v, &s, osize, v->x86.seg[CS].sel) ||
	    !stack_push(v, &s, osize, v->x86.rip))
		return mem_done(v);
	stack_commit(v, &s);
	seg_load_real(v, CS, sel);
	v->x86.rip = off;
	seg_mode(v);
	return DONE_BRANCH;
}

/* Within the ring. */
static enum done call_code(struct vcpu *v, struct seg *cs, u64 rip, unsigned osize)
{
	struct stack s;

	stack_here(v, &s);
	if (code_is64(v, cs) && !s.flat)
		stack_make(&s, &v->x86.seg[SS], v->x86.r[RSP], true); /* into 64-bit code */
	if (!stack_push(v, &s, osize, v->x86.seg[CS].sel) ||
	    !stack_push(v, &s, osize, v->x86.rip))
		return mem_done(v);
	TRY(code_rip(v, cs, rip));
	TRY(seg_accessed(v, cs));
	stack_commit(v, &s);
	code_commit(v, cs, rip, v->emul.cpl);
	return DONE_BRANCH;
}

static enum done copy_params(struct vcpu *v, struct stack *to, const struct gate *g)
{
	struct stack from;

	stack_here(v, &from);
	for (unsigned i = g->params; i--;) {
		u64 a, val, sp = (from.sp + (u64)i * g->osize) & from.mask;

		if (!stack_linear(v, &from, sp, g->osize, &a) || !mem_read(v, a, g->osize, &val) ||
		    !stack_push(v, to, g->osize, val))
			return mem_done(v);
	}
	return DONE_NEXT;
}

static enum done call_inner(struct vcpu *v, struct seg *cs, const struct gate *g)
{
	unsigned cpl = seg_dpl(cs);
	struct stack s;

	TRY(stack_of_ring(v, cpl, 0, &s));
	if (!stack_push(v, &s, g->osize, v->x86.seg[SS].sel) ||
	    !stack_push(v, &s, g->osize, v->x86.r[RSP]))
		return mem_done(v);
	if (g->osize != 8)
		TRY(copy_params(v, &s, g));
	if (!stack_push(v, &s, g->osize, v->x86.seg[CS].sel) ||
	    !stack_push(v, &s, g->osize, v->x86.rip))
		return mem_done(v);
	TRY(code_rip(v, cs, g->rip));
	TRY(seg_accessed(v, cs));
	v->x86.seg[SS] = s.ss;
	stack_commit(v, &s);
	code_commit(v, cs, g->rip, cpl);
	return DONE_BRANCH;
}

static enum done call_system(struct vcpu *v, u16 sel, const struct seg *d, const u64 raw[2])
{
	unsigned type = d->attr & 15;
	bool lma = v->x86.efer & EFER_LMA;
	struct gate g;
	struct seg cs;

	if (type == SYS_CALL32 || (!lma && type == SYS_CALL16)) {
		TRY(gate_check(v, d, sel));
		TRY(gate_code(v, type, raw, &g, &cs));
		if (!conforming(&cs) && seg_dpl(&cs) < v->emul.cpl)
			return call_inner(v, &cs, &g);
		return call_code(v, &cs, g.rip, g.osize);
	}
	if (lma || (type != SYS_TASK && type != SYS_TSS16 && type != SYS_TSS32))
		return fault_sel(v, VEC_GP, sel);
	TRY(gate_check(v, d, sel));
	if (type == SYS_TASK)
		sel = (u16)(raw[0] >> 16);
	return task_switch(v, sel, TASK_CALL, false, 0);
}

enum done far_call(struct vcpu *v, u16 sel, u64 off, unsigned osize)
{
	struct seg cs;
	u64 raw[2];

	off &= mask_of(osize);
	if (real_or_vm(v))
		return call_real(v, sel, off, osize);
	TRY(fetch_code(v, sel, &cs, raw));
	if (!(cs.attr & SEG_S))
		return call_system(v, sel, &cs, raw);
	if (!is_code(&cs))
		return fault_sel(v, VEC_GP, sel);
	TRY(check_direct(v, &cs));
	return call_code(v, &cs, off, osize);
}

/* ---- RET and IRET */

/* The code segment a return goes to; *cpl is its ring. */
static enum done return_code(struct vcpu *v, u16 sel, struct seg *cs, unsigned *cpl)
{
	u64 raw[2];

	*cpl = sel & 3;
	TRY(fetch_code(v, sel, cs, raw));
	if (!is_code(cs) || *cpl < v->emul.cpl)
		return fault_sel(v, VEC_GP, sel);
	if (conforming(cs) ? seg_dpl(cs) > *cpl : seg_dpl(cs) != *cpl)
		return fault_sel(v, VEC_GP, sel);
	if ((v->x86.efer & EFER_LMA) && (cs->attr & SEG_L) && (cs->attr & SEG_DB))
		return fault_sel(v, VEC_GP, sel);
	return cs->attr & SEG_P ? DONE_NEXT : fault_sel(v, VEC_NP, sel);
}

static enum done return_stack(struct vcpu *v, u16 sel, const struct seg *cs, unsigned cpl,
			      struct seg *ss)
{
	u64 raw[2];

	if (!(sel & ~3)) {
		if (!code_is64(v, cs) || cpl == 3)
			return raise_gp(v);
		*ss = (struct seg){.sel = sel, .attr = SEG_NULL | cpl << SEG_DPL_SHIFT};
		return DONE_NEXT;
	}
	TRY(seg_fetch(v, sel, VEC_GP, ss, raw));
	TRY(seg_check_ss(v, ss, cpl, VEC_GP));
	return seg_accessed(v, ss);
}

/* Data segments that the outer ring may not have. */
static void drop_segments(struct vcpu *v, unsigned cpl)
{
	static const u8 which[] = {ES, DS, FS, GS};

	for (unsigned i = 0; i < countof(which); i++) {
		struct seg *g = &v->x86.seg[which[i]];
		bool conf = (g->attr & (SEG_CODE | SEG_CE)) == (SEG_CODE | SEG_CE);

		if ((g->attr & SEG_NULL) || conf || seg_dpl(g) >= cpl)
			continue;
		seg_null(v, which[i], 0);
	}
}

/* Goes to cs:rip and, on a change of ring or in 64-bit IRET, ss:sp. */
static void return_commit(struct vcpu *v, const struct seg *cs, u64 rip, unsigned cpl,
			  const struct seg *ss, u64 sp)
{
	bool outer = cpl > v->emul.cpl;

	v->x86.seg[SS] = *ss;
	set_sp(v, code_is64(v, cs) ? ~0ull : ss->attr & SEG_DB ? 0xffffffff : 0xffff, sp);
	if (outer)
		drop_segments(v, cpl);
	code_commit(v, cs, rip, cpl);
}

static enum done ret_real(struct vcpu *v, struct stack *s, unsigned osize, u16 pop)
{
	u64 rip, sel;

	if (!stack_pop(v, s, osize, &rip) || !pop_selector(v, s, osize, &sel))
		return mem_done(v);
	if (rip > v->x86.seg[CS].limit)
		return raise_gp(v);
	s->sp += pop;
	stack_commit(v, s);
	seg_load_real(v, CS, (u16)sel);
	v->x86.rip = rip;
	seg_mode(v);
	return DONE_BRANCH;
}

enum done far_ret(struct vcpu *v, unsigned osize, u16 pop)
{
	u64 rip, sel, sp, sssel, first;
	struct seg cs, ss;
	struct stack s;
	unsigned cpl;

	stack_here(v, &s);
	first = s.flat ? s.sp : (u32)v->x86.r[RSP];
	if (real_or_vm(v))
		return ret_real(v, &s, osize, pop);
	if (!stack_pop(v, &s, osize, &rip) || !pop_selector(v, &s, osize, &sel))
		return mem_done(v);
	TRY(return_code(v, (u16)sel, &cs, &cpl));
	if (code_is64(v, &cs)) { /* RSP moves by the new width, and over all at once */
		s.mask = ~0ull;
		s.sp = first + 2 * osize;
	}
	s.sp = (s.sp + pop) & s.mask;
	if (cpl == v->emul.cpl) {
		TRY(code_rip(v, &cs, rip));
		TRY(seg_accessed(v, &cs));
		stack_commit(v, &s);
		code_commit(v, &cs, rip, cpl);
		return DONE_BRANCH;
	}
	if (!stack_pop(v, &s, osize, &sp) || !pop_selector(v, &s, osize, &sssel))
		return mem_done(v);
	TRY(return_stack(v, (u16)sssel, &cs, cpl, &ss));
	TRY(code_rip(v, &cs, rip));
	TRY(seg_accessed(v, &cs));
	return_commit(v, &cs, rip, cpl, &ss, sp + pop);
	return DONE_BRANCH;
}

/* Flags that IRET may set at the present CPL. */
static u64 iret_mask(const struct vcpu *v, unsigned osize)
{
	u64 m = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;

	if (osize >= 4)
		m |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (v->emul.cpl == 0 && (v->x86.cr0 & CR0_PE))
		m |= osize >= 4 ? FLAG_VIF | FLAG_VIP : 0;
	if (v->emul.cpl == 0)
		m |= FLAG_IOPL;
	if (v->emul.cpl <= (v->x86.rflags >> 12 & 3))
		m |= FLAG_IF;
	return m;
}

static void set_flags(struct vcpu *v, u64 flags, u64 mask)
{
	rflags_set(v, (rflags_get(v) & ~mask) | (flags & mask) | FLAG_1);
}

static enum done iret_real(struct vcpu *v, unsigned osize)
{
	bool vm = v->x86.rflags & FLAG_VM;
	u64 rip, sel, flags, mask = iret_mask(v, osize);
	struct stack s;

	stack_here(v, &s);
	if (!stack_pop(v, &s, osize, &rip) || !pop_selector(v, &s, osize, &sel) ||
	    !stack_pop(v, &s, osize, &flags))
		return mem_done(v);
	if (rip > v->x86.seg[CS].limit)
		return raise_gp(v);
	if (vm && (v->x86.rflags & FLAG_IOPL) != FLAG_IOPL) {
		/* virtual-8086 mode extensions: IF of the image goes to VIF */
		if ((flags & FLAG_TF) || ((flags & FLAG_IF) && (v->x86.rflags & FLAG_VIP)))
			return raise_gp(v);
		flags = (flags & ~(u64)FLAG_VIF) | (flags & FLAG_IF ? FLAG_VIF : 0);
		mask |= FLAG_VIF;
	}
	stack_commit(v, &s);
	seg_load_real(v, CS, (u16)sel);
	v->x86.rip = rip;
	set_flags(v, flags, mask);
	seg_mode(v);
	return DONE_BRANCH;
}

/* From ring 0 to virtual-8086 mode; rip, cs and flags are popped already. */
static enum done iret_to_vm(struct vcpu *v, struct stack *s, u64 rip, u64 cs, u64 flags)
{
	static const u8 order[] = {SS, ES, DS, FS, GS};
	u64 sp, sel[countof(order)];

	if (!stack_pop(v, s, 4, &sp))
		return mem_done(v);
	for (unsigned i = 0; i < countof(order); i++)
		if (!stack_pop(v, s, 4, &sel[i]))
			return mem_done(v);
	if ((rip & 0xffffffff) > 0xffff)
		return raise_gp(v);
	set_flags(v, flags, iret_mask(v, 4) | FLAG_VM);
	seg_load_real(v, CS, (u16)cs);
	v->x86.seg[CS].attr |= SEG_CODE;
	for (unsigned i = 0; i < countof(order); i++)
		seg_load_real(v, order[i], (u16)sel[i]);
	v->x86.r[RSP] = (u32)sp;
	v->x86.rip = rip & 0xffff;
	seg_mode(v);
	return DONE_BRANCH;
}

static enum done iret_protected(struct vcpu *v, unsigned osize)
{
	bool wide = v->emul.long64;
	u64 rip, sel, flags, sp, sssel, first, mask = iret_mask(v, osize);
	struct seg cs, ss = v->x86.seg[SS];
	struct stack s;
	unsigned cpl;

	stack_here(v, &s);
	first = s.flat ? s.sp : (u32)v->x86.r[RSP];
	if (!stack_pop(v, &s, osize, &rip) || !pop_selector(v, &s, osize, &sel) ||
	    !stack_pop(v, &s, osize, &flags))
		return mem_done(v);
	if ((flags & FLAG_VM) && osize == 4 && v->emul.cpl == 0 && !(v->x86.efer & EFER_LMA))
		return iret_to_vm(v, &s, rip, sel, flags);
	TRY(return_code(v, (u16)sel, &cs, &cpl));
	if (wide || cpl > v->emul.cpl) {
		if (!stack_pop(v, &s, osize, &sp) || !pop_selector(v, &s, osize, &sssel))
			return mem_done(v);
		TRY(return_stack(v, (u16)sssel, &cs, cpl, &ss));
	}
	TRY(code_rip(v, &cs, rip));
	TRY(seg_accessed(v, &cs));
	set_flags(v, flags, mask);
	if (wide || cpl > v->emul.cpl) {
		return_commit(v, &cs, rip, cpl, &ss, sp);
	} else {
		if (code_is64(v, &cs)) { /* as in far_ret */
			s.mask = ~0ull;
			s.sp = first + 3 * osize;
		}
		stack_commit(v, &s);
		code_commit(v, &cs, rip, cpl);
	}
	return DONE_BRANCH;
}

enum done far_iret(struct vcpu *v, unsigned osize)
{
	bool vm = (v->x86.cr0 & CR0_PE) && (v->x86.rflags & FLAG_VM);
	enum done d;

	if (vm && (v->x86.rflags & FLAG_IOPL) != FLAG_IOPL &&
	    (osize != 2 || !(v->x86.cr4 & CR4_VME)))
		return raise_gp(v);
	if (real_or_vm(v))
		d = iret_real(v, osize);
	else if (!(v->x86.rflags & FLAG_NT))
		d = iret_protected(v, osize);
	else if (v->x86.efer & EFER_LMA)
		return raise_gp(v);
	else {
		u64 link;

		if (!mem_read_sys(v, v->x86.tr.base, 2, &link))
			return mem_done(v);
		d = task_switch(v, (u16)link, TASK_IRET, false, 0);
	}
	if (d == DONE_BRANCH)
		v->x86.nmi_masked = false;
	return d;
}
