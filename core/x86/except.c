/* Events through the IDT: exceptions, interrupts, INT n; double and triple faults
 * (SDM vol. 3 ch. 6; INT's page in vol. 2; virtual-8086 mode: vol. 3, 20.3). */
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

enum { CHAIN_MAX = 8 }; /* events that arise while delivering events, before we call it a shutdown */

struct event {
	struct fault f;
	bool external;     /* interrupt or NMI: no exception, benign */
	u64 flags;         /* what the frame shows */
};

static enum done fault_idt(struct vcpu *v, enum vector vec, unsigned vector)
{
	return raise_code(v, vec, vector * 8 + 2 + v->emul.ext);
}

/* ---- real mode, and virtual-8086 mode redirected into the guest's own table */

static enum done through_ivt(struct vcpu *v, u8 vector, u64 base, u64 flags, u64 clear)
{
	struct stack s;
	u64 at;

	if (!mem_read_sys(v, base + vector * 4u, 4, &at))
		return mem_done(v);
	stack_here(v, &s);
	if (!stack_push(v, &s, 2, flags) || !stack_push(v, &s, 2, v->x86.seg[CS].sel) ||
	    !stack_push(v, &s, 2, v->x86.rip))
		return mem_done(v);
	if ((at & 0xffff) > v->x86.seg[CS].limit)
		return raise_gp(v);
	stack_commit(v, &s);
	seg_load_real(v, CS, (u16)(at >> 16));
	v->x86.rip = at & 0xffff;
	rflags_set(v, rflags_get(v) & ~clear);
	seg_mode(v);
	return DONE_BRANCH;
}

static enum done deliver_real(struct vcpu *v, const struct event *e)
{
	if (e->f.vector * 4u + 3 > v->x86.idtr.limit)
		return fault_idt(v, VEC_GP, e->f.vector);
	return through_ivt(v, e->f.vector, v->x86.idtr.base, e->flags,
			   FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

/* INT n under CR4.VME with IOPL < 3: IF is VIF's, IOPL reads 3. */
static enum done deliver_vme(struct vcpu *v, const struct event *e)
{
	u64 flags = e->flags, clear = FLAG_TF | FLAG_RF;

	if ((v->x86.rflags & FLAG_IOPL) == FLAG_IOPL) {
		clear |= FLAG_IF;
	} else {
		flags = (flags & ~(u64)FLAG_IF) | (flags & FLAG_VIF ? FLAG_IF : 0) | FLAG_IOPL;
		clear |= FLAG_VIF;
	}
	return through_ivt(v, e->f.vector, 0, flags, clear);
}

/* The redirection bitmap lies in the 32 bytes below the I/O bitmap. */
static enum done vme_redirects(struct vcpu *v, u8 vector, bool *yes)
{
	const struct seg *tr = &v->x86.tr;
	u64 map, byte;

	*yes = false;
	if (!(v->x86.cr4 & CR4_VME) || !(tr->attr & 8) || tr->limit < 0x67)
		return DONE_NEXT;
	if (!mem_read_sys(v, tr->base + 0x66, 2, &map))
		return mem_done(v);
	if (map < 32 || map - 32 + vector / 8 > tr->limit)
		return raise_gp(v);
	if (!mem_read_sys(v, tr->base + map - 32 + vector / 8, 1, &byte))
		return mem_done(v);
	*yes = !(byte >> vector % 8 & 1);
	return DONE_NEXT;
}

/* ---- protected and long mode */

struct idt_gate {
	unsigned type, dpl, ist;
	bool present;
	u16 sel;
	u64 rip;
};

static enum done fetch_gate(struct vcpu *v, u8 vector, struct idt_gate *g)
{
	bool lma = v->x86.efer & EFER_LMA;
	unsigned size = lma ? 16 : 8, at = vector * size;
	u64 lo, hi = 0;

	if (at + size - 1 > v->x86.idtr.limit)
		return fault_idt(v, VEC_GP, vector);
	if (!mem_read_sys(v, v->x86.idtr.base + at, 8, &lo) ||
	    (lma && !mem_read_sys(v, v->x86.idtr.base + at + 8, 8, &hi)))
		return mem_done(v);
	*g = (struct idt_gate){
		.type = lo >> 40 & 31, .dpl = lo >> 45 & 3, .present = lo >> 47 & 1,
		.ist = lma ? lo >> 32 & 7 : 0, .sel = (u16)(lo >> 16),
		.rip = (lo & 0xffff) | (lo >> 32 & 0xffff0000) | hi << 32,
	};
	if (!(g->type & 8))
		g->rip &= 0xffff;
	return DONE_NEXT;
}

static enum done check_gate(struct vcpu *v, const struct event *e, const struct idt_gate *g)
{
	bool ok = g->type == SYS_INT32 || g->type == SYS_TRAP32;

	if (!(v->x86.efer & EFER_LMA))
		ok |= g->type == SYS_INT16 || g->type == SYS_TRAP16 || g->type == SYS_TASK;
	if (!ok || (e->f.soft && g->dpl < v->emul.cpl))
		return fault_idt(v, VEC_GP, e->f.vector);
	return g->present ? DONE_NEXT : fault_idt(v, VEC_NP, e->f.vector);
}

static enum done gate_target(struct vcpu *v, const struct idt_gate *g, struct seg *cs)
{
	u32 err = (g->sel & ~3u) | v->emul.ext;
	u64 raw[2];

	if (!(g->sel & ~3))
		return raise_code(v, VEC_GP, v->emul.ext);
	TRY(seg_fetch(v, g->sel, VEC_GP, cs, raw));
	if (!is_code(cs) || seg_dpl(cs) > v->emul.cpl)
		return raise_code(v, VEC_GP, err);
	if ((v->x86.efer & EFER_LMA) && (cs->attr & (SEG_L | SEG_DB)) != SEG_L)
		return raise_code(v, VEC_GP, err);
	if (!(cs->attr & SEG_P))
		return raise_code(v, VEC_NP, err);
	if ((v->x86.rflags & FLAG_VM) && (conforming(cs) || seg_dpl(cs)))
		return raise_code(v, VEC_GP, err);
	return DONE_NEXT;
}

static bool push_frame(struct vcpu *v, struct stack *s, const struct event *e, unsigned size,
		       bool outer)
{
	static const u8 order[] = {GS, FS, DS, ES};
	const struct x86 *x = &v->x86;

	if (x->rflags & FLAG_VM)
		for (unsigned i = 0; i < countof(order); i++)
			if (!stack_push(v, s, size, x->seg[order[i]].sel))
				return false;
	if (outer && (!stack_push(v, s, size, x->seg[SS].sel) ||
		      !stack_push(v, s, size, x->r[RSP])))
		return false;
	return stack_push(v, s, size, e->flags) && stack_push(v, s, size, x->seg[CS].sel) &&
	       stack_push(v, s, size, x->rip) &&
	       (!e->f.has_error || stack_push(v, s, size, e->f.error));
}

static void commit(struct vcpu *v, const struct idt_gate *g, const struct seg *cs,
		   const struct stack *s, unsigned cpl)
{
	static const u8 data[] = {ES, DS, FS, GS};
	u64 clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;

	if (v->x86.rflags & FLAG_VM)
		for (unsigned i = 0; i < countof(data); i++)
			seg_null(v, data[i], 0);
	if (!(g->type & 1))
		clear |= FLAG_IF;
	if (cpl != v->emul.cpl)
		v->x86.seg[SS] = s->ss;
	stack_commit(v, s);
	rflags_set(v, rflags_get(v) & ~clear);
	code_commit(v, cs, g->rip, cpl);
}

static enum done deliver_protected(struct vcpu *v, const struct event *e)
{
	bool lma = v->x86.efer & EFER_LMA;
	unsigned cpl = v->emul.cpl, size;
	struct idt_gate g = {0};
	struct stack s;
	struct seg cs;

	TRY(fetch_gate(v, e->f.vector, &g));
	TRY(check_gate(v, e, &g));
	if (g.type == SYS_TASK) {
		v->x86.rflags |= e->flags & FLAG_RF;
		return task_switch(v, g.sel, TASK_INT, e->f.has_error, e->f.error);
	}
	TRY(gate_target(v, &g, &cs));
	if (!conforming(&cs))
		cpl = seg_dpl(&cs);
	if (cpl < v->emul.cpl || g.ist) {
		TRY(stack_of_ring(v, cpl, g.ist, &s));
	} else {
		stack_here(v, &s);
		if (lma)
			stack_make(&s, &v->x86.seg[SS], v->x86.r[RSP], true);
		s.error = v->emul.ext;
	}
	if (lma)
		s.sp &= ~15ull;
	size = lma ? 8 : g.type & 8 ? 4 : 2;
	if (!push_frame(v, &s, e, size, lma || cpl < v->emul.cpl))
		return mem_done(v);
	TRY(code_rip(v, &cs, g.rip));
	TRY(seg_accessed(v, &cs));
	commit(v, &g, &cs, &s, cpl);
	return DONE_BRANCH;
}

/* ---- one event, and what comes of it */

static enum done deliver_once(struct vcpu *v, const struct event *e)
{
	bool vm = v->x86.rflags & FLAG_VM, redirect;

	if (!(v->x86.cr0 & CR0_PE))
		return deliver_real(v, e);
	if (vm && e->f.soft && !e->f.int3) {
		TRY(vme_redirects(v, e->f.vector, &redirect));
		if (redirect)
			return deliver_vme(v, e);
		if ((v->x86.rflags & FLAG_IOPL) != FLAG_IOPL)
			return raise_gp(v);
	}
	return deliver_protected(v, e);
}

enum class { BENIGN, CONTRIBUTORY, PAGE, DOUBLE };

static enum class class_of(const struct event *e)
{
	if (e->external || e->f.soft)
		return BENIGN;
	switch (e->f.vector) {
	case VEC_DE: case VEC_TS: case VEC_NP: case VEC_SS: case VEC_GP:
		return CONTRIBUTORY;
	case VEC_PF:
		return PAGE;
	case VEC_DF:
		return DOUBLE;
	default:
		return BENIGN;
	}
}

/* What an exception does to the vCPU besides going through the IDT. */
static void side_effects(struct vcpu *v, const struct event *e)
{
	if (e->external || e->f.soft)
		return;
	if (e->f.vector == VEC_PF)
		v->x86.cr2 = e->f.cr2;
	if (e->f.vector == VEC_DB) {
		v->x86.dr6 = (v->x86.dr6 & ~0xfull) | e->f.dr6;
		v->x86.dr7 &= ~(1ull << 13); /* GD */
	}
}

/* RF as the frame shows it: set for faults but instruction breakpoints (SDM vol. 3, 17.3.1.1). */
static u64 frame_flags(struct vcpu *v, const struct event *e)
{
	u64 flags = rflags_get(v);

	if (!e->external && !e->f.trap && e->f.vector != VEC_DB)
		flags |= FLAG_RF;
	return flags;
}

static enum done deliver(struct vcpu *v, struct event e)
{
	u64 start = v->emul.start;
	bool devices = v->emul.devices;
	enum done d = DONE_SHUTDOWN;

	if (!e.external && !e.f.trap)
		v->emul.db_pending = 0; /* the instruction did not happen */
	v->emul.devices = true; /* tables and stacks in a device's memory: at once, we cannot retry */
	for (unsigned i = 0; i < CHAIN_MAX; i++) {
		enum class first = class_of(&e), second;
		bool soft = e.f.soft;

		side_effects(v, &e);
		e.flags = frame_flags(v, &e);
		if (!(v->x86.cr0 & CR0_PE))
			e.f.has_error = false;
		v->emul.ext = !soft;
		d = deliver_once(v, &e);
		v->emul.ext = 0;
		if (d != DONE_FAULT)
			break;
		if (soft && !v->emul.fault.trap)
			v->x86.rip = start; /* INT n itself faulted */
		e = (struct event){.f = v->emul.fault};
		second = class_of(&e);
		d = DONE_SHUTDOWN;
		if (first == DOUBLE && second != BENIGN)
			break;
		if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
		    (first == PAGE && second != BENIGN))
			e.f = (struct fault){.vector = VEC_DF, .has_error = true,
					     .trap = e.f.trap};
	}
	v->emul.devices = devices;
	v->x86.shadow = v->emul.shadow_ss = false;
	v->emul.fault = (struct fault){0};
	return d;
}

enum done emul_deliver(struct vcpu *v)
{
	return deliver(v, (struct event){.f = v->emul.fault});
}

enum done emul_interrupt(struct vcpu *v, u8 vector)
{
	return deliver(v, (struct event){.f = {.vector = vector, .trap = true}, .external = true});
}

enum done emul_nmi(struct vcpu *v)
{
	v->x86.nmi_masked = true;
	return deliver(v, (struct event){.f = {.vector = VEC_NMI, .trap = true},
					 .external = true});
}

bool emul_can_irq(const struct vcpu *v)
{
	return (v->x86.rflags & FLAG_IF) && !v->x86.shadow;
}

bool emul_can_nmi(const struct vcpu *v)
{
	return !v->x86.nmi_masked && !v->emul.shadow_ss;
}
