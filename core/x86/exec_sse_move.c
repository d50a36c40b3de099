/* Vector moves, logic and element transfers, in C on the register image; legacy
 * and 128-bit VEX forms together where they differ in little. */
#include "core/x86/exec_vec.h"

static enum done load_rm(struct vcpu *v, const struct insn *i, const u8 **p)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	return vec_rm(v, i, p);
}

/* A 128-bit VEX result clears what is above it. */
static void finish(const struct insn *i, u8 *d)
{
	if (is_vex(i))
		zero_high(d);
}

static void set(const struct insn *i, u8 *d, u64 low, u64 high)
{
	st64(d, low);
	st64(d + 8, high);
	finish(i, d);
}

enum done exec_load(struct vcpu *v, const struct insn *i)
{
	const u8 *s;
	enum done done = load_rm(v, i, &s);

	if (done == DONE_NEXT)
		copy16(xmm(v, i->reg), s);
	return done;
}

enum done exec_store(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, xmm(v, i->reg), 16);
	copy16(xmm(v, i->rm), xmm(v, i->reg));
	return DONE_NEXT;
}

/* MOVLPS, MOVLPD; between registers MOVHLPS.  The first source is the destination
 * or VEX.vvvv. */
enum done exec_load_low(struct vcpu *v, const struct insn *i)
{
	const u8 *s, *first = xmm(v, is_vex(i) ? i->vvvv : i->reg);
	enum done done = load_rm(v, i, &s);

	if (done == DONE_NEXT)
		set(i, xmm(v, i->reg), ld64(is_mem(i) ? s : s + 8), ld64(first + 8));
	return done;
}

enum done exec_load_high(struct vcpu *v, const struct insn *i)
{
	const u8 *s, *first = xmm(v, is_vex(i) ? i->vvvv : i->reg);
	enum done done = load_rm(v, i, &s);

	if (done == DONE_NEXT)
		set(i, xmm(v, i->reg), ld64(first), ld64(s));
	return done;
}

enum done exec_store_low(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	return vec_put(v, i, xmm(v, i->reg), 8);
}

enum done exec_store_high(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	return vec_put(v, i, xmm(v, i->reg) + 8, 8);
}

/* MOVSS, MOVSD: d = first with its lowest element from s. */
static void merge_scalar(const struct insn *i, u8 *d, const u8 *first, const u8 *s)
{
	u64 low = ld64(first), high = ld64(first + 8), x = ld64(s);

	if (vec_row(i)->msize == 4)
		x = (low & ~0xffffffffull) | (u32)x;
	set(i, d, x, high);
}

enum done exec_movss(struct vcpu *v, const struct insn *i)
{
	u8 *d = xmm(v, i->reg);
	const u8 *s;
	enum done done = load_rm(v, i, &s);

	if (done != DONE_NEXT)
		return done;
	if (is_mem(i))
		set(i, d, ld64(s), 0);
	else
		merge_scalar(i, d, is_vex(i) ? xmm(v, i->vvvv) : d, s);
	return DONE_NEXT;
}

enum done exec_movss_store(struct vcpu *v, const struct insn *i)
{
	u8 *s = xmm(v, i->reg);

	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, s, vec_row(i)->msize);
	merge_scalar(i, xmm(v, i->rm), xmm(v, is_vex(i) ? i->vvvv : i->rm), s);
	return DONE_NEXT;
}

/* MOVD, MOVQ from and to general registers */
enum done exec_movd(struct vcpu *v, const struct insn *i)
{
	bool wide = wide_gpr(v, i);
	enum done done;
	u64 x;

	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i)) {
		if ((done = vec_fetch(v, i, wide ? 8 : 4)) != DONE_NEXT)
			return done;
		x = ld64(v->emul.native->src.low);
	} else {
		x = v->x86.r[i->rm];
	}
	set(i, xmm(v, i->reg), wide ? x : (u32)x, 0);
	return DONE_NEXT;
}

enum done exec_movd_store(struct vcpu *v, const struct insn *i)
{
	bool wide = wide_gpr(v, i);
	u64 x = ld64(xmm(v, i->reg));

	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, xmm(v, i->reg), wide ? 8 : 4);
	v->x86.r[i->rm] = wide ? x : (u32)x;
	return DONE_NEXT;
}

enum done exec_movq(struct vcpu *v, const struct insn *i)
{
	const u8 *s;
	enum done done = load_rm(v, i, &s);

	if (done == DONE_NEXT)
		set(i, xmm(v, i->reg), ld64(s), 0);
	return done;
}

enum done exec_movq_store(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i))
		return vec_put(v, i, xmm(v, i->reg), 8);
	set(i, xmm(v, i->rm), ld64(xmm(v, i->reg)), 0);
	return DONE_NEXT;
}

enum done exec_movnti(struct vcpu *v, const struct insn *i)
{
	bool wide = wide_gpr(v, i);
	u8 x[8];

	st64(x, v->x86.r[i->reg]);
	return vec_put(v, i, x, wide ? 8 : 4);
}

enum done exec_prefetch(struct vcpu *v, const struct insn *i)
{
	return DONE_NEXT;
}

/* ---- logic */

#define LOGIC(name, expr) \
	enum done exec_##name(struct vcpu *v, const struct insn *i) \
	{ \
		u8 *d = xmm(v, i->reg); \
		const u8 *s; \
		enum done done = load_rm(v, i, &s); \
\
		if (done != DONE_NEXT) \
			return done; \
		for (unsigned n = 0; n < 16; n += 8) { \
			u64 a = ld64(d + n), b = ld64(s + n); \
\
			st64(d + n, expr); \
		} \
		return DONE_NEXT; \
	}
LOGIC(pand, a & b)
LOGIC(pandn, ~a & b)
LOGIC(por, a | b)
LOGIC(pxor, a ^ b)

/* ---- elements */

static unsigned element_size(const struct vcpu *v, const struct insn *i)
{
	const struct vec_op *o = vec_row(i);

	return (o->flags & V_W) && wide_gpr(v, i) ? 8 : o->msize;
}

static u64 element(const u8 *reg, u64 index, unsigned size)
{
	const u8 *p = reg + (index * size & 15);

	return size == 1 ? *p : size == 2 ? ld16(p) : size == 4 ? ld32(p) : ld64(p);
}

/* PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS */
enum done exec_pextr(struct vcpu *v, const struct insn *i)
{
	unsigned size = element_size(v, i);
	u8 x[8];

	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	st64(x, element(xmm(v, i->reg), i->imm, size));
	if (is_mem(i))
		return vec_put(v, i, x, size);
	v->x86.r[i->rm] = ld64(x);
	return DONE_NEXT;
}

enum done exec_pextrw_reg(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	v->x86.r[i->reg] = element(xmm(v, i->rm), i->imm, 2);
	return DONE_NEXT;
}

/* PINSRB, PINSRW, PINSRD, PINSRQ */
enum done exec_pinsr(struct vcpu *v, const struct insn *i)
{
	unsigned size = element_size(v, i), at = (unsigned)(i->imm * size) & 15;
	u8 *d = xmm(v, i->reg), x[8];
	enum done done;

	if (!vec_offered(v, i->vec))
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i)) {
		if ((done = vec_fetch(v, i, size)) != DONE_NEXT)
			return done;
		st64(x, ld64(v->emul.native->src.low));
	} else {
		st64(x, v->x86.r[i->rm]);
	}
	if (is_vex(i))
		copy16(d, xmm(v, i->vvvv));
	memcpy(d + at, x, size);
	finish(i, d);
	return DONE_NEXT;
}

/* ---- masked stores
 *
 * mask has one byte per byte of from; its top bit counts. */

static bool next_run(const u8 *mask, unsigned n, unsigned *from, unsigned *to)
{
	while (*from < n && !(mask[*from] & 0x80))
		++*from;
	for (*to = *from; *to < n && (mask[*to] & 0x80);)
		++*to;
	return *from < n;
}

/* Bytes that are not written are not looked at.  The rest lies on two pages at most;
 * the second is complained of at the last byte, as processors do. */
enum done mask_store(struct vcpu *v, const struct insn *i, const u8 *from, const u8 *mask, unsigned n)
{
	unsigned first = 0, last = n, b;
	u64 lin;

	if (!next_run(mask, n, &first, &b))
		return DONE_NEXT;
	while (!(mask[last - 1] & 0x80))
		last--;
	if (!seg_linear(v, i->seg, (ea(v, i) + first) & ea_mask(i->asize), last - first, ACC_WRITE, &lin))
		return DONE_FAULT;
	if (!mem_probe(v, lin, 1, ACC_WRITE) || !mem_probe(v, lin + last - first - 1, 1, ACC_WRITE))
		return mem_done(v);
	for (unsigned a = first; next_run(mask, n, &a, &b); a = b)
		if (!mem_write_bytes(v, lin + a - first, from + a, b - a))
			return mem_done(v);
	return DONE_NEXT;
}

/* MASKMOVDQU and MASKMOVQ check the halves as wholes, the upper one first, even
 * when nothing is to be written; so, too, their alignment. */
enum done mask_move(struct vcpu *v, const struct insn *i, const u8 *from, const u8 *mask, unsigned n)
{
	enum sreg s = i->flags & INSN_SEGOV ? i->seg : DS;
	u64 lin[2], ac = v->x86.rflags & FLAG_AC;
	bool ok = true;

	for (unsigned k = n / 8; k--;)
		if (!seg_linear(v, s, (v->x86.r[RDI] + 8 * k) & ea_mask(i->asize), 8, ACC_WRITE, &lin[k]))
			return DONE_FAULT;
	if (ac && v->emul.cpl == 3 && (v->x86.cr0 & CR0_AM) && (lin[0] & 7))
		return raise_code(v, VEC_AC, 0);
	for (unsigned k = n / 8; k--;)
		if (!mem_probe(v, lin[k], 8, ACC_WRITE))
			return mem_done(v);
	v->x86.rflags &= ~ac;
	for (unsigned k = 0; k < n / 8; k++)
		for (unsigned a = 0, b; ok && next_run(mask + 8 * k, 8, &a, &b); a = b)
			ok = mem_write_bytes(v, lin[k] + a, from + 8 * k + a, b - a);
	v->x86.rflags |= ac;
	return ok ? DONE_NEXT : mem_done(v);
}

enum done exec_maskmov(struct vcpu *v, const struct insn *i)
{
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	return mask_move(v, i, xmm(v, i->reg), xmm(v, i->rm), 16);
}
