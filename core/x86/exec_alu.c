/* ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT: one function per operation
 * that computes value and flags, and one handler per operand form and size
 * made from it (SDM vol. 2). */
#include "core/x86/ops.h"

INLINE u64 f_add(struct cc *c, u64 a, u64 b, unsigned size)
{
	u64 x = a + b;

	*c = cc_add(a, b, x, size);
	return x;
}
INLINE u64 f_or(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_logic(a | b, size);
	return a | b;
}
INLINE u64 f_adc(struct cc *c, u64 a, u64 b, unsigned size)
{
	u64 x = a + b + cc_cf(*c);

	*c = cc_add(a, b, x, size);
	return x;
}
INLINE u64 f_sbb(struct cc *c, u64 a, u64 b, unsigned size)
{
	u64 x = a - b - cc_cf(*c);

	*c = cc_sub(a, b, x, size);
	return x;
}
INLINE u64 f_and(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_logic(a & b, size);
	return a & b;
}
INLINE u64 f_sub(struct cc *c, u64 a, u64 b, unsigned size)
{
	u64 x = a - b;

	*c = cc_sub(a, b, x, size);
	return x;
}
INLINE u64 f_xor(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_logic(a ^ b, size);
	return a ^ b;
}
/* INC and DEC leave CF. */
INLINE u64 f_inc(struct cc *c, u64 a, u64 b, unsigned size)
{
	bool cf = cc_cf(*c);

	*c = cc_add(a, 1, a + 1, size);
	*c = cc_with_cf(*c, cf);
	return a + 1;
}
INLINE u64 f_dec(struct cc *c, u64 a, u64 b, unsigned size)
{
	bool cf = cc_cf(*c);

	*c = cc_sub(a, 1, a - 1, size);
	*c = cc_with_cf(*c, cf);
	return a - 1;
}
INLINE u64 f_neg(struct cc *c, u64 a, u64 b, unsigned size)
{
	*c = cc_sub(0, a, 0 - a, size);
	return 0 - a;
}
INLINE u64 f_not(struct cc *c, u64 a, u64 b, unsigned size) { return ~a; }

/* ---- forms: rm,reg (mr); rm,imm (mi); reg,rm (rm) */

#define DEST_REG(op, N) \
	static enum done op##_rm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		struct cc c = cc_get(v); \
		u64 b = reg_get(v, i->rm, N); \
\
		reg_set(v, i->reg, N, f_##op(&c, reg_get(v, i->reg, N), b, N)); \
		cc_set(v, c); \
		return DONE_NEXT; \
	} \
	static enum done op##_rm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		struct cc c = cc_get(v); \
		u64 b; \
\
		if (!load(v, i, N, &b)) \
			return mem_done(v); \
		reg_set(v, i->reg, N, f_##op(&c, reg_get(v, i->reg, N), b, N)); \
		cc_set(v, c); \
		return DONE_NEXT; \
	}
#define DEST_RM(op, form, B, N) \
	static enum done op##_##form##_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_reg(v, i, N, B(N), f_##op); \
	} \
	static enum done op##_##form##_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_mem(v, i, N, B(N), f_##op); \
	} \
	static enum done op##_##form##_lock##N(struct vcpu *v, const struct insn *i) \
	{ \
		return rmw_lock(v, i, N, B(N), f_##op); \
	}
#define FROM_REG(N) reg_get(v, i->reg, N)
#define FROM_IMM(N) i->imm
#define NOTHING(N) 0
#define ALU(op) \
	SIZES(DEST_RM, op, mr, FROM_REG) \
	SIZES(DEST_RM, op, mi, FROM_IMM) \
	SIZES(DEST_REG, op)

ALU(add) ALU(or) ALU(adc) ALU(sbb) ALU(and) ALU(sub) ALU(xor)
SIZES(DEST_RM, inc, m, NOTHING)
SIZES(DEST_RM, dec, m, NOTHING)
SIZES(DEST_RM, neg, m, NOTHING)
SIZES(DEST_RM, not, m, NOTHING)

/* ---- CMP and TEST write nothing but flags */

#define COMPARE(op, form, A, B, N) \
	static enum done op##_##form##_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 rm = reg_get(v, i->rm, N); \
		struct cc c; \
\
		f_##op(&c, A(N), B(N), N); \
		cc_set(v, c); \
		return DONE_NEXT; \
	} \
	static enum done op##_##form##_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		struct cc c; \
		u64 rm; \
\
		if (!load(v, i, N, &rm)) \
			return mem_done(v); \
		f_##op(&c, A(N), B(N), N); \
		cc_set(v, c); \
		return DONE_NEXT; \
	}
#define THE_RM(N) rm
SIZES(COMPARE, sub, cmp_mr, THE_RM, FROM_REG)
SIZES(COMPARE, sub, cmp_mi, THE_RM, FROM_IMM)
SIZES(COMPARE, sub, cmp_rm, FROM_REG, THE_RM)
SIZES(COMPARE, and, test_mr, THE_RM, FROM_REG)
SIZES(COMPARE, and, test_mi, THE_RM, FROM_IMM)

const struct forms ops_alu_mr[8] = {
	FORMS(add_mr), FORMS(or_mr),  FORMS(adc_mr), FORMS(sbb_mr),
	FORMS(and_mr), FORMS(sub_mr), FORMS(xor_mr), UNLOCKED(sub_cmp_mr),
};
const struct forms ops_alu_mi[8] = {
	FORMS(add_mi), FORMS(or_mi),  FORMS(adc_mi), FORMS(sbb_mi),
	FORMS(and_mi), FORMS(sub_mi), FORMS(xor_mi), UNLOCKED(sub_cmp_mi),
};
const struct forms ops_alu_rm[8] = {
	UNLOCKED(add_rm), UNLOCKED(or_rm),  UNLOCKED(adc_rm), UNLOCKED(sbb_rm),
	UNLOCKED(and_rm), UNLOCKED(sub_rm), UNLOCKED(xor_rm), UNLOCKED(sub_cmp_rm),
};
const struct forms ops_test_mr = UNLOCKED(and_test_mr), ops_test_mi = UNLOCKED(and_test_mi);
const struct forms ops_inc = FORMS(inc_m), ops_dec = FORMS(dec_m);
const struct forms ops_neg = FORMS(neg_m), ops_not = FORMS(not_m);
