/* A decoded instruction, and the decoder's contract.
 *
 * A handler gets everything from here; nobody looks at instruction bytes again,
 * but native.c, which re-encodes them. */
#ifndef CORE_X86_INSN_H
#define CORE_X86_INSN_H

#include "core/x86/emul.h"

/* Where code runs: default operand size, address size and what exists follow. */
enum mode {
	MODE_16,       /* real, virtual-8086, 16-bit protected: see cr0, rflags for which */
	MODE_32,       /* 32-bit protected or compatibility */
	MODE_64,
};

/* Opcode maps; struct insn.map */
enum { MAP_1B, MAP_0F, MAP_0F38, MAP_0F3A, MAP_3DNOW };

enum { REG_NONE = 16, REG_RIP = 17 };   /* base and index besides 0..15: x86.zero, x86.rip */
enum { REG_HIGH = 16 };                 /* byte registers AH CH DH BH are 16..19 */

enum insn_flags {
	INSN_LOCK = 1, INSN_REP = 2, INSN_REPNE = 4, /* F0, F3, F2 as prefixes */
	INSN_66 = 8, INSN_67 = 16, INSN_REX = 32, INSN_VEX = 64,
	INSN_MEM = 128,          /* modrm names memory */
	INSN_SEGOV = 256,        /* a segment override was given */
	INSN_END = 512,          /* decoder's hint: a block ends behind it */
	INSN_FLAT = 1024,        /* MEM: the linear address is the sum of base, index and disp */
	INSN_NEAR = 2048,        /* near branch: DONE_BRANCH from it means rip changed and no more */
};

struct insn {
	exec_fn *exec;           /* never NULL; undefined opcodes get one that raises #UD */
	u16 flags;
	u8 len;                  /* 1..15 */
	u8 map, op;              /* opcode map and byte */
	u8 osize;                /* operand size in bytes, with all defaults applied: 1 2 4 8 */
	u8 asize;                /* address size in bytes: 2 4 8 */
	u8 seg;                  /* enum sreg that the memory operand uses by default or override */
	u8 modrm;                /* raw, 0 without one */
	u8 reg, rm;              /* with REX/VEX bits; rm valid when !MEM; for opcodes with the
				  * register in the opcode byte, rm is that register; byte operands
				  * of integer instructions: REG_HIGH + n for AH CH DH BH */
	u8 base, index, scale;   /* MEM: index is shifted left by scale 0..3 */
	u8 pp;                   /* mandatory prefix: 0, 1 = 66, 2 = F3, 3 = F2 */
	u8 vvvv, vl, vw;         /* VEX: register (not inverted), L (0 = 128), W; vw is also REX.W */
	u8 imm_len;              /* bytes of immediate, for native.c */
	s32 disp;                /* MEM; sign-extended */
	u32 vec;                 /* vec.c's own: table row and stub */
	u64 imm;                 /* sign-extended to 64; relative branches: the offset;
				  * ENTER: imm16 | imm8 << 16; far pointers: offset | sel << 32 */
};

/* Decodes the instruction whose bytes are at p.  n is how many bytes may be
 * read; -1: more than n are needed (the caller fetches more or faults at the
 * byte behind); else 0 and *insn is complete.  Over 15 bytes or an undefined
 * opcode decodes to a handler that raises #GP or #UD.  Pure: depends on nothing
 * but its arguments.  Never reads beyond p+n. */
int decode(struct insn *, enum mode, const u8 *p, unsigned n);

/* ---- operands, for handlers (inline in exec.h where speed wants it) */

/* The offset of the memory operand, truncated to the address size. */
u64 insn_ea(const struct vcpu *, const struct insn *);

#endif
