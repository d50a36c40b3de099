/* What the translator makes of an instruction. */
#ifndef ENGINES_BT_SCAN_H
#define ENGINES_BT_SCAN_H

#include "core/vm.h"
#include "core/x86/insn.h"

enum kind {
	K_SITE,      /* the core executes it */
	K_COPY,      /* as it stands, with its memory operand's address in a register */
	K_NOTHING,
	K_LEA, K_PUSH, K_PUSH_IMM, K_PUSH_MEM, K_POP, K_LEAVE,
	K_DIV, K_BIT,
	K_CLI, K_STI, K_STAC, K_CLAC, K_SWAPGS, K_PUSHF, K_MOV_SEG, K_TSC, K_BASE,
	K_JCC, K_JMP, K_JMP_RM, K_CALL, K_CALL_RM, K_RET,
};
struct plan {
	struct insn i;
	enum kind kind;
	u16 used;          /* registers it names or uses unnamed */
	u8 size;           /* of the memory operand */
	u8 off;            /* in the block */
	bool write;        /* memory is written, perhaps read before */
	bool reads, kills; /* arithmetic flags: some are read, all are written */
	bool vector;       /* what it is depends on vector_key() */
	u8 native;         /* what W_VECTOR must be */
	u8 align;          /* of the memory operand, else 0 */
	bool live;         /* they are read behind it */
};

/* Everything but off and live. */
void scan(const struct vcpu *, struct plan *);

/* vector.c */
struct code;
void vector_scan(const struct vcpu *, struct plan *);
void x87_scan(const struct vcpu *, struct plan *);
void x87_load(struct code *, bool avx);
void vector_load(struct code *, bool avx);
void vector_save(struct code *, bool avx);

#endif
