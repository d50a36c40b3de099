/* Decimal arithmetic, BOUND, RDRAND, flag bits, NOP, and what is no instruction. */
#include "core/x86/ops.h"

#include "core/host.h"

/* ---- BCD: as the SDM's pseudo-code */

static enum done daa_das(struct vcpu *v, bool add)
{
	struct cc c = cc_get(v);
	u8 old = (u8)v->x86.r[RAX], al = old;
	bool old_cf = cc_cf(c), af = c.aux & CC_AF, cf = false;

	if ((old & 15) > 9 || af) {
		cf = old_cf || (add ? old > 0xf9 : old < 6);
		al = (u8)(add ? al + 6 : al - 6);
		af = true;
	}
	if (old > 0x99 || old_cf) {
		al = (u8)(add ? al + 0x60 : al - 0x60);
		cf = true;
	} else if (add) {
		cf = false;
	}
	reg_set(v, RAX, 1, al);
	c = cc_with_cf_of(cc_logic(al, 1), cf, false);
	c.aux |= af ? CC_AF : 0;
	cc_set(v, c);
	return DONE_NEXT;
}
enum done op_daa(struct vcpu *v, const struct insn *i) { return daa_das(v, true); }
enum done op_das(struct vcpu *v, const struct insn *i) { return daa_das(v, false); }

static enum done aaa_aas(struct vcpu *v, bool add)
{
	u16 ax = (u16)v->x86.r[RAX];
	bool adjust = (ax & 15) > 9 || cc_get(v).aux & CC_AF;
	struct cc c;

	if (adjust)
		ax = (u16)(add ? ax + 0x106 : ax - 0x106);
	ax &= 0xff0f;
	st16(&v->x86.r[RAX], ax);
	c = cc_with_cf_of(cc_logic(ax & 0xff, 1), adjust, false);
	c.aux |= adjust ? CC_AF : 0;
	cc_set(v, c);
	return DONE_NEXT;
}
enum done op_aaa(struct vcpu *v, const struct insn *i) { return aaa_aas(v, true); }
enum done op_aas(struct vcpu *v, const struct insn *i) { return aaa_aas(v, false); }

enum done op_aam(struct vcpu *v, const struct insn *i)
{
	u8 al = (u8)v->x86.r[RAX], base = (u8)i->imm;

	if (!base)
		return raise_vec(v, VEC_DE);
	st16(&v->x86.r[RAX], (u16)(al / base << 8 | al % base));
	cc_set(v, cc_logic(al % base, 1));
	return DONE_NEXT;
}
enum done op_aad(struct vcpu *v, const struct insn *i)
{
	u16 ax = (u16)v->x86.r[RAX];
	u8 al = (u8)(ax + (ax >> 8) * (u8)i->imm);

	st16(&v->x86.r[RAX], al);
	cc_set(v, cc_logic(al, 1));
	return DONE_NEXT;
}
enum done op_salc(struct vcpu *v, const struct insn *i)
{
	reg_set(v, RAX, 1, cc_cf(cc_get(v)) ? 0xff : 0);
	return DONE_NEXT;
}

/* ---- */

enum done op_bound(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize;
	s64 x = (s64)sext(v->x86.r[i->reg], size);
	u64 a, low, high;

	if (!seg_linear(v, i->seg, ea(v, i), size, ACC_READ, &a) || !mem_read(v, a, size, &low))
		return mem_done(v);
	if (x < (s64)sext(low, size)) /* the other bound is not looked at */
		return raise_vec(v, VEC_BR);
	if (!seg_linear(v, i->seg, (ea(v, i) + size) & ea_mask(i->asize), size, ACC_READ, &a) ||
	    !mem_read(v, a, size, &high))
		return mem_done(v);
	return x > (s64)sext(high, size) ? raise_vec(v, VEC_BR) : DONE_NEXT;
}

/* Always succeeds: CF set, the other flags clear. */
static enum done random(struct vcpu *v, const struct insn *i)
{
	u64 x;

	host_random(&x, sizeof(x));
	reg_set(v, i->rm, i->osize, x);
	cc_set(v, cc_make(FLAG_CF));
	return DONE_NEXT;
}
enum done op_rdrand(struct vcpu *v, const struct insn *i)
{
	NEED(v, FEAT_RDRAND);
	return random(v, i);
}
enum done op_rdseed(struct vcpu *v, const struct insn *i)
{
	NEED(v, FEAT_RDSEED);
	return random(v, i);
}

/* Also PAUSE, ENDBR and the reserved NOPs of 0F 18 to 0F 1F. */
enum done op_nop(struct vcpu *v, const struct insn *i) { return DONE_NEXT; }

static enum done carry(struct vcpu *v, bool cf)
{
	cc_set(v, cc_with_cf(cc_get(v), cf));
	return DONE_NEXT;
}
enum done op_cmc(struct vcpu *v, const struct insn *i) { return carry(v, !cc_cf(cc_get(v))); }
enum done op_clc(struct vcpu *v, const struct insn *i) { return carry(v, false); }
enum done op_stc(struct vcpu *v, const struct insn *i) { return carry(v, true); }
enum done op_cld(struct vcpu *v, const struct insn *i)
{
	v->x86.rflags &= ~(u64)FLAG_DF;
	return DONE_NEXT;
}
enum done op_std(struct vcpu *v, const struct insn *i)
{
	v->x86.rflags |= FLAG_DF;
	return DONE_NEXT;
}

enum done op_ud(struct vcpu *v, const struct insn *i) { return raise_ud(v); }
/* More than 15 bytes. */
enum done op_too_long(struct vcpu *v, const struct insn *i) { return raise_gp(v); }
