/* Memory operands of integer instructions off the fast path: segments that are
 * not flat, TLB misses, split locks, devices. */
#include "core/x86/exec.h"

u64 insn_ea(const struct vcpu *v, const struct insn *i) { return ea(v, i); }

/* seg_linear() for the segments of a 32-bit system: data, writable, upwards, all of the
 * 4 GiB.  16 bytes below the end are left to the real one. */
static bool linear(struct vcpu *v, unsigned s, u64 off, unsigned size, unsigned access, u64 *lin)
{
	const struct seg *g = &v->x86.seg[s];
	const u32 kind = SEG_NULL | SEG_P | SEG_S | SEG_CODE | SEG_CE | SEG_RW;

	if (likely(!v->emul.long64 && !g->base && g->limit == ~0u && off < 0xfffffff0 &&
		   (g->attr & kind) == (SEG_P | SEG_S | SEG_RW))) {
		*lin = off;
		return true;
	}
	return seg_linear(v, (enum sreg)s, off, size, access, lin);
}

bool load_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 *x)
{
	u64 a;

	return linear(v, i->seg, ea(v, i), size, ACC_READ, &a) && mem_read(v, a, size, x);
}
bool store_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 x)
{
	u64 a;

	return linear(v, i->seg, ea(v, i), size, ACC_WRITE, &a) && mem_write(v, a, size, x);
}
/* Will reading and then writing it do? */
bool rmw_probe(struct vcpu *v, const struct insn *i, unsigned size)
{
	u64 a;

	return linear(v, i->seg, ea(v, i), size, ACC_READ | ACC_WRITE, &a) &&
	       mem_probe(v, a, size, ACC_READ | ACC_WRITE);
}
void *rmw_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 *lin, bool *slow)
{
	*slow = false;
	if (!linear(v, i->seg, ea(v, i), size, ACC_READ | ACC_WRITE, lin))
		return NULL;
	return mem_rmw(v, *lin, size, slow);
}

enum done rmw_device(struct vcpu *v, u64 lin, unsigned size, u64 b, modify_fn f, bool locked, u64 *old)
{
	struct cc c = cc_get(v);
	bool ok;

	if (locked)
		mem_split_lock(v);
	ok = mem_probe(v, lin, size, ACC_READ | ACC_WRITE) && mem_read(v, lin, size, old);
	ok = ok && mem_write(v, lin, size, zext(f(&c, *old, b, size), size));
	if (locked)
		mem_split_unlock(v);
	if (!ok)
		return mem_done(v);
	cc_set(v, c);
	return DONE_NEXT;
}

bool stack_store_slow(struct vcpu *v, u64 sp, unsigned size, u64 x)
{
	u64 a;

	return linear(v, SS, sp & stack_mask(v), size, ACC_WRITE, &a) &&
	       mem_write(v, a, size, x);
}
bool stack_load_slow(struct vcpu *v, u64 sp, unsigned size, u64 *x)
{
	u64 a;

	return linear(v, SS, sp & stack_mask(v), size, ACC_READ, &a) && mem_read(v, a, size, x);
}

bool branch_slow(struct vcpu *v, u64 to)
{
	if (v->emul.long64 ? (u64)((s64)(to << 16) >> 16) == to : to <= v->x86.seg[CS].limit)
		return true;
	raise_gp(v);
	return false;
}
