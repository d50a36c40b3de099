/* ROL ROR RCL RCR SHL SHR SAR SHLD SHRD.  The count is taken modulo 32 or 64; 0
 * leaves all flags.  Flags that the SDM leaves undefined are what its
 * processors give: OF for every count as for a count of 1. */
#include "core/x86/ops.h"

INLINE u64 top(u64 x, unsigned bits) { return x >> (bits - 1) & 1; }
/* Shifts that may go by all bits of the type. */
INLINE u64 shl_full(u64 x, unsigned n) { return n > 63 ? 0 : x << n; }
INLINE u64 shr_full(u64 x, unsigned n) { return n > 63 ? 0 : x >> n; }

INLINE u64 f_rol(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size, k = n & (bits - 1);
	u64 x = zext(k ? a << k | a >> (bits - k) : a, size);

	if (n)
		*c = cc_with_cf_of(*c, x & 1, (x & 1) ^ top(x, bits));
	return x;
}
INLINE u64 f_ror(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size, k = n & (bits - 1);
	u64 x = zext(k ? a >> k | a << (bits - k) : a, size);

	if (n)
		*c = cc_with_cf_of(*c, top(x, bits), top(x, bits) ^ top(x, bits - 1));
	return x;
}
/* Rotation of bits + 1 places: the carry is the highest. */
INLINE u64 f_rcl(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size, k = n % (bits + 1);
	u64 x;
	bool cf;

	if (!k)
		return a;
	x = zext(shl_full(a, k) | (u64)cc_cf(*c) << (k - 1) | shr_full(a, bits + 1 - k), size);
	cf = a >> (bits - k) & 1;
	*c = cc_with_cf_of(*c, cf, cf ^ top(x, bits));
	return x;
}
INLINE u64 f_rcr(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size, k = n % (bits + 1);
	u64 x;

	if (!k)
		return a;
	x = zext(shr_full(a, k) | (u64)cc_cf(*c) << (bits - k) | shl_full(a, bits + 1 - k), size);
	*c = cc_with_cf_of(*c, a >> (k - 1) & 1, top(x, bits) ^ top(x, bits - 1));
	return x;
}
INLINE u64 f_shl(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size;
	u64 x = a << n;
	bool cf;

	if (!n)
		return a;
	cf = size == 8 ? a >> (64 - n) & 1 : x >> bits & 1;
	*c = cc_with_cf_of(cc_logic(x, size), cf, cf ^ top(x, bits));
	return x;
}
INLINE u64 f_shr(struct cc *c, u64 a, u64 n, unsigned size)
{
	unsigned bits = 8 * size;
	u64 x = a >> n;

	if (!n)
		return a;
	*c = cc_with_cf_of(cc_logic(x, size), a >> (n - 1) & 1, n == 1 && top(a, bits));
	return x;
}
INLINE u64 f_sar(struct cc *c, u64 a, u64 n, unsigned size)
{
	s64 s = (s64)sext(a, size);

	if (!n)
		return a;
	*c = cc_with_cf_of(cc_logic((u64)(s >> n), size), s >> (n - 1) & 1, false);
	return (u64)(s >> n);
}

#define COUNT_IMM(N) (i->imm & (N == 8 ? 63 : 31))
#define COUNT_CL(N) (v->x86.r[RCX] & (N == 8 ? 63 : 31))
#define SHIFT(op, form, B, N) \
	static enum done op##_##form##_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_reg(v, i, N, B(N), f_##op); \
	} \
	static enum done op##_##form##_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_mem(v, i, N, B(N), f_##op); \
	}
#define BOTH(op) SIZES(SHIFT, op, imm, COUNT_IMM) SIZES(SHIFT, op, cl, COUNT_CL)
BOTH(rol) BOTH(ror) BOTH(rcl) BOTH(rcr) BOTH(shl) BOTH(shr) BOTH(sar)

const struct forms ops_shift_imm[8] = {
	UNLOCKED(rol_imm), UNLOCKED(ror_imm), UNLOCKED(rcl_imm), UNLOCKED(rcr_imm),
	UNLOCKED(shl_imm), UNLOCKED(shr_imm), UNLOCKED(shl_imm), UNLOCKED(sar_imm),
};
const struct forms ops_shift_cl[8] = {
	UNLOCKED(rol_cl), UNLOCKED(ror_cl), UNLOCKED(rcl_cl), UNLOCKED(rcr_cl),
	UNLOCKED(shl_cl), UNLOCKED(shr_cl), UNLOCKED(shl_cl), UNLOCKED(sar_cl),
};

/* ---- double shifts.  16 bits by more than 16: the first operand follows the
 * second, as Intel's processors do. */

static u64 shld(struct cc *c, u64 a, u64 b, unsigned n, unsigned size)
{
	unsigned bits = 8 * size;
	unsigned __int128 t = size == 2 ? ((u64)a << 32 | b << 16 | a) :
					  (unsigned __int128)a << bits | b;
	unsigned at = size == 2 ? 32 : bits;
	u64 x = zext((u64)(t << n >> at), size);
	bool cf = (u64)(t >> (at + bits - n)) & 1;

	*c = cc_with_cf_of(cc_logic(x, size), cf, cf ^ top(x, bits));
	return x;
}
static u64 shrd(struct cc *c, u64 a, u64 b, unsigned n, unsigned size)
{
	unsigned bits = 8 * size;
	unsigned __int128 t = size == 2 ? ((u64)a << 32 | b << 16 | a) :
					  (unsigned __int128)b << bits | a;
	u64 x = zext((u64)(t >> n), size);

	*c = cc_with_cf_of(cc_logic(x, size), (u64)(t >> (n - 1)) & 1,
			   top(x, bits) ^ top(x, bits - 1));
	return x;
}

static enum done double_shift(struct vcpu *v, const struct insn *i, bool left, u64 count)
{
	unsigned n = count & (i->osize == 8 ? 63 : 31);
	u64 b = reg_get(v, i->reg, i->osize), a;
	struct cc c = cc_get(v);

	/* a write even when nothing is shifted: the error code says so */
	if ((is_mem(i) && !rmw_probe(v, i, i->osize)) || !rm_get(v, i, i->osize, &a))
		return mem_done(v);
	if (n)
		a = left ? shld(&c, a, b, n, i->osize) : shrd(&c, a, b, n, i->osize);
	if (!rm_put(v, i, i->osize, a))
		return mem_done(v);
	cc_set(v, c);
	return DONE_NEXT;
}
enum done op_shld_imm(struct vcpu *v, const struct insn *i) { return double_shift(v, i, true, i->imm); }
enum done op_shld_cl(struct vcpu *v, const struct insn *i)
{
	return double_shift(v, i, true, v->x86.r[RCX]);
}
enum done op_shrd_imm(struct vcpu *v, const struct insn *i) { return double_shift(v, i, false, i->imm); }
enum done op_shrd_cl(struct vcpu *v, const struct insn *i)
{
	return double_shift(v, i, false, v->x86.r[RCX]);
}
