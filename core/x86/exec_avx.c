/* AVX and AVX2 that is done in C: moves and logic of both lengths, lanes, masked
 * moves and gathers, whose memory elements fault one by one. */
#include "core/x86/exec_vec.h"

static unsigned length(const struct insn *i) { return i->vl ? 32 : 16; }

/* Byte n of a register or vec_buf, whose halves lie apart. */
static u8 *at(u8 *reg, unsigned n) { return n < 16 ? reg + n : reg + VEC_HIGH + n - 16; }

static enum done load_rm(struct vcpu *v, const struct insn *i, const u8 **p)
{
	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!avx_enabled(v))
		return vec_denied(v, i);
	return vec_rm(v, i, p);
}

static void move(u8 *d, const u8 *s, bool wide)
{
	copy16(d, s);
	if (wide)
		copy16(d + VEC_HIGH, s + VEC_HIGH);
	else
		zero_high(d);
}

enum done exec_vload(struct vcpu *v, const struct insn *i)
{
	const u8 *s;
	enum done done = load_rm(v, i, &s);

	if (done == DONE_NEXT)
		move(xmm(v, i->reg), s, i->vl);
	return done;
}

enum done exec_vstore(struct vcpu *v, const struct insn *i)
{
	if (!avx_enabled(v))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, xmm(v, i->reg), length(i));
	move(xmm(v, i->rm), xmm(v, i->reg), i->vl);
	return DONE_NEXT;
}

#define LOGIC(name, expr) \
	enum done exec_##name(struct vcpu *v, const struct insn *i) \
	{ \
		u8 *d = xmm(v, i->reg), *s1 = xmm(v, i->vvvv); \
		const u8 *s; \
		enum done done = load_rm(v, i, &s); \
\
		if (done != DONE_NEXT) \
			return done; \
		for (unsigned n = 0; n < 16; n += 8) { \
			u64 a = ld64(s1 + n), b = ld64(s + n); \
\
			st64(d + n, expr); \
		} \
		if (!i->vl) { \
			zero_high(d); \
			return DONE_NEXT; \
		} \
		for (unsigned n = VEC_HIGH; n < VEC_HIGH + 16; n += 8) { \
			u64 a = ld64(s1 + n), b = ld64(s + n); \
\
			st64(d + n, expr); \
		} \
		return DONE_NEXT; \
	}
LOGIC(vpand, a & b)
LOGIC(vpandn, ~a & b)
LOGIC(vpor, a | b)
LOGIC(vpxor, a ^ b)

/* VZEROUPPER, VZEROALL; outside 64-bit mode eight registers are all there are. */
enum done exec_vzero(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->emul.mode == MODE_64 ? 16 : 8;

	if (!avx_enabled(v))
		return vec_denied(v, i);
	memset(v->x86.xsave + XSAVE_YMM, 0, 16 * n);
	if (i->vl)
		memset(v->x86.xsave + XSAVE_XMM, 0, 16 * n);
	return DONE_NEXT;
}

/* VBROADCASTF128, VBROADCASTI128 */
enum done exec_bcast128(struct vcpu *v, const struct insn *i)
{
	u8 *d = xmm(v, i->reg);
	const u8 *s;
	enum done done = load_rm(v, i, &s);

	if (done != DONE_NEXT)
		return done;
	copy16(d, s);
	copy16(d + VEC_HIGH, s);
	return DONE_NEXT;
}

/* VEXTRACTF128, VEXTRACTI128 */
enum done exec_extract128(struct vcpu *v, const struct insn *i)
{
	u8 *s = xmm(v, i->reg) + (i->imm & 1 ? VEC_HIGH : 0), *d = xmm(v, i->rm & 15);

	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!avx_enabled(v))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, s, 16);
	copy16(d, s);
	zero_high(d);
	return DONE_NEXT;
}

/* ---- VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ */

static u64 truncate(const struct insn *i, u64 off)
{
	return i->asize == 8 ? off : i->asize == 4 ? (u32)off : (u16)off;
}

static unsigned element_size(const struct insn *i)
{
	const struct vec_op *o = vec_row(i);

	return (o->flags & V_W) && i->vw ? 8 : o->msize;
}

static bool selected(u8 *mask, unsigned byte, unsigned size)
{
	return *at(mask, byte + size - 1) & 0x80;
}

static enum done load_element(struct vcpu *v, const struct insn *i, u64 off, unsigned size, u64 *x)
{
	u64 lin;

	if (!seg_linear(v, i->seg, truncate(i, off), size, ACC_READ, &lin))
		return DONE_FAULT;
	return mem_read(v, lin, size, x) ? DONE_NEXT : mem_done(v);
}

static enum done vmaskmov(struct vcpu *v, const struct insn *i)
{
	struct vec_buf *b = &v->emul.native->src;
	unsigned size = element_size(i);
	u64 off = ea(v, i), x;
	enum done done;

	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!avx_enabled(v))
		return vec_denied(v, i);
	for (unsigned n = 0; n < length(i); n += size) {
		x = 0;
		if (selected(xmm(v, i->vvvv), n, size) &&
		    (done = load_element(v, i, off + n, size, &x)) != DONE_NEXT)
			return done;
		memcpy(at(b->low, n), &x, size);
	}
	move(xmm(v, i->reg), b->low, i->vl);
	return DONE_NEXT;
}

static enum done vmaskmov_store(struct vcpu *v, const struct insn *i)
{
	u8 from[32], mask[32], *s = xmm(v, i->reg);
	unsigned size = element_size(i);

	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!avx_enabled(v))
		return vec_denied(v, i);
	for (unsigned n = 0; n < length(i); n += size) {
		memcpy(from + n, at(s, n), size);
		memset(mask + n, selected(xmm(v, i->vvvv), n, size) ? 0x80 : 0, size);
	}
	return mask_store(v, i, from, mask, length(i));
}

enum done exec_vmaskmov(struct vcpu *v, const struct insn *i)
{
	return vec_unchecked(v, i, vmaskmov);
}
enum done exec_vmaskmov_store(struct vcpu *v, const struct insn *i)
{
	return vec_unchecked(v, i, vmaskmov_store);
}

/* ---- gathers (SDM vol. 2, VPGATHERDD and following)
 *
 * An element that was loaded has its mask cleared at once, so that a fault leaves
 * a state from which the instruction goes on. */

static u64 index_value(u8 *reg, unsigned n, unsigned size)
{
	if (size == 8)
		return ld64(at(reg, n * 8));
	return (u64)(s64)(s32)ld32(at(reg, n * 4));
}

static u64 gather_base(const struct vcpu *v, const struct insn *i)
{
	struct insn no_index = *i;

	no_index.index = REG_NONE;
	return ea_sum(v, &no_index);
}

/* Every mask element within the length to all ones or zero, zero beyond. */
static void widen_mask(u8 *mask, unsigned len, unsigned size)
{
	for (unsigned n = 0; n < 32; n += size)
		memset(at(mask, n), n < len && selected(mask, n, size) ? 0xff : 0, size);
}

static enum done gather(struct vcpu *v, const struct insn *i, u8 *d, u8 *index, u8 *mask)
{
	unsigned size = i->vw ? 8 : 4, isize = i->op & 1 ? 8 : 4;
	unsigned count = length(i) / (size > isize ? size : isize);
	u64 base = gather_base(v, i), x;
	enum done done;

	widen_mask(mask, length(i), size);
	for (unsigned n = 0; n < count; n++) {
		if (!selected(mask, n * size, size))
			continue;
		x = base + (index_value(index, n, isize) << i->scale);
		if ((done = load_element(v, i, x, size, &x)) != DONE_NEXT)
			return done;
		memcpy(at(d, n * size), &x, size);
		memset(at(mask, n * size), 0, size);
		if (!i->vl)
			zero_high(d);
	}
	for (unsigned n = count * size; n < 32; n += size) {
		memset(at(d, n), 0, size);
		memset(at(mask, n), 0, size);
	}
	return DONE_NEXT;
}

static enum done gather_insn(struct vcpu *v, const struct insn *i)
{
	unsigned index = i->index < 16 ? i->index : 4; /* 100b names a register here */

	if (!vec_offered(v, i->vec) || i->reg == index || i->reg == i->vvvv || index == i->vvvv ||
	    (i->modrm & 7) != 4 || i->asize == 2)
		return raise_ud(v);
	if (!avx_enabled(v))
		return vec_denied(v, i);
	return gather(v, i, xmm(v, i->reg), xmm(v, index), xmm(v, i->vvvv));
}

enum done exec_gather(struct vcpu *v, const struct insn *i)
{
	return vec_unchecked(v, i, gather_insn);
}
