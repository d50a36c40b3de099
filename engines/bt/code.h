/* Writing machine code: bytes at a cursor, and the few instructions of our own. */
#ifndef ENGINES_BT_CODE_H
#define ENGINES_BT_CODE_H

#include "engines/bt/parts.h"

struct code {
	struct bt *t;
	u8 *p;                 /* in rw */
	bool narrow;           /* for 32-bit code: its stack, its pointers */
};

static inline u32 here(const struct code *c) { return (u32)(c->p - c->t->rw); }
static inline void put8(struct code *c, unsigned x) { *c->p++ = (u8)x; }
static inline void put32(struct code *c, u32 x) { st32(c->p, x); c->p += 4; }
static inline void put64(struct code *c, u64 x) { st64(c->p, x); c->p += 8; }
#define PUT(c, ...) \
	do { \
		const u8 bytes_[] = {__VA_ARGS__}; \
		memcpy((c)->p, bytes_, sizeof(bytes_)); \
		(c)->p += sizeof(bytes_); \
	} while (0)

#define REG_AT(r) ((u32)offsetof(struct vcpu, x86.r) + 8u * (r))
#define WORD_AT(w) ((u32)offsetof(struct vcpu, emul.word) + 8u * (w))

static inline void put_rex(struct code *c, unsigned w, unsigned r, unsigned b)
{
	put8(c, 0x40 | w << 3 | (r >> 3 & 1) << 2 | (b >> 3 & 1));
}
/* op r64, gs:[at] (or the other way, by opcode) */
static inline void gs64(struct code *c, unsigned op, unsigned reg, u32 at)
{
	put8(c, 0x65);
	put_rex(c, 1, reg, 0);
	PUT(c, (u8)op, (u8)(4 | (reg & 7) << 3), 0x25);
	put32(c, at);
}
static inline void gs32(struct code *c, unsigned op, unsigned reg, u32 at)
{
	put8(c, 0x65);
	put_rex(c, 0, reg, 0);
	PUT(c, (u8)op, (u8)(4 | (reg & 7) << 3), 0x25);
	put32(c, at);
}
/* By the size of the guest's pointers */
static inline void gs_ptr(struct code *c, unsigned op, unsigned reg, u32 at)
{
	(c->narrow ? gs32 : gs64)(c, op, reg, at);
}
static inline unsigned ptr_size(const struct code *c) { return c->narrow ? 4 : 8; }
static inline void get_reg(struct code *c, unsigned r) { gs64(c, 0x8b, r, REG_AT(r)); }
static inline void put_reg(struct code *c, unsigned r) { gs64(c, 0x89, r, REG_AT(r)); }
/* MOV d, s */
static inline void mov_rr(struct code *c, unsigned d, unsigned s)
{
	put_rex(c, 1, s, d);
	PUT(c, 0x89, (u8)(0xc0 | (s & 7) << 3 | (d & 7)));
}
/* MOV dword gs:[at], imm */
static inline void gs_imm32(struct code *c, u32 at, u32 imm)
{
	PUT(c, 0x65, 0xc7, 0x04, 0x25);
	put32(c, at);
	put32(c, imm);
}
static inline bool fits32(u64 x) { return (u64)(s64)(s32)x == x; }
static inline void mov_imm(struct code *c, unsigned r, u64 x)
{
	if (x >> 32 == 0) {
		put_rex(c, 0, 0, r);
		put8(c, 0xb8 | (r & 7));
		put32(c, (u32)x);
	} else if (fits32(x)) {
		put_rex(c, 1, 0, r);
		PUT(c, 0xc7, (u8)(0xc0 | (r & 7)));
		put32(c, (u32)x);
	} else {
		put_rex(c, 1, 0, r);
		put8(c, 0xb8 | (r & 7));
		put64(c, x);
	}
}
static inline void put_modrm(struct code *c, unsigned reg, unsigned base, int disp)
{
	bool none = !disp && (base & 7) != RBP;

	put8(c, (none ? 0 : 0x40) | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		put8(c, 0x24);
	if (!none)
		put8(c, (unsigned)disp & 0xff);
}
/* op r64, [base + disp8] */
static inline void mem64(struct code *c, unsigned op, unsigned reg, unsigned base, int disp)
{
	put_rex(c, 1, reg, base);
	put8(c, op);
	put_modrm(c, reg, base, disp);
}
static inline void mem_ptr(struct code *c, unsigned op, unsigned reg, unsigned base, int disp)
{
	put_rex(c, !c->narrow, reg, base);
	put8(c, op);
	put_modrm(c, reg, base, disp);
}
static inline void mov_ptr(struct code *c, unsigned d, unsigned s)
{
	put_rex(c, !c->narrow, s, d);
	PUT(c, 0x89, (u8)(0xc0 | (s & 7) << 3 | (d & 7)));
}
/* op r/m64, imm32 of group 1 */
static inline void alu_imm(struct code *c, unsigned w, unsigned op, unsigned r, u32 imm)
{
	put_rex(c, w, 0, r);
	PUT(c, 0x81, (u8)(0xc0 | op << 3 | (r & 7)));
	put32(c, imm);
}
/* JMP or Jcc rel32 to an offset in the code memory; returns where the rel32 is */
static inline void rel_set(struct bt *t, u32 at, u32 to) { st32(t->rw + at, to - at - 4); }
static inline u32 jmp(struct code *c, u32 to)
{
	put8(c, 0xe9);
	put32(c, to - here(c) - 4);
	return here(c) - 4;
}
static inline u32 jcc(struct code *c, unsigned cond, u32 to)
{
	PUT(c, 0x0f, (u8)(0x80 | cond));
	put32(c, to - here(c) - 4);
	return here(c) - 4;
}
enum { CC_B = 2, CC_AE = 3, CC_BE = 6, CC_E = 4, CC_NE = 5, CC_A = 7, CC_S = 8, CC_GE = 13 };

/* The guest's flags between the host's and the stash; t is lost.  MOV t, RAX; LAHF;
 * SETO AL; MOV gs:, EAX; MOV RAX, t */
static inline void flags_stash(struct code *c, unsigned t)
{
	mov_rr(c, t, RAX);
	PUT(c, 0x9f, 0x0f, 0x90, 0xc0);
	gs32(c, 0x89, RAX, WORD_AT(W_STASH));
	mov_rr(c, RAX, t);
}
/* MOV EAX, gs:; ADD AL, 7F; SAHF */
static inline void flags_load(struct code *c)
{
	gs32(c, 0x8b, RAX, WORD_AT(W_STASH));
	PUT(c, 0x04, 0x7f, 0x9e);
}
static inline void flags_unstash(struct code *c, unsigned t)
{
	mov_rr(c, t, RAX);
	flags_load(c);
	mov_rr(c, RAX, t);
}

#endif
