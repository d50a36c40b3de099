/* MUL IMUL DIV IDIV.  Flags beyond CF and OF are undefined: here they follow the
 * low half of a product, and a division leaves them. */
#include "core/x86/ops.h"

#include "core/x86/flags.h"

static void product_flags(struct vcpu *v, u64 low, unsigned size, bool wide)
{
	cc_set(v, cc_with_cf_of(cc_logic(low, size), wide, wide));
}

/* AX, DX:AX, EDX:EAX, RDX:RAX */
static void pair_set(struct vcpu *v, unsigned size, u64 low, u64 high)
{
	if (size == 1) {
		st16(&v->x86.r[RAX], (u16)((low & 0xff) | high << 8));
		return;
	}
	reg_set(v, RAX, size, low);
	reg_set(v, RDX, size, high);
}

enum done op_mul(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize, bits = 8 * size;
	unsigned __int128 x;
	u64 b;

	if (!rm_get(v, i, size, &b))
		return mem_done(v);
	x = (unsigned __int128)reg_get(v, RAX, size) * b;
	pair_set(v, size, zext((u64)x, size), zext((u64)(x >> bits), size));
	product_flags(v, (u64)x, size, (x >> bits) != 0);
	return DONE_NEXT;
}

static __int128 signed_product(u64 a, u64 b, unsigned size)
{
	return (__int128)(s64)sext(a, size) * (s64)sext(b, size);
}
static bool fits(__int128 x, unsigned size) { return (s64)sext((u64)x, size) == x; }

enum done op_imul1(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize;
	__int128 x;
	u64 b;

	if (!rm_get(v, i, size, &b))
		return mem_done(v);
	x = signed_product(reg_get(v, RAX, size), b, size);
	pair_set(v, size, zext((u64)x, size), zext((u64)(x >> (8 * size)), size));
	product_flags(v, (u64)x, size, !fits(x, size));
	return DONE_NEXT;
}

static enum done imul(struct vcpu *v, const struct insn *i, u64 a, u64 b)
{
	__int128 x = signed_product(a, b, i->osize);

	reg_set(v, i->reg, i->osize, (u64)x);
	product_flags(v, (u64)x, i->osize, !fits(x, i->osize));
	return DONE_NEXT;
}
enum done op_imul_reg(struct vcpu *v, const struct insn *i)
{
	u64 b;

	if (!rm_get(v, i, i->osize, &b))
		return mem_done(v);
	return imul(v, i, reg_get(v, i->reg, i->osize), b);
}
enum done op_imul_imm(struct vcpu *v, const struct insn *i)
{
	u64 a;

	if (!rm_get(v, i, i->osize, &a))
		return mem_done(v);
	return imul(v, i, a, i->imm);
}

/* The dividend's halves. */
static void dividend(struct vcpu *v, unsigned size, u64 *low, u64 *high)
{
	*low = reg_get(v, RAX, size);
	*high = size == 1 ? v->x86.r[RAX] >> 8 & 0xff : reg_get(v, RDX, size);
}

/* high:low / d, high < d */
static u64 divide128(u64 high, u64 low, u64 d, u64 *rest)
{
	u64 q, r;

	__asm__("divq %4" : "=a"(q), "=d"(r) : "a"(low), "d"(high), "rm"(d) : "cc");
	*rest = r;
	return q;
}
static u64 divide(u64 high, u64 low, u64 d, unsigned size, u64 *rest)
{
	u64 x;

	if (size == 8)
		return divide128(high, low, d, rest);
	x = high << (8 * size) | low;
	*rest = x % d;
	return x / d;
}

enum done op_div(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize;
	u64 d, low, high, q, r;

	if (!rm_get(v, i, size, &d))
		return mem_done(v);
	dividend(v, size, &low, &high);
	if (high >= d) /* also: d is 0 */
		return raise_vec(v, VEC_DE);
	q = divide(high, low, d, size, &r);
	pair_set(v, size, q, r);
	return DONE_NEXT;
}

/* By magnitudes; the quotient is cut towards 0, the remainder has the dividend's sign. */
enum done op_idiv(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize, bits = 8 * size;
	u64 d, low, high, q, r, max;
	unsigned __int128 x;
	bool neg_x, neg_d;

	if (!rm_get(v, i, size, &d))
		return mem_done(v);
	dividend(v, size, &low, &high);
	x = (unsigned __int128)sext(high, size) << bits;
	if (size < 8)
		x = (unsigned __int128)(__int128)(s64)(u64)x;
	x |= low;
	neg_x = (u64)(x >> 64) >> 63;
	neg_d = sext(d, size) >> 63;
	if (neg_x)
		x = 0 - x;
	d = zext(neg_d ? 0 - d : d, size);
	if ((x >> bits) >= d)
		return raise_vec(v, VEC_DE);
	q = divide((u64)(x >> bits), zext((u64)x, size), d, size, &r);
	max = (1ull << (bits - 1)) - 1 + (neg_x != neg_d);
	if (q > max)
		return raise_vec(v, VEC_DE);
	pair_set(v, size, zext(neg_x != neg_d ? 0 - q : q, size), zext(neg_x ? 0 - r : r, size));
	return DONE_NEXT;
}
