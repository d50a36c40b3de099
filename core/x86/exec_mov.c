/* Moves: MOV MOVZX MOVSX MOVSXD XCHG CMOVcc SETcc LEA BSWAP MOVBE XLAT CBW CWD LAHF SAHF. */
#include "core/x86/ops.h"

#define MOV(N) \
	static enum done mov_mr_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		reg_set(v, i->rm, N, reg_get(v, i->reg, N)); \
		return DONE_NEXT; \
	} \
	static enum done mov_mr_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return store(v, i, N, reg_get(v, i->reg, N)) ? DONE_NEXT : mem_done(v); \
	} \
	static enum done mov_rm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		reg_set(v, i->reg, N, reg_get(v, i->rm, N)); \
		return DONE_NEXT; \
	} \
	static enum done mov_rm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x; \
\
		if (!load(v, i, N, &x)) \
			return mem_done(v); \
		reg_set(v, i->reg, N, x); \
		return DONE_NEXT; \
	} \
	static enum done mov_mi_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		reg_set(v, i->rm, N, i->imm); \
		return DONE_NEXT; \
	} \
	static enum done mov_mi_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		return store(v, i, N, i->imm) ? DONE_NEXT : mem_done(v); \
	}
MOV(1) MOV(2) MOV(4) MOV(8)
const struct forms ops_mov_mr = UNLOCKED(mov_mr), ops_mov_rm = UNLOCKED(mov_rm),
		   ops_mov_mi = UNLOCKED(mov_mi);

/* reg,rm with the source of FROM bytes; N is the destination's size */
#define EXTEND(name, FROM, conv, N) \
	static enum done name##_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		reg_set(v, i->reg, N, conv(reg_get(v, i->rm, FROM), FROM)); \
		return DONE_NEXT; \
	} \
	static enum done name##_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x; \
\
		if (!load(v, i, FROM, &x)) \
			return mem_done(v); \
		reg_set(v, i->reg, N, conv(x, FROM)); \
		return DONE_NEXT; \
	}
#define EXTENDS(name, FROM, conv) \
	EXTEND(name, FROM, conv, 2) EXTEND(name, FROM, conv, 4) EXTEND(name, FROM, conv, 8) \
	const struct forms ops_##name = { \
		.reg = {NULL, name##_reg2, name##_reg4, name##_reg8}, \
		.mem = {NULL, name##_mem2, name##_mem4, name##_mem8}, \
	};
EXTENDS(movzx8, 1, zext)
EXTENDS(movzx16, 2, zext)
EXTENDS(movsx8, 1, sext)
EXTENDS(movsx16, 2, sext)
/* a 16-bit MOVSXD reads 16 bits */
EXTEND(movsxd, 2, zext, 2)
EXTEND(movsxd, 4, zext, 4)
EXTEND(movsxd, 4, sext, 8)
const struct forms ops_movsxd = {
	.reg = {NULL, movsxd_reg2, movsxd_reg4, movsxd_reg8},
	.mem = {NULL, movsxd_mem2, movsxd_mem4, movsxd_mem8},
};

static enum done lea_mem2(struct vcpu *v, const struct insn *i)
{
	reg_set(v, i->reg, 2, ea(v, i));
	return DONE_NEXT;
}
static enum done lea_mem4(struct vcpu *v, const struct insn *i)
{
	reg_set(v, i->reg, 4, ea(v, i));
	return DONE_NEXT;
}
static enum done lea_mem8(struct vcpu *v, const struct insn *i)
{
	v->x86.r[i->reg] = ea(v, i);
	return DONE_NEXT;
}
const struct forms ops_lea = {.mem = {NULL, lea_mem2, lea_mem4, lea_mem8}};

enum done op_mov_imm(struct vcpu *v, const struct insn *i)
{
	reg_set(v, i->rm, i->osize, i->imm);
	return DONE_NEXT;
}

/* ---- XCHG with memory locks always */

static u64 f_xchg(struct cc *c, u64 a, u64 b, unsigned size) { return b; }

#define XCHG(N) \
	static enum done xchg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 a = reg_get(v, i->rm, N); \
\
		reg_set(v, i->rm, N, reg_get(v, i->reg, N)); \
		reg_set(v, i->reg, N, a); \
		return DONE_NEXT; \
	} \
	static enum done xchg_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 old, b = reg_get(v, i->reg, N); \
		enum done d = rmw_lock_old(v, i, N, b, f_xchg, &old); \
\
		if (d == DONE_NEXT) \
			reg_set(v, i->reg, N, old); \
		return d; \
	}
XCHG(1) XCHG(2) XCHG(4) XCHG(8)
const struct forms ops_xchg = {
	.reg = FOUR(xchg_reg), .mem = FOUR(xchg_mem), .lock = FOUR(xchg_mem),
};

/* ---- on conditions */

/* A 32-bit CMOVcc clears the upper half even when nothing is moved; memory is read always. */
#define CMOV(cond, N) \
	static enum done cmov##cond##_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x = reg_get(v, i->rm, N), old = reg_get(v, i->reg, N); \
\
		reg_set(v, i->reg, N, cc_test(cc_get(v), cond) ? x : old); \
		return DONE_NEXT; \
	} \
	static enum done cmov##cond##_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x, old = reg_get(v, i->reg, N); \
\
		if (!load(v, i, N, &x)) \
			return mem_done(v); \
		reg_set(v, i->reg, N, cc_test(cc_get(v), cond) ? x : old); \
		return DONE_NEXT; \
	}
#define CMOVS(cond) CMOV(cond, 2) CMOV(cond, 4) CMOV(cond, 8)
CMOVS(0) CMOVS(1) CMOVS(2) CMOVS(3) CMOVS(4) CMOVS(5) CMOVS(6) CMOVS(7)
CMOVS(8) CMOVS(9) CMOVS(10) CMOVS(11) CMOVS(12) CMOVS(13) CMOVS(14) CMOVS(15)
#define CMOV_ROW(cond) { \
	.reg = {NULL, cmov##cond##_reg2, cmov##cond##_reg4, cmov##cond##_reg8}, \
	.mem = {NULL, cmov##cond##_mem2, cmov##cond##_mem4, cmov##cond##_mem8}, \
}
const struct forms ops_cmov[16] = {
	CMOV_ROW(0), CMOV_ROW(1), CMOV_ROW(2), CMOV_ROW(3), CMOV_ROW(4), CMOV_ROW(5), CMOV_ROW(6),
	CMOV_ROW(7), CMOV_ROW(8), CMOV_ROW(9), CMOV_ROW(10), CMOV_ROW(11), CMOV_ROW(12),
	CMOV_ROW(13), CMOV_ROW(14), CMOV_ROW(15),
};

enum done op_setcc(struct vcpu *v, const struct insn *i)
{
	return rm_put(v, i, 1, cc_test(cc_get(v), i->op & 15)) ? DONE_NEXT : mem_done(v);
}

/* ---- MOV with an absolute address: the offset is the immediate */

enum done op_mov_moffs_load(struct vcpu *v, const struct insn *i)
{
	u64 lin, x;

	if (!seg_linear(v, i->seg, i->imm, i->osize, ACC_READ, &lin) ||
	    !mem_read(v, lin, i->osize, &x))
		return mem_done(v);
	reg_set(v, RAX, i->osize, x);
	return DONE_NEXT;
}
enum done op_mov_moffs_store(struct vcpu *v, const struct insn *i)
{
	u64 lin;

	if (!seg_linear(v, i->seg, i->imm, i->osize, ACC_WRITE, &lin) ||
	    !mem_write(v, lin, i->osize, reg_get(v, RAX, i->osize)))
		return mem_done(v);
	return DONE_NEXT;
}

enum done op_xlat(struct vcpu *v, const struct insn *i)
{
	u64 off = (v->x86.r[RBX] + (v->x86.r[RAX] & 0xff)) & ea_mask(i->asize), lin, x;

	if (!seg_linear(v, i->seg, off, 1, ACC_READ, &lin) || !mem_read(v, lin, 1, &x))
		return mem_done(v);
	reg_set(v, RAX, 1, x);
	return DONE_NEXT;
}

/* ---- bytes reversed */

static u64 reversed(u64 x, unsigned size)
{
	return __builtin_bswap64(x) >> (64 - 8 * size);
}
/* Of 16 bits it is undefined: processors give 0. */
enum done op_bswap(struct vcpu *v, const struct insn *i)
{
	u64 x = i->osize == 2 ? 0 : reversed(v->x86.r[i->rm], i->osize);

	reg_set(v, i->rm, i->osize, x);
	return DONE_NEXT;
}
enum done op_movbe_load(struct vcpu *v, const struct insn *i)
{
	u64 x;

	NEED(v, FEAT_MOVBE);
	if (!load(v, i, i->osize, &x))
		return mem_done(v);
	reg_set(v, i->reg, i->osize, reversed(x, i->osize));
	return DONE_NEXT;
}
enum done op_movbe_store(struct vcpu *v, const struct insn *i)
{
	NEED(v, FEAT_MOVBE);
	return store(v, i, i->osize, reversed(v->x86.r[i->reg], i->osize)) ? DONE_NEXT : mem_done(v);
}

/* ---- sign extension within the accumulator, flags to and from AH */

enum done op_cbw(struct vcpu *v, const struct insn *i)
{
	reg_set(v, RAX, i->osize, sext(v->x86.r[RAX], i->osize / 2));
	return DONE_NEXT;
}
enum done op_cwd(struct vcpu *v, const struct insn *i)
{
	reg_set(v, RDX, i->osize, sext(v->x86.r[RAX], i->osize) >> 63 ? ~0ull : 0);
	return DONE_NEXT;
}
enum { AH_FLAGS = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF };
enum done op_lahf(struct vcpu *v, const struct insn *i)
{
	if (v->emul.mode == MODE_64)
		NEED(v, FEAT_LAHF);
	*reg8(v, REG_HIGH) = (u8)((cc_flags(cc_get(v)) & AH_FLAGS) | FLAG_1);
	return DONE_NEXT;
}
enum done op_sahf(struct vcpu *v, const struct insn *i)
{
	if (v->emul.mode == MODE_64)
		NEED(v, FEAT_LAHF);
	cc_set(v, cc_make((cc_flags(cc_get(v)) & FLAG_OF) | (*reg8(v, REG_HIGH) & AH_FLAGS)));
	return DONE_NEXT;
}
