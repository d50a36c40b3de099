/* Instruction lengths and fields by the encoding rules (SDM vol. 2, ch. 2 and
 * appendix A), written apart from core/x86/decode.c on purpose. */
#include "tests/cpu/trial.h"

/* Per opcode of the one-byte map: M modrm; immediates b byte, w word, z 2 or 4,
 * v 2, 4 or 8, e ENTER's 3, p far pointer, o moffs, t group 3; x prefix or escape. */
static const char one[256][3] = {
	/* 00 */ "M", "M", "M", "M", "b", "z", "", "", "M", "M", "M", "M", "b", "z", "", "x",
	/* 10 */ "M", "M", "M", "M", "b", "z", "", "", "M", "M", "M", "M", "b", "z", "", "",
	/* 20 */ "M", "M", "M", "M", "b", "z", "x", "", "M", "M", "M", "M", "b", "z", "x", "",
	/* 30 */ "M", "M", "M", "M", "b", "z", "x", "", "M", "M", "M", "M", "b", "z", "x", "",
	/* 40 */ "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
	/* 50 */ "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
	/* 60 */ "", "", "M", "M", "x", "x", "x", "x", "z", "Mz", "b", "Mb", "", "", "", "",
	/* 70 */ "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b", "b",
	/* 80 */ "Mb", "Mz", "Mb", "Mb", "M", "M", "M", "M", "M", "M", "M", "M", "M", "M", "M", "M",
	/* 90 */ "", "", "", "", "", "", "", "", "", "", "p", "", "", "", "", "",
	/* a0 */ "o", "o", "o", "o", "", "", "", "", "b", "z", "", "", "", "", "", "",
	/* b0 */ "b", "b", "b", "b", "b", "b", "b", "b", "v", "v", "v", "v", "v", "v", "v", "v",
	/* c0 */ "Mb", "Mb", "w", "", "M", "M", "Mb", "Mz", "e", "", "w", "", "", "b", "", "",
	/* d0 */ "M", "M", "M", "M", "b", "b", "", "", "M", "M", "M", "M", "M", "M", "M", "M",
	/* e0 */ "b", "b", "b", "b", "b", "b", "b", "b", "z", "z", "p", "b", "", "", "", "",
	/* f0 */ "x", "", "x", "x", "", "", "Mt", "Mt", "", "", "", "", "", "", "M", "M",
};

static const char *two(u8 op)
{
	switch (op) {
	case 0x05 ... 0x09: case 0x0b: case 0x0e: case 0x30 ... 0x37: case 0x77:
	case 0xa0 ... 0xa2: case 0xa8 ... 0xaa: case 0xc8 ... 0xcf:
	case 0x04: case 0x0a: case 0x0c:
		return "";
	case 0x0f: case 0x70 ... 0x73: case 0xa4: case 0xac: case 0xba: case 0xc2:
	case 0xc4 ... 0xc6:
		return "Mb";
	case 0x80 ... 0x8f:
		return "z";
	default:
		return "M";
	}
}

struct cursor {
	const u8 *p;
	unsigned n, i;
	bool bad;
};
static u8 next(struct cursor *c)
{
	if (c->i >= c->n || c->i >= 15) {
		c->bad = true;
		return 0;
	}
	return c->p[c->i++];
}
static u64 take(struct cursor *c, unsigned n)
{
	u64 v = 0;
	for (unsigned i = 0; i < n; i++)
		v |= (u64)next(c) << 8 * i;
	return v;
}
static s64 sext(u64 v, unsigned n) { return n >= 8 || !n ? (s64)v : (s64)(v << (64 - 8 * n)) >> (64 - 8 * n); }

static int prefix(struct form *f, u8 b)
{
	switch (b) {
	case 0x26: f->seg = ES; return 1;
	case 0x2e: f->seg = CS; return 1;
	case 0x36: f->seg = SS; return 1;
	case 0x3e: f->seg = DS; return 1;
	case 0x64: f->seg = FS; return 1;
	case 0x65: f->seg = GS; return 1;
	case 0x66: f->p66 = true; return 1;
	case 0x67: f->p67 = true; return 1;
	case 0xf0: f->lock = true; return 1;
	case 0xf2: f->repne = true; f->rep = false; return 1;
	case 0xf3: f->rep = true; f->repne = false; return 1;
	}
	return 0;
}

static void modrm(struct form *f, struct cursor *c)
{
	u8 m = f->modrm = next(c);
	f->has_modrm = true;
	f->mod = m >> 6;
	f->reg = (m >> 3 & 7) | (f->rex & 4 ? 8 : 0);
	f->rm = (m & 7) | (f->rex & 1 ? 8 : 0);
	f->base = f->index = 16;
	if (f->mod == 3)
		return;
	f->mem = true;
	if (f->asize == 2) {
		static const u8 b16[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
		static const u8 i16[8] = {RSI, RDI, RSI, RDI, 16, 16, 16, 16};
		f->base = b16[m & 7];
		f->index = i16[m & 7];
		f->disp_len = f->mod == 1 ? 1 : f->mod == 2 ? 2 : 0;
		if (f->mod == 0 && (m & 7) == 6) {
			f->base = 16;
			f->disp_len = 2;
		}
	} else {
		f->base = f->rm;
		f->disp_len = f->mod == 1 ? 1 : f->mod == 2 ? 4 : 0;
		if ((m & 7) == 4) {
			u8 s = next(c);
			f->base = (s & 7) | (f->rex & 1 ? 8 : 0);
			f->index = (s >> 3 & 7) | (f->rex & 2 ? 8 : 0);
			f->scale = s >> 6;
			if (f->index == 4)
				f->index = 16;
			if ((s & 7) == 5 && f->mod == 0) {
				f->base = 16;
				f->disp_len = 4;
			}
		} else if ((m & 7) == 5 && f->mod == 0) {
			f->base = f->mode == 64 ? 17 : 16;
			f->disp_len = 4;
		}
	}
	f->disp_at = c->i;
	f->disp = sext(take(c, f->disp_len), f->disp_len);
}

static void vex(struct form *f, struct cursor *c, u8 b)
{
	u8 a = next(c), z = 0;
	f->vex = true;
	f->map = M_VEX1;
	f->rex = a & 0x80 ? 0 : 4;
	if (b == 0xc4) {
		z = next(c);
		f->rex |= (a & 0x40 ? 0 : 2) | (a & 0x20 ? 0 : 1);
		f->map = (a & 31) >= 1 && (a & 31) <= 3 ? M_VEX1 + (a & 31) - 1 : M_MAPS;
		f->w = z >> 7;
	} else {
		z = a;
	}
	if (f->mode != 64)
		f->rex = 0;
	f->vvvv = ~z >> 3 & 15;
	f->vl = z >> 2 & 1;
	f->pp = z & 3;
}

static void sizes(struct form *f)
{
	f->osize = f->mode == 16 ? (f->p66 ? 4 : 2) : f->w && !f->vex ? 8 : f->p66 ? 2 : 4;
	f->asize = f->mode == 64 ? (f->p67 ? 4 : 8) : (f->mode == 16) != f->p67 ? 2 : 4;
}

static unsigned imm_len(const struct form *f, char k)
{
	switch (k) {
	case 'b': return 1;
	case 'w': return 2;
	case 'z':
		/* Intel ignores 66 on near branches in 64-bit mode (AMD does not) */
		if (f->mode == 64 && ((f->map == M_1B && (f->op | 1) == 0xe9) ||
				      (f->map == M_0F && (f->op & 0xf0) == 0x80)))
			return 4;
		return f->osize == 2 ? 2 : 4;
	case 'v': return f->osize;
	case 'e': return 3;
	case 'p': return f->osize == 2 ? 4 : 6;
	case 'o': return f->asize;
	case 't': return f->reg & 6 ? 0 : f->op & 1 ? (f->osize == 2 ? 2 : 4) : 1;
	}
	return 0;
}

void form_parse(struct form *f, unsigned mode, const u8 *p, unsigned n)
{
	struct cursor c = {p, n, 0, false};
	memset(f, 0, sizeof *f);
	f->mode = mode;
	f->seg = SREG_NONE;
	f->base = f->index = 16;
	u8 b = next(&c);
	for (;; b = next(&c)) {
		if (prefix(f, b)) {
			f->rex = 0;
		} else if (mode == 64 && (b & 0xf0) == 0x40) {
			f->rex = b;
		} else {
			break;
		}
		if (c.bad)
			return;
	}
	f->w = f->rex >> 3 & 1;
	f->pp = f->rep ? 2 : f->repne ? 3 : f->p66 ? 1 : 0;
	const char *k;
	bool reg_next = mode == 64 || (c.i < n && (p[c.i] & 0xc0) == 0xc0);
	sizes(f);
	f->map = M_1B;
	if ((b == 0xc4 || b == 0xc5) && reg_next) {
		vex(f, &c, b);
		b = next(&c);
		k = f->map == M_VEX1 ? two(b) : f->map == M_VEX3 ? "Mb" : "M";
		if (f->map == M_VEX1 && (b & 0xf0) == 0x80)
			k = "M";
	} else if (b == 0x62 && reg_next) {
		f->evex = true;
		k = "M";
	} else if (b == 0x0f) {
		f->map = M_0F;
		b = next(&c);
		k = two(b);
		if (b == 0x38 || b == 0x3a) {
			f->map = b == 0x38 ? M_38 : M_3A;
			k = b == 0x38 ? "M" : "Mb";
			b = next(&c);
		}
	} else {
		k = one[b];
	}
	f->op = b;
	sizes(f);
	/* MOV to and from control and debug registers takes registers whatever mod says */
	if (*k == 'M') {
		if (f->map == M_0F && b >= 0x20 && b <= 0x23) {
			modrm(f, &c);
			if (f->mem) {
				c.i -= f->disp_len + (f->asize != 2 && (f->modrm & 7) == 4);
				f->mem = false;
				f->disp_len = 0;
			}
		} else {
			modrm(f, &c);
		}
		k++;
	}
	f->imm_at = c.i;
	f->imm_len = imm_len(f, *k);
	f->imm = sext(take(&c, f->imm_len), f->imm_len);
	f->len = c.bad ? 0 : c.i;
}

bool form_is_branch(const struct form *f)
{
	if (f->map == M_0F)
		return (f->op & 0xf0) == 0x80;
	if (f->map != M_1B)
		return false;
	switch (f->op) {
	case 0x70 ... 0x7f: case 0xe0 ... 0xe3: case 0xe8 ... 0xeb: case 0x9a:
	case 0xc2: case 0xc3: case 0xca: case 0xcb: case 0xcf:
		return true;
	case 0xff:
		return (f->reg & 7) >= 2 && (f->reg & 7) <= 5;
	}
	return false;
}

/* Those that stay in the code segment. */
bool form_is_clzero(const struct form *f)
{
	return f->map == M_0F && f->op == 0x01 && f->modrm == 0xfc;
}

bool form_is_near(const struct form *f)
{
	bool far = f->map == M_1B && (f->op == 0x9a || f->op == 0xea || f->op == 0xca || f->op == 0xcb ||
				      f->op == 0xcf || (f->op == 0xff && f->reg & 1));
	return form_is_branch(f) && !far;
}
