/* XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B. */
#include "core/x86/ops.h"

INLINE u64 f_xadd(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_add(a, b, a + b, size);
	return a + b;
}

#define XADD(N) \
	static enum done xadd_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 a = reg_get(v, i->rm, N), b = reg_get(v, i->reg, N); \
\
		cc_set(v, cc_add(a, b, a + b, N)); \
		reg_set(v, i->reg, N, a); \
		reg_set(v, i->rm, N, a + b); \
		return DONE_NEXT; \
	} \
	static enum done xadd_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 old; \
		enum done d = rmw_mem_old(v, i, N, reg_get(v, i->reg, N), f_xadd, &old); \
\
		if (d == DONE_NEXT) \
			reg_set(v, i->reg, N, old); \
		return d; \
	} \
	static enum done xadd_lock##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 old; \
		enum done d = rmw_lock_old(v, i, N, reg_get(v, i->reg, N), f_xadd, &old); \
\
		if (d == DONE_NEXT) \
			reg_set(v, i->reg, N, old); \
		return d; \
	}
XADD(1) XADD(2) XADD(4) XADD(8)
const struct forms ops_xadd = FORMS(xadd);

/* The accumulator is compared, so f needs it beside the new value: it comes in
 * through the flags' place, which CMPXCHG does not read. */
INLINE u64 f_cmpxchg(struct cc *c, u64 a, u64 b, unsigned size)
{
	u64 acc = c->res;

	*c = cc_sub(acc, a, acc - a, size);
	return zext(acc, size) == a ? b : a;
}

/* What is not exchanged keeps its upper half, destination or accumulator; memory is
 * written in either case, as the chip does. */
static void cmpxchg_end(struct vcpu *v, unsigned size, u64 old)
{
	u64 acc = reg_get(v, RAX, size);

	cc_set(v, cc_sub(acc, old, acc - old, size));
	if (acc != old)
		reg_set(v, RAX, size, old);
}
#define CMPXCHG(N) \
	static enum done cmpxchg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 old = reg_get(v, i->rm, N), b = reg_get(v, i->reg, N); \
		bool same = old == reg_get(v, RAX, N); \
\
		cmpxchg_end(v, N, old); \
		if (same) \
			reg_set(v, i->rm, N, b); \
		return DONE_NEXT; \
	} \
	static enum done cmpxchg_any##N(struct vcpu *v, const struct insn *i, bool locked) \
	{ \
		const struct cc before = cc_get(v); \
		u64 old, b = reg_get(v, i->reg, N); \
		enum done d; \
\
		v->emul.cc_res = reg_get(v, RAX, N); \
		d = locked ? rmw_lock_old(v, i, N, b, f_cmpxchg, &old) : \
			     rmw_mem_old(v, i, N, b, f_cmpxchg, &old); \
		if (d == DONE_NEXT) \
			cmpxchg_end(v, N, old); \
		else \
			cc_set(v, before); \
		return d; \
	} \
	static enum done cmpxchg_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return cmpxchg_any##N(v, i, false); \
	} \
	static enum done cmpxchg_lock##N(struct vcpu *v, const struct insn *i) \
	{ \
		return cmpxchg_any##N(v, i, true); \
	}
CMPXCHG(1) CMPXCHG(2) CMPXCHG(4) CMPXCHG(8)
const struct forms ops_cmpxchg = FORMS(cmpxchg);

/* ---- twice the size.  Always locked: the host does both alike. */

struct pair {
	u64 low, high;
};

static bool cas16(void *p, struct pair *old, struct pair new)
{
	bool ok;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(ok), "+m"(*(struct pair *)p), "+a"(old->low), "+d"(old->high)
			 : "b"(new.low), "c"(new.high)
			 : "memory");
	return ok;
}
static bool cas8(void *p, struct pair *old, struct pair new)
{
	u64 o = old->low | old->high << 32, n = new.low | new.high << 32;
	bool ok = host_cas(p, 8, &o, n);

	*old = (struct pair){(u32)o, o >> 32};
	return ok;
}

/* Across pages or on a device. */
static bool pair_slow(struct vcpu *v, u64 a, unsigned half, struct pair *old, struct pair new,
		      bool *same)
{
	struct pair m;
	bool ok;

	mem_split_lock(v);
	ok = mem_probe(v, a, 2 * half, ACC_READ | ACC_WRITE) && mem_read(v, a, half, &m.low) &&
	     mem_read(v, a + half, half, &m.high);
	if (ok) {
		*same = m.low == old->low && m.high == old->high;
		if (!*same)
			new = m;
		ok = mem_write(v, a, half, new.low) && mem_write(v, a + half, half, new.high);
		*old = m;
	}
	mem_split_unlock(v);
	return ok;
}

static bool pair_swap(struct vcpu *v, u64 a, unsigned half, struct pair *old, struct pair new,
		      bool *same)
{
	bool slow = false;
	void *p = mem_rmw(v, a, 2 * half, &slow);

	if (!p)
		return slow && pair_slow(v, a, half, old, new, same);
	*same = half == 8 ? cas16(p, old, new) : cas8(p, old, new);
	mem_rmw_end(v, a, p, 2 * half);
	return true;
}

enum done op_cmpxchg8b(struct vcpu *v, const struct insn *i)
{
	unsigned half = i->osize == 8 ? 8 : 4;
	struct pair old = {reg_get(v, RAX, half), reg_get(v, RDX, half)};
	struct pair new = {reg_get(v, RBX, half), reg_get(v, RCX, half)};
	bool same;
	u64 a;

	if (half == 8)
		NEED(v, FEAT_CX16);
	/* 64-bit code only: just FS and GS have a base; #GP even where SS would be at fault */
	if (half == 8 && (ea(v, i) + (i->seg == FS || i->seg == GS ? v->x86.seg[i->seg].base : 0)) & 15)
		return raise_gp(v);
	if (!seg_linear(v, i->seg, ea(v, i), 2 * half, ACC_READ | ACC_WRITE, &a))
		return DONE_FAULT;
	if (!pair_swap(v, a, half, &old, new, &same))
		return mem_done(v);
	if (!same) {
		reg_set(v, RAX, half, old.low);
		reg_set(v, RDX, half, old.high);
	}
	cc_set(v, cc_make((cc_flags(cc_get(v)) & ~(unsigned)FLAG_ZF) | (same ? FLAG_ZF : 0)));
	return DONE_NEXT;
}
