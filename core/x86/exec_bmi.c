/* BMI1, BMI2, ADX and CRC32: the general registers' later instructions.  VEX
 * forms exist in protected mode only (SDM vol. 2, 2.7). */
#include "core/x86/ops.h"

/* VEX: #UD in real and virtual-8086 mode.  The operand size there is 4 or 8. */
#define NEED_VEX(v, feature) \
	do { \
		if (!cpuid_has(v, feature) || !((v)->x86.cr0 & CR0_PE) || \
		    (v)->x86.rflags & FLAG_VM) \
			return raise_ud(v); \
	} while (0)

enum done op_andn(struct vcpu *v, const struct insn *i)
{
	u64 x;

	NEED_VEX(v, FEAT_BMI1);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	x = zext(~v->x86.r[i->vvvv] & x, i->osize);
	v->x86.r[i->reg] = x;
	cc_set(v, cc_logic(x, i->osize));
	return DONE_NEXT;
}

/* BLSR, BLSMSK, BLSI by modrm.reg */
enum done op_bls(struct vcpu *v, const struct insn *i)
{
	u64 a, x;
	bool cf;

	NEED_VEX(v, FEAT_BMI1);
	if ((i->modrm >> 3 & 7) - 1u > 2)
		return raise_ud(v);
	if (!rm_get(v, i, i->osize, &a))
		return mem_done(v);
	switch (i->modrm >> 3 & 7) {
	case 1: x = a & (a - 1); cf = !a; break;
	case 2: x = a ^ (a - 1); cf = !a; break;
	default: x = a & (0 - a); cf = a; break;
	}
	x = zext(x, i->osize);
	v->x86.r[i->vvvv] = x;
	cc_set(v, cc_with_cf_of(cc_logic(x, i->osize), cf, false));
	return DONE_NEXT;
}

enum done op_bzhi(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->x86.r[i->vvvv] & 0xff, bits = 8 * i->osize;
	u64 x;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	if (n < bits)
		x &= (1ull << n) - 1;
	v->x86.r[i->reg] = x;
	cc_set(v, cc_with_cf_of(cc_logic(x, i->osize), n >= bits, false));
	return DONE_NEXT;
}

enum done op_bextr(struct vcpu *v, const struct insn *i)
{
	unsigned start = v->x86.r[i->vvvv] & 0xff, len = v->x86.r[i->vvvv] >> 8 & 0xff;
	u64 x;

	NEED_VEX(v, FEAT_BMI1);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	x = start > 63 ? 0 : x >> start;
	if (len < 64)
		x &= (1ull << len) - 1;
	v->x86.r[i->reg] = x;
	cc_set(v, cc_logic(x, i->osize));
	return DONE_NEXT;
}

enum done op_rorx(struct vcpu *v, const struct insn *i)
{
	unsigned bits = 8 * i->osize, n = i->imm & (bits - 1);
	u64 x;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	v->x86.r[i->reg] = zext(n ? x >> n | x << (bits - n) : x, i->osize);
	return DONE_NEXT;
}

enum done op_pdep(struct vcpu *v, const struct insn *i)
{
	u64 mask, from = v->x86.r[i->vvvv], x = 0;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &mask))
		return mem_done(v);
	for (; mask; mask &= mask - 1, from >>= 1)
		if (from & 1)
			x |= mask & (0 - mask);
	v->x86.r[i->reg] = x;
	return DONE_NEXT;
}
enum done op_pext(struct vcpu *v, const struct insn *i)
{
	u64 mask, from = v->x86.r[i->vvvv], x = 0, to = 1;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &mask))
		return mem_done(v);
	for (; mask; mask &= mask - 1, to <<= 1)
		if (from & mask & (0 - mask))
			x |= to;
	v->x86.r[i->reg] = x;
	return DONE_NEXT;
}

/* The low half goes first: when both destinations are the same, the high one stays. */
enum done op_mulx(struct vcpu *v, const struct insn *i)
{
	unsigned __int128 x;
	u64 b;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &b))
		return mem_done(v);
	x = (unsigned __int128)reg_get(v, RDX, i->osize) * b;
	v->x86.r[i->vvvv] = zext((u64)x, i->osize);
	v->x86.r[i->reg] = zext((u64)(x >> (8 * i->osize)), i->osize);
	return DONE_NEXT;
}

enum done op_shlx(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->x86.r[i->vvvv] & (8 * i->osize - 1);
	u64 x;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	v->x86.r[i->reg] = zext(x << n, i->osize);
	return DONE_NEXT;
}
enum done op_shrx(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->x86.r[i->vvvv] & (8 * i->osize - 1);
	u64 x;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	v->x86.r[i->reg] = x >> n;
	return DONE_NEXT;
}
enum done op_sarx(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->x86.r[i->vvvv] & (8 * i->osize - 1);
	u64 x;

	NEED_VEX(v, FEAT_BMI2);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	v->x86.r[i->reg] = zext((u64)((s64)sext(x, i->osize) >> n), i->osize);
	return DONE_NEXT;
}

/* ---- ADCX and ADOX: an addition that touches one flag only */

static enum done add_with(struct vcpu *v, const struct insn *i, bool by_of)
{
	struct cc c = cc_get(v);
	bool in = by_of ? cc_of(c) : cc_cf(c), out;
	unsigned __int128 x;
	u64 b;

	NEED(v, FEAT_ADX);
	if (!rm_get(v, i, i->osize, &b))
		return mem_done(v);
	x = (unsigned __int128)reg_get(v, i->reg, i->osize) + b + in;
	out = (u64)(x >> (8 * i->osize)) & 1;
	reg_set(v, i->reg, i->osize, (u64)x);
	cc_set(v, by_of ? cc_with_cf_of(c, cc_cf(c), out) : cc_with_cf(c, out));
	return DONE_NEXT;
}
enum done op_adcx(struct vcpu *v, const struct insn *i) { return add_with(v, i, false); }
enum done op_adox(struct vcpu *v, const struct insn *i) { return add_with(v, i, true); }

/* ---- CRC32: polynomial 11EDC6F41H, reflected, four bits a step */

static u32 crc32c(u32 crc, u64 x, unsigned size)
{
	static const u32 step[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (unsigned k = 0; k < size; k++, x >>= 8) {
		crc ^= (u8)x;
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return crc;
}
/* The source's size is in i->osize; the destination is 32 bits, or 64 with REX.W. */
enum done op_crc32(struct vcpu *v, const struct insn *i)
{
	u64 x;

	NEED(v, FEAT_SSE42);
	if (!rm_get(v, i, i->osize, &x))
		return mem_done(v);
	v->x86.r[i->reg] = crc32c((u32)v->x86.r[i->reg], x, i->osize);
	return DONE_NEXT;
}
