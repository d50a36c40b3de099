/* The six arithmetic flags, kept as what they follow from.
 *
 * cc_res is the result, sign-extended to 64 bits.  cc_aux is what the result
 * alone does not tell:
 *   bit 63     carry out of the highest bit: CF
 *   bit 62     carry into it: OF = bit 63 ^ bit 62
 *   bit 3      AF
 *   bits 15-8  xor-ed to the result's low byte before its parity is taken
 *   bit 0      xor-ed to the result's sign
 * so that any combination of flags has a representation (cc_make). */
#ifndef CORE_X86_FLAGS_H
#define CORE_X86_FLAGS_H

#include "core/vm.h"

struct cc {
	u64 res, aux;
};
#define CC_CARRY (1ull << 63)
#define CC_INTO (1ull << 62)
enum { CC_AF = 8, CC_SIGN = 1, CC_PARITY_SHIFT = 8 };

static inline u64 sext(u64 x, unsigned size)
{
	return size == 1 ? (u64)(s8)x : size == 2 ? (u64)(s16)x : size == 4 ? (u64)(s32)x : x;
}
static inline u64 zext(u64 x, unsigned size)
{
	return size == 1 ? (u8)x : size == 2 ? (u16)x : size == 4 ? (u32)x : x;
}

/* From the vector of carries out of each bit. */
static inline u64 cc_carries(u64 out, unsigned size)
{
	return (out << (64 - 8 * size) & (CC_CARRY | CC_INTO)) | (out & CC_AF);
}
static inline struct cc cc_add(u64 a, u64 b, u64 res, unsigned size)
{
	return (struct cc){sext(res, size), cc_carries((a & b) | ((a | b) & ~res), size)};
}
static inline struct cc cc_sub(u64 a, u64 b, u64 res, unsigned size)
{
	return (struct cc){sext(res, size), cc_carries((~a & b) | ((~a | b) & res), size)};
}
static inline struct cc cc_logic(u64 res, unsigned size)
{
	return (struct cc){sext(res, size), 0};
}

static inline bool cc_cf(struct cc c) { return c.aux >> 63; }
static inline bool cc_of(struct cc c) { return (c.aux ^ c.aux << 1) >> 63; }
static inline bool cc_zf(struct cc c) { return c.res == 0; }
static inline bool cc_sf(struct cc c) { return c.res >> 63 ^ (c.aux & CC_SIGN); }
static inline bool cc_pf(struct cc c)
{
	unsigned x = (c.res ^ c.aux >> CC_PARITY_SHIFT) & 0xff;

	x ^= x >> 4;
	return 0x9669 >> (x & 15) & 1;
}

/* CF and OF anew, the rest as it is. */
static inline struct cc cc_with_cf_of(struct cc c, bool cf, bool of)
{
	c.aux = (c.aux & ~(CC_CARRY | CC_INTO)) | (u64)cf << 63 | (u64)(cf ^ of) << 62;
	return c;
}
static inline struct cc cc_with_cf(struct cc c, bool cf)
{
	return cc_with_cf_of(c, cf, cc_of(c));
}

static inline unsigned cc_flags(struct cc c)
{
	return (cc_cf(c) ? FLAG_CF : 0) | (cc_pf(c) ? FLAG_PF : 0) |
	       ((c.aux & CC_AF) ? FLAG_AF : 0) | (cc_zf(c) ? FLAG_ZF : 0) |
	       (cc_sf(c) ? FLAG_SF : 0) | (cc_of(c) ? FLAG_OF : 0);
}
static inline struct cc cc_make(u64 flags)
{
	bool cf = flags & FLAG_CF, of = flags & FLAG_OF, zf = flags & FLAG_ZF;
	struct cc c = {.res = zf ? 0 : 1};

	/* 0 has even parity, 1 odd: a difference in one bit turns it */
	c.aux = (u64)cf << 63 | (u64)(cf ^ of) << 62 | ((flags & FLAG_AF) ? CC_AF : 0) |
		((flags & FLAG_SF) ? CC_SIGN : 0) |
		(u64)(zf != !!(flags & FLAG_PF)) << CC_PARITY_SHIFT;
	return c;
}

/* ---- of a vCPU */

static inline struct cc cc_get(const struct vcpu *v)
{
	return (struct cc){v->emul.cc_res, v->emul.cc_aux};
}
static inline void cc_set(struct vcpu *v, struct cc c)
{
	v->emul.cc_res = c.res;
	v->emul.cc_aux = c.aux;
}
static inline u64 rflags_get(const struct vcpu *v)
{
	return (v->x86.rflags & ~(u64)FLAGS_ARITH) | cc_flags(cc_get(v));
}
/* As it is; which bits may change is the caller's affair. */
static inline void rflags_set(struct vcpu *v, u64 flags)
{
	v->x86.rflags = (flags & ~(u64)FLAGS_ARITH) | FLAG_1;
	cc_set(v, cc_make(flags));
}

/* The condition of Jcc, SETcc, CMOVcc: the opcode's low four bits. */
static inline bool cc_test(struct cc c, unsigned cond)
{
	bool x;

	switch (cond >> 1 & 7) {
	case 0: x = cc_of(c); break;
	case 1: x = cc_cf(c); break;
	case 2: x = cc_zf(c); break;
	case 3: x = (int)cc_cf(c) | (int)cc_zf(c); break;
	case 4: x = cc_sf(c); break;
	case 5: x = cc_pf(c); break;
	case 6: x = cc_sf(c) ^ cc_of(c); break;
	default: x = (int)cc_zf(c) | (int)(cc_sf(c) ^ cc_of(c)); break;
	}
	return x ^ (cond & 1);
}

#endif
