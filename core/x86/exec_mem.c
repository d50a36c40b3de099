/* Memory operands of integer instructions off the fast path: segments that are
 * not flat, TLB misses, split locks, devices. */
#include "core/x86/exec.h"

u64 insn_ea(const struct vcpu *v, const struct insn *i) { return ea(v, i); }

bool load_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 *x)
{
	u64 a;

	return seg_linear(v, i->seg, ea(v, i), size, ACC_READ, &a) && mem_read(v, a, size, x);
}
bool store_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 x)
{
	u64 a;

	return seg_linear(v, i->seg, ea(v, i), size, ACC_WRITE, &a) && mem_write(v, a, size, x);
}
/* Will reading and then writing it do? */
bool rmw_probe(struct vcpu *v, const struct insn *i, unsigned size)
{
	u64 a;

	return seg_linear(v, i->seg, ea(v, i), size, ACC_READ | ACC_WRITE, &a) &&
	       mem_probe(v, a, size, ACC_READ | ACC_WRITE);
}
void *rmw_slow(struct vcpu *v, const struct insn *i, unsigned size, u64 *lin, bool *slow)
{
	*slow = false;
	if (!seg_linear(v, i->seg, ea(v, i), size, ACC_READ | ACC_WRITE, lin))
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

	return seg_linear(v, SS, sp & stack_mask(v), size, ACC_WRITE, &a) &&
	       mem_write(v, a, size, x);
}
bool stack_load_slow(struct vcpu *v, u64 sp, unsigned size, u64 *x)
{
	u64 a;

	return seg_linear(v, SS, sp & stack_mask(v), size, ACC_READ, &a) && mem_read(v, a, size, x);
}

bool branch_slow(struct vcpu *v, u64 to)
{
	if (v->emul.long64 ? (u64)((s64)(to << 16) >> 16) == to : to <= v->x86.seg[CS].limit)
		return true;
	raise_gp(v);
	return false;
}
