/* The emulator's life, and one instruction from fetch to delivery. */
#include "core/x86/cpuid.h"
#include "core/x86/flags.h"
#include "core/x86/insn.h"
#include "core/x86/mem.h"
#include "core/x86/seg.h"
#include "core/x86/sys.h"
#include "core/x86/vec.h"

int emul_init(struct vcpu *v)
{
	int err;

	if ((err = cpuid_init(v)) || (err = tlb_init(v)) || (err = vec_init(v)))
		return err;
	x86_reset(v);
	return 0;
}

void emul_fini(struct vcpu *v)
{
	vec_fini(v);
	tlb_fini(v);
}

void emul_sync_in(struct vcpu *v)
{
	v->x86.zero = 0;
	vec_sync_in(&v->x86);
	rflags_set(v, v->x86.rflags);
	seg_mode(v);
	tlb_flush_all(v);
	tlb_mode(v);
}

void emul_sync_out(struct vcpu *v)
{
	v->x86.rflags = rflags_get(v);
}

static enum done raise_fault(struct vcpu *v, struct fault f)
{
	v->emul.need_device = false;
	v->emul.fault = f;
	return DONE_FAULT;
}
enum done raise_vec(struct vcpu *v, enum vector n)
{
	return raise_fault(v, (struct fault){.vector = (u8)n});
}
enum done raise_code(struct vcpu *v, enum vector n, u32 error)
{
	return raise_fault(v, (struct fault){.vector = (u8)n, .has_error = true, .error = error});
}

/* ---- fetch: a page is touched only when an instruction reaches into it */

enum { LONGEST = 15 };

static enum done fetch(struct vcpu *v, struct insn *i)
{
	u64 rip = v->x86.rip, lin = v->emul.long64 ? rip : (u32)(v->x86.seg[CS].base + rip);
	unsigned n = LONGEST, first = PAGE_SIZE - (lin & 0xfff), got;
	enum mode mode = (enum mode)v->emul.mode;
	u8 buf[LONGEST];

	if (v->emul.long64 ? !canonical(rip) : rip > v->x86.seg[CS].limit)
		return raise_gp(v);
	if (!v->emul.long64)
		n = (unsigned)min_u64(n, (u64)v->x86.seg[CS].limit - rip + 1);
	first = first < n ? first : n;
	got = mem_fetch(v, lin, buf, first);
	if (!decode(i, mode, buf, got))
		return DONE_NEXT;
	if (got < first)
		return mem_done(v);
	got += mem_fetch(v, lin + first, buf + first, n - first);
	if (!decode(i, mode, buf, got))
		return DONE_NEXT;
	return got < n ? mem_done(v) : raise_gp(v);
}

enum done emul_exec(struct vcpu *v)
{
	u64 start = v->x86.rip;
	struct insn i;
	enum done d;

	v->emul.start = start;
	d = fetch(v, &i);
	if (d != DONE_NEXT)
		return d;
	v->x86.rip = v->emul.long64 ? start + i.len : (u32)(start + i.len);
	v->emul.retired++;
	d = i.exec(v, &i);
	if ((d == DONE_FAULT && !v->emul.fault.trap) || d == DONE_DEVICE)
		v->x86.rip = start;
	return d;
}

/* Shadows end and traps are taken after an instruction that did not fault. */
static enum done after(struct vcpu *v, enum done d, bool shadow, bool armed, bool tf)
{
	if (shadow)
		shadow_end(v);
	if ((armed || v->emul.db_pending) && debug_after(v, tf) == DONE_FAULT)
		return DONE_FAULT;
	return d;
}

enum done emul_step(struct vcpu *v)
{
	bool armed = debug_armed(v), shadow = v->x86.shadow, tf = v->x86.rflags & FLAG_TF;
	enum done d;

	v->emul.devices = true;
	d = armed ? debug_before(v) : DONE_NEXT;
	if (d == DONE_NEXT)
		d = emul_exec(v);
	if (d == DONE_NEXT || d == DONE_BRANCH || d == DONE_HALT)
		d = after(v, d, shadow, armed, tf);
	if (d == DONE_FAULT)
		d = emul_deliver(v);
	v->emul.devices = false;
	return d == DONE_HALT || d == DONE_SHUTDOWN ? d : DONE_NEXT;
}
