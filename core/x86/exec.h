/* What integer handlers have in common: registers, memory operands, the stack,
 * the read-modify-write frame.  All inline, for sizes known when compiled.
 *
 * The order in every handler: operands in (may fault), result and flags
 * computed, memory out (may fault), then registers and flags. */
#ifndef CORE_X86_EXEC_H
#define CORE_X86_EXEC_H

#include "core/x86/cpuid.h"
#include "core/x86/flags.h"
#include "core/x86/insn.h"
#include "core/x86/mem.h"
#include "core/x86/seg.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- registers */

INLINE u8 *reg8(struct vcpu *v, unsigned n) { return (u8 *)&v->x86.r[n & 15] + (n >> 4); }
INLINE u64 reg_get(struct vcpu *v, unsigned n, unsigned size)
{
	return size == 1 ? *reg8(v, n) : zext(v->x86.r[n], size);
}
/* 32-bit results clear the upper half, smaller ones leave it. */
INLINE void reg_set(struct vcpu *v, unsigned n, unsigned size, u64 x)
{
	if (size == 1)
		*reg8(v, n) = (u8)x;
	else if (size == 2)
		st16(&v->x86.r[n], (u16)x);
	else
		v->x86.r[n] = zext(x, size);
}

/* ---- memory operands */

INLINE u64 ea_sum(const struct vcpu *v, const struct insn *i)
{
	const u64 *r = (const u64 *)(const void *)&v->x86; /* r, zero, rip: by number */

	return r[i->base] + (r[i->index] << i->scale) + (u64)(s64)i->disp;
}
INLINE u64 ea_mask(unsigned asize) { return ~0ull >> (64 - 8 * asize); }
INLINE u64 ea(const struct vcpu *v, const struct insn *i) { return ea_sum(v, i) & ea_mask(i->asize); }

bool load_slow(struct vcpu *, const struct insn *, unsigned size, u64 *);
bool store_slow(struct vcpu *, const struct insn *, unsigned size, u64);
bool rmw_probe(struct vcpu *, const struct insn *, unsigned size);
void *rmw_slow(struct vcpu *, const struct insn *, unsigned size, u64 *lin, bool *slow);

INLINE bool load(struct vcpu *v, const struct insn *i, unsigned size, u64 *x)
{
	if (likely(i->flags & INSN_FLAT)) {
		u64 a = ea_sum(v, i);
		const struct tlb_entry *e = tlb_entry(v, a);

		if (tlb_hit(e->read, a, size)) {
			*x = mem_load(tlb_host(e, a), size);
			return true;
		}
	}
	return load_slow(v, i, size, x);
}
INLINE bool store(struct vcpu *v, const struct insn *i, unsigned size, u64 x)
{
	if (likely(i->flags & INSN_FLAT)) {
		u64 a = ea_sum(v, i);
		const struct tlb_entry *e = tlb_entry(v, a);

		if (tlb_hit(e->write, a, size)) {
			mem_store(tlb_host(e, a), size, x);
			return true;
		}
	}
	return store_slow(v, i, size, x);
}
INLINE bool is_mem(const struct insn *i) { return i->flags & INSN_MEM; }
/* The rm operand, whichever it is. */
INLINE bool rm_get(struct vcpu *v, const struct insn *i, unsigned size, u64 *x)
{
	if (is_mem(i))
		return load(v, i, size, x);
	*x = reg_get(v, i->rm, size);
	return true;
}
INLINE bool rm_put(struct vcpu *v, const struct insn *i, unsigned size, u64 x)
{
	if (is_mem(i))
		return store(v, i, size, x);
	reg_set(v, i->rm, size, x);
	return true;
}

/* ---- read, modify, write.  f computes the new value from the old one and b; *c
 * comes in as the flags before and goes out as the flags after. */
typedef u64 modify_fn(struct cc *c, u64 old, u64 b, unsigned size);

INLINE enum done rmw_reg(struct vcpu *v, const struct insn *i, unsigned size, u64 b, modify_fn f)
{
	struct cc c = cc_get(v);

	reg_set(v, i->rm, size, f(&c, reg_get(v, i->rm, size), b, size));
	cc_set(v, c);
	return DONE_NEXT;
}

/* Where no host pointer is to be had: across pages, or a device. */
enum done rmw_device(struct vcpu *, u64 lin, unsigned size, u64 b, modify_fn, bool locked, u64 *old);

INLINE void *rmw_ptr(struct vcpu *v, const struct insn *i, unsigned size, u64 *lin, bool *slow)
{
	if (likely(i->flags & INSN_FLAT)) {
		u64 a = ea_sum(v, i);
		const struct tlb_entry *e = tlb_entry(v, a);

		*lin = a;
		if (tlb_hit(e->write, a, size) && e->read == e->write)
			return tlb_host(e, a);
	}
	return rmw_slow(v, i, size, lin, slow);
}

INLINE enum done rmw_mem_old(struct vcpu *v, const struct insn *i, unsigned size, u64 b, modify_fn f,
			     u64 *old)
{
	struct cc c = cc_get(v);
	bool slow = false;
	u64 lin, new;
	void *p = rmw_ptr(v, i, size, &lin, &slow);

	if (unlikely(!p))
		return slow ? rmw_device(v, lin, size, b, f, false, old) : mem_done(v);
	*old = mem_load(p, size);
	new = f(&c, *old, b, size);
	mem_store(p, size, new);
	mem_rmw_end(v, lin, p, size);
	cc_set(v, c);
	return DONE_NEXT;
}
INLINE enum done rmw_mem(struct vcpu *v, const struct insn *i, unsigned size, u64 b, modify_fn f)
{
	u64 old;

	return rmw_mem_old(v, i, size, b, f, &old);
}

/* The same, indivisibly; only within a page, where the host does it, even unaligned. */
INLINE bool host_cas(void *p, unsigned size, u64 *old, u64 new)
{
	u8 o1 = (u8)*old;
	u16 o2 = (u16)*old;
	u32 o4 = (u32)*old;
	bool ok;

	switch (size) {
	case 1:
		ok = __atomic_compare_exchange_n((u8 *)p, &o1, (u8)new, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST);
		*old = o1;
		return ok;
	case 2:
		__asm__ volatile("lock cmpxchgw %3, %1"
				 : "=@ccz"(ok), "+m"(*(u16 *)p), "+a"(o2) : "r"((u16)new) : "memory");
		*old = o2;
		return ok;
	case 4:
		__asm__ volatile("lock cmpxchgl %3, %1"
				 : "=@ccz"(ok), "+m"(*(u32 *)p), "+a"(o4) : "r"((u32)new) : "memory");
		*old = o4;
		return ok;
	default:
		__asm__ volatile("lock cmpxchgq %3, %1"
				 : "=@ccz"(ok), "+m"(*(u64 *)p), "+a"(*old) : "r"(new) : "memory");
		return ok;
	}
}
INLINE enum done rmw_lock_old(struct vcpu *v, const struct insn *i, unsigned size, u64 b,
			      modify_fn f, u64 *old)
{
	const struct cc before = cc_get(v);
	struct cc c;
	bool slow = false;
	u64 lin, new;
	void *p = rmw_ptr(v, i, size, &lin, &slow);

	if (unlikely(!p))
		return slow ? rmw_device(v, lin, size, b, f, true, old) : mem_done(v);
	*old = mem_load(p, size);
	do {
		c = before;
		new = f(&c, *old, b, size);
	} while (!host_cas(p, size, old, new));
	mem_rmw_end(v, lin, p, size);
	cc_set(v, c);
	return DONE_NEXT;
}
INLINE enum done rmw_lock(struct vcpu *v, const struct insn *i, unsigned size, u64 b, modify_fn f)
{
	u64 old;

	return rmw_lock_old(v, i, size, b, f, &old);
}

/* ---- the stack.  RSP is set by the caller, when all went well. */

INLINE u64 stack_mask(const struct vcpu *v)
{
	return v->emul.long64 ? ~0ull : (v->x86.seg[SS].attr & SEG_DB) ? 0xffffffff : 0xffff;
}
INLINE void stack_set(struct vcpu *v, u64 sp)
{
	u64 mask = stack_mask(v);

	v->x86.r[RSP] = mask == 0xffff ? (v->x86.r[RSP] & ~mask) | (sp & mask) : sp & mask;
}
bool stack_store_slow(struct vcpu *, u64 sp, unsigned size, u64);
bool stack_load_slow(struct vcpu *, u64 sp, unsigned size, u64 *);
INLINE bool stack_store(struct vcpu *v, u64 sp, unsigned size, u64 x)
{
	if (likely(v->emul.long64)) {
		const struct tlb_entry *e = tlb_entry(v, sp);

		if (tlb_hit(e->write, sp, size)) {
			mem_store(tlb_host(e, sp), size, x);
			return true;
		}
	}
	return stack_store_slow(v, sp, size, x);
}
INLINE bool stack_load(struct vcpu *v, u64 sp, unsigned size, u64 *x)
{
	if (likely(v->emul.long64)) {
		const struct tlb_entry *e = tlb_entry(v, sp);

		if (tlb_hit(e->read, sp, size)) {
			*x = mem_load(tlb_host(e, sp), size);
			return true;
		}
	}
	return stack_load_slow(v, sp, size, x);
}
INLINE enum done push(struct vcpu *v, unsigned size, u64 x)
{
	u64 sp = v->x86.r[RSP] - size;

	if (!stack_store(v, sp, size, x))
		return mem_done(v);
	stack_set(v, sp);
	return DONE_NEXT;
}

/* ---- near branches: to is truncated by the caller.  false: #GP(0) is filled. */
bool branch_slow(struct vcpu *, u64 to);
INLINE bool branch_ok(struct vcpu *v, u64 to)
{
	if (v->emul.long64 ? likely((u64)((s64)(to << 16) >> 16) == to) : to <= v->x86.seg[CS].limit)
		return true;
	return branch_slow(v, to);
}

/* ---- handlers by form and size, for decode.c: [0..3] are 1, 2, 4 and 8 bytes */
struct forms {
	exec_fn *reg[4], *mem[4], *lock[4];
};

/* Needs a feature that CPUID must offer. */
#define NEED(v, feature) \
	do { \
		if (!cpuid_has(v, feature)) \
			return raise_ud(v); \
	} while (0)

#endif
