/* Makes trials: opcode by opcode in turn, prefixes and operands at random with a
 * taste for edges.  Everything follows from (seed, index). */
#include "tests/cpu/rnd.h"
#include "tests/cpu/trial.h"

/* ---- values */

static u64 integer(struct rnd *r)
{
	static const u64 edge[] = {
		0, 1, 2, 3, 7, 8, 0x0f, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100,
		0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull, 0xffffffff80000000,
		0xffffffff7fffffff, 0x5555555555555555, 0x0f99, 0x9a, 0x6666,
	};
	switch (below(r, 8)) {
	case 0 ... 3: return PICK(r, edge);
	case 4: return below(r, 256);
	case 5: return -(u64)below(r, 256);
	case 6: return r64(r) >> below(r, 64);
	default: return r64(r);
	}
}

static u32 f32(struct rnd *r)
{
	static const u32 edge[] = {
		0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
		0xffc00000, 0x7f800001, 0xffbfffff, 1, 0x80000001, 0x007fffff, 0x00800000,
		0x7f7fffff, 0xff7fffff, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x3f000000,
		0x34000000, 0x4b000000, 0x40490fdb, 0x3fc00000, 0x40200000,
	};
	return pct(r, 55) ? PICK(r, edge) : pct(r, 50) ? (0x70 + below(r, 32)) << 23 | (u32)r64(r) >> 9 | (pct(r, 50) ? 1u << 31 : 0) : (u32)r64(r);
}
static u64 f64(struct rnd *r)
{
	static const u64 edge[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001,
		0xfff7ffffffffffff, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0xffefffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000,
		0xc1e0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0x3fe0000000000000,
		0x47efffffe0000000, 0x380fffffffffffff, 0x36a0000000000000, 0x3ff8000000000000,
	};
	u64 sign = pct(r, 50) ? 1ull << 63 : 0;
	return pct(r, 55) ? PICK(r, edge) : pct(r, 50) ? (u64)(0x3e0 + below(r, 64)) << 52 | r64(r) >> 12 | sign : r64(r);
}
static void f80(struct rnd *r, u8 *p)
{
	static const struct { u16 se; u64 m; } edge[] = {
		{0, 0}, {0x8000, 0}, {0x3fff, 1ull << 63}, {0xbfff, 1ull << 63},
		{0x7fff, 1ull << 63}, {0xffff, 1ull << 63}, {0xffff, 3ull << 62},
		{0x7fff, 3ull << 62 | 1}, {0x7fff, 1ull << 63 | 1}, {0x7fff, 0}, {0x7fff, 1},
		{0, 1}, {0x8000, 1}, {0, 1ull << 63}, {1, 1ull << 63}, {0x7ffe, ~0ull},
		{0x4000, 0xc90fdaa22168c235}, {0x3ffe, 1ull << 63}, {0x403e, 1ull << 63},
		{0xc03e, 1ull << 63}, {0x401e, 0xffffffff00000000}, {0x3fff, 1}, {0x4010, 1ull << 62},
		{0x403d, ~0ull}, {0x3f80, 1ull << 63}, {0x3bcd, 1ull << 63}, {0x43fe, ~0ull},
	};
	u16 se = 0x3ff0 + below(r, 0x40) + (pct(r, 50) ? 0x8000 : 0);
	u64 m = r64(r) | 1ull << 63;
	if (pct(r, 50)) {
		unsigned i = below(r, countof(edge));
		se = edge[i].se;
		m = edge[i].m;
	} else if (pct(r, 15)) {
		se = r64(r);
		m = r64(r);
	}
	st64(p, m);
	st16(p + 8, se);
}

/* n bytes (a multiple of 8) that mean something to some instruction */
static void fresh(struct rnd *r, u8 *p, unsigned n)
{
	unsigned kind = below(r, 8);
	for (unsigned i = 0; i < n; i += 8) {
		u64 x;
		switch (kind) {
		case 0: case 1: x = integer(r); break;
		case 2: case 3: x = f32(r) | (u64)f32(r) << 32; break;
		case 4: case 5: x = f64(r); break;
		case 6: x = (integer(r) & 0xffff) | integer(r) << 48 | (integer(r) & 0xffff) << 16 |
			    (integer(r) & 0xffff) << 32; break;
		default: x = r64(r); break;
		}
		st64(p + i, x);
	}
	if (kind == 7 && pct(r, 60))
		for (unsigned i = 0; i + 16 <= n; i += 16)
			f80(r, p + i);
	if (kind == 6 && pct(r, 40)) /* packed BCD */
		for (unsigned i = 0; i < n; i++)
			p[i] = below(r, 10) | below(r, 10) << 4;
}

/* Most come from a stock, as making them costs more than running them. */
static u8 stock[128 * KiB];

static void operand(struct rnd *r, u8 *p, unsigned n)
{
	if (!stock[0]) {
		struct rnd own = {1};
		for (unsigned i = 0; i < sizeof stock; i += 64)
			fresh(&own, stock + i, 64);
		stock[0] = 1;
	}
	if (pct(r, 15))
		return fresh(r, p, n);
	for (unsigned i = 0; i < n; i += 16)
		memcpy(p + i, stock + 16 * below(r, sizeof stock / 16), n - i < 16 ? n - i : 16);
}

static u32 data_address(struct rnd *r)
{
	u32 fine = pct(r, 50) ? 0 : below(r, 64);
	switch (below(r, 32)) {
	default: return DATA_BASE + below(r, 0x1f) * 64 + fine + (pct(r, 50) ? 0x800 : 0);
	case 20 ... 22: return DATA_BASE + 0x1000 - below(r, 64);     /* crossing, both there */
	case 23: case 24: return DATA_BASE + 0x2000 - below(r, 64);   /* into nothing */
	case 25: return DATA_BASE + 0x2000 - (8u << below(r, 7));     /* just fitting */
	case 26: case 27: return DATA_BASE + 0x3000 + below(r, 0x1000); /* read-only */
	case 28: return DATA_BASE - below(r, 64);                     /* out of nothing */
	case 29: return DATA_BASE + 0x2000 + below(r, 0x1000);        /* nothing */
	case 30: return CODE_BASE + CODE_LAND + below(r, 0x700);      /* code: readable */
	case 31: return DATA_BASE + 0xf000 + (pct(r, 50) ? 0x1000 - below(r, 64) : below(r, 0x1000));
	}
}
static u64 address(struct rnd *r, unsigned mode)
{
	if (mode == 64 && pct(r, 2))
		return 0x1234567800000000ull | r64(r) >> 32;
	return data_address(r);
}

/* ---- bytes */

struct cell {
	u8 map, op;
};
struct range {
	u8 map, first, last;
};
/* Where most of a sparse map's instructions are: the rest comes once a round, as #UD
 * costs a hundred times what others do. */
static const struct range dense[] = {
	{M_38, 0x00, 0x0b}, {M_38, 0x10, 0x10}, {M_38, 0x14, 0x17}, {M_38, 0x1c, 0x1e},
	{M_38, 0x20, 0x25}, {M_38, 0x28, 0x2b}, {M_38, 0x30, 0x41}, {M_38, 0xc8, 0xcf},
	{M_38, 0xdb, 0xdf}, {M_38, 0xf0, 0xf1}, {M_38, 0xf6, 0xf6},
	{M_3A, 0x08, 0x0f}, {M_3A, 0x14, 0x17}, {M_3A, 0x20, 0x22}, {M_3A, 0x40, 0x44},
	{M_3A, 0x60, 0x63}, {M_3A, 0xcc, 0xcf}, {M_3A, 0xdf, 0xdf},
	{M_VEX1, 0x10, 0x17}, {M_VEX1, 0x28, 0x2f}, {M_VEX1, 0x50, 0x77}, {M_VEX1, 0x7c, 0x7f},
	{M_VEX1, 0xae, 0xae}, {M_VEX1, 0xc2, 0xc6}, {M_VEX1, 0xd0, 0xfe},
	{M_VEX2, 0x00, 0x0f}, {M_VEX2, 0x13, 0x1e}, {M_VEX2, 0x20, 0x41}, {M_VEX2, 0x45, 0x47},
	{M_VEX2, 0x58, 0x5a}, {M_VEX2, 0x78, 0x79}, {M_VEX2, 0x8c, 0x93}, {M_VEX2, 0x96, 0x9f},
	{M_VEX2, 0xa6, 0xaf}, {M_VEX2, 0xb6, 0xbf}, {M_VEX2, 0xcf, 0xcf}, {M_VEX2, 0xdb, 0xdf},
	{M_VEX2, 0xf2, 0xf7},
	{M_VEX3, 0x00, 0x0f}, {M_VEX3, 0x14, 0x1d}, {M_VEX3, 0x20, 0x22}, {M_VEX3, 0x38, 0x4c},
	{M_VEX3, 0x60, 0x63}, {M_VEX3, 0xcf, 0xcf}, {M_VEX3, 0xdf, 0xdf}, {M_VEX3, 0xf0, 0xf0},
};
static unsigned weight(unsigned map, unsigned op)
{
	if (map == M_1B)
		return op >= 0xd8 && op <= 0xdf ? 40 : op == 0xf6 || op == 0xf7 || op == 0xff ? 8 :
		       (op >= 0x50 && op <= 0x5f) || (op >= 0xb0 && op <= 0xbf) ||
		       (op >= 0x40 && op <= 0x4f) || op == 0x0f ? 1 : 4;
	if (map == M_0F)
		return op == 0x38 || op == 0x3a ? 0 : op == 0xae || op == 0xc7 || op == 0xba ? 12 :
		       op >= 0x10 && (op < 0x18 || op >= 0x28) && (op & 0xf0) != 0x30 ? 4 : 1;
	for (unsigned i = 0; i < countof(dense); i++)
		if (map == dense[i].map && op >= dense[i].first && op <= dense[i].last)
			return 5;
	return 1;
}

enum { CELLS = 8192 };
static struct cell cells[CELLS];
static unsigned ncell;

static bool map_wanted(const char *name, unsigned map, unsigned op)
{
	bool x87 = map == M_1B && op >= 0xd8 && op <= 0xdf;
	if (!strcmp(name, "all"))
		return true;
	if (!strcmp(name, "x87"))
		return x87;
	static const char *const names[] = {"1b", "0f", "0f38", "0f3a"};
	return map < M_VEX1 ? !x87 && !strcmp(name, names[map]) : !strcmp(name, "vex");
}
static void make_cells(const struct gen_opt *o)
{
	for (unsigned map = 0; map < M_MAPS; map++)
		for (unsigned op = 0; op < 256; op++)
			if (map_wanted(o->map, map, op) && (o->op < 0 || o->op == (int)op))
				for (unsigned n = weight(map, op); n && ncell < CELLS; n--)
					cells[ncell++] = (struct cell){map, op};
}

static bool lockable(const struct cell *c)
{
	if (c->map == M_1B)
		return (c->op < 0x40 && (c->op & 7) < 2) || (c->op >= 0x80 && c->op <= 0x87) ||
		       (c->op & 0xf6) == 0xf6;
	return c->map == M_0F && (c->op == 0xab || (c->op >= 0xb0 && c->op <= 0xbb) || (c->op & 0xf6) == 0xc0 ||
				  c->op == 0xc7);
}
static unsigned prefixes(struct rnd *r, u8 *p, const struct cell *c)
{
	static const u8 segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x64, 0x65, 0x65};
	bool vex = c->map >= M_VEX1, three = c->map == M_38 || c->map == M_3A;
	unsigned n = 0;
	if (pct(r, vex ? 1 : three ? 65 : 25))
		p[n++] = 0x66;
	if (pct(r, vex ? 1 : three ? 8 : 16))
		p[n++] = 0xf3;
	if (pct(r, vex ? 1 : three ? 8 : 14))
		p[n++] = 0xf2;
	if (pct(r, 10))
		p[n++] = PICK(r, segs);
	if (pct(r, 8))
		p[n++] = 0x67;
	if (pct(r, lockable(c) ? 15 : 1))
		p[n++] = 0xf0;
	for (unsigned i = n; i > 1; i--) {
		unsigned j = below(r, i);
		u8 t = p[i - 1];
		p[i - 1] = p[j];
		p[j] = t;
	}
	return n;
}

/* What follows the opcode: any bytes will do, but ModRM and SIB with some thought. */
static unsigned tail(struct rnd *r, u8 *p)
{
	p[0] = r64(r);
	if (pct(r, 35))
		p[0] |= 0xc0;
	p[1] = r64(r);
	for (int i = 2; i < 12; i++)
		p[i] = r64(r);
	if (pct(r, 30)) { /* small numbers as displacement or immediate */
		u64 x = integer(r);
		memcpy(p + 1 + below(r, 6), &x, 5);
	}
	return 12;
}

static void emit(struct rnd *r, struct trial *t, const struct cell *c)
{
	u8 b[40];
	static const u8 again[] = {0x66, 0x67, 0x2e, 0x3e, 0x64, 0x36, 0xf2, 0xf3};
	unsigned n;
	bool vex = c->map >= M_VEX1;
	n = prefixes(r, b, c);
	if (pct(r, 1)) /* more of them, up to what is too long */
		for (unsigned k = below(r, 14); k; k--)
			b[n++] = PICK(r, again);
	if (t->mode == 64 && pct(r, vex ? 1 : 55)) {
		b[n++] = 0x40 | (pct(r, 60) ? below(r, 16) : 8);
		if (pct(r, 2)) /* in front of another prefix: does not count */
			b[n++] = 0x66;
	}
	if (vex) {
		u8 vvvv = pct(r, 45) ? 15 : below(r, 16), pp = c->map > M_VEX1 && pct(r, 70) ? 1 : below(r, 4), l = below(r, 2);
		if (pct(r, 50) && c->map == M_VEX1) {
			b[n++] = 0xc5;
			b[n++] = (pct(r, 50) || t->mode != 64) << 7 | vvvv << 3 | l << 2 | pp;
		} else {
			b[n++] = 0xc4;
			b[n++] = (t->mode == 64 ? below(r, 8) << 5 : 0xc0 | below(r, 2) << 5) |
				 (pct(r, 2) ? below(r, 32) : 1u + c->map - M_VEX1);
			b[n++] = pct(r, 40) << 7 | vvvv << 3 | l << 2 | pp;
		}
	} else if (c->map != M_1B) {
		b[n++] = 0x0f;
		if (c->map != M_0F)
			b[n++] = c->map == M_38 ? 0x38 : 0x3a;
	}
	b[n++] = c->op;
	n += tail(r, b + n);
	t->n = min_u64(n, BYTES);
	memcpy(t->bytes, b, t->n);
}

/* ---- state */

static u64 seg_base(const struct trial *t, unsigned seg)
{
	if (t->mode == 64)
		return seg == FS ? t->in.fsbase : seg == GS ? t->in.gsbase : 0;
	switch (t->in.sel[seg]) {
	case SEL_CODE16: return CODE_BASE;
	case SEL_DATA16: case SEL_DOWN: return DATA_BASE;
	case SEL_SMALL: return DATA_BASE + 0x100;
	case SEL_BIG: return DATA_BASE - 0x1000;
	}
	return 0;
}
static u64 mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << 8 * size) - 1; }

static unsigned default_seg(const struct trial *t)
{
	const struct form *f = &t->form;
	if (f->seg != SREG_NONE && !(t->mode == 64 && f->seg < FS))
		return f->seg;
	return f->base == RBP || f->base == RSP ? SS : DS;
}
static u64 effective(const struct trial *t)
{
	const struct form *f = &t->form;
	u64 a = (s64)f->disp;
	if (f->base == 17)
		a += t->in.rip + f->len;
	else if (f->base < 16)
		a += t->in.r[f->base];
	if (f->index < 16)
		a += t->in.r[f->index] << f->scale;
	a = (a & mask(f->asize)) + seg_base(t, default_seg(t));
	return t->mode == 64 ? a : (u32)a;
}

/* Bends a register or the displacement so that the operand lies at `want`. */
static void aim(struct rnd *r, struct trial *t, u64 want)
{
	struct form *f = &t->form;
	u64 d = want - effective(t);
	if (!f->len) /* cut off: there may be no place for the displacement */
		return;
	if (f->base < 16 && !(f->index == f->base && f->scale)) {
		t->in.r[f->base] += f->index == f->base ? d / 2 : d;
	} else if (f->index < 16 && f->base >= 16) {
		t->in.r[f->index] += (s64)d >> f->scale;
	} else if (f->disp_len == 4 && f->base >= 16) {
		f->disp += d;
		st32(t->bytes + f->disp_at, f->disp);
	} else if (f->disp_len == 2 && f->base >= 16) {
		f->disp = (s16)(f->disp + d);
		st16(t->bytes + f->disp_at, f->disp);
	}
}

static void poke(struct rnd *r, struct trial *t, u64 at)
{
	if (t->npoke >= countof(t->poke) || at < DATA_BASE - POKE || at >= DATA_BASE + DATA_SPAN)
		return;
	t->poke[t->npoke].at = at;
	operand(r, t->poke[t->npoke++].b, POKE);
}

static void vectors(struct rnd *r, struct trial *t)
{
	u8 *x = t->in.xsave;
	operand(r, x + XSAVE_XMM, 256);
	operand(r, x + XSAVE_YMM, 256);
	for (int i = 0; i < 6; i++) {
		unsigned k = below(r, 16);
		operand(r, x + XSAVE_XMM + 16 * k, 16);
		operand(r, x + XSAVE_YMM + 16 * k, 16);
	}
	u32 m = 0x1f80;
	if (pct(r, 40))
		m = 0x1f80 | (below(r, 4) << 13) | (pct(r, 25) ? 0x8000 : 0) | (pct(r, 25) ? 0x40 : 0) |
		    (pct(r, 40) ? below(r, 64) : 0);
	if (pct(r, 10))
		m &= ~(below(r, 64) << 7);
	st32(x + XSAVE_MXCSR, m);
	st32(x + XSAVE_MXCSR + 4, 0xffff); /* MXCSR_MASK, as every CPU with AVX says */
	st64(x + XSAVE_HDR, 7);
}

static void x87(struct rnd *r, struct trial *t)
{
	u8 *x = t->in.xsave;
	for (int i = 0; i < 8; i++)
		f80(r, x + XSAVE_ST + 16 * i);
	u16 cw = 0x37f, sw = 0;
	if (pct(r, 60))
		cw = 0x40 | 0x3f | below(r, 4) << 10 | (u16[]){0, 2, 3, 3}[below(r, 4)] << 8;
	if (pct(r, 12))
		cw &= ~below(r, 64);
	sw = below(r, 8) << 11 | (r64(r) & 0x4700);
	if (pct(r, 15))
		sw |= below(r, 128);
	if (pct(r, 90))
		sw &= ~(~cw & 0x3f); /* nothing pending */
	if (sw & ~cw & 0x3f)
		sw |= 0x8080;
	st16(x, cw);
	st16(x + 2, sw);
	x[4] = pct(r, 50) ? 0xff : r64(r);
}

static void selectors(struct rnd *r, struct trial *t)
{
	static const u16 prot[] = {SEL_DS, SEL_DS, SEL_DS, SEL_DS, SEL_DS, SEL_SMALL, SEL_BIG,
				  SEL_DOWN, SEL_LIMIT};
	static const u16 real[] = {SEL_DATA16, SEL_DATA16, SEL_DATA16, SEL_DATA16, SEL_SMALL, SEL_DS};
	u16 *s = t->in.sel;
	for (int i = 0; i < 6; i++)
		s[i] = t->mode == 32 ? (i > DS ? prot[4 + below(r, 5)] : PICK(r, prot)) : PICK(r, real);
	s[CS] = t->mode == 64 ? SEL_CS64 : t->mode == 32 ? SEL_CS32 : SEL_CODE16;
	if (t->mode == 64) {
		s[SS] = SEL_DS;
		s[ES] = s[DS] = s[FS] = s[GS] = 0;
		static const u64 bases[] = {0, 8, 0x100, DATA_BASE, (u64)-0x40, 0x7ff000000000, 0x1000};
		t->in.fsbase = PICK(r, bases);
		t->in.gsbase = PICK(r, bases);
	}
}

static void registers(struct rnd *r, struct trial *t)
{
	u64 *g = t->in.r;
	for (int i = 0; i < 16; i++)
		g[i] = pct(r, 70) ? integer(r) : pct(r, 70) ? address(r, t->mode) : r64(r);
	if (pct(r, 60))
		g[RCX] = below(r, 40);
	/* string and stack pointers: relative to their segments */
	if (pct(r, 85))
		g[RSI] = address(r, t->mode) - seg_base(t, t->form.seg != SREG_NONE ? t->form.seg : DS);
	if (pct(r, 85))
		g[RDI] = address(r, t->mode) - seg_base(t, ES);
	if (form_is_clzero(&t->form))
		g[RAX] = address(r, t->mode) - seg_base(t, t->form.seg != SREG_NONE ? t->form.seg : DS);
	if (pct(r, 90))
		g[RSP] = address(r, t->mode) - seg_base(t, SS);
	if (pct(r, 40))
		g[RBP] = address(r, t->mode) - seg_base(t, SS);
	if (pct(r, 30))
		g[RBX] = address(r, t->mode) - seg_base(t, DS);
	if (t->mode != 64)
		for (int i = 0; i < 16; i++)
			g[i] = i < 8 ? (u32)g[i] : 0;
	if (t->mode == 16 && pct(r, 80))
		for (int i = 0; i < 8; i++)
			g[i] &= 0xffff;
	t->in.rflags = (r64(r) & (FLAGS_ARITH)) | FLAG_1 | FLAG_IF | (pct(r, 20) ? FLAG_DF : 0) |
		       (pct(r, 5) ? FLAG_ID : 0) | (pct(r, 4) ? FLAG_AC : 0) | (pct(r, 2) ? FLAG_NT : 0);
}

static void where(struct rnd *r, struct trial *t)
{
	unsigned n = t->form.len ? t->form.len : t->n;
	t->at = 0x100 + below(r, 0xd00);
	if (pct(r, 10))
		t->at = 0x1000 - below(r, n + 8);
	if (pct(r, 4))
		t->at = CODE_SPAN - n;
	if (pct(r, 2))
		t->at = CODE_SPAN - 1 - below(r, n);
	t->in.rip = t->at + (t->mode == 16 ? 0 : CODE_BASE);
}

/* Indirect branches like to arrive; relative ones must not hit their own bytes,
 * where anything may stand. */
static void branch(struct rnd *r, struct trial *t)
{
	struct form *f = &t->form;
	u64 land = CODE_LAND + below(r, 0x700) + (t->mode == 16 ? 0 : CODE_BASE);
	if (t->mode == 64 && pct(r, 3))
		land = 0x1234567812345678;
	bool group5 = f->map == M_1B && f->op == 0xff;
	if (group5 && !f->mem && pct(r, 80))
		t->in.r[f->rm] = land;
	if ((group5 || (f->op & 0xf7) == 0xc2) && pct(r, 90) && t->npoke) {
		st64(t->poke[0].b, land);
		if (t->npoke > 1)
			st64(t->poke[1].b, land);
	}
	bool relative = f->map == M_0F || (f->op & 0xf0) == 0x70 || (f->op & 0xfc) == 0xe0 ||
			f->op == 0xe8 || f->op == 0xe9 || f->op == 0xeb;
	if (relative && f->len && f->imm + f->len < f->len) {
		memset(t->bytes + f->imm_at, 0, f->imm_len);
		t->bytes[f->imm_at] = 0x20;
	}
}

/* ---- selectors, where the instruction wants one */

static u16 selector(struct rnd *r)
{
	static const u16 good[] = {SEL_DS, SEL_CS32, SEL_CS64, SEL_CODE16, SEL_DATA16, SEL_SMALL,
				   SEL_BIG, SEL_DOWN, SEL_LIMIT, SEL_DS, SEL_CS32, SEL_CS64};
	static const u16 odd[] = {0, 1, 2, 3, 8, 0x10, 0x18, 0x1b, 0x20, 0x28, 0x2a, 0x40, 0x43, 0x50,
				  0x53, 0x78, 0x7b, 0x80, 0xfffb, SEL_ABSENT, SEL_RODATA, SEL_XCODE, 0x4f, 0x04, 0x0c};
	return pct(r, 65) ? PICK(r, good) : PICK(r, odd);
}
static void put(u8 *p, unsigned *n, unsigned size, u64 x)
{
	memcpy(p + *n, &x, size);
	*n += size;
}
static u64 landing(struct rnd *r, u16 sel)
{
	u64 at = CODE_LAND + below(r, 0x700);
	return sel == SEL_CODE16 ? at : pct(r, 97) ? CODE_BASE + at : pct(r, 50) ? 0x1234567812345678 : integer(r);
}
/* What IRET, RETF and far pointers in memory want to find. */
static void far_frame(struct rnd *r, u8 *p, unsigned size)
{
	unsigned n = 0;
	u16 sel = selector(r);
	put(p, &n, size, landing(r, sel));
	put(p, &n, size, sel);
	if (pct(r, 30)) /* RETF n: whatever it is */
		return;
	put(p, &n, size, (r64(r) & 0x244cd7 & ~FLAG_AC) | (pct(r, 5) ? 0x4000 : 0) | FLAG_IF);
	put(p, &n, size, data_address(r));
	put(p, &n, size, selector(r));
}
static void selectors_in_use(struct rnd *r, struct trial *t)
{
	const struct form *f = &t->form;
	unsigned size = f->osize == 2 ? 2 : f->osize;
	u8 *p = t->poke[0].b;
	if (f->map == M_1B && (f->op == 0x9a || f->op == 0xea) && f->len) {
		u16 sel = selector(r);
		u64 at = landing(r, sel);
		memcpy(t->bytes + f->imm_at, &at, f->imm_len - 2);
		st16(t->bytes + f->imm_at + f->imm_len - 2, sel);
	} else if ((f->map == M_1B && f->op == 0x8e) ||
		   (f->map == M_0F && (f->op == 2 || f->op == 3 || (f->op == 0 && (f->reg & 7) >= 4)))) {
		if (f->mem)
			st16(p, selector(r));
		else
			t->in.r[f->rm] = (t->in.r[f->rm] & ~0xffffull) | selector(r);
	} else if ((f->map == M_1B && (f->op == 0x07 || f->op == 0x17 || f->op == 0x1f)) ||
		   (f->map == M_0F && (f->op == 0xa1 || f->op == 0xa9))) {
		st16(p, selector(r));
	} else if ((f->map == M_1B && ((f->op | 1) == 0xc5 || (f->op == 0xff && (f->reg & 7) % 2))) ||
		   (f->map == M_0F && (f->op == 0xb2 || f->op == 0xb4 || f->op == 0xb5))) {
		u16 sel = selector(r);
		unsigned n = 0;
		if (!f->mem || (f->op == 0xff && (f->reg & 7) == 7) || (f->reg & 7) == 1)
			return;
		put(p, &n, size, landing(r, sel));
		put(p, &n, 2, sel);
	} else if (f->map == M_1B && (f->op == 0xca || f->op == 0xcb || f->op == 0xcf)) {
		far_frame(r, p, size);
	}
}

/* Feature masks of XSAVE and relatives are for x87, SSE and AVX only. */
static void save_area(struct rnd *r, struct trial *t)
{
	const struct form *f = &t->form;
	bool save = f->map == M_0F && ((f->op == 0xae && (f->reg & 7) >= 4) ||
				       (f->op == 0xc7 && (f->reg & 7) >= 3)) && f->mem;
	if (!save)
		return;
	t->in.r[RAX] = (t->in.r[RAX] & ~0xffull) | (pct(r, 60) ? 7 : below(r, 8));
	t->in.r[RAX] &= ~0xff00ull & ~0x60000ull & 0xffffffff00000007ull;
	t->in.r[RDX] &= ~0xffffffffull;
}

static void memory(struct rnd *r, struct trial *t)
{
	const struct form *f = &t->form;
	if (f->mem && pct(r, 85)) {
		u64 want = address(r, t->mode);
		if (f->lock || (f->map == M_1B && (f->op & 0xfe) == 0x86) || pct(r, 25))
			want &= ~(u64)(pct(r, 60) ? 63 : 15);
		aim(r, t, want);
	}
	if (f->mem) {
		t->ea = effective(t);
		t->has_ea = true;
		poke(r, t, t->ea);
		/* comparands that match now and then */
		if (pct(r, 8)) {
			st64(t->poke[0].b, t->in.r[RAX]);
			if (pct(r, 50))
				st64(t->poke[0].b + 8, t->in.r[RDX]);
		}
	}
	u64 sp = t->in.r[RSP] + seg_base(t, SS);
	poke(r, t, sp);
	if (!f->mem)
		poke(r, t, t->in.r[RSI] + seg_base(t, DS));
}

bool gen_trial(struct trial *t, const struct gen_opt *o, u64 index)
{
	if (!ncell)
		make_cells(o);
	if (!ncell)
		return false;
	memset(t, 0, sizeof *t);
	t->seed = o->seed;
	t->index = index;
	t->mode = o->mode;
	struct rnd rn = {o->seed * 0xd1342543de82ef95ull ^ index * 0xaf251af3b0f025b5ull}, *r = &rn;
	r64(r);
	if (o->nbytes) {
		memcpy(t->bytes, o->bytes, o->nbytes);
		t->n = o->nbytes;
	} else {
		emit(r, t, &cells[index % ncell]);
	}
	form_parse(&t->form, t->mode, t->bytes, t->n);
	if (t->form.len)
		t->n = t->form.len;
	t->stop = form_is_branch(&t->form);
	selectors(r, t);
	where(r, t);
	registers(r, t);
	vectors(r, t);
	x87(r, t);
	memory(r, t);
	save_area(r, t);
	if (t->stop)
		branch(r, t);
	if (t->npoke)
		selectors_in_use(r, t);
	form_parse(&t->form, t->mode, t->bytes, t->n);
	trial_operand(t);
	return true;
}

void trial_operand(struct trial *t)
{
	if (t->has_ea)
		t->ea = effective(t);
	t->ea_off = t->has_ea ? (t->ea - seg_base(t, default_seg(t))) & mask(t->form.asize) : 0;
}

/* ---- for blocks */

void gen_insn(struct rnd *r, struct trial *t)
{
	static const struct gen_opt all = {.map = "all", .op = -1};
	if (!ncell)
		make_cells(&all);
	emit(r, t, &cells[below(r, ncell)]);
	form_parse(&t->form, t->mode, t->bytes, t->n);
	if (t->form.len)
		t->n = t->form.len;
}

void gen_state(struct rnd *r, struct trial *t)
{
	selectors(r, t);
	registers(r, t);
	vectors(r, t);
	x87(r, t);
}

u64 gen_data_address(struct rnd *r) { return data_address(r); }

void gen_pattern(u8 mem[NPAGES][PAGE_SIZE])
{
	struct rnd r = {42};
	for (int i = 0; i < NPAGES; i++)
		for (unsigned k = 0; k < PAGE_SIZE; k += 64)
			operand(&r, mem[i] + k, 64);
}

void trial_memory(const struct trial *t, u8 mem[NPAGES][PAGE_SIZE])
{
	for (int i = t->npoke - 1; i >= 0; i--)
		for (int p = 0; p < NPAGES; p++) {
			s64 off = (s64)(t->poke[i].at - DATA_BASE - data_page[p]);
			s64 from = off < 0 ? -off : 0;
			s64 to = off + POKE > (s64)PAGE_SIZE ? (s64)PAGE_SIZE - off : POKE;
			if (from < to)
				memcpy(mem[p] + off + from, t->poke[i].b + from, to - from);
		}
}
