/* BT BTS BTR BTC, BSF BSR TZCNT LZCNT POPCNT. */
#include "core/x86/ops.h"

/* b is the bit's mask; of the flags only CF changes. */
INLINE u64 f_bt(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_with_cf(*c, a & b);
	return a;
}
INLINE u64 f_bts(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_with_cf(*c, a & b);
	return a | b;
}
INLINE u64 f_btr(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_with_cf(*c, a & b);
	return a & ~b;
}
INLINE u64 f_btc(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_with_cf(*c, a & b);
	return a ^ b;
}

#define BIT_IMM(N) (1ull << (i->imm & (8 * N - 1)))
#define BIT_REG(N) (1ull << (v->x86.r[i->reg] & (8 * N - 1)))

/* A register's bit offset is signed and reaches beyond the operand: the operand is
 * the one of its size, counted from the address, that holds the bit. */
static bool string_linear(struct vcpu *v, const struct insn *i, unsigned size, unsigned access, u64 *a)
{
	s64 bit = (s64)sext(v->x86.r[i->reg], size);
	u64 off = ea(v, i) + (u64)(bit >> 3 & -(s64)size);

	return seg_linear(v, i->seg, off & ea_mask(i->asize), size, access, a);
}
INLINE enum done string_rmw(struct vcpu *v, const struct insn *i, unsigned size, u64 b, modify_fn f,
			    bool locked)
{
	const struct cc before = cc_get(v);
	struct cc c = before;
	bool slow = false;
	u64 a, old, new;
	void *p;

	if (!string_linear(v, i, size, ACC_READ | ACC_WRITE, &a))
		return DONE_FAULT;
	p = mem_rmw(v, a, size, &slow);
	if (!p)
		return slow ? rmw_device(v, a, size, b, f, locked, &old) : mem_done(v);
	old = mem_load(p, size);
	new = f(&c, old, b, size);
	if (!locked)
		mem_store(p, size, new);
	else
		while (!host_cas(p, size, &old, new)) {
			c = before;
			new = f(&c, old, b, size);
		}
	mem_rmw_end(v, a, p, size);
	cc_set(v, c);
	return DONE_NEXT;
}

#define BIT(op, N) \
	static enum done op##_imm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_reg(v, i, N, BIT_IMM(N), f_##op); \
	} \
	static enum done op##_imm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_mem(v, i, N, BIT_IMM(N), f_##op); \
	} \
	static enum done op##_imm_lock##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_lock(v, i, N, BIT_IMM(N), f_##op); \
	} \
	static enum done op##_reg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_reg(v, i, N, BIT_REG(N), f_##op); \
	} \
	static enum done op##_reg_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return string_rmw(v, i, N, BIT_REG(N), f_##op, false); \
	} \
	static enum done op##_reg_lock##N(struct vcpu *v, const struct insn *i) \
	{ \
		return string_rmw(v, i, N, BIT_REG(N), f_##op, true); \
	}
#define BITS(op) BIT(op, 2) BIT(op, 4) BIT(op, 8)
BITS(bts) BITS(btr) BITS(btc)

/* BT only reads; the register form must not clear an upper half. */
#define BT(N) \
	static enum done bt_any##N(struct vcpu *v, u64 a, u64 b) \
	{ \
		struct cc c = cc_get(v); \
\
		f_bt(&c, a, b, N); \
		cc_set(v, c); \
		return DONE_NEXT; \
	} \
	static enum done bt_imm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return bt_any##N(v, v->x86.r[i->rm], BIT_IMM(N)); \
	} \
	static enum done bt_reg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return bt_any##N(v, v->x86.r[i->rm], BIT_REG(N)); \
	} \
	static enum done bt_imm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x; \
\
		return load(v, i, N, &x) ? bt_any##N(v, x, BIT_IMM(N)) : mem_done(v); \
	} \
	static enum done bt_reg_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 a, x; \
\
		if (!string_linear(v, i, N, ACC_READ, &a)) \
			return DONE_FAULT; \
		return mem_read(v, a, N, &x) ? bt_any##N(v, x, BIT_REG(N)) : mem_done(v); \
	}
BT(2) BT(4) BT(8)

#define THREE(f) {NULL, f##2, f##4, f##8}
#define BIT_ROW(f) {.reg = THREE(f##_reg), .mem = THREE(f##_mem), .lock = THREE(f##_lock)}
#define BT_ROW(f) {.reg = THREE(f##_reg), .mem = THREE(f##_mem)}
const struct forms ops_bit_reg[4] = {
	BT_ROW(bt_reg), BIT_ROW(bts_reg), BIT_ROW(btr_reg), BIT_ROW(btc_reg),
};
const struct forms ops_bit_imm[4] = {
	BT_ROW(bt_imm), BIT_ROW(bts_imm), BIT_ROW(btr_imm), BIT_ROW(btc_imm),
};

/* ---- counting.  Undefined flags follow the source or the result. */

/* A source of 0 leaves the destination as it is, whole. */
static enum done scan(struct vcpu *v, const struct insn *i, bool reverse)
{
	u64 x;

	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	cc_set(v, cc_logic(x, i->osize));
	if (x)
		reg_set(v, i->reg, i->osize,
			(u64)(reverse ? 63 - __builtin_clzll(x) : __builtin_ctzll(x)));
	return DONE_NEXT;
}
enum done op_bsf(struct vcpu *v, const struct insn *i) { return scan(v, i, false); }
enum done op_bsr(struct vcpu *v, const struct insn *i) { return scan(v, i, true); }

static enum done count(struct vcpu *v, const struct insn *i, bool leading)
{
	unsigned bits = 8 * i->osize;
	u64 x, n;

	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	if (!x)
		n = bits;
	else if (leading)
		n = (u64)__builtin_clzll(x) - (64 - bits);
	else
		n = (u64)__builtin_ctzll(x);
	reg_set(v, i->reg, i->osize, n);
	cc_set(v, cc_with_cf(cc_logic(n, i->osize), !x));
	return DONE_NEXT;
}
/* Processors without them ignore the prefix. */
enum done op_tzcnt(struct vcpu *v, const struct insn *i)
{
	return cpuid_has(v, FEAT_BMI1) ? count(v, i, false) : scan(v, i, false);
}
enum done op_lzcnt(struct vcpu *v, const struct insn *i)
{
	return cpuid_has(v, FEAT_ABM) ? count(v, i, true) : scan(v, i, true);
}

enum done op_popcnt(struct vcpu *v, const struct insn *i)
{
	u64 x, n = 0;

	NEED(v, FEAT_POPCNT);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	for (u64 rest = x; rest; rest &= rest - 1)
		n++;
	reg_set(v, i->reg, i->osize, n);
	cc_set(v, cc_make(x ? 0 : FLAG_ZF));
	return DONE_NEXT;
}
