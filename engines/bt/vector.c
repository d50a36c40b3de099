/* Vector instructions, as they stand: which, and the guest's vector registers on
 * their way into the host's and back.
 *
 * They are the host's only from a block's first need on until C is called: word
 * W_VECTOR says where they are.  MXCSR goes with them; with an exception unmasked in
 * it nothing is translated, so no host exception can come of it. */
#include "core/x86/exec_vec.h"
#include "engines/bt/code.h"
#include "engines/bt/scan.h"

enum { HOST_MXCSR = MXCSR_INIT };

/* x87 enabled, all its exceptions masked, none left from before. */
static bool x87_plain(const struct vcpu *v)
{
	const u8 *x = v->x86.xsave;

	return !(v->x86.cr0 & (CR0_EM | CR0_TS)) && (ld16(x + FX_FCW) & 0x3f) == 0x3f &&
	       !(ld16(x + FX_FSW) & (FSW_ES | FSW_B));
}

u8 vector_key(const struct vcpu *v)
{
	u32 mx = ld32(v->x86.xsave + FX_MXCSR);

	if ((mx & MXCSR_MASKS) != MXCSR_MASKS || mx & ~(u32)MXCSR_VALID)
		return 0;
	return (u8)((sse_enabled(v) ? KEY_SSE : 0) | (avx_enabled(v) ? KEY_AVX : 0) |
		    (x87_plain(v) ? KEY_X87 : 0));
}

/* ---- which */

enum { GPR = 1, WRITES = 2, FLAGS = 4, STRING = 8, TAKEN = 16, WIDE = 32 };
static const u8 kinds[K_KINDS] = {
	[K_OP] = TAKEN, [K_MASK0] = TAKEN, [K_HALF] = TAKEN, [K_FMA] = TAKEN, [K_SHIFT] = TAKEN,
	[K_FLAGS] = TAKEN | FLAGS, [K_TO_GPR] = TAKEN | GPR, [K_FROM_GPR] = TAKEN | GPR | WIDE,
	[K_STR_I] = TAKEN | FLAGS | STRING, [K_STR_M] = TAKEN | FLAGS | STRING,
	[K_CVTPH] = TAKEN | WRITES, [K_LOAD] = TAKEN, [K_STORE] = TAKEN | WRITES,
	[K_LOAD_LOW] = TAKEN, [K_STORE_LOW] = TAKEN | WRITES, [K_LOAD_HIGH] = TAKEN,
	[K_STORE_HIGH] = TAKEN | WRITES, [K_MOVSS] = TAKEN, [K_MOVSS_STORE] = TAKEN | WRITES,
	[K_MOVD] = TAKEN | GPR | WIDE, [K_MOVD_STORE] = TAKEN | GPR | WIDE | WRITES,
	[K_MOVQ] = TAKEN, [K_MOVQ_STORE] = TAKEN | WRITES, [K_AND] = TAKEN, [K_ANDN] = TAKEN,
	[K_OR] = TAKEN, [K_XOR] = TAKEN, [K_PEXTR] = TAKEN | GPR | WIDE | WRITES,
	[K_PINSR] = TAKEN | GPR | WIDE, [K_PEXTRW_REG] = TAKEN | GPR,
	[K_EXTRACTPS] = TAKEN | GPR | WRITES, [K_BCAST128] = TAKEN,
	[K_EXTRACT128] = TAKEN | WRITES, [K_MOVNTI] = TAKEN | GPR | WIDE | WRITES,
};

static unsigned size_of(const struct insn *i, unsigned flags)
{
	unsigned n = vec_msize(i);

	return flags & WIDE && i->vw && n < 8 ? 8 : n;
}

static void used(struct plan *p, unsigned flags)
{
	const struct insn *i = &p->i;

	if (flags & GPR)
		p->used |= (u16)(1u << (i->reg & 15) | (i->flags & INSN_MEM ? 0 : 1u << (i->rm & 15)));
	if (i->flags & INSN_MEM)
		p->used |= (u16)((i->base < 16 ? 1u << i->base : 0) |
				 (i->index < 16 ? 1u << i->index : 0));
	if (flags & STRING)
		p->used |= 1 << RAX | 1 << RCX | 1 << RDX;
}

void vector_scan(const struct vcpu *v, struct plan *p)
{
	const struct insn *i = &p->i;
	const struct vec_op *o = &vec_ops[i->vec & KEY_ROW];
	bool vex = i->flags & INSN_VEX;
	unsigned flags = kinds[o->kind];

	if (o->kind == K_PREFETCH) {
		p->kind = K_NOTHING;
		return;
	}
	if (o->kind == K_EMMS && vex)
		flags = TAKEN;
	p->vector = true;
	if (!(flags & TAKEN) || !vec_offered(v, i->vec) ||
	    !(vector_key(v) & (vex ? KEY_AVX : KEY_SSE)))
		return;
	p->kind = K_COPY;
	p->native = true;
	p->write = flags & WRITES;
	p->kills = flags & FLAGS;
	if (i->flags & INSN_MEM) {
		p->size = (u8)size_of(i, flags);
		if (p->size >= 16 && (o->flags & V_ALIGN || (!vex && !(o->flags & V_UNAL))))
			p->align = p->size;
	}
	used(p, flags);
}

/* ---- x87: by opcode and modrm.reg, bytes of the memory operand, 0 for what is the core's */

enum { ST = 64 }; /* it is written */
static const u8 x87_size[8][8] = {
	{4, 4, 4, 4, 4, 4, 4, 4},
	{4, 0, ST | 4, ST | 4, 0, 0, 0, ST | 2},
	{4, 4, 4, 4, 4, 4, 4, 4},
	{4, ST | 4, ST | 4, ST | 4, 0, 10, 0, ST | 10},
	{8, 8, 8, 8, 8, 8, 8, 8},
	{8, ST | 8, ST | 8, ST | 8, 0, 0, 0, 0},
	{2, 2, 2, 2, 2, 2, 2, 2},
	{2, ST | 2, ST | 2, ST | 2, 10, 8, ST | 10, ST | 8},
};

void x87_scan(const struct vcpu *v, struct plan *p)
{
	const struct insn *i = &p->i;
	unsigned size = x87_size[i->op & 7][i->modrm >> 3 & 7];
	exec_fn *f = i->exec;

	p->vector = true;
	if (!(vector_key(v) & KEY_X87) || f == exec_fnclex || f == exec_fninit ||
	    f == exec_fnop8087 || (i->flags & INSN_MEM && !size))
		return;
	p->kind = K_COPY;
	p->native = 2;
	if (i->flags & INSN_MEM) {
		p->size = size & (ST - 1);
		p->write = size & ST;
	} else {
		p->reads = true; /* FCMOV, and FCOMI writes some */
	}
	used(p, 0);
}

/* ---- the registers */

static void gs_op(struct code *c, unsigned reg, u32 at)
{
	PUT(c, (u8)(4 | (reg & 7) << 3), 0x25);
	put32(c, at);
}
static u32 low_at(unsigned r) { return (u32)offsetof(struct vcpu, x86.xsave) + XSAVE_XMM + 16 * r; }
static u32 high_at(unsigned r) { return (u32)offsetof(struct vcpu, x86.xsave) + XSAVE_YMM + 16 * r; }
enum { MXCSR_AT = offsetof(struct vcpu, x86.xsave) + FX_MXCSR };

static void move_low(struct code *c, bool avx, unsigned op, unsigned r)
{
	put8(c, 0x65);
	if (avx)
		PUT(c, 0xc5, (u8)((~r << 4 & 0x80) | 0x78));
	else
		PUT(c, (u8)(0x40 | r >> 3 << 2), 0x0f);
	put8(c, op);
	gs_op(c, r, low_at(r));
}
/* VINSERTF128 and VEXTRACTF128 of the upper half */
static void move_high(struct code *c, unsigned op, unsigned r)
{
	PUT(c, 0x65, 0xc4, (u8)((~r << 4 & 0x80) | 0x63),
	    (u8)((op == 0x18 ? ~r << 3 & 0x78 : 0x78) | 5), (u8)op);
	gs_op(c, r, high_at(r));
	put8(c, 1);
}
static void mxcsr(struct code *c, unsigned ext, u32 at)
{
	PUT(c, 0x65, 0x0f, 0xae);
	gs_op(c, ext, at);
}

void vector_load(struct code *c, bool avx)
{
	for (unsigned r = 0; r < 16; r++) {
		move_low(c, avx, 0x10, r);
		if (avx)
			move_high(c, 0x18, r);
	}
	mxcsr(c, 2, MXCSR_AT);
	gs_imm32(c, WORD_AT(W_VECTOR), 1);
}

static void lows(struct code *c, bool avx, unsigned op)
{
	for (unsigned r = 0; r < 16; r++)
		move_low(c, avx, op, r);
}

static void compare(struct code *c, unsigned level)
{
	PUT(c, 0x65, 0x80);
	gs_op(c, 7, WORD_AT(W_VECTOR));
	put8(c, level);
}

/* FXSAVE64 and FXRSTOR64 */
static void legacy(struct code *c, unsigned ext)
{
	PUT(c, 0x65, 0x48, 0x0f, 0xae);
	gs_op(c, ext, (u32)offsetof(struct vcpu, x86.xsave));
}

/* MOV qword gs:[at], 0 */
static void gs_zero(struct code *c, u32 at)
{
	PUT(c, 0x65, 0x48, 0xc7, 0x04, 0x25);
	put32(c, at);
	put32(c, 0);
}

/* x87 registers, too.  Flags are kept in the stash, and come back. */
void x87_load(struct code *c, bool avx)
{
	u32 at = (u32)offsetof(struct vcpu, x86.xsave), skip;

	gs64(c, 0x89, RAX, WORD_AT(W_TEMP));
	PUT(c, 0x9f, 0x0f, 0x90, 0xc0); /* LAHF; SETO AL */
	gs32(c, 0x89, RAX, WORD_AT(W_FLAGS));
	compare(c, 0);
	skip = jcc(c, CC_NE, 0);
	vector_load(c, avx);
	rel_set(c->t, skip, here(c));
	lows(c, avx, 0x11);
	mxcsr(c, 3, MXCSR_AT);
	legacy(c, 1);
	gs_zero(c, at + FX_FIP);
	gs_imm32(c, WORD_AT(W_VECTOR), 2);
	gs32(c, 0x8b, RAX, WORD_AT(W_FLAGS));
	PUT(c, 0x04, 0x7f, 0x9e);       /* ADD AL, 7F; SAHF */
	gs64(c, 0x8b, RAX, WORD_AT(W_TEMP));
}

/* FIP, FDP and FOP are of the host's code: the guest gets zeroes. */
static void x87_save(struct code *c)
{
	u32 at = (u32)offsetof(struct vcpu, x86.xsave), skip;

	compare(c, 2);
	skip = jcc(c, CC_NE, 0);
	legacy(c, 0);
	gs_zero(c, at + FX_FIP);
	gs_zero(c, at + FX_FDP);
	PUT(c, 0x65, 0x66, 0xc7, 0x04, 0x25);
	put32(c, at + FX_FOP);
	PUT(c, 0, 0, 0xdb, 0xe3);       /* FNINIT */
	rel_set(c->t, skip, here(c));
}

/* Flags are lost. */
void vector_save(struct code *c, bool avx)
{
	u32 skip;

	compare(c, 0);
	skip = jcc(c, CC_E, 0);
	x87_save(c);
	lows(c, avx, 0x11);
	for (unsigned r = 0; avx && r < 16; r++)
		move_high(c, 0x19, r);
	mxcsr(c, 3, MXCSR_AT);
	gs_imm32(c, WORD_AT(W_TEMP), HOST_MXCSR);
	mxcsr(c, 2, WORD_AT(W_TEMP));
	if (avx)
		PUT(c, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
	gs_imm32(c, WORD_AT(W_VECTOR), 0);
	rel_set(c->t, skip, here(c));
}
